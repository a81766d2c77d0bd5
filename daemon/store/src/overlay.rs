//! The store as the mutations of a group have left it so far: the database, and over it what has
//! been read and changed since.
//!
//! **Invariants.** What may fail (`load_*`) only reads; what changes (`set_*`, `supply`) cannot
//! fail. So a mutation either happens here as a whole or not at all.

use std::collections::HashMap;

use memod_protocol::wire;
use memod_protocol::{CallIdentity, Digest, Key};

use crate::error::StoreError;
use crate::near::{self, NearRow};
use crate::record::{BlobRecord, Counters, EntryRecord, Grave, TaskRecord};
use crate::rocks::{Database, Read, Reads, RocksError, Tier, is_damage};
use crate::schema::{Column, task_key};
use crate::upload::{Prepared, PreparedContent};

/// The entry of a key.
pub(crate) enum Standing {
    Absent,
    Present(Box<EntryRecord>),
    /// There is a row, which cannot be read.
    Unreadable,
}

pub(crate) struct PendingEntry {
    pub(crate) now: Standing,
    /// The listing row to write, if there is a new entry.
    pub(crate) task: Option<TaskRecord>,
    pub(crate) changed: bool,
    /// Whether the database has a row.
    pub(crate) stored: bool,
    /// Digest of that row, if there is one that could be read.
    pub(crate) row: Option<Digest>,
    /// Key of the listing row in the database.
    pub(crate) stored_task: Option<Vec<u8>>,
    /// The rows of `near` in the database, as far as they are known.
    pub(crate) stored_near: Vec<NearRow>,
}

/// What the database has of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredBlob {
    Absent,
    Whole,
    Chunked {
        storage: u64,
        chunks: u32,
    },
    Dropped,
    /// There is a row, which cannot be read or does not verify.
    Unreadable,
}

pub(crate) struct PendingBlob {
    pub(crate) stored: StoredBlob,
    /// What is stored is damaged.
    pub(crate) discard: bool,
    /// Content to write.
    pub(crate) new: Option<Prepared>,
}

impl PendingBlob {
    /// Whether the counters include it: it has a row, or has lost it.
    pub(crate) fn is_counted(&self) -> bool {
        self.stored != StoredBlob::Absent || self.discard
    }
}

/// References to a blob that have changed.
#[derive(Default)]
pub(crate) struct PendingRefs {
    /// By entry: whether it refers to the blob now.
    pub(crate) keys: HashMap<Key, bool>,
    /// Length of the blob.
    pub(crate) bytes: u64,
    /// Whether any entry has stopped to refer to it.
    pub(crate) lost: bool,
}

pub(crate) struct PendingGrave {
    /// Whether the database has a row.
    pub(crate) stored: bool,
    pub(crate) change: GraveChange,
}

/// What is to become of a grave.
#[derive(Clone, Copy)]
pub(crate) enum GraveChange {
    Keep,
    Dig(Grave),
    Clear,
}

pub(crate) struct Overlay<'a> {
    pub(crate) db: &'a Database,
    pub(crate) entries: HashMap<Key, PendingEntry>,
    pub(crate) blobs: HashMap<Digest, PendingBlob>,
    pub(crate) refs: HashMap<Digest, PendingRefs>,
    pub(crate) graves: HashMap<Key, PendingGrave>,
    pub(crate) counters: Counters,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(db: &'a Database, counters: Counters) -> Self {
        Self {
            db,
            entries: HashMap::new(),
            blobs: HashMap::new(),
            refs: HashMap::new(),
            graves: HashMap::new(),
            counters,
        }
    }

    /// The entry of a key.
    pub(crate) fn load_entry(&mut self, key: &Key) -> Result<&PendingEntry, StoreError> {
        if !self.entries.contains_key(key) {
            let pending = read_entry(self.db, key)?;
            self.entries.insert(*key, pending);
        }
        Ok(self.entries.get(key).expect("it has just been put there if it was not"))
    }

    /// Finds the rows of `near` that the entry of a key, which has been loaded, has in the
    /// database: they have to go with it. They follow from its listing row, which the identity
    /// names if the entry itself cannot be read.
    pub(crate) fn load_near(
        &mut self,
        key: &Key,
        identity: Option<&CallIdentity>,
    ) -> Result<(), StoreError> {
        let Some(pending) = self.entries.get_mut(key) else { return Ok(()) };
        if !pending.stored || pending.changed || !pending.stored_near.is_empty() {
            return Ok(());
        }
        if pending.stored_task.is_none() {
            pending.stored_task = identity.map(|call| {
                task_key(&call.scope, &call.task, &call.cache_version, &call.signature, key)
            });
        }
        let Some(row) = &pending.stored_task else { return Ok(()) };
        let read = self.db.read(Column::Tasks, row, Tier::Disk, wire::decode_record::<TaskRecord>);
        if let Read::Row(Ok(task)) = or_damage(read, Read::Absent)? {
            pending.stored_near = near::rows(row, task.created_at_ms, &task.inputs);
        } else {
            tracing::warn!(%key, "a listing row cannot be read: rows of `near` may stay");
        }
        Ok(())
    }

    /// What the database has of the blob that is to be put. Small content is compared, so that
    /// putting it again mends it.
    pub(crate) fn load_blob(&mut self, wanted: &Prepared) -> Result<(), StoreError> {
        let digest = wanted.digest();
        if !self.blobs.contains_key(&digest) {
            let stored = read_blob(self.db, &digest, |content| match &wanted.content {
                PreparedContent::Memory(wanted) => wanted == content,
                PreparedContent::Stored(_) => false,
            })?;
            self.blobs.insert(digest, PendingBlob { stored, discard: false, new: None });
        }
        Ok(())
    }

    /// As [`Overlay::load_blob`], for a blob whose content is not at hand: it is hashed if small.
    pub(crate) fn load_blob_by_digest(
        &mut self,
        digest: &Digest,
    ) -> Result<&mut PendingBlob, StoreError> {
        if !self.blobs.contains_key(digest) {
            let stored = read_blob(self.db, digest, |content| Digest::of(content) == *digest)?;
            self.blobs.insert(*digest, PendingBlob { stored, discard: false, new: None });
        }
        Ok(self.blobs.get_mut(digest).expect("it has just been put there if it was not"))
    }

    /// Whether there is a grave.
    pub(crate) fn load_grave(&mut self, key: &Key) -> Result<(), StoreError> {
        if !self.graves.contains_key(key) {
            let read = self.db.read(Column::Graves, key.as_bytes(), Tier::Disk, |_| ());
            let stored = or_damage(read.map(|read| read != Read::Absent), true)?;
            // What the grave says is not wanted: it is replaced or removed as a whole.
            self.graves.insert(*key, PendingGrave { stored, change: GraveChange::Keep });
        }
        Ok(())
    }

    /// Replaces the entry of a key, which has been loaded, with a new one.
    pub(crate) fn set_entry(&mut self, key: &Key, entry: EntryRecord, task: TaskRecord) {
        self.clear_entry(key);
        self.counters.entries += 1;
        self.counters.logical_bytes =
            self.counters.logical_bytes.saturating_add(entry.logical_bytes());
        for output in &entry.outputs {
            let refs = self.refs.entry(output.digest).or_default();
            refs.bytes = output.bytes;
            refs.keys.insert(*key, true);
        }
        if let Some(pending) = self.entries.get_mut(key) {
            pending.now = Standing::Present(Box::new(entry));
            pending.task = Some(task);
            pending.changed = true;
        }
    }

    /// Removes the entry of a key, which has been loaded. Whether there was one.
    pub(crate) fn clear_entry(&mut self, key: &Key) -> bool {
        let Some(pending) = self.entries.get_mut(key) else { return false };
        pending.task = None;
        let counters = &mut self.counters;
        match std::mem::replace(&mut pending.now, Standing::Absent) {
            Standing::Absent => return false,
            Standing::Unreadable => tracing::warn!(%key, "removing an entry that is unreadable"),
            Standing::Present(entry) => {
                counters.logical_bytes =
                    counters.logical_bytes.saturating_sub(entry.logical_bytes());
                for output in entry.outputs {
                    let refs = self.refs.entry(output.digest).or_default();
                    refs.bytes = output.bytes;
                    refs.keys.insert(*key, false);
                    refs.lost = true;
                }
            }
        }
        counters.entries = counters.entries.saturating_sub(1);
        pending.changed = true;
        true
    }

    /// Brings the content of a blob that has been loaded; what is there already is left, and the
    /// content forgotten.
    pub(crate) fn supply(&mut self, content: Prepared) {
        let Some(pending) = self.blobs.get_mut(&content.digest()) else { return };
        let stored = !pending.discard
            && matches!(pending.stored, StoredBlob::Whole | StoredBlob::Chunked { .. });
        if !stored && pending.new.is_none() {
            pending.new = Some(content);
        }
    }

    /// Digs or removes a grave, which has been loaded.
    pub(crate) fn set_grave(&mut self, key: &Key, change: GraveChange) {
        if let Some(pending) = self.graves.get_mut(key) {
            pending.change = change;
        }
    }
}

/// The value, or, if what was to be read is damaged, a substitute.
fn or_damage<T>(read: Result<T, RocksError>, substitute: T) -> Result<T, StoreError> {
    match read {
        Ok(value) => Ok(value),
        Err(error) if is_damage(&error) => {
            tracing::error!(%error, "a row cannot be read");
            Ok(substitute)
        }
        Err(error) => Err(error.into()),
    }
}

fn read_entry(db: &Database, key: &Key) -> Result<PendingEntry, StoreError> {
    let decode = |row: &[u8]| (wire::decode_record::<EntryRecord>(row).ok(), Digest::of(row));
    let read = db.read(Column::Entries, key.as_bytes(), Tier::Disk, decode);
    let (now, row) = match or_damage(read.map(Some), None)? {
        Some(Read::Row((Some(entry), row))) => (Standing::Present(Box::new(entry)), Some(row)),
        Some(Read::Row((None, row))) => (Standing::Unreadable, Some(row)),
        Some(Read::Absent | Read::WouldBlock) => (Standing::Absent, None),
        None => (Standing::Unreadable, None),
    };
    let stored_task = match &now {
        Standing::Present(entry) => {
            Some(task_key(&entry.scope, &entry.task, &entry.cache_version, &entry.signature, key))
        }
        _ => None,
    };
    let stored = !matches!(now, Standing::Absent);
    let stored_near = Vec::new();
    Ok(PendingEntry { now, task: None, changed: false, stored, row, stored_task, stored_near })
}

/// What the database has of a blob; `verifies` is asked about content that stands in its row.
pub(crate) fn read_blob(
    db: &Database,
    digest: &Digest,
    verifies: impl FnOnce(&[u8]) -> bool,
) -> Result<StoredBlob, StoreError> {
    let decode = |row: &[u8]| match BlobRecord::decode(row) {
        Ok(BlobRecord::Whole(content)) if verifies(content) => StoredBlob::Whole,
        Ok(BlobRecord::Chunked(record)) if record.verifies(digest) => {
            StoredBlob::Chunked { storage: record.storage, chunks: record.chunk_count() }
        }
        Ok(BlobRecord::Dropped { .. }) => StoredBlob::Dropped,
        Ok(_) | Err(_) => StoredBlob::Unreadable,
    };
    let read = db.read(Column::Blobs, digest.as_bytes(), Tier::Disk, decode);
    Ok(match or_damage(read, Read::Row(StoredBlob::Unreadable))? {
        Read::Row(stored) => stored,
        Read::Absent | Read::WouldBlock => StoredBlob::Absent,
    })
}
