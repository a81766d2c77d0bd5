//! A connected socket, woken only for what is waited for.
//!
//! The kernel reports "may be written" each time a peer takes bytes. Who always listens for that,
//! as tokio's own stream does, is woken once more for every request, for nothing; so a connection
//! listens for bytes to read, and for room to write only while a reply does not fit.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use memod_descriptors::Inbox;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct PeerStream {
    socket: AsyncFd<UnixStream>,
}

/// Listens for room to write, for as long as it lives.
pub(crate) type Room = AsyncFd<UnixStream>;

impl PeerStream {
    /// Takes over an accepted socket; call within the runtime.
    ///
    /// # Errors
    /// If it cannot be registered anew.
    pub(crate) fn new(accepted: tokio::net::UnixStream) -> io::Result<Self> {
        let socket = accepted.into_std()?;
        Ok(Self { socket: register(socket, Interest::READABLE)? })
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &UnixStream {
        self.socket.get_ref()
    }

    /// Appends what there is, at most `room` bytes; 0 at the end of the stream. Descriptors that
    /// come with it go into the inbox. May be cancelled without loss.
    ///
    /// # Errors
    /// If the socket fails, or too many descriptors come.
    pub(crate) async fn read(
        &self,
        buffer: &mut BytesMut,
        room: usize,
        inbox: &mut Inbox,
    ) -> io::Result<usize> {
        loop {
            let mut guard = self.socket.readable().await?;
            let read = guard.try_io(|socket| append(socket.get_ref(), buffer, room, inbox));
            if let Ok(read) = read {
                // Less than there was room for: a further try would only learn that that is all.
                if read.as_ref().is_ok_and(|read| (1..room).contains(read)) {
                    guard.clear_ready();
                }
                return read;
            }
        }
    }

    /// Writes what fits at once, the descriptors with the first byte of it.
    ///
    /// # Errors
    /// `WouldBlock` if nothing does; or if the socket fails.
    pub(crate) fn write(
        &self,
        pieces: &[IoSlice<'_>],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        memod_descriptors::send(self.socket(), pieces, descriptors)
    }

    /// Begins to listen for room to write.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated or registered.
    pub(crate) fn listen_for_room(&self) -> io::Result<Room> {
        register(self.socket().try_clone()?, Interest::WRITABLE)
    }

    /// Ends the connection both ways, which its reader notices.
    pub(crate) fn shut_down(&self) {
        // It fails only if the peer has shut it down already.
        let _ = shutdown(self.socket().as_raw_fd(), Shutdown::Both);
    }
}

/// Registers a socket with the runtime.
#[expect(
    deprecated,
    reason = "its successor is unsafe, to make sure of what a `UnixStream` guarantees: that its \
              descriptor stays the same for as long as it lives"
)]
fn register(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

fn append(
    socket: &UnixStream,
    buffer: &mut BytesMut,
    room: usize,
    inbox: &mut Inbox,
) -> io::Result<usize> {
    let held = buffer.len();
    buffer.resize(held + room, 0);
    let to = buffer.get_mut(held..).unwrap_or_default();
    let read = memod_descriptors::receive(socket, to, inbox);
    buffer.truncate(held + read.as_ref().map_or(0, |read| *read));
    read
}
