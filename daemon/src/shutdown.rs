//! The signals that the daemon heeds: those that end it, and the one to read its configuration.
//!
//! **Invariants.** They are blocked in all threads from the beginning of the process to its end,
//! and read from a descriptor; nothing interrupts anything. So one that comes while the daemon
//! starts, or becomes a new process, stays pending until somebody reads it: the next process
//! inherits both what is blocked and what is pending.

use std::io;
use std::mem;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

fn heeded() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
}

/// Signals that stay pending, from now on.
#[derive(Debug)]
pub(crate) struct Held(SignalFd);

impl Held {
    /// Begins to hold them; call before there is another thread, and before anything that takes
    /// long.
    ///
    /// # Errors
    /// If the system does not let them be held.
    pub(crate) fn hold() -> io::Result<Self> {
        let heeded = heeded();
        heeded.thread_block()?;
        Ok(Self(SignalFd::with_flags(&heeded, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Lets them do what they do to any program, even if they were held by whoever started it.
    ///
    /// # Errors
    /// If the system does not let them go.
    pub(crate) fn release() -> io::Result<()> {
        Ok(heeded().thread_unblock()?)
    }
}

/// SIGTERM, SIGINT and SIGHUP, also those that have come before this.
#[derive(Debug)]
pub(crate) struct Signals {
    held: AsyncFd<SignalFd>,
    /// SIGHUP has been read and not been heeded.
    hung_up: bool,
}

impl Signals {
    /// Begins to wait for them; call within the runtime.
    ///
    /// # Errors
    /// If the runtime does not take the descriptor.
    #[expect(deprecated, reason = "it is only unsound for what changes or closes its descriptor")]
    pub(crate) fn wait_for(Held(held): Held) -> io::Result<Self> {
        let held = AsyncFd::with_interest(held, Interest::READABLE)?;
        Ok(Self { held, hung_up: false })
    }

    /// One that has come and has not been heeded.
    fn pending(held: &SignalFd) -> io::Result<Heeded> {
        loop {
            let Some(signal) = held.read_signal()? else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(Signal::SIGTERM) => return Ok(Heeded::Stop("SIGTERM")),
                Ok(Signal::SIGINT) => return Ok(Heeded::Stop("SIGINT")),
                Ok(Signal::SIGHUP) => return Ok(Heeded::Reload),
                // No other is held.
                _ => {}
            }
        }
    }

    /// Waits for the next of them.
    pub(crate) async fn any(&mut self) -> Heeded {
        if mem::take(&mut self.hung_up) {
            return Heeded::Reload;
        }
        match self.held.async_io(Interest::READABLE, Self::pending).await {
            Ok(heeded) => heeded,
            Err(error) => {
                // Which does not happen; better an end in order than a daemon that heeds nothing.
                tracing::error!(%error, "signals cannot be read");
                Heeded::Stop("an error")
            }
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

    /// The one that ends the daemon, if it has come already; gives its name.
    pub(crate) fn has_come(&mut self) -> Option<&'static str> {
        loop {
            match Self::pending(self.held.get_ref()) {
                Ok(Heeded::Stop(name)) => return Some(name),
                Ok(Heeded::Reload) => self.hung_up = true,
                Err(_) => return None,
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
