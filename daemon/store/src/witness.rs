//! Whether a row of `entries` is the one that was written last, by what else was written with it.
//!
//! If files of `entries` are gone, the rows that are left may be older ones: of an entry that has
//! been removed or replaced since, which a row in those files said. But a row in the listing, and
//! one reference for each output, are written and removed in the same batch as the entry's own.
//!
//! **Invariants.** Columns that lack no file have the newest rows only. A row that has been removed
//! is not in the listing. One that has been replaced is listed with another time, length or compute
//! time; or, if all these are the same, lacks a reference, unless it had the same outputs.

use memod_protocol::Key;

use crate::derived::Derived;
use crate::record::EntryRecord;
use crate::rocks::{Database, Reads, RocksError, Tier};
use crate::schema::{Column, ref_key};
use crate::skip::readable;

/// Whether the listing and the references bear a row of `entries` out.
pub(crate) fn is_borne_out(db: &Database, key: &[u8], row: &[u8]) -> Result<bool, RocksError> {
    let (Ok(key), Ok((entry, details))) = (key.try_into(), EntryRecord::decode_whole(row)) else {
        return Ok(false);
    };
    let key = Key::from_bytes(key);
    let derived = Derived::of(&key, &entry, details.as_ref());
    let is_same = |listed: &[u8]| listed == derived.task;
    let listed = db.read(Column::Tasks, &derived.task_key, Tier::Disk, is_same);
    if readable(listed)? != Some(true) {
        return Ok(false);
    }
    for output in &entry.outputs {
        let row = ref_key(&output.digest, &key);
        if readable(db.read(Column::Refs, &row, Tier::Disk, |_| ()))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
