//! The configuration: the TOML file, the environment and the arguments, turned into [`Settings`].
//!
//! Arguments win over the environment, that wins over the file.
//!
//! **Invariants.** Every mistake of the file is reported in one run, with its line. A name that is
//! not known is a mistake.

mod fields;
mod grants;
mod names;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use memod_descriptors::SOCKET_PATH_BYTES_MAX;
use serde::Deserialize;
use toml::de::{DeTable, Deserializer};
use toml::{Spanned, Value};

use crate::args::Arguments;
use crate::metrics_address::MetricsAddress;
use crate::settings::{Settings, parse_durability, parse_on_damage};
use fields::FIELDS;
pub(crate) use fields::bytes;
use names::meant;

/// Where the machine's daemon looks for its configuration.
const MACHINE_FILE: &str = "/etc/memod/memod.toml";
/// The name of the setting that is no single value.
const GRANTS: &str = "grants";

/// A mistake, and where it is.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) place: Option<String>,
    pub(crate) message: String,
}

impl Problem {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: Some(place.into()), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(formatter, "{place}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// Variables of the environment.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The settings that file, environment and arguments give.
///
/// # Errors
/// Every mistake that was found.
pub(crate) fn load(arguments: &Arguments) -> Result<Settings, Vec<Problem>> {
    let variables = |name: &str| std::env::var_os(name);
    load_file(arguments, &variables, file(arguments, &variables))
}

/// As [`load`], once more for a daemon that has read this file before: if it is gone, that is a
/// mistake, and not a reason to go back to the defaults.
///
/// # Errors
/// As there.
pub(crate) fn load_again(
    arguments: &Arguments,
    before: Option<PathBuf>,
) -> Result<Settings, Vec<Problem>> {
    let variables = |name: &str| std::env::var_os(name);
    load_file(arguments, &variables, before.or_else(|| file(arguments, &variables)))
}

/// The file to read: the one that is named, else the one in its usual place, if it is there. A
/// daemon whose data directory is given is somebody's own.
fn file(arguments: &Arguments, variables: Variables<'_>) -> Option<PathBuf> {
    if let Some(named) = arguments.config() {
        return Some(named.to_owned());
    }
    if let Some(named) = variables("MEMOD_CONFIG") {
        return Some(PathBuf::from(named)).filter(|named| !named.as_os_str().is_empty());
    }
    let (usual, is_own) = if arguments.data.is_some() {
        let set = |name| variables(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
        (folder.join("memod/memod.toml"), true)
    } else {
        (PathBuf::from(MACHINE_FILE), false)
    };
    let is_there = usual.try_exists().unwrap_or_else(|error| {
        // A home that may not be entered is another's. What cannot be looked at otherwise is read,
        // and that it cannot be is told.
        !(is_own && error.kind() == ErrorKind::PermissionDenied)
    });
    is_there.then_some(usual)
}

fn load_file(
    arguments: &Arguments,
    variables: Variables<'_>,
    file: Option<PathBuf>,
) -> Result<Settings, Vec<Problem>> {
    let mut settings = Settings::default();
    let mut problems = Vec::new();
    if let Some(file) = file {
        read_file(&file, &mut settings, &mut problems);
        settings.file = Some(file);
    }
    take_environment(variables, &mut settings, &mut problems);
    take_arguments(arguments, &mut settings, &mut problems);
    let of_budgets = settings.budgets.problems().into_iter();
    for (name, message) in of_budgets.chain(socket_problems(&settings)) {
        let place = settings.origin(name).filter(|origin| *origin != "argument");
        problems.push(Problem { place: place.map(str::to_owned), message });
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// What is wrong with the paths of the sockets: the setting, and why.
fn socket_problems(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let metrics = match &settings.metrics {
        MetricsAddress::Socket(path) => Some(path),
        MetricsAddress::Off | MetricsAddress::Loopback(_) => None,
    };
    for (name, path) in [("socket", Some(&settings.socket)), ("metrics", metrics)] {
        let bytes = path.map_or(0, |path| path.as_os_str().len());
        if bytes > SOCKET_PATH_BYTES_MAX {
            let shown = path.map_or(Path::new(""), PathBuf::as_path).display();
            let how = if name == "socket" { " with --socket, or" } else { "" };
            let message = format!(
                "the {name} path {shown} is {bytes} bytes long, Unix sockets allow \
                 {SOCKET_PATH_BYTES_MAX}: choose a shorter one{how} in the configuration"
            );
            problems.push((name, message));
        }
    }
    if metrics == Some(&settings.socket) {
        problems.push(("metrics", "metrics must not be on the socket of the clients".to_owned()));
    }
    problems
}

fn take_environment(
    variables: Variables<'_>,
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    let Some(log) = variables("MEMOD_LOG").filter(|log| !log.is_empty()) else { return };
    let log = Value::String(log.to_string_lossy().into_owned());
    settings.origins.push(("log", "$MEMOD_LOG".to_owned()));
    for (_, apply) in FIELDS.iter().filter(|(field, _)| *field == "log") {
        if let Err(message) = apply(settings, &log) {
            problems.push(Problem::new("$MEMOD_LOG", message));
        }
    }
}

fn take_arguments(arguments: &Arguments, settings: &mut Settings, problems: &mut Vec<Problem>) {
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
            Err(message) => problems.push(Problem::new("--on-damage", message)),
        }
    }
    if let Some(durability) = &arguments.durability {
        settings.origins.push(("durability", "argument".to_owned()));
        match parse_durability(durability) {
            Ok(durability) => settings.durability = durability,
            Err(message) => problems.push(Problem::new("--durability", message)),
        }
    }
}

fn read_file(file: &Path, settings: &mut Settings, problems: &mut Vec<Problem>) {
    let source = match std::fs::read(file) {
        Ok(bytes) => as_text(file, bytes, problems),
        Err(error) => {
            let message = format!("cannot read the configuration {}: {error}", file.display());
            return problems.push(Problem { place: None, message });
        }
    };
    let place = |at: usize| format!("{}:{}", file.display(), line_of(&source, at));
    // What is no TOML, or stands there twice, does not keep the rest from being looked at.
    let (table, errors) = DeTable::parse_recoverable(&source);
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    let mut mistakes: Vec<(usize, String)> =
        errors.iter().map(|error| (start(error), unreadable(error, &source))).collect();
    // What else is odd in a line comes of the first.
    mistakes.dedup_by_key(|(at, _)| line_of(&source, *at));
    let unread: Vec<usize> = mistakes.iter().map(|(at, _)| line_of(&source, *at)).collect();
    let table = BTreeMap::<Spanned<String>, Spanned<Value>>::deserialize(Deserializer::from(table));
    let table = table.unwrap_or_else(|error| {
        mistakes.push((start(&error), error.message().to_owned()));
        BTreeMap::new()
    });
    for (name, value) in &table {
        let at = name.span().start;
        let known = FIELDS.iter().find(|(field, _)| *field == name.get_ref().as_str());
        match known {
            Some((field, apply)) => {
                settings.origins.push((field, place(at)));
                // What was made of a line that is no TOML is nothing that somebody wrote.
                let is_read = !unread.contains(&line_of(&source, at));
                if let Err(told) = apply(settings, value.get_ref())
                    && is_read
                {
                    mistakes.extend(told.lines().map(|error| (at, format!("{field}: {error}"))));
                }
            }
            None if name.get_ref() == GRANTS => {
                settings.origins.push((GRANTS, place(at)));
                match grants::parse(&source) {
                    Ok(grants) => settings.grants = grants,
                    Err(wrong) => mistakes.extend(wrong),
                }
            }
            None => mistakes.push((at, unknown(name.get_ref()))),
        }
    }
    mistakes.sort_by_key(|(at, _)| *at);
    problems.extend(mistakes.into_iter().map(|(at, message)| Problem::new(place(at), message)));
}

/// The text of a file. Where it is no UTF-8 that is told, and the rest is looked at all the same.
fn as_text(file: &Path, bytes: Vec<u8>, problems: &mut Vec<Problem>) -> String {
    let error = match String::from_utf8(bytes) {
        Ok(text) => return text,
        Err(error) => error,
    };
    for (number, line) in (1..).zip(error.as_bytes().split(|byte| *byte == b'\n')) {
        if std::str::from_utf8(line).is_err() {
            let place = format!("{}:{number}", file.display());
            problems.push(Problem::new(place, "this line is no UTF-8: write the file as such"));
        }
    }
    String::from_utf8_lossy(error.as_bytes()).into_owned()
}

/// Why something is no TOML.
fn unreadable(error: &toml::de::Error, source: &str) -> String {
    let message = error.message();
    match error.span().and_then(|span| source.get(span)) {
        Some(name) if message == "duplicate key" => {
            format!("`{}` stands there twice: leave one of them", name.escape_debug())
        }
        _ => message.to_owned(),
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = FIELDS.iter().map(|(field, _)| *field).chain([GRANTS]).collect();
    format!("`{}` is no setting{}", name.escape_debug(), meant(name, &known))
}

fn line_of(source: &str, offset: usize) -> usize {
    source.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
