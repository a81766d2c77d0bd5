//! Small entries with all their content in memory, so that a hit reads and hashes nothing.
//!
//! **Invariants.** What is in here is what the database has: a key is forgotten before a change of
//! it is written, and nothing that was read before the change was done is let in, then or later.
//! What stands in the [`Mirror`] was in here, as the same object, when it was put there, and is
//! taken away when the key is forgotten; so no reader of it sees an entry that another has seen
//! replaced.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memod_protocol::Key;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::lookup::{Content, StoredEntry};
use crate::mirror::Mirror;

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
    /// How often a change has begun or ended.
    changes: AtomicU64,
    /// Keys that are being changed. Held while entries are let in, mirrored or forgotten.
    gate: Mutex<HashSet<Key>>,
    mirror: Arc<dyn Mirror>,
}

/// The moment before an entry was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl HotEntries {
    pub(crate) fn new(bytes_max: u64, mirror: Arc<dyn Mirror>) -> Self {
        let entries = usize::try_from(bytes_max / (4 * OVERHEAD_BYTES)).unwrap_or(usize::MAX);
        Self {
            cache: Cache::with_weighter(entries.max(64), bytes_max, ByBytes),
            changes: AtomicU64::new(0),
            gate: Mutex::default(),
            mirror,
        }
    }

    fn gate(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<StoredEntry>> {
        self.cache.get(key)
    }

    /// To be asked before an entry is read that is to be let in.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.changes.load(Ordering::Acquire))
    }

    /// Lets an entry in that was read after this moment, if it is small and no change has begun or
    /// ended since.
    pub(crate) fn let_in(&self, read_after: Moment, entry: &Arc<StoredEntry>) {
        let whole = |content: &Content| matches!(content, Content::Whole(_));
        if content_bytes(entry) > ENTRY_BYTES_MAX
            || entry.outputs.len() > 64
            || !entry.outputs.iter().all(|output| whole(&output.content))
        {
            return;
        }
        let changing = self.gate();
        let is_current = self.changes.load(Ordering::Acquire) == read_after.0;
        if is_current && !changing.contains(&entry.key) {
            self.cache.insert(entry.key, Arc::clone(entry));
        }
    }

    /// Puts an entry into the mirror, if this very object is in here.
    pub(crate) fn mirror(&self, entry: &Arc<StoredEntry>) -> bool {
        let _gate = self.gate();
        let is_here = self.cache.peek(&entry.key).is_some_and(|held| Arc::ptr_eq(&held, entry));
        if is_here {
            self.mirror.publish(entry);
        }
        is_here
    }

    /// Has the mirror give everything up.
    pub(crate) fn end_mirror(&self) {
        let _gate = self.gate();
        self.mirror.end();
    }

    /// Forgets entries that are about to be changed.
    pub(crate) fn begin_change(&self, keys: &[Key]) {
        if keys.is_empty() {
            return;
        }
        let mut changing = self.gate();
        self.changes.fetch_add(1, Ordering::Release);
        for key in keys {
            self.cache.remove(key);
        }
        self.mirror.clear(keys);
        changing.extend(keys);
    }

    /// The change that was begun last is done, or has failed.
    pub(crate) fn end_change(&self) {
        let mut changing = self.gate();
        if !changing.is_empty() {
            self.changes.fetch_add(1, Ordering::Release);
            changing.clear();
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

    /// Remembers which keys stand in it.
    #[derive(Debug, Default)]
    struct Copies(Mutex<HashSet<Key>>);

    impl Mirror for Copies {
        fn publish(&self, entry: &StoredEntry) {
            self.0.lock().unwrap().insert(entry.key);
        }

        fn clear(&self, keys: &[Key]) {
            self.0.lock().unwrap().retain(|key| !keys.contains(key));
        }

        fn end(&self) {
            self.0.lock().unwrap().clear();
        }
    }

    fn hot_entries(bytes_max: u64) -> (HotEntries, Arc<Copies>) {
        let copies = Arc::new(Copies::default());
        (HotEntries::new(bytes_max, Arc::clone(&copies) as Arc<dyn Mirror>), copies)
    }

    #[test]
    fn what_was_read_before_a_change_was_done_is_not_let_in() {
        let (hot, _) = hot_entries(1 << 20);
        let one = entry(1, 10);
        let before = hot.moment();
        hot.let_in(before, &one);
        assert!(hot.get(&one.key).is_some());
        hot.begin_change(&[one.key]);
        assert!(hot.get(&one.key).is_none());
        let during = hot.moment();
        for moment in [before, during] {
            hot.let_in(moment, &one);
            assert!(hot.get(&one.key).is_none(), "an entry was let in that is being changed");
        }
        let other = entry(2, 10);
        hot.let_in(during, &other);
        assert!(hot.get(&other.key).is_some(), "another is not being changed");
        hot.end_change();
        for moment in [before, during] {
            hot.let_in(moment, &one);
            assert!(hot.get(&one.key).is_none(), "an entry from before the change was let in");
        }
        hot.let_in(hot.moment(), &one);
        assert!(hot.get(&one.key).is_some());
    }

    #[test]
    fn the_mirror_has_only_what_is_here_and_not_being_changed() {
        let (hot, copies) = hot_entries(1 << 20);
        let (one, same) = (entry(1, 10), entry(1, 10));
        let stands = || copies.0.lock().unwrap().contains(&one.key);
        assert!(!hot.mirror(&one) && !stands(), "it is not here");
        hot.let_in(hot.moment(), &one);
        assert!(!hot.mirror(&same) && !stands(), "it is another object of the same key");
        assert!(hot.mirror(&one) && stands());
        hot.begin_change(&[one.key]);
        assert!(!stands(), "it is taken away before the change is written");
        hot.let_in(hot.moment(), &one);
        assert!(!hot.mirror(&one) && !stands(), "it is being changed");
        hot.end_change();
        assert!(!hot.mirror(&one) && !stands());
        hot.let_in(hot.moment(), &same);
        assert!(hot.mirror(&same) && stands());
    }

    #[test]
    fn large_entries_stay_out_and_the_rest_is_bounded() {
        let (hot, _) = hot_entries(256 * 1024);
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
