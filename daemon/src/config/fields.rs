//! What the configuration file may hold, and what each name does.
//!
//! **Does not** know lines: a mistake is told as a sentence, without its place.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use memod_protocol::board::layout::Layout;
use memod_store::policy;
use toml::Value;

use super::names::{self, meant};
use crate::budget_settings::{if_good, parse_scopes, parse_users};
use crate::log::LogFormat;
use crate::metrics_address::MetricsAddress;
use crate::settings::{Settings, parse_durability, parse_on_damage};

/// Each takes a descriptor.
const BOARDS_MAX: usize = 4096;

/// Takes a value over. An error has a line for each mistake.
pub(super) type Apply = fn(&mut Settings, &Value) -> Result<(), String>;

/// Every name that the file may hold, and what it does.
pub(super) const FIELDS: &[(&str, Apply)] = &[
    ("socket", |s, v| path(v).map(|given| s.socket = given)),
    ("socket_mode", |s, v| mode(v).map(|given| s.socket_mode = given)),
    ("data", |s, v| path(v).map(|given| s.data = given)),
    ("on_damage", |s, v| text(v).and_then(parse_on_damage).map(|given| s.on_damage = given)),
    ("durability", |s, v| text(v).and_then(parse_durability).map(|given| s.durability = given)),
    ("sync_interval", |s, v| {
        within(duration(v)?, Duration::from_millis(10), Duration::from_secs(60))
            .map(|given| s.sync_interval = given)
    }),
    ("hot_bytes", |s, v| bytes(v).map(|given| s.hot_bytes = given)),
    ("sealed_bytes", |s, v| bytes(v).map(|given| s.sealed_bytes = given)),
    ("block_cache_bytes", |s, v| bytes(v).map(|given| s.block_cache_bytes = given)),
    ("board_bytes", |s, v| {
        let given = bytes(v)? / 4096 * 4096;
        if given > 0 && Layout::of_bytes(given).is_none() {
            return Err("must be 0, or between 131072 (128 KiB) and 1073741824 (1 GiB)".to_owned());
        }
        s.board_bytes = given;
        Ok(())
    }),
    ("boards_max", |s, v| {
        let given = v.as_integer().and_then(|given| usize::try_from(given).ok());
        let good = given.filter(|given| *given <= BOARDS_MAX);
        s.boards_max = good.ok_or_else(|| format!("a number from 0 to {BOARDS_MAX} is wanted"))?;
        Ok(())
    }),
    ("store_bytes_max", |s, v| or_auto(v).map(|given| s.budgets.store_bytes_max = given)),
    ("store_bytes_high", |s, v| or_auto(v).map(|given| s.budgets.store_bytes_high = given)),
    ("store_bytes_low", |s, v| or_auto(v).map(|given| s.budgets.store_bytes_low = given)),
    ("disk_reserve_bytes", |s, v| or_auto(v).map(|given| s.budgets.disk_reserve_bytes = given)),
    ("scope_bytes_max", |s, v| bytes(v).map(|given| s.budgets.scope_bytes_max = given)),
    ("scope_bytes", |s, v| parse_scopes(v).map(|given| s.budgets.scope_bytes = given)),
    ("user_bytes_max", |s, v| bytes(v).map(|given| s.budgets.user_bytes_max = given)),
    ("user_bytes", |s, v| parse_users(v).map(|given| s.budgets.user_bytes = given)),
    ("eviction", |s, v| {
        s.budgets.eviction =
            text(v)?.parse().map_err(|error: policy::UnknownPolicy| error.to_string())?;
        Ok(())
    }),
    ("connections_max", |s, v| count(v).map(|given| s.connections_max = given)),
    ("buffer_bytes_max", |s, v| {
        let given = bytes(v)?;
        if given < 8 << 20 {
            return Err("must be at least 8388608 (8 MiB)".to_owned());
        }
        s.buffer_bytes_max = given;
        Ok(())
    }),
    ("stall_timeout", |s, v| {
        within(duration(v)?, Duration::from_millis(100), Duration::from_secs(3600))
            .map(|given| s.stall_timeout = given)
    }),
    ("drain_timeout", |s, v| duration(v).map(|given| s.drain_timeout = given)),
    ("max_age", |s, v| duration(v).map(|given| s.max_age = given)),
    ("waiters_max", |s, v| count(v).map(|given| s.waiters_max = given)),
    ("lease_heartbeat_max", |s, v| {
        within(duration(v)?, Duration::from_millis(1), Duration::from_secs(3600))
            .map(|given| s.lease_heartbeat_max = given)
    }),
    ("log_requests", |s, v| count(v).map(|given| s.log_requests = given)),
    ("idle_exit", |s, v| duration(v).map(|given| s.idle_exit = given)),
    ("log", |s, v| {
        let given = text(v)?;
        check_log_filter(given)?;
        given.clone_into(&mut s.log);
        Ok(())
    }),
    ("log_format", |s, v| text(v).and_then(LogFormat::parse).map(|given| s.log_format = given)),
    ("metrics", |s, v| text(v).and_then(MetricsAddress::parse).map(|given| s.metrics = given)),
    ("quarantined_users", |s, v| users(v).map(|given| s.quarantined_users = given)),
];

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("a string is wanted, not {}", value.type_str()))
}

fn path(value: &Value) -> Result<PathBuf, String> {
    let given = PathBuf::from(text(value)?);
    if given.is_absolute() { Ok(given) } else { Err("an absolute path is wanted".to_owned()) }
}

fn mode(value: &Value) -> Result<u32, String> {
    u32::from_str_radix(text(value)?, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "permission bits such as \"0660\" are wanted".to_owned())
}

fn count(value: &Value) -> Result<usize, String> {
    value
        .as_integer()
        .and_then(|given| usize::try_from(given).ok())
        .filter(|given| (1..=1_000_000).contains(given))
        .ok_or_else(|| "a number from 1 to 1000000 is wanted".to_owned())
}

/// A number of bytes, or a text such as `10 GiB`.
pub(crate) fn bytes(value: &Value) -> Result<u64, String> {
    let wanted = "a number of bytes or a size such as \"10 GiB\" is wanted";
    match value {
        Value::Integer(given) => u64::try_from(*given).map_err(|_| wanted.to_owned()),
        Value::String(text) => parse_size(text).map_err(|why| format!("{wanted} ({why})")),
        other => Err(format!("{wanted}, not {}", other.type_str())),
    }
}

/// Bytes, or nothing for `auto`.
fn or_auto(value: &Value) -> Result<Option<u64>, String> {
    if value.as_str() == Some("auto") { Ok(None) } else { bytes(value).map(Some) }
}

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("TB", 1000 * 1000 * 1000 * 1000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Bytes of a size with a unit; a fraction is fine.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = |of: char| of.is_ascii_digit() || of == '.';
    let (number, unit) = text.split_at(text.find(|of| !digits(of)).unwrap_or(text.len()));
    let unit = unit.trim();
    let factor = match unit {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes).ok_or_else(
            || {
                let known = UNITS.map(|(name, _)| name);
                format!("`{}` is no unit{}", unit.escape_debug(), meant(unit, &known))
            },
        )?,
    };
    let wrong = || format!("`{}` is no number", number.escape_debug());
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    // Thousandths of the unit are exact enough.
    let part = match part.get(..part.len().min(3)) {
        _ if part.is_empty() => 0,
        Some(digits) => format!("{digits:0<3}").parse::<u64>().map_err(|_| wrong())?,
        None => return Err(wrong()),
    };
    let bytes =
        u128::from(whole) * u128::from(factor) + u128::from(factor) * u128::from(part) / 1000;
    u64::try_from(bytes).map_err(|_| "it is too large".to_owned())
}

/// Users, by number or name.
fn users(value: &Value) -> Result<BTreeSet<u32>, String> {
    let wanted = || "a list of users is wanted".to_owned();
    let (mut users, mut mistakes) = (BTreeSet::new(), Vec::new());
    for user in value.as_array().ok_or_else(wanted)? {
        match names::user(user) {
            Ok(user) => drop(users.insert(user)),
            Err(error) => mistakes.push(error),
        }
    }
    if_good(users, &mistakes)
}

fn duration(value: &Value) -> Result<Duration, String> {
    humantime::parse_duration(text(value)?)
        .map_err(|error| format!("a duration such as \"30s\" is wanted ({error})"))
}

fn within(given: Duration, least: Duration, most: Duration) -> Result<Duration, String> {
    if (least..=most).contains(&given) {
        return Ok(given);
    }
    let show = humantime::format_duration;
    Err(format!("must lie between {} and {}", show(least), show(most)))
}

/// Checks what is to be logged. A single word that is no level would be taken for the name of a
/// module, and silence all others.
fn check_log_filter(given: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    tracing_subscriber::EnvFilter::try_new(given).map_err(|error| error.to_string())?;
    for directive in given.split(',').map(str::trim) {
        let is_plain = directive.chars().all(char::is_alphanumeric) && !directive.is_empty();
        let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive))
            || directive.parse::<u8>().is_ok_and(|level| level <= 5);
        if is_plain && !is_level {
            let levels = LEVELS.join(", ");
            return Err(format!(
                "`{directive}` is no level; there are {levels}, and `module=level` for a part"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, wanted) in [
            ("0", 0),
            ("17", 17),
            ("17 B", 17),
            ("3kB", 3000),
            ("10 GiB", 10 << 30),
            ("1.5 MiB", 3 << 19),
            ("2.25GB", 2_250_000_000),
            ("16777215 TiB", 16_777_215 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(wanted), "{text}");
        }
        for (text, why) in [
            ("10 Gib", "`Gib` is no unit; did you mean `GiB`?"),
            ("10 G", "`G` is no unit; did you mean `GB`?"),
            ("10 parsecs", "`parsecs` is no unit; there are B, kB,"),
            ("", "`` is no number"),
            ("-1", "`-1` is no unit"),
            ("1.2.3 MB", "`1.2.3` is no number"),
            ("16777216 TiB", "it is too large"),
            ("99999999999999999999", "is no number"),
        ] {
            let problem = parse_size(text).expect_err(text);
            assert!(problem.contains(why), "{problem}");
        }
    }
}
