//! The rows of puts without the store around them: what they cost any daemon that writes such
//! rows, to compare benchmarks with.
//!
//! **Does not** read, check or hash anything, nor keep what a store has to keep: a folder with such
//! rows is no store.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::{Digest, InterfaceText, Key, Provenance, RunClaim, Scope, wire};

use crate::derived::{Derived, Details};
use crate::record::{BlobRecord, Counters, EntryRecord, OutputRecord, Usage, ref_value};
use crate::rocks::{Batch, Database, RocksError};
use crate::schema::{Account, Column, META_COUNTERS, ref_key, usage_key};

/// About what the rows of a small put have besides its content.
const ROWS_BYTES: usize = 1024;

/// A database, opened as a store opens it, and nothing more.
pub struct BareRows {
    db: Database,
    puts: u64,
}

impl BareRows {
    /// Makes a database in this folder.
    ///
    /// # Errors
    /// If the database cannot be made.
    pub fn make(folder: &Path, block_cache_bytes: u64) -> Result<Self, RocksError> {
        let db = Database::open(folder, false, block_cache_bytes, Duration::MAX)?;
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

    fn put(&self, batch: &mut Batch, content: &[u8]) {
        let db = &self.db;
        let digest = Digest::of(&self.puts.to_le_bytes());
        let key = Key::from_bytes(*Digest::of(digest.as_bytes()).as_bytes());
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

fn scope() -> Scope {
    Scope::new("project", "development")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocks::Reads;

    #[test]
    fn each_put_has_the_rows_that_a_store_writes() {
        let folder = tempfile::tempdir().unwrap();
        let mut bare = BareRows::make(folder.path(), 1 << 20).unwrap();
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
}
