//! Makes the mutations of a group, one after the other, on an overlay; [`crate::seal`] turns the
//! result into one batch.
//!
//! **Invariants.** Each mutation sees what those before it in the group have done, so the first
//! put of a key wins inside a group as it does between groups. Nobody is answered before the batch
//! is written.

use std::sync::PoisonError;

use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{Key, PutOutcome};

use crate::error::StoreError;
use crate::mutation::{BlobFault, Burial, Done, Mutation, NewEntry, Replace};
use crate::overlay::{GraveChange, Overlay, Standing, StoredBlob};
use crate::record::{EntryRecord, Grave, OutputRecord, TaskRecord};
use crate::rocks::Batch;
use crate::schema::{Column, chunk_key, loose_key, note_key};
use crate::store::Shared;

/// Is called with what became of the batch.
pub(crate) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Bytes of content that have been removed and still take space in files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Freed {
    /// In `chunks`; counted as if all were full.
    pub(crate) chunk_bytes: u64,
    /// In `blobs`.
    pub(crate) whole_bytes: u64,
}

/// A group in the making.
pub(crate) struct Group<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) overlay: Overlay<'a>,
    pub(crate) batch: Batch,
    pub(crate) replies: Vec<Reply>,
    /// The highest storage id that the batch names.
    pub(crate) storage_max: Option<u64>,
    /// What the batch removes.
    pub(crate) freed: Freed,
}

impl<'a> Group<'a> {
    pub(crate) fn new(shared: &'a Shared, bytes: usize) -> Self {
        let counters = *shared.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            shared,
            overlay: Overlay::new(&shared.db, counters),
            batch: Batch::new(bytes),
            replies: Vec::new(),
            storage_max: None,
            freed: Freed::default(),
        }
    }

    /// Makes one mutation.
    pub(crate) fn apply(&mut self, mutation: Mutation) {
        let db = &self.shared.db;
        match mutation {
            Mutation::Put { entry, done } => {
                let outcome = self.put(*entry);
                self.answer(done, outcome);
            }
            Mutation::Remove { keys, grave, done } => {
                let outcome = self.remove(&keys, grave);
                self.answer(done, outcome);
            }
            Mutation::Bury(burial) => {
                if let Err(error) = self.bury(&burial) {
                    tracing::warn!(key = %burial.key, %error, "a damaged entry stays for now");
                }
            }
            Mutation::Chunk { storage, index, content, reserve, failure } => {
                self.batch.put(db, Column::Chunks, &chunk_key(storage, index), &content);
                if let Some(chunks) = reserve {
                    self.loose(storage, chunks);
                }
                self.replies.push(Box::new(move |result| {
                    if let Err(error) = result {
                        failure.set(error);
                    }
                }));
            }
            Mutation::Reap { storage, chunks } => {
                for index in 0..chunks {
                    self.batch.delete(db, Column::Chunks, &chunk_key(storage, index));
                }
                self.batch.delete(db, Column::Meta, &loose_key(storage));
                self.shared.hot.forget(storage, chunks);
                self.freed.chunk_bytes += u64::from(chunks) * u64::from(CHUNK_BYTES);
            }
            Mutation::Note { name, value, done } => {
                self.batch.put(db, Column::Meta, &note_key(&name), &value);
                self.answer(done, Ok(()));
            }
            Mutation::Barrier { done } => self.answer(done, Ok(())),
        }
    }

    /// Remembers to answer, when the batch is written.
    fn answer<T: Send + 'static>(&mut self, done: Done<T>, outcome: Result<T, StoreError>) {
        self.replies.push(Box::new(move |written| done(written.and(outcome))));
    }

    /// Writes that no blob owns this storage.
    pub(crate) fn loose(&mut self, storage: u64, chunks: u32) {
        let db = &self.shared.db;
        self.batch.put(db, Column::Meta, &loose_key(storage), &chunks.to_le_bytes());
        self.storage_max = self.storage_max.max(Some(storage));
    }

    fn put(&mut self, new: NewEntry) -> Result<PutOutcome, StoreError> {
        let NewEntry { key, identity, interface, outputs, provenance, replace } = new;
        let standing = self.overlay.load_entry(&key)?;
        if let Standing::Present(standing) = &standing.now {
            let stays = match replace {
                Replace::Never => true,
                Replace::Always => false,
                Replace::IfCreatedBefore(ms) => standing.provenance.created_at_ms >= ms,
            };
            if stays {
                return Ok(PutOutcome::Exists(standing.provenance.clone()));
            }
        }
        for (_, _, content) in &outputs {
            content.check()?;
            self.overlay.load_blob(content)?;
        }
        self.overlay.load_grave(&key)?;
        self.overlay.load_near(&key, Some(&identity))?;

        // From here on nothing can fail.
        let (mut records, mut contents) = (Vec::new(), Vec::new());
        for (name, literal_type, content) in outputs {
            let (digest, bytes) = (content.digest(), content.bytes());
            records.push(OutputRecord { name, literal_type, digest, bytes });
            contents.push(content);
        }
        let task = TaskRecord {
            created_at_ms: provenance.created_at_ms,
            compute_ns: provenance.run.compute_ns,
            writer_uid: provenance.writer_uid,
            outputs: u32::try_from(records.len()).unwrap_or(u32::MAX),
            bytes: records.iter().map(|output| output.bytes).sum(),
            interface,
            inputs: identity.inputs,
        };
        let entry = EntryRecord {
            scope: identity.scope,
            task: identity.task,
            cache_version: identity.cache_version,
            signature: identity.signature,
            outputs: records,
            provenance,
        };
        self.overlay.set_entry(&key, entry, task);
        for content in contents {
            self.overlay.supply(content);
        }
        self.overlay.set_grave(&key, GraveChange::Clear);
        self.overlay.counters.puts += 1;
        Ok(PutOutcome::Populated)
    }

    fn remove(&mut self, keys: &[Key], grave: Grave) -> Result<u64, StoreError> {
        for key in keys {
            self.overlay.load_entry(key)?;
            self.overlay.load_near(key, None)?;
            self.overlay.load_grave(key)?;
        }
        let mut removed = 0;
        for key in keys {
            if self.overlay.clear_entry(key) {
                self.overlay.set_grave(key, GraveChange::Dig(grave));
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes a damaged entry, unless it has been replaced since; and the damaged content, unless
    /// that has been replaced since.
    fn bury(&mut self, burial: &Burial) -> Result<(), StoreError> {
        let Burial { key, row, blob, cause, at_ms } = burial;
        let standing = self.overlay.load_entry(key)?;
        if standing.changed || standing.row != *row || matches!(standing.now, Standing::Absent) {
            return Ok(());
        }
        self.overlay.load_near(key, None)?;
        self.overlay.load_grave(key)?;
        let discard = match blob {
            Some(fault) => self.is_damaged(fault)?,
            None => false,
        };
        self.overlay.clear_entry(key);
        let grave = Grave { cause: *cause, at_ms: *at_ms, by_uid: None };
        self.overlay.set_grave(key, GraveChange::Dig(grave));
        if discard && let Some(fault) = blob {
            self.overlay.load_blob_by_digest(&fault.digest)?.discard = true;
        }
        Ok(())
    }

    /// Whether a blob is still as damaged as a reader saw it.
    fn is_damaged(&mut self, fault: &BlobFault) -> Result<bool, StoreError> {
        let blob = self.overlay.load_blob_by_digest(&fault.digest)?;
        Ok(blob.new.is_none()
            && match blob.stored {
                StoredBlob::Whole => false,
                StoredBlob::Chunked { storage, .. } => fault.storage == Some(storage),
                StoredBlob::Absent | StoredBlob::Dropped | StoredBlob::Unreadable => true,
            })
    }
}
