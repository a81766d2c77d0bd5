//! Durations on the command line: `90s`, `1h 30m`, `2.5`, `0`.

use std::time::Duration;

const EXAMPLES: &str = "write a duration such as 90s, 1h 30m or 7days, or a number of seconds";

/// The wait without a bound.
const FOREVER: &str = "forever";

/// Reads a duration; a number without a unit is in seconds. One that is too long to be counted is
/// as long as can be.
///
/// # Errors
/// A sentence that shows what may be written.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return Err(format!("it cannot be less than zero; {EXAMPLES}"));
    }
    let plain =
        !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let with_unit = if plain { format!("{trimmed}s") } else { trimmed.to_owned() };
    match humantime::parse_duration(&with_unit) {
        Err(humantime::DurationError::NumberOverflow) if is_whole(&with_unit) => Ok(Duration::MAX),
        other => other.map_err(|error| format!("{error}; {EXAMPLES}")),
    }
}

/// As [`parse`], for a wait: `forever` has no bound.
///
/// # Errors
/// As [`parse`].
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    if text.trim() == FOREVER {
        return Ok(Duration::MAX);
    }
    parse(text).map_err(|problem| format!("{problem}, or `{FOREVER}`"))
}

/// Whether the text would be a duration of whole units, were it not for the size of its numbers.
fn is_whole(text: &str) -> bool {
    let mut small = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' if small.ends_with('1') => {}
            '0'..='9' => small.push('1'),
            other => small.push(other),
        }
    }
    !small.contains('.') && humantime::parse_duration(&small).is_ok()
}

/// As [`parse`], for a duration that cannot be zero.
///
/// # Errors
/// As [`parse`], or if it is zero.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    if text.trim_start().starts_with('-') {
        return Err("more than zero is wanted".to_owned());
    }
    let duration = parse(text)?;
    if duration.is_zero() { Err("more than zero is wanted".to_owned()) } else { Ok(duration) }
}

/// The same in whole milliseconds, as the protocol counts them. Not zero unless the duration is:
/// zero has a meaning of its own.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    let whole = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if duration.is_zero() { 0 } else { whole.max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_plain_seconds() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("2.5"), Ok(Duration::from_millis(2500)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("30d"), Ok(Duration::from_secs(30 * 86_400)));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "soon", "-5s", "-1", "--wait", ".", "1 fortnight"] {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains("1h 30m"), "{problem}");
        }
    }

    #[test]
    fn what_is_too_long_is_as_long_as_can_be() {
        for text in ["1000000000000000000ms", "99999999999999999999", "1000000000000000000 years"] {
            assert_eq!(parse(text), Ok(Duration::MAX), "{text}");
        }
        for text in ["0.5ns", "1000000000000000000000 fortnights", "99999999999999999999x"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(positive("1000000000000000000ms"), Ok(Duration::MAX));
    }

    #[test]
    fn a_heartbeat_is_more_than_zero() {
        for text in ["0", "0s", "-1", "-5s", " -1h"] {
            assert_eq!(positive(text), Err("more than zero is wanted".to_owned()), "{text}");
        }
        assert_eq!(positive("1ns"), Ok(Duration::from_nanos(1)));
        assert_eq!(positive("1000000000000000000"), Ok(Duration::from_secs(10_u64.pow(18))));
        assert!(positive("soon").is_err());
    }

    #[test]
    fn a_wait_may_have_no_bound() {
        assert_eq!(wait("forever"), Ok(Duration::MAX));
        assert_eq!(wait("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        for text in ["", "for ever", "always", "-1s"] {
            let problem = wait(text).expect_err(text);
            assert!(problem.contains("`forever`"), "{problem}");
        }
        assert!(parse("forever").is_err(), "an age is no wait");
    }

    #[test]
    fn only_zero_is_zero_milliseconds() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_secs(2)), 2000);
    }
}
