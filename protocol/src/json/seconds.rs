//! Seconds as decimal text and nanoseconds, without a float in between.

use serde_json::{Number, Value};

/// Decimal digits of a nanosecond's place behind the point.
const PLACES: i32 = 9;
const NANOSECONDS: i128 = 1_000_000_000;
/// Longest text of digits and exponent: enough for 128 bits of nanoseconds.
const TEXT_BYTES_MAX: usize = 80;

/// The nanoseconds of a decimal number of seconds, rounded to the nearest, halves away from zero.
/// Nothing for text of another form or a number beyond 128 bits.
pub(super) fn from_text(text: &str) -> Option<i128> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = i32::from(exponent) + PLACES - i32::try_from(fraction.len()).ok()?;
    let nanoseconds = scaled(&digits, scale)?;
    Some(if negative { -nanoseconds } else { nanoseconds })
}

/// The digits times ten to the scale.
fn scaled(digits: &str, scale: i32) -> Option<i128> {
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    if scale >= 0 {
        let power = 10_i128.checked_pow(scale.unsigned_abs())?;
        return significant.parse::<i128>().ok()?.checked_mul(power);
    }
    let dropped = usize::try_from(scale.unsigned_abs()).ok()?;
    if dropped > significant.len() {
        return Some(0);
    }
    let (kept, rest) = significant.split_at(significant.len() - dropped);
    let kept = if kept.is_empty() { 0 } else { kept.parse::<i128>().ok()? };
    kept.checked_add(i128::from(rest.as_bytes().first().is_some_and(|digit| *digit >= b'5')))
}

/// The decimal text of the seconds, exactly.
pub(super) fn to_text(nanoseconds: i128) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let absolute = nanoseconds.unsigned_abs();
    let (whole, rest) =
        (absolute / NANOSECONDS.unsigned_abs(), absolute % NANOSECONDS.unsigned_abs());
    if rest == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

/// The seconds as a JSON number if one says it exactly, else as text.
pub(super) fn to_json(nanoseconds: i128) -> Value {
    let text = to_text(nanoseconds);
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    let number = text.parse::<f64>().ok().and_then(Number::from_f64);
    match number {
        Some(number) if from_text(&number.to_string()) == Some(nanoseconds) => number.into(),
        _ => text.into(),
    }
}
