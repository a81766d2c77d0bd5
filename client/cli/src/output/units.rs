//! Times and sizes, for people and as JSON.

use std::time::Duration;

/// The instant as RFC 3339 text in UTC, to the millisecond, if it is one that a calendar knows.
pub(crate) fn rfc3339(milliseconds: u64) -> Option<String> {
    let milliseconds = i64::try_from(milliseconds).ok()?;
    jiff::Timestamp::from_millisecond(milliseconds).ok().map(|instant| format!("{instant:.3}"))
}

/// A duration in two units at the most: `2.01s`, `3m 4s`, `5h 6m`, `7d 8h`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0 if duration < Duration::from_millis(10) => {
            format!("{:.2}ms", duration.as_secs_f64() * 1e3)
        }
        0 => format!("{}ms", duration.as_millis()),
        1..60 => seconds_exact(duration),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A duration in one unit, rounded down, for sentences: `3 s`, `5 min`, `2 h`, `4 days`.
pub(crate) fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
        seconds @ 86_400..172_800 => format!("{} day", seconds / 86_400),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// As [`rough`], but rounded to the nearest, for what is still to come.
pub(crate) fn about(duration: Duration) -> String {
    let half_of_last_unit = match duration.as_millis() {
        0..59_500 => 500,
        59_500..3_570_000 => 30_000,
        3_570_000..84_600_000 => 1_800_000,
        _ => 43_200_000,
    };
    rough(duration.saturating_add(Duration::from_millis(half_of_last_unit)))
}

/// A duration in seconds with two decimals: `2.01s`.
pub(crate) fn seconds_exact(duration: Duration) -> String {
    format!("{:.2}s", duration.as_secs_f64())
}

/// A size in bytes: `17 B`, `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut unit = "B";
    let (mut whole, mut tenths) = (count, 0);
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if whole < 1024 {
            break;
        }
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit = larger;
    }
    if unit == "B" { format!("{whole} B") } else { format!("{whole}.{tenths} {unit}") }
}

/// A count with its noun: `1 entry`, `2 entries`.
pub(crate) fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(rfc3339(1_795_000_000_250).as_deref(), Some("2026-11-18T11:06:40.250Z"));
        assert_eq!(rfc3339(u64::MAX), None);
    }

    #[test]
    fn durations() {
        for (milliseconds, text) in [
            (0, "0.00ms"),
            (1, "1.00ms"),
            (999, "999ms"),
            (2010, "2.01s"),
            (61_000, "1m 1s"),
            (3_660_000, "1h 1m"),
            (90_000_000, "1d 1h"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn rough_durations() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (86_399, "23 h"),
            (86_400, "1 day"),
            (172_800, "2 days"),
        ] {
            assert_eq!(rough(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn what_is_to_come_is_rounded() {
        for (milliseconds, text) in [
            (0, "0 s"),
            (29_999, "30 s"),
            (59_499, "59 s"),
            (59_500, "1 min"),
            (89_999, "1 min"),
            (90_000, "2 min"),
            (3_570_000, "1 h"),
            (84_600_000, "1 day"),
            (129_600_000, "2 days"),
        ] {
            assert_eq!(about(Duration::from_millis(milliseconds)), text);
        }
        assert!(about(Duration::MAX).ends_with(" days"));
    }

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn counts() {
        assert_eq!(entries(1), "1 entry");
        assert_eq!(entries(0), "0 entries");
    }
}
