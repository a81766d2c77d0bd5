//! One board: the memory, what stands on it, and what may get a place.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memod_protocol::board::layout::Layout;
use memod_protocol::board::{Notice, Placed, Writer};
use memod_protocol::{BoardOffer, Key, ResponseHeader, Scope, wire};
use memod_store::StoredEntry;

use super::admission::Admission;
use super::memory::Memory;
use crate::service::lookup::hit;

/// The board of a scope.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) scope: Scope,
    id: u64,
    memory: Memory,
    layout: Layout,
    inner: Mutex<Inner>,
    /// When it was used last, as its owner counts.
    used: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    writer: Writer,
    admission: Admission,
}

impl Board {
    /// An empty board.
    ///
    /// # Errors
    /// If the kernel gives no memory for it.
    pub(super) fn new(scope: Scope, id: u64, layout: Layout, max_age_ms: u64) -> io::Result<Self> {
        let memory = Memory::new(layout.bytes())?;
        let writer = Writer::begin(memory.words(), layout, id, max_age_ms);
        let inner = Mutex::new(Inner { writer, admission: Admission::new() });
        Ok(Self { scope, id, memory, layout, inner, used: AtomicU64::new(0) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a peer is told of it, and given.
    pub(super) fn offer(&self) -> (BoardOffer, Arc<OwnedFd>) {
        let offer = BoardOffer { id: self.id, bytes: self.layout.bytes() };
        (offer, Arc::clone(self.memory.descriptor()))
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn set_used(&self, at: u64) {
        self.used.store(at, Ordering::Relaxed);
    }

    pub(super) fn set_max_age(&self, max_age_ms: u64) {
        self.inner().writer.set_max_age(self.memory.words(), max_age_ms);
    }

    /// Notes a hit that did not come by the board; whether the entry is to be put on it now.
    pub(super) fn wants(&self, entry: &StoredEntry, now_ms: u64) -> bool {
        let bytes: u64 = entry.outputs.iter().map(|output| output.bytes).sum();
        if bytes > self.layout.content_bytes_max() as u64 {
            return false;
        }
        let Inner { writer, admission } = &mut *self.inner();
        !writer.mark(&entry.key) && admission.hit(&entry.key, now_ms)
    }

    /// Puts an entry on it, in the form in which its hit stands in a frame.
    pub(super) fn publish(&self, entry: &StoredEntry) {
        let reply = hit(entry, entry.provenance.created_at_ms);
        if !reply.streams.is_empty() {
            return;
        }
        let header = wire::encode(&ResponseHeader { id: 0, response: reply.response });
        let payload: Vec<&[u8]> = reply.payload.iter().map(AsRef::as_ref).collect();
        let notice = Notice {
            key: entry.key,
            created_at_ms: entry.provenance.created_at_ms,
            header: &header,
            payload: &payload,
        };
        let placed = self.inner().writer.publish(self.memory.words(), &notice);
        if placed == Placed::No {
            tracing::debug!(key = %entry.key, "an entry has no place on a board");
        }
    }

    /// Notes that an entry was hit by the board.
    pub(super) fn mark(&self, key: &Key) {
        self.inner().writer.mark(key);
    }

    pub(super) fn clear(&self, keys: &[Key]) {
        let mut inner = self.inner();
        if inner.writer.held() > 0 {
            for key in keys {
                inner.writer.clear(self.memory.words(), key);
            }
        }
    }

    /// Empties it for good.
    pub(super) fn close(&self) {
        self.inner().writer.close(self.memory.words());
    }
}

#[cfg(test)]
impl Board {
    pub(super) fn words(&self) -> &[AtomicU64] {
        self.memory.words()
    }

    /// Whether a reader finds an entry.
    pub(super) fn reads(&self, key: &Key) -> bool {
        let board = memod_protocol::board::Board::open(self.words()).expect("a board");
        board.read(key, &mut Vec::new()).is_some()
    }
}
