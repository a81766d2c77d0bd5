//! The type of a literal, and its textual form: `list<integer>`, `struct{a:string,b:float}`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::canonical::Sink;
use crate::error::InvalidArgument;
use crate::limits::NESTING_MAX;
use crate::literal::Literal;

/// What an input or an output may hold.
///
/// Structs, enums and unions are order-free: two that list the same members are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LiteralType {
    /// Only the absent value.
    None,
    /// `true` or `false`.
    Boolean,
    /// A signed 64-bit integer.
    Integer,
    /// An IEEE 754 double.
    Float,
    /// A Unicode string, taken as given (no normalisation).
    String,
    /// Bytes.
    Bytes,
    /// An instant, in nanoseconds since 1970-01-01 UTC.
    Datetime,
    /// A span of time, in nanoseconds.
    Duration,
    /// A file's content.
    File,
    /// Values of one type, in order.
    List(Box<LiteralType>),
    /// Values of one type by string keys.
    Map(Box<LiteralType>),
    /// Named fields, each with a type.
    Struct(BTreeMap<String, LiteralType>),
    /// One of these names.
    Enum(BTreeSet<String>),
    /// A value or none. The inner type must not admit none itself.
    Optional(Box<LiteralType>),
    /// A value of one of these types.
    Union(BTreeSet<LiteralType>),
    /// Bytes in a format that memod does not look into, named here.
    Opaque(String),
}

impl LiteralType {
    /// Whether a literal is of this type. A value that stands behind its user's own hash without
    /// content is of any type.
    #[must_use]
    pub fn admits(&self, literal: &Literal) -> bool {
        match (self, literal) {
            (_, Literal::Hashed { value: None, .. })
            | (Self::None | Self::Optional(_), Literal::None)
            | (Self::Boolean, Literal::Boolean(_))
            | (Self::Integer, Literal::Integer(_))
            | (Self::Float, Literal::Float(_))
            | (Self::String, Literal::String(_))
            | (Self::Bytes, Literal::Bytes(_))
            | (Self::Datetime, Literal::Datetime(_))
            | (Self::Duration, Literal::Duration(_))
            | (Self::File, Literal::File { .. }) => true,
            (_, Literal::Hashed { value: Some(value), .. }) => self.admits(value),
            (Self::List(item), Literal::List(items)) => items.iter().all(|i| item.admits(i)),
            (Self::Map(item), Literal::Map(items)) => items.values().all(|i| item.admits(i)),
            (Self::Struct(fields), Literal::Struct(values)) => {
                fields.len() == values.len()
                    && fields
                        .iter()
                        .zip(values)
                        .all(|((name, field), (given, value))| name == given && field.admits(value))
            }
            (Self::Enum(names), Literal::Enum(name)) => names.contains(name),
            (Self::Optional(inner), _) => inner.admits(literal),
            (Self::Union(members), _) => members.iter().any(|member| member.admits(literal)),
            (Self::Opaque(format), Literal::Opaque { format: given, .. }) => format == given,
            _ => false,
        }
    }

    /// Whether the stored bytes of an output of this type are its plain content: strings, bytes,
    /// files and opaque values. All other types are stored in the canonical encoding.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self, Self::String | Self::Bytes | Self::File | Self::Opaque(_))
    }

    /// Whether the absent value is of this type.
    pub(crate) fn admits_none(&self) -> bool {
        match self {
            Self::None | Self::Optional(_) => true,
            Self::Union(members) => members.iter().any(Self::admits_none),
            _ => false,
        }
    }

    /// Checks nesting and what the shape of this enum cannot rule out.
    pub(crate) fn check(&self) -> Result<(), InvalidArgument> {
        self.check_at(0)
    }

    fn check_at(&self, depth: usize) -> Result<(), InvalidArgument> {
        let wrong = |problem: &str| Err(InvalidArgument::new("", problem));
        if depth >= NESTING_MAX {
            return wrong(&format!("a type nested deeper than {NESTING_MAX}"));
        }
        match self {
            Self::Struct(fields) => fields.iter().try_for_each(|(name, inner)| {
                crate::name::check(", field name", name)?;
                inner.check_at(depth + 1)
            }),
            Self::Enum(names) if names.is_empty() => wrong("an enum needs at least one name"),
            Self::Enum(names) if names.contains("") => wrong("an enum's name must not be empty"),
            Self::Union(members) if members.is_empty() => wrong("a union needs at least one type"),
            Self::Union(members) => {
                members.iter().try_for_each(|member| member.check_at(depth + 1))?;
                if members.iter().filter(|member| member.admits_none()).count() > 1 {
                    return wrong(
                        "two members of the union admit none, so none would be ambiguous",
                    );
                }
                Ok(())
            }
            Self::Optional(inner) => {
                inner.check_at(depth + 1)?;
                if inner.admits_none() {
                    return wrong(
                        "optional of a type that admits none already: none would be ambiguous",
                    );
                }
                Ok(())
            }
            Self::List(inner) | Self::Map(inner) => inner.check_at(depth + 1),
            Self::Opaque(format) => crate::name::check(", format", format),
            _ => Ok(()),
        }
    }

    /// Writes the canonical encoding of the type.
    pub(crate) fn write(&self, sink: &mut impl Sink) {
        match self {
            Self::None => sink.tag(0x40),
            Self::Boolean => sink.tag(0x41),
            Self::Integer => sink.tag(0x42),
            Self::Float => sink.tag(0x43),
            Self::String => sink.tag(0x44),
            Self::Bytes => sink.tag(0x45),
            Self::Datetime => sink.tag(0x46),
            Self::Duration => sink.tag(0x47),
            Self::File => sink.tag(0x48),
            Self::List(inner) => {
                sink.tag(0x49);
                inner.write(sink);
            }
            Self::Map(inner) => {
                sink.tag(0x4a);
                inner.write(sink);
            }
            Self::Struct(fields) => {
                sink.tag(0x4b);
                sink.length(fields.len());
                for (name, inner) in fields {
                    sink.framed(name.as_bytes());
                    inner.write(sink);
                }
            }
            Self::Enum(names) => {
                sink.tag(0x4c);
                sink.length(names.len());
                for name in names {
                    sink.framed(name.as_bytes());
                }
            }
            Self::Optional(inner) => {
                sink.tag(0x4d);
                inner.write(sink);
            }
            Self::Union(members) => {
                sink.tag(0x4e);
                sink.length(members.len());
                for member in members {
                    member.write(sink);
                }
            }
            Self::Opaque(format) => {
                sink.tag(0x4f);
                sink.framed(format.as_bytes());
            }
        }
    }
}

/// Writes a name as it stands in a type's text: plain if it is a word, else a quoted string.
fn write_name(formatter: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if !name.is_empty() && name.chars().all(is_word) {
        return formatter.write_str(name);
    }
    formatter.write_str("\"")?;
    for character in name.chars() {
        if matches!(character, '"' | '\\') {
            formatter.write_str("\\")?;
        }
        fmt::Write::write_char(formatter, character)?;
    }
    formatter.write_str("\"")
}

/// Whether a character may stand in an unquoted name of a type's text.
pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '/' | '+')
}

impl fmt::Display for LiteralType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Boolean => formatter.write_str("boolean"),
            Self::Integer => formatter.write_str("integer"),
            Self::Float => formatter.write_str("float"),
            Self::String => formatter.write_str("string"),
            Self::Bytes => formatter.write_str("bytes"),
            Self::Datetime => formatter.write_str("datetime"),
            Self::Duration => formatter.write_str("duration"),
            Self::File => formatter.write_str("file"),
            Self::List(inner) => write!(formatter, "list<{inner}>"),
            Self::Map(inner) => write!(formatter, "map<{inner}>"),
            Self::Optional(inner) => write!(formatter, "optional<{inner}>"),
            Self::Struct(fields) => {
                formatter.write_str("struct{")?;
                for (index, (name, inner)) in fields.iter().enumerate() {
                    if index > 0 {
                        formatter.write_str(",")?;
                    }
                    write_name(formatter, name)?;
                    write!(formatter, ":{inner}")?;
                }
                formatter.write_str("}")
            }
            Self::Enum(names) => {
                formatter.write_str("enum(")?;
                for (index, name) in names.iter().enumerate() {
                    if index > 0 {
                        formatter.write_str("|")?;
                    }
                    write_name(formatter, name)?;
                }
                formatter.write_str(")")
            }
            Self::Union(members) => {
                formatter.write_str("union<")?;
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        formatter.write_str("|")?;
                    }
                    write!(formatter, "{member}")?;
                }
                formatter.write_str(">")
            }
            Self::Opaque(format) => {
                formatter.write_str("opaque(")?;
                write_name(formatter, format)?;
                formatter.write_str(")")
            }
        }
    }
}
