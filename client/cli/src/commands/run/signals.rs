//! What becomes of signals while the command runs.
//!
//! **Invariants.** A signal that was sent to us alone reaches the command, and we wait for what it
//! does; one that the terminal sent has reached it already. Before and after, signals have their
//! usual effect on us. A process that has been waited for is never signalled: its number may be
//! another's by then.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::Pid;

/// The signals that people send to ask a command to do something.
const WATCHED: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Passes signals on to the command.
pub(super) struct Watch {
    shared: Arc<Shared>,
    original: SigSet,
}

struct Shared {
    source: SignalFd,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running(Pid),
    Ended,
}

impl Watch {
    /// Begins to hold signals back for the command.
    ///
    /// # Errors
    /// If the kernel or a limit does not allow it. Signals then have their usual effect.
    pub(super) fn begin() -> io::Result<Self> {
        let mask: SigSet = WATCHED.into_iter().collect();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let source = SignalFd::with_flags(&mask, flags)?;
        let shared = Arc::new(Shared { source, state: Mutex::new(State::Waiting) });
        let original = SigSet::thread_get_mask()?;
        // All threads that begin from here on inherit the mask.
        mask.thread_block()?;
        let thread = thread::Builder::new().name("memo-signals".into());
        let passing_on = Arc::clone(&shared);
        match thread.spawn(move || passing_on.pass_on()) {
            Ok(_) => Ok(Self { shared, original }),
            Err(error) => {
                original.thread_set_mask()?;
                Err(error)
            }
        }
    }

    /// The signals that were held back before; the command starts with these.
    pub(super) fn original(&self) -> SigSet {
        self.original
    }

    /// Starts the command: from then on it gets the signals.
    ///
    /// # Errors
    /// Whatever starting it comes to.
    pub(super) fn start(&self, spawn: impl FnOnce() -> io::Result<Pid>) -> io::Result<Pid> {
        // Held until the number is known, so that no signal falls between.
        let mut state = self.shared.lock();
        let child = spawn()?;
        *state = State::Running(child);
        Ok(child)
    }
}

impl Drop for Watch {
    /// The command has ended, though it has not been waited for: signals are ours again. What came
    /// before was meant for the command.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let was_running = matches!(*state, State::Running(_));
        *state = State::Ended;
        while was_running && matches!(self.shared.source.read_signal(), Ok(Some(_))) {}
        // It was ours to set before, so it is now.
        let _ = self.original.thread_set_mask();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self) {
        loop {
            let mut ready = [PollFd::new(self.source.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            let state = self.lock();
            let State::Running(child) = *state else { return };
            if let Ok(Some(received)) = self.source.read_signal() {
                pass_on_one(child, &received);
            }
        }
    }
}

fn pass_on_one(child: Pid, received: &siginfo) {
    // The terminal sends to its whole foreground group, so the command has it already.
    if received.ssi_code == libc::SI_KERNEL {
        return;
    }
    let number = i32::try_from(received.ssi_signo).unwrap_or(0);
    if let Ok(signal) = Signal::try_from(number) {
        // It may have ended this very moment; then there is nobody to tell.
        let _ = kill(child, signal);
    }
}
