//! The store as its user sees it.

use std::fmt;
use std::mem;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::{
    CallIdentity, EntryDetail, Filter, InterfaceText, Key, Nearest, Provenance, PutOutcome, Scope,
};

use crate::budgets::Budgets;
use crate::collect::{self, Collected};
use crate::describe;
use crate::disk;
use crate::error::{OpenError, StoreError};
use crate::halt::{self, Trial};
use crate::lookup::{self, Found, StoredEntry};
use crate::mutation::{Mutation, NewEntry};
use crate::nearest;
use crate::open;
use crate::options::Options;
use crate::policy::Worth;
use crate::record::{Counters, Grave, GraveCause};
use crate::recount::{self, Recount};
use crate::repair;
use crate::rocks::{Read, Reads, Tier};
use crate::scan::{self, Page};
use crate::schema::{Column, FORMAT, note_key};
use crate::shared::{Shared, now_ms};
use crate::upload::{Prepared, Upload, Uploader};
use crate::uploading::{self, Promise};
use crate::usage::{self, Usages};

/// An open store. Clones are the same store; when the last one goes, it is closed.
///
/// A [`crate::ChunkReader`], [`Upload`] or [`Prepared`] keeps the database open (and the folder
/// locked) even longer, but nothing is written any more.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

/// The name of the value that is written to see whether the store takes changes.
const TRIAL_NOTE: &str = "trial";

struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A callback may hold the last clone: the writer cannot wait for itself.
            if writer.thread().id() != thread::current().id() && writer.join().is_err() {
                tracing::error!("the writer panicked");
            }
            if self.shared.halt.error().is_some() {
                // Closing a database that tries to recover may never end: see [`crate::halt`].
                keep_for_ever(Arc::clone(&self.shared));
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "its lock and its database are to stay")]
fn keep_for_ever(shared: Arc<Shared>) {
    mem::forget(shared);
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store {
    /// Opens a store; makes it if there is none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let (shared, writer) = open::open(options)?;
        Ok(Self { handle: Arc::new(Handle { shared, writer: Mutex::new(Some(writer)) }) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// The store's identity, made at random when the store was.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared().id
    }

    /// What the database's log had that could not be read when the store was opened, in the words
    /// of the database: what stood behind it is lost.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.shared().left_out
    }

    /// The format of the store on disk.
    #[must_use]
    pub fn format(&self) -> u32 {
        FORMAT
    }

    /// The store's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared().path
    }

    /// Does what is still queued, puts all of it on the disk, and takes no more. Reading goes on
    /// to work. Has no effect the second time.
    pub fn close(&self) {
        self.handle.close();
    }

    /// How often the writer has been seen at work, and asks it to come by once more, so that the
    /// number grows soon unless the writer hangs.
    #[must_use]
    pub fn writer_beats(&self) -> u64 {
        let shared = self.shared();
        let beats = shared.beats.load(Ordering::Relaxed);
        shared.queue.nudge();
        beats
    }

    /// Looks a key up, with its outputs. What is found damaged is removed, without waiting.
    ///
    /// # Errors
    /// If the disk cannot be read; damage is a value.
    pub fn lookup(&self, key: &Key, tier: Tier) -> Result<Found, StoreError> {
        lookup::lookup(self.shared(), key, tier)
    }

    /// Everything about an entry but its outputs' bytes; `age_ms` is left 0.
    ///
    /// # Errors
    /// If the entry cannot be read.
    pub fn describe(&self, key: &Key) -> Result<Option<EntryDetail>, StoreError> {
        describe::describe(self.shared(), key)
    }

    /// The scope of an entry.
    ///
    /// # Errors
    /// If the entry cannot be read.
    pub fn scope(&self, key: &Key) -> Result<Option<Scope>, StoreError> {
        describe::scope(self.shared(), key)
    }

    /// Who made the entry of a key, if there is one that can be read.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn made(&self, key: &Key) -> Result<Option<Provenance>, StoreError> {
        describe::made(self.shared(), key)
    }

    /// The entries of the call's task that differ least from the call, each with everything in
    /// which it differs: fewest differences first, then the newest. Of any scope, cache version and
    /// signature; an entry of the call's own key is left out. At most `limit`, and never more than
    /// [`memod_protocol::limits::NEAREST_MAX`].
    ///
    /// The work is bounded whatever the store holds: an entry that differs in one thing is found,
    /// one that differs in several inputs only if it is in a sample.
    ///
    /// # Errors
    /// If the disk cannot be read; damaged rows are passed over.
    pub fn nearest(
        &self,
        call: &CallIdentity,
        interface: &InterfaceText,
        limit: usize,
    ) -> Result<Vec<Nearest>, StoreError> {
        nearest::nearest(self.shared(), call, interface, limit, &|_| true)
    }

    /// As [`Store::nearest`], of those scopes only that may be told of.
    ///
    /// # Errors
    /// As there.
    pub fn nearest_within(
        &self,
        call: &CallIdentity,
        interface: &InterfaceText,
        limit: usize,
        tells: &dyn Fn(&Scope) -> bool,
    ) -> Result<Vec<Nearest>, StoreError> {
        nearest::nearest(self.shared(), call, interface, limit, tells)
    }

    /// The entries that a filter selects, by scope, task and cache version, a page at a time.
    ///
    /// The work for a page is bounded, so a page may have few rows, or none, and yet a cursor.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or if the disk cannot be read.
    pub fn list(
        &self,
        filter: &Filter,
        now_ms: u64,
        limit: u32,
        cursor: Option<&[u8]>,
    ) -> Result<Page, StoreError> {
        scan::list(self.shared(), filter, now_ms, limit, cursor, &|_| true)
    }

    /// As [`Store::list`], of those scopes only that are to be listed. Neither rows nor cursor say
    /// anything of others; each of those costs one step.
    ///
    /// # Errors
    /// As there.
    pub fn list_within(
        &self,
        filter: &Filter,
        now_ms: u64,
        limit: u32,
        cursor: Option<&[u8]>,
        lists: &dyn Fn(&Scope) -> bool,
    ) -> Result<Page, StoreError> {
        scan::list(self.shared(), filter, now_ms, limit, cursor, lists)
    }

    /// Hashes content that is in memory, for a put. Longer content than a frame holds should come
    /// by [`Store::begin_upload`], because this keeps all of it in memory until it is stored.
    #[must_use]
    pub fn prepare(&self, content: Bytes) -> Prepared {
        Prepared::in_memory(content)
    }

    /// Begins content that arrives in pieces.
    #[must_use]
    pub fn begin_upload(&self) -> Upload {
        self.begin_upload_by(Uploader::default())
    }

    /// The same, of a user or for a run that was announced.
    #[must_use]
    pub fn begin_upload_by(&self, by: Uploader) -> Upload {
        Upload::new(Arc::clone(self.shared()), by)
    }

    /// Judges a run before its outputs, which have so many bytes together, are uploaded, and
    /// promises room for them: entries are evicted for it as for a put. None if so much has been
    /// promised to others that nothing more can be; then it is uploaded as if it was not announced.
    ///
    /// # Errors
    /// If it would be refused whatever is evicted.
    pub fn announce(
        &self,
        scope: &Scope,
        uid: u32,
        bytes: u64,
    ) -> Result<Option<Promise>, StoreError> {
        uploading::announce(self.shared(), scope, uid, bytes)
    }

    fn push(&self, mutation: Mutation) {
        if let Err(mutation) = self.shared().queue.push(mutation) {
            mutation.refuse(StoreError::Closed);
        }
    }

    /// Stores an entry. Waits while the queue is full.
    ///
    /// `done` is called on the writer's thread when the entry is durable (see
    /// [`crate::Durability`]) or it is known that it will not be; if the store is closed, at once.
    /// It must not block, nor call what waits for the writer.
    pub fn put(
        &self,
        entry: NewEntry,
        done: impl FnOnce(Result<PutOutcome, StoreError>) + Send + 'static,
    ) {
        self.push(Mutation::Put { entry: Box::new(entry), done: Box::new(done) });
    }

    /// Removes the entries of these keys and remembers why. `done` is told how many there were;
    /// see [`Store::put`] about it.
    pub fn remove(
        &self,
        keys: Vec<Key>,
        cause: GraveCause,
        at_ms: u64,
        by_uid: Option<u32>,
        done: impl FnOnce(Result<u64, StoreError>) + Send + 'static,
    ) {
        let grave = Grave { cause, at_ms, by_uid, lost: None };
        self.push(Mutation::Remove { keys, grave, done: Box::new(done) });
    }

    /// Notes that an entry was used so many times. It is written down in the background.
    pub fn touch(&self, entry: &StoredEntry, now_ms: u64, hits: u32) {
        let shared = self.shared();
        let cost = entry.provenance.run.compute_ns.map(Duration::from_nanos);
        let bytes = entry.outputs.iter().map(|output| output.bytes).sum();
        let worth = Worth::new(cost, bytes);
        let created_at_ms = entry.provenance.created_at_ms;
        if shared.touches.note(&entry.key, worth, created_at_ms, now_ms, hits) {
            shared.queue.offer(Mutation::Wake);
        }
    }

    /// Has an entry that a lookup has given stand in the mirror, if it is small and has not been
    /// changed since.
    pub fn mirror(&self, entry: &Arc<StoredEntry>) {
        self.shared().hot_entries.mirror(entry);
    }

    /// Notes that somebody asked for an entry and found its grave. The first time that an evicted
    /// one is asked for counts as regret, in the background; if the writer has too much to do, the
    /// next time does.
    pub fn regret(&self, key: &Key, grave: &Grave) {
        if grave.lost.is_some_and(|lost| !lost.regretted) {
            self.shared().queue.offer(Mutation::Regret(*key));
        }
    }

    /// Writes down what has been used. See [`Store::put`] about `done`.
    pub fn fold(&self, done: impl FnOnce(Result<(), StoreError>) + Send + 'static) {
        self.push(Mutation::Fold { done: Box::new(done) });
    }

    /// Evicts down to the low water mark, without pause. `done` is told how many entries that took;
    /// see [`Store::put`] about it.
    pub fn shrink(&self, done: impl FnOnce(Result<u64, StoreError>) + Send + 'static) {
        self.push(Mutation::Shrink { done: Box::new(done) });
    }

    /// How much may be stored.
    #[must_use]
    pub fn budgets(&self) -> Arc<Budgets> {
        self.shared().budgets()
    }

    /// Goes over to other budgets. What is stored beyond them is evicted at once, in small steps.
    pub fn set_budgets(&self, budgets: Budgets) {
        let shared = self.shared();
        shared.disk.set_reserve(budgets.disk_reserve_bytes);
        *shared.budgets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(budgets);
        // Is done by itself, later, if the queue is full.
        shared.queue.offer(Mutation::Wake);
    }

    /// What scopes and users have stored, those first who have stored the most: at most `limit` of
    /// each.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn usage(&self, limit: usize) -> Result<Usages, StoreError> {
        self.usage_within(limit, &|_| true, &|_| true)
    }

    /// As [`Store::usage`], of these scopes and users only.
    ///
    /// # Errors
    /// As there.
    pub fn usage_within(
        &self,
        limit: usize,
        scopes: &dyn Fn(&Scope) -> bool,
        users: &dyn Fn(u32) -> bool,
    ) -> Result<Usages, StoreError> {
        usage::usages(&self.shared().db, limit, scopes, users)
    }

    /// Gives the space of everything that was removed back to the file system: writes all files
    /// anew, without it. Waits until that is done. Not to be called on the writer's thread.
    ///
    /// # Errors
    /// If the disk cannot be read or written, or the store is closed.
    pub fn collect(&self) -> Result<Collected, StoreError> {
        self.settle()?;
        collect::collect(self.shared())
    }

    /// Bytes that the store's files take on the disk.
    #[must_use]
    pub fn disk_used_bytes(&self) -> u64 {
        disk::used_bytes(&self.path().join("rocksdb"))
    }

    /// What the store holds, without reading the disk.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared().counters()
    }

    /// Whether the last change failed because the disk did, or because of damage that may be mended
    /// when the store is opened again: see [`Store::try_again`].
    #[must_use]
    pub fn is_halted(&self) -> bool {
        let halt = &self.shared().halt;
        halt.error().is_some() || halt.is_damaged()
    }

    /// Whether changes have ended because of damage that the next opening may mend.
    #[must_use]
    pub fn has_met_damage(&self) -> bool {
        self.shared().halt.is_damaged()
    }

    /// Looks at all files: one that cannot be read is mended by the next opening. Takes a while.
    pub fn examine(&self) {
        repair::examine(self.shared());
    }

    /// Whether something has failed in the background since [`Store::try_again`] was called last,
    /// so that the next change may fail. Does not wait for the disk.
    #[must_use]
    pub fn has_failed_behind(&self) -> bool {
        self.shared().halt.has_failed_behind(&self.shared().db)
    }

    /// Tries a change, if the last one, or something in the background, has failed, and says
    /// what may be done. Waits for the disk. Not to be called on the writer's thread.
    #[must_use]
    pub fn try_again(&self) -> Trial {
        let has_failed = self.shared().halt.take_failed_behind(&self.shared().db);
        if !self.is_halted() && !has_failed {
            return Trial::Works;
        }
        if self.shared().halt.is_damaged() {
            return Trial::Stuck { may_recover: false };
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        self.save_note(TRIAL_NOTE, now_ms().to_le_bytes().to_vec(), move |result| {
            // If nobody receives any more, nobody wants to know.
            drop(sender.send(result));
        });
        let ended = receiver.recv().unwrap_or(Err(StoreError::Closed));
        halt::judge(self.shared(), &ended)
    }

    /// Keeps a small value under a name. See [`Store::put`] about `done`.
    pub fn save_note(
        &self,
        name: &str,
        value: Vec<u8>,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        self.push(Mutation::Note { name: name.to_owned(), value, done: Box::new(done) });
    }

    /// The value that was kept under a name.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn load_note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = note_key(name);
        match self.shared().db.read(Column::Meta, &key, Tier::Disk, <[u8]>::to_vec)? {
            Read::Row(value) => Ok(Some(value)),
            Read::Absent | Read::WouldBlock => Ok(None),
        }
    }

    /// Waits until everything that was asked for before is done, and what that left to remove is
    /// removed. Not to be called on the writer's thread.
    ///
    /// # Errors
    /// If the store is closed or the disk cannot be written.
    pub fn settle(&self) -> Result<(), StoreError> {
        // A group queues what it leaves to remove when it commits: in front of the second one.
        for _ in 0..2 {
            let (sender, receiver) = mpsc::sync_channel(1);
            self.push(Mutation::Barrier {
                // If nobody receives any more, nobody wants to know.
                done: Box::new(move |result| drop(sender.send(result))),
            });
            receiver.recv().unwrap_or(Err(StoreError::Closed))?;
        }
        Ok(())
    }

    /// Counts everything anew, and names what contradicts itself. Reads the whole store.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn recount(&self) -> Result<Recount, StoreError> {
        recount::recount(self.shared())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Store({})", self.path().display())
    }
}
