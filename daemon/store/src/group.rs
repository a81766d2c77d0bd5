//! Makes the mutations of a group, one after the other, on an overlay; [`crate::seal`] turns the
//! result into one batch.
//!
//! **Invariants.** Each mutation sees what those before it in the group have done, so the first
//! put of a key wins inside a group as it does between groups. Nobody is answered before the batch
//! is written.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use memod_protocol::{Digest, Key, Provenance, PutOutcome};

use crate::derived::Details;
use crate::error::StoreError;
use crate::failpoint::{Failpoint, reach};
use crate::heat::Learned;
use crate::mutation::{BlobFault, Burial, Done, Mutation, NewEntry};
use crate::overlay::{GraveChange, Overlay, Owner, Standing, StoredBlob};
use crate::policy::Worth;
use crate::record::{EntryRecord, Grave, GraveCause, Heat, Lost, OutputRecord};
use crate::rocks::Batch;
use crate::room::{Full, Need, Room};
use crate::row_bytes;
use crate::sample::Drawn;
use crate::schema::{Column, chunk_key, loose_key, note_key};
use crate::shared::Shared;
use crate::upload::PreparedContent;
use crate::usage::Charges;

/// Is called with what became of the batch.
pub(crate) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Bytes of content that have been removed and still take space in files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Freed {
    /// In `chunks`, but for what was uploaded and never stored.
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
    /// How the batch changes what is charged to scopes and users.
    pub(crate) charges: Charges,
    /// What the batch teaches of uses.
    pub(crate) learned: Vec<Learned>,
    /// Keys of the entries that the batch stores.
    pub(crate) fresh: Vec<Key>,
    /// What may still be stored.
    pub(crate) room: Room<'a>,
}

/// A mutation that has to wait until there is room for it.
pub(crate) struct Stuck {
    pub(crate) mutation: Mutation,
    pub(crate) full: Full,
}

/// What a put would do.
enum Put {
    Exists(Provenance),
    Store(Need),
}

impl<'a> Group<'a> {
    /// `bytes`: how long the batch may become; `loose_bytes`: content of uploads under way.
    pub(crate) fn new(shared: &'a Shared, bytes: usize, loose_bytes: u64) -> Self {
        let counters = *shared.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            shared,
            overlay: Overlay::new(&shared.db, counters),
            batch: Batch::new(bytes),
            replies: Vec::new(),
            storage_max: None,
            freed: Freed::default(),
            charges: Charges::default(),
            learned: Vec::new(),
            fresh: Vec::new(),
            room: Room::new(shared, counters.total_bytes(), loose_bytes),
        }
    }

    /// Makes one mutation, or gives it back if there is no room for it.
    pub(crate) fn apply(&mut self, mutation: Mutation) -> Option<Box<Stuck>> {
        let db = &self.shared.db;
        match mutation {
            Mutation::Put { entry, done } => return self.apply_put(entry, done),
            Mutation::Remove { keys, grave, done } => {
                let outcome = self.remove(&keys, grave);
                self.answer(done, outcome);
            }
            Mutation::Bury(burial) => {
                if let Err(error) = self.bury(&burial) {
                    tracing::warn!(key = %burial.key, %error, "a damaged entry stays for now");
                }
            }
            Mutation::Mend { mend, done } => {
                let outcome = self.mend(&mend);
                self.answer(done, outcome);
            }
            Mutation::Chunk { storage, index, content, reserve, is_promised, failure } => {
                let bytes = content.len() as u64;
                if let Some(full) = self.room.admit_chunk(storage, bytes, is_promised) {
                    let mutation =
                        Mutation::Chunk { storage, index, content, reserve, is_promised, failure };
                    return Some(Box::new(Stuck { mutation, full }));
                }
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
                reach(Failpoint::BeforeReap);
                for index in 0..chunks {
                    self.batch.delete(db, Column::Chunks, &chunk_key(storage, index));
                }
                self.batch.delete(db, Column::Meta, &loose_key(storage));
                self.shared.hot.forget(storage, chunks);
                self.room.note_reaped(storage);
            }
            Mutation::Regret(key) => {
                if let Err(error) = self.regret(&key) {
                    tracing::debug!(%key, %error, "a regret is not counted");
                }
            }
            Mutation::Note { name, value, done } => {
                self.batch.put(db, Column::Meta, &note_key(&name), &value);
                self.answer(done, Ok(()));
            }
            Mutation::Barrier { done } => self.answer(done, Ok(())),
            // These are the writer's own business.
            Mutation::Fold { .. }
            | Mutation::Shrink { .. }
            | Mutation::Renew { .. }
            | Mutation::Wake => {}
        }
        None
    }

    fn apply_put(&mut self, entry: Box<NewEntry>, done: Done<PutOutcome>) -> Option<Box<Stuck>> {
        let outcome = match self.judge_put(&entry) {
            Ok(Put::Exists(winner)) => Ok(PutOutcome::Exists(winner)),
            Ok(Put::Store(need)) => {
                let scope = entry.identity.scope.clone();
                let owner = Owner { scope, uid: entry.provenance.writer_uid };
                match self.room.admit(need, Some(&owner)) {
                    Ok(None) => {
                        self.put(*entry);
                        Ok(PutOutcome::Populated)
                    }
                    Ok(Some(full)) => {
                        let mutation = Mutation::Put { entry, done };
                        return Some(Box::new(Stuck { mutation, full }));
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        self.answer(done, outcome);
        None
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

    /// What a put comes to. Only reads.
    fn judge_put(&mut self, new: &NewEntry) -> Result<Put, StoreError> {
        let NewEntry { key, identity, outputs, replace, apart, .. } = new;
        let standing = self.overlay.load_entry(key)?;
        if let Standing::Present(standing) = &standing.now
            && !replace.replaces(standing.provenance.created_at_ms)
        {
            return Ok(Put::Exists(standing.provenance.clone()));
        }
        let rows = row_bytes::at_most(new);
        let mut need = Need { store: rows, account: rows };
        let mut seen = HashSet::new();
        for (_, _, content) in outputs {
            content.check()?;
            self.overlay.load_blob(content)?;
            let digest = content.digest();
            // To who is not to know what is there, nothing is.
            if seen.insert(digest) && (*apart || !self.overlay.has_content(&digest)) {
                need.account += content.bytes();
                // What was uploaded counts since it was.
                if matches!(content.content, PreparedContent::Memory(_)) {
                    need.store += content.bytes();
                }
            }
        }
        self.overlay.load_grave(key)?;
        self.overlay.load_rows(key, Some(identity))?;
        Ok(Put::Store(need))
    }

    /// Stores an entry that has been judged. Cannot fail.
    fn put(&mut self, new: NewEntry) {
        let NewEntry { key, identity, interface, outputs, provenance, replace: _, apart } = new;
        let (mut records, mut contents) = (Vec::new(), Vec::new());
        for (name, literal_type, content) in outputs {
            let (digest, bytes) = (content.digest(), content.bytes());
            records.push(OutputRecord { name, literal_type, digest, bytes });
            contents.push(content);
        }
        let details = Details { apart, interface, inputs: identity.inputs };
        let entry = EntryRecord {
            scope: identity.scope,
            task: identity.task,
            cache_version: identity.cache_version,
            signature: identity.signature,
            outputs: records,
            provenance,
        };
        let heat = self.learn_put(&key, &entry);
        self.overlay.set_entry(&key, entry, details, heat);
        self.fresh.push(key);
        for content in contents {
            self.overlay.supply(&key, content, apart);
        }
        self.overlay.set_grave(&key, GraveChange::Clear);
        self.overlay.counters.puts += 1;
    }

    /// Notes what a put teaches; if the entry had been evicted, its hits go on from there.
    fn learn_put(&mut self, key: &Key, entry: &EntryRecord) -> Option<Heat> {
        let worth = worth(entry);
        let Some(lost) = self.overlay.grave(key).and_then(|grave| grave.lost) else {
            self.learned.push(Learned::Put(worth));
            return None;
        };
        let now_ms = entry.provenance.created_at_ms;
        let age_ms = now_ms.saturating_sub(lost.last_use_ms);
        self.learned.push(Learned::PutAgain { hits: lost.hits, age_ms, worth });
        Some(Heat { last_use_ms: now_ms, hits: lost.hits.saturating_add(1) })
    }

    fn remove(&mut self, keys: &[Key], grave: Grave) -> Result<u64, StoreError> {
        for key in keys {
            self.overlay.load_entry(key)?;
            self.overlay.load_rows(key, None)?;
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

    /// Somebody asked for an entry that was evicted: counts it, the first time.
    fn regret(&mut self, key: &Key) -> Result<(), StoreError> {
        self.overlay.load_grave(key)?;
        let Some(grave) = self.overlay.grave(key) else { return Ok(()) };
        let Some(lost) = grave.lost.filter(|lost| !lost.regretted) else { return Ok(()) };
        let lost = Lost { regretted: true, ..lost };
        self.overlay.set_grave(key, GraveChange::Dig(Grave { lost: Some(lost), ..grave }));
        let counters = &mut self.overlay.counters;
        counters.regretted_entries += 1;
        counters.regret_ns = counters.regret_ns.saturating_add(lost.compute_ns.unwrap_or(0));
        Ok(())
    }

    /// Removes an entry to make room, if it is still the one that was drawn. Whether it was. A
    /// group that evicts does nothing else, and nothing else changes entries between drawing and
    /// evicting without telling [`crate::evict`]: so what was drawn need not be read again.
    pub(crate) fn evict(&mut self, drawn: &Drawn, now_ms: u64) -> Result<bool, StoreError> {
        let key = &drawn.key;
        let standing = self.overlay.know_entry(key, &drawn.row, drawn.has_heat);
        let Standing::Present(entry) = &standing.now else { return Ok(false) };
        if entry.provenance.created_at_ms != drawn.created_at_ms {
            return Ok(false);
        }
        let (compute_ns, worth) = (entry.provenance.run.compute_ns, worth(entry));
        let digests: Vec<Digest> = entry.outputs.iter().map(|output| output.digest).collect();
        self.overlay.load_rows(key, None)?;
        self.overlay.clear_entry(key);
        for digest in digests.iter().filter(|_| drawn.alone) {
            if let Some(refs) = self.overlay.refs.get_mut(digest) {
                refs.alone = Some(*key);
            }
        }
        let Heat { last_use_ms, hits } = drawn.uses(self.shared);
        let lost = Some(Lost { compute_ns, last_use_ms, hits, regretted: false });
        let grave = Grave { cause: GraveCause::Evicted, at_ms: now_ms, by_uid: None, lost };
        self.overlay.dig_grave(key, grave);
        self.learned.push(Learned::Evicted { hits, worth });
        let counters = &mut self.overlay.counters;
        counters.evicted_entries += 1;
        counters.last_evicted_age_ms = Some(now_ms.saturating_sub(last_use_ms));
        Ok(true)
    }

    /// Removes a damaged entry, unless it has been replaced since; and the damaged content, unless
    /// that has been replaced since. Whether it was removed.
    pub(crate) fn bury(&mut self, burial: &Burial) -> Result<bool, StoreError> {
        let Burial { key, row, blob, cause, at_ms } = burial;
        let standing = self.overlay.load_entry(key)?;
        if standing.changed || standing.row != *row || matches!(standing.now, Standing::Absent) {
            return Ok(false);
        }
        self.overlay.load_rows(key, None)?;
        self.overlay.load_grave(key)?;
        let discard = match blob {
            Some(fault) => self.is_damaged(fault)?,
            None => false,
        };
        self.overlay.clear_entry(key);
        let grave = Grave { cause: *cause, at_ms: *at_ms, by_uid: None, lost: None };
        self.overlay.set_grave(key, GraveChange::Dig(grave));
        if discard && let Some(fault) = blob {
            self.overlay.load_blob_by_digest(&fault.digest)?.discard = true;
        }
        Ok(true)
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

/// What an entry is worth by what it took to compute and how long its outputs are.
pub(crate) fn worth(entry: &EntryRecord) -> Worth {
    let cost = entry.provenance.run.compute_ns.map(Duration::from_nanos);
    Worth::new(cost, entry.logical_bytes())
}
