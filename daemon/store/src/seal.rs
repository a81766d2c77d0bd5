//! Turns what a group has changed into one batch.
//!
//! **Invariants.** The counters and the charges go into the batch with what they count.

use std::collections::HashMap;

use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{Digest, Key, wire};

use crate::derived::Derived;
use crate::group::{Freed, Group, Reply};
use crate::heat::Learned;
use crate::limits::{STORAGE_IDS_BLOCK, WHOLE_BYTES_MAX};
use crate::overlay::{
    GraveChange, Owner, PendingBlob, PendingEntry, PendingGrave, PendingRefs, Standing, StoredBlob,
    read_blob,
};
use crate::payers::{Blob, Heir};
use crate::record::{BlobRecord, ChunkedRecord, Counters, Usage};
use crate::rocks::Batch;
use crate::schema::{
    Account, Column, META_COUNTERS, META_DOUBT, META_NEXT_STORAGE, chunk_key, loose_key, usage_key,
};
use crate::upload::{LooseStorage, Prepared, PreparedContent};

/// A group ready to be written.
pub(crate) struct Sealed {
    pub(crate) batch: Batch,
    pub(crate) counters: Counters,
    /// What is charged to each account that the batch changes.
    pub(crate) usages: Vec<(Account, Usage)>,
    /// What the batch teaches of uses.
    pub(crate) learned: Vec<Learned>,
    pub(crate) replies: Vec<Reply>,
    /// Keys whose entries are new.
    pub(crate) fresh: Vec<Key>,
    /// Keys whose entries are replaced or removed.
    pub(crate) replaced: Vec<Key>,
    /// Storages that belong to a blob once the batch is written.
    pub(crate) adopted: Vec<LooseStorage>,
    /// Storages, and their numbers of chunks, that belong to nobody once the batch is written.
    pub(crate) doomed: Vec<(u64, u32)>,
    pub(crate) freed: Freed,
    /// No storage id from this on has been used.
    pub(crate) reserved: u64,
    /// Content of uploads that the batch writes, by storage, and storages that it removes.
    pub(crate) loose: Vec<(u64, u64)>,
    pub(crate) reaped: Vec<u64>,
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
        let mut storages = self.seal_blobs(refs, &entries);
        self.seal_spare(&mut storages);
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
        let usages = std::mem::take(&mut self.charges).settle(&self.shared.books, &self.shared.db);
        self.seal_usages(&usages);
        let db = &self.shared.db;
        self.count_evicted();
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
            usages,
            learned: self.learned,
            replies: self.replies,
            fresh: self.fresh,
            replaced,
            adopted: storages.adopted,
            doomed: storages.doomed,
            freed: self.freed,
            reserved,
            loose: self.room.loose,
            reaped: self.room.reaped,
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
        let counters = &mut self.overlay.counters;
        counters.row_bytes = counters.row_bytes.saturating_sub(entry.stored_row_bytes);
        if let Some(owner) = &entry.stored_owner {
            self.charges.drop_entry(owner, entry.stored_row_bytes);
        }
        if let (Standing::Present(record), Some(details)) = (&entry.now, &entry.details) {
            if let Some(heat) = &entry.heat {
                self.batch.put(db, Column::Heat, key.as_bytes(), &wire::encode(heat));
            }
            let row = record.encode_with(details);
            let derived = Derived::of(key, record, Some(details));
            self.batch.put(db, Column::Entries, key.as_bytes(), &row);
            self.batch.put(db, Column::Tasks, &derived.task_key, &derived.task);
            for near in &derived.near {
                self.batch.put(db, Column::Near, near, &[]);
            }
            let bytes = derived.row_bytes(record, row.len());
            self.overlay.counters.row_bytes += bytes;
            self.charges.add_entry(&Owner::of(record), bytes);
        } else {
            if entry.stored {
                self.batch.delete(db, Column::Entries, key.as_bytes());
            }
            if let Some(row) = &entry.stored_task {
                self.batch.delete(db, Column::Tasks, row);
            }
            if entry.has_heat == Some(true) {
                self.batch.delete(db, Column::Heat, key.as_bytes());
            }
        }
    }

    fn seal_usages(&mut self, usages: &[(Account, Usage)]) {
        let db = &self.shared.db;
        for (account, usage) in usages {
            let key = usage_key(account);
            if usage.is_nothing() {
                self.batch.delete(db, Column::Meta, &key);
            } else {
                self.batch.put(db, Column::Meta, &key, &wire::encode(usage));
            }
        }
        if self.overlay.doubt {
            self.batch.put(db, Column::Meta, META_DOUBT, &[]);
        }
    }

    /// Counts what a group frees that evicts. Such a group does nothing else.
    fn count_evicted(&mut self) {
        let before = self.shared.counters();
        let counters = &mut self.overlay.counters;
        if counters.evicted_entries > before.evicted_entries {
            let freed = before.total_bytes().saturating_sub(counters.total_bytes());
            counters.evicted_bytes = counters.evicted_bytes.saturating_add(freed);
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

    fn seal_blobs(
        &mut self,
        refs: HashMap<Digest, PendingRefs>,
        entries: &HashMap<Key, PendingEntry>,
    ) -> Storages {
        let mut storages = Storages::default();
        let mut blobs = std::mem::take(&mut self.overlay.blobs);
        for (digest, refs) in refs {
            let pending = blobs.remove(&digest);
            let is_new = pending.as_ref().is_some_and(|pending| !pending.is_counted());
            let brought_by = pending.as_ref().and_then(|pending| pending.brought_by);
            let heir = self.seal_refs(&digest, &refs, Blob { is_new, brought_by }, entries);
            match (heir, pending) {
                (Heir::Nobody, _) if is_new => {}
                (Heir::Nobody, Some(pending)) => {
                    self.remove_blob(&digest, refs.bytes, pending.stored, &mut storages);
                }
                (Heir::Nobody, None) => {
                    let stored = self.stored_blob(&digest, refs.bytes);
                    self.remove_blob(&digest, refs.bytes, stored, &mut storages);
                }
                (_, Some(pending)) => {
                    self.keep_blob(&digest, refs.bytes, pending, &mut storages);
                }
                (_, None) => {}
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

    /// Writes content that is there already, to be removed again.
    fn seal_spare(&mut self, storages: &mut Storages) {
        for content in std::mem::take(&mut self.overlay.spare) {
            let bytes = content.bytes();
            let PreparedContent::Memory(content) = content.content else { continue };
            let (storage, chunks) = self.write_chunks(&content);
            self.doom(StoredBlob::Chunked { storage, chunks }, bytes, storages);
        }
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
            self.doom(pending.stored, bytes, storages);
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
        self.doom(stored, bytes, storages);
    }

    fn doom(&mut self, stored: StoredBlob, bytes: u64, storages: &mut Storages) {
        if let StoredBlob::Chunked { storage, chunks } = stored {
            self.freed.chunk_bytes += bytes;
            self.loose(storage, chunks);
            storages.doomed.push((storage, chunks));
        }
    }

    /// Writes content, if it is not on disk already, and gives its row.
    fn write_content(&mut self, content: Prepared, storages: &mut Storages) -> Vec<u8> {
        let bytes = content.bytes();
        let storage = match content.content {
            PreparedContent::Memory(content) if content.len() <= WHOLE_BYTES_MAX => {
                return BlobRecord::Whole(&content).encode();
            }
            PreparedContent::Memory(content) => self.write_chunks(&content).0,
            PreparedContent::Stored(loose) => {
                let storage = loose.id;
                self.batch.delete(&self.shared.db, Column::Meta, &loose_key(storage));
                storages.adopted.push(loose);
                storage
            }
        };
        self.storage_max = self.storage_max.max(Some(storage));
        BlobRecord::Chunked(ChunkedRecord { bytes, storage, chaining: content.chaining }).encode()
    }

    /// Writes content into a storage of its own; gives that and its number of chunks.
    fn write_chunks(&mut self, content: &[u8]) -> (u64, u32) {
        let storage = self.shared.new_storage();
        let mut chunks = 0;
        for chunk in content.chunks(CHUNK_BYTES as usize) {
            let row = chunk_key(storage, chunks);
            self.batch.put(&self.shared.db, Column::Chunks, &row, chunk);
            chunks += 1;
        }
        (storage, chunks)
    }
}
