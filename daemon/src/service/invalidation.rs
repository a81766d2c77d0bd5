//! Invalidation: forgetting entries by key or by condition, in steps.
//!
//! **Invariants.** Memory is bounded by one page, however many entries match. Only what was really
//! removed is counted.

use std::sync::Arc;

use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{Filter, Key, Scope, Selector, WireError};
use memod_store::GraveCause;
use tracing::field::display;

use super::access::Standing;
use super::reply::store_error;
use super::{Service, clock, pool};
use crate::grants::Right;
use crate::server::Peer;

/// An invalidation at work.
#[derive(Debug)]
pub(crate) struct Invalidation {
    service: Arc<Service>,
    standing: Standing,
    by_uid: u32,
    dry_run: bool,
    matched: u64,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Keys(std::vec::IntoIter<Key>),
    Matching { filter: Filter, cursor: Option<Vec<u8>> },
    Nothing,
}

impl Service {
    /// Prepares an invalidation.
    ///
    /// # Errors
    /// If the peer may not.
    pub(crate) fn invalidation(
        self: &Arc<Self>,
        peer: &Peer,
        selector: Selector,
        dry_run: bool,
    ) -> Result<Invalidation, WireError> {
        let standing = self.access.standing(peer);
        match &selector {
            Selector::Matching(Filter { scope: Some(scope), .. }) => {
                standing.check(Right::Administer, scope)?;
            }
            // What it may not forget does not match.
            Selector::Matching(_) | Selector::Keys(_) => {
                standing.check_somewhere(Right::Administer)?;
            }
        }
        match &selector {
            Selector::Keys(keys) => {
                tracing::info!(uid = peer.uid, dry_run, keys = keys.len(), "invalidating by key");
            }
            Selector::Matching(filter) => {
                let scope = filter.scope.as_ref();
                let escaped = |name: &str| display(name.escape_debug().to_string());
                tracing::info!(
                    uid = peer.uid,
                    dry_run,
                    project = scope.map(|scope| escaped(&scope.project)),
                    domain = scope.map(|scope| escaped(&scope.domain)),
                    task = filter.task.as_deref().map(escaped),
                    cache_version = filter.cache_version.as_deref().map(escaped),
                    writer_uid = filter.writer_uid,
                    older_than_ms = filter.older_than_ms,
                    "invalidating"
                );
            }
        }
        let rest = match selector {
            Selector::Keys(mut keys) => {
                // A key that is named twice counts once.
                keys.sort_unstable();
                keys.dedup();
                Rest::Keys(keys.into_iter())
            }
            Selector::Matching(filter) => Rest::Matching { filter, cursor: None },
        };
        let (service, by_uid) = (Arc::clone(self), peer.uid);
        Ok(Invalidation { service, standing, by_uid, dry_run, matched: 0, rest })
    }
}

impl Invalidation {
    /// How many entries have been forgotten so far, or would be.
    pub(crate) fn matched(&self) -> u64 {
        self.matched
    }

    /// Writes into the daemon's log what it came to.
    pub(crate) fn tell(&self) {
        let Self { by_uid, dry_run, matched, .. } = self;
        tracing::info!(uid = by_uid, dry_run, matched, "invalidated");
    }

    /// Does the next page; false if it was the last.
    ///
    /// # Errors
    /// If the store fails; what was forgotten before stays so.
    pub(crate) async fn step(&mut self) -> Result<bool, WireError> {
        let keys = match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Nothing => return Ok(false),
            Rest::Keys(mut keys) => {
                let page: Vec<Key> = keys.by_ref().take(LIST_ROWS_MAX as usize).collect();
                if keys.len() > 0 {
                    self.rest = Rest::Keys(keys);
                }
                let page = self.service.among(&self.standing, Right::Administer, page).await?;
                if self.dry_run { self.present(page).await? } else { page }
            }
            Rest::Matching { filter, cursor } => {
                let (service, wanted) = (Arc::clone(&self.service), filter.clone());
                let (now_ms, standing) = (clock::now_ms(), self.standing.clone());
                let page = pool::run(move || {
                    let lists = |scope: &Scope| standing.may(Right::Administer, scope);
                    let store = &service.store;
                    store.list_within(&wanted, now_ms, LIST_ROWS_MAX, cursor.as_deref(), &lists)
                });
                let page = page.await?.map_err(store_error)?;
                if page.cursor.is_some() {
                    self.rest = Rest::Matching { filter, cursor: page.cursor };
                }
                page.rows.into_iter().map(|row| row.key).collect()
            }
        };
        self.matched += if self.dry_run { keys.len() as u64 } else { self.remove(keys).await? };
        Ok(!matches!(self.rest, Rest::Nothing))
    }

    async fn remove(&self, keys: Vec<Key>) -> Result<u64, WireError> {
        let (now_ms, by_uid) = (clock::now_ms(), self.by_uid);
        self.service
            .commit(|store, done| {
                store.remove(keys, GraveCause::Invalidated, now_ms, Some(by_uid), done);
            })
            .await
    }

    async fn present(&self, keys: Vec<Key>) -> Result<Vec<Key>, WireError> {
        let service = Arc::clone(&self.service);
        pool::run(move || {
            let mut present = Vec::new();
            for key in keys {
                if service.store.made(&key).map_err(store_error)?.is_some() {
                    present.push(key);
                }
            }
            Ok(present)
        })
        .await?
    }
}
