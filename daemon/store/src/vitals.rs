//! Vital signs of a store at work, for those who watch it.

use crate::disk;
use crate::error::StoreError;
use crate::shared::Shared;
use crate::store::Store;

/// Vital signs, as of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Changes that wait for the writer.
    pub queue_mutations: u64,
    /// For how many bytes they count.
    pub queue_bytes: u64,
    /// Bytes of the store's files.
    pub disk_used_bytes: u64,
    /// Free bytes of their file system; absent if it does not tell.
    pub disk_free_bytes: Option<u64>,
    /// Blocks in the database's memory, in bytes.
    pub block_cache_bytes: u64,
    /// Changes that are not in files yet, in bytes.
    pub memtable_bytes: u64,
    /// Files of rows, in bytes.
    pub table_bytes: u64,
    /// Files of content, in bytes.
    pub blob_bytes: u64,
    /// What is known to be garbage in them, in bytes.
    pub garbage_bytes: u64,
    /// About how much is to be compacted, in bytes.
    pub pending_bytes: u64,
    /// Compactions at work.
    pub compactions: u64,
    /// Flushes at work.
    pub flushes: u64,
    /// 1 while writing has to wait for the database.
    pub write_stopped: u64,
    /// Errors in the database's background work since it was opened.
    pub background_errors: u64,
}

impl Store {
    /// Its vital signs. Reads the folder's files' lengths, and nothing in them.
    ///
    /// # Errors
    /// If the database does not tell.
    pub fn vitals(&self) -> Result<Vitals, StoreError> {
        let shared: &Shared = self.shared();
        let (mutations, bytes) = shared.queue.depth();
        let mut vitals = shared.db.vitals()?;
        vitals.queue_mutations = mutations as u64;
        vitals.queue_bytes = bytes as u64;
        vitals.disk_used_bytes = self.disk_used_bytes();
        vitals.disk_free_bytes = disk::FileSystem::under(self.path()).map(|of| of.free_bytes);
        Ok(vitals)
    }
}
