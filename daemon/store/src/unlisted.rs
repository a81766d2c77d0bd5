//! Entries whose rows in the listing cannot be read, found among all entries.
//!
//! All that the listing says follows from the entries. So a damaged part of it hides no entry from
//! those who list, export or remove, until it is made anew.
//!
//! **Invariants.** Memory is bounded by a page. The work is not: all entries are read for each page
//! that has a damaged part.

use std::collections::BTreeMap;

use memod_protocol::{EntryRow, Key};

use crate::error::StoreError;
use crate::record::EntryRecord;
use crate::rocks::Reads;
use crate::schema::Column;
use crate::shared::Shared;
use crate::skip;

/// A part of the listing: what lies behind one key and before another, if there is one.
pub(crate) struct Part<'a> {
    pub(crate) prefix: &'a [u8],
    pub(crate) behind: &'a [u8],
    pub(crate) before: Option<&'a [u8]>,
}

impl Part<'_> {
    fn has(&self, row: &[u8]) -> bool {
        row.starts_with(self.prefix)
            && row > self.behind
            && self.before.is_none_or(|before| row < before)
    }
}

/// The first rows of a part, by their keys, and whether there are more.
pub(crate) fn rows(
    shared: &Shared,
    part: &Part<'_>,
    selects: impl Fn(&EntryRow) -> bool,
    limit: usize,
) -> Result<(BTreeMap<Vec<u8>, EntryRow>, bool), StoreError> {
    let (mut found, mut more) = (BTreeMap::new(), false);
    let rows = shared.db.rows(Column::Entries, &[], None);
    skip::each_readable(rows, |key, value| {
        if let (Ok(key), Ok(entry)) = (key.try_into(), EntryRecord::decode(value)) {
            let key = Key::from_bytes(key);
            let at = entry.task_key(&key);
            let row = row_of(key, entry);
            if part.has(&at) && selects(&row) {
                found.insert(at, row);
            }
            if found.len() > limit {
                found.pop_last();
                more = true;
            }
        }
        Ok::<(), StoreError>(())
    })?;
    Ok((found, more))
}

/// What a listing shows of an entry.
pub(crate) fn row_of(key: Key, entry: EntryRecord) -> EntryRow {
    EntryRow {
        key,
        created_at_ms: entry.provenance.created_at_ms,
        compute_ns: entry.provenance.run.compute_ns,
        writer_uid: entry.provenance.writer_uid,
        outputs: u32::try_from(entry.outputs.len()).unwrap_or(u32::MAX),
        bytes: entry.logical_bytes(),
        scope: entry.scope,
        task: entry.task,
        cache_version: entry.cache_version,
    }
}
