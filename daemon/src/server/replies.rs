//! Writes replies to a connection.
//!
//! **Invariants.** One frame is written at a time, whole, or the connection ends: after a failure
//! nothing more is written to it or read from it. What is larger than [`SMALL_REPLY_BYTES`] is held
//! only with a share of the budget. A peer that takes no byte for the stall timeout is cut off, and
//! earlier if others wait for memory, or for its place: there are only so many places to wait for
//! room to write, and each takes a descriptor. Until then it stalls only itself.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use memod_protocol::limits::HEADER_BYTES_MAX;
use memod_protocol::{Frame, Response, ResponseHeader, WireError};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::budget::{Budgets, Share, Transfer, TransferError};
use super::stream::{PeerStream, Room};
use crate::service::{Reply, Stream};

/// Large replies of one connection that are read and written at a time, so that whoever asks for
/// much at once gets no more of the memory than others.
const TURNS_MAX: usize = 2;
/// What a large reply takes from the budget: two chunks, one being written and one being read.
const STREAM_SHARE_BYTES: usize = 2 * memod_protocol::limits::CHUNK_BYTES as usize;
/// Replies up to this size are held without asking the budget.
const SMALL_REPLY_BYTES: usize = 64 * 1024;
/// Pieces given to one `writev`.
const SLICES_MAX: usize = 16;

/// The writing half of a connection.
#[derive(Debug)]
pub(crate) struct Replies {
    /// Locked while a frame is being written.
    stream: Mutex<Arc<PeerStream>>,
    /// Set when nothing can be written any more.
    broken: AtomicBool,
    turns: Arc<Semaphore>,
    /// The one hit whose outputs are being streamed.
    streaming: Semaphore,
    budgets: Budgets,
    stall_timeout: Duration,
}

/// The memory that a reply may need, and its connection's turn to have it.
#[derive(Debug)]
pub(crate) struct ReplyShare {
    _turn: OwnedSemaphorePermit,
    share: Share,
}

/// A frame that does not fit yet.
#[derive(Debug)]
struct WaitingForRoom<'a> {
    /// Closed before its place is given back.
    room: Room,
    _place: Share,
    transfer: Transfer<'a>,
}

impl Replies {
    /// Writes replies to this socket.
    pub(crate) fn new(stream: Arc<PeerStream>, budgets: Budgets, stall_timeout: Duration) -> Self {
        Self {
            stream: Mutex::new(stream),
            broken: AtomicBool::new(false),
            turns: Arc::new(Semaphore::new(TURNS_MAX)),
            streaming: Semaphore::new(1),
            budgets,
            stall_timeout,
        }
    }

    /// Waits for the memory that a reply may need until it has been written.
    pub(crate) async fn share(&self, bytes: usize) -> ReplyShare {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.expect("the semaphore of a connection is never closed");
        ReplyShare { _turn: turn, share: self.budgets.replies.share(bytes).await }
    }

    /// The same, if there is room now.
    pub(crate) fn try_share(&self, bytes: usize) -> Option<ReplyShare> {
        let turn = Arc::clone(&self.turns).try_acquire_owned().ok()?;
        Some(ReplyShare { _turn: turn, share: self.budgets.replies.try_share(bytes)? })
    }

    /// Whether nothing can be written any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Writes a message and its payload.
    ///
    /// # Errors
    /// If the socket fails or stalls.
    pub(crate) async fn send(
        &self,
        id: u64,
        response: Response,
        payload: Vec<Bytes>,
    ) -> Result<(), TransferError> {
        self.send_with(id, response, payload, &[]).await
    }

    /// The same with the descriptors that the message announces.
    ///
    /// # Errors
    /// If the socket fails or stalls.
    async fn send_with(
        &self,
        id: u64,
        response: Response,
        payload: Vec<Bytes>,
        descriptors: &[Arc<OwnedFd>],
    ) -> Result<(), TransferError> {
        let frame = match Frame::new(&ResponseHeader { id, response }, payload) {
            Ok(frame) => frame,
            Err(error) => {
                let code = memod_protocol::ErrorCode::Internal;
                let error = WireError::new(code, format!("the reply does not fit: {error}"));
                Frame::bare(&ResponseHeader { id, response: Response::Error(error) })
                    .expect("an error fits into a frame")
            }
        };
        self.send_frame_with(&frame, descriptors).await
    }

    /// Writes a frame. If that fails, the connection is of no use any more and is shut down, which
    /// ends its reader too.
    ///
    /// # Errors
    /// If the socket fails or stalls.
    pub(crate) async fn send_frame(&self, frame: &Frame) -> Result<(), TransferError> {
        self.send_frame_with(frame, &[]).await
    }

    async fn send_frame_with(
        &self,
        frame: &Frame,
        descriptors: &[Arc<OwnedFd>],
    ) -> Result<(), TransferError> {
        let stream = self.stream.lock().await;
        let sent = self.write(&stream, frame, descriptors).await;
        if sent.as_ref().is_err_and(|error| !is_crowded(error)) {
            self.broken.store(true, Ordering::Relaxed);
            stream.shut_down();
        }
        sent
    }

    async fn write(
        &self,
        stream: &PeerStream,
        frame: &Frame,
        descriptors: &[Arc<OwnedFd>],
    ) -> Result<(), TransferError> {
        let began = Instant::now();
        let head = frame.head();
        let mut pieces = std::iter::once(&head).chain(&frame.payload).cloned().collect::<Vec<_>>();
        // They go with the first byte.
        let mut descriptors = descriptors;
        let mut first = 0;
        let mut waits: Option<Box<WaitingForRoom<'_>>> = None;
        loop {
            while pieces.get(first).is_some_and(Bytes::is_empty) {
                first += 1;
            }
            let Some(rest) = pieces.get_mut(first..).filter(|rest| !rest.is_empty()) else {
                return Ok(());
            };
            let slices: Vec<IoSlice<'_>> =
                rest.iter().take(SLICES_MAX).map(|piece| IoSlice::new(piece)).collect();
            let borrowed: Vec<_> =
                descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
            match stream.write(&slices, &borrowed) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(mut written) => {
                    descriptors = &[];
                    for piece in rest {
                        let part = written.min(piece.len());
                        piece.advance(part);
                        written -= part;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // It is seldom, and would make every connection larger.
                    Box::pin(self.wait_for_room(stream, began, &mut waits)).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for room, the first time once there is a place to do so. The time that passes until
    /// then is not the peer's.
    async fn wait_for_room<'a>(
        &'a self,
        stream: &PeerStream,
        began: Instant,
        waits: &mut Option<Box<WaitingForRoom<'a>>>,
    ) -> Result<(), TransferError> {
        let waits = match waits {
            Some(waits) => waits,
            none => {
                let (budgets, stall_timeout) = (&self.budgets, self.stall_timeout);
                let asked = Instant::now();
                let place = budgets.place_to_write(stall_timeout).await?;
                let transfer = Transfer {
                    began: began + asked.elapsed(),
                    stall_timeout,
                    // Even a small reply keeps those waiting that stand behind it and hold memory.
                    pressure: Some(budgets.pressure()),
                    writing_pressure: Some(budgets.writing_pressure()),
                };
                let room = stream.listen_for_room()?;
                none.insert(Box::new(WaitingForRoom { room, _place: place, transfer }))
            }
        };
        waits.transfer.step(waits.room.writable_mut()).await?.clear_ready();
        Ok(())
    }

    /// Writes a reply with all that it streams. The share is that of the reply itself; what is
    /// streamed takes its own. `before_last` is called just before the last frame is written, and
    /// told whether that voids the reply.
    ///
    /// # Errors
    /// If the socket fails or stalls. A stream whose bytes cannot be read ends in an error frame,
    /// which voids the reply; that is no error here.
    pub(crate) async fn send_reply(
        &self,
        id: u64,
        reply: Reply,
        mut share: Option<ReplyShare>,
        before_last: impl FnOnce(bool) + Send,
    ) -> Result<(), TransferError> {
        let bytes: usize = reply.payload.iter().map(Bytes::len).sum();
        match (&reply.response, share.as_mut()) {
            // These are large without a payload.
            (
                Response::Listed { .. }
                | Response::Shown(_)
                | Response::Stats(_)
                | Response::Savings(_)
                | Response::Explained(_)
                | Response::Logged(_),
                _,
            ) => {}
            (Response::LookedUp(_), Some(held)) => {
                held.share.shrink(bytes.saturating_add(HEADER_BYTES_MAX as usize));
            }
            (_, Some(held)) if bytes > SMALL_REPLY_BYTES => held.share.shrink(bytes),
            _ => share = None,
        }
        let mut before_last = Some(before_last);
        if reply.streams.is_empty() {
            before_last.take().into_iter().for_each(|told| told(false));
        }
        let reply = self.send_first(id, reply).await?;
        // One share is given back before the next is waited for.
        drop(share);
        if reply.streams.is_empty() {
            return Ok(());
        }
        let _one = self.streaming.acquire().await.map_err(io::Error::other)?;
        let _share = self.budgets.replies.share(STREAM_SHARE_BYTES).await;
        let mut streams = reply.streams.into_iter().peekable();
        while let Some((output, mut stream)) = streams.next() {
            let mut end = || {
                if streams.peek().is_none() {
                    before_last.take().into_iter().for_each(|told| told(false));
                }
            };
            if let Err(error) = self.send_stream(id, output, &mut stream, &mut end).await? {
                before_last.take().into_iter().for_each(|told| told(true));
                return self.send(id, Response::Error(error), Vec::new()).await;
            }
        }
        Ok(())
    }

    /// Writes a reply's own frame; gives what follows it.
    async fn send_first(&self, id: u64, mut reply: Reply) -> Result<Reply, TransferError> {
        if !reply.descriptors.is_empty() {
            let (response, payload) = (reply.response.clone(), reply.payload.clone());
            match self.send_with(id, response, payload, &reply.descriptors).await {
                Err(error) if is_crowded(&error) => reply = reply.unsealed(),
                sent => return sent.map(|()| reply),
            }
        }
        let response = std::mem::replace(&mut reply.response, Response::Pong);
        let payload = std::mem::take(&mut reply.payload);
        self.send(id, response, payload).await.map(|()| reply)
    }

    /// Writes one output chunk by chunk, reading the next while one is written; `end` is called
    /// before the last is.
    async fn send_stream(
        &self,
        id: u64,
        output: u32,
        stream: &mut Stream,
        end: &mut (impl FnMut() + Send),
    ) -> Result<Result<(), WireError>, TransferError> {
        let mut offset = 0;
        let mut next = stream.next().await;
        loop {
            let chunk = match next {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            if stream.is_at_end() {
                end();
            }
            let bytes = chunk.len() as u64;
            let response = Response::Chunk { output, offset };
            let (sent, following) =
                tokio::join!(self.send(id, response, vec![chunk]), stream.next());
            sent?;
            offset += bytes;
            next = following;
        }
    }
}

/// Whether the kernel takes no more descriptors, because this user's peers have left too many
/// unread. Nothing has been sent then.
fn is_crowded(error: &TransferError) -> bool {
    let TransferError::Io(error) = error else { return false };
    error.raw_os_error() == Some(nix::libc::ETOOMANYREFS)
}
