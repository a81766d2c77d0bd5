//! Looks an entry up, with its outputs.
//!
//! **Invariants.** What is given out is what was put, all from one state of the entry: if a blob
//! is missing because the entry was replaced in the middle, the lookup starts again, on a view of
//! the database that does not change. Only what is missing in such a view is missing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use memod_protocol::limits::{CHUNK_BYTES, INLINE_BYTES_MAX};
use memod_protocol::{Digest, Key, Provenance, Scope};

use crate::chunk_reader::{ChunkRead, ChunkReader};
use crate::error::StoreError;
use crate::hot::HotKey;
use crate::limits::{HOT_WHOLE_BYTES_MIN, LOOKUP_ATTEMPTS_MAX, WHOLE_BYTES_MAX};
use crate::mutation::{BlobFault, Burial};
use crate::record::{BlobRecord, ChunkedRecord, EntryRecord, Grave, GraveCause, OutputRecord};
use crate::rocks::{Read, Reads, Tier, is_damage};
use crate::schema::Column;
use crate::shared::{Shared, now_ms};

/// What a lookup found.
#[derive(Debug)]
pub enum Found {
    /// The entry.
    Entry(Arc<StoredEntry>),
    /// That there was an entry, and why it was removed.
    Grave(Grave),
    /// That no such entry is remembered.
    Unknown,
    /// That the disk would have to be read; only for [`Tier::Memory`].
    WouldBlock,
    /// An entry that does not verify; it is being removed.
    Corrupt {
        /// What is wrong with it.
        detail: String,
    },
    /// An entry whose content is gone; it is being removed.
    BlobMissing {
        /// What is gone.
        detail: String,
    },
}

/// An entry with its outputs.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    /// Its key.
    pub key: Key,
    /// Project and domain.
    pub scope: Scope,
    /// The task's name.
    pub task: String,
    /// The cache version.
    pub cache_version: String,
    /// The signature.
    pub signature: Digest,
    /// The outputs, in the order in which they were put.
    pub outputs: Vec<StoredOutput>,
    /// Who made them.
    pub provenance: Provenance,
}

/// An output of an entry.
#[derive(Debug, Clone)]
pub struct StoredOutput {
    /// Its name.
    pub name: String,
    /// Its type's text.
    pub literal_type: String,
    /// BLAKE3 of its content.
    pub digest: Digest,
    /// Length of its content.
    pub bytes: u64,
    /// Its content.
    pub content: Content,
}

/// The content of an output, verified.
///
/// It is whole if it is no longer than [`WHOLE_BYTES_MAX`], or if it is no longer than a chunk and
/// all outputs of the entry together fit into one frame ([`INLINE_BYTES_MAX`]). So an entry with
/// thousands of outputs does not take gigabytes of memory.
#[derive(Clone)]
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// To be read chunk by chunk.
    Chunked(ChunkReader),
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(content) => write!(formatter, "Whole({} bytes)", content.len()),
            Self::Chunked(reader) => reader.fmt(formatter),
        }
    }
}

/// One attempt's end.
enum Attempt {
    Found(Found),
    /// Something was missing or changed; in a fixed view, that is so.
    Suspect(Fault),
    /// A chunked blob was removed while it was being pinned.
    Overtaken,
}

struct Fault {
    cause: GraveCause,
    detail: String,
    /// The entry's row, if it could be read.
    row: Option<Bytes>,
    blob: Option<BlobFault>,
}

pub(crate) fn lookup(shared: &Arc<Shared>, key: &Key, tier: Tier) -> Result<Found, StoreError> {
    if let Some(entry) = shared.hot_entries.get(key) {
        return Ok(Found::Entry(entry));
    }
    let moment = shared.hot_entries.moment();
    let found = read(shared, key, tier)?;
    if let Found::Entry(entry) = &found {
        shared.hot_entries.let_in(moment, entry);
    }
    Ok(found)
}

fn read(shared: &Arc<Shared>, key: &Key, tier: Tier) -> Result<Found, StoreError> {
    match attempt(shared, &shared.db, key, tier)? {
        Attempt::Found(found) => return Ok(found),
        Attempt::Suspect(_) | Attempt::Overtaken if tier == Tier::Memory => {
            return Ok(Found::WouldBlock);
        }
        Attempt::Suspect(_) | Attempt::Overtaken => {}
    }
    for _ in 0..LOOKUP_ATTEMPTS_MAX {
        match attempt(shared, &shared.db.view(), key, tier)? {
            Attempt::Found(found) => return Ok(found),
            Attempt::Suspect(fault) => return Ok(bury(shared, *key, fault)),
            Attempt::Overtaken => {}
        }
    }
    Err(StoreError::Contended)
}

fn bury(shared: &Shared, key: Key, fault: Fault) -> Found {
    let Fault { cause, detail, row, blob } = fault;
    let row = row.as_deref().map(Digest::of);
    shared.bury(Burial { key, row, blob, cause, at_ms: now_ms() });
    match cause {
        GraveCause::BlobMissing => Found::BlobMissing { detail },
        _ => Found::Corrupt { detail },
    }
}

fn attempt(
    shared: &Arc<Shared>,
    reads: &impl Reads,
    key: &Key,
    tier: Tier,
) -> Result<Attempt, StoreError> {
    let corrupt = |detail, row| {
        let fault = Fault { cause: GraveCause::Corrupt, detail, row, blob: None };
        Ok(Attempt::Suspect(fault))
    };
    let decode = |row: &[u8]| (EntryRecord::decode(row), Bytes::copy_from_slice(row));
    let (record, row) = match reads.read(Column::Entries, key.as_bytes(), tier, decode) {
        Ok(Read::Row((Ok(record), row))) => (record, row),
        Ok(Read::Row((Err(error), row))) => {
            return corrupt(format!("the entry cannot be read: {error}"), Some(row));
        }
        Ok(Read::Absent) => return absent(reads, key, tier),
        Ok(Read::WouldBlock) => return Ok(Attempt::Found(Found::WouldBlock)),
        Err(error) if is_damage(&error) => {
            return corrupt(format!("the entry cannot be read: {error}"), None);
        }
        Err(error) => return Err(error.into()),
    };
    let reader = OutputReader { shared, reads, key, row, tier, fits: fits_one_frame(&record) };
    let mut outputs = Vec::with_capacity(record.outputs.len());
    for output in record.outputs {
        match reader.read(&output)? {
            Fetched::Content(content) => outputs.push(StoredOutput {
                name: output.name,
                literal_type: output.literal_type,
                digest: output.digest,
                bytes: output.bytes,
                content,
            }),
            Fetched::WouldBlock => return Ok(Attempt::Found(Found::WouldBlock)),
            Fetched::Overtaken => return Ok(Attempt::Overtaken),
            Fetched::Fault(fault) => return Ok(Attempt::Suspect(fault)),
        }
    }
    Ok(Attempt::Found(Found::Entry(Arc::new(StoredEntry {
        key: *key,
        scope: record.scope,
        task: record.task,
        cache_version: record.cache_version,
        signature: record.signature,
        outputs,
        provenance: record.provenance,
    }))))
}

fn fits_one_frame(record: &EntryRecord) -> bool {
    record.logical_bytes() <= INLINE_BYTES_MAX
}

/// Why there is no entry.
fn absent(reads: &impl Reads, key: &Key, tier: Tier) -> Result<Attempt, StoreError> {
    let found = |found| Ok(Attempt::Found(found));
    match reads.read(Column::Graves, key.as_bytes(), tier, Grave::decode) {
        Ok(Read::Row(Ok(grave))) => return found(Found::Grave(grave)),
        Ok(Read::WouldBlock) => return found(Found::WouldBlock),
        Ok(Read::Absent) => {}
        Ok(Read::Row(Err(error))) => tracing::warn!(%key, %error, "a grave cannot be read"),
        Err(error) if is_damage(&error) => tracing::warn!(%key, %error, "a grave cannot be read"),
        Err(error) => return Err(error.into()),
    }
    // A put in between has removed the grave, if the entry is there now.
    match reads.read(Column::Entries, key.as_bytes(), tier, |_| ())? {
        Read::Absent => found(Found::Unknown),
        Read::WouldBlock => found(Found::WouldBlock),
        Read::Row(()) => Ok(Attempt::Overtaken),
    }
}

/// What became of reading one output.
enum Fetched {
    Content(Content),
    WouldBlock,
    Overtaken,
    Fault(Fault),
}

/// A row of `blobs`, as far as a reader needs it.
enum Blob {
    Whole(Bytes),
    Chunked(ChunkedRecord),
    Dropped,
}

struct OutputReader<'a, R> {
    shared: &'a Arc<Shared>,
    reads: &'a R,
    key: &'a Key,
    /// The entry's row.
    row: Bytes,
    tier: Tier,
    fits: bool,
}

impl<R: Reads> OutputReader<'_, R> {
    fn fault(
        &self,
        cause: GraveCause,
        output: &OutputRecord,
        storage: Option<u64>,
        what: &str,
    ) -> Fetched {
        let digest = output.digest;
        Fetched::Fault(Fault {
            cause,
            detail: format!("output `{}`, blob {digest}: {what}", output.name.escape_debug()),
            row: Some(self.row.clone()),
            blob: Some(BlobFault { digest, storage }),
        })
    }

    fn read(&self, output: &OutputRecord) -> Result<Fetched, StoreError> {
        let missing = |what| Ok(self.fault(GraveCause::BlobMissing, output, None, what));
        let corrupt = |what: &str| Ok(self.fault(GraveCause::Corrupt, output, None, what));
        if let Some(content) = self.shared.hot.get(HotKey::Whole(output.digest)) {
            return Ok(self.whole(output, content));
        }
        let decode = |row: &[u8]| {
            BlobRecord::decode(row).map(|record| match record {
                BlobRecord::Whole(content) => Blob::Whole(Bytes::copy_from_slice(content)),
                BlobRecord::Chunked(record) => Blob::Chunked(record),
                BlobRecord::Dropped { .. } => Blob::Dropped,
            })
        };
        let digest = output.digest.as_bytes();
        match self.reads.read(Column::Blobs, digest, self.tier, decode) {
            Ok(Read::Row(Ok(Blob::Whole(content)))) => {
                if Digest::of(&content) != output.digest {
                    return corrupt("it does not verify");
                }
                if content.len() >= HOT_WHOLE_BYTES_MIN {
                    self.shared.hot.insert(HotKey::Whole(output.digest), content.clone());
                }
                Ok(self.whole(output, content))
            }
            Ok(Read::Row(Ok(Blob::Chunked(record)))) => self.chunked(output, record),
            Ok(Read::Row(Ok(Blob::Dropped))) => missing("it was damaged and has been dropped"),
            Ok(Read::Row(Err(error))) => corrupt(&error.to_string()),
            Ok(Read::Absent) => missing("it is missing"),
            Ok(Read::WouldBlock) => Ok(Fetched::WouldBlock),
            Err(error) if is_damage(&error) => corrupt(error.as_ref()),
            Err(error) => Err(error.into()),
        }
    }

    /// Content that is verified, if it is as long as the entry says.
    fn whole(&self, output: &OutputRecord, content: Bytes) -> Fetched {
        if content.len() as u64 == output.bytes {
            Fetched::Content(Content::Whole(content))
        } else {
            self.fault(GraveCause::Corrupt, output, None, "it has another length")
        }
    }

    fn chunked(&self, output: &OutputRecord, record: ChunkedRecord) -> Result<Fetched, StoreError> {
        if record.bytes != output.bytes || !record.verifies(&output.digest) {
            let what = "its list of chunks does not verify";
            return Ok(self.fault(GraveCause::Corrupt, output, None, what));
        }
        let storage = record.storage;
        let read_now = self.fits && record.bytes <= u64::from(CHUNK_BYTES);
        if read_now && let Some(content) = self.shared.hot.get(HotKey::Chunk(storage, 0)) {
            return Ok(self.whole(output, content));
        }
        let reader = ChunkReader::pin(
            Arc::clone(self.shared),
            *self.key,
            self.row.clone(),
            output.digest,
            record,
        );
        if !reader.still_owned(self.tier)? {
            return Ok(Fetched::Overtaken);
        }
        if !read_now {
            return Ok(Fetched::Content(Content::Chunked(reader)));
        }
        Ok(match reader.read(0, self.tier)? {
            ChunkRead::Content(content) => self.whole(output, content),
            ChunkRead::WouldBlock => Fetched::WouldBlock,
            ChunkRead::Fault(cause, what) => self.fault(cause, output, Some(storage), &what),
        })
    }
}

const _: () = assert!(WHOLE_BYTES_MAX < CHUNK_BYTES as usize);
