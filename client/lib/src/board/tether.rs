//! The connection that says whether the daemon lives whose boards are read, and takes reports.
//!
//! **Invariants.** It is used only by the process that opened it. Nothing that is sent on it waits:
//! what the kernel does not take now is sent before the next report. After any failure it is down
//! for good. Who is told that the daemon was up at a moment is told so of a look that was made at
//! most [`TRUST`] before; no successor changes anything for longer than that.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use memod_protocol::board::TRUST;
use memod_protocol::{BoardHit, BoardOffer, Scope};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use std::os::fd::AsRawFd;

use crate::address::Address;
use crate::connect::Patience;
use crate::connection::{Bounds, Connection};
use crate::error::Error;
use crate::exchange::ask::Ping;
use crate::exchange::board::{AskBoard, report};

/// A connection beside those on which requests are made.
#[derive(Debug)]
pub(super) struct Tether {
    /// The same socket as the connection's, to be looked at while that is in use.
    socket: UnixStream,
    address: Address,
    speaking: Mutex<Speaking>,
    down: AtomicBool,
    /// From when on times are counted: before it was opened.
    origin: Instant,
    /// The last moment, in nanoseconds, of which it is known that the daemon lived then or later.
    seen: AtomicU64,
}

#[derive(Debug)]
struct Speaking {
    connection: Connection,
    /// What the kernel has not taken yet, from the beginning of a frame's rest.
    unsent: Vec<u8>,
    /// Whether hits have been reported that may not have been counted yet.
    uncounted: bool,
}

impl Tether {
    /// Connects.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(super) fn open(
        address: &Address,
        program: &str,
        bounds: Bounds,
        patience: Patience,
    ) -> Result<Self, Error> {
        let origin = Instant::now();
        let connection = Connection::open(address, program, bounds, patience)?;
        let socket = connection.copy()?;
        let speaking = Speaking { connection, unsent: Vec::new(), uncounted: false };
        let (address, speaking) = (address.clone(), Mutex::new(speaking));
        let (down, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { socket, address, speaking, down, origin, seen })
    }

    /// Where it leads.
    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    fn speaking(&self) -> MutexGuard<'_, Speaking> {
        self.speaking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the daemon lives: its end of the socket is open. What it has said does not hide that
    /// it has ended since.
    pub(super) fn is_up(&self) -> bool {
        let mut looked = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        !self.down.load(Ordering::Relaxed)
            && poll(&mut looked, PollTimeout::ZERO).is_ok_and(|ended| ended == 0)
    }

    /// Whether the daemon lived, or at least had no successor that changed anything, at this moment
    /// that has just been. Mostly that costs no system call.
    pub(super) fn was_up(&self, at: Instant) -> bool {
        let at = at.saturating_duration_since(self.origin);
        let since = at.saturating_sub(Duration::from_nanos(self.seen.load(Ordering::Relaxed)));
        if since <= TRUST {
            return !self.down.load(Ordering::Relaxed);
        }
        let is_up = self.is_up();
        if is_up && let Ok(at) = u64::try_from(at.as_nanos()) {
            // It lives still, so it lived then.
            self.seen.fetch_max(at, Ordering::Relaxed);
        }
        is_up
    }

    fn set_down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    /// Asks for the board of a scope.
    ///
    /// # Errors
    /// If the daemon does not answer in time, or refuses.
    pub(super) fn ask(
        &self,
        scope: &Scope,
        patience: Patience,
    ) -> Result<Option<(BoardOffer, OwnedFd)>, Error> {
        let mut speaking = self.speaking();
        // A daemon that passes no descriptors may not know the question.
        if !speaking.connection.passes_descriptors() || !speaking.flush(&self.socket) {
            return Ok(None);
        }
        let answer = speaking.connection.ask_board(&mut AskBoard(scope), patience);
        if answer.as_ref().is_err_and(|error| !matches!(error, Error::Daemon(_))) {
            self.set_down();
        }
        answer
    }

    /// Reports hits, without waiting.
    pub(super) fn report(&self, scope: &Scope, hits: Vec<BoardHit>) {
        let Ok(frame) = report(scope, hits) else { return };
        let mut speaking = self.speaking();
        speaking.unsent.extend_from_slice(&frame);
        speaking.uncounted = true;
        speaking.flush(&self.socket);
    }

    /// Whether somebody speaks on it at this moment.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self.speaking.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Whether an earlier report is still on its way to the kernel.
    pub(super) fn is_behind(&self) -> bool {
        let mut speaking = self.speaking();
        !speaking.flush(&self.socket)
    }

    /// Waits until what was reported has been counted.
    pub(super) fn settle(&self, patience: Patience) {
        let mut speaking = self.speaking();
        if !speaking.uncounted || !speaking.flush(&self.socket) {
            return;
        }
        match speaking.connection.ask(&mut Ping, patience) {
            Ok(()) => speaking.uncounted = false,
            Err(_) => self.set_down(),
        }
    }
}

impl Speaking {
    /// Sends what the kernel takes now; whether that was all.
    fn flush(&mut self, socket: &UnixStream) -> bool {
        while !self.unsent.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(socket.as_raw_fd(), &self.unsent, flags) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
