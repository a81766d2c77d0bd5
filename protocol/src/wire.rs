//! The serialiser: the one file that names bincode.
//!
//! **Invariants.** Decoding is bounded before anything is reserved: what peers send by
//! [`HEADER_BYTES_MAX`]. It succeeds only if every byte was used, unless the caller is given what
//! is left, as of records that the store wrote one behind the other. No type that derives
//! [`Decode`] is zero-sized inside a collection, and none is recursive (types of literals travel
//! as text for that reason), so hostile bytes can exhaust neither memory nor stack. Bytes are
//! never hashed after decoding: bincode accepts more than one spelling of a number.
//!
//! bincode is unmaintained (RUSTSEC-2025-0141). Its layout is frozen by the golden bytes in
//! `protocol/tests`; a codec written by hand can replace it here.

pub use bincode::{BorrowDecode, Decode, Encode};

use crate::limits::HEADER_BYTES_MAX;

type Layout = bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<{ HEADER_BYTES_MAX as usize }>,
>;

const LAYOUT: Layout = bincode::config::standard().with_limit::<{ HEADER_BYTES_MAX as usize }>();

const RECORD_LAYOUT: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<RECORD_BYTES_MAX>,
> = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();

/// Most memory that decoding a record of the store may claim.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not follow the layout of the wanted type, or claim more than the limit.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A message was followed by bytes that belong to nothing.
    #[error("malformed message: {0} bytes are left over behind it")]
    Trailing(usize),
}

/// The bytes of a message.
///
/// # Panics
/// Never for the types of this workspace: encoding into memory fails only for types that refuse
/// to be encoded, and none does.
pub fn encode<T: Encode>(message: &T) -> Vec<u8> {
    bincode::encode_to_vec(message, bincode::config::standard())
        .expect("no message of ours refuses to be encoded")
}

/// The message that exactly these bytes hold.
///
/// # Errors
/// [`DecodeError::Malformed`] if they hold none within [`HEADER_BYTES_MAX`],
/// [`DecodeError::Trailing`] if they hold more than one.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let decoded = bincode::decode_from_slice(bytes, LAYOUT);
    whole(decoded, bytes.len(), HEADER_BYTES_MAX as usize)
}

/// As [`decode`], for a value that refers to the bytes instead of copying their texts.
///
/// # Errors
/// As [`decode`].
pub fn borrow<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let decoded = bincode::borrow_decode_from_slice(bytes, LAYOUT);
    whole(decoded, bytes.len(), HEADER_BYTES_MAX as usize)
}

/// As [`decode`], for what the store wrote itself: bounded by 64 MiB instead.
///
/// # Errors
/// As [`decode`].
pub fn decode_record<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    whole(bincode::decode_from_slice(bytes, RECORD_LAYOUT), bytes.len(), RECORD_BYTES_MAX)
}

/// As [`decode_record`], for a value that something else stands behind: with what does.
///
/// # Errors
/// [`DecodeError::Malformed`] if the bytes do not begin with such a value.
pub fn decode_front<T: Decode<()>>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    front(bincode::decode_from_slice(bytes, RECORD_LAYOUT), bytes)
}

/// As [`decode_front`], for a value that refers to the bytes instead of copying their texts.
///
/// # Errors
/// As [`decode_front`].
pub fn borrow_front<'a, T: BorrowDecode<'a, ()>>(
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), DecodeError> {
    front(bincode::borrow_decode_from_slice(bytes, RECORD_LAYOUT), bytes)
}

fn front<T>(
    decoded: Result<(T, usize), bincode::error::DecodeError>,
    bytes: &[u8],
) -> Result<(T, &[u8]), DecodeError> {
    let (value, used) =
        decoded.map_err(|error| DecodeError::Malformed(in_words(&error, RECORD_BYTES_MAX)))?;
    Ok((value, bytes.get(used..).unwrap_or_default()))
}

/// The value that was decoded of so many bytes, if it took all of them.
fn whole<T>(
    decoded: Result<(T, usize), bincode::error::DecodeError>,
    bytes: usize,
    bytes_max: usize,
) -> Result<T, DecodeError> {
    let (value, used) =
        decoded.map_err(|error| DecodeError::Malformed(in_words(&error, bytes_max)))?;
    if used == bytes { Ok(value) } else { Err(DecodeError::Trailing(bytes.saturating_sub(used))) }
}

/// What is wrong, without the serialiser's own terms.
fn in_words(error: &bincode::error::DecodeError, bytes_max: usize) -> String {
    use bincode::error::DecodeError as Fault;
    match error {
        Fault::UnexpectedVariant { found, .. } => {
            format!("{found} is no kind of message, or of a part of one, that this version knows")
        }
        Fault::LimitExceeded => {
            format!("it claims to hold more than {bytes_max} bytes, the most that is decoded")
        }
        Fault::UnexpectedEnd { .. } => "it ends too early".to_owned(),
        Fault::Utf8 { .. } => "a text in it is not UTF-8".to_owned(),
        Fault::InvalidBooleanValue(found) => format!("a boolean in it is {found}"),
        _ => "it does not follow the layout".to_owned(),
    }
}
