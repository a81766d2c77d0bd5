//! Reads a blob, all of it or as much as a step of a verification may.
//!
//! **Invariants.** What is in the hot cache is not asked.

use memod_protocol::Digest;

use crate::chunk_reader::verifies;
use crate::error::StoreError;
use crate::record::{BlobRecord, ChunkedRecord, GraveCause};
use crate::rocks::{Read, Reads, RocksError, Tier, View, is_damage};
use crate::schema::{Column, chunk_key};

/// How far a blob has been read.
#[derive(Debug)]
pub(crate) enum BlobProgress {
    /// Its chunks before this one, in this storage, are sound.
    Reading {
        storage: u64,
        next: u32,
    },
    Sound {
        bytes: u64,
    },
    Bad(Fault),
}

/// What is wrong with a blob.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) cause: GraveCause,
    pub(crate) storage: Option<u64>,
    pub(crate) what: String,
}

/// What a step may still read.
pub(crate) struct Allowance {
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
}

impl Allowance {
    pub(crate) fn is_used_up(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    pub(crate) fn take(&mut self, bytes: usize) {
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

/// A row in a form that may be damaged: absent and damaged are told apart.
pub(crate) enum Seen<T> {
    Row(T),
    Absent,
    Damaged(RocksError),
}

pub(crate) fn see<T>(
    view: &View<'_>,
    column: Column,
    key: &[u8],
    with: impl FnOnce(&[u8]) -> T,
) -> Result<Seen<T>, StoreError> {
    match view.read(column, key, Tier::Disk, with) {
        Ok(Read::Row(row)) => Ok(Seen::Row(row)),
        Ok(Read::Absent | Read::WouldBlock) => Ok(Seen::Absent),
        Err(error) if is_damage(&error) => Ok(Seen::Damaged(error)),
        Err(error) => Err(error.into()),
    }
}

/// What a row of `blobs` says, without small content, which is hashed where it stands.
enum Blob {
    Whole { bytes: u64, verifies: bool },
    Chunked(ChunkedRecord),
    Dropped,
    Unreadable(String),
}

pub(crate) fn read_blob(
    view: &View<'_>,
    digest: &Digest,
    (storage, next): (u64, u32),
    left: &mut Allowance,
) -> Result<BlobProgress, StoreError> {
    let bad = |cause, what: String| {
        Ok(BlobProgress::Bad(Fault { cause, storage: None, what: format!("blob {digest} {what}") }))
    };
    let decode = |row: &[u8]| match BlobRecord::decode(row) {
        Ok(BlobRecord::Whole(content)) => {
            Blob::Whole { bytes: content.len() as u64, verifies: Digest::of(content) == *digest }
        }
        Ok(BlobRecord::Chunked(record)) => Blob::Chunked(record),
        Ok(BlobRecord::Dropped { .. }) => Blob::Dropped,
        Err(error) => Blob::Unreadable(error.to_string()),
    };
    match see(view, Column::Blobs, digest.as_bytes(), decode)? {
        Seen::Row(Blob::Whole { bytes, verifies }) => {
            left.take(usize::try_from(bytes).unwrap_or(usize::MAX));
            if verifies {
                return Ok(BlobProgress::Sound { bytes });
            }
            bad(GraveCause::Corrupt, "does not verify".to_owned())
        }
        Seen::Row(Blob::Chunked(record)) if !record.verifies(digest) => {
            bad(GraveCause::Corrupt, "has a list of chunks that does not verify".to_owned())
        }
        Seen::Row(Blob::Chunked(record)) => {
            let next = if record.storage == storage { next } else { 0 };
            read_chunks(view, digest, &record, next, left)
        }
        Seen::Row(Blob::Dropped) => {
            bad(GraveCause::BlobMissing, "was damaged and has been dropped".to_owned())
        }
        Seen::Row(Blob::Unreadable(error)) => {
            bad(GraveCause::Corrupt, format!("cannot be read: {error}"))
        }
        Seen::Absent => bad(GraveCause::BlobMissing, "is missing".to_owned()),
        Seen::Damaged(error) => bad(GraveCause::Corrupt, format!("cannot be read: {error}")),
    }
}

fn read_chunks(
    view: &View<'_>,
    digest: &Digest,
    record: &ChunkedRecord,
    first: u32,
    left: &mut Allowance,
) -> Result<BlobProgress, StoreError> {
    let storage = record.storage;
    for index in first..record.chunk_count() {
        if left.is_used_up() {
            return Ok(BlobProgress::Reading { storage, next: index });
        }
        let check = |content: &[u8]| (content.len(), verifies(digest, record, index, content));
        let (cause, what) = match see(view, Column::Chunks, &chunk_key(storage, index), check)? {
            Seen::Row((bytes, true)) => {
                left.take(bytes);
                continue;
            }
            Seen::Row((_, false)) => (GraveCause::Corrupt, "does not verify".to_owned()),
            Seen::Absent => (GraveCause::BlobMissing, "is missing".to_owned()),
            Seen::Damaged(error) => (GraveCause::Corrupt, format!("cannot be read: {error}")),
        };
        let what = format!("chunk {index} of blob {digest} {what}");
        return Ok(BlobProgress::Bad(Fault { cause, storage: Some(storage), what }));
    }
    Ok(BlobProgress::Sound { bytes: record.bytes })
}
