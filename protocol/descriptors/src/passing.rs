//! Sends and receives the bytes of a stream socket with the descriptors that go with them.
//!
//! **Invariants.** No send raises SIGPIPE. What is received is close-on-exec from the beginning.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};

use crate::control::Control;
use crate::inbox::{DescriptorError, Inbox};

/// Sends what the kernel takes at once, the descriptors with its first byte; gives how many bytes
/// that were. Whoever sends the rest sends no descriptors with it.
///
/// # Errors
/// If the socket fails. Then nothing was sent, no descriptor either.
pub fn send(
    socket: &impl AsRawFd,
    pieces: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket.as_raw_fd(), pieces, control, flags, None)?)
}

/// Receives what there is into the buffer, and what comes with it into the inbox; gives how many
/// bytes that were, 0 at the end of the stream. Does not wait.
///
/// # Errors
/// `WouldBlock` if there is nothing; or if the socket fails, or more descriptors came than may.
/// Those are closed then, and the stream cannot be read on.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8], inbox: &mut Inbox) -> io::Result<usize> {
    let mut control = Control::new();
    let mut pieces = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(control.room()), flags)?;
    let (bytes, flags) = (received.bytes, received.flags);
    let descriptors = control.take();
    if flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(refused(DescriptorError::TooMany));
    }
    inbox.add(bytes, descriptors).map_err(refused)?;
    Ok(bytes)
}

fn refused(error: DescriptorError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
#[path = "passing_tests.rs"]
mod tests;
