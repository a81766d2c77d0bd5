//! A copy of hot entries that others read without asking the store.

use std::fmt;

use memod_protocol::Key;

use crate::lookup::StoredEntry;

/// Where copies of entries stand.
///
/// The store calls it one call at a time, while nothing is let into its own memory or forgotten
/// there; so it must be quick, and must not call the store. What was cleared is published again
/// only after the change for which it was cleared.
pub trait Mirror: fmt::Debug + Send + Sync {
    /// Copies an entry, which is what the database has. All its content is in memory.
    fn publish(&self, entry: &StoredEntry);

    /// Removes the copies of entries that are about to change. When this returns, nobody finds
    /// them any more.
    fn clear(&self, keys: &[Key]);

    /// Removes all copies, and takes no other: the store may soon be another process's.
    fn end(&self);
}

/// No copies.
#[derive(Debug)]
pub(crate) struct Blind;

impl Mirror for Blind {
    fn publish(&self, _: &StoredEntry) {}

    fn clear(&self, _: &[Key]) {}

    fn end(&self) {}
}
