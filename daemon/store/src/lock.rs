//! The lock that says which process has the store open.
//!
//! **Invariants.** It is held by the open file, so the kernel gives it back however the process
//! ends. The number in the file is only there to be shown; if it is there when the lock is taken,
//! the process before has not ended in order, and copies of its entries may still be read.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{OpenError, advice};
use crate::limits::SUCCESSION;

/// A store's lock; given back when dropped.
pub(crate) struct Lock {
    file: Flock<File>,
    /// Until when nothing may be changed, if the process before has not ended in order.
    not_before: Option<Instant>,
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
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::Locked { path: store.to_owned(), pid });
            }
            Err((_, error)) => return Err(cannot(error.into())),
        };
        let had = Instant::now();
        let was_left = file.metadata().map_err(cannot)?.len() > 0;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(cannot)?;
        let not_before = was_left.then_some(had + SUCCESSION);
        Ok(Self { file, not_before })
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
}
