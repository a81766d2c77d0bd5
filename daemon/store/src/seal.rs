//! Turns what a group has changed into one batch.
//!
//! **Invariants.** A blob is removed only if no reference to it remains, in the overlay or in the
//! database; if the references cannot be read, it stays. The counters go into the batch with what
//! they count.

use std::collections::HashMap;

use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{Digest, Key, wire};

use crate::group::{Freed, Group, Reply};
use crate::limits::{STORAGE_IDS_BLOCK, WHOLE_BYTES_MAX};
use crate::near;
use crate::overlay::{
    GraveChange, PendingBlob, PendingEntry, PendingGrave, PendingRefs, Standing, StoredBlob,
    read_blob,
};
use crate::record::{BlobRecord, ChunkedRecord, Counters};
use crate::rocks::{Batch, Database, Reads, RocksError};
use crate::schema::{
    Column, META_COUNTERS, META_NEXT_STORAGE, chunk_key, loose_key, parse_ref_key, prefix_end,
    ref_key, task_key,
};
use crate::upload::{LooseStorage, Prepared, PreparedContent};

/// A group ready to be written.
pub(crate) struct Sealed {
    pub(crate) batch: Batch,
    pub(crate) counters: Counters,
    pub(crate) replies: Vec<Reply>,
    /// Keys whose entries are replaced or removed.
    pub(crate) replaced: Vec<Key>,
    /// Storages that belong to a blob once the batch is written.
    pub(crate) adopted: Vec<LooseStorage>,
    /// Storages, and their numbers of chunks, that belong to nobody once the batch is written.
    pub(crate) doomed: Vec<(u64, u32)>,
    pub(crate) freed: Freed,
    /// No storage id from this on has been used.
    pub(crate) reserved: u64,
}

/// The parts of a sealed group that grow while blobs are written.
#[derive(Default)]
struct Storages {
    adopted: Vec<LooseStorage>,
    doomed: Vec<(u64, u32)>,
}

impl Group<'_> {
    /// Ends the group. `reserved`: the bound of storage ids that is on disk.
    pub(crate) fn seal(mut self, mut reserved: u64) -> Sealed {
        let entries = std::mem::take(&mut self.overlay.entries);
        let graves = std::mem::take(&mut self.overlay.graves);
        let refs = std::mem::take(&mut self.overlay.refs);
        let storages = self.seal_blobs(&refs);
        for (digest, refs) in refs {
            self.seal_refs(&digest, &refs);
        }
        let mut replaced = Vec::new();
        for (key, entry) in entries {
            self.seal_entry(&key, &entry);
            if entry.changed && entry.stored {
                replaced.push(key);
            }
        }
        for (key, grave) in graves {
            self.seal_grave(&key, &grave);
        }
        let db = &self.shared.db;
        let counters = self.overlay.counters;
        if counters != self.shared.counters() {
            self.batch.put(db, Column::Meta, META_COUNTERS, &wire::encode(&counters));
        }
        if let Some(highest) = self.storage_max
            && highest >= reserved
        {
            reserved = highest + STORAGE_IDS_BLOCK;
            self.batch.put(db, Column::Meta, META_NEXT_STORAGE, &reserved.to_le_bytes());
        }
        Sealed {
            batch: self.batch,
            counters,
            replies: self.replies,
            replaced,
            adopted: storages.adopted,
            doomed: storages.doomed,
            freed: self.freed,
            reserved,
        }
    }

    fn seal_entry(&mut self, key: &Key, entry: &PendingEntry) {
        if !entry.changed {
            return;
        }
        let db = &self.shared.db;
        for row in &entry.stored_near {
            self.batch.delete(db, Column::Near, row);
        }
        if let (Standing::Present(record), Some(task)) = (&entry.now, &entry.task) {
            let row = task_key(
                &record.scope,
                &record.task,
                &record.cache_version,
                &record.signature,
                key,
            );
            self.batch.put(db, Column::Entries, key.as_bytes(), &wire::encode(&**record));
            self.batch.put(db, Column::Tasks, &row, &wire::encode(task));
            for near in near::rows(&row, task.created_at_ms, &task.inputs) {
                self.batch.put(db, Column::Near, &near, &[]);
            }
        } else {
            if entry.stored {
                self.batch.delete(db, Column::Entries, key.as_bytes());
            }
            if let Some(row) = &entry.stored_task {
                self.batch.delete(db, Column::Tasks, row);
            }
        }
    }

    fn seal_grave(&mut self, key: &Key, grave: &PendingGrave) {
        let db = &self.shared.db;
        match grave.change {
            GraveChange::Dig(grave) => {
                self.batch.put(db, Column::Graves, key.as_bytes(), &wire::encode(&grave));
            }
            GraveChange::Clear if grave.stored => {
                self.batch.delete(db, Column::Graves, key.as_bytes());
            }
            GraveChange::Clear | GraveChange::Keep => {}
        }
    }

    fn seal_refs(&mut self, digest: &Digest, refs: &PendingRefs) {
        let db = &self.shared.db;
        for (key, refers) in &refs.keys {
            let row = ref_key(digest, key);
            if *refers {
                self.batch.put(db, Column::Refs, &row, &[]);
            } else {
                self.batch.delete(db, Column::Refs, &row);
            }
        }
    }

    fn seal_blobs(&mut self, refs: &HashMap<Digest, PendingRefs>) -> Storages {
        let mut storages = Storages::default();
        let mut blobs = std::mem::take(&mut self.overlay.blobs);
        for (digest, refs) in refs {
            let live = !refs.lost || is_referenced(&self.shared.db, digest, refs);
            let pending = blobs.remove(digest);
            if live {
                if let Some(pending) = pending {
                    self.keep_blob(digest, refs.bytes, pending, &mut storages);
                }
            } else {
                let (stored, counted) = match pending {
                    Some(pending) => (pending.stored, pending.is_counted()),
                    None => (self.stored_blob(digest, refs.bytes), true),
                };
                if counted {
                    self.remove_blob(digest, refs.bytes, stored, &mut storages);
                }
            }
        }
        // What remains was looked at without a change of references: nothing is to be done.
        storages
    }

    /// What the database has of a blob, as far as removing it needs to know: where its chunks are.
    fn stored_blob(&self, digest: &Digest, bytes: u64) -> StoredBlob {
        if bytes <= WHOLE_BYTES_MAX as u64 {
            return StoredBlob::Whole;
        }
        read_blob(&self.shared.db, digest, |_| true).unwrap_or_else(|error| {
            tracing::error!(%digest, %error, "where the chunks of a blob are cannot be read");
            StoredBlob::Unreadable
        })
    }

    /// Writes a blob that is referred to, if there is anything to write.
    fn keep_blob(
        &mut self,
        digest: &Digest,
        bytes: u64,
        pending: PendingBlob,
        storages: &mut Storages,
    ) {
        let db = &self.shared.db;
        let (is_new, counted) = (pending.new.is_some(), pending.is_counted());
        if let Some(content) = pending.new {
            let row = self.write_content(content, storages);
            self.batch.put(db, Column::Blobs, digest.as_bytes(), &row);
            if !counted {
                self.overlay.counters.blobs += 1;
                self.overlay.counters.stored_bytes += bytes;
            }
        } else if pending.discard {
            let row = BlobRecord::Dropped { bytes }.encode();
            self.batch.put(db, Column::Blobs, digest.as_bytes(), &row);
        }
        if is_new || pending.discard {
            self.doom(pending.stored, storages);
        }
    }

    fn remove_blob(
        &mut self,
        digest: &Digest,
        bytes: u64,
        stored: StoredBlob,
        storages: &mut Storages,
    ) {
        self.batch.delete(&self.shared.db, Column::Blobs, digest.as_bytes());
        let counters = &mut self.overlay.counters;
        counters.blobs = counters.blobs.saturating_sub(1);
        counters.stored_bytes = counters.stored_bytes.saturating_sub(bytes);
        if stored == StoredBlob::Whole {
            self.freed.whole_bytes += bytes;
        }
        self.doom(stored, storages);
    }

    fn doom(&mut self, stored: StoredBlob, storages: &mut Storages) {
        if let StoredBlob::Chunked { storage, chunks } = stored {
            self.loose(storage, chunks);
            storages.doomed.push((storage, chunks));
        }
    }

    /// Writes content, if it is not on disk already, and gives its row.
    fn write_content(&mut self, content: Prepared, storages: &mut Storages) -> Vec<u8> {
        let bytes = content.bytes();
        let db = &self.shared.db;
        let storage = match content.content {
            PreparedContent::Memory(content) if content.len() <= WHOLE_BYTES_MAX => {
                return BlobRecord::Whole(&content).encode();
            }
            PreparedContent::Memory(content) => {
                let storage = self.shared.new_storage();
                for (chunk, index) in content.chunks(CHUNK_BYTES as usize).zip(0..) {
                    self.batch.put(db, Column::Chunks, &chunk_key(storage, index), chunk);
                }
                storage
            }
            PreparedContent::Stored(loose) => {
                let storage = loose.id;
                self.batch.delete(db, Column::Meta, &loose_key(storage));
                storages.adopted.push(loose);
                storage
            }
        };
        self.storage_max = self.storage_max.max(Some(storage));
        BlobRecord::Chunked(ChunkedRecord { bytes, storage, chaining: content.chaining }).encode()
    }
}

/// Whether any entry refers to a blob that at least one has stopped to refer to.
fn is_referenced(db: &Database, digest: &Digest, refs: &PendingRefs) -> bool {
    if refs.keys.values().any(|refers| *refers) {
        return true;
    }
    let Some(near) = refs.keys.keys().next() else { return true };
    find_ref(db, digest, refs, near).unwrap_or_else(|error| {
        tracing::error!(%digest, %error, "who refers to a blob cannot be read: it stays");
        true
    })
}

/// Looks for a reference that stays, both ways from one that goes. Beginning at the first
/// reference instead would meet the remains of all that have been removed before, each time.
fn find_ref(
    db: &Database,
    digest: &Digest,
    refs: &PendingRefs,
    near: &Key,
) -> Result<bool, RocksError> {
    let prefix = digest.as_bytes();
    let mut rows = db.rows(Column::Refs, prefix, prefix_end(prefix));
    let stays =
        |row: &[u8]| parse_ref_key(row).is_none_or(|(_, key)| !refs.keys.contains_key(&key));
    rows.seek(&ref_key(digest, near));
    while let Some((row, _)) = rows.row()? {
        if stays(row) {
            return Ok(true);
        }
        rows.forward();
    }
    rows.seek_back(&ref_key(digest, near));
    while let Some((row, _)) = rows.row()? {
        if stays(row) {
            return Ok(true);
        }
        rows.back();
    }
    Ok(false)
}
