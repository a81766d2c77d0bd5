//! The marked objects that may stand in place of any value.

use serde_json::{Map, Value};

use crate::error::InvalidArgument;
use crate::limits::JSON_NESTING_MAX;

/// The mark of a user's own hash.
pub(super) const HASH: &str = "$hash";
/// The mark of a value with its type.
pub(super) const TYPE: &str = "$type";
/// The mark of an object whose names are data.
pub(super) const PLAIN: &str = "$plain";
/// The mark of a float's bits.
pub(super) const BITS: &str = "$bits";
/// What stands beside the marks of a hash and of a type.
pub(super) const VALUE: &str = "value";

/// A JSON value, told apart by its mark.
pub(super) enum Marked<'a> {
    /// No mark, or one that `$plain` takes the meaning from.
    Plain(&'a Value),
    /// A user's own hash, and the value if it is at hand.
    Hash(&'a str, Option<&'a Value>),
    /// A value with the text of its type.
    Typed(&'a str, &'a Value),
    /// A float's bits.
    Bits(f64),
}

impl<'a> Marked<'a> {
    /// Looks for a mark.
    pub(super) fn of(value: &'a Value) -> Result<Self, InvalidArgument> {
        let Value::Object(object) = value else { return Ok(Self::Plain(value)) };
        for mark in [HASH, TYPE, PLAIN, BITS] {
            if let Some(marked) = object.get(mark) {
                let others = if matches!(mark, HASH | TYPE) { &[VALUE][..] } else { &[][..] };
                refuse_others(object, mark, others)?;
                return Self::with(mark, marked, object.get(VALUE));
            }
        }
        Ok(Self::Plain(value))
    }

    fn with(
        mark: &str,
        marked: &'a Value,
        value: Option<&'a Value>,
    ) -> Result<Self, InvalidArgument> {
        match (mark, marked, value) {
            (HASH, Value::String(hash), value) => Ok(Self::Hash(hash, value)),
            (TYPE, Value::String(text), Some(value)) => Ok(Self::Typed(text, value)),
            (TYPE, Value::String(_), None) => Err(here("`value` is missing beside `$type`")),
            (PLAIN, plain, _) => Ok(Self::Plain(plain)),
            (BITS, Value::String(text), _) if text.len() == 16 => u64::from_str_radix(text, 16)
                .map(|bits| Self::Bits(f64::from_bits(bits)))
                .map_err(|_| here("`$bits` needs 16 hexadecimal digits")),
            (BITS, ..) => Err(here("`$bits` needs 16 hexadecimal digits")),
            _ => Err(here(format!("`{mark}` needs a string"))),
        }
    }
}

fn refuse_others(
    object: &Map<String, Value>,
    mark: &str,
    others: &[&str],
) -> Result<(), InvalidArgument> {
    let stranger = object.keys().find(|name| *name != mark && !others.contains(&name.as_str()));
    let Some(stranger) = stranger else { return Ok(()) };
    let label = crate::name::label("member", stranger);
    Err(here(format!(
        "{label} cannot stand beside `{mark}`; if all this is data, write {{\"$plain\": ..}}"
    )))
}

/// A problem of the value that is being looked at; callers put the path in front.
pub(super) fn here(problem: impl Into<String>) -> InvalidArgument {
    InvalidArgument::new("", problem)
}

/// A problem further in, seen from one step further out.
pub(super) fn inside(step: &str) -> impl Fn(InvalidArgument) -> InvalidArgument {
    move |error| InvalidArgument::new(format!("{step}{}", error.field), error.problem)
}

/// The path's step to an item of a list.
pub(super) fn item(index: usize) -> String {
    format!("[{index}]")
}

/// The path's step to a member of an object.
pub(super) fn member(name: &str) -> String {
    format!(".{}", crate::name::short(name))
}

/// Refuses what is nested too deep for recursion.
pub(super) fn check_depth(depth: usize) -> Result<(), InvalidArgument> {
    if depth > JSON_NESTING_MAX {
        return Err(here(format!("nested deeper than {JSON_NESTING_MAX}")));
    }
    Ok(())
}

/// A word for what kind of JSON stands here, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction or exponent",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
