//! What people ask when they look into the cache: show, list, stats, status.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{Filter, Key, LogQuery, Response, Status, WireError};

use super::lookup::no_entry;
use super::reply::{Reply, store_error};
use super::{Service, clock, pool};
use crate::server::Peer;

impl Service {
    /// Everything about an entry but its outputs' bytes.
    ///
    /// # Errors
    /// If there is none, or the store fails.
    pub(crate) async fn show(self: &Arc<Self>, _peer: &Peer, key: Key) -> Result<Reply, WireError> {
        let service = Arc::clone(self);
        let found = pool::run(move || service.store.describe(&key)).await?.map_err(store_error)?;
        let mut detail = found.ok_or_else(|| no_entry(key))?;
        detail.age_ms = clock::now_ms().saturating_sub(detail.provenance.created_at_ms);
        Ok(Response::Shown(Box::new(detail)).into())
    }

    /// A page of what is stored.
    ///
    /// # Errors
    /// If the cursor is not one of ours, or the store fails.
    pub(crate) async fn list(
        self: &Arc<Self>,
        _peer: &Peer,
        filter: Filter,
        limit: u32,
        cursor: Option<Vec<u8>>,
    ) -> Result<Reply, WireError> {
        let service = Arc::clone(self);
        let (now_ms, limit) = (clock::now_ms(), limit.min(LIST_ROWS_MAX));
        let page = pool::run(move || service.store.list(&filter, now_ms, limit, cursor.as_deref()));
        let page = page.await?.map_err(store_error)?;
        Ok(Response::Listed { rows: page.rows, cursor: page.cursor }.into())
    }

    /// Counters.
    pub(crate) fn stats(&self) -> Reply {
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
        stats.uptime_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Response::Stats(Box::new(stats)).into()
    }

    /// Recent requests: all for who may administer, else one's own.
    pub(crate) async fn log(&self, peer: &Peer, mut query: LogQuery) -> Reply {
        if self.access.check_administer(peer).is_err() {
            query.uid = Some(peer.uid);
        }
        Response::Logged(self.log.page(query).await).into()
    }

    /// Counters by scope and by user.
    pub(crate) fn savings(&self) -> Reply {
        Response::Savings(Box::new(self.ledger.savings())).into()
    }

    /// Who the daemon is and how it is set up.
    pub(crate) fn status(&self) -> Reply {
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: memod_protocol::handshake::VERSIONS.first().copied().unwrap_or(0),
            pid: std::process::id(),
            uid: nix::unistd::geteuid().as_raw(),
            socket: self.settings.socket.display().to_string(),
            data: self.settings.data.display().to_string(),
            store_id: self.store.id().to_owned(),
            store_format: self.store.format(),
            started_at_ms: self.started_at_ms,
            settings: self.settings.table(),
        };
        Response::Status(Box::new(status)).into()
    }
}
