//! Makes the charges anew: when a store of format 1 is taken over, which had none, and when they
//! are in doubt because an entry was removed that could not be read.
//!
//! **Invariants.** Reads every entry, so opening such a store takes time that grows with it, once.
//! Being cut off does no harm: it is done again as a whole. Of the entries that refer to a blob
//! those that pay go on to; if there is none, the one with the lowest key does.

use std::collections::HashMap;

use memod_protocol::{Digest, Key, wire};

use crate::failpoint::{Failpoint, reach};
use crate::near;
use crate::overlay::Owner;
use crate::record::{BlobRecord, Counters, EntryRecord, TaskRecord, Usage, ref_pays, ref_value};
use crate::rocks::{Batch, Database, Read, Reads, RocksError, Tier};
use crate::row_bytes::RowLengths;
use crate::schema::{
    Account, Column, META_COUNTERS, META_DOUBT, META_USAGE, parse_ref_key, prefix_end, ref_key,
    task_key, usage_key,
};

/// Rows that are written together.
const BATCH_ROWS: usize = 4096;

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
}

/// Makes the charges anew, and writes the rows of `near` that entries of format 1 lack. What is to
/// be written in the end, with what else belongs to it, and the counters as they are then.
pub(crate) fn rebuild(db: &Database, counters: Counters) -> Result<(Batch, Counters), RocksError> {
    let batch = Batch::new(0);
    let mut rebuild = Rebuild { db, batch, rows: 0, usages: HashMap::new(), row_bytes: 0 };
    rebuild.entries()?;
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
        if self.rows >= BATCH_ROWS { self.flush() } else { Ok(()) }
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
        let decode = |row: &[u8]| wire::decode_record::<EntryRecord>(row).ok();
        match self.db.read(Column::Entries, key, Tier::Disk, decode)? {
            Read::Row(entry) => Ok(entry),
            Read::Absent | Read::WouldBlock => Ok(None),
        }
    }

    /// Charges rows.
    fn entries(&mut self) -> Result<(), RocksError> {
        let mut rows = self.db.rows(Column::Entries, &[], None);
        rows.first();
        while let Some((key, value)) = rows.row()? {
            let bytes = value.len();
            if let (Ok(key), Ok(entry)) = (key.try_into(), wire::decode_record(value)) {
                self.charge_rows(&Key::from_bytes(key), &entry, bytes)?;
            }
            rows.forward();
        }
        Ok(())
    }

    fn charge_rows(
        &mut self,
        key: &Key,
        entry: &EntryRecord,
        entry_bytes: usize,
    ) -> Result<(), RocksError> {
        let row = task_key(&entry.scope, &entry.task, &entry.cache_version, &entry.signature, key);
        let decode = |value: &[u8]| (value.len(), wire::decode_record::<TaskRecord>(value).ok());
        let (task, near) = match self.db.read(Column::Tasks, &row, Tier::Disk, decode)? {
            Read::Row((bytes, Some(task))) => {
                (bytes, near::rows(&row, task.created_at_ms, &task.inputs))
            }
            Read::Row((bytes, None)) => (bytes, Vec::new()),
            Read::Absent | Read::WouldBlock => (0, Vec::new()),
        };
        for row in &near {
            self.put(Column::Near, row, &[])?;
        }
        let lengths =
            RowLengths { entry: entry_bytes, task_key: row.len(), task, near: near.len() };
        let bytes = lengths.total(entry);
        self.row_bytes += bytes;
        self.charge(Owner::of(entry), 1, bytes);
        Ok(())
    }

    /// Charges blobs.
    fn references(&mut self) -> Result<(), RocksError> {
        let mut rows = self.db.rows(Column::Refs, &[], None);
        rows.first();
        let mut blob: Option<Blob> = None;
        while let Some((row, value)) = rows.row()? {
            let Some((digest, key)) = parse_ref_key(row) else {
                rows.forward();
                continue;
            };
            if blob.as_ref().is_none_or(|blob| blob.digest != digest) {
                self.settle(blob.take().as_ref())?;
            }
            let blob = match &mut blob {
                Some(blob) => blob,
                none => none.insert(self.blob(digest)?),
            };
            let key_bytes = key.as_bytes();
            if self.db.read(Column::Entries, key_bytes, Tier::Disk, |_| ())? == Read::Row(()) {
                blob.first.get_or_insert(key);
                if ref_pays(value) {
                    blob.is_paid = true;
                    self.charge_blob(&key, blob.bytes)?;
                } else {
                    self.put(Column::Refs, row, &ref_value(false))?;
                }
            }
            rows.forward();
        }
        self.settle(blob.as_ref())
    }

    /// A blob of which no reference has been read.
    fn blob(&self, digest: Digest) -> Result<Blob, RocksError> {
        let length =
            |row: &[u8]| BlobRecord::decode(row).map_or(0, |record| record.content_bytes());
        let bytes = match self.db.read(Column::Blobs, digest.as_bytes(), Tier::Disk, length)? {
            Read::Row(bytes) => bytes,
            Read::Absent | Read::WouldBlock => 0,
        };
        Ok(Blob { digest, first: None, is_paid: false, bytes })
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
