//! Verification: reading everything that is stored, in steps.
//!
//! **Invariants.** One at a time. A step holds a thread for one bounded part of the store. When the
//! daemon stops, or nobody is there any more to be told, it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use memod_protocol::{ErrorCode, Response, WireError};
use tokio::sync::OwnedSemaphorePermit;

use super::reply::{Reply, store_error};
use super::{Service, pool};
use crate::grants::Right;
use crate::server::Peer;

/// A verification at work.
#[derive(Debug)]
pub(crate) struct Verification {
    service: Arc<Service>,
    work: Option<memod_store::Verification>,
    _place: OwnedSemaphorePermit,
}

impl Service {
    /// Prepares a verification; with `repair`, what is bad is removed.
    ///
    /// # Errors
    /// If the peer may not, or another is at work.
    pub(crate) fn verification(
        self: &Arc<Self>,
        peer: &Peer,
        repair: bool,
    ) -> Result<Verification, WireError> {
        self.access.standing(peer).check_everywhere(Right::Administer)?;
        let place = Arc::clone(&self.verifying).try_acquire_owned().map_err(|_| {
            WireError::new(ErrorCode::Busy, "the store is being verified already")
                .with_hint("wait until that is done")
        })?;
        tracing::info!(uid = peer.uid, repair, "verifying the store");
        let work = Some(self.store.verification(repair));
        Ok(Verification { service: Arc::clone(self), work, _place: place })
    }
}

impl Verification {
    /// How much has been read.
    pub(crate) fn done(&self) -> u64 {
        self.work.as_ref().map_or(0, memod_store::Verification::done)
    }

    /// Reads the next part; false if it was the last.
    ///
    /// # Errors
    /// If the store fails or the daemon stops; what was removed before stays so.
    pub(crate) async fn step(&mut self) -> Result<bool, WireError> {
        if self.service.stopping.load(Ordering::Relaxed) {
            return Err(WireError::new(ErrorCode::ShuttingDown, "the daemon is stopping"));
        }
        let Some(mut work) = self.work.take() else { return Ok(false) };
        let (work, outcome) = pool::run(move || {
            let outcome = work.step();
            (work, outcome)
        })
        .await?;
        self.work = Some(work);
        outcome.map_err(store_error)
    }

    /// What was found.
    pub(crate) fn reply(self) -> Reply {
        let report = self.work.map(|work| work.report().clone()).unwrap_or_default();
        if report.problems > 0 {
            let first = report.named.first();
            tracing::error!(
                problems = report.problems,
                buried = report.buried,
                key = first.and_then(|first| first.key).map(display),
                digest = first.and_then(|first| first.digest).map(display),
                first = first.map(|first| display(first.what.escape_debug())),
                "the store is damaged"
            );
        }
        Response::Verified(Box::new(report)).into()
    }
}
