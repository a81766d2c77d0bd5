//! The lock that says which process has the store open.
//!
//! **Invariants.** It is held by the open file, so the kernel gives it back however the process
//! ends. The number in the file is only there to be shown; if it is there when the lock is taken,
//! the process before has not ended in order, and copies of its entries may still be read. In its
//! place stands at last that all is flushed, if it is. A lock
//! that another has is waited for only as long as a process that was killed may need to end.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{OpenError, advice};
use crate::limits::SUCCESSION;

/// For how long a lock is waited for: one of a living process, that may just have been killed, and
/// one of a process that is gone or going.
const HELD_MAX: Duration = Duration::from_millis(300);
const ENDING_MAX: Duration = Duration::from_secs(3);
/// How often to look meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the file says when the process that had it has ended in order, and has left nothing that
/// stands in a log only.
const FLUSHED: &str = "flushed\n";

/// A store's lock; given back when dropped.
pub(crate) struct Lock {
    file: Flock<File>,
    /// Until when nothing may be changed, if the process before has not ended in order.
    not_before: Option<Instant>,
    /// Whether it is known that the process before left nothing that stood in a log only.
    was_flushed: bool,
}

/// Shows that the store may be changed.
pub(crate) struct Succeeded(());

impl Lock {
    pub(crate) fn take(store: &Path) -> Result<Self, OpenError> {
        let path = store.join("lock");
        let cannot = |source| OpenError::CannotCreate {
            path: path.clone(),
            advice: advice(&source),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(cannot)?;
        let mut file = match lock(file) {
            Ok(file) => file,
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let pid = holder(&mut file);
                return Err(OpenError::Locked { path: store.to_owned(), pid });
            }
            Err((_, error)) => return Err(cannot(error.into())),
        };
        let had = Instant::now();
        let mut left = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut left)).map_err(cannot)?;
        let was_flushed = left == FLUSHED;
        let was_left = !left.is_empty() && !was_flushed;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(cannot)?;
        let not_before = was_left.then_some(had + SUCCESSION);
        Ok(Self { file, not_before, was_flushed })
    }

    /// Says that nothing stands in a log only.
    pub(crate) fn note_flushed(&self) {
        // If it fails, who finds no log thinks that something is lost.
        let _ = (&*self.file).rewind().and_then(|()| (&*self.file).write_all(FLUSHED.as_bytes()));
    }

    /// Whether it is known that nothing stood in a log only when the process before ended.
    pub(crate) const fn was_flushed(&self) -> bool {
        self.was_flushed
    }

    /// There is no copy of any entry any more: whoever comes next need not wait.
    pub(crate) fn end_in_order(&self) {
        // If it fails, the next waits for a moment.
        let _ = self.file.set_len(0);
    }

    /// Waits until the store may be changed: mostly, opening it has taken that long.
    pub(crate) fn await_succession(&self) -> Succeeded {
        if let Some(until) = self.not_before {
            // tidy: sleeps because the dead tell nobody who still reads what they had.
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        Succeeded(())
    }
}

/// Locks, and waits for a process that is about to end. One that was killed has the lock until the
/// kernel has taken its memory back.
fn lock(mut file: File) -> Result<Flock<File>, (File, Errno)> {
    let begun = Instant::now();
    loop {
        let (back, error) = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err(failed) => failed,
        };
        file = back;
        let is_ending = error == Errno::EWOULDBLOCK && holder(&mut file).is_none_or(is_ending);
        let most = if is_ending { ENDING_MAX } else { HELD_MAX };
        if error != Errno::EWOULDBLOCK || begun.elapsed() >= most {
            return Err((file, error));
        }
        // tidy: sleeps because nobody is told when another's lock is free, but who waits for it.
        thread::sleep(LOOK_EVERY);
    }
}

/// The process that has the lock, by what it wrote.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process has ended or is about to: such a one has no arguments any more.
fn is_ending(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| arguments.is_empty())
        || !Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    /// Whoever reads what the process before had copied may do so for a moment (semantics 24).
    #[test]
    fn s24_a_lock_that_was_left_behind_is_waited_for_and_one_given_back_in_order_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        assert_eq!(first.not_before, None, "nobody had it");
        drop(first);
        let began = Instant::now();
        let second = Lock::take(folder.path()).unwrap();
        second.await_succession();
        assert!(began.elapsed() >= SUCCESSION, "{:?}", began.elapsed());
        second.end_in_order();
        drop(second);
        assert_eq!(Lock::take(folder.path()).unwrap().not_before, None);
    }

    #[test]
    fn a_lock_that_is_given_up_in_a_moment_is_waited_for_and_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        let refused = Lock::take(folder.path()).err();
        let this = std::process::id();
        assert!(matches!(refused, Some(OpenError::Locked { pid: Some(pid), .. }) if pid == this));
        thread::scope(|scope| {
            let second = scope.spawn(|| Lock::take(folder.path()).map(drop));
            // tidy: sleeps because the other does not say when it has found the lock taken.
            thread::sleep(LOOK_EVERY * 4);
            drop(first);
            assert!(second.join().unwrap().is_ok());
        });
    }

    #[test]
    fn a_process_that_has_ended_and_was_not_waited_for_is_ending() {
        assert!(!is_ending(std::process::id()));
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        // Until the program has begun it has no arguments yet; then it waits for its input.
        while is_ending(child.id()) {
            thread::yield_now();
        }
        child.kill().unwrap();
        while !is_ending(child.id()) {
            thread::yield_now();
        }
        child.wait().unwrap();
        assert!(is_ending(child.id()), "nobody has this number now");
    }
}
