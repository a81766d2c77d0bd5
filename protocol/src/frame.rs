//! The frame: `u32` length, `u32` header length, a bincode header, raw payload bytes.
//!
//! **Invariants.** Both numbers are compared with both of their bounds before any arithmetic, any
//! reservation and any slicing. The payload is never touched by the serialiser and never copied
//! when the frame was read into one buffer.
//!
//! **Does not** read or write sockets.

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::{FRAME_BYTES_MAX, HEADER_BYTES_MAX};
use crate::wire::{self, Encode};

/// Bytes before the header: length and header length.
pub const PREFIX_BYTES: usize = 8;

/// Bytes that are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame's length cannot hold its own header length.
    #[error("malformed frame: a length of {0} bytes, at least 4 are needed")]
    TooShort(u32),
    /// The frame is over the limit.
    #[error("frame of {0} bytes, {FRAME_BYTES_MAX} are allowed")]
    TooLong(u32),
    /// The header is over the limit.
    #[error("frame header of {0} bytes, {HEADER_BYTES_MAX} are allowed")]
    HeaderTooLong(u32),
    /// The header does not fit into its frame.
    #[error("malformed frame: a header of {header} bytes in a frame of {frame}")]
    HeaderBeyondFrame {
        /// Claimed length of the header in bytes.
        header: u32,
        /// Claimed length of the frame in bytes.
        frame: u32,
    },
}

/// The two lengths at the beginning of a frame, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Length of the header in bytes.
    pub header_bytes: usize,
    /// Length of the payload in bytes.
    pub payload_bytes: usize,
}

impl Prefix {
    /// Reads and checks the prefix.
    ///
    /// # Errors
    /// Each way in which the two numbers cannot be meant.
    pub fn parse(bytes: [u8; PREFIX_BYTES]) -> Result<Self, FrameError> {
        let [frame @ .., _, _, _, _] = bytes;
        let [_, _, _, _, header @ ..] = bytes;
        let (frame, header) = (u32::from_le_bytes(frame), u32::from_le_bytes(header));
        if frame < 4 {
            return Err(FrameError::TooShort(frame));
        }
        if frame > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(frame));
        }
        if header > HEADER_BYTES_MAX {
            return Err(FrameError::HeaderTooLong(header));
        }
        if header > frame - 4 {
            return Err(FrameError::HeaderBeyondFrame { header, frame });
        }
        Ok(Self { header_bytes: header as usize, payload_bytes: (frame - 4 - header) as usize })
    }

    /// Reads and checks the frame's length alone, which comes first.
    ///
    /// # Errors
    /// If no frame has such a length.
    pub fn check_length(bytes: [u8; 4]) -> Result<u32, FrameError> {
        match u32::from_le_bytes(bytes) {
            frame if frame < 4 => Err(FrameError::TooShort(frame)),
            frame if frame > FRAME_BYTES_MAX => Err(FrameError::TooLong(frame)),
            frame => Ok(frame),
        }
    }

    /// Writes the prefix of a frame with these lengths.
    ///
    /// # Errors
    /// If the frame would be over a limit.
    pub fn of(header_bytes: usize, payload_bytes: usize) -> Result<Self, FrameError> {
        let header = u32::try_from(header_bytes).unwrap_or(u32::MAX);
        if header > HEADER_BYTES_MAX {
            return Err(FrameError::HeaderTooLong(header));
        }
        let frame = u32::try_from(payload_bytes.saturating_add(header_bytes).saturating_add(4))
            .unwrap_or(u32::MAX);
        if frame > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(frame));
        }
        Ok(Self { header_bytes, payload_bytes })
    }

    /// The bytes of the prefix.
    ///
    /// # Panics
    /// If a length is over a limit, which neither [`Prefix::of`] nor [`Prefix::parse`] lets happen.
    #[must_use]
    pub fn to_bytes(self) -> [u8; PREFIX_BYTES] {
        let header = u32::try_from(self.header_bytes).expect("checked when it was made");
        let frame = u32::try_from(self.payload_bytes + self.header_bytes + 4)
            .expect("checked when it was made");
        (u64::from(frame) | (u64::from(header) << 32)).to_le_bytes()
    }

    /// Bytes of header and payload.
    #[must_use]
    pub const fn body_bytes(self) -> usize {
        self.header_bytes + self.payload_bytes
    }
}

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// A bincode message.
    pub header: Bytes,
    /// Raw bytes that belong to it, in pieces that are sent one behind the other.
    pub payload: Vec<Bytes>,
}

impl Frame {
    /// The frame of a message with a payload.
    ///
    /// # Errors
    /// If it would be over a limit.
    pub fn new<T: Encode>(message: &T, payload: Vec<Bytes>) -> Result<Self, FrameError> {
        let header: Bytes = wire::encode(message).into();
        Prefix::of(header.len(), payload.iter().map(Bytes::len).sum())?;
        Ok(Self { header, payload })
    }

    /// The frame of a message without a payload.
    ///
    /// # Errors
    /// If it would be over a limit.
    pub fn bare<T: Encode>(message: &T) -> Result<Self, FrameError> {
        Self::new(message, Vec::new())
    }

    /// The prefix and the header in one buffer: what precedes the payload on the wire.
    #[must_use]
    pub fn head(&self) -> Bytes {
        let prefix =
            Prefix { header_bytes: self.header.len(), payload_bytes: self.payload_bytes() };
        let mut head = BytesMut::with_capacity(PREFIX_BYTES + self.header.len());
        head.extend_from_slice(&prefix.to_bytes());
        head.extend_from_slice(&self.header);
        head.freeze()
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payload.iter().map(Bytes::len).sum()
    }

    /// The payload as one buffer; copies only if it is in several pieces.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.payload) {
            Ok([piece]) => piece,
            Err(pieces) => pieces.concat().into(),
        }
    }

    /// Takes the next whole frame off the buffer, or says how many bytes are missing at least.
    ///
    /// # Errors
    /// As [`Prefix::parse`]. The stream cannot be read on after an error.
    pub fn take(buffer: &mut BytesMut) -> Result<Result<Self, usize>, FrameError> {
        let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else {
            return Ok(Err(PREFIX_BYTES - buffer.len()));
        };
        let prefix = Prefix::parse(*prefix)?;
        let whole = PREFIX_BYTES + prefix.body_bytes();
        if buffer.len() < whole {
            return Ok(Err(whole - buffer.len()));
        }
        buffer.advance(PREFIX_BYTES);
        let body = buffer.split_to(prefix.body_bytes()).freeze();
        Ok(Ok(Self::from_body(prefix, body)))
    }

    /// The frame whose header and payload stand in this buffer one behind the other.
    ///
    /// # Panics
    /// If the buffer is shorter than the prefix says.
    #[must_use]
    pub fn from_body(prefix: Prefix, mut body: Bytes) -> Self {
        let header = body.split_to(prefix.header_bytes);
        let payload = if body.is_empty() { Vec::new() } else { vec![body] };
        Self { header, payload }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (header, payload) = (self.header.len(), self.payload_bytes());
        write!(formatter, "Frame({header} bytes of header, {payload} of payload)")
    }
}
