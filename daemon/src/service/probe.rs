//! Questions by key: whoever knows all of a call can compute its key, and must not learn from it
//! what is stored where it may not read.
//!
//! **Invariants.** To who may not read an entry there is none: the answer is the same, and comes
//! [`ANSWER_AFTER`] the question, whether there is one or not.

use std::sync::Arc;
use std::time::Duration;

use memod_protocol::{Key, Scope, WireError};
use tokio::time::Instant;

use super::access::Standing;
use super::lookup::no_entry;
use super::{Service, pool};
use crate::grants::Right;
use crate::server::Peer;

/// When somebody who may not read everything is told that there is no entry: later than any row is
/// read, unless the disk is very slow.
const ANSWER_AFTER: Duration = Duration::from_millis(20);

impl Service {
    /// What the peer may do, if it may read the entry of this key or whatever there is.
    ///
    /// # Errors
    /// That there is no entry.
    pub(crate) async fn readable(
        self: &Arc<Self>,
        peer: &Peer,
        key: Key,
    ) -> Result<Standing, WireError> {
        let standing = self.access.standing(peer);
        if standing.may_everywhere(Right::Read) {
            return Ok(standing);
        }
        let answer_at = Instant::now() + ANSWER_AFTER;
        match self.scope_of(key).await? {
            Some(scope) if standing.may(Right::Read, &scope) => Ok(standing),
            _ => {
                tokio::time::sleep_until(answer_at).await;
                Err(no_entry(key))
            }
        }
    }

    /// Those of the entries that the peer may do this to. For who may do it everywhere that is all,
    /// be they there or not.
    ///
    /// # Errors
    /// If the daemon stops.
    pub(crate) async fn among(
        self: &Arc<Self>,
        standing: &Standing,
        right: Right,
        keys: Vec<Key>,
    ) -> Result<Vec<Key>, WireError> {
        if standing.may_everywhere(right) {
            return Ok(keys);
        }
        let answer_at = Instant::now() + ANSWER_AFTER;
        let mut allowed = Vec::new();
        for key in keys {
            if self.scope_of(key).await?.is_some_and(|scope| standing.may(right, &scope)) {
                allowed.push(key);
            }
        }
        tokio::time::sleep_until(answer_at).await;
        Ok(allowed)
    }

    /// Where an entry is, if there is one that can be read.
    async fn scope_of(self: &Arc<Self>, key: Key) -> Result<Option<Scope>, WireError> {
        let service = Arc::clone(self);
        let read = pool::run(move || service.store.scope(&key)).await?;
        Ok(read.unwrap_or_else(|error| {
            tracing::warn!(%key, %error, "where an entry is cannot be read");
            None
        }))
    }
}
