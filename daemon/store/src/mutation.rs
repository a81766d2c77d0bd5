//! What the writer is asked to do.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memod_protocol::{CallIdentity, Digest, InterfaceText, Key, Provenance, PutOutcome};

use crate::error::StoreError;
use crate::limits::MUTATION_BYTES;
use crate::mend::Mend;
use crate::record::{Grave, GraveCause};
use crate::schema::Column;
use crate::upload::Prepared;

/// An entry to store. The store trusts that names are within the protocol's limits, that the key
/// is the identity's and that the outputs are those of the interface.
#[derive(Debug)]
pub struct NewEntry {
    /// The entry's key.
    pub key: Key,
    /// What the key is made of.
    pub identity: CallIdentity,
    /// Declared inputs and outputs.
    pub interface: InterfaceText,
    /// Name, type and content of each output.
    pub outputs: Vec<(String, String, Prepared)>,
    /// The run that made them, and when.
    pub provenance: Provenance,
    /// What to do if there is an entry of that key already.
    pub replace: Replace,
    /// Whether it is stored as if nobody else had its content: content in memory is written anew,
    /// and all of it is charged to its scope and user. So who puts it does not learn, by time or by
    /// charge, what others have stored.
    pub apart: bool,
}

/// What to do with an entry that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Leave it.
    Never,
    /// Replace it.
    Always,
    /// Replace it if it was written before this instant (milliseconds since 1970-01-01 UTC).
    IfCreatedBefore(u64),
}

impl Replace {
    /// Whether an entry that was written then is replaced.
    #[must_use]
    pub const fn replaces(self, created_at_ms: u64) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::IfCreatedBefore(ms) => created_at_ms < ms,
        }
    }
}

/// Is called once, on the writer's thread, with what became of a mutation.
pub(crate) type Done<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// Why a chunk of an upload could not be written, if one could not.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    error: Mutex<Option<StoreError>>,
}

impl Failure {
    pub(crate) fn set(&self, error: StoreError) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.clone().map_or(Ok(()), Err)
    }
}

/// An entry that a reader found damaged.
#[derive(Debug)]
pub(crate) struct Burial {
    pub(crate) key: Key,
    /// Digest of the row that the reader saw, so that no newer entry is buried; none if the row
    /// could not be read at all.
    pub(crate) row: Option<Digest>,
    /// The blob that is at fault.
    pub(crate) blob: Option<BlobFault>,
    pub(crate) cause: GraveCause,
    pub(crate) at_ms: u64,
}

/// A blob that a reader found damaged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlobFault {
    pub(crate) digest: Digest,
    /// The storage in which it is damaged; none if its row is.
    pub(crate) storage: Option<u64>,
}

/// One thing to do.
pub(crate) enum Mutation {
    Put {
        entry: Box<NewEntry>,
        done: Done<PutOutcome>,
    },
    Remove {
        keys: Vec<Key>,
        grave: Grave,
        done: Done<u64>,
    },
    Bury(Burial),
    /// What a verification found: whether an entry was removed.
    Mend {
        mend: Mend,
        done: Done<bool>,
    },
    /// Write damaged columns anew.
    Renew {
        columns: Vec<Column>,
        done: Done<()>,
    },
    /// A chunk of an upload. `reserve`: to how many chunks the loose row is to be extended.
    Chunk {
        storage: u64,
        index: u32,
        content: Bytes,
        reserve: Option<u32>,
        /// Its upload was announced, and it is within what was promised for that.
        is_promised: bool,
        failure: Arc<Failure>,
    },
    /// A storage that nobody owns or reads any more.
    Reap {
        storage: u64,
        chunks: u32,
    },
    /// Somebody asked for the entry of this key, which was evicted.
    Regret(Key),
    /// Write down what has been used.
    Fold {
        done: Done<()>,
    },
    /// Evict down to the low water mark. Answered with how many entries that took.
    Shrink {
        done: Done<u64>,
    },
    /// Nothing: the writer is to look whether there is something to do.
    Wake,
    Note {
        name: String,
        value: Vec<u8>,
        done: Done<()>,
    },
    /// Nothing: done when everything before it is.
    Barrier {
        done: Done<()>,
    },
}

impl Mutation {
    /// What it counts for in the bounds of queue and group.
    pub(crate) fn bytes(&self) -> usize {
        MUTATION_BYTES
            + match self {
                Self::Put { entry, .. } => {
                    entry.outputs.iter().map(|(_, _, prepared)| prepared.memory_bytes()).sum()
                }
                Self::Remove { keys, .. } => keys.len() * MUTATION_BYTES,
                Self::Chunk { content, .. } => content.len(),
                Self::Note { value, .. } => value.len(),
                Self::Bury(_)
                | Self::Mend { .. }
                | Self::Renew { .. }
                | Self::Reap { .. }
                | Self::Regret(_)
                | Self::Fold { .. }
                | Self::Shrink { .. }
                | Self::Wake
                | Self::Barrier { .. } => 0,
            }
    }

    /// Answers that it will not be done.
    pub(crate) fn refuse(self, error: StoreError) {
        match self {
            Self::Put { done, .. } => done(Err(error)),
            Self::Remove { done, .. } | Self::Shrink { done } => done(Err(error)),
            Self::Mend { done, .. } => done(Err(error)),
            Self::Renew { done, .. }
            | Self::Fold { done }
            | Self::Note { done, .. }
            | Self::Barrier { done } => done(Err(error)),
            Self::Chunk { failure, .. } => failure.set(error),
            // What is loose is removed when the store is opened again.
            Self::Bury(_) | Self::Reap { .. } | Self::Regret(_) | Self::Wake => {}
        }
    }
}
