//! Reads frames from a connection with bounded memory and patience.
//!
//! **Invariants.** No byte of a frame's body is reserved before its lengths were checked. A frame
//! larger than [`SMALL_FRAME_BYTES`] takes its size from the budget that all connections share,
//! and gives it back when it is dropped. A peer may be silent between frames, not inside one, and
//! holds nothing then.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use memod_descriptors::{DescriptorError, Inbox};
use memod_protocol::Frame;
use memod_protocol::frame::{FrameError, PREFIX_BYTES, Prefix};
use tokio::time::Instant;

use super::budget::{Budgets, Share, Transfer, TransferError};
use super::received::ReceivedPlaces;
use super::stream::PeerStream;

/// Frames up to this size are read without asking the budget.
const SMALL_FRAME_BYTES: usize = 64 * 1024;
/// What is reserved for a read when nothing is known yet.
const READ_BYTES: usize = 8 * 1024;
/// The most that is read at once.
const READ_BYTES_MAX: usize = 128 * 1024;

/// Descriptors that a connection may hold: each request has at most one, and the beginning of the
/// next may have come with it.
const RECEIVED_MAX: usize = 2;

/// A frame with its share of the budget.
#[derive(Debug)]
pub(crate) struct Received {
    /// The frame.
    pub(crate) frame: Frame,
    /// Its share; none for a small frame.
    pub(crate) share: Option<Share>,
}

/// The descriptors of a frame, with their places among those that may be held in all.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    /// The descriptors, in order.
    pub(crate) held: Vec<OwnedFd>,
    /// Given back when they are closed.
    pub(crate) places: Option<ReceivedPlaces>,
}

/// Why reading ended badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// What came is not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream ended in the middle of a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// The peer was given up in the middle of a frame.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A frame had more descriptors or fewer than its message says.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// All the descriptors that may be held are, or those of this user.
    #[error("too many descriptors are under way in all")]
    Crowded,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The reading half of a connection.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: Arc<PeerStream>,
    buffer: BytesMut,
    inbox: Inbox,
    /// The places that those in the inbox have among all that may be held.
    places: ReceivedPlaces,
    budgets: Budgets,
    stall_timeout: Duration,
}

impl FrameReader {
    /// Reads frames from this socket.
    pub(crate) fn new(stream: Arc<PeerStream>, budgets: Budgets, stall_timeout: Duration) -> Self {
        let (buffer, inbox) = (BytesMut::new(), Inbox::holding(RECEIVED_MAX));
        let places = ReceivedPlaces::default();
        Self { stream, buffer, inbox, places, budgets, stall_timeout }
    }

    /// Waits until the next frame has begun to arrive; false at the end of the stream. May be
    /// cancelled without loss.
    ///
    /// # Errors
    /// If the socket fails.
    pub(crate) async fn begun(&mut self) -> Result<bool, ReadError> {
        if !self.buffer.is_empty() {
            return Ok(true);
        }
        let there = self.stream.read(&mut self.buffer, READ_BYTES, &mut self.inbox);
        let read = if let Some(read) = now_or_never(there) {
            read?
        } else {
            // Thousands of peers may be silent: nothing is held to read into meanwhile.
            self.buffer = BytesMut::new();
            self.stream.read(&mut self.buffer, READ_BYTES, &mut self.inbox).await?
        };
        self.place()?;
        Ok(read > 0)
    }

    /// Reads the rest of a frame that has begun.
    ///
    /// # Errors
    /// Every way in which it can end badly; the connection cannot be used on.
    pub(crate) async fn rest(&mut self) -> Result<Received, ReadError> {
        while self.buffer.len() < PREFIX_BYTES {
            if let Some(length) = self.buffer.first_chunk() {
                Prefix::check_length(*length)?;
            }
            self.more(READ_BYTES, Instant::now(), false).await?;
        }
        let prefix = *self.buffer.first_chunk::<PREFIX_BYTES>().ok_or(ReadError::Truncated)?;
        let whole = PREFIX_BYTES + Prefix::parse(prefix)?.body_bytes();
        let share = if whole > SMALL_FRAME_BYTES {
            Some(self.budgets.requests.share(whole).await)
        } else {
            None
        };
        let began = Instant::now();
        loop {
            match Frame::take(&mut self.buffer)? {
                Ok(frame) => return Ok(Received { frame, share }),
                Err(missing) => {
                    self.buffer.reserve(missing);
                    self.more(missing.min(READ_BYTES_MAX), began, share.is_some()).await?;
                }
            }
        }
    }

    /// The descriptors of the frame that [`FrameReader::rest`] gave last, whose message announces
    /// so many. To be asked for behind each frame.
    ///
    /// # Errors
    /// If there are more or fewer; the connection cannot be used on.
    pub(crate) fn descriptors(&mut self, announced: usize) -> Result<Descriptors, ReadError> {
        let held = self.inbox.take(announced, self.buffer.len())?;
        let places = self.places.split(held.len());
        Ok(Descriptors { held, places })
    }

    /// Gives places to descriptors that have just come.
    fn place(&mut self) -> Result<(), ReadError> {
        let counted = self.places.count();
        let more = u32::try_from(self.inbox.len().saturating_sub(counted)).unwrap_or(u32::MAX);
        if more > 0 {
            let places = self.budgets.received.try_take(more).ok_or(ReadError::Crowded)?;
            self.places.merge(places);
        }
        Ok(())
    }

    /// Reads what there is, or waits for it. A frame that holds a share is given up earlier.
    async fn more(
        &mut self,
        room: usize,
        began: Instant,
        holds_share: bool,
    ) -> Result<(), ReadError> {
        let transfer = Transfer {
            began,
            stall_timeout: self.stall_timeout,
            pressure: holds_share.then(|| self.budgets.pressure()),
            writing_pressure: None,
        };
        let read = self.stream.read(&mut self.buffer, room, &mut self.inbox);
        let read = transfer.step(read).await?;
        self.place()?;
        if read == 0 { Err(ReadError::Truncated) } else { Ok(()) }
    }
}

/// What a future gives if it need not wait.
fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
