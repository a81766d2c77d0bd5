//! A word of shared memory.

use std::sync::atomic::{self, AtomicU64, Ordering};

/// An atomic 64-bit integer, the processor's or a model checker's.
pub trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;

    /// Writes it.
    fn store(&self, value: u64, order: Ordering);

    /// Orders accesses to all words.
    fn fence(order: Ordering);
}

impl Word for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        Self::load(self, order)
    }

    fn store(&self, value: u64, order: Ordering) {
        Self::store(self, value, order);
    }

    fn fence(order: Ordering) {
        atomic::fence(order);
    }
}
