//! `memo doctor`: check what a daemon needs, and say what to do.
//!
//! **Invariants.** Nothing is changed or started. What is wrong comes with what to do about it.
//! What this user may not look at is a warning. Nobody is waited for for ever.

mod ask;
mod daemon;
mod database;
mod places;
mod system;

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use memod_client::{Error, address};
use memod_protocol::{BudgetReport, Status};
use serde_json::{Value, json};

use self::places::Owner;
use crate::args::{DoctorArgs, Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::json::Object;
use crate::output::{Style, paint, shown};

/// Where the machine's daemon stores.
const SYSTEM_DATA: &str = "/var/lib/memod";

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
pub(crate) fn run(args: &DoctorArgs, settings: &Settings) -> Outcome {
    let client = connect::asking(settings);
    let asked = client.status();
    let reserve = asked.as_ref().ok().and_then(|_| client.budgets().ok());
    let reserve = reserve.filter(BudgetReport::tells_all).map(|report| report.disk_reserve_bytes);
    let checks = examine(args, settings, &asked, reserve);
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

fn examine(
    args: &DoctorArgs,
    settings: &Settings,
    asked: &Result<Status, Error>,
    reserve: Option<u64>,
) -> Vec<Check> {
    let mut checks = daemon::checks(settings, asked);
    for address in address::candidates(settings.socket.clone()) {
        checks.extend(places::socket(&address.path));
    }
    let mut directories = Vec::new();
    if let Ok(status) = asked {
        directories.push((status.data.clone().into(), Owner::User(status.uid), reserve));
        checks.push(system::daemon_descriptors(status));
    } else {
        directories.push((address::own_data(), Owner::Ours, None));
        let of_system = Path::new(SYSTEM_DATA);
        directories.extend(of_system.exists().then(|| (of_system.to_owned(), Owner::Any, None)));
        checks.push(system::own_descriptors());
    }
    if let Some(data) = &args.data
        && directories.iter().all(|(directory, ..)| directory != data)
    {
        directories.push((data.clone(), Owner::Named, None));
    }
    for (directory, owner, reserve) in directories {
        checks.extend(places::data(&directory, owner, reserve));
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
