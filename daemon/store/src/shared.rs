//! What the threads of an open store share.
//!
//! **Invariants.** The database is closed before the lock of its folder is given back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::budgets::Budgets;
use crate::collect::Collector;
use crate::disk::{Disk, Shortage};
use crate::halt::Halt;
use crate::heat::Touches;
use crate::hot::Hot;
use crate::hot_entries::HotEntries;
use crate::limits::{GARBAGE_BUDGET_SHARE, GARBAGE_BYTES_LEAST, GARBAGE_BYTES_MIN};
use crate::lock::Lock;
use crate::mutation::{Burial, Mutation};
use crate::pins::Pins;
use crate::queue::Queue;
use crate::record::Counters;
use crate::rocks::Database;
use crate::uploading::Uploading;
use crate::usage::Books;

/// What the threads of a store share.
pub(crate) struct Shared {
    // The database stands before the lock, and so is closed before the lock is given back.
    pub(crate) db: Database,
    pub(crate) queue: Queue,
    pub(crate) hot: Hot,
    pub(crate) hot_entries: HotEntries,
    pub(crate) pins: Pins,
    pub(crate) budgets: RwLock<Arc<Budgets>>,
    pub(crate) books: Books,
    pub(crate) uploading: Uploading,
    pub(crate) touches: Touches,
    pub(crate) disk: Disk,
    pub(crate) collector: Collector,
    pub(crate) counters: Mutex<Counters>,
    pub(crate) next_storage: AtomicU64,
    pub(crate) halt: Halt,
    /// How often the writer has been seen at work.
    pub(crate) beats: AtomicU64,
    pub(crate) path: PathBuf,
    pub(crate) id: String,
    pub(crate) left_out: Vec<String>,
    /// Held while files are looked at: see [`crate::repair`].
    pub(crate) examining: Mutex<()>,
    pub(crate) lock: Lock,
}

impl Shared {
    /// How much may be stored, as of now.
    pub(crate) fn budgets(&self) -> Arc<Budgets> {
        Arc::clone(&self.budgets.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What room the disk lacks, for what was refused the last time too.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        self.disk.shortage(|| self.db.unflushed_bytes().unwrap_or(0))
    }

    /// What it lacks if so many bytes more are written.
    pub(crate) fn shortage_with(&self, bytes: u64) -> Option<Shortage> {
        self.disk.shortage_with(bytes, || self.db.unflushed_bytes().unwrap_or(0))
    }

    /// Less garbage than this in a column is not collected: an eighth of what the store may hold,
    /// within bounds, and hardly any while the disk is short.
    pub(crate) fn garbage_bytes_min(&self) -> u64 {
        let budget = self.budgets().store_bytes_max.unwrap_or(u64::MAX);
        match self.shortage() {
            Some(_) => GARBAGE_BYTES_LEAST,
            None => (budget / GARBAGE_BUDGET_SHARE).clamp(GARBAGE_BYTES_LEAST, GARBAGE_BYTES_MIN),
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer is at work.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// A storage id that has never been used.
    pub(crate) fn new_storage(&self) -> u64 {
        self.next_storage.fetch_add(1, Ordering::Relaxed)
    }

    /// Has a damaged entry removed, some time. If the writer has too much to do, the next reader
    /// will ask again.
    pub(crate) fn bury(&self, burial: Burial) {
        tracing::debug!(key = %burial.key, cause = burial.cause.name(), "removing a damaged entry");
        if !self.queue.offer(Mutation::Bury(burial)) {
            tracing::debug!("the writer is busy: the damaged entry stays for now");
        }
    }
}

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
