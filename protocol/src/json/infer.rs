//! The type of a value for which none is declared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::marked::{Marked, check_depth, here, inside, item, member};
use crate::error::InvalidArgument;
use crate::limits::TYPE_BYTES_MAX;
use crate::literal_type::LiteralType;

/// See [`super::infer()`].
pub(super) fn infer(value: &Value) -> Result<LiteralType, InvalidArgument> {
    let inferred = known(value, 0).map_err(inside("value"))?;
    inferred.check().map_err(|error| error.within("type"))?;
    let text_bytes = inferred.to_string().len();
    if text_bytes > TYPE_BYTES_MAX {
        return Err(InvalidArgument::new(
            "value",
            format!(
                "its inferred type is {text_bytes} bytes long, {TYPE_BYTES_MAX} are allowed; \
                 declare a simpler one"
            ),
        ));
    }
    Ok(inferred)
}

fn known(value: &Value, depth: usize) -> Result<LiteralType, InvalidArgument> {
    any(value, depth)?.ok_or_else(|| here("is only a hash, so its type must be given"))
}

/// The type, or nothing for a hash without content, which is of any type.
fn any(value: &Value, depth: usize) -> Result<Option<LiteralType>, InvalidArgument> {
    check_depth(depth)?;
    let value = match Marked::of(value)? {
        Marked::Hash(_, None) => return Ok(None),
        Marked::Hash(_, Some(value)) => return any(value, depth + 1),
        Marked::Typed(text, _) => return text.parse().map(Some).map_err(inside(".$")),
        Marked::Bits(_) => return Ok(Some(LiteralType::Float)),
        Marked::Plain(value) => value,
    };
    Ok(Some(match value {
        Value::Null => LiteralType::None,
        Value::Bool(_) => LiteralType::Boolean,
        Value::Number(number) if number.is_f64() => LiteralType::Float,
        Value::Number(number) if number.is_i64() => LiteralType::Integer,
        Value::Number(number) => {
            return Err(here(format!(
                "the integer {number} is beyond 63 bits and a sign; a float is written with `.0`"
            )));
        }
        Value::String(_) => LiteralType::String,
        Value::Array(items) => LiteralType::List(Box::new(of_items(items, depth)?)),
        Value::Object(object) => LiteralType::Struct(of_members(object, depth)?),
    }))
}

fn of_items(items: &[Value], depth: usize) -> Result<LiteralType, InvalidArgument> {
    let mut types = BTreeSet::new();
    for (index, value) in items.iter().enumerate() {
        types.extend(any(value, depth + 1).map_err(inside(&item(index)))?);
    }
    if types.is_empty() && !items.is_empty() {
        return Err(here("has only hashes as items, so its type must be given"));
    }
    let with_none = types.remove(&LiteralType::None);
    if types.is_empty() {
        return Ok(LiteralType::None);
    }
    let of_all = match types.len() {
        1 => types.pop_first().expect("its length is one"),
        _ => LiteralType::Union(types),
    };
    if with_none && !of_all.admits_none() {
        return Ok(LiteralType::Optional(Box::new(of_all)));
    }
    Ok(of_all)
}

fn of_members(
    object: &Map<String, Value>,
    depth: usize,
) -> Result<BTreeMap<String, LiteralType>, InvalidArgument> {
    let of_member = |(name, value): (&String, &Value)| {
        Ok((name.clone(), known(value, depth + 1).map_err(inside(&member(name)))?))
    };
    object.iter().map(of_member).collect()
}
