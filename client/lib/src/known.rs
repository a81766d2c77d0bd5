//! Calls of a task of which is known once and for all what they share: a hit costs the least.
//!
//! **Invariants.** Such a call has the same outcome as any other. What is looked at without asking
//! the daemon is right, or is not there.

use std::time::{Duration, Instant};

use memod_protocol::KnownCall;

use crate::client::Client;
use crate::content::Hit;
use crate::memo::Recall;
use crate::options::MemoizeOptions;

impl Client {
    /// The outputs of a call if they can be had without asking the daemon, from its shared memory,
    /// whatever this client's mode. Nothing means only that it has to be asked.
    ///
    /// It takes a microsecond or two, and waits for nobody.
    #[must_use]
    pub fn glance(&self, known: &KnownCall<'_>, max_age: Option<Duration>) -> Option<Hit> {
        let found = self.boards().look_known(known, max_age)?;
        found.collect(self.settings().memory_bytes_max).ok()
    }

    /// As [`Client::recall`].
    #[must_use]
    pub fn recall_known(&self, known: &KnownCall<'_>, options: &MemoizeOptions) -> Recall {
        let mode = options.mode.unwrap_or(self.mode());
        let identity = Ok((known.identity(), known.key()));
        let (recall, asking) = Recall::begin_with(identity, options, mode);
        self.recall_begun(known.call(), recall, asking, Instant::now())
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
