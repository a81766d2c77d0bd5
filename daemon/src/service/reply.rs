//! What the service answers with: a message, bytes that go with it, and bytes that follow it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use memod_protocol::{Delivery, ErrorCode, Key, Response, Scope, WireError};
use memod_store::{ChunkReader, StoreError, Tier};

use super::account::Account;
use super::pool;

/// Failures of the store are logged no more often than this.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The message.
    pub(crate) response: Response,
    /// Its payload, in pieces.
    pub(crate) payload: Vec<Bytes>,
    /// The descriptors that the message announces, in order.
    pub(crate) descriptors: Vec<Arc<OwnedFd>>,
    /// Outputs that follow chunk by chunk, each with its index in the hit.
    pub(crate) streams: Vec<(u32, Stream)>,
    /// Outputs that are streamed after all if the descriptors cannot be sent.
    pub(crate) instead: Vec<(u32, Stream)>,
    /// The key that it is about, where the message does not say.
    pub(crate) key: Option<Key>,
    /// The scope and the task that it is about, where neither request nor message says.
    pub(crate) of: Option<Box<(Scope, String)>>,
    /// What is to be written down of each of many lookups.
    pub(crate) accounts: Vec<Account>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self {
            response,
            payload: Vec::new(),
            descriptors: Vec::new(),
            streams: Vec::new(),
            instead: Vec::new(),
            key: None,
            of: None,
            accounts: Vec::new(),
        }
    }
}

impl Reply {
    /// The same, about this key.
    pub(crate) fn about(self, key: Key) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The same without descriptors, as it was before [`super::Service::seal`].
    pub(crate) fn unsealed(mut self) -> Self {
        if let Response::Hit(hit) = &mut self.response {
            for output in hit.outputs.iter_mut().filter(|of| of.delivery == Delivery::Sealed) {
                output.delivery = Delivery::Stream;
            }
        }
        self.streams.append(&mut self.instead);
        self.streams.sort_by_key(|(index, _)| *index);
        self.descriptors.clear();
        self
    }

    /// Whether it says that there is no entry.
    pub(crate) fn is_miss(&self) -> bool {
        matches!(self.response, Response::Miss(_))
    }
}

/// An output's bytes, chunk by chunk.
#[derive(Debug)]
pub(crate) enum Stream {
    /// In one piece; none once it has been taken.
    Whole(Option<Bytes>),
    /// In many.
    Chunked {
        /// Where they are read.
        reader: ChunkReader,
        /// The index of the next.
        next: u32,
    },
}

impl Stream {
    /// Whether all has been taken.
    pub(crate) fn is_at_end(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Chunked { reader, next } => *next >= reader.chunk_count(),
        }
    }

    /// The next chunk, verified; none at the end.
    ///
    /// # Errors
    /// If it cannot be read or does not verify.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, WireError> {
        match self {
            Self::Whole(bytes) => Ok(bytes.take().filter(|bytes| !bytes.is_empty())),
            Self::Chunked { reader, next } => {
                if *next >= reader.chunk_count() {
                    return Ok(None);
                }
                let index = *next;
                *next += 1;
                if let Some(chunk) = reader.chunk(index, Tier::Memory).map_err(store_error)? {
                    return Ok(Some(chunk));
                }
                let reader = reader.clone();
                let read = pool::run(move || reader.chunk(index, Tier::Disk)).await?;
                read.map_err(store_error)
            }
        }
    }
}

fn over_budget(error: &StoreError) -> WireError {
    WireError::new(ErrorCode::OverBudget, error.to_string())
}

/// Writes a failure of the store into the log, but not each of thousands: that would fill a disk.
fn log_failure(error: &StoreError) {
    static LOGGED: Mutex<Option<Instant>> = Mutex::new(None);
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
        *logged = Some(Instant::now());
        tracing::error!("the store failed: {error}");
    } else {
        tracing::debug!("the store failed: {error}");
    }
}

/// What a peer is told of an error of the store.
pub(crate) fn store_error(error: StoreError) -> WireError {
    match error {
        StoreError::DiskFull { .. } => {
            WireError::new(ErrorCode::OverBudget, error.to_string()).with_hint("make room on it")
        }
        StoreError::StoreFull { uploading: 1.., .. } => over_budget(&error).with_hint(
            "wait until other uploads have ended; who administers it can set a larger \
             store_bytes_max",
        ),
        StoreError::StoreFull { .. } => over_budget(&error).with_hint(
            "who administers it can set a larger store_bytes_max, or remove entries with `memo \
             rm`",
        ),
        StoreError::EntryTooLarge { .. } => over_budget(&error).with_hint(
            "store less; who administers it can set a larger store_bytes_max or store_bytes_low",
        ),
        StoreError::UploadsFull { .. } => over_budget(&error).with_hint(
            "wait until other uploads have ended, or put from a file or from memory, whose length \
             is known before; who administers it can set a larger store_bytes_max",
        ),
        StoreError::ScopeFull { .. } => over_budget(&error).with_hint(
            "who administers it can set a larger scope_bytes or scope_bytes_max, or remove entries \
             of it with `memo rm`",
        ),
        StoreError::UserFull { .. } => over_budget(&error).with_hint(
            "who administers it can set a larger user_bytes or user_bytes_max, or remove the \
             user's entries with `memo rm --writer`",
        ),
        StoreError::DiskLow { .. } => over_budget(&error)
            .with_hint("make room on the disk, or set a smaller disk_reserve_bytes"),
        StoreError::Closed => WireError::new(ErrorCode::ShuttingDown, "the daemon is stopping"),
        StoreError::Undescribed { .. } => WireError::new(ErrorCode::NotFound, error.to_string())
            .with_hint("remove it with `memo rm`, so that it is computed again"),
        StoreError::InvalidCursor => WireError::new(ErrorCode::InvalidArgument, error.to_string()),
        damaged @ StoreError::Damaged { .. } => {
            log_failure(&damaged);
            WireError::new(ErrorCode::Internal, format!("the store failed: {damaged}"))
                .with_hint("`memo verify --repair` says what is damaged, and mends what it can")
        }
        other => {
            log_failure(&other);
            WireError::new(ErrorCode::Internal, format!("the store failed: {other}"))
        }
    }
}
