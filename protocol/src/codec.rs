//! The frame codec for tokio-util.

use bytes::BytesMut;
use tokio_util::codec::Decoder;

use crate::frame::{Frame, FrameError};

/// Splits a byte stream into [`Frame`]s, reserving only what a checked length asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameCodec;

/// Why a stream of frames ended badly.
#[derive(Debug, thiserror::Error)]
pub enum FrameStreamError {
    /// The bytes are not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The socket failed, or ended in the middle of a frame.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameStreamError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameStreamError> {
        match Frame::take(buffer)? {
            Ok(frame) => Ok(Some(frame)),
            Err(missing) => {
                buffer.reserve(missing);
                Ok(None)
            }
        }
    }
}
