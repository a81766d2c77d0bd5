//! Content on its way in: hashed, cut into chunks, and written ahead of the entry that will own it.
//!
//! **Invariants.** An upload holds at most one chunk in memory, besides what waits in the writer's
//! queue. Its storage has a loose row from its first chunk on, so that whatever becomes of the
//! process, either a blob owns the chunks or they are removed.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memod_protocol::Digest;
use memod_protocol::limits::{BLOB_BYTES_MAX, CHUNK_BYTES};

use crate::error::StoreError;
use crate::failpoint::{Failpoint, reach};
use crate::hashing::{self, ChainingValue};
use crate::limits::LOOSE_CHUNKS_MIN;
use crate::mutation::{Failure, Mutation};
use crate::room::never_fits;
use crate::shared::Shared;
use crate::uploading::Promise;

const CHUNK: usize = CHUNK_BYTES as usize;

/// Content that has been hashed and is ready to be put. Dropped without a put, it is forgotten.
pub struct Prepared {
    digest: Digest,
    bytes: u64,
    pub(crate) chaining: Vec<ChainingValue>,
    pub(crate) content: PreparedContent,
}

/// Where prepared content is.
pub(crate) enum PreparedContent {
    Memory(Bytes),
    Stored(LooseStorage),
}

impl Prepared {
    pub(crate) fn in_memory(content: Bytes) -> Self {
        let (digest, chaining) = hashing::hash(&content);
        let bytes = content.len() as u64;
        Self { digest, bytes, chaining, content: PreparedContent::Memory(content) }
    }

    /// The content's digest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The content's length in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.content {
            PreparedContent::Memory(content) => content.len(),
            PreparedContent::Stored(_) => 0,
        }
    }

    /// Whether all of it has been written so far, if it was written ahead.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &self.content {
            PreparedContent::Memory(_) => Ok(()),
            PreparedContent::Stored(storage) => storage.failure.check(),
        }
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Prepared({}, {} bytes)", self.digest, self.bytes)
    }
}

/// Chunks on disk that no blob owns yet; removed when dropped.
pub(crate) struct LooseStorage {
    shared: Arc<Shared>,
    pub(crate) id: u64,
    /// How many chunks have been handed to the writer.
    chunks: u32,
    /// How many chunks the loose row covers.
    reserved: u32,
    failure: Arc<Failure>,
    by: Uploader,
    /// Bytes that its user holds by it, besides what was promised.
    held: u64,
    owned: bool,
}

impl LooseStorage {
    fn new(shared: Arc<Shared>, by: Uploader) -> Self {
        let (id, failure) = (shared.new_storage(), Arc::default());
        Self { shared, id, chunks: 0, reserved: 0, failure, by, held: 0, owned: false }
    }

    /// Lets it hold so many bytes more; says whether they were promised.
    fn hold(&mut self, bytes: u64) -> Result<bool, StoreError> {
        if self.by.promise.as_ref().is_some_and(|promise| promise.draw(bytes)) {
            return Ok(true);
        }
        if let Some(uid) = self.by.uid {
            self.shared.uploading.take(uid, bytes, self.shared.budgets().of_user(uid))?;
            self.held += bytes;
        }
        Ok(false)
    }

    fn write(&mut self, content: Bytes) -> Result<(), StoreError> {
        self.failure.check()?;
        let is_promised = self.hold(content.len() as u64)?;
        let index = self.chunks;
        if index > 0 {
            reach(Failpoint::UploadChunk);
        }
        let reserve = (index >= self.reserved).then(|| (index * 2).max(LOOSE_CHUNKS_MIN));
        self.reserved = reserve.unwrap_or(self.reserved);
        self.chunks += 1;
        let (storage, failure) = (self.id, Arc::clone(&self.failure));
        let chunk = Mutation::Chunk { storage, index, content, reserve, is_promised, failure };
        self.shared.queue.push(chunk).map_err(|_| StoreError::Closed)
    }

    /// Says that a blob owns the chunks now.
    pub(crate) fn set_owned(mut self) {
        self.owned = true;
    }
}

impl Drop for LooseStorage {
    fn drop(&mut self) {
        if !self.owned {
            let reap = Mutation::Reap { storage: self.id, chunks: self.chunks };
            self.shared.queue.force(reap);
        }
        if let Some(uid) = self.by.uid {
            self.shared.uploading.give_back(uid, self.held);
        }
    }
}

/// Who uploads.
#[derive(Debug, Clone, Default)]
pub struct Uploader {
    /// The user in whose budget the upload has to be; none: nobody's.
    pub uid: Option<u32>,
    /// What was promised for it, if it was announced.
    pub promise: Option<Promise>,
}

/// Content that arrives in pieces. Dropped before it is finished, it leaves nothing behind.
pub struct Upload {
    shared: Arc<Shared>,
    by: Uploader,
    bytes: u64,
    /// A part of a chunk; empty while `held` is not.
    gathered: BytesMut,
    /// A whole chunk, held back until it is known that more follows.
    held: Option<Bytes>,
    chaining: Vec<ChainingValue>,
    storage: Option<LooseStorage>,
}

impl Upload {
    pub(crate) fn new(shared: Arc<Shared>, by: Uploader) -> Self {
        Self {
            shared,
            by,
            bytes: 0,
            gathered: BytesMut::new(),
            held: None,
            chaining: Vec::new(),
            storage: None,
        }
    }

    /// Takes the next bytes; waits while the writer is behind.
    ///
    /// # Errors
    /// If the content gets too long, earlier bytes could not be written, or the store is closed.
    pub fn write(&mut self, mut content: Bytes) -> Result<(), StoreError> {
        self.bytes += content.len() as u64;
        if self.bytes > BLOB_BYTES_MAX {
            return Err(StoreError::TooLong { max: BLOB_BYTES_MAX });
        }
        if let Some(full) = never_fits(&self.shared.budgets(), self.bytes, None) {
            return Err(full.into_error());
        }
        while !content.is_empty() {
            if let Some(chunk) = self.held.take() {
                self.spill(chunk)?;
            }
            if self.gathered.is_empty() && content.len() >= CHUNK {
                self.held = Some(content.split_to(CHUNK));
                continue;
            }
            if self.gathered.capacity() == 0 && self.storage.is_some() {
                self.gathered.reserve(CHUNK);
            }
            let missing = CHUNK - self.gathered.len();
            self.gathered.extend_from_slice(&content.split_to(missing.min(content.len())));
            if self.gathered.len() == CHUNK {
                self.held = Some(self.gathered.split().freeze());
            }
        }
        Ok(())
    }

    fn spill(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let shared = &self.shared;
        let by = &self.by;
        let storage =
            self.storage.get_or_insert_with(|| LooseStorage::new(Arc::clone(shared), by.clone()));
        self.chaining.push(hashing::chaining_value(storage.chunks, &chunk));
        storage.write(chunk)
    }

    /// Ends the content, without waiting for the writer: that it is all written is told by the put
    /// that uses it.
    ///
    /// # Errors
    /// If earlier bytes could not be written, or the store is closed.
    pub fn finish(mut self) -> Result<Prepared, StoreError> {
        let rest = self.held.take().unwrap_or_else(|| self.gathered.split().freeze());
        let Some(mut storage) = self.storage.take() else { return Ok(Prepared::in_memory(rest)) };
        self.chaining.push(hashing::chaining_value(storage.chunks, &rest));
        storage.write(rest)?;
        storage.failure.check()?;
        reach(Failpoint::UploadFinished);
        Ok(Prepared {
            digest: hashing::merge(&self.chaining),
            bytes: self.bytes,
            chaining: self.chaining,
            content: PreparedContent::Stored(storage),
        })
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Upload({} bytes so far)", self.bytes)
    }
}
