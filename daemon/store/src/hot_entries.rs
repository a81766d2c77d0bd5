//! Small entries with all their content in memory, so that a hit reads and hashes nothing.
//!
//! **Invariants.** What is in here is what the database has: whoever commits a change of a key
//! forgets the key before anybody is told of the change, and what a reader read before that is not
//! let in after it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use memod_protocol::Key;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::lookup::{Content, StoredEntry};

/// Entries whose content is longer are not kept.
const ENTRY_BYTES_MAX: u64 = 16 * 1024;
/// About what an entry needs besides its content.
const OVERHEAD_BYTES: u64 = 1024;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<StoredEntry>> for ByBytes {
    fn weight(&self, _: &Key, entry: &Arc<StoredEntry>) -> u64 {
        OVERHEAD_BYTES + content_bytes(entry)
    }
}

fn content_bytes(entry: &StoredEntry) -> u64 {
    entry.outputs.iter().map(|output| output.bytes).sum()
}

/// A bounded cache of entries.
pub(crate) struct HotEntries {
    cache: Cache<Key, Arc<StoredEntry>, ByBytes>,
    /// How often entries have been forgotten.
    changes: AtomicU64,
    /// Held while entries are let in or forgotten.
    gate: Mutex<()>,
}

/// The moment before an entry was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl HotEntries {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max / (4 * OVERHEAD_BYTES)).unwrap_or(usize::MAX);
        Self {
            cache: Cache::with_weighter(entries.max(64), bytes_max, ByBytes),
            changes: AtomicU64::new(0),
            gate: Mutex::new(()),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<StoredEntry>> {
        self.cache.get(key)
    }

    /// To be asked before an entry is read that is to be let in.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.changes.load(Ordering::Acquire))
    }

    /// Lets an entry in that was read after this moment, if it is small and nothing has been
    /// forgotten since.
    pub(crate) fn let_in(&self, read_after: Moment, entry: &Arc<StoredEntry>) {
        let whole = |content: &Content| matches!(content, Content::Whole(_));
        if content_bytes(entry) > ENTRY_BYTES_MAX
            || entry.outputs.len() > 64
            || !entry.outputs.iter().all(|output| whole(&output.content))
        {
            return;
        }
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::Acquire) == read_after.0 {
            self.cache.insert(entry.key, Arc::clone(entry));
        }
    }

    /// Forgets entries that have been changed.
    pub(crate) fn forget(&self, keys: &[Key]) {
        if keys.is_empty() {
            return;
        }
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::Release);
        for key in keys {
            self.cache.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use memod_protocol::{Digest, Provenance, RunClaim, Scope};

    use super::*;
    use crate::lookup::StoredOutput;

    fn entry(number: u8, bytes: usize) -> Arc<StoredEntry> {
        let content = Bytes::from(vec![number; bytes]);
        Arc::new(StoredEntry {
            key: Key::from_bytes([number; 32]),
            scope: Scope::new("p", "d"),
            task: "t".to_owned(),
            cache_version: "1".to_owned(),
            signature: Digest::of(b""),
            outputs: vec![StoredOutput {
                name: "o".to_owned(),
                literal_type: "bytes".to_owned(),
                digest: Digest::of(&content),
                bytes: bytes as u64,
                content: Content::Whole(content),
            }],
            provenance: Provenance {
                writer_uid: 0,
                writer_pid: None,
                program: None,
                host: None,
                created_at_ms: 0,
                run: RunClaim::default(),
            },
        })
    }

    #[test]
    fn what_was_read_before_a_change_is_not_let_in_after_it() {
        let hot = HotEntries::new(1 << 20);
        let one = entry(1, 10);
        let before = hot.moment();
        hot.let_in(before, &one);
        assert!(hot.get(&one.key).is_some());
        hot.forget(&[one.key]);
        assert!(hot.get(&one.key).is_none());
        hot.let_in(before, &one);
        assert!(hot.get(&one.key).is_none(), "an entry from before the change was let in");
        hot.let_in(hot.moment(), &one);
        assert!(hot.get(&one.key).is_some());
    }

    #[test]
    fn large_entries_stay_out_and_the_rest_is_bounded() {
        let hot = HotEntries::new(256 * 1024);
        let large = entry(0, 16 * 1024 + 1);
        hot.let_in(hot.moment(), &large);
        assert!(hot.get(&large.key).is_none());
        for number in 1..=200 {
            hot.let_in(hot.moment(), &entry(number, 16 * 1024));
        }
        assert!(hot.cache.weight() <= 256 * 1024);
        assert!(hot.cache.len() > 4);
    }
}
