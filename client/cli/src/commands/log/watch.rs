//! Works until it is asked to stop.
//!
//! **Invariants.** An interruption, and a reader of our output that goes away, end the work at once
//! and are no failure, also while nothing happens.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::{self, Failure, Outcome};

/// The signals by which people and service managers end a command.
const STOPS: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];

/// Runs the work in a thread of its own, to its end or until somebody ends us.
///
/// # Errors
/// What the work comes to, or if it cannot be begun.
pub(super) fn until_stopped(work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    let begun = |error: io::Error| {
        Failure::new(exit::FAILED, "io", format!("cannot wait for signals: {error}"))
    };
    let stops: SigSet = STOPS.into_iter().collect();
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&stops, flags).map_err(|errno| begun(errno.into()))?;
    // The thread inherits the mask, so that no signal ends the process past us.
    stops.thread_block().map_err(|errno| begun(errno.into()))?;
    let stdout = io::stdout();
    wait(work, &signals, &stdout).map_err(begun)?
}

/// The work's outcome, or that it was stopped.
fn wait(
    work: impl FnOnce() -> Outcome + Send + 'static,
    signals: &SignalFd,
    output: &impl AsFd,
) -> io::Result<Outcome> {
    let (ended, ends) = io::pipe()?;
    let thread = thread::Builder::new().name("memo-work".into()).spawn(move || {
        let outcome = work();
        drop(ends);
        outcome
    })?;
    loop {
        let mut awaited = [
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            // Of this one only errors are told: that nobody reads any more.
            PollFd::new(output.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut awaited, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let [has_ended, is_stopped, is_unread] = awaited.map(|one| one.any().unwrap_or(true));
        if has_ended {
            return Ok(thread.join().unwrap_or_else(|_| {
                Err(Failure::new(exit::FAILED, "internal", "a thread of memo has panicked"))
            }));
        }
        if is_stopped || is_unread {
            return Ok(Ok(exit::DONE));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use nix::sys::signal::raise;

    use super::*;

    fn signals(of: &[Signal]) -> SignalFd {
        let mask: SigSet = of.iter().copied().collect();
        SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).expect("a descriptor")
    }

    #[test]
    fn work_that_ends_gives_its_outcome() {
        let nobody = signals(&[]);
        let output = tempfile::tempfile().expect("a file");
        let outcome = wait(|| Ok(exit::NOTHING), &nobody, &output).expect("it can wait");
        assert_eq!(outcome, Ok(exit::NOTHING));
        let failure = || Err(Failure::usage("no"));
        let outcome = wait(failure, &nobody, &output).expect("it can wait");
        assert_eq!(outcome.expect_err("it failed").exit, exit::USAGE);
    }

    #[test]
    fn work_that_waits_is_left_when_nobody_reads() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (_keeps, never) = sync_channel::<()>(1);
        drop(reader);
        let work = move || {
            let _ = never.recv();
            Ok(exit::NOTHING)
        };
        assert_eq!(wait(work, &signals(&[]), &writer).expect("it can wait"), Ok(exit::DONE));
    }

    #[test]
    fn work_that_waits_is_left_when_a_signal_comes() {
        let stop = Signal::SIGUSR2;
        SigSet::from(stop).thread_block().expect("a mask of our own");
        let (_keeps, never) = sync_channel::<()>(1);
        raise(stop).expect("to this thread");
        let work = move || {
            let _ = never.recv();
            Ok(exit::NOTHING)
        };
        let output = tempfile::tempfile().expect("a file");
        assert_eq!(wait(work, &signals(&[stop]), &output).expect("it can wait"), Ok(exit::DONE));
    }
}
