//! Writing to standard output and standard error as they are.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A second handle of one of our own streams, without the buffer of [`std::io::Stdout`].
///
/// # Errors
/// If there are too many open files.
pub(super) fn unbuffered(stream: BorrowedFd<'_>) -> io::Result<File> {
    Ok(stream.try_clone_to_owned()?.into())
}

/// Writes all bytes, also to a stream that somebody has made non-blocking.
///
/// # Errors
/// As the kernel says.
pub(super) fn write_all(to: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match (&mut &*to).write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut ready = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
                poll(&mut ready, PollTimeout::NONE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    #[test]
    fn a_full_pipe_that_does_not_block_is_waited_for() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a flag");
        let to = unbuffered(writer.as_fd()).expect("a handle");
        drop(writer);
        let bytes = vec![7; 1 << 20];
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || write_all(&to, &sent));
        let mut received = Vec::new();
        reader.read_to_end(&mut received).expect("all of it");
        sender.join().expect("no panic").expect("written");
        assert!(received == bytes);
    }

    #[test]
    fn a_reader_that_has_gone_away_is_told() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let to = unbuffered(writer.as_fd()).expect("a handle");
        drop(reader);
        let error = write_all(&to, b"x").expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
