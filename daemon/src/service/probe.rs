//! Questions by key: whoever knows all of a call can compute its key, and must not learn from it
//! what is stored where it may not read.
//!
//! **Invariants.** To who may not read an entry there is none: the answer is the same, and comes
//! [`ANSWER_AFTER`] the question, whether there is one or not.

use std::sync::Arc;
use std::time::Duration;

use memod_protocol::{Key, WireError};
use tokio::time::Instant;

use super::access::Standing;
use super::lookup::no_entry;
use super::{Service, pool};
use crate::grants::Right;
use crate::server::Peer;

/// When somebody who may not read everything is told that there is no entry: later than any row is
/// read, unless the disk is very slow.
const ANSWER_AFTER: Duration = Duration::from_millis(20);
/// And so much later for each key, if there are several.
const ANSWER_AFTER_EACH: Duration = Duration::from_micros(100);

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
        if self.those(&standing, Right::Read, vec![key]).await?.is_empty() {
            tokio::time::sleep_until(answer_at).await;
            return Err(no_entry(key));
        }
        Ok(standing)
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
        let each = ANSWER_AFTER_EACH.saturating_mul(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        let answer_at = Instant::now() + ANSWER_AFTER + each;
        let allowed = self.those(standing, right, keys).await?;
        tokio::time::sleep_until(answer_at).await;
        Ok(allowed)
    }

    /// Those of the entries that are where the peer may do this.
    async fn those(
        self: &Arc<Self>,
        standing: &Standing,
        right: Right,
        keys: Vec<Key>,
    ) -> Result<Vec<Key>, WireError> {
        let (service, standing) = (Arc::clone(self), standing.clone());
        pool::run(move || {
            let may = |key: &Key| {
                let scope = service.store.scope(key).unwrap_or_else(|error| {
                    tracing::warn!(%key, %error, "where an entry is cannot be read");
                    None
                });
                scope.is_some_and(|scope| standing.may(right, &scope))
            };
            keys.into_iter().filter(may).collect()
        })
        .await
    }
}
