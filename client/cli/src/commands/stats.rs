//! `memo stats`: counters, and the time saved.

use std::time::Duration;

use memod_protocol::{Stats, TaskStats};
use serde_json::Value;

use crate::args::{Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::json::{Object, seconds};
use crate::output::table::{self, Align, Column};
use crate::output::units;

const COLUMNS: [Column; 7] = [
    ("project", Align::Left),
    ("domain", Align::Left),
    ("task", Align::Left),
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
    let stats = connect::asking(settings).stats()?;
    if settings.screen.is_json() {
        Screen::json(&as_json(&stats))?;
        return Ok(exit::DONE);
    }
    tell(&stats, settings.screen)?;
    Ok(exit::DONE)
}

fn as_json(stats: &Stats) -> Value {
    let task = |of: &TaskStats| {
        Value::from(
            Object::default()
                .with("project", of.scope.project.as_str())
                .with("domain", of.scope.domain.as_str())
                .with("task", of.task.as_str())
                .with("hits", of.hits)
                .with("misses", of.misses)
                .with("time_saved_seconds", seconds(of.time_saved_ns)),
        )
    };
    let reasons = stats.misses_by_reason.iter();
    let reasons = reasons.map(|(reason, count)| (reason.name().to_owned(), (*count).into()));
    Object::default()
        .with("hits", stats.hits)
        .with("misses", stats.misses)
        .with("puts", stats.puts)
        .with("entries", stats.entries)
        .with("blobs", stats.blobs)
        .with("stored_bytes", stats.stored_bytes)
        .with("logical_bytes", stats.logical_bytes)
        .with("evicted_entries", stats.evicted_entries)
        .with("leases", stats.leases)
        .with("waiters", stats.waiters)
        .with("connections", stats.connections)
        .with("time_saved_seconds", seconds(stats.time_saved_ns))
        .with("uptime_seconds", seconds(stats.uptime_ns))
        .with("by_task", stats.by_task.iter().map(task).collect::<Vec<_>>())
        .with("misses_by_reason", Value::Object(reasons.collect()))
        .into()
}

fn tell(stats: &Stats, screen: Screen) -> std::io::Result<()> {
    let nanoseconds = |count| units::duration(Duration::from_nanos(count));
    let mut fields = vec![
        ("hits", stats.hits.to_string()),
        ("misses", stats.misses.to_string()),
        ("hit rate", rate(stats.hits, stats.misses)),
        ("time saved", nanoseconds(stats.time_saved_ns)),
        ("puts", stats.puts.to_string()),
        ("entries", stats.entries.to_string()),
        ("blobs", stats.blobs.to_string()),
        ("stored", units::bytes(stats.stored_bytes)),
        ("logical", units::bytes(stats.logical_bytes)),
        ("evicted entries", stats.evicted_entries.to_string()),
        ("leases", stats.leases.to_string()),
        ("waiters", stats.waiters.to_string()),
        ("connections", stats.connections.to_string()),
        ("uptime", nanoseconds(stats.uptime_ns)),
    ];
    if screen.verbose {
        let reasons = stats.misses_by_reason.iter();
        fields.extend(reasons.map(|(reason, count)| (reason.name(), count.to_string())));
    }
    screen.fields(&fields)?;
    if stats.by_task.is_empty() {
        return Ok(());
    }
    let row = |of: &TaskStats| {
        vec![
            of.scope.project.clone(),
            of.scope.domain.clone(),
            of.task.clone(),
            of.hits.to_string(),
            of.misses.to_string(),
            rate(of.hits, of.misses),
            nanoseconds(of.time_saved_ns),
        ]
    };
    let rows: Vec<_> = stats.by_task.iter().map(row).collect();
    let mut out = Screen::out();
    std::io::Write::write_all(&mut out, b"\n")?;
    table::write(&mut out, screen, &COLUMNS, &rows)?;
    std::io::Write::flush(&mut out)
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
    use memod_protocol::{MissReason, Scope};
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
            misses_by_reason: vec![(MissReason::NeverSeen, 1)],
            ..Stats::default()
        };
        assert_eq!(
            as_json(&stats),
            json!({
                "hits": 3, "misses": 0, "puts": 0, "entries": 0, "blobs": 0, "stored_bytes": 0,
                "logical_bytes": 0, "evicted_entries": 0, "leases": 0, "waiters": 0,
                "connections": 0, "time_saved_seconds": 1.5, "uptime_seconds": 0.0,
                "by_task": [{
                    "project": "p", "domain": "d", "task": "t", "hits": 3, "misses": 1,
                    "time_saved_seconds": 0.0
                }],
                "misses_by_reason": {"never_seen": 1}
            })
        );
    }
}
