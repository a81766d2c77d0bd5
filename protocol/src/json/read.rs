//! Reads a value of a declared type.
//!
//! **Invariants.** The work is bounded by the product of the sizes of type and value and the
//! nesting: a union tries its members without choosing inside them, and then reads one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::marked::{Marked, check_depth, here, inside, item, kind, member};
use super::seconds;
use crate::error::InvalidArgument;
use crate::literal::Literal;
use crate::literal_type::LiteralType;

/// See [`super::literal`].
pub(super) fn literal(of: &LiteralType, value: &Value) -> Result<Literal, InvalidArgument> {
    let literal = read(of, value, 0, Purpose::Read).map_err(inside("value"))?;
    literal.check(0).map_err(|error| error.within("value"))?;
    Ok(literal)
}

/// What a reading is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To get the value.
    Read,
    /// To see whether the value fits as JSON spells it: a number is a number, a string is a string
    /// or an enum's name.
    TryNatural,
    /// To see whether it fits in any spelling: strings and objects stand for what JSON lacks.
    TryAny,
}

fn read(
    of: &LiteralType,
    value: &Value,
    depth: usize,
    purpose: Purpose,
) -> Result<Literal, InvalidArgument> {
    check_depth(depth)?;
    match Marked::of(value)? {
        Marked::Plain(value) => plain(of, value, depth, purpose),
        Marked::Hash(hash, value) => {
            let value = value.map(|value| {
                read(of, value, depth + 1, purpose).map(Box::new).map_err(inside(".value"))
            });
            Ok(Literal::Hashed { hash: hash.to_owned(), value: value.transpose()? })
        }
        Marked::Typed(text, value) => {
            let chosen: LiteralType = text.parse().map_err(inside(".$"))?;
            if !can_be(of, &chosen) {
                return Err(here(format!("`$type` is {chosen}, which is no member of {of}")));
            }
            if purpose != Purpose::Read {
                return Ok(Literal::None);
            }
            read(&chosen, value, depth + 1, purpose).map_err(inside(".value"))
        }
        Marked::Bits(float) if can_be(of, &LiteralType::Float) => Ok(Literal::Float(float)),
        Marked::Bits(_) => Err(here(format!("`$bits` are those of a float, wanted is {of}"))),
    }
}

/// Whether a value of the chosen type is one of the wanted type.
fn can_be(wanted: &LiteralType, chosen: &LiteralType) -> bool {
    wanted == chosen
        || match wanted {
            LiteralType::Optional(inner) => can_be(inner, chosen),
            LiteralType::Union(members) => members.iter().any(|inner| can_be(inner, chosen)),
            _ => false,
        }
}

/// Reads a value that has no mark, or whose mark does not count.
fn plain(
    of: &LiteralType,
    value: &Value,
    depth: usize,
    purpose: Purpose,
) -> Result<Literal, InvalidArgument> {
    let wanted = || Err(here(format!("{of} is wanted, here stands {}", kind(value))));
    match (of, value) {
        (LiteralType::None | LiteralType::Optional(_), Value::Null) => Ok(Literal::None),
        (LiteralType::Boolean, Value::Bool(value)) => Ok(Literal::Boolean(*value)),
        (LiteralType::Integer, Value::Number(number)) => match number.as_i64() {
            Some(integer) => Ok(Literal::Integer(integer)),
            None if number.is_f64() => wanted(),
            None => Err(here(format!("{number} is beyond 63 bits and a sign"))),
        },
        (LiteralType::Float, Value::Number(number)) => match number.as_f64() {
            Some(float) => Ok(Literal::Float(float)),
            None => wanted(),
        },
        (LiteralType::String, Value::String(text)) => Ok(Literal::String(text.clone())),
        (LiteralType::Enum(names), Value::String(text)) => one_of(names, text, of),
        (LiteralType::List(inner), Value::Array(items)) => {
            let read_item = |(index, value)| {
                read(inner, value, depth + 1, purpose).map_err(inside(&item(index)))
            };
            let items = items.iter().enumerate().map(read_item).collect::<Result<_, _>>()?;
            Ok(Literal::List(items))
        }
        (LiteralType::Map(inner), Value::Object(object)) => {
            let read_member = |(name, value): (&String, _)| {
                let value = read(inner, value, depth + 1, purpose).map_err(inside(&member(name)));
                Ok((name.clone(), value?))
            };
            Ok(Literal::Map(object.iter().map(read_member).collect::<Result<_, _>>()?))
        }
        (LiteralType::Struct(fields), Value::Object(object)) => {
            structure(fields, object, depth, purpose)
        }
        (LiteralType::Optional(inner), _) => plain(inner, value, depth, purpose),
        (LiteralType::Union(members), _) => union(members, value, depth, purpose)
            .unwrap_or_else(|| Err(here(format!("{} is not of type {of}", kind(value))))),
        _ if purpose != Purpose::TryNatural => match stand_in(of, value)? {
            Some(literal) => Ok(literal),
            None => wanted(),
        },
        _ => wanted(),
    }
}

fn one_of(
    names: &BTreeSet<String>,
    text: &str,
    of: &LiteralType,
) -> Result<Literal, InvalidArgument> {
    if names.contains(text) {
        return Ok(Literal::Enum(text.to_owned()));
    }
    Err(here(format!("{} is not of {of}", crate::name::label("name", text))))
}

fn structure(
    fields: &BTreeMap<String, LiteralType>,
    object: &Map<String, Value>,
    depth: usize,
    purpose: Purpose,
) -> Result<Literal, InvalidArgument> {
    if let Some(stranger) = object.keys().find(|name| !fields.contains_key(*name)) {
        return Err(here(format!("{} is not declared", crate::name::label("field", stranger))));
    }
    let read_field = |(name, of): (&String, &LiteralType)| {
        let Some(value) = object.get(name) else {
            return Err(here(format!("{} is missing", crate::name::label("field", name))));
        };
        let value = read(of, value, depth + 1, purpose).map_err(inside(&member(name)));
        Ok((name.clone(), value?))
    };
    Ok(Literal::Struct(fields.iter().map(read_field).collect::<Result<_, _>>()?))
}

/// The value of the first member that takes it as JSON spells it, else of the first that takes it
/// at all. Marks were dealt with before, and stay so for the members.
fn union(
    members: &BTreeSet<LiteralType>,
    value: &Value,
    depth: usize,
    purpose: Purpose,
) -> Option<Result<Literal, InvalidArgument>> {
    let first = |purpose| members.iter().find(|of| plain(of, value, depth, purpose).is_ok());
    if purpose != Purpose::Read {
        return first(purpose).map(|_| Ok(Literal::None));
    }
    let chosen = first(Purpose::TryNatural).or_else(|| first(Purpose::TryAny))?;
    Some(plain(chosen, value, depth, purpose))
}

/// Reads what stands for a value that JSON does not have; nothing if it does not for this type.
fn stand_in(of: &LiteralType, value: &Value) -> Result<Option<Literal>, InvalidArgument> {
    Ok(Some(match (of, value) {
        (LiteralType::Integer, Value::String(text)) => Literal::Integer(
            text.parse().map_err(|_| here("the text is no decimal integer of 64 bits"))?,
        ),
        (LiteralType::Float, Value::String(text)) => Literal::Float(match text.as_str() {
            "NaN" => f64::NAN,
            "inf" => f64::INFINITY,
            "-inf" => f64::NEG_INFINITY,
            _ => return Err(here("a float is a number, \"NaN\", \"inf\" or \"-inf\"")),
        }),
        (LiteralType::Bytes, Value::String(text)) => Literal::Bytes(base64(text)?),
        (LiteralType::Opaque(format), Value::String(text)) => {
            Literal::Opaque { format: format.clone(), bytes: base64(text)? }
        }
        (LiteralType::Datetime, Value::String(text)) => Literal::Datetime(datetime(text)?),
        (LiteralType::Duration, Value::String(text)) => Literal::Duration(duration(text)?),
        (LiteralType::Duration, Value::Number(number)) => Literal::Duration(
            seconds::from_text(&number.to_string())
                .ok_or_else(|| here("is beyond 128 bits of nanoseconds"))?,
        ),
        (LiteralType::File, Value::Object(object)) => file(object)?,
        _ => return Ok(None),
    }))
}

fn base64(text: &str) -> Result<Bytes, InvalidArgument> {
    BASE64
        .decode(text.as_bytes())
        .map(Bytes::from)
        .map_err(|error| here(format!("is not base64 with padding: {error}")))
}

/// RFC 3339 with an offset, or `@` and the seconds since 1970-01-01 UTC.
fn datetime(text: &str) -> Result<i128, InvalidArgument> {
    if let Some(since) = text.strip_prefix('@') {
        return seconds::from_text(since)
            .ok_or_else(|| here("`@` needs a decimal number of seconds behind it"));
    }
    text.parse::<Timestamp>().map(Timestamp::as_nanosecond).map_err(|error| {
        here(format!(
            "cannot be read as RFC 3339 with an offset, such as 2026-01-31T12:00:00Z ({error}); \
             `@` and the seconds since 1970-01-01 UTC names any instant"
        ))
    })
}

fn duration(text: &str) -> Result<i128, InvalidArgument> {
    if let Some(nanoseconds) = seconds::from_text(text) {
        return Ok(nanoseconds);
    }
    text.parse::<SignedDuration>()
        .map(|duration| duration.as_nanos())
        .map_err(|error| here(format!("is no duration, such as `1h 30m` or `1.5s`: {error}")))
}

fn file(object: &Map<String, Value>) -> Result<Literal, InvalidArgument> {
    if let Some(stranger) = object.keys().find(|name| !["digest", "bytes"].contains(&name.as_str()))
    {
        let label = crate::name::label("member", stranger);
        return Err(here(format!("{label} is none of a file's, `digest` and `bytes`")));
    }
    let digest = object.get("digest").and_then(Value::as_str);
    let bytes = object.get("bytes").and_then(Value::as_u64);
    match (digest, bytes) {
        (Some(digest), Some(bytes)) => {
            let digest = digest
                .parse()
                .map_err(|error| InvalidArgument::new(".digest", format!("{error}")))?;
            Ok(Literal::File { digest, bytes })
        }
        (None, _) => Err(here("`digest`, a string of 64 hexadecimal digits, is missing")),
        (_, None) => Err(here("`bytes`, the file's length, is missing")),
    }
}
