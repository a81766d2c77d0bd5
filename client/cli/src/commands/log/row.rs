//! A request that has been answered, as fields and as JSON.

use std::time::Duration;

use memod_protocol::{ErrorCode, LogRow, MissReason, Outcome};
use serde_json::Value;

use crate::output::json::Object;
use crate::output::table::{Align, Column};
use crate::output::units;

/// The columns, in a pipe the fields. What is longest stands last.
pub(super) const COLUMNS: [Column; 13] = [
    ("answered at", Align::Left),
    ("verb", Align::Left),
    ("outcome", Align::Left),
    ("reason", Align::Left),
    ("project", Align::Left),
    ("domain", Align::Left),
    ("task", Align::Left),
    ("uid", Align::Right),
    ("pid", Align::Right),
    ("program", Align::Left),
    ("took", Align::Right),
    ("bytes", Align::Right),
    ("key", Align::Left),
];

/// The row's fields: raw numbers in a pipe, readable ones on a terminal.
pub(super) fn fields(row: &LogRow, is_terminal: bool) -> Vec<String> {
    let took = took(row);
    let (took, bytes) = if is_terminal {
        (units::duration(took), units::bytes(row.bytes))
    } else {
        (took.as_secs_f64().to_string(), row.bytes.to_string())
    };
    let scope = row.scope.as_ref();
    vec![
        units::rfc3339(row.at_ms).unwrap_or_default(),
        row.verb.name().to_owned(),
        outcome(row),
        why(row).unwrap_or_default().to_owned(),
        scope.map(|scope| scope.project.clone()).unwrap_or_default(),
        scope.map(|scope| scope.domain.clone()).unwrap_or_default(),
        row.task.clone().unwrap_or_default(),
        row.uid.to_string(),
        row.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        row.program.clone().unwrap_or_default(),
        took,
        bytes,
        row.key.map(|key| key.to_string()).unwrap_or_default(),
    ]
}

/// The row as an object.
pub(super) fn as_json(row: &LogRow) -> Value {
    let scope = row.scope.as_ref();
    Object::default()
        .with("sequence", row.sequence)
        .with_known("at", units::rfc3339(row.at_ms))
        .with("verb", row.verb.name())
        .with("outcome", row.outcome.name())
        .with_known("hits", hits(row))
        .with_known("reason", row.reason.map(MissReason::name))
        .with_known("error", row.error.map(ErrorCode::name))
        .with_known("project", scope.map(|scope| scope.project.as_str()))
        .with_known("domain", scope.map(|scope| scope.domain.as_str()))
        .with_known("task", row.task.clone())
        .with_known("key", row.key.map(|key| key.to_string()))
        .with("uid", row.uid)
        .with_known("pid", row.pid)
        .with_known("program", row.program.clone())
        .with("took_seconds", took(row).as_secs_f64())
        .with("bytes", row.bytes)
        .into()
}

/// How many hits a report told of.
fn hits(row: &LogRow) -> Option<u32> {
    match row.outcome {
        Outcome::Hits(count) => Some(count),
        _ => None,
    }
}

fn outcome(row: &LogRow) -> String {
    let name = row.outcome.name();
    hits(row).map_or_else(|| name.to_owned(), |count| format!("{count} {name}"))
}

fn took(row: &LogRow) -> Duration {
    Duration::from_micros(row.took_us)
}

/// Why it missed or failed.
fn why(row: &LogRow) -> Option<&'static str> {
    row.reason.map(MissReason::name).or(row.error.map(ErrorCode::name))
}

#[cfg(test)]
mod tests {
    use memod_protocol::{Key, Scope, Verb};
    use serde_json::json;

    use super::*;

    fn bare() -> LogRow {
        LogRow {
            sequence: 4,
            at_ms: 0,
            uid: 7,
            pid: None,
            program: None,
            verb: Verb::Stats,
            key: None,
            scope: None,
            task: None,
            outcome: Outcome::Done,
            reason: None,
            error: None,
            took_us: 1500,
            bytes: 0,
        }
    }

    fn full() -> LogRow {
        LogRow {
            pid: Some(9),
            program: Some("make".into()),
            verb: Verb::Lookup,
            key: Some(Key::from_bytes([7; 32])),
            scope: Some(Scope::new("p", "d")),
            task: Some("t".into()),
            outcome: Outcome::Miss,
            reason: Some(MissReason::NeverSeen),
            bytes: 2048,
            ..bare()
        }
    }

    #[test]
    fn a_row_has_a_field_for_each_column() {
        let key = Key::from_bytes([7; 32]).to_string();
        let piped = fields(&full(), false);
        assert_eq!(piped.len(), COLUMNS.len());
        assert_eq!(
            piped.join(" "),
            format!(
                "1970-01-01T00:00:00.000Z lookup miss never_seen p d t 7 9 make 0.0015 2048 {key}"
            )
        );
        let shown = fields(&full(), true);
        assert_eq!((shown[10].as_str(), shown[11].as_str()), ("1.50ms", "2.0 KiB"));
        assert_eq!(fields(&bare(), false).len(), COLUMNS.len());
        let told = LogRow { outcome: Outcome::Hits(412), ..bare() };
        assert_eq!(fields(&told, false)[2], "412 hits");
        let object = as_json(&told);
        assert_eq!((&object["outcome"], &object["hits"]), (&"hits".into(), &412.into()));
        let failed = LogRow { error: Some(ErrorCode::Busy), outcome: Outcome::Error, ..bare() };
        assert_eq!(fields(&failed, false)[3], ErrorCode::Busy.name());
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let at = "1970-01-01T00:00:00.000Z";
        assert_eq!(
            as_json(&bare()),
            json!({
                "sequence": 4, "at": at, "verb": "stats", "outcome": "done", "uid": 7,
                "took_seconds": 0.0015, "bytes": 0
            })
        );
        assert_eq!(
            as_json(&full()),
            json!({
                "sequence": 4, "at": at, "verb": "lookup", "outcome": "miss",
                "reason": "never_seen", "project": "p", "domain": "d", "task": "t",
                "key": Key::from_bytes([7; 32]).to_string(), "uid": 7, "pid": 9,
                "program": "make", "took_seconds": 0.0015, "bytes": 2048
            })
        );
    }
}
