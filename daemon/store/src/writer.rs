//! The thread that makes every change.
//!
//! **Invariants.** A group is one batch. It is answered after the batch is in the log, and under
//! [`Durability::Power`] on the disk. A batch that fails changes nothing, and everybody in its
//! group is told; the writer goes on.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::collect::Balance;
use crate::error::StoreError;
use crate::evict::Evictor;
use crate::failpoint::{Failpoint, reach};
use crate::group::{Freed, Group, Reply, Stuck};
use crate::halt;
use crate::limits::{
    FOLD_INTERVAL, FREED_BYTES_FLUSH, GATHER_MAX, ROOM_ATTEMPTS_MAX, SYNC_INTERVAL_MAX,
};
use crate::lock::Succeeded;
use crate::mutation::{Done, Mutation};
use crate::options::{Durability, Options};
use crate::queue::Taken;
use crate::schema::Column;
use crate::shared::Shared;

/// What only the writer knows.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    durability: Durability,
    sync_interval: Duration,
    /// How long to wait for a group to gather.
    gather: Duration,
    /// The bound of storage ids that is on disk.
    reserved: u64,
    /// What has been removed since removals were last flushed.
    freed: Freed,
    /// When the oldest change that is not synced was made.
    unsynced_since: Option<Instant>,
    balance: Balance,
    pub(crate) evictor: Evictor,
    pub(crate) loose: Loose,
}

/// What the writer does between two groups because it was asked to.
enum Own {
    Fold(Done<()>),
    Shrink(Done<u64>),
    Renew(Vec<Column>, Done<()>),
    MakeRoom(Box<Stuck>),
}

/// Content of uploads that no entry owns yet.
#[derive(Debug, Default)]
pub(crate) struct Loose {
    by_storage: HashMap<u64, u64>,
}

impl Loose {
    pub(crate) fn bytes(&self) -> u64 {
        self.by_storage.values().sum()
    }

    fn add(&mut self, written: Vec<(u64, u64)>) {
        for (storage, bytes) in written {
            *self.by_storage.entry(storage).or_default() += bytes;
        }
    }

    fn forget(&mut self, storages: impl IntoIterator<Item = u64>) {
        for storage in storages {
            self.by_storage.remove(&storage);
        }
    }
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, options: &Options, reserved: u64) -> Self {
        let evictor = Evictor::new(&shared.db);
        Self {
            evictor,
            loose: Loose::default(),
            shared,
            durability: options.durability,
            sync_interval: options.sync_interval.min(SYNC_INTERVAL_MAX),
            gather: Duration::ZERO,
            reserved,
            freed: Freed::default(),
            unsynced_since: None,
            balance: Balance::new(),
        }
    }

    /// The same, to be held while the writer changes.
    pub(crate) fn share(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self, _: Succeeded) {
        let _refuse = RefuseRest(Arc::clone(&self.shared));
        // What may be stored may be less than when it was stored.
        self.evict_in_turn(0);
        loop {
            self.shared.beat();
            let before = self.shared.counters().total_bytes();
            match self.shared.queue.take(Some(self.deadline()), self.gather) {
                Taken::Group(mutations) => self.commit(mutations),
                Taken::Idle => {}
                Taken::Closed => break,
            }
            let added = self.shared.counters().total_bytes().saturating_sub(before);
            self.evict_in_turn(added);
            self.fold_if_due();
            self.sync_if_due();
            self.balance_if_due();
            self.shared.db.drop_retired();
        }
        self.fold();
        self.write_reuse();
        self.shared.hot_entries.end_mirror();
        self.shared.lock.end_in_order();
        reach(Failpoint::CloseFolded);
        if self.shared.halt.error().is_some() {
            // All that was acknowledged is in the log. A database that takes no changes may try to
            // recover just now, and may then wait for itself if it is told to end.
            return;
        }
        let db = &self.shared.db;
        match db.flush().and_then(|()| db.sync()) {
            Ok(()) => self.shared.lock.note_flushed(),
            Err(error) => {
                tracing::error!(%error, "the store was not put on the disk when it was closed");
            }
        }
        reach(Failpoint::CloseFlushed);
        self.balance.end(&self.shared);
    }

    /// Until when to wait for changes.
    fn deadline(&self) -> Instant {
        if self.evictor.is_at_work() {
            return Instant::now();
        }
        let fold = self.evictor.folded + FOLD_INTERVAL;
        let sync = self.unsynced_since.map(|since| since + self.sync_interval);
        sync.map_or(fold, |sync| sync.min(fold))
    }

    /// Makes changes, in one batch if there is room for all of them.
    fn commit(&mut self, mutations: Vec<Mutation>) {
        let shared = self.share();
        let mut bytes = mutations.iter().map(Mutation::bytes).sum();
        let mut rest = mutations.into_iter();
        let mut next = rest.next();
        // How often room has been made for the mutation that comes next.
        let mut attempts = 0;
        while next.is_some() {
            let mut group = Group::new(&shared, bytes, self.loose.bytes());
            bytes = 0;
            let mut stuck = None;
            while let Some(mutation) = next.take() {
                match mutation {
                    Mutation::Fold { done } => {
                        next = rest.next();
                        stuck = Some(Own::Fold(done));
                        break;
                    }
                    Mutation::Shrink { done } => {
                        next = rest.next();
                        stuck = Some(Own::Shrink(done));
                        break;
                    }
                    Mutation::Renew { columns, done } => {
                        next = rest.next();
                        stuck = Some(Own::Renew(columns, done));
                        break;
                    }
                    mutation => match group.apply(mutation) {
                        None => {
                            attempts = 0;
                            next = rest.next();
                        }
                        Some(full) => {
                            stuck = Some(Own::MakeRoom(full));
                            break;
                        }
                    },
                }
            }
            let _ = self.write(group); // Everybody in it is told if that fails.
            match stuck {
                None => {}
                Some(Own::Fold(done)) => {
                    self.fold();
                    answer(Box::new(done), Ok(()));
                }
                Some(Own::Shrink(done)) => {
                    let evicted = self.shrink();
                    answer(Box::new(move |_| done(Ok(evicted))), Ok(()));
                }
                Some(Own::Renew(columns, done)) => {
                    let renewed = self.renew(&columns);
                    answer(Box::new(move |_| done(renewed)), Ok(()));
                }
                Some(Own::MakeRoom(stuck)) => {
                    let Stuck { mutation, full } = *stuck;
                    attempts += 1;
                    if attempts <= ROOM_ATTEMPTS_MAX && self.make_room(&full) {
                        reach(Failpoint::RoomMade);
                        next = Some(mutation);
                    } else {
                        attempts = 0;
                        refuse(mutation, full.into_error());
                        next = rest.next();
                    }
                }
            }
        }
    }

    /// Writes what a group has changed, and tells everybody in it.
    pub(crate) fn write(&mut self, group: Group<'_>) -> Result<(), StoreError> {
        let shared = self.share();
        shared.beat();
        let sealed = group.seal(self.reserved);
        let changes = !sealed.batch.is_empty();
        let sync = self.durability == Durability::Power;
        shared.hot_entries.begin_change(&sealed.replaced);
        let written = if changes {
            reach(Failpoint::BeforeWrite);
            let began = Instant::now();
            let written = shared.db.write(sealed.batch, sync).map_err(StoreError::from);
            if sync {
                self.gather = began.elapsed().min(GATHER_MAX);
            }
            reach(Failpoint::AfterWrite);
            written
        } else {
            Ok(())
        };
        if changes {
            shared.halt.note(&written);
        }
        shared.hot_entries.end_change();
        match &written {
            Ok(()) => {
                *shared.counters.lock().unwrap_or_else(PoisonError::into_inner) = sealed.counters;
                shared.books.note(sealed.usages);
                self.evictor.learn(sealed.learned);
                self.evictor.shield(sealed.fresh);
                self.evictor.forget(&sealed.replaced);
                self.reserved = sealed.reserved;
                self.loose.add(sealed.loose);
                self.loose.forget(sealed.reaped);
                for storage in sealed.adopted {
                    self.loose.forget([storage.id]);
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
            Err(error @ StoreError::Damaged { what }) => {
                tracing::error!("a group of changes could not be written: {what}");
                halt::note_met(&shared, error);
            }
            // Everybody in it is told, and the log has been told once.
            Err(error) => tracing::debug!(%error, "a group of changes could not be written"),
        }
        shared.queue.expect_back(sealed.replies.len());
        for reply in sealed.replies {
            answer(reply, written.clone());
            reach(Failpoint::BetweenAnswers);
        }
        written
    }

    fn note_freed(&mut self, freed: Freed) {
        self.balance.note_freed(freed);
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
        if let Err(error) = self.balance.keep(&self.shared) {
            tracing::warn!(%error, "garbage cannot be collected");
        }
    }

    fn sync_if_due(&mut self) {
        let Some(since) = self.unsynced_since else { return };
        if since.elapsed() < self.sync_interval {
            return;
        }
        self.unsynced_since = None;
        reach(Failpoint::BeforeSync);
        // What was not synced cannot be synced by trying again: the kernel may have given it up.
        // The database takes no changes then; opening it again puts what its log has on the disk.
        if let Err(error) = self.shared.db.sync() {
            self.shared.halt.note(&Err(error.into()));
        }
    }
}

/// Refuses a mutation, and survives a callback that panics.
fn refuse(mutation: Mutation, error: StoreError) {
    if catch_unwind(AssertUnwindSafe(|| mutation.refuse(error))).is_err() {
        tracing::error!("a callback of the store panicked");
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
