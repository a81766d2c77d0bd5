//! A typed value: what tasks take and return.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, hash_derive_key_context};
use bytes::Bytes;

use crate::canonical::{Hash, Sink};
use crate::digest::Digest;
use crate::error::InvalidArgument;
use crate::limits::{NESTING_MAX, USER_HASH_BYTES_MAX};
use crate::literal_type::LiteralType;
use crate::name;

/// The BLAKE3 derive-key context of input digests, hashed once.
static INPUT_CONTEXT: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("memod 2026-11-22 input value v1"));

/// A typed value.
///
/// Maps and structs are order-free, lists are not. Two values are the same input exactly if their
/// [`Literal::input_digest`]s are equal; `PartialEq` follows Rust's rules instead (NaN differs from
/// itself there).
#[derive(Clone, PartialEq)]
pub enum Literal {
    /// No value.
    None,
    /// True or false.
    Boolean(bool),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A double. As an input -0.0 equals 0.0 and every NaN equals every other (semantics 10).
    Float(f64),
    /// A string, taken as given.
    String(String),
    /// Bytes.
    Bytes(Bytes),
    /// Nanoseconds since 1970-01-01 UTC; 128 bits so that every year a language knows fits.
    Datetime(i128),
    /// Nanoseconds.
    Duration(i128),
    /// A file, by its content and never by its path (semantics 13).
    File {
        /// BLAKE3 of the content.
        digest: Digest,
        /// Length of the content in bytes.
        bytes: u64,
    },
    /// Values in order.
    List(Vec<Literal>),
    /// Values by key.
    Map(BTreeMap<String, Literal>),
    /// Values by field name.
    Struct(BTreeMap<String, Literal>),
    /// One of an enum's names.
    Enum(String),
    /// Bytes in a named format that memod does not look into.
    Opaque {
        /// The format's name.
        format: String,
        /// The content.
        bytes: Bytes,
    },
    /// A value with its user's own hash, which replaces the content in the key, at any depth
    /// (Flyte's `HashMethod`). An empty hash is no hash (semantics 9).
    Hashed {
        /// The user's hash.
        hash: String,
        /// The content, if it is at hand.
        value: Option<Box<Literal>>,
    },
}

impl Literal {
    /// The digest of the value as an input: over the canonical encoding, in which the user's own
    /// hashes replace contents, -0.0 is 0.0 and NaN is one value.
    #[must_use]
    pub fn input_digest(&self) -> Digest {
        let mut hasher = Hash::new(&INPUT_CONTEXT);
        self.write(&mut hasher, Purpose::Key);
        hasher.finish()
    }

    /// The bytes over which [`Literal::input_digest`] is taken.
    #[must_use]
    pub fn key_encoding(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, Purpose::Key);
        bytes
    }

    /// The bytes that are stored for an output of this value and type: the plain content of a
    /// string, bytes or opaque value, the canonical encoding of anything else.
    ///
    /// # Errors
    /// If the value is not of the type, is nested too deeply to be read back, or is a file: a
    /// file's bytes are not in its literal.
    pub fn to_blob(&self, literal_type: &LiteralType) -> Result<Bytes, InvalidArgument> {
        self.check(0).map_err(|error| error.within("output"))?;
        if !literal_type.admits(self) {
            return Err(InvalidArgument::new("output", format!("is not of type {literal_type}")));
        }
        match (literal_type, self) {
            (LiteralType::String, Self::String(text)) => {
                Ok(Bytes::copy_from_slice(text.as_bytes()))
            }
            (LiteralType::Bytes, Self::Bytes(bytes))
            | (LiteralType::Opaque(_), Self::Opaque { bytes, .. }) => Ok(bytes.clone()),
            (literal_type, _) if literal_type.is_plain() => Err(InvalidArgument::new(
                "output",
                format!("of type {literal_type} has no bytes in this literal"),
            )),
            _ => {
                let mut bytes = Vec::new();
                self.write(&mut bytes, Purpose::Exact);
                Ok(bytes.into())
            }
        }
    }

    /// The value whose stored bytes these are: the inverse of [`Literal::to_blob`]. A file comes
    /// back as its digest and length.
    ///
    /// # Errors
    /// If the bytes are not those of a value of the type.
    pub fn from_blob(literal_type: &LiteralType, blob: &Bytes) -> Result<Self, InvalidArgument> {
        let wrong = |problem: String| InvalidArgument::new("output", problem);
        let literal = match literal_type {
            LiteralType::String => Self::String(
                String::from_utf8(blob.to_vec())
                    .map_err(|_| wrong("of type string is not UTF-8".into()))?,
            ),
            LiteralType::Bytes => Self::Bytes(blob.clone()),
            LiteralType::Opaque(format) => {
                Self::Opaque { format: format.clone(), bytes: blob.clone() }
            }
            LiteralType::File => Self::File { digest: Digest::of(blob), bytes: blob.len() as u64 },
            _ => crate::literal_decode::decode(blob)?,
        };
        if literal_type.admits(&literal) {
            Ok(literal)
        } else {
            Err(wrong(format!("is not of type {literal_type}")))
        }
    }

    /// Whether these are the stored bytes of a value of the type: whether [`Literal::from_blob`]
    /// would succeed. Takes no memory to speak of, however many elements the value has.
    ///
    /// # Errors
    /// As [`Literal::from_blob`].
    pub fn check_blob(literal_type: &LiteralType, blob: &Bytes) -> Result<(), InvalidArgument> {
        match literal_type {
            LiteralType::String if std::str::from_utf8(blob).is_err() => {
                Err(InvalidArgument::new("output", "of type string is not UTF-8"))
            }
            plain if plain.is_plain() => Ok(()),
            _ => crate::literal_check::check(literal_type, blob),
        }
    }

    /// Checks nesting, names and hashes.
    pub(crate) fn check(&self, depth: usize) -> Result<(), InvalidArgument> {
        if depth >= NESTING_MAX {
            return Err(InvalidArgument::new("", format!("nested deeper than {NESTING_MAX}")));
        }
        match self {
            Self::List(items) => items.iter().try_for_each(|item| item.check(depth + 1)),
            Self::Map(items) => items.values().try_for_each(|item| item.check(depth + 1)),
            Self::Struct(fields) => fields.iter().try_for_each(|(given, item)| {
                name::check(", field name", given)?;
                item.check(depth + 1)
            }),
            Self::Enum(given) => name::check(", enum name", given),
            Self::Opaque { format, .. } => name::check(", format", format),
            Self::Hashed { hash, .. } if hash.len() > USER_HASH_BYTES_MAX => {
                Err(InvalidArgument::new(
                    "",
                    format!("hash of {} bytes, {USER_HASH_BYTES_MAX} are allowed", hash.len()),
                ))
            }
            Self::Hashed { hash, value: None } if hash.is_empty() => {
                Err(InvalidArgument::new("", "has neither a hash nor a value"))
            }
            Self::Hashed { value: Some(value), .. } => value.check(depth + 1),
            _ => Ok(()),
        }
    }

    /// Writes the canonical encoding.
    fn write(&self, sink: &mut impl Sink, purpose: Purpose) {
        match self {
            Self::None => sink.tag(tag::NONE),
            Self::Boolean(value) => {
                sink.tag(tag::BOOLEAN);
                sink.put(&[u8::from(*value)]);
            }
            Self::Integer(value) => {
                sink.tag(tag::INTEGER);
                sink.put(&value.to_le_bytes());
            }
            Self::Float(value) => {
                sink.tag(tag::FLOAT);
                sink.put(&purpose.float(*value).to_bits().to_le_bytes());
            }
            Self::String(text) => {
                sink.tag(tag::STRING);
                sink.framed(text.as_bytes());
            }
            Self::Bytes(bytes) => {
                sink.tag(tag::BYTES);
                sink.framed(bytes);
            }
            Self::Datetime(nanoseconds) => {
                sink.tag(tag::DATETIME);
                sink.put(&nanoseconds.to_le_bytes());
            }
            Self::Duration(nanoseconds) => {
                sink.tag(tag::DURATION);
                sink.put(&nanoseconds.to_le_bytes());
            }
            Self::File { digest, bytes } => {
                sink.tag(tag::FILE);
                sink.put(&bytes.to_le_bytes());
                sink.put(digest.as_bytes());
            }
            Self::List(items) => {
                sink.tag(tag::LIST);
                sink.length(items.len());
                for item in items {
                    item.write(sink, purpose);
                }
            }
            Self::Map(items) => write_members(sink, tag::MAP, items, purpose),
            Self::Struct(fields) => write_members(sink, tag::STRUCT, fields, purpose),
            Self::Enum(given) => {
                sink.tag(tag::ENUM);
                sink.framed(given.as_bytes());
            }
            Self::Opaque { format, bytes } => {
                sink.tag(tag::OPAQUE);
                sink.framed(format.as_bytes());
                sink.framed(bytes);
            }
            Self::Hashed { hash, value: Some(value) } if hash.is_empty() => {
                value.write(sink, purpose);
            }
            Self::Hashed { hash, value: Some(value) } if purpose == Purpose::Exact => {
                sink.tag(tag::HASHED_VALUE);
                sink.framed(hash.as_bytes());
                value.write(sink, purpose);
            }
            Self::Hashed { hash, .. } => {
                sink.tag(tag::HASHED);
                sink.framed(hash.as_bytes());
            }
        }
    }
}

fn write_members(
    sink: &mut impl Sink,
    tag: u8,
    members: &BTreeMap<String, Literal>,
    purpose: Purpose,
) {
    sink.tag(tag);
    sink.length(members.len());
    for (member, value) in members {
        sink.framed(member.as_bytes());
        value.write(sink, purpose);
    }
}

/// What an encoding is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To tell inputs apart: equal values must have equal bytes.
    Key,
    /// To be read back: nothing may be lost.
    Exact,
}

impl Purpose {
    fn float(self, value: f64) -> f64 {
        match self {
            Self::Exact => value,
            Self::Key if value.is_nan() => f64::NAN,
            // 0.0 == -0.0, and adding zero turns the one into the other.
            Self::Key => value + 0.0,
        }
    }
}

/// The tags of values; those of types begin at 0x40, those of calls at 0x80.
pub(crate) mod tag {
    pub(crate) const NONE: u8 = 0x00;
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const FLOAT: u8 = 0x03;
    pub(crate) const STRING: u8 = 0x04;
    pub(crate) const BYTES: u8 = 0x05;
    pub(crate) const DATETIME: u8 = 0x06;
    pub(crate) const DURATION: u8 = 0x07;
    pub(crate) const FILE: u8 = 0x08;
    pub(crate) const LIST: u8 = 0x09;
    pub(crate) const MAP: u8 = 0x0a;
    pub(crate) const STRUCT: u8 = 0x0b;
    pub(crate) const ENUM: u8 = 0x0c;
    pub(crate) const OPAQUE: u8 = 0x0d;
    pub(crate) const HASHED: u8 = 0x0e;
    pub(crate) const HASHED_VALUE: u8 = 0x0f;
}

impl fmt::Debug for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Boolean(value) => write!(formatter, "Boolean({value})"),
            Self::Integer(value) => write!(formatter, "Integer({value})"),
            Self::Float(value) => write!(formatter, "Float({value:?})"),
            Self::String(text) => write!(formatter, "String({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(formatter, "Bytes({} bytes)", bytes.len()),
            Self::Datetime(nanoseconds) => write!(formatter, "Datetime({nanoseconds} ns)"),
            Self::Duration(nanoseconds) => write!(formatter, "Duration({nanoseconds} ns)"),
            Self::File { digest, bytes } => write!(formatter, "File({digest}, {bytes} bytes)"),
            Self::List(items) => formatter.debug_list().entries(items).finish(),
            Self::Map(items) | Self::Struct(items) => formatter.debug_map().entries(items).finish(),
            Self::Enum(given) => write!(formatter, "Enum({given:?})"),
            Self::Opaque { format, bytes } => {
                write!(formatter, "Opaque({format:?}, {} bytes)", bytes.len())
            }
            Self::Hashed { hash, value } => {
                write!(formatter, "Hashed({hash:?}, {value:?})")
            }
        }
    }
}
