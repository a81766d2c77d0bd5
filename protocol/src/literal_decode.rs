//! Reads a value back from its canonical encoding.
//!
//! **Invariants.** Nesting is bounded by [`NESTING_MAX`]; nothing is reserved on the word of a
//! count; every byte is used; names are unique and in order, so each value has one encoding.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::digest::Digest;
use crate::error::InvalidArgument;
use crate::limits::NESTING_MAX;
use crate::literal::{Literal, tag};
use crate::literal_type::LiteralType;

/// The value that exactly these bytes encode.
pub(crate) fn decode(bytes: &Bytes) -> Result<Literal, InvalidArgument> {
    let mut reader = Reader::new(bytes);
    let literal = reader.literal(0)?;
    reader.end()?;
    Ok(literal)
}

pub(crate) fn too_deep() -> InvalidArgument {
    wrong(&format!("nested deeper than {NESTING_MAX}"))
}

pub(crate) fn wrong(problem: &str) -> InvalidArgument {
    InvalidArgument::new("value", problem)
}

/// Takes the encoding apart from its beginning.
pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: &Bytes) -> Self {
        Self { rest: bytes.clone() }
    }

    /// Nothing may be left over.
    pub(crate) fn end(&self) -> Result<(), InvalidArgument> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(wrong(&format!("{} bytes are left over behind the value", self.rest.len())))
    }

    pub(crate) fn tag(&mut self) -> Result<u8, InvalidArgument> {
        let [tag] = self.array()?;
        Ok(tag)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, InvalidArgument> {
        if length > self.rest.len() {
            return Err(wrong("the encoding ends too early"));
        }
        Ok(self.rest.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidArgument> {
        let taken = self.take(N)?;
        taken.as_ref().try_into().map_err(|_| wrong("the encoding ends too early"))
    }

    pub(crate) fn count(&mut self) -> Result<usize, InvalidArgument> {
        usize::try_from(u64::from_le_bytes(self.array()?))
            .map_err(|_| wrong("a count is beyond this machine"))
    }

    pub(crate) fn framed(&mut self) -> Result<Bytes, InvalidArgument> {
        let length = self.count()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, InvalidArgument> {
        String::from_utf8(self.framed()?.to_vec()).map_err(|_| wrong("a text is not UTF-8"))
    }

    /// A user's own hash: an empty one is none, so it is never written (semantics 9).
    pub(crate) fn hash(&mut self) -> Result<String, InvalidArgument> {
        let hash = self.text()?;
        if hash.is_empty() {
            return Err(wrong("a hash is empty"));
        }
        Ok(hash)
    }

    /// The name of a member that stands behind this one.
    pub(crate) fn name_behind(&mut self, last: Option<Bytes>) -> Result<Bytes, InvalidArgument> {
        let name = self.framed()?;
        if std::str::from_utf8(&name).is_err() {
            return Err(wrong("a text is not UTF-8"));
        }
        // Strings are in the order of their bytes.
        if last.is_some_and(|last| last >= name) {
            return Err(wrong("names are not in order"));
        }
        Ok(name)
    }

    /// Skips a value of this tag that holds no others; gives the only type that admits it.
    pub(crate) fn plain(&mut self, tag: u8) -> Result<LiteralType, InvalidArgument> {
        Ok(match self.plain_literal(tag)? {
            Literal::None => LiteralType::None,
            Literal::Boolean(_) => LiteralType::Boolean,
            Literal::Integer(_) => LiteralType::Integer,
            Literal::Float(_) => LiteralType::Float,
            Literal::String(_) => LiteralType::String,
            Literal::Bytes(_) => LiteralType::Bytes,
            Literal::Datetime(_) => LiteralType::Datetime,
            Literal::Duration(_) => LiteralType::Duration,
            Literal::File { .. } => LiteralType::File,
            _ => return Err(wrong("a plain value is none")),
        })
    }

    fn members(&mut self, depth: usize) -> Result<BTreeMap<String, Literal>, InvalidArgument> {
        let mut members = BTreeMap::new();
        for _ in 0..self.count()? {
            let name = self.text()?;
            if members.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(wrong("names are not in order"));
            }
            members.insert(name, self.literal(depth + 1)?);
        }
        Ok(members)
    }

    fn literal(&mut self, depth: usize) -> Result<Literal, InvalidArgument> {
        if depth >= NESTING_MAX {
            return Err(too_deep());
        }
        Ok(match self.tag()? {
            tag::LIST => {
                let mut items = Vec::new();
                for _ in 0..self.count()? {
                    items.push(self.literal(depth + 1)?);
                }
                Literal::List(items)
            }
            tag::MAP => Literal::Map(self.members(depth)?),
            tag::STRUCT => Literal::Struct(self.members(depth)?),
            tag::ENUM => Literal::Enum(self.text()?),
            tag::OPAQUE => Literal::Opaque { format: self.text()?, bytes: self.framed()? },
            tag::HASHED => Literal::Hashed { hash: self.hash()?, value: None },
            tag::HASHED_VALUE => Literal::Hashed {
                hash: self.hash()?,
                value: Some(Box::new(self.literal(depth + 1)?)),
            },
            plain => self.plain_literal(plain)?,
        })
    }

    /// A value that holds no others, behind its tag.
    fn plain_literal(&mut self, tag: u8) -> Result<Literal, InvalidArgument> {
        Ok(match tag {
            tag::NONE => Literal::None,
            tag::BOOLEAN => match self.array()? {
                [0] => Literal::Boolean(false),
                [1] => Literal::Boolean(true),
                _ => return Err(wrong("a boolean is neither 0 nor 1")),
            },
            tag::INTEGER => Literal::Integer(i64::from_le_bytes(self.array()?)),
            tag::FLOAT => Literal::Float(f64::from_bits(u64::from_le_bytes(self.array()?))),
            tag::STRING => Literal::String(self.text()?),
            tag::BYTES => Literal::Bytes(self.framed()?),
            tag::DATETIME => Literal::Datetime(i128::from_le_bytes(self.array()?)),
            tag::DURATION => Literal::Duration(i128::from_le_bytes(self.array()?)),
            tag::FILE => Literal::File {
                bytes: u64::from_le_bytes(self.array()?),
                digest: Digest::from_bytes(self.array()?),
            },
            other => return Err(wrong(&format!("0x{other:02x} is no tag of a value"))),
        })
    }
}
