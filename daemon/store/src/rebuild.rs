//! Makes the charges anew: when a store of an older format is taken over, and when they are in
//! doubt because an entry was removed that could not be read. Gives entries of older formats their
//! details, which stood in the listing only.
//!
//! **Invariants.** Reads every entry, so opening such a store takes time that grows with it, once.
//! Being cut off does no harm: it is done again as a whole, but for entries that have details by
//! then. Of the entries that refer to a blob those that pay go on to; if there is none, the one
//! with the lowest key does. What cannot be read is passed over, and stays as it is.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use memod_protocol::{Digest, Key, wire};

use crate::derived::{Derived, Details};
use crate::failpoint::{Failpoint, reach};
use crate::overlay::Owner;
use crate::record::{BlobRecord, Counters, EntryRecord, TaskRecord, Usage, ref_pays, ref_value};
use crate::rocks::{Batch, Database, Reads, RocksError, Tier};
use crate::schema::{
    Account, Column, META_COUNTERS, META_DOUBT, META_USAGE, parse_ref_key, prefix_end, ref_key,
    usage_key,
};
use crate::skip::{self, readable};

/// Rows that are written together.
const BATCH_ROWS: usize = 4096;
/// How often is said how far it has come.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A blob whose references are being read.
struct Blob {
    digest: Digest,
    /// The first entry that refers to it.
    first: Option<Key>,
    /// Whether one of them pays for it.
    is_paid: bool,
    bytes: u64,
}

struct Rebuild<'a> {
    db: &'a Database,
    batch: Batch,
    rows: usize,
    usages: HashMap<Account, Usage>,
    row_bytes: u64,
    progress: Progress,
}

/// Says now and then how far it has come.
struct Progress {
    entries: u64,
    told: Instant,
}

impl Progress {
    fn step(&mut self, all: u64) {
        self.entries += 1;
        if self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            tracing::info!("{} of {all} entries have been read", self.entries);
        }
    }
}

/// Makes the charges anew, and writes the rows of `near` that entries of format 1 lack. What is to
/// be written in the end, with what else belongs to it, and the counters as they are then.
pub(crate) fn rebuild(db: &Database, counters: Counters) -> Result<(Batch, Counters), RocksError> {
    let batch = Batch::new(0);
    let (usages, progress) = (HashMap::new(), Progress { entries: 0, told: Instant::now() });
    let mut rebuild = Rebuild { db, batch, rows: 0, usages, row_bytes: 0, progress };
    let counters = rebuild.entries(counters)?;
    rebuild.flush()?;
    reach(Failpoint::RebuildEntries);
    rebuild.references()?;
    rebuild.flush()?;
    reach(Failpoint::Rebuild);
    let mut batch = Batch::new(0);
    let mut old = db.rows(Column::Meta, META_USAGE, prefix_end(META_USAGE));
    old.first();
    while let Some((key, _)) = old.row()? {
        batch.delete(db, Column::Meta, key);
        old.forward();
    }
    for (account, usage) in &rebuild.usages {
        batch.put(db, Column::Meta, &usage_key(account), &wire::encode(usage));
    }
    let counters = Counters { row_bytes: rebuild.row_bytes, ..counters };
    batch.put(db, Column::Meta, META_COUNTERS, &wire::encode(&counters));
    batch.delete(db, Column::Meta, META_DOUBT);
    Ok((batch, counters))
}

impl Rebuild<'_> {
    fn put(&mut self, column: Column, key: &[u8], value: &[u8]) -> Result<(), RocksError> {
        self.batch.put(self.db, column, key, value);
        self.rows += 1;
        if self.rows < BATCH_ROWS {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), RocksError> {
        self.rows = 0;
        self.db.write(std::mem::replace(&mut self.batch, Batch::new(0)), false)
    }

    fn charge(&mut self, owner: Owner, entries: u64, bytes: u64) {
        for account in [Account::Scope(owner.scope), Account::User(owner.uid)] {
            let usage = self.usages.entry(account).or_default();
            usage.entries += entries;
            usage.bytes += bytes;
        }
    }

    fn entry(&self, key: &[u8]) -> Result<Option<EntryRecord>, RocksError> {
        let decode = |row: &[u8]| EntryRecord::decode(row).ok();
        Ok(readable(self.db.read(Column::Entries, key, Tier::Disk, decode))?.flatten())
    }

    /// Charges rows, and counts entries, if all can be read.
    fn entries(&mut self, counters: Counters) -> Result<Counters, RocksError> {
        let db = self.db;
        let (mut entries, mut logical_bytes, mut is_strange) = (0, 0, false);
        let rows = db.rows(Column::Entries, &[], None);
        let is_damaged = skip::each_readable(rows, |key, row| {
            self.progress.step(counters.entries);
            let (Ok(key), Ok((entry, details))) = (key.try_into(), EntryRecord::decode_whole(row))
            else {
                is_strange = true;
                return Ok(());
            };
            entries += 1;
            logical_bytes += entry.logical_bytes();
            self.charge_rows(&Key::from_bytes(key), &entry, details, row.len())
        })?;
        if is_damaged || is_strange {
            return Ok(counters);
        }
        Ok(Counters { entries, logical_bytes, ..counters })
    }

    fn charge_rows(
        &mut self,
        key: &Key,
        entry: &EntryRecord,
        mut details: Option<Details>,
        mut entry_bytes: usize,
    ) -> Result<(), RocksError> {
        if details.is_none() {
            details = self.listed_details(key, entry)?;
            if let Some(details) = &details {
                let row = entry.encode_with(details);
                entry_bytes = row.len();
                self.put(Column::Entries, key.as_bytes(), &row)?;
            } else {
                let listed = Derived::of(key, entry, None);
                self.put(Column::Tasks, &listed.task_key, &listed.task)?;
            }
        }
        let derived = Derived::of(key, entry, details.as_ref());
        for row in &derived.near {
            self.put(Column::Near, row, &[])?;
        }
        let bytes = derived.row_bytes(entry, entry_bytes);
        self.row_bytes += bytes;
        self.charge(Owner::of(entry), 1, bytes);
        Ok(())
    }

    /// The details of an entry of an older format, if its row in the listing can be read.
    fn listed_details(
        &self,
        key: &Key,
        entry: &EntryRecord,
    ) -> Result<Option<Details>, RocksError> {
        let decode = |value: &[u8]| wire::decode_record::<TaskRecord>(value).ok();
        let read = self.db.read(Column::Tasks, &entry.task_key(key), Tier::Disk, decode);
        Ok(readable(read)?
            .flatten()
            .map(Details::from)
            .filter(|details| entry.has_key(details, key)))
    }

    /// Charges blobs.
    fn references(&mut self) -> Result<(), RocksError> {
        let db = self.db;
        let mut blob: Option<Blob> = None;
        skip::each_readable(db.rows(Column::Refs, &[], None), |row, value| {
            self.reference(&mut blob, row, value)
        })?;
        self.settle(blob.as_ref())
    }

    fn reference(
        &mut self,
        blob: &mut Option<Blob>,
        row: &[u8],
        value: &[u8],
    ) -> Result<(), RocksError> {
        let Some((digest, key)) = parse_ref_key(row) else { return Ok(()) };
        if blob.as_ref().is_none_or(|blob| blob.digest != digest) {
            self.settle(blob.take().as_ref())?;
        }
        let blob = match blob {
            Some(blob) => blob,
            none => none.insert(self.blob(digest)?),
        };
        let key_bytes = key.as_bytes();
        if readable(self.db.read(Column::Entries, key_bytes, Tier::Disk, |_| ()))?.is_some() {
            blob.first.get_or_insert(key);
            if ref_pays(value) {
                blob.is_paid = true;
                self.charge_blob(&key, blob.bytes)?;
            } else {
                self.put(Column::Refs, row, &ref_value(false))?;
            }
        }
        Ok(())
    }

    /// A blob of which no reference has been read.
    fn blob(&self, digest: Digest) -> Result<Blob, RocksError> {
        let length =
            |row: &[u8]| BlobRecord::decode(row).map_or(0, |record| record.content_bytes());
        let bytes = readable(self.db.read(Column::Blobs, digest.as_bytes(), Tier::Disk, length))?;
        Ok(Blob { digest, first: None, is_paid: false, bytes: bytes.unwrap_or(0) })
    }

    fn charge_blob(&mut self, payer: &Key, bytes: u64) -> Result<(), RocksError> {
        if let Some(entry) = self.entry(payer.as_bytes())? {
            self.charge(Owner::of(&entry), 0, bytes);
        }
        Ok(())
    }

    /// Charges a blob for which nobody pays to the first who refers to it.
    fn settle(&mut self, blob: Option<&Blob>) -> Result<(), RocksError> {
        let Some(Blob { digest, first: Some(first), is_paid: false, bytes }) = blob else {
            return Ok(());
        };
        self.put(Column::Refs, &ref_key(digest, first), &ref_value(true))?;
        self.charge_blob(first, *bytes)
    }
}
