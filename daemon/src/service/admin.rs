//! What people ask when they look into the cache: show, list, stats, status.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use memod_protocol::limits::{LEASE_ROWS_MAX, LIST_ROWS_MAX};
use memod_protocol::{Filter, Key, LogPage, LogQuery, Response, Scope, Status, WireError};

use super::lookup::no_entry;
use super::reply::{Reply, store_error};
use super::request_log::View;
use super::{Service, clock, pool};
use crate::grants::{OVERFLOW_ID, Right};
use crate::server::Peer;

/// Settings that name scopes and users.
const BY_NAME: [&str; 4] = ["scope_bytes", "user_bytes", "grants", "quarantined_users"];

impl Service {
    /// Everything about an entry but its outputs' bytes.
    ///
    /// # Errors
    /// If there is none, or the store fails.
    pub(crate) async fn show(self: &Arc<Self>, peer: &Peer, key: Key) -> Result<Reply, WireError> {
        self.readable(peer, key).await?;
        let service = Arc::clone(self);
        let found = pool::run(move || service.store.describe(&key)).await?.map_err(store_error)?;
        let mut detail = found.ok_or_else(|| no_entry(key))?;
        detail.age_ms = clock::now_ms().saturating_sub(detail.provenance.created_at_ms);
        Ok(Response::Shown(Box::new(detail)).into())
    }

    /// A page of what is stored and may be read.
    ///
    /// # Errors
    /// If a scope is named that the peer may not read, the cursor is not one of ours, or the store
    /// fails.
    pub(crate) async fn list(
        self: &Arc<Self>,
        peer: &Peer,
        filter: Filter,
        limit: u32,
        cursor: Option<Vec<u8>>,
    ) -> Result<Reply, WireError> {
        let service = Arc::clone(self);
        let standing = self.access.standing(peer);
        if let Some(scope) = &filter.scope {
            standing.check(Right::Read, scope)?;
        }
        let (now_ms, limit) = (clock::now_ms(), limit.min(LIST_ROWS_MAX));
        let page = pool::run(move || {
            let lists = |scope: &Scope| standing.may(Right::Read, scope);
            service.store.list_within(&filter, now_ms, limit, cursor.as_deref(), &lists)
        });
        let page = page.await?.map_err(store_error)?;
        Ok(Response::Listed { rows: page.rows, cursor: page.cursor }.into())
    }

    /// Counters: all for who may read everything, else those of the tasks that the peer may read;
    /// what is not counted by task is nothing then.
    pub(crate) fn stats(&self, peer: &Peer) -> Reply {
        let standing = self.access.standing(peer);
        let uptime_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if !standing.may_everywhere(Right::Read) {
            let mut stats = self.ledger.stats_within(&|scope| standing.may(Right::Read, scope));
            stats.uptime_ns = uptime_ns;
            return Response::Stats(Box::new(stats)).into();
        }
        let counters = self.store.counters();
        let mut stats = self.ledger.stats();
        stats.puts = counters.puts;
        stats.entries = counters.entries;
        stats.blobs = counters.blobs;
        stats.stored_bytes = counters.stored_bytes;
        stats.logical_bytes = counters.logical_bytes;
        stats.evicted_entries = counters.evicted_entries;
        let (leases, waiters) = self.leases.counts();
        stats.leases = leases as u64;
        stats.waiters = waiters as u64;
        stats.connections = self.connections.load(Ordering::Relaxed) as u64;
        stats.uptime_ns = uptime_ns;
        Response::Stats(Box::new(stats)).into()
    }

    /// Recent requests: all for who may administer everything, else one's own.
    pub(crate) async fn log(&self, peer: &Peer, query: LogQuery) -> LogPage {
        let all = self.access.standing(peer).may_everywhere(Right::Administer);
        let view = match peer.uid {
            _ if all => View::All,
            // These may be different people.
            OVERFLOW_ID => View::Nothing,
            uid => View::Of(uid),
        };
        self.log.page(query, view).await
    }

    /// The leases of scopes that the peer may read: who holds them, and how many wait.
    ///
    /// # Errors
    /// If the daemon stops.
    pub(crate) async fn list_leases(self: &Arc<Self>, peer: &Peer) -> Result<Reply, WireError> {
        let (service, standing) = (Arc::clone(self), self.access.standing(peer));
        let tells = move |scope: &Scope| standing.may(Right::Read, scope);
        let rows = pool::run(move || service.leases.list(LEASE_ROWS_MAX, &tells)).await?;
        Ok(Response::Leases(rows).into())
    }

    /// Counters by scope and by user: all for who may read everything, else those of scopes that
    /// the peer may read, and its own.
    pub(crate) fn savings(&self, peer: &Peer) -> Reply {
        let standing = self.access.standing(peer);
        let all = standing.may_everywhere(Right::Read);
        let scopes = |scope: &Scope| standing.may(Right::Read, scope);
        let savings = self.ledger.savings(&scopes, &|uid| all || is_own(peer, uid));
        Response::Savings(Box::new(savings)).into()
    }

    /// Who the daemon is and how it is set up. What is set for scopes and users by name is for who
    /// may administer everything: who administers some scopes is told of an entry in these that its
    /// writer is quarantined when it asks why that is not served.
    pub(crate) fn status(&self, peer: &Peer) -> Reply {
        let settings = self.settings();
        let mut table = settings.table();
        if !self.access.standing(peer).may_everywhere(Right::Administer) {
            table.retain(|(name, ..)| !BY_NAME.contains(&name.as_str()));
        }
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: memod_protocol::handshake::VERSIONS.first().copied().unwrap_or(0),
            pid: std::process::id(),
            uid: nix::unistd::geteuid().as_raw(),
            socket: settings.socket.display().to_string(),
            data: settings.data.display().to_string(),
            store_id: self.store.id().to_owned(),
            store_format: self.store.format(),
            started_at_ms: self.started_at_ms,
            settings: table,
        };
        Response::Status(Box::new(status)).into()
    }
}

/// Whether what is said of a user is said of the peer, and of nobody else.
pub(crate) fn is_own(peer: &Peer, uid: u32) -> bool {
    uid == peer.uid && uid != OVERFLOW_ID
}
