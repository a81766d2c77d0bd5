//! `memo ls`: what is stored.
//!
//! **Invariants.** Pages are printed as they come, so that memory is bounded however many entries
//! there are.

use std::io::{self, Write};
use std::time::Duration;

use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{EntryRow, Filter, InvalidArgument, name};
use serde_json::Value;

use crate::args::{ListArgs, ScopeFrom, Screen, Settings};
use crate::connect;
use crate::exit::{self, Outcome};
use crate::output::json::{Object, seconds};
use crate::output::table::{self, Align, Column};
use crate::output::units;

const COLUMNS: [Column; 9] = [
    ("key", Align::Left),
    ("project", Align::Left),
    ("domain", Align::Left),
    ("task", Align::Left),
    ("version", Align::Left),
    ("written at", Align::Left),
    ("compute", Align::Right),
    ("uid", Align::Right),
    ("bytes", Align::Right),
];

/// Lists the entries.
///
/// # Errors
/// If the daemon gives no answer, or standard output cannot be written.
pub(crate) fn run(args: &ListArgs, settings: &Settings) -> Outcome {
    if let Some(task) = &args.task {
        name::check("task", task)?;
    }
    let filter = filter(args, settings)?;
    let client = connect::asking(settings);
    let mut listing = Listing { screen: settings.screen, out: Screen::out(), printed: 0 };
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut cursor = None;
    while left > 0 {
        let limit = u32::try_from(left).unwrap_or(u32::MAX).min(LIST_ROWS_MAX);
        let page = client.list(&filter, limit, cursor)?;
        listing.page(&page.rows)?;
        left = left.saturating_sub(page.rows.len() as u64);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    listing.end()
}

/// Within the project and the domain if either was asked for, else everywhere.
fn filter(args: &ListArgs, settings: &Settings) -> Result<Filter, InvalidArgument> {
    let is_scoped = !args.all && settings.scope_from != ScopeFrom::Default;
    Ok(Filter {
        scope: is_scoped.then(|| settings.scope.clone()),
        task: args.task.clone(),
        cache_version: args.cache_version.as_deref().map(name::cache_version).transpose()?,
        writer_uid: args.writer,
        older_than_ms: None,
    })
}

struct Listing<W> {
    screen: Screen,
    out: W,
    printed: u64,
}

impl<W: Write> Listing<W> {
    fn page(&mut self, rows: &[EntryRow]) -> io::Result<()> {
        if self.screen.is_json() {
            for row in rows {
                let before = if self.printed == 0 { r#"{"entries":["# } else { "," };
                write!(self.out, "{before}{}", as_json(row))?;
                self.printed += 1;
            }
        } else if !rows.is_empty() {
            let rows: Vec<Vec<String>> = rows.iter().map(|row| self.fields(row)).collect();
            table::write(&mut self.out, self.screen, &COLUMNS, &rows)?;
            self.printed += rows.len() as u64;
        }
        self.out.flush()
    }

    /// Raw numbers in a pipe, readable ones on a terminal.
    fn fields(&self, row: &EntryRow) -> Vec<String> {
        let is_terminal = self.screen.out_is_terminal;
        let compute = row.compute_ns.map(|taken| {
            if is_terminal {
                units::duration(Duration::from_nanos(taken))
            } else {
                seconds(taken).to_string()
            }
        });
        let bytes = if is_terminal { units::bytes(row.bytes) } else { row.bytes.to_string() };
        vec![
            row.key.to_string(),
            row.scope.project.clone(),
            row.scope.domain.clone(),
            row.task.clone(),
            row.cache_version.clone(),
            units::rfc3339(row.created_at_ms).unwrap_or_default(),
            compute.unwrap_or_default(),
            row.writer_uid.to_string(),
            bytes,
        ]
    }

    fn end(mut self) -> Outcome {
        if self.screen.is_json() {
            let before = if self.printed == 0 { r#"{"entries":["# } else { "" };
            writeln!(self.out, "{before}]}}")?;
            self.out.flush()?;
        } else if self.printed == 0 && self.screen.out_is_terminal {
            writeln!(self.out, "nothing matched")?;
            self.out.flush()?;
        }
        Ok(if self.printed == 0 { exit::NOTHING } else { exit::DONE })
    }
}

fn as_json(row: &EntryRow) -> Value {
    Object::default()
        .with("key", row.key.to_string())
        .with("project", row.scope.project.as_str())
        .with("domain", row.scope.domain.as_str())
        .with("task", row.task.as_str())
        .with("cache_version", row.cache_version.as_str())
        .with_known("created_at", units::rfc3339(row.created_at_ms))
        .with_known("compute_seconds", row.compute_ns.map(seconds))
        .with("writer_uid", row.writer_uid)
        .with("outputs", row.outputs)
        .with("bytes", row.bytes)
        .into()
}
