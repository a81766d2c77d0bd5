//! The store as the mutations of a group have left it so far: the database, and over it what has
//! been read and changed since.
//!
//! **Invariants.** What may fail (`load_*`) only reads; what changes (`set_*`, `supply`) cannot
//! fail. So a mutation either happens here as a whole or not at all.

use std::collections::{HashMap, HashSet};

use memod_protocol::wire;
use memod_protocol::{CallIdentity, Digest, Key, Scope};

use crate::derived::{Derived, Details};
use crate::error::StoreError;
use crate::limits::WHOLE_BYTES_MAX;
use crate::near::{self, NearRow};
use crate::record::{BlobRecord, Counters, EntryRecord, Grave, Heat, TaskRecord};
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

/// Who is charged for an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) scope: Scope,
    pub(crate) uid: u32,
}

impl Owner {
    pub(crate) fn of(entry: &EntryRecord) -> Self {
        Self { scope: entry.scope.clone(), uid: entry.provenance.writer_uid }
    }
}

pub(crate) struct PendingEntry {
    pub(crate) now: Standing,
    /// The details of the new entry, if there is one.
    pub(crate) details: Option<Details>,
    pub(crate) changed: bool,
    /// Whether the database has a row.
    pub(crate) stored: bool,
    /// Digest of that row, if there is one that could be read.
    pub(crate) row: Option<Digest>,
    /// Key of the listing row in the database.
    pub(crate) stored_task: Option<Vec<u8>>,
    /// The rows of `near` in the database, as far as they are known.
    pub(crate) stored_near: Vec<NearRow>,
    /// Who is charged for what is in the database, if that is known, and for how many bytes of
    /// rows.
    pub(crate) stored_owner: Option<Owner>,
    pub(crate) stored_row_bytes: u64,
    stored_entry_bytes: usize,
    stored_details: Option<Details>,
    /// Whether the database has a row in `heat`, if that is known, and the row to write.
    pub(crate) has_heat: Option<bool>,
    pub(crate) heat: Option<Heat>,
}

impl PendingEntry {
    /// What the database has, nothing of it changed.
    fn found(now: Standing, row: Option<Digest>) -> Self {
        let stored_owner = match &now {
            Standing::Present(entry) => Some(Owner::of(entry)),
            _ => None,
        };
        let stored = !matches!(now, Standing::Absent);
        Self {
            now,
            details: None,
            changed: false,
            stored,
            row,
            stored_task: None,
            stored_near: Vec::new(),
            stored_owner,
            stored_row_bytes: 0,
            stored_entry_bytes: 0,
            stored_details: None,
            has_heat: None,
            heat: None,
        }
    }

    /// The rows that follow from the entry, if the database has one that is not about to change.
    pub(crate) fn stored_derived(&self, key: &Key) -> Option<Derived> {
        match &self.now {
            Standing::Present(entry) if self.stored && !self.changed => {
                Some(Derived::of(key, entry, self.stored_details.as_ref()))
            }
            _ => None,
        }
    }

    /// What a row of the database says.
    fn of_row(row: &[u8]) -> Self {
        let digest = Some(Digest::of(row));
        match EntryRecord::decode_whole(row) {
            Ok((entry, stored_details)) => Self {
                stored_entry_bytes: row.len(),
                stored_details,
                ..Self::found(Standing::Present(Box::new(entry)), digest)
            },
            Err(_) => Self::found(Standing::Unreadable, digest),
        }
    }
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
    /// The entry that brought it.
    pub(crate) brought_by: Option<Key>,
}

impl PendingBlob {
    fn found(stored: StoredBlob) -> Self {
        Self { stored, discard: false, new: None, brought_by: None }
    }

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
    /// Entries that pay for the blob, whoever else does.
    pub(crate) apart: HashSet<Key>,
    /// Length of the blob.
    pub(crate) bytes: u64,
    /// Whether any entry has stopped to refer to it.
    pub(crate) lost: bool,
    /// The only entry that refers to it in the database, if it is known that there is but one.
    pub(crate) alone: Option<Key>,
}

pub(crate) struct PendingGrave {
    /// Whether the database has a row.
    pub(crate) stored: bool,
    /// What it says, if it can be read.
    pub(crate) grave: Option<Grave>,
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
    /// Content that is there already, and is to be written nevertheless.
    pub(crate) spare: Vec<Prepared>,
    /// An entry is removed of which it is not known what it was.
    pub(crate) doubt: bool,
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
            spare: Vec::new(),
            doubt: false,
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

    /// The same, if the database has this row, and one in `heat` if that is known.
    pub(crate) fn know_entry(
        &mut self,
        key: &Key,
        row: &[u8],
        has_heat: Option<bool>,
    ) -> &PendingEntry {
        self.entries.entry(*key).or_insert_with(|| {
            let known = PendingEntry::of_row(row);
            PendingEntry { has_heat, ..known }
        })
    }

    /// Finds the other rows that the entry of a key, which has been loaded, has in the database:
    /// they have to go with it. They follow from the entry; if that cannot be read, from its
    /// listing row, which the identity names.
    pub(crate) fn load_rows(
        &mut self,
        key: &Key,
        identity: Option<&CallIdentity>,
    ) -> Result<(), StoreError> {
        let Some(pending) = self.entries.get_mut(key) else { return Ok(()) };
        if !pending.stored || pending.changed || !pending.stored_near.is_empty() {
            return Ok(());
        }
        if pending.has_heat.is_none() {
            let read = self.db.read(Column::Heat, key.as_bytes(), Tier::Disk, |_| ());
            pending.has_heat = Some(or_damage(read, Read::Row(()))? == Read::Row(()));
        }
        if let Standing::Present(entry) = &pending.now {
            let derived = Derived::of(key, entry, pending.stored_details.as_ref());
            pending.stored_row_bytes = derived.row_bytes(entry, pending.stored_entry_bytes);
            pending.stored_near = match (&pending.stored_details, identity) {
                // Rows from before format 3 may be there.
                (None, Some(call)) => {
                    let created_at_ms = entry.provenance.created_at_ms;
                    near::rows(&derived.task_key, created_at_ms, &call.inputs)
                }
                _ => derived.near,
            };
            pending.stored_task = Some(derived.task_key);
            return Ok(());
        }
        let Some(call) = identity else { return Ok(()) };
        let row = task_key(&call.scope, &call.task, &call.cache_version, &call.signature, key);
        let decode = |value: &[u8]| wire::decode_record::<TaskRecord>(value).ok();
        let read = self.db.read(Column::Tasks, &row, Tier::Disk, decode);
        if let Read::Row(Some(task)) = or_damage(read, Read::Absent)? {
            pending.stored_near = near::rows(&row, task.created_at_ms, &task.inputs);
        } else {
            tracing::warn!(%key, "a listing row cannot be read: rows of `near` may stay");
        }
        pending.stored_task = Some(row);
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
            self.blobs.insert(digest, PendingBlob::found(stored));
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
            self.blobs.insert(*digest, PendingBlob::found(stored));
        }
        Ok(self.blobs.get_mut(digest).expect("it has just been put there if it was not"))
    }

    /// Whether there is a grave.
    pub(crate) fn load_grave(&mut self, key: &Key) -> Result<(), StoreError> {
        if !self.graves.contains_key(key) {
            let decode = |row: &[u8]| Grave::decode(row).ok();
            let read = self.db.read(Column::Graves, key.as_bytes(), Tier::Disk, decode);
            let (stored, grave) = match or_damage(read, Read::Row(None))? {
                Read::Row(grave) => (true, grave),
                Read::Absent | Read::WouldBlock => (false, None),
            };
            self.graves.insert(*key, PendingGrave { stored, grave, change: GraveChange::Keep });
        }
        Ok(())
    }

    /// The grave of a key, which has been loaded, as the mutations so far have left it.
    pub(crate) fn grave(&self, key: &Key) -> Option<Grave> {
        let pending = self.graves.get(key)?;
        match pending.change {
            GraveChange::Keep => pending.grave,
            GraveChange::Dig(grave) => Some(grave),
            GraveChange::Clear => None,
        }
    }

    /// Replaces the entry of a key, which has been loaded, with a new one.
    pub(crate) fn set_entry(
        &mut self,
        key: &Key,
        entry: EntryRecord,
        details: Details,
        heat: Option<Heat>,
    ) {
        self.clear_entry(key);
        self.counters.entries += 1;
        self.counters.logical_bytes =
            self.counters.logical_bytes.saturating_add(entry.logical_bytes());
        for output in &entry.outputs {
            let refs = self.refs.entry(output.digest).or_default();
            refs.bytes = output.bytes;
            refs.keys.insert(*key, true);
            if details.apart {
                refs.apart.insert(*key);
            }
        }
        if let Some(pending) = self.entries.get_mut(key) {
            pending.now = Standing::Present(Box::new(entry));
            pending.details = Some(details);
            pending.heat = heat;
            pending.changed = true;
        }
    }

    /// Removes the entry of a key, which has been loaded. Whether there was one.
    pub(crate) fn clear_entry(&mut self, key: &Key) -> bool {
        let Some(pending) = self.entries.get_mut(key) else { return false };
        (pending.details, pending.heat) = (None, None);
        let counters = &mut self.counters;
        match std::mem::replace(&mut pending.now, Standing::Absent) {
            Standing::Absent => return false,
            Standing::Unreadable => {
                self.doubt = true;
                tracing::warn!(%key, "removing an entry that is unreadable");
            }
            Standing::Present(entry) => {
                counters.logical_bytes =
                    counters.logical_bytes.saturating_sub(entry.logical_bytes());
                for output in entry.outputs {
                    let refs = self.refs.entry(output.digest).or_default();
                    refs.bytes = output.bytes;
                    refs.keys.insert(*key, false);
                    refs.apart.remove(key);
                    refs.lost = true;
                }
            }
        }
        counters.entries = counters.entries.saturating_sub(1);
        pending.changed = true;
        true
    }

    /// Whether the content of a blob that has been loaded is there, or is about to be.
    pub(crate) fn has_content(&self, digest: &Digest) -> bool {
        self.blobs.get(digest).is_some_and(|pending| {
            pending.new.is_some()
                || !pending.discard
                    && matches!(pending.stored, StoredBlob::Whole | StoredBlob::Chunked { .. })
        })
    }

    /// Brings the content of a blob that has been loaded; what is there already is left, and the
    /// content forgotten. `apart`: it takes as long as if it were not there.
    pub(crate) fn supply(&mut self, by: &Key, content: Prepared, apart: bool) {
        let Some(pending) = self.blobs.get_mut(&content.digest()) else { return };
        let stored = !pending.discard
            && matches!(pending.stored, StoredBlob::Whole | StoredBlob::Chunked { .. });
        if !stored && pending.new.is_none() {
            pending.new = Some(content);
            pending.brought_by = Some(*by);
        } else if apart && content.memory_bytes() > WHOLE_BYTES_MAX {
            self.spare.push(content);
        }
    }

    /// Digs a grave, whether or not there is one.
    pub(crate) fn dig_grave(&mut self, key: &Key, grave: Grave) {
        let unknown = PendingGrave { stored: true, grave: None, change: GraveChange::Keep };
        self.graves.entry(*key).or_insert(unknown).change = GraveChange::Dig(grave);
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
    let read = db.read(Column::Entries, key.as_bytes(), Tier::Disk, PendingEntry::of_row);
    Ok(match or_damage(read.map(Some), None)? {
        Some(Read::Row(pending)) => pending,
        Some(Read::Absent | Read::WouldBlock) => PendingEntry::found(Standing::Absent, None),
        None => PendingEntry::found(Standing::Unreadable, None),
    })
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
