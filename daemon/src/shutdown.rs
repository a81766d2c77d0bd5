//! The signals that the daemon heeds: those that end it, and the one to read its configuration.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGHUP.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Begins to catch them.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of them.
    pub(crate) async fn any(&mut self) -> Heeded {
        tokio::select! {
            _ = self.terminate.recv() => Heeded::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Heeded::Stop("SIGINT"),
            _ = self.hang_up.recv() => Heeded::Reload,
        }
    }

    /// Waits for the next that ends the daemon; gives its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        loop {
            if let Heeded::Stop(name) = self.any().await {
                return name;
            }
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heeded {
    /// To end; and its name.
    Stop(&'static str),
    /// To read the configuration again.
    Reload,
}
