//! Lists entries.
//!
//! **Invariants.** A page reads rows of `tasks` only, at most [`LIST_LOOKS_MAX`] of them, unless a
//! part of them cannot be read: see [`crate::unlisted`], or one says nothing of its entry. The
//! cursor is the key of the last row that was looked at, so nothing is listed twice or left out
//! that stays put while pages are fetched. A scope that is not to be listed is stepped over as a
//! whole: it counts for nothing but a step, and no cursor says anything of it. Nor does a row
//! count whose key cannot be read, of which nobody can tell to which scope it belongs.

use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{EntryRow, Filter, Scope, wire};

use crate::error::StoreError;
use crate::limits::{LIST_BYTES_MAX, LIST_LOOKS_MAX, LIST_READ_BYTES_MAX};
use crate::record::{EntryRecord, TaskRecord};
use crate::rocks::{Reads, Rows, Tier, is_damage};
use crate::schema::{Column, TaskKey, prefix_end, scope_prefix, task_prefix};
use crate::shared::Shared;
use crate::skip;
use crate::unlisted::{self, Part};

/// A page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries, by scope, task and cache version.
    pub rows: Vec<EntryRow>,
    /// Where to go on; none at the end.
    pub cursor: Option<Vec<u8>>,
}

pub(crate) fn list(
    shared: &Shared,
    filter: &Filter,
    now_ms: u64,
    limit: u32,
    cursor: Option<&[u8]>,
    lists: &dyn Fn(&Scope) -> bool,
) -> Result<Page, StoreError> {
    let prefix = task_prefix(filter);
    let mut rows = shared.db.rows(Column::Tasks, &prefix, prefix_end(&prefix));
    begin(&mut rows, &prefix, cursor)?;
    let limit = usize::try_from(limit.clamp(1, LIST_ROWS_MAX)).unwrap_or(1);
    let mut page = Page::default();
    let mut work = Work::default();
    let mut last: Option<Vec<u8>> = cursor.map(<[u8]>::to_vec);
    // Up to where everything has been looked at, or was not to be.
    let mut at = last.clone().unwrap_or_else(|| prefix.clone());
    let mut scope: Option<Scope> = None;
    loop {
        let (key, value) = match rows.row() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) if is_damage(&error) => {
                let selects = |row: &EntryRow| lists(&row.scope) && selects(filter, now_ms, row);
                let damaged = Damaged { prefix: &prefix, behind: &at, selects: &selects, limit };
                match damaged.list(shared, &mut rows, &mut page, &mut last)? {
                    Some(before) => at = before,
                    None => break,
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(row) = TaskKey::parse(key) else {
            // A cursor that is no key would be refused, and all behind it never listed.
            tracing::warn!("a key of the listing cannot be read and is passed over");
            rows.forward();
            continue;
        };
        if scope.as_ref() != Some(&row.scope) {
            if !lists(&row.scope) {
                let Some(end) = prefix_end(&scope_prefix(&row.scope)) else { break };
                rows.seek(&end);
                at = end;
                continue;
            }
            scope = Some(row.scope.clone());
        }
        if page.rows.len() >= limit || work.is_enough() {
            page.cursor = last;
            break;
        }
        work.looks += 1;
        work.read_bytes += key.len() + value.len();
        if let Some(row) = entry_row(shared, row, value)?
            && selects(filter, now_ms, &row)
        {
            work.row_bytes += key.len() + 64;
            page.rows.push(row);
        }
        at = key.to_vec();
        last = Some(at.clone());
        rows.forward();
    }
    Ok(page)
}

/// Puts the walk at its first row.
fn begin(rows: &mut Rows<'_>, prefix: &[u8], cursor: Option<&[u8]>) -> Result<(), StoreError> {
    match cursor {
        None => rows.first(),
        Some(cursor) => {
            if !cursor.starts_with(prefix) || TaskKey::parse(cursor).is_none() {
                return Err(StoreError::InvalidCursor);
            }
            // The first key behind the cursor's.
            rows.seek(&[cursor, &[0]].concat());
        }
    }
    Ok(())
}

/// What a page has taken.
#[derive(Default)]
struct Work {
    looks: usize,
    read_bytes: usize,
    row_bytes: usize,
}

impl Work {
    /// Whether the page ends for it.
    const fn is_enough(&self) -> bool {
        self.looks >= LIST_LOOKS_MAX
            || self.read_bytes >= LIST_READ_BYTES_MAX
            || self.row_bytes >= LIST_BYTES_MAX
    }
}

/// A part of the listing that cannot be read.
struct Damaged<'a> {
    prefix: &'a [u8],
    /// What it lies behind.
    behind: &'a [u8],
    selects: &'a dyn Fn(&EntryRow) -> bool,
    /// Rows of the page.
    limit: usize,
}

impl Damaged<'_> {
    /// Lists the entries in it, as far as the page has room, and puts the walk behind it. Gives the
    /// key there; none if the page ends with it.
    fn list(
        &self,
        shared: &Shared,
        rows: &mut Rows<'_>,
        page: &mut Page,
        last: &mut Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let room = self.limit.saturating_sub(page.rows.len());
        if room == 0 {
            page.cursor.clone_from(last);
            return Ok(None);
        }
        let goes_on = skip::damage(rows, self.behind)?;
        let before = if goes_on { rows.row()?.map(|(key, _)| key.to_vec()) } else { None };
        let part = Part { prefix: self.prefix, behind: self.behind, before: before.as_deref() };
        let (found, more) = unlisted::rows(shared, &part, self.selects, room)?;
        tracing::warn!(
            entries = found.len(),
            "a part of the listing cannot be read: entries are listed as they say themselves"
        );
        for (key, row) in found {
            *last = Some(key);
            page.rows.push(row);
        }
        if more {
            page.cursor.clone_from(last);
        }
        Ok(before.filter(|_| !more))
    }
}

/// What a row says; if it says nothing, what the entry does.
fn entry_row(shared: &Shared, key: TaskKey, value: &[u8]) -> Result<Option<EntryRow>, StoreError> {
    let Ok(record) = wire::decode_record::<TaskRecord>(value) else {
        let decode = |row: &[u8]| EntryRecord::decode(row).ok();
        let read = shared.db.read(Column::Entries, key.key.as_bytes(), Tier::Disk, decode);
        let entry = skip::readable(read)?.flatten();
        return Ok(entry.map(|entry| unlisted::row_of(key.key, entry)));
    };
    Ok(Some(EntryRow {
        key: key.key,
        scope: key.scope,
        task: key.task,
        cache_version: key.cache_version,
        created_at_ms: record.created_at_ms,
        compute_ns: record.compute_ns,
        writer_uid: record.writer_uid,
        outputs: record.outputs,
        bytes: record.bytes,
    }))
}

fn selects(filter: &Filter, now_ms: u64, row: &EntryRow) -> bool {
    filter.scope.as_ref().is_none_or(|scope| *scope == row.scope)
        && filter.task.as_ref().is_none_or(|task| *task == row.task)
        && filter.cache_version.as_ref().is_none_or(|version| *version == row.cache_version)
        && filter.writer_uid.is_none_or(|uid| uid == row.writer_uid)
        && filter.older_than_ms.is_none_or(|age| now_ms.saturating_sub(row.created_at_ms) > age)
}
