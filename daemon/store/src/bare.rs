//! The rows of puts without the store around them: what they cost any daemon that writes such
//! rows, to compare benchmarks with.
//!
//! **Does not** check or hash anything, nor keep what a store has to keep: a folder with such rows
//! is no store.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::{Digest, InterfaceText, Key, Provenance, RunClaim, Scope, wire};

use crate::derived::{Derived, Details};
use crate::packing::Packing;
use crate::record::{BlobRecord, Counters, EntryRecord, OutputRecord, Usage, ref_value};
use crate::rocks::{Batch, Database, Read, Reads, RocksError, Tier};
use crate::schema::{Account, Column, META_COUNTERS, ref_key, usage_key};

/// About what the rows of a small put have besides its content.
const ROWS_BYTES: usize = 1024;

/// A database, opened as a store opens it, and nothing more.
pub struct BareRows {
    db: Database,
    puts: u64,
}

impl BareRows {
    /// Opens the database in this folder, or makes one.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub fn open(
        folder: &Path,
        block_cache_bytes: u64,
        packing: Packing,
    ) -> Result<Self, RocksError> {
        let age = Duration::MAX;
        let db = Database::open_packed(folder, false, block_cache_bytes, age, packing)?;
        Ok(Self { db, puts: 0 })
    }

    /// Writes the rows of as many puts as there are contents, each small enough to stand in its
    /// row and the only output of a new call without inputs, in one batch.
    ///
    /// # Errors
    /// If the database takes no changes.
    pub fn write(&mut self, contents: &[Bytes]) -> Result<(), RocksError> {
        let bytes = contents.iter().map(|content| ROWS_BYTES + content.len()).sum();
        let mut batch = Batch::new(bytes);
        for content in contents {
            self.puts += 1;
            self.put(&mut batch, content);
        }
        let counters = Counters { entries: self.puts, puts: self.puts, ..Counters::default() };
        batch.put(&self.db, Column::Meta, META_COUNTERS, &wire::encode(&counters));
        let usage = wire::encode(&Usage { entries: self.puts, bytes: self.puts });
        for account in [Account::Scope(scope()), Account::User(0)] {
            batch.put(&self.db, Column::Meta, &usage_key(&account), &usage);
        }
        self.db.write(batch, false)
    }

    /// Moves all rows to files and has those written anew, as a store does in the long run. Gives
    /// how many bytes they take.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn settle(&self) -> Result<u64, RocksError> {
        self.db.flush()?;
        for column in Column::ALL {
            self.db.compact(column);
        }
        self.db.live_bytes()
    }

    /// Reads the rows that a hit on one of the puts needs; the first has the number 1. Gives how
    /// many bytes they have, none if there is no such put.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn read(&self, put: u64) -> Result<usize, RocksError> {
        let (digest, key) = names(put);
        let mut bytes = 0;
        for (column, row) in [(Column::Entries, key.as_bytes()), (Column::Blobs, digest.as_bytes())]
        {
            match self.db.read(column, row, Tier::Disk, <[u8]>::len)? {
                Read::Row(length) => bytes += length,
                Read::Absent | Read::WouldBlock => return Ok(0),
            }
        }
        Ok(bytes)
    }

    fn put(&self, batch: &mut Batch, content: &[u8]) {
        let db = &self.db;
        let (digest, key) = names(self.puts);
        let entry = EntryRecord {
            scope: scope(),
            task: format!("put {}", self.puts),
            cache_version: "1.0".to_owned(),
            signature: digest,
            outputs: vec![OutputRecord {
                name: "o0".to_owned(),
                literal_type: "bytes".to_owned(),
                digest,
                bytes: content.len() as u64,
            }],
            provenance: Provenance {
                writer_uid: 0,
                writer_pid: Some(1),
                program: Some("worker".to_owned()),
                host: Some("host".to_owned()),
                created_at_ms: self.puts,
                run: RunClaim::default(),
            },
        };
        let details = Details {
            apart: false,
            interface: InterfaceText {
                inputs: Vec::new(),
                outputs: vec![("o0".to_owned(), "bytes".to_owned())],
            },
            inputs: Vec::new(),
        };
        let derived = Derived::of(&key, &entry, Some(&details));
        batch.put(db, Column::Refs, &ref_key(&digest, &key), &ref_value(true));
        let blob = BlobRecord::Whole(content).encode();
        batch.put(db, Column::Blobs, digest.as_bytes(), &blob);
        batch.put(db, Column::Entries, key.as_bytes(), &entry.encode_with(&details));
        batch.put(db, Column::Tasks, &derived.task_key, &derived.task);
    }
}

/// The digest of a put's content and its key, as far as their rows are concerned.
fn names(put: u64) -> (Digest, Key) {
    let digest = Digest::of(&put.to_le_bytes());
    (digest, Key::from_bytes(*Digest::of(digest.as_bytes()).as_bytes()))
}

fn scope() -> Scope {
    Scope::new("project", "development")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::{Checksum, Compression};

    #[test]
    fn each_put_has_the_rows_that_a_store_writes() {
        let folder = tempfile::tempdir().unwrap();
        let mut bare = BareRows::open(folder.path(), 1 << 20, Packing::default()).unwrap();
        bare.write(&[Bytes::from_static(b"one"), Bytes::from_static(b"two")]).unwrap();
        let count = |column| {
            let mut rows = bare.db.rows(column, &[], None);
            rows.first();
            let mut count = 0;
            while rows.row().unwrap().is_some() {
                count += 1;
                rows.forward();
            }
            count
        };
        for column in [Column::Entries, Column::Tasks, Column::Blobs, Column::Refs] {
            assert_eq!(count(column), 2, "{column:?}");
        }
        assert_eq!(count(Column::Meta), 3);
        let mut entries = bare.db.rows(Column::Entries, &[], None);
        entries.first();
        let (key, value) = entries.row().unwrap().unwrap();
        let entry = EntryRecord::decode(value).unwrap();
        let key = Key::from_bytes(key.try_into().unwrap());
        let row = entry.task_key(&key);
        let mut tasks = bare.db.rows(Column::Tasks, &row, None);
        tasks.first();
        assert_eq!(tasks.row().unwrap().unwrap().0, row);
    }
    #[test]
    fn rows_are_read_again_however_they_are_packed() {
        let folder = tempfile::tempdir().unwrap();
        let content = [Bytes::from(vec![7; 4096])];
        let other = Packing {
            block_bytes: 1 << 14,
            checksum: Checksum::Xxh3,
            rows: Compression::Zstd,
            content: Compression::None,
        };
        let mut bare = BareRows::open(folder.path(), 1 << 20, other).unwrap();
        bare.write(&content).unwrap();
        let unpacked = bare.settle().unwrap();
        assert!(bare.read(1).unwrap() > 4096);
        assert_eq!(bare.read(2).unwrap(), 0);
        drop(bare);
        let bare = BareRows::open(folder.path(), 1 << 20, Packing::default()).unwrap();
        assert!(bare.read(1).unwrap() > 4096);
        // What is written anew from now on is packed in the other way.
        assert!(unpacked > 4096);
    }
}
