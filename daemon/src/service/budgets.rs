//! Budgets: what is stored against what may be, and making room by hand.

use std::sync::Arc;

use memod_protocol::{
    BudgetOf, BudgetReport, BudgetRow, CollectReport, ErrorCode, Response, Scope, WireError,
};
use memod_store::{FileSystem, Store, StoreError, Usage};
use tokio::sync::OwnedSemaphorePermit;

use super::admin::is_own;
use super::reply::{Reply, store_error};
use super::{Service, pool};
use crate::grants::Right;
use crate::server::Peer;

/// Scopes or users in a report: those with the most bytes.
const ROWS_TOLD_MAX: usize = 256;

/// A collection at work.
#[derive(Debug)]
pub(crate) struct Collection {
    service: Arc<Service>,
    _place: OwnedSemaphorePermit,
}

impl Service {
    /// What is stored against what may be: all of it for who may read all, else what is said of
    /// the peer itself and of scopes that it may read.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn budgets(self: &Arc<Self>, peer: &Peer) -> Result<Reply, WireError> {
        let (service, standing) = (Arc::clone(self), self.access.standing(peer));
        let own = is_own(peer, peer.uid).then_some(peer.uid);
        let report = pool::run(move || {
            let tells = |of: &BudgetOf| match of {
                BudgetOf::Store => false,
                BudgetOf::Scope(scope) => standing.may(Right::Read, scope),
                BudgetOf::User(user) => Some(*user) == own,
            };
            let whole = standing.may_everywhere(Right::Read);
            report(&service.store, &|of| whole || tells(of)).map(|mut report| {
                if !whole {
                    report = BudgetReport {
                        budgets: report.budgets,
                        policy: report.policy,
                        ..BudgetReport::default()
                    };
                }
                report
            })
        });
        let report = report.await?.map_err(store_error)?;
        Ok(Response::Budgets(Box::new(report)).into())
    }

    /// Prepares a collection.
    ///
    /// # Errors
    /// If the peer may not, or another is at work.
    pub(crate) fn collection(self: &Arc<Self>, peer: &Peer) -> Result<Collection, WireError> {
        self.access.standing(peer).check_everywhere(Right::Administer)?;
        let place = Arc::clone(&self.collecting).try_acquire_owned().map_err(|_| {
            WireError::new(ErrorCode::Busy, "space is being collected already")
                .with_hint("wait until that is done")
        })?;
        tracing::info!(uid = peer.uid, "collecting space");
        Ok(Collection { service: Arc::clone(self), _place: place })
    }
}

impl Collection {
    /// Evicts down to the low water mark. Says how many entries that took.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn evict(&self) -> Result<u64, WireError> {
        self.service.commit(Store::shrink).await
    }

    /// Gives free space back to the file system; `evicted_entries` is only reported.
    ///
    /// # Errors
    /// If the store fails or the daemon stops.
    pub(crate) async fn collect(self, evicted_entries: u64) -> Result<Reply, WireError> {
        let service = Arc::clone(&self.service);
        let collected = pool::run(move || service.store.collect()).await?.map_err(store_error)?;
        Ok(Response::Collected(CollectReport {
            evicted_entries,
            disk_bytes_before: collected.disk_bytes_before,
            disk_bytes_after: collected.disk_bytes_after,
        })
        .into())
    }
}

/// `tells`: whose budgets are told.
fn report(store: &Store, tells: &dyn Fn(&BudgetOf) -> bool) -> Result<BudgetReport, StoreError> {
    let (counters, budgets) = (store.counters(), store.budgets());
    let row = |of, usage: Usage, limit_bytes| BudgetRow {
        of,
        entries: usage.entries,
        bytes: usage.bytes,
        limit_bytes,
    };
    let all = Usage { entries: counters.entries, bytes: counters.total_bytes() };
    let mut rows = Vec::new();
    if tells(&BudgetOf::Store) {
        rows.push(row(BudgetOf::Store, all, budgets.store_bytes_max));
    }
    let scopes = |scope: &Scope| tells(&BudgetOf::Scope(scope.clone()));
    let users = |uid| tells(&BudgetOf::User(uid));
    let usages = store.usage_within(ROWS_TOLD_MAX, &scopes, &users)?;
    for (scope, usage) in usages.scopes {
        if let Some(limit) = budgets.of_scope(&scope) {
            rows.push(row(BudgetOf::Scope(scope), usage, Some(limit)));
        }
    }
    for (uid, usage) in usages.users {
        if let Some(limit) = budgets.of_user(uid) {
            rows.push(row(BudgetOf::User(uid), usage, Some(limit)));
        }
    }
    let free = FileSystem::under(store.path()).map_or(0, |of| of.free_bytes);
    Ok(BudgetReport {
        budgets: rows,
        high_bytes: budgets.high(),
        low_bytes: budgets.low(),
        disk_free_bytes: free,
        disk_reserve_bytes: budgets.disk_reserve_bytes,
        disk_used_bytes: store.disk_used_bytes(),
        policy: budgets.policy.name().to_owned(),
        evicted_entries: counters.evicted_entries,
        evicted_bytes: counters.evicted_bytes,
        regretted_entries: counters.regretted_entries,
        regret_ns: counters.regret_ns,
        last_evicted_age_ms: counters.last_evicted_age_ms,
    })
}
