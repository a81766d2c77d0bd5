//! Writes damaged columns anew, so that their files go: what follows from entries from those, and
//! everything else from what can be read of it.
//!
//! An entry whose row cannot be read is lost; if its row in the listing can be, it has a grave.
//! Content that is lost is `Dropped`: its entries go when they are looked up, and it is there again
//! when it is put again. What belongs to nobody any more is removed.
//!
//! **Invariants.** Each column takes the place of the damaged one as a whole. A mark beside the
//! database, which names the columns, stands until all of them have: being cut off, it is done
//! again by the next opening. Nobody changes anything meanwhile; reading goes on. Memory does
//! not grow with the store, but for the number of large contents.
//!
//! **Does not** mend `meta`: see [`crate::mend_meta`].

use std::collections::HashSet;
use std::sync::PoisonError;

use memod_protocol::{Key, wire};

use crate::derived::Derived;
use crate::error::StoreError;
use crate::extent::Extent;
use crate::failpoint::{Failpoint, reach};
use crate::rebuild::rebuild;
use crate::record::{
    BlobRecord, Counters, EntryRecord, Grave, GraveCause, OutputRecord, ref_pays, ref_value,
};
use crate::rocks::{Batch, Database, Read, Reads, Renewal, RocksError, Rows, Tier, is_damage};
use crate::schema::{
    Column, META_DOUBT, META_LOOSE, chunk_key, loose_key, loose_storage, parse_ref_key, prefix_end,
    ref_key, split_task_key,
};
use crate::set_aside;
use crate::shared::now_ms;
use crate::skip::{self, readable};
use crate::witness::is_borne_out;
use crate::writer::Writer;

/// Columns that follow from entries, the last ones written.
const INDEXES: [Column; 3] = [Column::Tasks, Column::Refs, Column::Near];
/// Rows of which something is lost if they cannot be read.
const CONTENT: [Column; 3] = [Column::Entries, Column::Blobs, Column::Chunks];
/// After so many rows somebody hears that it goes on.
const ROWS_PER_BEAT: u64 = 1000;

/// What has become of a store some of whose columns have been written anew.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) counters: Counters,
    /// Entries that were lost, as far as they are known.
    pub(crate) lost: Vec<Key>,
}

/// Writes the columns anew that a mark is about. None if it does not say, or they cannot be.
pub(crate) fn heal(
    db: &Database,
    reason: &str,
    counters: Counters,
) -> Result<Option<Counters>, RocksError> {
    match Extent::marked(db, reason)? {
        Some(extent) if extent.columns.contains(&Column::Meta) && !extent.lacks(Column::Meta) => {
            Ok(None)
        }
        Some(extent) if extent.columns.is_empty() => Ok(Some(counters)),
        Some(extent) => Ok(Some(renew(db, &extent, counters, &|| ())?.counters)),
        None => Ok(None),
    }
}

/// Writes columns anew, and what is counted and charged. `beat` is called now and then.
pub(crate) fn renew(
    db: &Database,
    extent: &Extent,
    counters: Counters,
    beat: &dyn Fn(),
) -> Result<Renewed, RocksError> {
    let columns = extent.columns.as_slice();
    let mut work = Work { db, extent, counters, lost: Vec::new(), dropped: 0, rows: 0, beat };
    let mut batch = Batch::new(0);
    batch.put(db, Column::Meta, META_DOUBT, &[]);
    db.write(batch, true)?;
    // What follows from entries is not to be written without some of them.
    let nothing = |_: &mut Work<'_>, _: &[u8], _: &[u8]| Ok(());
    let is_lost = columns.contains(&Column::Entries)
        || work.each(db.rows(Column::Entries, &[], None), nothing)?;
    let follows = |column: &Column| INDEXES.contains(column) || *column == Column::Heat;
    let is_meant = |column: &Column| {
        columns.contains(column) || is_lost && (*column == Column::Entries || follows(column))
    };
    let in_turn = CONTENT.into_iter().chain([Column::Heat, Column::Graves]).chain(INDEXES);
    for column in in_turn.filter(is_meant) {
        tracing::warn!(column = column.name(), "a damaged column is written anew");
        match column {
            Column::Tasks | Column::Near | Column::Refs => work.derive(column)?,
            _ => work.copy(column)?,
        }
        match column {
            Column::Entries => work.bury_lost()?,
            Column::Blobs => work.drop_lost()?,
            _ => {}
        }
        reach(Failpoint::Renewed);
        db.drop_retired();
    }
    // Without `meta` it is not known what nobody owns.
    let has_content = |column: &Column| CONTENT.contains(column) || *column == Column::Meta;
    if is_lost || columns.iter().any(has_content) {
        work.sweep()?;
    }
    let (batch, counters) = rebuild(db, work.counters)?;
    db.write(batch, true)?;
    tracing::warn!(
        lost_entries = work.lost.len(),
        lost_contents = work.dropped,
        "what was damaged has been written anew; an entry whose content has a damaged part goes \
         when it is looked up"
    );
    Ok(Renewed { counters, lost: work.lost })
}

/// What came of handing something over.
type Done = Result<(), RocksError>;

struct Work<'a> {
    db: &'a Database,
    extent: &'a Extent,
    counters: Counters,
    lost: Vec<Key>,
    /// Contents of which nothing is known any more.
    dropped: u64,
    rows: u64,
    beat: &'a dyn Fn(),
}

impl Work<'_> {
    fn step(&mut self) {
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS_PER_BEAT) {
            (self.beat)();
        }
    }

    /// Hands over each row that can be read; whether there were others.
    fn each(
        &mut self,
        rows: Rows<'_>,
        mut with: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), RocksError>,
    ) -> Result<bool, RocksError> {
        skip::each_readable(rows, |key, value| {
            self.step();
            with(self, key, value)
        })
    }

    /// Hands over each entry that can be read.
    fn each_entry(
        &mut self,
        mut with: impl FnMut(&mut Self, Key, &EntryRecord, &Derived, bool) -> Done,
    ) -> Result<(), RocksError> {
        let db = self.db;
        self.each(db.rows(Column::Entries, &[], None), |work, key, row| {
            let (Ok(key), Ok((entry, details))) = (key.try_into(), EntryRecord::decode_whole(row))
            else {
                return Ok(());
            };
            let key = Key::from_bytes(key);
            let derived = Derived::of(&key, &entry, details.as_ref());
            with(work, key, &entry, &derived, details.is_some_and(|details| details.apart))
        })?;
        Ok(())
    }

    /// Writes a column anew of what can be read of it.
    fn copy(&mut self, column: Column) -> Result<(), RocksError> {
        let db = self.db;
        let mut renewal = db.renew(column)?;
        let extent = self.extent;
        let is_damaged = self.each(db.rows(column, &[], None), |_, key, value| {
            let is_wanted = is_wanted(db, extent, column, key, value)?;
            if is_wanted { renewal.put(key, value) } else { Ok(()) }
        })?;
        if is_damaged {
            self.copy_one_by_one(column, &mut renewal)?;
        }
        renewal.finish()
    }

    /// Adds rows that a walk does not come to, because it ends at a file of which nothing can be
    /// read, and that are found by their keys.
    fn copy_one_by_one(
        &mut self,
        column: Column,
        renewal: &mut Renewal<'_>,
    ) -> Result<(), RocksError> {
        let (db, extent) = (self.db, self.extent);
        let mut add = |key: &[u8]| match find(db, column, key)? {
            Some(row) if is_wanted(db, extent, column, key, &row)? => renewal.put(key, &row),
            _ => Ok(()),
        };
        match column {
            Column::Entries => {
                self.each(db.rows(Column::Tasks, &[], None), |_, row, _| {
                    split_task_key(row).map_or(Ok(()), |(_, key)| add(key.as_bytes()))
                })?;
                self.each(db.rows(Column::Refs, &[], None), |_, row, _| {
                    parse_ref_key(row).map_or(Ok(()), |(_, key)| add(key.as_bytes()))
                })?;
            }
            Column::Blobs => self.each_entry(|_, _, entry, _, _| {
                entry.outputs.iter().try_for_each(|output| add(output.digest.as_bytes()))
            })?,
            Column::Chunks => {
                self.each(db.rows(Column::Blobs, &[], None), |_, _, row| {
                    let Ok(BlobRecord::Chunked(record)) = BlobRecord::decode(row) else {
                        return Ok(());
                    };
                    let mut chunks = 0..record.chunk_count();
                    chunks.try_for_each(|index| add(&chunk_key(record.storage, index)))
                })?;
            }
            Column::Heat => self.each_entry(|_, key, _, _, _| add(key.as_bytes()))?,
            _ => {}
        }
        Ok(())
    }

    /// Writes a column anew that follows from the entries.
    fn derive(&mut self, column: Column) -> Result<(), RocksError> {
        let (db, extent) = (self.db, self.extent);
        let mut renewal = db.renew(column)?;
        self.each_entry(|_, key, entry, derived, apart| match column {
            Column::Tasks => renewal.put(&derived.task_key, &derived.task),
            Column::Refs => put_refs(db, extent, &mut renewal, &key, entry, apart),
            _ => derived.near.iter().try_for_each(|row| renewal.put(row, &[])),
        })?;
        renewal.finish()
    }

    /// Digs graves for entries that are listed, and cannot be read.
    fn bury_lost(&mut self) -> Result<(), RocksError> {
        let db = self.db;
        let grave = Grave { cause: GraveCause::Corrupt, at_ms: now_ms(), by_uid: None, lost: None };
        let grave = wire::encode(&grave);
        self.each(db.rows(Column::Tasks, &[], None), |work, row, _| {
            let Some((_, key)) = split_task_key(row) else { return Ok(()) };
            if db.read(Column::Entries, key.as_bytes(), Tier::Disk, |_| ())? == Read::Row(()) {
                return Ok(());
            }
            let mut batch = Batch::new(0);
            batch.put(db, Column::Graves, key.as_bytes(), &grave);
            work.lost.push(key);
            db.write(batch, false)
        })?;
        Ok(())
    }

    /// Notes content of which nothing is known any more but its length.
    fn drop_lost(&mut self) -> Result<(), RocksError> {
        let db = self.db;
        self.each_entry(|work, _, entry, _, _| {
            for OutputRecord { digest, bytes, .. } in &entry.outputs {
                let found = db.read(Column::Blobs, digest.as_bytes(), Tier::Disk, |_| ())?;
                if found != Read::Row(()) {
                    let row = BlobRecord::Dropped { bytes: *bytes }.encode();
                    let mut batch = Batch::new(0);
                    batch.put(db, Column::Blobs, digest.as_bytes(), &row);
                    db.write(batch, false)?;
                    work.dropped += 1;
                }
            }
            Ok(())
        })
    }

    /// Removes content to which nobody refers, and counts the other.
    fn sweep(&mut self) -> Result<(), RocksError> {
        let db = self.db;
        let mut owned = HashSet::new();
        let (mut blobs, mut stored_bytes) = (0, 0);
        self.each(db.rows(Column::Blobs, &[], None), |_, digest, row| {
            let record = BlobRecord::decode(row).ok();
            let storage = match &record {
                Some(BlobRecord::Chunked(record)) => Some((record.storage, record.chunk_count())),
                _ => None,
            };
            owned.extend(storage.map(|(storage, _)| storage));
            if is_referred_to(db, digest)? {
                blobs += 1;
                stored_bytes += record.map_or(0, |record| record.content_bytes());
                return Ok(());
            }
            let mut batch = Batch::new(0);
            batch.delete(db, Column::Blobs, digest);
            if let Some((storage, chunks)) = storage {
                batch.put(db, Column::Meta, &loose_key(storage), &chunks.to_le_bytes());
            }
            db.write(batch, false)
        })?;
        (self.counters.blobs, self.counters.stored_bytes) = (blobs, stored_bytes);
        self.each(db.rows(Column::Meta, META_LOOSE, prefix_end(META_LOOSE)), |_, key, _| {
            owned.extend(loose_storage(key));
            Ok(())
        })?;
        self.loosen(&owned)
    }

    /// Has chunks removed that nobody owns.
    fn loosen(&mut self, owned: &HashSet<u64>) -> Result<(), RocksError> {
        let db = self.db;
        let mut strange: Option<(u64, u32)> = None;
        let loosen = |(storage, chunks): (u64, u32)| {
            let mut batch = Batch::new(0);
            batch.put(db, Column::Meta, &loose_key(storage), &chunks.to_le_bytes());
            db.write(batch, false)
        };
        self.each(db.rows(Column::Chunks, &[], None), |_, key, _| {
            let Some((storage, index)) = key.split_first_chunk::<8>() else { return Ok(()) };
            let storage = u64::from_be_bytes(*storage);
            let Ok(index) = index.try_into().map(u32::from_be_bytes) else { return Ok(()) };
            if strange.is_some_and(|(of, _)| of != storage) {
                strange.take().map_or(Ok(()), loosen)?;
            }
            if !owned.contains(&storage) {
                strange = Some((storage, index.saturating_add(1)));
            }
            Ok(())
        })?;
        strange.map_or(Ok(()), loosen)
    }
}

/// Whether a row belongs into a column that is written anew.
fn is_wanted(
    db: &Database,
    extent: &Extent,
    column: Column,
    key: &[u8],
    value: &[u8],
) -> Result<bool, RocksError> {
    let is_there = || Ok(find(db, Column::Entries, key)?.is_some());
    match column {
        // Nobody uses what is lost.
        Column::Heat => is_there(),
        _ if !extent.lacks(column) => Ok(true),
        // It may be what was removed or replaced since.
        Column::Entries => is_borne_out(db, key, value),
        Column::Graves => is_there().map(|is_there| !is_there),
        Column::Blobs => Ok(has_chunks(db, value)),
        _ => Ok(true),
    }
}

/// Whether a row of `blobs` that has its content in chunks has the first of them. Chunks of a row
/// that was replaced are gone.
fn has_chunks(db: &Database, row: &[u8]) -> bool {
    let Ok(BlobRecord::Chunked(record)) = BlobRecord::decode(row) else { return true };
    let first = db.read(Column::Chunks, &chunk_key(record.storage, 0), Tier::Disk, |_| ());
    // One that is damaged is found when it is looked up.
    first.map_or_else(|error| is_damage(&error), |found| found == Read::Row(()))
}

fn put_refs(
    db: &Database,
    extent: &Extent,
    renewal: &mut Renewal<'_>,
    key: &Key,
    entry: &EntryRecord,
    apart: bool,
) -> Result<(), RocksError> {
    for OutputRecord { digest, .. } in &entry.outputs {
        let row = ref_key(digest, key);
        // Who pays goes on to, if that is known; who is put apart pays in any case.
        let paid = if extent.lacks(Column::Refs) {
            None
        } else {
            readable(db.read(Column::Refs, &row, Tier::Disk, ref_pays))?
        };
        renewal.put(&row, &ref_value(paid.unwrap_or(apart)))?;
    }
    Ok(())
}

/// A row, if there is one that can be read.
fn find(db: &Database, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, RocksError> {
    readable(db.read(column, key, Tier::Disk, <[u8]>::to_vec))
}

fn is_referred_to(db: &Database, digest: &[u8]) -> Result<bool, RocksError> {
    let mut refs = db.rows_of_prefix(Column::Refs, digest, u64::MAX);
    refs.first();
    match refs.row() {
        Ok(row) => Ok(row.is_some()),
        // What is in doubt stays.
        Err(error) if is_damage(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether an error tells of damage to a file of rows, which stays until its column is written
/// anew; not of damage to content, which goes with its row.
pub(crate) fn is_of_rows(error: &str) -> bool {
    error.contains(".sst")
}

impl Writer {
    /// Writes columns anew, between two groups.
    pub(crate) fn renew(&mut self, columns: &[Column]) -> Result<(), StoreError> {
        let shared = self.share();
        let is_marked = set_aside::marked(&shared.path).is_some();
        let extent = Extent::of(columns);
        set_aside::mark(&shared.path, &extent.text(None));
        let renewed = renew(&shared.db, &extent, shared.counters(), &|| shared.beat());
        shared.db.drop_retired();
        // What was charged before is nothing to go by, even if it has been made anew in part only.
        shared.books.forget();
        self.evictor.forget_drawn();
        let Renewed { counters, lost } = renewed.map_err(|error| {
            // A compaction has been there first: the next opening does it.
            if is_damage(&error) {
                shared.halt.note_damage();
            }
            StoreError::from(error)
        })?;
        shared.hot_entries.begin_change(&lost);
        shared.hot_entries.end_change();
        *shared.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
        // A mark that was there before may be about something else.
        if !is_marked {
            set_aside::unmark(&shared.path);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "renew_tests.rs"]
pub(crate) mod tests;
