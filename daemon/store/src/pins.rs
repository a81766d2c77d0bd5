//! Which storages are being read, so that their chunks outlive their blob as long as that.
//!
//! **Invariants.** A reader pins first and confirms that the blob still owns the storage after
//! that; the writer removes the blob first and asks about pins after that. So either the writer
//! sees the pin or the reader sees that the blob is gone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
struct Pinned {
    readers: usize,
    /// The number of chunks to remove when the last reader is done.
    doomed_chunks: Option<u32>,
}

/// Readers by storage id.
#[derive(Default)]
pub(crate) struct Pins {
    storages: Mutex<HashMap<u64, Pinned>>,
}

impl Pins {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Pinned>> {
        self.storages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more reader.
    pub(crate) fn pin(&self, storage: u64) {
        self.locked().entry(storage).or_default().readers += 1;
    }

    /// One reader less. If it was the last one of a doomed storage: how many chunks to remove.
    pub(crate) fn unpin(&self, storage: u64) -> Option<u32> {
        let mut storages = self.locked();
        let pinned = storages.get_mut(&storage)?;
        pinned.readers = pinned.readers.saturating_sub(1);
        if pinned.readers > 0 {
            return None;
        }
        storages.remove(&storage).and_then(|pinned| pinned.doomed_chunks)
    }

    /// Marks a storage that no blob owns any more. Whether it may be removed at once; if not, the
    /// last [`Pins::unpin`] says so.
    pub(crate) fn doom(&self, storage: u64, chunks: u32) -> bool {
        match self.locked().get_mut(&storage) {
            Some(pinned) => {
                pinned.doomed_chunks = Some(chunks);
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reader_of_a_doomed_storage_removes_it() {
        let pins = Pins::default();
        assert!(pins.doom(1, 5), "nobody reads it");
        pins.pin(2);
        pins.pin(2);
        assert!(!pins.doom(2, 7));
        assert_eq!(pins.unpin(2), None);
        assert_eq!(pins.unpin(2), Some(7));
        assert_eq!(pins.unpin(2), None);
        pins.pin(3);
        assert_eq!(pins.unpin(3), None, "it is not doomed");
    }
}
