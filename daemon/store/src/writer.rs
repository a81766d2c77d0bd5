//! The thread that makes every change.
//!
//! **Invariants.** A group is one batch. It is answered after the batch is in the log, and under
//! [`Durability::Power`] on the disk. A batch that fails changes nothing, and everybody in its
//! group is told; the writer goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::group::{Freed, Group, Reply};
use crate::limits::{BALANCE_INTERVAL, FREED_BYTES_FLUSH, SYNC_INTERVAL_MAX};
use crate::mutation::Mutation;
use crate::options::{Durability, Options};
use crate::queue::Taken;
use crate::schema::Column;
use crate::store::Shared;

/// What only the writer knows.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    durability: Durability,
    sync_interval: Duration,
    /// The bound of storage ids that is on disk.
    reserved: u64,
    /// What has been removed since removals were last flushed.
    freed: Freed,
    /// When the oldest change that is not synced was made.
    unsynced_since: Option<Instant>,
    /// Whether garbage in blob files is being collected, and when that was last decided.
    collecting: bool,
    balanced: Instant,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, options: &Options, reserved: u64) -> Self {
        Self {
            shared,
            durability: options.durability,
            sync_interval: options.sync_interval.min(SYNC_INTERVAL_MAX),
            reserved,
            freed: Freed::default(),
            unsynced_since: None,
            collecting: false,
            balanced: Instant::now(),
        }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _refuse = RefuseRest(Arc::clone(&self.shared));
        loop {
            let deadline = self.unsynced_since.map(|since| since + self.sync_interval);
            match self.shared.queue.take(deadline) {
                Taken::Group(mutations) => self.commit(mutations),
                Taken::Idle => {}
                Taken::Closed => break,
            }
            self.sync_if_due();
            self.balance_if_due();
        }
        let db = &self.shared.db;
        if let Err(error) = db.flush().and_then(|()| db.sync()) {
            tracing::error!(%error, "the store could not be put on the disk when it was closed");
        }
    }

    fn commit(&mut self, mutations: Vec<Mutation>) {
        let shared = Arc::clone(&self.shared);
        let bytes = mutations.iter().map(Mutation::bytes).sum();
        let mut group = Group::new(&shared, bytes);
        for mutation in mutations {
            group.apply(mutation);
        }
        let sealed = group.seal(self.reserved);
        let changes = !sealed.batch.is_empty();
        let sync = self.durability == Durability::Power;
        let written = if changes {
            shared.db.write(sealed.batch, sync).map_err(StoreError::from)
        } else {
            Ok(())
        };
        // Before anybody is told; also after a failure, which may have come too late.
        shared.hot_entries.forget(&sealed.replaced);
        match &written {
            Ok(()) => {
                *shared.counters.lock().unwrap_or_else(PoisonError::into_inner) = sealed.counters;
                self.reserved = sealed.reserved;
                for storage in sealed.adopted {
                    storage.set_owned();
                }
                for (storage, chunks) in sealed.doomed {
                    if shared.pins.doom(storage, chunks) {
                        shared.queue.force(Mutation::Reap { storage, chunks });
                    }
                }
                self.note_freed(sealed.freed);
                if changes && !sync {
                    self.unsynced_since.get_or_insert_with(Instant::now);
                }
            }
            Err(error) => tracing::error!(%error, "a group of changes could not be written"),
        }
        for reply in sealed.replies {
            answer(reply, written.clone());
        }
    }

    fn note_freed(&mut self, freed: Freed) {
        self.freed.chunk_bytes += freed.chunk_bytes;
        self.freed.whole_bytes += freed.whole_bytes;
        for (bytes, column) in [
            (&mut self.freed.chunk_bytes, Column::Chunks),
            (&mut self.freed.whole_bytes, Column::Blobs),
        ] {
            if *bytes >= FREED_BYTES_FLUSH {
                *bytes = 0;
                if let Err(error) = self.shared.db.begin_flush(column) {
                    tracing::warn!(%error, "removed content could not be flushed");
                }
            }
        }
    }

    fn balance_if_due(&mut self) {
        if self.balanced.elapsed() < BALANCE_INTERVAL {
            return;
        }
        self.balanced = Instant::now();
        match self.shared.db.balance_collection(self.collecting) {
            Ok(collecting) => self.collecting = collecting,
            Err(error) => tracing::warn!(%error, "garbage cannot be collected"),
        }
    }

    fn sync_if_due(&mut self) {
        let Some(since) = self.unsynced_since else { return };
        if since.elapsed() < self.sync_interval {
            return;
        }
        self.unsynced_since = None;
        if let Err(error) = self.shared.db.sync() {
            tracing::error!(%error, "the log could not be synced; trying again");
            self.unsynced_since = Some(Instant::now());
        }
    }
}

/// Answers, and survives a callback that panics.
fn answer(reply: Reply, written: Result<(), StoreError>) {
    if catch_unwind(AssertUnwindSafe(|| reply(written))).is_err() {
        tracing::error!("a callback of the store panicked");
    }
}

/// Whatever ends the writer, nobody waits for it in vain.
struct RefuseRest(Arc<Shared>);

impl Drop for RefuseRest {
    fn drop(&mut self) {
        for mutation in self.0.queue.abandon() {
            mutation.refuse(StoreError::Closed);
        }
    }
}
