//! LMDB in this process. Values are read where they lie in the mapped file.

use std::path::Path;

use anyhow::Result;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};

use crate::name::Name;
use crate::rival::{Durability, Found, Place, Rival};

const MAP_BYTES: usize = 16 << 30;
const READERS_MAX: u32 = 256;

/// An environment with one database.
#[derive(Clone)]
pub(crate) struct Folder {
    environment: Env,
    database: Database<Bytes, Bytes>,
}

impl Folder {
    /// Makes or opens it.
    pub(crate) fn open(folder: &Path, durability: Durability) -> Result<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_readers(READERS_MAX);
        let flags = match durability {
            Durability::Process => EnvFlags::NO_SYNC,
            Durability::Power => EnvFlags::empty(),
        };
        // SAFETY: the folder is made for this run, nobody else writes to its files, and NO_SYNC
        // loses nothing as long as the machine lives.
        #[expect(unsafe_code, reason = "a mapped file changes if somebody else changes it")]
        let environment = unsafe { options.flags(flags).open(folder)? };
        let mut transaction = environment.write_txn()?;
        let database = environment.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Self { environment, database })
    }
}

impl Place for Folder {
    fn connect(&self) -> Result<Box<dyn Rival>> {
        Ok(Box::new(Caller { folder: self.clone(), name: Name::default() }))
    }
}

struct Caller {
    folder: Folder,
    name: Name,
}

impl Rival for Caller {
    fn aim(&mut self, group: &str, number: u64) {
        self.name.set(group, number);
    }

    fn put(&mut self, content: &[u8]) -> Result<()> {
        let mut transaction = self.folder.environment.write_txn()?;
        self.folder.database.put(&mut transaction, self.name.bytes(), content)?;
        transaction.commit()?;
        Ok(())
    }

    fn get(&mut self, expected: &[u8]) -> Result<Found> {
        let transaction = self.folder.environment.read_txn()?;
        let found = self.folder.database.get(&transaction, self.name.bytes())?;
        Ok(Found::compare(found, expected))
    }
}
