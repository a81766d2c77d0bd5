//! Verified content in memory.
//!
//! **Invariants.** What is in here was verified when it was put in. Content is named by its digest,
//! or by a storage id that is never used again, so nothing in here is ever out of date. A piece
//! owns its memory and no more, so the weights are true.

use bytes::Bytes;
use memod_protocol::Digest;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What a piece of content is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HotKey {
    /// All content of a blob that stands in its row.
    Whole(Digest),
    /// A chunk by storage id and index.
    Chunk(u64, u32),
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<HotKey, Bytes> for ByBytes {
    fn weight(&self, _: &HotKey, content: &Bytes) -> u64 {
        /// About what the cache itself needs for a piece.
        const OVERHEAD_BYTES: u64 = 128;
        OVERHEAD_BYTES + content.len() as u64
    }
}

/// A bounded cache of verified content.
pub(crate) struct Hot {
    cache: Cache<HotKey, Bytes, ByBytes>,
}

impl Hot {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let pieces = usize::try_from(bytes_max / (64 * 1024)).unwrap_or(usize::MAX).max(64);
        Self { cache: Cache::with_weighter(pieces, bytes_max, ByBytes) }
    }

    pub(crate) fn get(&self, key: HotKey) -> Option<Bytes> {
        self.cache.get(&key)
    }

    pub(crate) fn insert(&self, key: HotKey, content: Bytes) {
        self.cache.insert(key, content);
    }

    /// Gives back the memory of a storage that is gone.
    pub(crate) fn forget(&self, storage: u64, chunks: u32) {
        for index in 0..chunks {
            self.cache.remove(&HotKey::Chunk(storage, index));
        }
    }
}
