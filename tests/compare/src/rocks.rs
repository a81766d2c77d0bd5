//! RocksDB in this process, with a block cache that holds everything that is hot.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteOptions};

use crate::name::Name;
use crate::rival::{Durability, Found, Place, Rival};

const BLOCK_CACHE_BYTES: usize = 1 << 30;

/// A database.
pub(crate) struct Folder {
    database: Arc<DB>,
    durability: Durability,
}

impl Folder {
    /// Makes or opens it.
    pub(crate) fn open(folder: &Path, durability: Durability) -> Result<Self> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::None);
        options.set_block_based_table_factory(&blocks);
        let database = Arc::new(DB::open(&options, folder)?);
        Ok(Self { database, durability })
    }
}

impl Place for Folder {
    fn connect(&self) -> Result<Box<dyn Rival>> {
        let mut writing = WriteOptions::default();
        writing.set_sync(self.durability == Durability::Power);
        let database = Arc::clone(&self.database);
        Ok(Box::new(Caller { database, writing, name: Name::default() }))
    }

    fn settle(&self) -> Result<()> {
        Ok(self.database.flush()?)
    }
}

struct Caller {
    database: Arc<DB>,
    writing: WriteOptions,
    name: Name,
}

impl Rival for Caller {
    fn aim(&mut self, group: &str, number: u64) {
        self.name.set(group, number);
    }

    fn put(&mut self, content: &[u8]) -> Result<()> {
        Ok(self.database.put_opt(self.name.bytes(), content, &self.writing)?)
    }

    fn get(&mut self, expected: &[u8]) -> Result<Found> {
        let found = self.database.get_pinned(self.name.bytes())?;
        Ok(Found::compare(found.as_deref(), expected))
    }
}
