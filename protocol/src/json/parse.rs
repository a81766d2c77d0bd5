//! Reads JSON text without forgiving what would change a key.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::InvalidArgument;
use crate::limits::JSON_NESTING_MAX;

/// See [`super::parse()`].
pub(super) fn parse(text: &str) -> Result<Value, InvalidArgument> {
    let wrong = |error: serde_json::Error| InvalidArgument::new("json", error.to_string());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Level(0).deserialize(&mut deserializer).map_err(wrong)?;
    deserializer.end().map_err(wrong)?;
    refuse_rounded_integers(text)?;
    Ok(value)
}

/// A value inside so many lists and objects.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.0 >= JSON_NESTING_MAX {
            return Err(E::custom(format!("nested deeper than {JSON_NESTING_MAX}")));
        }
        Ok(Self(self.0 + 1))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let member = members.next_value_seed(inner)?;
            if object.contains_key(&name) {
                let label = crate::name::label("member", &name);
                return Err(A::Error::custom(format!("{label} is named twice")));
            }
            object.insert(name, member);
        }
        Ok(Value::Object(object))
    }
}

/// The parser turns an integer beyond 64 bits into a float: this pass over the text, which is
/// known to be JSON, finds those that lost something by it.
fn refuse_rounded_integers(text: &str) -> Result<(), InvalidArgument> {
    let mut in_string = false;
    let mut escaped = false;
    let mut number = String::new();
    for character in text.chars().chain(std::iter::once(' ')) {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if matches!(character, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')
            && (!number.is_empty() || character == '-' || character.is_ascii_digit())
        {
            number.push(character);
        } else {
            check_integer(&number)?;
            number.clear();
            in_string = character == '"';
        }
    }
    Ok(())
}

fn check_integer(number: &str) -> Result<(), InvalidArgument> {
    if number.is_empty() || number.contains(['.', 'e', 'E']) {
        return Ok(());
    }
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return Ok(());
    }
    let short: String = number.chars().take(40).collect();
    Err(InvalidArgument::new(
        "json",
        format!("the integer {short} is beyond 64 bits; a float is written with `.0` or `e`"),
    ))
}
