//! Budgets and what eviction has cost, as `memo stats` shows them.

use std::io::{self, Write as _};
use std::time::Duration;

use memod_protocol::{BudgetOf, BudgetReport, BudgetRow};
use serde_json::Value;

use crate::args::Screen;
use crate::output::NOT_TOLD;
use crate::output::json::{Object, seconds};
use crate::output::table::{self, Align, Column};
use crate::output::units;

const COLUMNS: [Column; 5] = [
    ("budget", Align::Left),
    ("of", Align::Left),
    ("entries", Align::Right),
    ("used", Align::Right),
    ("limit", Align::Right),
];

/// The report as JSON: what is not told is absent.
pub(crate) fn as_json(of: &BudgetReport) -> Value {
    let told = Object::default()
        .with("budgets", of.budgets.iter().map(row_as_json).collect::<Vec<_>>())
        .with("policy", of.policy.as_str());
    if !of.tells_all() {
        return told.into();
    }
    told.with_known("high_bytes", of.high_bytes)
        .with_known("low_bytes", of.low_bytes)
        .with("disk_free_bytes", of.disk_free_bytes)
        .with("disk_reserve_bytes", of.disk_reserve_bytes)
        .with("disk_used_bytes", of.disk_used_bytes)
        .with("evicted_entries", of.evicted_entries)
        .with("evicted_bytes", of.evicted_bytes)
        .with("regretted_entries", of.regretted_entries)
        .with("regret_seconds", seconds(of.regret_ns))
        .with_known("last_evicted_age_seconds", of.last_evicted_age_ms.map(in_seconds))
        .into()
}

fn row_as_json(of: &BudgetRow) -> Value {
    let named = match &of.of {
        BudgetOf::Store => Object::default().with("of", "store"),
        BudgetOf::Scope(scope) => Object::default()
            .with("of", "scope")
            .with("project", scope.project.as_str())
            .with("domain", scope.domain.as_str()),
        BudgetOf::User(uid) => Object::default().with("of", "user").with("uid", *uid),
    };
    named
        .with("entries", of.entries)
        .with("bytes", of.bytes)
        .with_known("limit_bytes", of.limit_bytes)
        .into()
}

fn in_seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

/// Its numbers, as lines of a name and a value.
pub(crate) fn fields(of: &BudgetReport) -> Vec<(&'static str, String)> {
    let told = |number: String| if of.tells_all() { number } else { NOT_TOLD.to_owned() };
    let mark = |bytes: Option<u64>| bytes.map_or_else(|| "never".to_owned(), units::bytes);
    let mut fields = vec![
        ("on disk", told(units::bytes(of.disk_used_bytes))),
        ("disk free", told(units::bytes(of.disk_free_bytes))),
        ("disk reserve", told(units::bytes(of.disk_reserve_bytes))),
        ("eviction", of.policy.clone()),
        ("evicts above", told(mark(of.high_bytes))),
    ];
    fields.extend(of.low_bytes.map(|low| ("evicts down to", units::bytes(low))));
    fields.extend([
        ("evicted", told(units::bytes(of.evicted_bytes))),
        ("regretted", told(units::entries(of.regretted_entries))),
        ("regret", told(units::duration(Duration::from_nanos(of.regret_ns)))),
    ]);
    let age = of.last_evicted_age_ms.map(Duration::from_millis);
    fields.extend(age.map(|age| ("last evicted", format!("unused for {}", units::duration(age)))));
    fields
}

/// One row a budget, below an empty line.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn tell(of: &BudgetReport, screen: Screen) -> io::Result<()> {
    let row = |of: &BudgetRow| {
        let (kind, name) = match &of.of {
            BudgetOf::Store => ("store", "-".to_owned()),
            BudgetOf::Scope(scope) => ("scope", format!("{}/{}", scope.project, scope.domain)),
            BudgetOf::User(uid) => ("user", uid.to_string()),
        };
        let limit = of.limit_bytes.map_or_else(|| "none".to_owned(), units::bytes);
        vec![kind.to_owned(), name, of.entries.to_string(), units::bytes(of.bytes), limit]
    };
    let rows: Vec<_> = of.budgets.iter().map(row).collect();
    let mut out = Screen::out();
    if rows.is_empty() {
        return Ok(());
    }
    table::write_one_of_several(&mut out, screen, &COLUMNS, &rows)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use memod_protocol::Scope;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_has_all_its_members() {
        let row = |of, limit_bytes| BudgetRow { of, entries: 2, bytes: 3, limit_bytes };
        let report = BudgetReport {
            budgets: vec![
                row(BudgetOf::Store, Some(9)),
                row(BudgetOf::Scope(Scope::new("p", "d")), None),
                row(BudgetOf::User(7), Some(1)),
            ],
            high_bytes: Some(8),
            low_bytes: None,
            disk_free_bytes: 10,
            disk_reserve_bytes: 11,
            disk_used_bytes: 12,
            policy: "cost".to_owned(),
            evicted_entries: 13,
            evicted_bytes: 14,
            regretted_entries: 15,
            regret_ns: 1_500_000_000,
            last_evicted_age_ms: Some(2500),
        };
        assert_eq!(
            as_json(&report),
            json!({
                "budgets": [
                    {"of": "store", "entries": 2, "bytes": 3, "limit_bytes": 9},
                    {"of": "scope", "project": "p", "domain": "d", "entries": 2, "bytes": 3},
                    {"of": "user", "uid": 7, "entries": 2, "bytes": 3, "limit_bytes": 1},
                ],
                "high_bytes": 8, "disk_free_bytes": 10, "disk_reserve_bytes": 11,
                "disk_used_bytes": 12, "policy": "cost", "evicted_entries": 13,
                "evicted_bytes": 14, "regretted_entries": 15, "regret_seconds": 1.5,
                "last_evicted_age_seconds": 2.5
            })
        );
        assert!(fields(&report).contains(&("last evicted", "unused for 2.50s".to_owned())));
        for shown in [("disk reserve", "11 B"), ("eviction", "cost"), ("evicts above", "8 B")] {
            assert!(fields(&report).contains(&(shown.0, shown.1.to_owned())), "{shown:?}");
        }
        assert!(fields(&report).iter().all(|(name, _)| *name != "evicts down to"));
        let marked = BudgetReport { low_bytes: Some(7), ..report };
        assert!(fields(&marked).contains(&("evicts down to", "7 B".to_owned())));
    }
}
