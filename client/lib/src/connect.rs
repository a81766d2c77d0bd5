//! The socket: frames out and in, with a bound on every wait.
//!
//! **Invariants.** No send raises SIGPIPE. A large payload is neither joined to its header nor
//! copied on its way out, and on its way in passes through one buffer that is used again. No
//! length is believed before [`Prefix::parse`] has checked it.

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memod_descriptors::{DescriptorError, Inbox, SOCKET_PATH_BYTES_MAX};
use memod_protocol::frame::{PREFIX_BYTES, Prefix};
use memod_protocol::handshake::Agreement;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, getsockopt, recv, setsockopt,
    shutdown, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::Error;
use crate::exchange;
use crate::inherited::Noted;

/// The receive buffer: as much as the kernel hands over at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// Pieces given to one `sendmsg`; the kernel's own bound is 1024.
const SLICES_MAX: usize = 512;

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Until then, whatever happens; `of` is how long that was when it began.
    Until { deadline: Instant, of: Duration },
    /// As long as something happens at least this often.
    Stall(Duration),
}

impl Patience {
    /// So long from now on.
    pub(crate) fn within(of: Duration) -> Self {
        // A bound that the clock cannot express is no bound that matters: a year will do.
        let now = Instant::now();
        let deadline = now.checked_add(of).unwrap_or(now + Duration::from_secs(365 * 86400));
        Self::Until { deadline, of }
    }

    /// So much longer.
    pub(crate) fn and(self, more: Duration) -> Self {
        match self {
            Self::Stall(of) => Self::Stall(of.saturating_add(more)),
            _ if more.is_zero() => self,
            Self::Until { of, .. } => {
                let left = self.left().unwrap_or_default();
                let Self::Until { deadline, .. } = Self::within(left.saturating_add(more)) else {
                    return self;
                };
                Self::Until { deadline, of: of.saturating_add(more) }
            }
        }
    }

    /// How long one more step may take; nothing if the time is up.
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Self::Stall(of) => Some(of),
            Self::Until { deadline, .. } => {
                Some(deadline.saturating_duration_since(Instant::now()))
            }
        }
        .filter(|left| !left.is_zero())
    }

    /// The same; as long as at first if no time is left, since a question that waits at the daemon
    /// may have taken it all.
    pub(crate) fn or_anew(self) -> Self {
        if self.left().is_some() { self } else { Self::within(self.bound()) }
    }

    /// The bound, for messages.
    pub(crate) const fn bound(self) -> Duration {
        match self {
            Self::Stall(of) | Self::Until { of, .. } => of,
        }
    }
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Stands before the socket, so as to be dropped before it.
    _noted: Noted,
    socket: UnixStream,
    path: PathBuf,
    /// Received bytes that have not been looked at stand between `start` and `end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    inbox: Inbox,
    send_timeout: Option<Duration>,
    received: bool,
}

/// The address of a socket.
///
/// # Errors
/// If the path is too long for one.
pub(crate) fn address(path: &Path) -> Result<UnixAddr, Error> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        let max = SOCKET_PATH_BYTES_MAX;
        return Err(Error::PathTooLong { path: path.to_owned(), bytes, max });
    }
    UnixAddr::new(path).map_err(|errno| io_error(path, errno.into()))
}

/// The error for a socket that failed.
pub(crate) fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

/// The error for a socket to which there is no connection: nobody may be there.
pub(crate) fn connect_error(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ConnectionRefused => Error::NoDaemon { path: path.to_owned(), source },
        _ => io_error(path, source),
    }
}

/// The error for a sink or a temporary file that failed.
pub(crate) fn sink_error(source: io::Error) -> Error {
    Error::Local { what: "cannot take an output".into(), source }
}

/// Who serves the socket, by the kernel's word.
pub(crate) fn peer_uid(socket: &impl AsFd, path: &Path) -> Result<u32, Error> {
    let credentials = getsockopt(socket, sockopt::PeerCredentials);
    credentials.map(|c| c.uid()).map_err(|errno| io_error(path, errno.into()))
}

/// Whether the peer is there and has said nothing.
pub(crate) fn is_quiet(socket: &impl AsRawFd) -> bool {
    peek(socket) == Err(Errno::EAGAIN)
}

/// How many bytes of at most one are there to be received; none at the peer's end.
pub(crate) fn peek(socket: &impl AsRawFd) -> nix::Result<usize> {
    recv(socket.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
}

/// Ends a connection, however many processes have a copy of it.
pub(crate) fn shut_down(socket: &impl AsRawFd) {
    // What fails has ended already.
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
}

/// Sends head and payload as far as the kernel takes them at once, and descriptors with the first
/// byte; gives how many bytes that were. `sent` have gone already.
pub(crate) fn send_some(
    socket: &impl AsRawFd,
    head: &[u8],
    payload: &[&[u8]],
    descriptors: &[BorrowedFd<'_>],
    sent: usize,
) -> io::Result<usize> {
    let mut skip = sent;
    let mut slices = Vec::with_capacity((payload.len() + 1).min(SLICES_MAX));
    for piece in std::iter::once(&head).chain(payload) {
        if slices.len() == SLICES_MAX {
            break;
        }
        let rest = piece.get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(piece.len());
        if !rest.is_empty() {
            slices.push(IoSlice::new(rest));
        }
    }
    let descriptors = if sent == 0 { descriptors } else { &[] };
    memod_descriptors::send(socket, &slices, descriptors)
}

/// Receives what there is, with the descriptors that come with it; nothing if there is none now.
pub(crate) fn receive(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
    inbox: &mut Inbox,
    path: &Path,
) -> Result<Option<usize>, Error> {
    match memod_descriptors::receive(socket, buffer, inbox) {
        Ok(0) => Err(io_error(path, io::ErrorKind::UnexpectedEof.into())),
        Ok(read) => Ok(Some(read)),
        Err(error) => match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(None),
            io::ErrorKind::InvalidData => Err(Error::Protocol(error.to_string())),
            _ => Err(io_error(path, error)),
        },
    }
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::NoDaemon`] if nobody listens, [`Error::Timeout`] if nobody accepts in time.
    pub(crate) fn open(path: &Path, patience: Patience) -> Result<Self, Error> {
        let address = address(path)?;
        let failed = |errno: Errno| io_error(path, errno.into());
        let socket: OwnedFd = nix::sys::socket::socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(failed)?;
        let timeout = |what| timeout(path, what, patience);
        loop {
            // The send timeout also bounds the wait for a place in the listener's queue.
            let left = patience.left().ok_or_else(|| timeout("accept a connection"))?;
            setsockopt(&socket, sockopt::SendTimeout, &time_value(left)).map_err(failed)?;
            match nix::sys::socket::connect(socket.as_raw_fd(), &address) {
                Ok(()) => break,
                Err(Errno::EAGAIN) => return Err(timeout("accept a connection")),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(connect_error(path, errno.into())),
            }
        }
        Ok(Self::over(socket.into(), path))
    }

    /// Speaks over a connected socket.
    pub(crate) fn over(socket: UnixStream, path: &Path) -> Self {
        Self {
            _noted: Noted::of(&socket),
            socket,
            path: path.to_owned(),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            inbox: Inbox::default(),
            send_timeout: None,
            received: false,
        }
    }

    /// Greets, and gives what both agree on.
    ///
    /// # Errors
    /// If the peer refuses, is not memod, or is gone without a word.
    pub(crate) fn greet(&mut self, program: &str, patience: Patience) -> Result<Agreement, Error> {
        let sent = self.send(&exchange::hello(program), &[], &[], patience);
        // Who refuses may say so and leave before it is greeted; what it has said can be read.
        let hang_up = match sent {
            Err(error) if !error.is_hang_up() => return Err(error),
            sent => sent.err(),
        };
        let welcome = self.header(patience);
        let (header, payload_bytes) = welcome.map_err(|error| hang_up.unwrap_or(error))?;
        exchange::welcome(&header, payload_bytes)
    }

    /// Who serves it.
    pub(crate) fn peer_uid(&self) -> Result<u32, Error> {
        peer_uid(&self.socket, &self.path)
    }

    /// Whether the peer is there and has said nothing unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        self.start == self.end && self.inbox.is_empty() && is_quiet(&self.socket)
    }

    /// Ends the connection for whoever else may hold a copy of it: a process that was forked.
    pub(crate) fn shut_down(&self) {
        shut_down(&self.socket);
    }

    /// Another hold of the same socket.
    pub(crate) fn copy(&self) -> Result<UnixStream, Error> {
        self.socket.try_clone().map_err(|error| io_error(&self.path, error))
    }

    /// The error for a peer that does not do this in time.
    pub(crate) fn late(&self, what: &'static str, patience: Patience) -> Error {
        timeout(&self.path, what, patience)
    }

    /// Forgets whether anything was received: a new request begins.
    pub(crate) fn begin(&mut self) {
        self.received = false;
    }

    /// Whether anything was received since the request began.
    pub(crate) const fn has_received(&self) -> bool {
        self.received
    }

    /// Sends a frame: prefix and header, then the payload; the descriptors go with its first byte.
    ///
    /// # Errors
    /// If the socket fails or the peer does not take the bytes in time.
    pub(crate) fn send(
        &mut self,
        head: &[u8],
        payload: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Error> {
        let whole = head.len() + payload.iter().map(|piece| piece.len()).sum::<usize>();
        let mut sent = 0;
        while sent < whole {
            let late = || timeout(&self.path, "take a request", patience);
            let left = patience.left().ok_or_else(late)?;
            if needs_setting(self.send_timeout, left, patience) {
                let outcome = self.socket.set_write_timeout(Some(left));
                outcome.map_err(|error| io_error(&self.path, error))?;
                self.send_timeout = Some(left);
            }
            let error = match send_some(&self.socket, head, payload, descriptors, sent) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(more) => {
                    sent += more;
                    continue;
                }
                Err(error) => error,
            };
            match (error.kind(), patience) {
                (io::ErrorKind::Interrupted, _) => {}
                (io::ErrorKind::WouldBlock, Patience::Stall(_)) => return Err(late()),
                (io::ErrorKind::WouldBlock, _) => self.send_timeout = None,
                _ => return Err(io_error(&self.path, error)),
            }
        }
        Ok(())
    }

    /// Receives the next frame's header; gives it with the length of the payload, which has to be
    /// taken by [`Wire::payload`] before the next frame.
    ///
    /// # Errors
    /// If the socket fails or ends, nothing comes in time, or what comes is no frame.
    pub(crate) fn header(&mut self, patience: Patience) -> Result<(Vec<u8>, usize), Error> {
        // What came with the frame before has been taken, or belongs to nothing.
        self.descriptors(0)?;
        let mut prefix = [0; PREFIX_BYTES];
        self.exactly(&mut prefix, patience)?;
        let prefix = Prefix::parse(prefix)?;
        let mut header = vec![0; prefix.header_bytes];
        self.exactly(&mut header, patience)?;
        Ok((header, prefix.payload_bytes))
    }

    /// Takes the descriptors of the frame that is being read, whose message announces so many.
    ///
    /// # Errors
    /// If others came.
    pub(crate) fn descriptors(
        &mut self,
        announced: usize,
    ) -> Result<Vec<OwnedFd>, DescriptorError> {
        self.inbox.take(announced, self.end - self.start)
    }

    /// Takes the next bytes of the payload and hands them on in pieces.
    ///
    /// # Errors
    /// As [`Wire::header`], or with what the taker fails.
    pub(crate) fn payload(
        &mut self,
        bytes: usize,
        patience: Patience,
        mut taker: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut left = bytes;
        while left > 0 {
            self.fill(patience)?;
            let to = self.end.min(self.start.saturating_add(left));
            let piece = self.buffer.get(self.start..to).expect("start <= to <= end <= length");
            taker(piece).map_err(sink_error)?;
            left -= to - self.start;
            self.start = to;
        }
        Ok(())
    }

    fn exactly(&mut self, mut wanted: &mut [u8], patience: Patience) -> Result<(), Error> {
        while !wanted.is_empty() {
            self.fill(patience)?;
            let mut held = self.buffer.get(self.start..self.end).expect("start <= end <= length");
            let read = Read::read(&mut held, wanted).expect("memory can be read");
            wanted = wanted.get_mut(read..).expect("no more is read than is wanted");
            self.start += read;
        }
        Ok(())
    }

    /// Receives something unless something is held already.
    fn fill(&mut self, patience: Patience) -> Result<(), Error> {
        if self.start < self.end {
            return Ok(());
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_BYTES];
        }
        (self.start, self.end) = (0, 0);
        // The first bytes of an answer are never there yet; those of a stream often are.
        let mut is_there = self.received;
        loop {
            if !is_there && !self.is_readable(patience)? {
                return Err(self.late("answer", patience));
            }
            match receive(&self.socket, &mut self.buffer, &mut self.inbox, &self.path)? {
                Some(read) => {
                    self.end = read;
                    self.received = true;
                    return Ok(());
                }
                None => is_there = false,
            }
        }
    }

    /// Waits for something to receive, or for the peer's end; whether there is before patience
    /// ends.
    ///
    /// A process that sleeps in `poll` is woken by what comes in only. One that sleeps in `recv` is
    /// also woken when the peer takes the request, for nothing, and the peer pays for the waking.
    pub(crate) fn is_readable(&self, patience: Patience) -> Result<bool, Error> {
        if self.start < self.end {
            return Ok(true);
        }
        loop {
            let Some(left) = patience.left() else { return Ok(false) };
            // Rounded up, so that what is left is not asked for many times over.
            let milliseconds = left.as_nanos().div_ceil(1_000_000);
            let bound = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
            let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, bound) {
                Ok(0) if matches!(patience, Patience::Stall(_)) => return Ok(false),
                // The clock decides.
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(io_error(&self.path, errno.into())),
            }
        }
    }
}

/// Whether the kernel's timeout has to be set anew. One that is a little long is good enough, so
/// that a request does not cost two more system calls.
fn needs_setting(set: Option<Duration>, left: Duration, patience: Patience) -> bool {
    match patience {
        Patience::Stall(_) => set != Some(left),
        Patience::Until { .. } => {
            set.is_none_or(|set| set < left / 2 || set > left.saturating_add(left / 16))
        }
    }
}

/// The error for a daemon that is late.
pub(crate) fn timeout(path: &Path, what: &'static str, patience: Patience) -> Error {
    Error::Timeout { path: path.to_owned(), what, after: patience.bound() }
}

/// For the kernel, for which zero means "for ever".
fn time_value(duration: Duration) -> TimeVal {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    TimeVal::microseconds(microseconds.clamp(1, 365 * 86400 * 1_000_000))
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
