//! `memo doctor`: check what a daemon needs, and say what to do.
//!
//! **Invariants.** Nothing is changed or started. What is wrong comes with what to do about it.
//! What cannot be looked at by this user is said, and is no fault.

mod daemon;
mod places;
mod system;

use std::borrow::Cow;
use std::io::{self, Write};

use memod_client::{Error, address};
use memod_protocol::Status;
use serde_json::{Value, json};

use crate::args::{Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::json::Object;
use crate::output::{Style, paint, shown};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Warning,
    Failed,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warn",
            Self::Failed => "fail",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Good => Style::Good,
            Self::Warning => Style::Notable,
            Self::Failed => Style::Bad,
        }
    }
}

/// What was checked, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, found: found.into(), advice: None }
    }

    fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { name, verdict: Verdict::Warning, found: found.into(), advice }
    }

    fn failed(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, ..Self::warning(name, found, advice) }
    }
}

/// Checks everything.
///
/// # Errors
/// If the answer cannot be written; what is wrong is the answer.
pub(crate) fn run(settings: &Settings) -> Outcome {
    let asked = connect::asking(settings).status();
    let checks = examine(settings, &asked);
    let failed = checks.iter().any(|check| check.verdict == Verdict::Failed);
    if settings.screen.is_json() {
        Screen::json(&json!({
            "healthy": !failed,
            "checks": checks.iter().map(as_json).collect::<Vec<_>>(),
        }))?;
    } else {
        tell(&checks, settings.screen)?;
    }
    Ok(if failed { exit::FAILED } else { exit::DONE })
}

fn examine(settings: &Settings, asked: &Result<Status, Error>) -> Vec<Check> {
    let mut checks = daemon::checks(settings, asked);
    for address in address::candidates(settings.socket.clone()) {
        checks.extend(places::socket(&address.path));
    }
    if let Ok(status) = asked {
        checks.extend(places::data(status.data.as_ref(), Some(status.uid)));
        checks.push(system::daemon_descriptors(status));
    } else {
        checks.extend(places::data(&address::own_data(), None));
        checks.push(system::own_descriptors());
    }
    checks.extend(system::own_daemon(settings.no_start));
    checks.extend(system::units());
    checks
}

fn as_json(check: &Check) -> Value {
    Object::default()
        .with("name", check.name)
        .with("status", check.verdict.name())
        .with("found", check.found.as_str())
        .with_known("advice", check.advice.as_deref())
        .into()
}

fn tell(checks: &[Check], screen: Screen) -> io::Result<()> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut out = Screen::out();
    for check in checks {
        let verdict = paint(screen.color, check.verdict.style(), check.verdict.name());
        let found = shown(&check.found);
        if !screen.out_is_terminal {
            let advice = check.advice.as_deref().map_or(Cow::Borrowed(""), shown);
            writeln!(out, "{verdict}\t{}\t{found}\t{advice}", check.name)?;
            continue;
        }
        // All verdicts are at most four letters long.
        let padding = " ".repeat(4usize.saturating_sub(check.verdict.name().len()));
        writeln!(out, "{verdict}{padding}  {:width$}  {found}", check.name)?;
        if let Some(advice) = &check.advice {
            writeln!(out, "      {:width$}  -> {}", "", shown(advice))?;
        }
    }
    out.flush()
}
