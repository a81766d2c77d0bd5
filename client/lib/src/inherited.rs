//! The sockets of the blocking client, so that a process that is forked can let go of its copies:
//! they would keep a connection open, and the lease that it holds, beyond the end of who opened it.
//!
//! **Invariants.** A socket is here only while it is open. Nothing here waits for a lock, which
//! another thread may have held when the process was forked.
//!
//! **Does not** close anything: whose a descriptor is, is known to its owner alone.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// More sockets than these are not known.
const SOCKETS_MAX: usize = 256;
/// A place without a socket.
const NONE: RawFd = -1;

static SOCKETS: [AtomicI32; SOCKETS_MAX] = [const { AtomicI32::new(NONE) }; SOCKETS_MAX];

/// Keeps a socket known; to be dropped before the socket is.
#[derive(Debug)]
pub(crate) struct Noted {
    place: Option<&'static AtomicI32>,
    socket: RawFd,
}

impl Noted {
    pub(crate) fn of(socket: &impl AsRawFd) -> Self {
        let socket = socket.as_raw_fd();
        let takes = |place: &&AtomicI32| {
            place.compare_exchange(NONE, socket, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        Self { place: SOCKETS.iter().find(takes), socket }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // A process that was forked may have been told of it, and have put another there.
            let _ = place.compare_exchange(self.socket, NONE, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

/// The sockets that blocking clients have open, each told once.
///
/// For a process that has just been forked: these are its parent's connections, which it never
/// uses. It may put something else in their place, as `dup2` of `/dev/null` does; closing them is
/// their owners'.
#[must_use]
pub fn inherited_sockets() -> Vec<RawFd> {
    let told = SOCKETS.iter().map(|place| place.swap(NONE, Ordering::AcqRel));
    told.filter(|socket| *socket != NONE).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_told_once_and_only_while_it_is_open() {
        let (one, other) = UnixStream::pair().unwrap();
        let (noted, gone) = (Noted::of(&one), Noted::of(&other));
        drop(gone);
        let told = inherited_sockets();
        assert!(told.contains(&one.as_raw_fd()) && !told.contains(&other.as_raw_fd()));
        assert!(!inherited_sockets().contains(&one.as_raw_fd()));
        drop(noted);
    }
}
