//! What becomes of signals while a command is run for somebody.
//!
//! **Invariants.** A signal that was sent to us alone reaches the command, and we wait for what it
//! does; one that the terminal sent has reached it already. While no command runs, a signal ends
//! us as ever, and leaves no temporary file behind. A process that has been waited for is never
//! signalled: its number may be another's.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::libc;
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::Pid;

use crate::args::Screen;

/// The signals that people send to ask a command to do something.
const WATCHED: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Watches for signals from its making until the process ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    child: Option<Pid>,
    temporaries: BTreeSet<PathBuf>,
}

impl Signals {
    /// Begins to watch. If that is impossible, signals have their usual effect.
    pub(super) fn watch(screen: Screen) -> Self {
        let signals = Self::default();
        if let Err(error) = signals.begin() {
            screen.warn(&format!("signals will not reach the command: {error}"));
        }
        signals
    }

    fn begin(&self) -> io::Result<()> {
        let mask: SigSet = WATCHED.into_iter().collect();
        let source = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC)?;
        let signals = self.clone();
        // The thread inherits the mask, and so does every other; commands start without it.
        mask.thread_block()?;
        let watcher = thread::Builder::new().name("memo-signals".into());
        let watching = watcher.spawn(move || signals.handle(&source));
        if watching.is_err() {
            mask.thread_unblock()?;
        }
        watching.map(drop)
    }

    fn handle(&self, source: &SignalFd) {
        loop {
            match source.read_signal() {
                Ok(Some(received)) => self.received(&received),
                Ok(None) | Err(nix::Error::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    fn received(&self, received: &siginfo) {
        let number = i32::try_from(received.ssi_signo).unwrap_or(0);
        let Ok(signal) = Signal::try_from(number) else { return };
        let state = self.lock();
        match state.child {
            // The terminal sends to its whole foreground group, so the command has it already.
            Some(_) if received.ssi_code == libc::SI_KERNEL => {}
            Some(child) => {
                // It may have ended this very moment; then there is nobody to tell.
                let _ = kill(child, signal);
            }
            None => {
                for path in &state.temporaries {
                    let _ = std::fs::remove_file(path);
                }
                end_by(signal);
            }
        }
    }

    /// Starts a command: from then on signals are its own.
    ///
    /// # Errors
    /// Whatever starting it comes to.
    pub(super) fn start<T>(
        &self,
        spawn: impl FnOnce() -> io::Result<T>,
        pid: impl FnOnce(&T) -> Pid,
    ) -> io::Result<T> {
        // Held until the number is known, so that no signal falls between.
        let mut state = self.lock();
        let child = spawn()?;
        state.child = Some(pid(&child));
        Ok(child)
    }

    /// The command has ended, though it has not been waited for: signals are ours again.
    pub(super) fn ended(&self) {
        self.lock().child = None;
    }

    /// Removes this file if a signal ends us, as long as what this gives is kept.
    pub(super) fn remove_at_end(&self, path: &Path) -> Temporary {
        self.lock().temporaries.insert(path.to_owned());
        Temporary { signals: self.clone(), path: path.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that does not outlive us.
#[derive(Debug)]
pub(super) struct Temporary {
    signals: Signals,
    path: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.signals.lock().temporaries.remove(&self.path);
    }
}

/// Ends the process as the signal would have, had nobody watched for it.
fn end_by(signal: Signal) {
    let mut alone = SigSet::empty();
    alone.add(signal);
    let _ = alone.thread_unblock();
    let _ = raise(signal);
}
