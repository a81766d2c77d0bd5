//! The signals that the daemon heeds: those that end it, and the one to read its configuration.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGHUP.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// SIGHUP, which ends no daemon: one that comes while it is still starting is heeded then.
#[derive(Debug)]
pub(crate) struct HangUp(Signal);

impl HangUp {
    /// Begins to catch it; call within the runtime, before anything that takes long.
    ///
    /// # Errors
    /// If the handler cannot be installed.
    pub(crate) fn catch() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }
}

impl Signals {
    /// Begins to catch the others, too.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub(crate) fn catch(HangUp(hang_up): HangUp) -> std::io::Result<Self> {
        let (terminate, interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hang_up })
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
