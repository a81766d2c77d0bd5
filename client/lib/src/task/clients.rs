//! The clients that tasks ask unless they are given others: one of a process, and for async tasks
//! one of each runtime, because connections do not outlive their runtime.

use std::sync::{PoisonError, RwLock};

use memod_protocol::InvalidArgument;

use super::trouble::{self, Doing};
use crate::builder::{Builder, Start};
use crate::client::Client;
use crate::error::Error;
use crate::mode::Mode;

static CLIENT: RwLock<Option<Client>> = RwLock::new(None);

/// Has all tasks of this process ask this client, unless they are given another: tasks that are
/// not async this very one, async tasks one that is set up like it.
pub fn set_client(client: Client) {
    *CLIENT.write().unwrap_or_else(PoisonError::into_inner) = Some(client);
    #[cfg(feature = "tokio")]
    of_runtimes::forget();
}

/// The client that tasks of this process ask: the one that was set, else one that finds the daemon
/// as [`crate::address`] says, starts the user's own if none answers, and does what `$MEMOD_MODE`
/// says (enabled, disabled, read-only, overwrite).
#[must_use]
pub fn client() -> Client {
    if let Some(client) = &*CLIENT.read().unwrap_or_else(PoisonError::into_inner) {
        return client.clone();
    }
    // Made before the lock is taken: a listener to troubles may run tasks.
    let made = of_environment().build();
    let mut place = CLIENT.write().unwrap_or_else(PoisonError::into_inner);
    place.get_or_insert(made).clone()
}

fn of_environment() -> Builder {
    let builder = Client::builder().start(Start::Own);
    let given = std::env::var("MEMOD_MODE").unwrap_or_default();
    let mode = match given.as_str() {
        "" => Mode::Enabled,
        name => name.parse().unwrap_or_else(|error: InvalidArgument| {
            trouble::tell("*", Doing::LookingUp, &Error::Invalid(error));
            // Neither what was there before nor what comes from this run can be what was meant.
            Mode::Disabled
        }),
    };
    builder.mode(mode)
}

#[cfg(feature = "tokio")]
pub use of_runtimes::async_client;

#[cfg(feature = "tokio")]
mod of_runtimes {
    use std::collections::VecDeque;
    use std::sync::{Mutex, PoisonError};

    use tokio::runtime::{Handle, Id};

    use crate::aio;

    /// Runtimes whose clients are kept; the client of the runtime that came first goes first.
    const RUNTIMES_MAX: usize = 16;

    static CLIENTS: Mutex<VecDeque<(Id, aio::Client)>> = Mutex::new(VecDeque::new());

    /// The client that async tasks ask on the runtime that runs this, set up like
    /// [`super::client`]; none outside of tokio.
    #[must_use]
    pub fn async_client() -> Option<aio::Client> {
        let runtime = Handle::try_current().ok()?.id();
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(id, _)| *id == runtime) {
            return Some(client.clone());
        }
        let client = aio::Client::new(super::client().settings().clone());
        if clients.len() >= RUNTIMES_MAX {
            clients.pop_front();
        }
        clients.push_back((runtime, client.clone()));
        Some(client)
    }

    pub(super) fn forget() {
        CLIENTS.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
