//! Reads content chunk by chunk.
//!
//! **Invariants.** A chunk is verified before it is given out. While a reader lives, the chunks of
//! its storage stay, whatever becomes of the entry.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use memod_protocol::{Digest, Key};

use crate::error::StoreError;
use crate::hashing::{chaining_value, chunk_bytes};
use crate::hot::HotKey;
use crate::mutation::{BlobFault, Burial, Mutation};
use crate::record::{BlobRecord, ChunkedRecord, GraveCause};
use crate::rocks::{Read, Reads, Tier, is_damage};
use crate::schema::{Column, chunk_key};
use crate::shared::{Shared, now_ms};

/// The chunks of an output. Clones read the same content.
#[derive(Clone)]
pub struct ChunkReader {
    source: Arc<Source>,
}

struct Source {
    shared: Arc<Shared>,
    /// The entry through which the content was found, and its row.
    key: Key,
    row: Bytes,
    digest: Digest,
    record: ChunkedRecord,
}

/// What became of reading one chunk.
pub(crate) enum ChunkRead<T = Bytes> {
    Content(T),
    WouldBlock,
    /// It is gone, or not what was written.
    Fault(GraveCause, String),
}

impl ChunkReader {
    /// A reader that pins its storage. Nothing may be read before [`ChunkReader::still_owned`].
    pub(crate) fn pin(
        shared: Arc<Shared>,
        key: Key,
        row: Bytes,
        digest: Digest,
        record: ChunkedRecord,
    ) -> Self {
        shared.pins.pin(record.storage);
        Self { source: Arc::new(Source { shared, key, row, digest, record }) }
    }

    /// Whether the blob owns the storage now that it is pinned. Asks the database as it is; the
    /// row has just been read, so that it is not in memory is all but impossible.
    pub(crate) fn still_owned(&self, tier: Tier) -> Result<bool, StoreError> {
        let source = &*self.source;
        let same = |row: &[u8]| match BlobRecord::decode(row) {
            Ok(BlobRecord::Chunked(record)) => record == source.record,
            _ => false,
        };
        match source.shared.db.read(Column::Blobs, source.digest.as_bytes(), tier, same) {
            Ok(read) => Ok(read == Read::Row(true)),
            Err(error) if is_damage(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How many chunks there are; one at least.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        self.source.record.chunk_count()
    }

    /// The content's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.source.digest
    }

    /// The content's length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.source.record.bytes
    }

    /// The chunk of that index, verified. `None`: it is not in memory, and the tier is
    /// [`Tier::Memory`].
    ///
    /// # Errors
    /// If there is no such chunk, the disk cannot be read, or the chunk is damaged; in that case
    /// the entry is removed, without waiting.
    pub fn chunk(&self, index: u32, tier: Tier) -> Result<Option<Bytes>, StoreError> {
        self.check_index(index)?;
        self.served(self.read(index, tier)?)
    }

    /// Reads the chunk of that index, from the disk if need be, and hands it on uncopied once it is
    /// verified. For who keeps the content elsewhere: it is not kept in memory here.
    ///
    /// # Errors
    /// As [`ChunkReader::chunk`].
    pub fn with_chunk<T>(
        &self,
        index: u32,
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, StoreError> {
        self.check_index(index)?;
        let Source { shared, record, .. } = &*self.source;
        if let Some(content) = shared.hot.get(HotKey::Chunk(record.storage, index)) {
            return Ok(with(&content));
        }
        let served = self.served(self.read_row(index, Tier::Disk, with)?)?;
        served.ok_or(StoreError::Contended)
    }

    fn check_index(&self, index: u32) -> Result<(), StoreError> {
        let chunks = self.chunk_count();
        if index < chunks { Ok(()) } else { Err(StoreError::NoSuchChunk { index, chunks }) }
    }

    /// What is served of a chunk that was read; one that is damaged ends its entry.
    fn served<T>(&self, read: ChunkRead<T>) -> Result<Option<T>, StoreError> {
        let source = &*self.source;
        match read {
            ChunkRead::Content(content) => Ok(Some(content)),
            ChunkRead::WouldBlock => Ok(None),
            ChunkRead::Fault(cause, what) => {
                let storage = Some(source.record.storage);
                source.shared.bury(Burial {
                    key: source.key,
                    row: Some(Digest::of(&source.row)),
                    blob: Some(BlobFault { digest: source.digest, storage }),
                    cause,
                    at_ms: now_ms(),
                });
                Err(StoreError::Damaged { what })
            }
        }
    }

    /// Reads and verifies a chunk that there is.
    pub(crate) fn read(&self, index: u32, tier: Tier) -> Result<ChunkRead, StoreError> {
        let Source { shared, record, .. } = &*self.source;
        let hot_key = HotKey::Chunk(record.storage, index);
        if let Some(content) = shared.hot.get(hot_key) {
            return Ok(ChunkRead::Content(content));
        }
        let read = self.read_row(index, tier, Bytes::copy_from_slice)?;
        if let ChunkRead::Content(content) = &read {
            shared.hot.insert(hot_key, content.clone());
        }
        Ok(read)
    }

    /// Reads and verifies the row of a chunk that there is.
    fn read_row<T>(
        &self,
        index: u32,
        tier: Tier,
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<ChunkRead<T>, StoreError> {
        let Source { shared, digest, record, .. } = &*self.source;
        let row = chunk_key(record.storage, index);
        let fault = |cause, what: &str| {
            Ok(ChunkRead::Fault(cause, format!("chunk {index} of blob {digest} {what}")))
        };
        let with = |content: &[u8]| verifies(digest, record, index, content).then(|| with(content));
        match shared.db.read(Column::Chunks, &row, tier, with) {
            Ok(Read::Row(Some(content))) => Ok(ChunkRead::Content(content)),
            Ok(Read::Row(None)) => fault(GraveCause::Corrupt, "does not verify"),
            Ok(Read::Absent) => fault(GraveCause::BlobMissing, "is missing"),
            Ok(Read::WouldBlock) => Ok(ChunkRead::WouldBlock),
            Err(error) if is_damage(&error) => {
                fault(GraveCause::Corrupt, &format!("cannot be read: {error}"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether this is the content of that chunk.
pub(crate) fn verifies(
    digest: &Digest,
    record: &ChunkedRecord,
    index: u32,
    content: &[u8],
) -> bool {
    if content.len() as u64 != chunk_bytes(record.bytes, index) {
        return false;
    }
    if record.chunk_count() == 1 {
        return Digest::of(content) == *digest;
    }
    let expected = usize::try_from(index).ok().and_then(|index| record.chaining.get(index));
    expected.is_some_and(|expected| chaining_value(index, content) == *expected)
}

impl Drop for Source {
    fn drop(&mut self) {
        let storage = self.record.storage;
        if let Some(chunks) = self.shared.pins.unpin(storage) {
            self.shared.queue.force(Mutation::Reap { storage, chunks });
        }
    }
}

impl fmt::Debug for ChunkReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, digest) = (self.source.record.bytes, self.source.digest);
        write!(formatter, "ChunkReader({digest}, {bytes} bytes)")
    }
}
