//! Writes replies to a connection.
//!
//! **Invariants.** One frame is written at a time, whole. A connection holds the bytes of at most
//! one large reply in memory, and only with a share of the budget. A peer that takes no byte for
//! the stall timeout is cut off; until then it stalls only itself.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use memod_protocol::{Frame, Response, ResponseHeader, WireError};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Mutex, Semaphore};

use super::frames::BufferBudget;
use crate::service::{Reply, Stream};

/// What a large reply takes from the budget: two chunks, one being written and one being read.
const STREAM_SHARE_BYTES: usize = 2 * memod_protocol::limits::CHUNK_BYTES as usize;
/// Pieces given to one `writev`.
const SLICES_MAX: usize = 16;

/// The writing half of a connection.
#[derive(Debug)]
pub(crate) struct Replies {
    half: Mutex<OwnedWriteHalf>,
    large: Semaphore,
    budget: BufferBudget,
    stall_timeout: Duration,
}

impl Replies {
    /// Writes replies to this half.
    pub(crate) fn new(half: OwnedWriteHalf, budget: BufferBudget, stall_timeout: Duration) -> Self {
        Self { half: Mutex::new(half), large: Semaphore::new(1), budget, stall_timeout }
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
    ) -> io::Result<()> {
        let frame = match Frame::new(&ResponseHeader { id, response }, payload) {
            Ok(frame) => frame,
            Err(error) => {
                let code = memod_protocol::ErrorCode::Internal;
                let error = WireError::new(code, format!("the reply does not fit: {error}"));
                Frame::bare(&ResponseHeader { id, response: Response::Error(error) })
                    .expect("an error fits into a frame")
            }
        };
        self.send_frame(&frame).await
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// If the socket fails or stalls.
    pub(crate) async fn send_frame(&self, frame: &Frame) -> io::Result<()> {
        let head = frame.head();
        let half = self.half.lock().await;
        let mut pieces = std::iter::once(&head).chain(&frame.payload).cloned().collect::<Vec<_>>();
        let mut first = 0;
        loop {
            while pieces.get(first).is_some_and(Bytes::is_empty) {
                first += 1;
            }
            let Some(rest) = pieces.get_mut(first..).filter(|rest| !rest.is_empty()) else {
                return Ok(());
            };
            let slices: Vec<IoSlice<'_>> =
                rest.iter().take(SLICES_MAX).map(|piece| IoSlice::new(piece)).collect();
            match half.try_write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(mut written) => {
                    for piece in rest {
                        let part = written.min(piece.len());
                        piece.advance(part);
                        written -= part;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::timeout(self.stall_timeout, half.writable())
                        .await
                        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a reply with all that it streams.
    ///
    /// # Errors
    /// If the socket fails or stalls. A stream whose bytes cannot be read ends in an error frame,
    /// which voids the reply; that is no error here.
    pub(crate) async fn send_reply(&self, id: u64, reply: Reply) -> io::Result<()> {
        let streams = reply.streams;
        if streams.is_empty() {
            return self.send(id, reply.response, reply.payload).await;
        }
        let _one = self.large.acquire().await.map_err(io::Error::other)?;
        let _share = self.budget.share(STREAM_SHARE_BYTES).await;
        self.send(id, reply.response, reply.payload).await?;
        for (output, mut stream) in streams {
            if let Err(error) = self.send_stream(id, output, &mut stream).await? {
                return self.send(id, Response::Error(error), Vec::new()).await;
            }
        }
        Ok(())
    }

    /// Writes one output chunk by chunk, reading the next while one is written.
    async fn send_stream(
        &self,
        id: u64,
        output: u32,
        stream: &mut Stream,
    ) -> io::Result<Result<(), WireError>> {
        let mut offset = 0;
        let mut next = stream.next().await;
        loop {
            let chunk = match next {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
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
