//! Gives the space of what was removed back to the file system.
//!
//! Removed content stays in blob files together with content that is still there. When a third of a
//! column's blob files is garbage, and no less than [`Shared::garbage_bytes_min`], what is good in
//! them is copied and the files are deleted, by a thread of its own: the oldest, which have lost
//! most, and then the next, until no more than a sixth is garbage. Each byte that is given back so
//! costs two bytes copied at the most. A pass is short, because what is put meanwhile cannot be
//! compacted, and too much of that would have puts wait.
//!
//! Graves age out; if there are many more of them than entries, they age faster.
//!
//! **Invariants.** One collection at a time. A store that is closed does not wait for one to end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::StoreError;
use crate::failpoint::{Failpoint, reach};
use crate::group::Freed;
use crate::halt;
use crate::limits::{
    BALANCE_INTERVAL, GARBAGE_BYTES_MIN, GRAVES_MIN, GRAVES_PER_ENTRY_MAX, PURGE_PATIENCE,
};
use crate::rocks::RocksError;
use crate::schema::Column;
use crate::shared::Shared;

/// The columns whose content stands in blob files.
const CONTENT: [Column; 2] = [Column::Chunks, Column::Blobs];

/// Garbage is collected when it is more than one part in so many of a column's files, and while
/// there is too little room on the disk.
const GARBAGE_SHARE: u64 = 3;
const SHORT_SHARE: u64 = 10;
/// Then it is collected until so many bytes in a thousand are garbage.
const LEFT: u64 = 167;
/// The same, if somebody asks for it.
const LEFT_ASKED: u64 = 0;
/// A pass looks at about so many bytes of files, the oldest ..
const PASS_BYTES: u64 = 512 * 1024 * 1024;
/// .. so that there are about as many passes, if all has to be looked at.
const PASSES_MIN: u64 = 4;
const PASSES_MAX: u64 = 1000;

/// Says who collects.
#[derive(Default)]
pub(crate) struct Collector {
    turn: Mutex<()>,
    at_work: AtomicUsize,
    closing: AtomicBool,
}

/// What the writer knows of garbage.
pub(crate) struct Balance {
    /// What has been removed since garbage was last collected.
    freed: Freed,
    balanced: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Balance {
    pub(crate) fn new() -> Self {
        Self { freed: Freed::default(), balanced: Instant::now(), thread: None }
    }

    pub(crate) fn note_freed(&mut self, freed: Freed) {
        self.freed.chunk_bytes = self.freed.chunk_bytes.saturating_add(freed.chunk_bytes);
        self.freed.whole_bytes = self.freed.whole_bytes.saturating_add(freed.whole_bytes);
    }

    fn freed_of(&mut self, column: Column) -> &mut u64 {
        match column {
            Column::Chunks => &mut self.freed.chunk_bytes,
            _ => &mut self.freed.whole_bytes,
        }
    }

    /// Begins to collect what is worth it, if it is time to look.
    pub(crate) fn keep(&mut self, shared: &Arc<Shared>) -> Result<(), RocksError> {
        if self.balanced.elapsed() < BALANCE_INTERVAL
            || self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
        {
            return Ok(());
        }
        self.balanced = Instant::now();
        let mut columns = Vec::new();
        let share = if shared.shortage().is_some() { SHORT_SHARE } else { GARBAGE_SHARE };
        let least = shared.garbage_bytes_min();
        for column in CONTENT {
            let (total, known) = shared.db.blob_bytes(column)?;
            // The database knows of garbage when a compaction has met the removals.
            let garbage = known.max(*self.freed_of(column)).min(total);
            if garbage >= least && garbage > total / share {
                *self.freed_of(column) = 0;
                columns.push(column);
            }
        }
        if age_graves(shared)? {
            columns.push(Column::Graves);
        }
        if columns.is_empty() {
            return Ok(());
        }
        let its = Arc::clone(shared);
        let is_short = shared.shortage().is_some();
        let work = move || {
            // Or each column would begin another log, while the one before it is still needed.
            if is_short && let Err(error) = its.db.flush() {
                tracing::warn!(%error, "what is in memory cannot be written");
            }
            for column in columns {
                if let Err(error) = clean(&its, column, LEFT).map_err(StoreError::from) {
                    tracing::warn!(column = column.name(), %error, "garbage cannot be collected");
                    halt::note_met(&its, &error);
                }
            }
        };
        match thread::Builder::new().name("memod-collector".to_owned()).spawn(work) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::warn!(%error, "garbage cannot be collected"),
        }
        Ok(())
    }

    /// Ends all collection. Nothing can be written to the database after that.
    pub(crate) fn end(self, shared: &Shared) {
        shared.collector.closing.store(true, Ordering::SeqCst);
        if shared.collector.at_work.load(Ordering::SeqCst) > 0 {
            shared.db.cancel_background_work();
        }
        if self.thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the collector panicked");
        }
    }
}

/// Has graves age faster while there are too many. Whether they are to be looked through.
fn age_graves(shared: &Shared) -> Result<bool, RocksError> {
    let graves = shared.db.row_estimate(Column::Graves)?;
    let most = shared.counters().entries.saturating_mul(GRAVES_PER_ENTRY_MAX).max(GRAVES_MIN);
    Ok(shared.db.age_graves(graves, most))
}

/// Collects in a column until no more than this many bytes in a thousand are garbage. Waits until
/// that is done, or the store is closed.
fn clean(shared: &Shared, column: Column, left: u64) -> Result<(), RocksError> {
    let (total, _) = shared.db.blob_bytes(column)?;
    let passes = (total / PASS_BYTES).clamp(PASSES_MIN, PASSES_MAX);
    for _ in 0..passes {
        let files = shared.db.blob_files(column)?.max(1);
        // So much that at least one file is as old as that.
        let share = (files.div_ceil(passes) * 1000 / files + 1).min(1000);
        compact(shared, column, &format!("{}.{:03}", share / 1000, share % 1000))?;
        let (total, garbage) = shared.db.blob_bytes(column)?;
        if garbage <= total / 1000 * left || shared.collector.closing.load(Ordering::SeqCst) {
            break;
        }
    }
    Ok(())
}

/// Copies what is good in this share of a column's files, the oldest, and deletes them. Waits
/// until that is done, or the store is closed.
fn compact(shared: &Shared, column: Column, share: &str) -> Result<(), RocksError> {
    let collector = &shared.collector;
    let _turn = collector.turn.lock().unwrap_or_else(PoisonError::into_inner);
    collector.at_work.fetch_add(1, Ordering::SeqCst);
    // Whoever closes looks whether there is work after it has said so.
    let outcome = if collector.closing.load(Ordering::SeqCst) {
        Ok(())
    } else {
        compact_now(shared, column, share)
    };
    collector.at_work.fetch_sub(1, Ordering::SeqCst);
    outcome
}

fn compact_now(shared: &Shared, column: Column, share: &str) -> Result<(), RocksError> {
    let began = Instant::now();
    shared.db.flush_column(column)?;
    reach(Failpoint::CollectFlushed);
    if CONTENT.contains(&column) {
        shared.db.compact_content(column, share)?;
    } else {
        shared.db.compact(column);
    }
    reach(Failpoint::Collected);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(column = column.name(), took_ms, "collected garbage");
    Ok(())
}

/// What a collection brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Bytes of the store's files before.
    pub disk_bytes_before: u64,
    /// Bytes of the store's files after.
    pub disk_bytes_after: u64,
}

/// Collects in all columns. Waits until that is done. Damage that is met is mended by the next
/// opening.
pub(crate) fn collect(shared: &Shared) -> Result<Collected, StoreError> {
    let collected = collect_all(shared);
    if let Err(error) = &collected {
        halt::note_met(shared, error);
    }
    collected
}

fn collect_all(shared: &Shared) -> Result<Collected, StoreError> {
    let folder = shared.path.join("rocksdb");
    let disk_bytes_before = disk::used_bytes(&folder);
    for column in Column::ALL {
        clean(shared, column, LEFT_ASKED)?;
    }
    if shared.collector.closing.load(Ordering::SeqCst) {
        return Err(StoreError::Closed);
    }
    // The log of what has been flushed goes with the next one.
    shared.db.flush()?;
    let began = Instant::now();
    loop {
        let disk_bytes_after = disk::used_bytes(&folder);
        let live = shared.db.live_bytes()?;
        if disk_bytes_after <= live.saturating_add(GARBAGE_BYTES_MIN)
            || began.elapsed() >= PURGE_PATIENCE
        {
            return Ok(Collected { disk_bytes_before, disk_bytes_after });
        }
        // tidy: sleeps because the database deletes files some time and tells nobody.
        thread::sleep(Duration::from_millis(20));
    }
}
