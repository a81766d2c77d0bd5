//! Waiting for what must happen, with an end.
//!
//! **Invariants.** Nothing here sleeps: processes are waited for by the kernel, and a condition is
//! asked for again as soon as it has been answered.

use std::process::{Child, ExitStatus, Output};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take before a test gives up: far more than it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is yes. For what the daemon does on its own time and tells nobody, such
/// as noticing that a peer is gone.
///
/// # Panics
/// If it does not become so within [`PATIENCE`].
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::yield_now();
    }
}

/// Waits for a process; one that does not end within [`PATIENCE`] is killed, and there is no
/// status then.
///
/// # Panics
/// If it cannot be waited for.
#[must_use]
pub fn wait(child: &mut Child) -> Option<ExitStatus> {
    guarded(child.id(), || child.wait().expect("a child can be waited for"))
}

/// Waits for a process whose output is piped, and gives the output.
///
/// # Panics
/// If it does not end within [`PATIENCE`].
#[must_use]
pub fn output(child: Child) -> Output {
    let ended = guarded(child.id(), || child.wait_with_output().expect("it can be read"));
    ended.expect("the process ends in time")
}

/// Waits for something that ends at the latest when the process is killed.
fn guarded<T>(pid: u32, wait: impl FnOnce() -> T) -> Option<T> {
    let (ended, end) = sync_channel::<()>(0);
    let guard = thread::spawn(move || {
        let late = matches!(end.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout));
        if late {
            // It has not been waited for, so the number still names it.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        late
    });
    let outcome = wait();
    drop(ended);
    let late = guard.join().expect("the guard does not panic");
    (!late).then_some(outcome)
}
