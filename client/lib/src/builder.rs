//! How a client is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::address::{Address, Environment, Origin};
use crate::client::Client;
use crate::connection::Bounds;
use crate::error::Error;
use crate::mode::Mode;
use crate::start;

/// How long a daemon may be silent while a claim waits, before it is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(5);

/// What to do if no daemon answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Nothing: requests fail.
    #[default]
    Never,
    /// Start the user's own, unless `$MEMOD_NO_START` is set.
    Own,
}

/// Sets up a client.
#[derive(Debug, Clone)]
pub struct Builder {
    settings: Settings,
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) bounds: Bounds,
    pub(crate) mode: Mode,
    pub(crate) start: Start,
    pub(crate) memory_bytes_max: u64,
    pub(crate) board: bool,
    pub(crate) program: String,
    pub(crate) environment: Environment,
}

impl Settings {
    /// The sockets to try, in order.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let found = self.environment.candidates_of_system(self.socket.clone());
        if found.is_empty() { vec![self.environment.own()] } else { found }
    }

    /// Whether to start a daemon, given why the ones that were tried did not answer.
    pub(crate) fn may_start(&self, error: &Error) -> bool {
        self.start == Start::Own
            && !self.environment.no_start
            && (matches!(error, Error::NoDaemon { .. }) || error.is_leaving())
    }

    /// Whether to try the next address after this error.
    pub(crate) fn goes_on(&self, error: &Error) -> bool {
        matches!(error, Error::NoDaemon { .. }) || self.may_start(error)
    }

    /// Starts the user's own daemon.
    pub(crate) fn start(&self) -> Result<Address, Error> {
        let path = start::own_daemon_in(&self.environment, &self.program)?;
        Ok(Address { path, origin: Origin::Own })
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            settings: Settings {
                socket: None,
                bounds: Bounds {
                    deadline: Duration::from_secs(2),
                    stall: Duration::from_secs(10),
                    silence: SILENCE,
                },
                mode: Mode::default(),
                start: Start::default(),
                memory_bytes_max: 64 * 1024 * 1024,
                board: true,
                program: concat!("memod-client ", env!("CARGO_PKG_VERSION")).into(),
                environment: Environment::of_process(),
            },
        }
    }
}

impl Builder {
    /// The socket to connect to; without one it is searched for (see [`crate::address`]).
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.socket = Some(path.into());
        self
    }

    /// How long the daemon may take from being asked until the first frame of its answer; 2 s. So
    /// long is a daemon looked for, too, that goes while a claim waits.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.bounds.deadline = deadline;
        self
    }

    /// How long a stream may stand still; 10 s.
    #[must_use]
    pub const fn stall(mut self, stall: Duration) -> Self {
        self.settings.bounds.stall = stall;
        self
    }

    /// How long nothing may be heard of the daemon while a claim waits; 5 s. After that it is asked
    /// for a sign of life, for which it has the deadline.
    #[must_use]
    pub const fn silence(mut self, silence: Duration) -> Self {
        self.settings.bounds.silence = silence;
        self
    }

    /// Whether the client reads, writes, both or neither; both.
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// What to do if no daemon answers; nothing.
    #[must_use]
    pub const fn start(mut self, start: Start) -> Self {
        self.settings.start = start;
        self
    }

    /// How many bytes of a hit's outputs are held in memory; 64 MiB. What goes beyond is put into
    /// temporary files that have no name.
    #[must_use]
    pub const fn memory_bytes_max(mut self, bytes: u64) -> Self {
        self.settings.memory_bytes_max = bytes;
        self
    }

    /// Whether hits may be read from memory that the daemon shares, without asking it; they may,
    /// unless `$MEMOD_BOARD` is `off`. It takes one more connection, as soon as it may pay.
    #[must_use]
    pub const fn board(mut self, wanted: bool) -> Self {
        self.settings.board = wanted;
        self
    }

    /// The client's program and version, for the daemon's log.
    #[must_use]
    pub fn program(mut self, name: impl Into<String>) -> Self {
        self.settings.program = name.into();
        self
    }

    #[cfg(test)]
    pub(crate) fn boards(&self) -> std::sync::Arc<crate::board::Boards> {
        crate::board::Boards::new(&self.settings)
    }

    #[cfg(test)]
    pub(crate) fn environment(mut self, environment: Environment) -> Self {
        self.settings.environment = environment;
        self
    }

    /// The client. Connects only when it is asked something, so this cannot fail.
    #[must_use]
    pub fn build(self) -> Client {
        Client::new(self.settings)
    }

    /// The same client for async programs.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn build_async(self) -> crate::aio::Client {
        crate::aio::Client::new(self.settings)
    }
}
