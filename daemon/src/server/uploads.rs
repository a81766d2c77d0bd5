//! The uploads of one connection: large outputs on their way in.
//!
//! **Invariants.** Nothing of an upload is visible until a put uses it; what is not used is gone
//! when the connection is. An upload that has lost any of its bytes stays failed until that has
//! been told. Each gathers a chunk in memory, with a share of the budget; one that is slow while
//! others wait for memory is given up. What was promised to the uploads of a put that was announced
//! is theirs, until that put comes or another is announced.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::limits::{BLOB_BYTES_MAX, CHUNK_BYTES, UPLOADS_OPEN_MAX};
use memod_protocol::{Digest, ErrorCode, Response, WireError};
use memod_store::{Prepared, Promise, Upload};
use tokio::time::Instant;

use super::budget::{Budgets, PRESSED_PATIENCE, Pressure, Share};
use super::frames::Descriptors;
use super::peer::Peer;
use crate::service::{Service, digest_mismatch};

const CHUNK: usize = CHUNK_BYTES as usize;
/// Failed uploads that are remembered until they are ended, besides those that are open.
const FAILED_MAX: usize = 64;
/// How long a new upload waits for memory. Its first bytes are held meanwhile, so not for ever.
const OPENING_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes a second from which on an upload is not slow.
const SLOW_BYTES: u64 = 1024 * 1024;

/// The uploads of one connection.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    by_number: HashMap<u32, State>,
    /// What was promised to those of these numbers.
    promised: Option<(Vec<u32>, Promise)>,
}

enum State {
    Open {
        upload: Upload,
        bytes: u64,
        began: Instant,
        share: Share,
    },
    Ended {
        prepared: Prepared,
        since: Instant,
        /// None if all of the content has been written.
        _share: Option<Share>,
    },
    Failed(WireError),
}

impl State {
    /// When it becomes slow; none if it holds no memory.
    fn slow_from(&self) -> Option<Instant> {
        match self {
            Self::Open { bytes, began, .. } => {
                let fair = Duration::from_millis(bytes.saturating_mul(1000) / SLOW_BYTES);
                Some(*began + PRESSED_PATIENCE + fair)
            }
            Self::Ended { since, _share: Some(_), .. } => Some(*since + PRESSED_PATIENCE),
            Self::Ended { .. } | Self::Failed(_) => None,
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Open { .. } => "Open",
            Self::Ended { .. } => "Ended",
            Self::Failed(_) => "Failed",
        })
    }
}

impl Uploads {
    /// From now on this is promised to the uploads of these numbers, and nothing to others.
    pub(crate) fn promise(&mut self, numbers: Vec<u32>, promise: Option<Promise>) {
        self.promised = promise.map(|promise| (numbers, promise));
    }

    /// What was promised to the upload of this number.
    fn promise_of(&self, number: u32) -> Option<Promise> {
        let promised = self.promised.as_ref().filter(|(numbers, _)| numbers.contains(&number));
        promised.map(|(_, promise)| promise.clone())
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Takes the next bytes of an upload. What goes wrong is told when the upload is ended.
    ///
    /// # Errors
    /// If so many uploads have failed that no more can be remembered.
    pub(crate) async fn data(
        &mut self,
        (service, peer): (&Service, &Peer),
        number: u32,
        payload: Bytes,
        budgets: &Budgets,
    ) -> Result<(), WireError> {
        let state = match self.by_number.remove(&number) {
            Some(State::Open { upload, bytes, began, share }) => {
                append((service, peer), upload, bytes, payload, (began, share)).await
            }
            Some(State::Ended { .. }) => State::Failed(invalid("upload", "has been ended already")),
            Some(failed @ State::Failed(_)) => failed,
            None => match service.begin_upload(peer, self.promise_of(number)) {
                Ok(upload) => match self.open(budgets).await {
                    Ok(share) => {
                        let since = (Instant::now(), share);
                        append((service, peer), upload, 0, payload, since).await
                    }
                    Err(error) => State::Failed(error),
                },
                Err(error) => State::Failed(error),
            },
        };
        if let State::Failed(error) = &state
            && self.by_number.len() >= UPLOADS_OPEN_MAX as usize + FAILED_MAX
        {
            return Err(error.clone());
        }
        self.by_number.insert(number, state);
        Ok(())
    }

    /// Room for a further upload. Meanwhile those that are slow are given up: they may hold what
    /// others wait for who hold that room.
    async fn open(&mut self, budgets: &Budgets) -> Result<Share, WireError> {
        self.check_count()?;
        let mut share = pin!(budgets.uploads.share(CHUNK));
        let opening = async {
            loop {
                tokio::select! {
                    biased;
                    share = &mut share => return share,
                    () = self.slow(budgets.pressure()), if !self.is_empty() => self.give_up_slow(),
                }
            }
        };
        tokio::time::timeout(OPENING_TIMEOUT, opening).await.map_err(|_| {
            WireError::new(ErrorCode::Busy, "too many uploads are under way in all")
                .with_hint("try again later, or let the daemon have a larger buffer_bytes_max")
        })
    }

    fn check_count(&self) -> Result<(), WireError> {
        let failed = |state: &&State| matches!(state, State::Failed(_));
        let open = self.by_number.len() - self.by_number.values().filter(failed).count();
        if open < UPLOADS_OPEN_MAX as usize {
            return Ok(());
        }
        let text = format!("{UPLOADS_OPEN_MAX} uploads are open on this connection already");
        Err(WireError::new(ErrorCode::Busy, text))
    }

    /// Completes an upload; one without any data is empty.
    ///
    /// # Errors
    /// What went wrong since it was opened, or that the content has another digest.
    pub(crate) async fn end(
        &mut self,
        (service, peer): (&Service, &Peer),
        number: u32,
        claimed: Option<Digest>,
    ) -> Result<Response, WireError> {
        let (upload, share) = match self.by_number.remove(&number) {
            Some(State::Open { upload, share, .. }) => (upload, Some(share)),
            Some(State::Failed(error)) => return Err(error),
            Some(State::Ended { .. }) => return Err(invalid("upload", "has been ended already")),
            None => {
                self.check_count()?;
                (service.begin_upload(peer, self.promise_of(number))?, None)
            }
        };
        let prepared = service.finish_upload(peer, upload).await?;
        self.keep(number, prepared, share, claimed)
    }

    /// Makes an upload of the memory file that came.
    ///
    /// # Errors
    /// What is wrong with it, or that it has another digest.
    pub(crate) async fn file(
        &mut self,
        (service, peer): (&Service, &Peer),
        number: u32,
        claimed: Option<Digest>,
        descriptors: Descriptors,
        budgets: &Budgets,
    ) -> Result<Response, WireError> {
        if self.by_number.contains_key(&number) {
            return Err(invalid("upload", "has been begun already"));
        }
        let share = self.open(budgets).await?;
        let Descriptors { mut held, places } = descriptors;
        let descriptor = held.pop().expect("one came, or the connection had ended");
        let upload = service.begin_upload(peer, self.promise_of(number))?;
        let prepared = service.upload_file(peer, upload, descriptor).await?;
        drop(places);
        self.keep(number, prepared, Some(share), claimed)
    }

    /// Keeps a completed upload until a put takes it.
    fn keep(
        &mut self,
        number: u32,
        prepared: Prepared,
        share: Option<Share>,
        claimed: Option<Digest>,
    ) -> Result<Response, WireError> {
        let (digest, bytes) = (prepared.digest(), prepared.bytes());
        if let Some(claimed) = claimed.filter(|claimed| *claimed != digest) {
            return Err(digest_mismatch("upload", claimed, digest));
        }
        // Beyond a chunk everything has gone to the store.
        let share = share.filter(|_| bytes <= u64::from(CHUNK_BYTES));
        let ended = State::Ended { prepared, since: Instant::now(), _share: share };
        self.by_number.insert(number, ended);
        Ok(Response::Uploaded { digest, bytes })
    }

    /// Forgets an upload.
    pub(crate) fn abort(&mut self, number: u32) {
        self.by_number.remove(&number);
    }

    /// Takes a completed upload for a put.
    ///
    /// # Errors
    /// If there is none of that number.
    pub(crate) fn take(&mut self, number: u32) -> Result<Prepared, WireError> {
        self.promised.take_if(|(numbers, _)| numbers.contains(&number));
        match self.by_number.remove(&number) {
            Some(State::Ended { prepared, .. }) => Ok(prepared),
            other => {
                if let Some(state) = other {
                    self.by_number.insert(number, state);
                }
                Err(invalid("upload", &format!("{number} has not been completed")))
            }
        }
    }

    /// Waits until an upload is slow and somebody waits for memory.
    pub(crate) async fn slow(&self, pressure: &Pressure) {
        match self.by_number.values().filter_map(State::slow_from).min() {
            Some(moment) => pressure.from(moment).await,
            None => std::future::pending().await,
        }
    }

    /// Gives up those that are slow.
    pub(crate) fn give_up_slow(&mut self) {
        let now = Instant::now();
        for state in self.by_number.values_mut() {
            if state.slow_from().is_some_and(|moment| moment <= now) {
                let text = "the upload was slow while others waited for the memory it held";
                *state = State::Failed(WireError::new(ErrorCode::Busy, text));
            }
        }
    }
}

async fn append(
    (service, peer): (&Service, &Peer),
    upload: Upload,
    bytes: u64,
    payload: Bytes,
    (began, share): (Instant, Share),
) -> State {
    let bytes = bytes.saturating_add(payload.len() as u64);
    if bytes > BLOB_BYTES_MAX {
        return State::Failed(invalid(
            "output",
            &format!("is over {BLOB_BYTES_MAX} bytes, the most that one output may have"),
        ));
    }
    if payload.len() <= CHUNK {
        return match service.append_upload(peer, upload, payload).await {
            Ok(upload) => State::Open { upload, bytes, began, share },
            Err(error) => State::Failed(error),
        };
    }
    // The upload may keep a part of what it is given, which must not keep the whole alive.
    let mut upload = upload;
    for piece in payload.chunks(CHUNK) {
        let piece = Bytes::copy_from_slice(piece);
        upload = match service.append_upload(peer, upload, piece).await {
            Ok(upload) => upload,
            Err(error) => return State::Failed(error),
        };
    }
    State::Open { upload, bytes, began, share }
}

fn invalid(field: &str, problem: &str) -> WireError {
    memod_protocol::InvalidArgument::new(field, problem).into()
}
