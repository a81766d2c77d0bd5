//! `memo stats`: counters, and the time saved.
//!
//! **Invariants.** What the daemon does not tell this user is absent from JSON and "not told" in
//! text, never zero.

use std::io::{self, Write as _};
use std::time::Duration;

use memod_client::{Stats, WholeStats};
use memod_protocol::{BudgetReport, Savings, Scope, ScopeStats, TaskStats, UserStats};
use serde_json::Value;

use crate::args::{Format, Screen, Settings};
use crate::commands::budgets;
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::NOT_TOLD;
use crate::output::json::{Object, seconds};
use crate::output::table::{self, Align, Column};
use crate::output::units;

const TASK_COLUMNS: [Column; 7] = [
    ("project", Align::Left),
    ("domain", Align::Left),
    ("task", Align::Left),
    COUNTED[0],
    COUNTED[1],
    COUNTED[2],
    COUNTED[3],
];
const SCOPE_COLUMNS: [Column; 6] = [
    ("project", Align::Left),
    ("domain", Align::Left),
    COUNTED[0],
    COUNTED[1],
    COUNTED[2],
    COUNTED[3],
];
const USER_COLUMNS: [Column; 5] =
    [("uid", Align::Right), COUNTED[0], COUNTED[1], COUNTED[2], COUNTED[3]];
/// What is counted of each of them.
const COUNTED: [Column; 4] = [
    ("hits", Align::Right),
    ("misses", Align::Right),
    ("hit rate", Align::Right),
    ("time saved", Align::Right),
];

/// Prints the counters.
///
/// # Errors
/// If the daemon gives no answer, or standard output cannot be written.
pub(crate) fn run(settings: &Settings) -> Outcome {
    let client = connect::asking(settings);
    if settings.screen.format == Format::OpenMetrics {
        let mut out = Screen::out();
        out.write_all(client.metrics()?.as_bytes())?;
        out.flush()?;
        return Ok(exit::DONE);
    }
    let stats = client.stats()?;
    let savings = client.savings()?;
    let budgets = client.budgets()?;
    if settings.screen.is_json() {
        Screen::json(&as_json(&stats, &savings, &budgets))?;
        return Ok(exit::DONE);
    }
    tell(&stats, &budgets, settings.screen)?;
    tell_tables(&stats, &savings, settings.screen)?;
    budgets::tell(&budgets, settings.screen)?;
    Ok(exit::DONE)
}

/// Counters of a task, a scope or a user.
#[derive(Debug, Clone, Copy)]
struct Counted {
    hits: u64,
    misses: u64,
    time_saved_ns: u64,
}

impl Counted {
    fn of_task(of: &TaskStats) -> Self {
        Self { hits: of.hits, misses: of.misses, time_saved_ns: of.time_saved_ns }
    }

    fn of_scope(of: &ScopeStats) -> Self {
        Self { hits: of.hits, misses: of.misses, time_saved_ns: of.time_saved_ns }
    }

    fn of_user(of: &UserStats) -> Self {
        Self { hits: of.hits, misses: of.misses, time_saved_ns: of.time_saved_ns }
    }

    fn add_to(self, object: Object) -> Value {
        object
            .with("hits", self.hits)
            .with("misses", self.misses)
            .with("time_saved_seconds", seconds(self.time_saved_ns))
            .into()
    }

    /// The row that begins with these fields.
    fn row<const N: usize>(self, begins: [String; N]) -> Vec<String> {
        let mut row = Vec::from(begins);
        row.extend([
            self.hits.to_string(),
            self.misses.to_string(),
            rate(self.hits, self.misses),
            saved(self.time_saved_ns),
        ]);
        row
    }
}

fn as_json(stats: &Stats, savings: &Savings, budgets: &BudgetReport) -> Value {
    let named = |scope: &Scope| {
        Object::default()
            .with("project", scope.project.as_str())
            .with("domain", scope.domain.as_str())
    };
    let task = |of: &TaskStats| {
        Counted::of_task(of).add_to(named(&of.scope).with("task", of.task.as_str()))
    };
    let scope = |of: &ScopeStats| Counted::of_scope(of).add_to(named(&of.scope));
    let user = |of: &UserStats| Counted::of_user(of).add_to(Object::default().with("uid", of.uid));
    let told = |count: fn(&WholeStats) -> u64| stats.whole.as_ref().map(count);
    let reasons = stats.whole.as_ref().map(|whole| {
        let reasons = whole.misses_by_reason.iter();
        let reasons = reasons.map(|(reason, count)| (reason.name().to_owned(), (*count).into()));
        Value::Object(reasons.collect())
    });
    Object::default()
        .with("hits", stats.hits)
        .with("misses", stats.misses)
        .with_known("puts", told(|of| of.puts))
        .with_known("entries", told(|of| of.entries))
        .with_known("blobs", told(|of| of.blobs))
        .with_known("stored_bytes", told(|of| of.stored_bytes))
        .with_known("logical_bytes", told(|of| of.logical_bytes))
        .with_known("evicted_entries", told(|of| of.evicted_entries))
        .with_known("leases", told(|of| of.leases))
        .with_known("waiters", told(|of| of.waiters))
        .with_known("connections", told(|of| of.connections))
        .with("time_saved_seconds", seconds(stats.time_saved_ns))
        .with("uptime_seconds", seconds(stats.uptime_ns))
        .with("by_task", stats.by_task.iter().map(task).collect::<Vec<_>>())
        .with("by_scope", savings.by_scope.iter().map(scope).collect::<Vec<_>>())
        .with("by_uid", savings.by_uid.iter().map(user).collect::<Vec<_>>())
        .with_known("misses_by_reason", reasons)
        .with("eviction", budgets::as_json(budgets))
        .into()
}

fn tell(stats: &Stats, budgets: &BudgetReport, screen: Screen) -> io::Result<()> {
    let told = |text: fn(&WholeStats) -> String| {
        stats.whole.as_ref().map_or_else(|| NOT_TOLD.to_owned(), text)
    };
    let mut fields = vec![
        ("hits", stats.hits.to_string()),
        ("misses", stats.misses.to_string()),
        ("hit rate", rate(stats.hits, stats.misses)),
        ("time saved", saved(stats.time_saved_ns)),
        ("puts", told(|of| of.puts.to_string())),
        ("entries", told(|of| of.entries.to_string())),
        ("blobs", told(|of| of.blobs.to_string())),
        ("stored", told(|of| units::bytes(of.stored_bytes))),
        ("logical", told(|of| units::bytes(of.logical_bytes))),
        ("evicted entries", told(|of| of.evicted_entries.to_string())),
        ("leases", told(|of| of.leases.to_string())),
        ("waiters", told(|of| of.waiters.to_string())),
        ("connections", told(|of| of.connections.to_string())),
        ("uptime", saved(stats.uptime_ns)),
    ];
    fields.extend(budgets::fields(budgets));
    if screen.verbose
        && let Some(whole) = &stats.whole
    {
        let reasons = whole.misses_by_reason.iter();
        fields.extend(reasons.map(|(reason, count)| (reason.name(), count.to_string())));
    }
    screen.fields(&fields)
}

/// By task, by scope and by user, each below an empty line.
fn tell_tables(stats: &Stats, savings: &Savings, screen: Screen) -> io::Result<()> {
    let named = |scope: &Scope| [scope.project.clone(), scope.domain.clone()];
    let task = |of: &TaskStats| {
        let [project, domain] = named(&of.scope);
        Counted::of_task(of).row([project, domain, of.task.clone()])
    };
    let scope = |of: &ScopeStats| Counted::of_scope(of).row(named(&of.scope));
    let user = |of: &UserStats| Counted::of_user(of).row([of.uid.to_string()]);
    let tables: [(&[Column], Vec<Vec<String>>); 3] = [
        (&TASK_COLUMNS, stats.by_task.iter().map(task).collect()),
        (&SCOPE_COLUMNS, savings.by_scope.iter().map(scope).collect()),
        (&USER_COLUMNS, savings.by_uid.iter().map(user).collect()),
    ];
    let mut out = Screen::out();
    for (columns, rows) in tables.iter().filter(|(_, rows)| !rows.is_empty()) {
        table::write_one_of_several(&mut out, screen, columns, rows)?;
    }
    out.flush()
}

fn saved(nanoseconds: u64) -> String {
    units::duration(Duration::from_nanos(nanoseconds))
}

/// Hits among all lookups, in per cent; `-` if there was none.
fn rate(hits: u64, misses: u64) -> String {
    let (hits, all) = (u128::from(hits), u128::from(hits) + u128::from(misses));
    match (hits * 1000).checked_div(all) {
        Some(permille) => format!("{}.{} %", permille / 10, permille % 10),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use memod_protocol::{BudgetOf, BudgetRow, MissReason};
    use serde_json::json;

    use super::*;

    #[test]
    fn rates() {
        assert_eq!(rate(0, 0), "-");
        assert_eq!(rate(1, 2), "33.3 %");
        assert_eq!(rate(u64::MAX, 0), "100.0 %");
    }

    #[test]
    fn json_has_the_fields_of_the_contract() {
        let stats = Stats {
            hits: 3,
            time_saved_ns: 1_500_000_000,
            by_task: vec![TaskStats {
                scope: Scope::new("p", "d"),
                task: "t".into(),
                hits: 3,
                misses: 1,
                time_saved_ns: 0,
            }],
            whole: Some(WholeStats {
                misses_by_reason: vec![(MissReason::NeverSeen, 1)],
                ..WholeStats::default()
            }),
            ..Stats::default()
        };
        let savings = Savings {
            by_scope: vec![ScopeStats {
                scope: Scope::new("p", "d"),
                hits: 3,
                misses: 1,
                time_saved_ns: 500_000_000,
            }],
            by_uid: vec![UserStats { uid: 7, hits: 2, misses: 0, time_saved_ns: 0 }],
        };
        let limit_bytes = None;
        let store = BudgetRow { of: BudgetOf::Store, entries: 0, bytes: 0, limit_bytes };
        let budgets = BudgetReport { budgets: vec![store], ..BudgetReport::default() };
        assert_eq!(
            as_json(&stats, &savings, &budgets),
            json!({
                "hits": 3, "misses": 0, "puts": 0, "entries": 0, "blobs": 0, "stored_bytes": 0,
                "logical_bytes": 0, "evicted_entries": 0, "leases": 0, "waiters": 0,
                "connections": 0, "time_saved_seconds": 1.5, "uptime_seconds": 0.0,
                "by_task": [{
                    "project": "p", "domain": "d", "task": "t", "hits": 3, "misses": 1,
                    "time_saved_seconds": 0.0
                }],
                "by_scope": [{
                    "project": "p", "domain": "d", "hits": 3, "misses": 1,
                    "time_saved_seconds": 0.5
                }],
                "by_uid": [{"uid": 7, "hits": 2, "misses": 0, "time_saved_seconds": 0.0}],
                "misses_by_reason": {"never_seen": 1},
                "eviction": budgets::as_json(&budgets)
            })
        );
    }
}
