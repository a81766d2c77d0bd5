//! Calls, values and types as JSON: what the command line and the golden vectors speak.
//!
//! A value is read by its declared type: an integer from `3` or `"3"`, bytes from base64, a
//! datetime from RFC 3339 or `"@SECONDS"`, a duration from seconds or `"1h 30m"`. Four marked
//! objects may stand in place of any value:
//!
//! | object | means |
//! |---|---|
//! | `{"$hash":"h"}`, `{"$hash":"h","value":V}` | the user's own hash, alone or beside the value |
//! | `{"$type":"T","value":V}` | V, read as a T: chooses the member of a union |
//! | `{"$plain":V}` | V, whose own names that begin with `$` are data |
//! | `{"$bits":"7ff8000000000001"}` | the float with these bits |
//!
//! **Invariants.** Integers are never rounded. Nesting is bounded by
//! [`JSON_NESTING_MAX`](crate::limits::JSON_NESTING_MAX). An object that names a member twice is
//! refused, and so is a member that nobody knows. In a union the member that fits JSON's own
//! spelling wins: in `union<integer|string>`, `"3"` is the string.
//!
//! **Does not** keep the bits of a NaN, nor say which member of a union a value is of, when it
//! writes a value without its type.

mod call;
mod infer;
mod marked;
mod parse;
mod read;
mod seconds;
mod write;

use serde_json::Value;

use crate::call::{Call, Scope};
use crate::error::InvalidArgument;
use crate::literal::Literal;
use crate::literal_type::LiteralType;

/// The JSON value that a text holds.
///
/// # Errors
/// If the text is not JSON, names a member of an object twice, is nested deeper than
/// [`JSON_NESTING_MAX`](crate::limits::JSON_NESTING_MAX) or holds an integer that would have to be
/// rounded.
pub fn parse(text: &str) -> Result<Value, InvalidArgument> {
    parse::parse(text)
}

/// The type of a value for which none is declared: a number without fraction and exponent is an
/// integer, any other a float; an object is a struct; a list has items of one type, of a union,
/// or, if some are null, of an optional type.
///
/// # Errors
/// If the value is beyond every type (an integer of more than 64 bits), stands behind a hash
/// without content, or has a type that is too long or too deep.
pub fn infer(value: &Value) -> Result<LiteralType, InvalidArgument> {
    infer::infer(value)
}

/// The value of a declared type.
///
/// # Errors
/// If the JSON is not a spelling of a value of the type; the error's field is the path to it.
pub fn literal(literal_type: &LiteralType, value: &Value) -> Result<Literal, InvalidArgument> {
    read::literal(literal_type, value)
}

/// A value for output: the inverse of [`literal`] as far as JSON goes. Datetimes are RFC 3339 in
/// UTC, durations are seconds, bytes are base64.
#[must_use]
pub fn value(literal: &Literal) -> Value {
    write::value(literal)
}

/// The call that a JSON object describes; project and domain may be left out.
///
/// # Errors
/// If a member is missing, unknown or of the wrong shape; the error's field is the path to it.
pub fn call(json: &Value, default_scope: &Scope) -> Result<Call, InvalidArgument> {
    call::call(json, default_scope)
}

/// The JSON object that describes a call: the inverse of [`call()`], up to the bits of a NaN.
#[must_use]
pub fn call_to_json(call: &Call) -> Value {
    call::call_to_json(call)
}
