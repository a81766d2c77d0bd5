//! One value from the command line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use memod_protocol::{InvalidArgument, Literal, LiteralType, json};
use serde_json::Value;

/// The value of a declared type: plain text if the type is text, else JSON.
///
/// # Errors
/// If it is none of that type.
pub(super) fn typed(of: &LiteralType, given: &OsStr) -> Result<Literal, InvalidArgument> {
    if *of == LiteralType::Bytes {
        return Ok(Literal::Bytes(Bytes::copy_from_slice(given.as_bytes())));
    }
    json::literal(of, &as_json(of, utf8(given)?)?)
}

/// The value and its type, both as JSON says.
///
/// # Errors
/// If it is not JSON, or no type admits it.
pub(super) fn inferred(given: &OsStr) -> Result<(LiteralType, Literal), InvalidArgument> {
    let parsed = json::parse(utf8(given)?)?;
    let of = json::infer(&parsed)?;
    let literal = json::literal(&of, &parsed)?;
    Ok((of, literal))
}

/// The JSON that stands for what was written.
fn as_json(of: &LiteralType, text: &str) -> Result<Value, InvalidArgument> {
    match of {
        LiteralType::String | LiteralType::Enum(_) | LiteralType::Datetime => {
            Ok(Value::String(text.to_owned()))
        }
        LiteralType::Duration => match json::parse(text) {
            Ok(number @ Value::Number(_)) => Ok(number),
            _ => Ok(Value::String(text.to_owned())),
        },
        // JSON has no words for these floats.
        LiteralType::Float if matches!(text, "NaN" | "inf" | "-inf") => {
            Ok(Value::String(text.to_owned()))
        }
        _ => json::parse(text),
    }
}

fn utf8(given: &OsStr) -> Result<&str, InvalidArgument> {
    given.to_str().ok_or_else(|| {
        InvalidArgument::new("value", "is not UTF-8; only values of type bytes need not be")
    })
}
