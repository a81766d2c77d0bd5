//! The configuration: the TOML file and the arguments, turned into [`Settings`].
//!
//! **Invariants.** Every mistake of the file is reported in one run, with its line. A name that is
//! not known is a mistake.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memod_protocol::board::layout::Layout;
use memod_store::policy;
use toml::{Spanned, Value};

use crate::args::Arguments;
use crate::budget_settings::{parse_scopes, parse_users};
use crate::settings::{Settings, parse_durability, parse_on_damage};

/// A mistake, and where it is.
#[derive(Debug)]
pub(crate) struct Problem {
    place: Option<String>,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(formatter, "{place}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// Each takes a descriptor.
const BOARDS_MAX: usize = 4096;

type Apply = fn(&mut Settings, &Value) -> Result<(), String>;

/// Every name that the file may hold, and what it does.
const FIELDS: &[(&str, Apply)] = &[
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
    ("store_bytes_max", |s, v| bytes(v).map(|given| s.budgets.store_bytes_max = Some(given))),
    ("store_bytes_high", |s, v| bytes(v).map(|given| s.budgets.store_bytes_high = Some(given))),
    ("store_bytes_low", |s, v| bytes(v).map(|given| s.budgets.store_bytes_low = Some(given))),
    ("disk_reserve_bytes", |s, v| bytes(v).map(|given| s.budgets.disk_reserve_bytes = Some(given))),
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
        tracing_subscriber::EnvFilter::try_new(given).map_err(|error| error.to_string())?;
        given.clone_into(&mut s.log);
        Ok(())
    }),
];

/// The settings that file and arguments give.
///
/// # Errors
/// Every mistake that was found.
pub(crate) fn load(arguments: &Arguments) -> Result<Settings, Vec<Problem>> {
    let mut settings = Settings::default();
    let mut problems = Vec::new();
    if let Some(file) = &arguments.config {
        read_file(file, &mut settings, &mut problems);
    }
    let mut set = |name: &'static str| settings.origins.push((name, "argument".to_owned()));
    if let Some(socket) = &arguments.socket {
        set("socket");
        settings.socket.clone_from(socket);
    }
    if let Some(data) = &arguments.data {
        settings.origins.push(("data", "argument".to_owned()));
        settings.data.clone_from(data);
    }
    if let Some(idle_exit) = arguments.idle_exit {
        settings.origins.push(("idle_exit", "argument".to_owned()));
        settings.idle_exit = idle_exit;
    }
    if let Some(on_damage) = &arguments.on_damage {
        settings.origins.push(("on_damage", "argument".to_owned()));
        match parse_on_damage(on_damage) {
            Ok(on_damage) => settings.on_damage = on_damage,
            Err(message) => problems.push(Problem { place: Some("--on-damage".into()), message }),
        }
    }
    if let Some(durability) = &arguments.durability {
        settings.origins.push(("durability", "argument".to_owned()));
        match parse_durability(durability) {
            Ok(durability) => settings.durability = durability,
            Err(message) => problems.push(Problem { place: Some("--durability".into()), message }),
        }
    }
    if let Some(message) = settings.budgets.problem() {
        problems.push(Problem { place: None, message });
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn read_file(file: &Path, settings: &mut Settings, problems: &mut Vec<Problem>) {
    let source = match std::fs::read_to_string(file) {
        Ok(source) => source,
        Err(error) => {
            let message = format!("cannot read the configuration {}: {error}", file.display());
            return problems.push(Problem { place: None, message });
        }
    };
    let table: BTreeMap<Spanned<String>, Spanned<Value>> = match toml::from_str(&source) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(&source, span.start));
            let place = Some(format!("{}:{line}", file.display()));
            return problems.push(Problem { place, message: error.message().to_owned() });
        }
    };
    let mut rows: Vec<_> = table.iter().collect();
    rows.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in rows {
        let line = line_of(&source, name.span().start);
        let known = FIELDS.iter().find(|(field, _)| *field == name.get_ref().as_str());
        let outcome = match known {
            Some((field, apply)) => {
                settings.origins.push((field, format!("{}:{line}", file.display())));
                apply(settings, value.get_ref()).map_err(|error| format!("{field}: {error}"))
            }
            None => Err(unknown(name.get_ref())),
        };
        if let Err(message) = outcome {
            problems.push(Problem { place: Some(format!("{}:{line}", file.display())), message });
        }
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = FIELDS.iter().map(|(field, _)| *field).collect();
    format!("`{}` is no setting; there are {}", name.escape_debug(), known.join(", "))
}

fn line_of(source: &str, offset: usize) -> usize {
    source.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn text(value: &Value) -> Result<&str, String> {
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

fn bytes(value: &Value) -> Result<u64, String> {
    value
        .as_integer()
        .and_then(|given| u64::try_from(given).ok())
        .ok_or_else(|| "a number of bytes is wanted".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn load_text(text: &str) -> Result<Settings, Vec<String>> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        let arguments =
            Arguments::parse_from(["memod".as_ref(), "--config".as_ref(), file.path().as_os_str()]);
        load(&arguments).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_mistake_is_reported_with_its_line() {
        let problems = load_text("socket = 3\n\ndurabilty = \"power\"\nmax_age = \"soon\"\n")
            .expect_err("three mistakes");
        assert_eq!(problems.len(), 3, "{problems:?}");
        let wanted = [(":1:", "socket"), (":3:", "durabilty"), (":4:", "max_age")];
        for (problem, (line, word)) in problems.iter().zip(wanted) {
            assert!(problem.contains(line) && problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn every_field_is_set_and_shown_with_its_origin() {
        let values = [
            ("socket", "\"/a/s\"", "/a/s"),
            ("socket_mode", "\"0660\"", "0660"),
            ("data", "\"/a/d\"", "/a/d"),
            ("on_damage", "\"set_aside\"", "set_aside"),
            ("durability", "\"power\"", "power"),
            ("sync_interval", "\"2s\"", "2s"),
            ("hot_bytes", "1", "1"),
            ("block_cache_bytes", "2", "2"),
            ("board_bytes", "200000", "196608"),
            ("boards_max", "0", "0"),
            ("store_bytes_max", "300", "300"),
            ("store_bytes_high", "200", "200"),
            ("store_bytes_low", "100", "100"),
            ("disk_reserve_bytes", "20", "20"),
            ("scope_bytes_max", "21", "21"),
            ("scope_bytes", "{ p = { d = 22, e = 23 } }", "p/d=22 p/e=23"),
            ("user_bytes_max", "24", "24"),
            ("user_bytes", "{ 0 = 25 }", "0=25"),
            ("eviction", "\"lru\"", "lru"),
            ("connections_max", "3", "3"),
            ("buffer_bytes_max", "8388609", "8388609"),
            ("stall_timeout", "\"5s\"", "5s"),
            ("drain_timeout", "\"6s\"", "6s"),
            ("max_age", "\"7s\"", "7s"),
            ("waiters_max", "9", "9"),
            ("lease_heartbeat_max", "\"11s\"", "11s"),
            ("log_requests", "12", "12"),
            ("idle_exit", "\"8s\"", "8s"),
            ("log", "\"debug\"", "debug"),
        ];
        let lines: Vec<String> = values.iter().map(|(n, v, _)| format!("{n} = {v}")).collect();
        let table = load_text(&lines.join("\n")).expect("all are good").table();
        assert_eq!(table.len(), FIELDS.len());
        for ((name, value, origin), (line, (wanted, _, shown))) in
            table.iter().zip(values.iter().enumerate())
        {
            assert_eq!((name.as_str(), value.as_str()), (*wanted, *shown));
            assert!(origin.ends_with(&format!(":{}", line + 1)), "{origin}");
        }
    }

    #[test]
    fn an_argument_wins_over_the_file_and_says_so() {
        let arguments = Arguments::parse_from(["memod", "--data", "/x", "--idle-exit", "1m"]);
        let settings = load(&arguments).expect("good");
        let table = settings.table();
        let data = table.iter().find(|row| row.0 == "data").expect("a row");
        assert_eq!((data.1.as_str(), data.2.as_str()), ("/x", "argument"));
        assert_eq!(settings.idle_exit, Duration::from_secs(60));
    }
}
