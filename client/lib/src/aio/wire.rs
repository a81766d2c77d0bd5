//! The socket of the async client: frames out and in, with a bound on every wait.
//!
//! **Invariants.** As [`crate::connect`].

use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use memod_descriptors::{DescriptorError, Inbox};
use memod_protocol::Pending;
use memod_protocol::frame::{PREFIX_BYTES, Prefix};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::hop::hop;
use crate::collect::Collector;
use crate::connect::{
    Patience, address, connect_error, io_error, is_quiet, peek, peer_uid, receive, send_some,
    shut_down, sink_error, timeout,
};
use crate::content::Hit;
use crate::error::Error;
use crate::exchange::hit::{HitSummary, OutputDescription};
use crate::options::OutputSink;

/// The receive buffer: as much as the kernel hands over at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// How long to wait for a place in the listener's queue, of which the kernel gives no notice.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// A connected socket.
#[derive(Debug)]
pub(super) struct Wire {
    socket: UnixStream,
    path: PathBuf,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    inbox: Inbox,
    received: bool,
}

/// What takes the outputs of a hit.
pub(super) enum Taker<'a> {
    /// A collector; absent only while it is at work on another thread.
    Collector(Option<Collector>),
    /// The caller's sink.
    Sink(&'a mut (dyn OutputSink + Send)),
}

impl Taker<'_> {
    /// The hit whose outputs it has collected.
    pub(super) fn collected(self, summary: HitSummary) -> Result<Hit, Error> {
        let Self::Collector(Some(collector)) = self else {
            return Err(sink_error(io::Error::other("the collector is away")));
        };
        collector.finish(summary).map_err(sink_error)
    }

    pub(super) fn begin(&mut self, output: &OutputDescription, index: usize) -> io::Result<()> {
        self.sink()?.begin(output, index)
    }

    pub(super) fn whole(&mut self, bytes: Bytes) -> io::Result<()> {
        self.sink()?.whole(bytes)
    }

    pub(super) fn waiting(&mut self, pending: &Pending) {
        if let Ok(sink) = self.sink() {
            sink.waiting(pending);
        }
    }

    pub(super) fn sink(&mut self) -> io::Result<&mut dyn OutputSink> {
        match self {
            Self::Collector(Some(collector)) => Ok(collector),
            Self::Collector(None) => Err(io::Error::other("the collector is away")),
            Self::Sink(sink) => Ok(&mut **sink),
        }
    }

    /// The collector, if what comes now goes into a file.
    fn spooling(&mut self) -> Option<Collector> {
        match self {
            Self::Collector(collector) => collector.take_if(|collector| collector.is_spooling()),
            Self::Sink(_) => None,
        }
    }
}

/// Waits for one step as long as patience lasts.
async fn patiently<T>(
    path: &Path,
    what: &'static str,
    patience: Patience,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, Error> {
    let late = || timeout(path, what, patience);
    let left = patience.left().ok_or_else(late)?;
    match tokio::time::timeout(left, step).await {
        Ok(done) => done.map_err(|error| io_error(path, error)),
        Err(_) => Err(late()),
    }
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// As the blocking one.
    pub(super) async fn open(path: &Path, patience: Patience) -> Result<Self, Error> {
        address(path)?;
        let connect = async {
            loop {
                match UnixStream::connect(path).await {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(QUEUE_PAUSE).await;
                    }
                    other => return other,
                }
            }
        };
        let socket = match patiently(path, "accept a connection", patience, connect).await {
            Err(Error::Io { source, .. }) => return Err(connect_error(path, source)),
            other => other?,
        };
        let path = path.to_owned();
        let (buffer, inbox) = (Vec::new(), Inbox::default());
        Ok(Self { socket, path, buffer, start: 0, end: 0, inbox, received: false })
    }

    /// Who serves it.
    pub(super) fn peer_uid(&self) -> Result<u32, Error> {
        peer_uid(&self.socket, &self.path)
    }

    /// Whether the peer is there and has said nothing unasked.
    pub(super) fn is_quiet(&self) -> bool {
        self.start == self.end && self.inbox.is_empty() && is_quiet(&self.socket)
    }

    /// As the blocking one.
    pub(super) fn shut_down(&self) {
        shut_down(&self.socket);
    }

    /// Another hold of the same socket, as a process has that was forked.
    #[cfg(test)]
    pub(super) fn copy(&self) -> std::os::fd::OwnedFd {
        use std::os::fd::AsFd;

        self.socket.as_fd().try_clone_to_owned().expect("a socket can be copied")
    }

    /// The error for a peer that does not do this in time.
    pub(super) fn late(&self, what: &'static str, patience: Patience) -> Error {
        timeout(&self.path, what, patience)
    }

    /// Waits for something to receive, or for the peer's end; whether there is before patience
    /// ends.
    pub(super) async fn is_readable(&self, patience: Patience) -> Result<bool, Error> {
        if self.start < self.end {
            return Ok(true);
        }
        let Some(left) = patience.left() else { return Ok(false) };
        // What the runtime calls readable may have been read already; to look is to know.
        let look = self.socket.async_io(Interest::READABLE, || Ok(peek(&self.socket)?));
        match tokio::time::timeout(left, look).await {
            Ok(looked) => looked.map(|_| true).map_err(|error| io_error(&self.path, error)),
            Err(_) => Ok(false),
        }
    }

    /// Forgets whether anything was received: a new request begins.
    pub(super) fn begin(&mut self) {
        self.received = false;
    }

    /// Whether anything was received since the request began.
    pub(super) const fn has_received(&self) -> bool {
        self.received
    }

    /// Sends a frame; the descriptors go with its first byte.
    pub(super) async fn send(
        &mut self,
        head: &[u8],
        payload: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Error> {
        let whole = head.len() + payload.iter().map(|piece| piece.len()).sum::<usize>();
        let mut sent = 0;
        while sent < whole {
            let step = self.socket.async_io(Interest::WRITABLE, || {
                loop {
                    match send_some(&self.socket, head, payload, descriptors, sent) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        other => return other,
                    }
                }
            });
            sent += patiently(&self.path, "take a request", patience, step).await?;
        }
        Ok(())
    }

    /// Receives the next frame's header; gives it with the length of the payload.
    pub(super) async fn header(&mut self, patience: Patience) -> Result<(Vec<u8>, usize), Error> {
        // What came with the frame before has been taken, or belongs to nothing.
        self.descriptors(0)?;
        let mut prefix = [0; PREFIX_BYTES];
        self.exactly(&mut prefix, patience).await?;
        let prefix = Prefix::parse(prefix)?;
        let mut header = vec![0; prefix.header_bytes];
        self.exactly(&mut header, patience).await?;
        Ok((header, prefix.payload_bytes))
    }

    /// Takes the descriptors of the frame that is being read, whose message announces so many.
    pub(super) fn descriptors(
        &mut self,
        announced: usize,
    ) -> Result<Vec<OwnedFd>, DescriptorError> {
        self.inbox.take(announced, self.end - self.start)
    }

    /// Takes the next bytes of the payload and hands them on in pieces.
    pub(super) async fn payload(
        &mut self,
        bytes: usize,
        patience: Patience,
        taker: &mut Taker<'_>,
    ) -> Result<(), Error> {
        let mut left = bytes;
        while left > 0 {
            self.fill(patience).await?;
            let from = self.start;
            let to = self.end.min(from.saturating_add(left));
            if let Some(mut collector) = taker.spooling() {
                let buffer = std::mem::take(&mut self.buffer);
                let (buffer, collector, outcome) = hop(move || {
                    let outcome = collector.data(piece(&buffer, from, to));
                    (buffer, collector, outcome)
                })
                .await?;
                self.buffer = buffer;
                *taker = Taker::Collector(Some(collector));
                outcome.map_err(sink_error)?;
            } else {
                let outcome =
                    taker.sink().and_then(|sink| sink.data(piece(&self.buffer, from, to)));
                outcome.map_err(sink_error)?;
            }
            left -= to - from;
            self.start = to;
        }
        Ok(())
    }

    /// The whole payload of a frame, which is bounded.
    pub(super) async fn gathered(
        &mut self,
        bytes: usize,
        patience: Patience,
    ) -> Result<Bytes, Error> {
        let mut payload = vec![0; bytes];
        self.exactly(&mut payload, patience).await?;
        Ok(payload.into())
    }

    async fn exactly(&mut self, mut wanted: &mut [u8], patience: Patience) -> Result<(), Error> {
        while !wanted.is_empty() {
            self.fill(patience).await?;
            let mut held = piece(&self.buffer, self.start, self.end);
            let read = io::Read::read(&mut held, wanted).expect("memory can be read");
            wanted = wanted.get_mut(read..).expect("no more is read than is wanted");
            self.start += read;
        }
        Ok(())
    }

    /// Receives something unless something is held already.
    async fn fill(&mut self, patience: Patience) -> Result<(), Error> {
        if self.start < self.end {
            return Ok(());
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_BYTES];
        }
        (self.start, self.end) = (0, 0);
        let (socket, path) = (&self.socket, &self.path);
        let (buffer, inbox) = (&mut self.buffer, &mut self.inbox);
        let step = async {
            loop {
                socket.readable().await?;
                let read = socket.try_io(Interest::READABLE, || {
                    match receive(socket, buffer, inbox, path) {
                        Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                        other => Ok(other),
                    }
                });
                match read {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => return other,
                }
            }
        };
        self.end = patiently(&self.path, "answer", patience, step).await??.unwrap_or_default();
        self.received = true;
        Ok(())
    }
}

fn piece(buffer: &[u8], from: usize, to: usize) -> &[u8] {
    buffer.get(from..to).expect("start <= end <= length")
}
