//! `SQLite` in this process, in WAL mode, with the file mapped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, params};

use crate::name::Name;
use crate::rival::{Durability, Found, Place, Rival};

const PATIENCE: Duration = Duration::from_secs(60);
const MAPPED_BYTES: i64 = 1 << 30;

/// A database file.
pub(crate) struct File {
    path: PathBuf,
    durability: Durability,
}

impl File {
    /// In this folder.
    pub(crate) fn new(folder: &Path, durability: Durability) -> Self {
        Self { path: folder.join("entries.sqlite"), durability }
    }
}

impl Place for File {
    fn connect(&self) -> Result<Box<dyn Rival>> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
        let synchronous = match self.durability {
            Durability::Process => "OFF",
            Durability::Power => "FULL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL)",
        )?;
        Ok(Box::new(Caller { connection, name: Name::default() }))
    }

    fn settle(&self) -> Result<()> {
        let connection = Connection::open(&self.path)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

struct Caller {
    connection: Connection,
    name: Name,
}

impl Rival for Caller {
    fn aim(&mut self, group: &str, number: u64) {
        self.name.set(group, number);
    }

    fn put(&mut self, content: &[u8]) -> Result<()> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT OR REPLACE INTO entries (key, value) VALUES (?1, ?2)")?;
        insert.execute(params![self.name.bytes(), content])?;
        Ok(())
    }

    fn get(&mut self, expected: &[u8]) -> Result<Found> {
        let mut select =
            self.connection.prepare_cached("SELECT value FROM entries WHERE key = ?1")?;
        let found = select.query_row(params![self.name.bytes()], |row| {
            Ok(Found::compare(Some(row.get_ref(0)?.as_blob()?), expected))
        });
        Ok(found.optional()?.unwrap_or(Found::Miss))
    }
}
