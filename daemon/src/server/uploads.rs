//! The uploads of one connection: large outputs on their way in.
//!
//! **Invariants.** Nothing of an upload is visible until a put uses it; what is not used is gone
//! when the connection is.

use std::collections::HashMap;

use bytes::Bytes;
use memod_protocol::limits::{BLOB_BYTES_MAX, UPLOADS_OPEN_MAX};
use memod_protocol::{Digest, ErrorCode, Response, WireError};
use memod_store::{Prepared, Upload};

use crate::service::{Service, digest_mismatch};

/// The uploads of one connection.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    by_number: HashMap<u32, State>,
}

enum State {
    Open { upload: Upload, bytes: u64 },
    Ended(Prepared),
    Failed(WireError),
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Open { .. } => "Open",
            Self::Ended(_) => "Ended",
            Self::Failed(_) => "Failed",
        })
    }
}

impl Uploads {
    /// Takes the next bytes of an upload. What goes wrong is told when the upload is ended.
    pub(crate) async fn data(&mut self, service: &Service, number: u32, payload: Bytes) {
        let state = match self.by_number.remove(&number) {
            Some(State::Open { upload, bytes }) => Ok((upload, bytes)),
            Some(State::Ended(_)) => Err(invalid("upload", "has been ended already")),
            Some(State::Failed(error)) => Err(error),
            // The table is bounded; beyond the bound a further upload is simply not there.
            None if self.by_number.len() >= UPLOADS_OPEN_MAX as usize => return,
            None => Ok((service.begin_upload(), 0)),
        };
        let state = match state {
            Ok((upload, bytes)) => append(service, upload, bytes, payload).await,
            Err(error) => State::Failed(error),
        };
        self.by_number.insert(number, state);
    }

    /// Completes an upload; one without any data is empty.
    ///
    /// # Errors
    /// What went wrong since it was opened, or that the content has another digest.
    pub(crate) async fn end(
        &mut self,
        service: &Service,
        number: u32,
        claimed: Option<Digest>,
    ) -> Result<Response, WireError> {
        let upload = match self.by_number.remove(&number) {
            Some(State::Open { upload, .. }) => upload,
            Some(State::Failed(error)) => return Err(error),
            Some(State::Ended(_)) => return Err(invalid("upload", "has been ended already")),
            None if self.by_number.len() >= UPLOADS_OPEN_MAX as usize => {
                return Err(WireError::new(
                    ErrorCode::Busy,
                    format!("{UPLOADS_OPEN_MAX} uploads are open on this connection already"),
                ));
            }
            None => service.begin_upload(),
        };
        let prepared = service.finish_upload(upload).await?;
        let (digest, bytes) = (prepared.digest(), prepared.bytes());
        if let Some(claimed) = claimed.filter(|claimed| *claimed != digest) {
            return Err(digest_mismatch("upload", claimed, digest));
        }
        self.by_number.insert(number, State::Ended(prepared));
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
        match self.by_number.remove(&number) {
            Some(State::Ended(prepared)) => Ok(prepared),
            other => {
                if let Some(state) = other {
                    self.by_number.insert(number, state);
                }
                Err(invalid("upload", &format!("{number} has not been completed")))
            }
        }
    }
}

async fn append(service: &Service, upload: Upload, bytes: u64, payload: Bytes) -> State {
    let bytes = bytes.saturating_add(payload.len() as u64);
    if bytes > BLOB_BYTES_MAX {
        return State::Failed(invalid(
            "output",
            &format!("is over {BLOB_BYTES_MAX} bytes, the most that one output may have"),
        ));
    }
    match service.append_upload(upload, payload).await {
        Ok(upload) => State::Open { upload, bytes },
        Err(error) => State::Failed(error),
    }
}

fn invalid(field: &str, problem: &str) -> WireError {
    memod_protocol::InvalidArgument::new(field, problem).into()
}
