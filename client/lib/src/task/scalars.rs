//! Literals of the types of the standard library that hold one value.
//!
//! **Invariants.** Nothing is rounded or cut off: a value that does not fit is an error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memod_protocol::{InvalidArgument, Literal, LiteralType};

use super::typed::{FromLiteral, ToLiteral, Typed, mismatch, unhashed, wrong};

const NANOSECONDS: i128 = 1_000_000_000;

/// A type whose literals are of one kind: how it is written and how it is read.
macro_rules! scalar {
    ($of:ty, $literal_type:ident, $wanted:literal, |$value:ident| $write:expr,
     $pattern:pat => $read:expr) => {
        typed!($of, $literal_type);
        impl ToLiteral for $of {
            fn to_literal(&self) -> Result<Literal, InvalidArgument> {
                let $value = self;
                $write
            }
        }
        read!($of, $wanted, $pattern => $read);
    };
}

macro_rules! typed {
    ($of:ty, $literal_type:ident) => {
        impl Typed for $of {
            fn literal_type() -> Result<LiteralType, InvalidArgument> {
                Ok(LiteralType::$literal_type)
            }
        }
    };
}

macro_rules! read {
    ($of:ty, $wanted:literal, $pattern:pat => $read:expr) => {
        impl FromLiteral for $of {
            fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
                match unhashed(literal)? {
                    $pattern => $read,
                    other => Err(mismatch($wanted, &other)),
                }
            }
        }
    };
}

macro_rules! integers {
    ($($of:ty),*) => {$(
        scalar!($of, Integer, "an integer", |value| integer(*value),
            Literal::Integer(value) => narrow(value));
    )*};
}

integers!(i8, i16, i32, i64, i128, isize, u16, u32, u64, u128, usize);

fn integer<T: Copy + std::fmt::Display>(value: T) -> Result<Literal, InvalidArgument>
where
    i64: TryFrom<T>,
{
    let fits = i64::try_from(value).map(Literal::Integer);
    fits.map_err(|_| wrong(format!("is {value}, an integer beyond 63 bits and a sign")))
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, InvalidArgument> {
    let of = std::any::type_name::<T>();
    T::try_from(value).map_err(|_| wrong(format!("is {value}, which is no {of}")))
}

impl Typed for u8 {
    fn literal_type() -> Result<LiteralType, InvalidArgument> {
        Ok(LiteralType::Integer)
    }

    fn list_type() -> Result<LiteralType, InvalidArgument> {
        Ok(LiteralType::Bytes)
    }
}

impl ToLiteral for u8 {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        Ok(Literal::Integer(i64::from(*self)))
    }

    fn list_to_literal(items: &[Self]) -> Result<Literal, InvalidArgument> {
        Ok(Literal::Bytes(Bytes::copy_from_slice(items)))
    }
}

impl FromLiteral for u8 {
    fn from_literal(literal: Literal) -> Result<Self, InvalidArgument> {
        match unhashed(literal)? {
            Literal::Integer(value) => narrow(value),
            other => Err(mismatch("an integer", &other)),
        }
    }

    fn list_from_literal(literal: Literal) -> Result<Vec<Self>, InvalidArgument> {
        Bytes::from_literal(literal).map(Vec::from)
    }
}

scalar!(bool, Boolean, "a boolean", |value| Ok(Literal::Boolean(*value)),
    Literal::Boolean(value) => Ok(value));
scalar!(f64, Float, "a float", |value| Ok(Literal::Float(*value)),
    Literal::Float(value) => Ok(value));
scalar!(f32, Float, "a float", |value| Ok(Literal::Float(f64::from(*value))),
    Literal::Float(value) => single(value));
scalar!(String, String, "a string", |value| Ok(Literal::String(value.clone())),
    Literal::String(text) => Ok(text));
scalar!(char, String, "a string", |value| Ok(Literal::String(value.to_string())),
    Literal::String(text) => character(&text));
scalar!(Bytes, Bytes, "bytes", |value| Ok(Literal::Bytes(value.clone())),
    Literal::Bytes(bytes) => Ok(bytes));
scalar!(Duration, Duration, "a duration", |value| Ok(Literal::Duration(nanoseconds(*value))),
    Literal::Duration(value) => duration(value));
scalar!(SystemTime, Datetime, "a datetime", |value| Ok(Literal::Datetime(since_epoch(*value))),
    Literal::Datetime(value) => instant(value));

typed!(str, String);

impl ToLiteral for str {
    fn to_literal(&self) -> Result<Literal, InvalidArgument> {
        Ok(Literal::String(self.to_owned()))
    }
}

read!(Box<str>, "a string", Literal::String(text) => Ok(text.into_boxed_str()));

/// A double that a single can hold.
fn single(value: f64) -> Result<f32, InvalidArgument> {
    #[expect(clippy::cast_possible_truncation, reason = "whether anything is lost is looked at")]
    let single = value as f32;
    if value.is_nan() || f64::from(single).to_bits() == value.to_bits() {
        return Ok(single);
    }
    Err(wrong(format!("is {value}, which is no f32")))
}

fn character(text: &str) -> Result<char, InvalidArgument> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(wrong("is not exactly one character")),
    }
}

fn nanoseconds(duration: Duration) -> i128 {
    i128::from(duration.as_secs()) * NANOSECONDS + i128::from(duration.subsec_nanos())
}

fn duration(nanoseconds: i128) -> Result<Duration, InvalidArgument> {
    let whole = u64::try_from(nanoseconds.div_euclid(NANOSECONDS));
    let rest = u32::try_from(nanoseconds.rem_euclid(NANOSECONDS));
    match (whole, rest) {
        (Ok(whole), Ok(rest)) => Ok(Duration::new(whole, rest)),
        _ => Err(wrong(format!("is {nanoseconds} ns, which is no std::time::Duration"))),
    }
}

fn since_epoch(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => nanoseconds(since),
        Err(before) => -nanoseconds(before.duration()),
    }
}

fn instant(since: i128) -> Result<SystemTime, InvalidArgument> {
    let beyond = || wrong(format!("is {since} ns from 1970, beyond std::time::SystemTime"));
    let distance = duration(since.checked_abs().ok_or_else(beyond)?).map_err(|_| beyond())?;
    let time =
        if since < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.ok_or_else(beyond)
}
