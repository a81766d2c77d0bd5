//! Writes values as JSON.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use jiff::Timestamp;
use serde_json::{Map, Number, Value, json};

use super::marked::{HASH, PLAIN, TYPE, VALUE};
use super::seconds;
use crate::literal::Literal;
use crate::literal_type::LiteralType;

/// See [`super::value`].
pub(super) fn value(literal: &Literal) -> Value {
    write(None, literal)
}

/// As [`value`], for reading back by the type: members of unions carry their types.
pub(super) fn typed(of: &LiteralType, literal: &Literal) -> Value {
    write(Some(of), literal)
}

fn write(of: Option<&LiteralType>, literal: &Literal) -> Value {
    if let Literal::Hashed { hash, value } = literal {
        return match value {
            Some(value) => json!({ HASH: hash, VALUE: write(of, value) }),
            None => json!({ HASH: hash }),
        };
    }
    match of {
        Some(LiteralType::Optional(inner)) if *literal != Literal::None => {
            return write(Some(inner), literal);
        }
        Some(LiteralType::Union(members)) => {
            if let Some(member) = members.iter().find(|member| member.admits(literal)) {
                return json!({ TYPE: member.to_string(), VALUE: write(Some(member), literal) });
            }
        }
        _ => {}
    }
    match literal {
        Literal::None | Literal::Hashed { .. } => Value::Null,
        Literal::Boolean(value) => Value::Bool(*value),
        Literal::Integer(value) => (*value).into(),
        Literal::Float(value) => float(*value),
        Literal::String(text) | Literal::Enum(text) => text.clone().into(),
        Literal::Bytes(bytes) | Literal::Opaque { bytes, .. } => BASE64.encode(bytes).into(),
        Literal::Datetime(nanoseconds) => datetime(*nanoseconds).into(),
        Literal::Duration(nanoseconds) => seconds::to_json(*nanoseconds),
        Literal::File { digest, bytes } => json!({"digest": digest.to_string(), "bytes": bytes}),
        Literal::List(items) => {
            let inner = match of {
                Some(LiteralType::List(inner)) => Some(inner.as_ref()),
                _ => None,
            };
            items.iter().map(|item| write(inner, item)).collect()
        }
        Literal::Map(members) | Literal::Struct(members) => object(of, members),
    }
}

fn object(of: Option<&LiteralType>, members: &BTreeMap<String, Literal>) -> Value {
    let inner = |name: &str| match of {
        Some(LiteralType::Map(inner)) => Some(inner.as_ref()),
        Some(LiteralType::Struct(fields)) => fields.get(name),
        _ => None,
    };
    let written: Map<String, Value> =
        members.iter().map(|(name, member)| (name.clone(), write(inner(name), member))).collect();
    // A name that begins like a mark would be taken for one.
    if written.keys().any(|name| name.starts_with('$')) {
        return json!({ PLAIN: written });
    }
    Value::Object(written)
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "inf".into(),
        None => "-inf".into(),
    }
}

/// RFC 3339 in UTC; outside the years that it can say, `@` and the seconds since 1970-01-01 UTC.
fn datetime(nanoseconds: i128) -> String {
    match Timestamp::from_nanosecond(nanoseconds) {
        // Years before 0 are an extension that other readers of RFC 3339 refuse.
        Ok(timestamp) if nanoseconds >= YEAR_0 => timestamp.to_string(),
        _ => format!("@{}", seconds::to_text(nanoseconds)),
    }
}

/// 0000-01-01T00:00:00Z in nanoseconds since 1970-01-01 UTC.
const YEAR_0: i128 = -62_167_219_200 * 1_000_000_000;
