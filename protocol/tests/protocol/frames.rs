//! Frames: however a stream is cut, the same frames come out of it, and nothing over a limit.

use bytes::{Bytes, BytesMut};
use memod_protocol::frame::{FrameError, PREFIX_BYTES, Prefix};
use memod_protocol::limits::{FRAME_BYTES_MAX, HEADER_BYTES_MAX};
use memod_protocol::{Frame, FrameCodec, FrameStreamError};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_util::codec::Decoder;

fn frame() -> impl Strategy<Value = Frame> {
    let bytes = || vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    (bytes(), vec(bytes(), 0..3)).prop_map(|(header, payload)| Frame { header, payload })
}

fn stream_of(frames: &[Frame]) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in frames {
        stream.extend_from_slice(&frame.head());
        for piece in &frame.payload {
            stream.extend_from_slice(piece);
        }
    }
    stream
}

/// Header and payload of each frame, however the payload is cut into pieces.
fn contents(frames: Vec<Frame>) -> Vec<(Bytes, Bytes)> {
    frames.into_iter().map(|frame| (frame.header.clone(), frame.into_payload())).collect()
}

fn decoded(pieces: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<Frame>, FrameStreamError> {
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(&piece);
        while let Some(frame) = FrameCodec.decode(&mut buffer)? {
            frames.push(frame);
        }
    }
    while let Some(frame) = FrameCodec.decode_eof(&mut buffer)? {
        frames.push(frame);
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        frames in vec(frame(), 0..5),
        cuts in vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let stream = stream_of(&frames);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| stream[cut[0]..cut[1]].to_vec());
        let wanted = contents(frames);
        prop_assert_eq!(contents(decoded(pieces).unwrap()), wanted.clone());
        let byte_by_byte = stream.iter().map(|byte| vec![*byte]);
        prop_assert_eq!(contents(decoded(byte_by_byte).unwrap()), wanted.clone());
        prop_assert_eq!(contents(decoded([stream]).unwrap()), wanted);
    }

    /// A stream that ends inside a frame is an error, not a shorter stream.
    #[test]
    fn an_end_inside_a_frame_is_an_error(frame in frame(), end: prop::sample::Index) {
        let stream = stream_of(&[frame]);
        let end = end.index(stream.len() - 1) + 1;
        let result = decoded([stream[..end].to_vec()]);
        prop_assert!(matches!(result, Err(FrameStreamError::Io(_))), "{result:?}");
    }

    #[test]
    fn prefixes_are_bounded_and_written_as_read(bytes: [u8; PREFIX_BYTES]) {
        if let Ok(prefix) = Prefix::parse(bytes) {
            prop_assert!(prefix.header_bytes <= HEADER_BYTES_MAX as usize);
            prop_assert!(prefix.body_bytes() + 4 <= FRAME_BYTES_MAX as usize);
            prop_assert_eq!(prefix.to_bytes(), bytes);
            prop_assert_eq!(Prefix::of(prefix.header_bytes, prefix.payload_bytes), Ok(prefix));
        }
    }
}

fn prefix(frame: u32, header: u32) -> [u8; PREFIX_BYTES] {
    let mut bytes = [0; PREFIX_BYTES];
    bytes[..4].copy_from_slice(&frame.to_le_bytes());
    bytes[4..].copy_from_slice(&header.to_le_bytes());
    bytes
}

#[test]
fn lengths_are_checked_at_both_ends() {
    let (frame_max, header_max) = (FRAME_BYTES_MAX, HEADER_BYTES_MAX);
    for short in 0..4 {
        assert_eq!(Prefix::parse(prefix(short, 0)), Err(FrameError::TooShort(short)));
    }
    for long in [frame_max + 1, u32::MAX] {
        assert_eq!(Prefix::parse(prefix(long, 0)), Err(FrameError::TooLong(long)));
    }
    for long in [header_max + 1, u32::MAX] {
        assert_eq!(Prefix::parse(prefix(frame_max, long)), Err(FrameError::HeaderTooLong(long)));
    }
    assert_eq!(
        Prefix::parse(prefix(10, 7)),
        Err(FrameError::HeaderBeyondFrame { header: 7, frame: 10 })
    );
    for (frame, header) in [(4, 0), (10, 6), (frame_max, 0), (frame_max, header_max)] {
        let parsed = Prefix::parse(prefix(frame, header)).unwrap();
        assert_eq!(parsed.header_bytes, header as usize);
        assert_eq!(parsed.payload_bytes, (frame - 4 - header) as usize);
    }
}

#[test]
fn what_is_too_long_is_not_written_either() {
    let (frame_max, header_max) = (FRAME_BYTES_MAX as usize, HEADER_BYTES_MAX as usize);
    assert!(Prefix::of(header_max, frame_max - 4 - header_max).is_ok());
    assert!(matches!(Prefix::of(header_max + 1, 0), Err(FrameError::HeaderTooLong(_))));
    assert!(matches!(Prefix::of(0, frame_max - 3), Err(FrameError::TooLong(_))));
    assert!(matches!(Prefix::of(0, usize::MAX), Err(FrameError::TooLong(_))));
    assert!(matches!(Prefix::of(usize::MAX, usize::MAX), Err(FrameError::HeaderTooLong(_))));
    let payload = vec![Bytes::from(vec![0; frame_max])];
    assert!(matches!(Frame::new(&1_u64, payload), Err(FrameError::TooLong(_))));
}

/// The claim of a length reserves nothing before it is checked, and then just what is missing.
#[test]
fn nothing_over_the_limit_is_reserved() {
    let mut buffer = BytesMut::from(&prefix(FRAME_BYTES_MAX + 1, 0)[..]);
    let before = buffer.capacity();
    let error = FrameCodec.decode(&mut buffer).unwrap_err();
    assert!(matches!(error, FrameStreamError::Frame(FrameError::TooLong(_))), "{error}");
    assert_eq!(buffer.capacity(), before);

    let mut buffer = BytesMut::from(&prefix(FRAME_BYTES_MAX, 0)[..]);
    assert!(FrameCodec.decode(&mut buffer).unwrap().is_none());
    assert!(buffer.capacity() <= FRAME_BYTES_MAX as usize + 4096, "{}", buffer.capacity());
}

/// A frame that was read into one buffer shares it: its payload is not copied.
#[test]
fn the_payload_is_not_copied() {
    let mut buffer = BytesMut::from(&prefix(4 + 3 + 1000, 3)[..]);
    buffer.resize(PREFIX_BYTES + 1003, 7);
    let payload_at = buffer[PREFIX_BYTES + 3..].as_ptr();
    let frame = Frame::take(&mut buffer).unwrap().unwrap();
    assert_eq!(frame.into_payload().as_ptr(), payload_at);
}
