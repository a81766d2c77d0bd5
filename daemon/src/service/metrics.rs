//! The daemon's metrics, as a page for Prometheus.
//!
//! **Invariants.** Who may not read everything is told of the tasks that it may read, and of
//! nothing else. Who has no identity, on a loopback address, is told no names at all. The page is
//! bounded: beyond [`TASKS_BYTES_MAX`] no more tasks stand in it, those that saved the least.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use memod_protocol::{MissReason, Response, Scope, Stats, WireError};
use memod_store::Vitals;

use super::exposition::{Exposition, Kind, seconds};
use super::reply::{Reply, store_error};
use super::{MUTATIONS_QUEUED_MAX, Service, pool};
use crate::grants::Right;
use crate::server::Peer;

/// Bytes of the page after which no further task is written of.
const TASKS_BYTES_MAX: usize = 512 * 1024;
/// Each reason for a miss has a row, so that what has not happened yet is zero.
const REASONS: [MissReason; 8] = [
    MissReason::NeverSeen,
    MissReason::Evicted,
    MissReason::Expired,
    MissReason::Invalidated,
    MissReason::Corrupt,
    MissReason::BlobMissing,
    MissReason::Forbidden,
    MissReason::Disabled,
];

impl Service {
    /// The metrics that the peer may see.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn metrics(self: &Arc<Self>, peer: &Peer) -> Result<Reply, WireError> {
        Ok(Response::Metrics(self.metrics_page(Some(peer)).await?).into())
    }

    /// The metrics that the peer may see; or, if there is no telling who asks, those without names.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn metrics_page(
        self: &Arc<Self>,
        peer: Option<&Peer>,
    ) -> Result<String, WireError> {
        let mut page = Exposition::default();
        let mut build = page.family("memod_build", Kind::Info, "The daemon.");
        build.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        let standing = peer.map(|peer| self.access.standing(peer));
        let sees_all = standing.as_ref().is_none_or(|of| of.may_everywhere(Right::Read));
        let mut stats = match &standing {
            Some(standing) if !sees_all => {
                self.ledger.stats_within(&|scope: &Scope| standing.may(Right::Read, scope))
            }
            _ => self.ledger.stats(),
        };
        if standing.is_none() {
            stats.by_task.clear();
        }
        expose_lookups(&mut page, &stats, sees_all);
        if sees_all {
            let service = Arc::clone(self);
            let vitals = pool::run(move || service.store.vitals()).await?.map_err(store_error)?;
            self.expose_store(&mut page, &vitals);
            expose_database(&mut page, &vitals);
            self.expose_process(&mut page, &vitals);
            self.latencies.expose(&mut page);
            self.refusals.expose(&mut page);
        }
        expose_tasks(&mut page, &stats);
        Ok(page.end())
    }

    fn expose_store(&self, page: &mut Exposition, vitals: &Vitals) {
        use Kind::{Counter, Gauge};
        let (of, budgets) = (self.store.counters(), self.store.budgets());
        page.one("memod_puts", Counter, "Puts that stored something.", of.puts);
        page.one("memod_entries", Gauge, "Entries stored.", of.entries);
        page.one("memod_blobs", Gauge, "Distinct outputs stored.", of.blobs);
        let help = "Bytes of the distinct outputs stored.";
        page.one("memod_stored_bytes", Gauge, help, of.stored_bytes);
        let help = "Bytes of all entries' outputs, shared ones counted each time.";
        page.one("memod_logical_bytes", Gauge, help, of.logical_bytes);
        let help = "Bytes that count against the store's budget.";
        page.one("memod_charged_bytes", Gauge, help, of.total_bytes());
        if let Some(most) = budgets.store_bytes_max {
            page.one("memod_budget_bytes", Gauge, "The store's budget.", most);
        }
        page.one("memod_evicted_entries", Counter, "Entries evicted.", of.evicted_entries);
        page.one("memod_evicted_bytes", Counter, "Bytes freed by eviction.", of.evicted_bytes);
        let help = "Evicted entries that were asked for again.";
        page.one("memod_regretted_entries", Counter, help, of.regretted_entries);
        let help = "Compute time of evicted entries that were asked for again.";
        page.one("memod_regret_seconds", Counter, help, seconds(of.regret_ns));
        if let Some(ms) = of.last_evicted_age_ms {
            let help = "For how long the entry evicted last had not been used.";
            let age = seconds(ms.saturating_mul(1_000_000));
            page.one("memod_last_evicted_age_seconds", Gauge, help, age);
        }
        let help = "Bytes of the store's files.";
        page.one("memod_disk_used_bytes", Gauge, help, vitals.disk_used_bytes);
        if let Some(free) = vitals.disk_free_bytes {
            let help = "Free bytes of the store's file system.";
            page.one("memod_disk_free_bytes", Gauge, help, free);
        }
        let help = "1 while the disk fails and the store takes no changes.";
        page.one("memod_store_halted", Gauge, help, u8::from(self.store.is_halted()));
    }

    fn expose_process(&self, page: &mut Exposition, vitals: &Vitals) {
        use Kind::Gauge;
        let uptime = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let help = "For how long the daemon has been up.";
        page.one("memod_uptime_seconds", Gauge, help, seconds(uptime));
        let connections = self.connections.load(Ordering::Relaxed);
        page.one("memod_connections", Gauge, "Connections open.", connections);
        let most = self.settings().connections_max;
        page.one("memod_connections_limit", Gauge, "Most connections at a time.", most);
        let (leases, waiters) = self.leases.counts();
        page.one("memod_leases", Gauge, "Leases held.", leases);
        page.one("memod_waiters", Gauge, "Requests that wait for leases.", waiters);
        let mut depth = page.family("memod_queue_depth", Gauge, "What waits, by queue.");
        let pending = MUTATIONS_QUEUED_MAX.saturating_sub(self.mutations.available_permits());
        depth.sample(&[("queue", "changes")], pending);
        depth.sample(&[("queue", "writer")], vitals.queue_mutations);
        let help = "Content in the writer's queue.";
        page.one("memod_writer_queue_bytes", Gauge, help, vitals.queue_bytes);
    }
}

/// Hits and misses. Reasons are told only where all misses are.
fn expose_lookups(page: &mut Exposition, stats: &Stats, reasons: bool) {
    page.one("memod_hits", Kind::Counter, "Lookups that hit.", stats.hits);
    let saved = seconds(stats.time_saved_ns);
    let help = "Compute time spared by hits, net of what the hits took.";
    page.one("memod_time_saved_seconds", Kind::Counter, help, saved);
    if !reasons {
        return page.one("memod_misses", Kind::Counter, "Lookups that missed.", stats.misses);
    }
    let mut misses = page.family("memod_misses", Kind::Counter, "Lookups that missed, by reason.");
    for reason in REASONS {
        let counted = stats.misses_by_reason.iter().find(|(of, _)| *of == reason);
        misses.sample(&[("reason", reason.name())], counted.map_or(0, |(_, count)| *count));
    }
}

/// The vital signs of the database.
fn expose_database(page: &mut Exposition, vitals: &Vitals) {
    use Kind::Gauge;
    let bytes = [
        ("memod_database_block_cache_bytes", "Blocks in memory.", vitals.block_cache_bytes),
        ("memod_database_memtable_bytes", "Changes not in files yet.", vitals.memtable_bytes),
        ("memod_database_table_bytes", "Files of rows.", vitals.table_bytes),
        ("memod_database_blob_bytes", "Files of content.", vitals.blob_bytes),
        ("memod_database_garbage_bytes", "Garbage in files of content.", vitals.garbage_bytes),
        ("memod_database_pending_compaction_bytes", "To be compacted.", vitals.pending_bytes),
    ];
    for (name, help, value) in bytes {
        page.one(name, Gauge, help, value);
    }
    let numbers = [
        ("memod_database_compactions", "Compactions at work.", vitals.compactions),
        ("memod_database_flushes", "Flushes at work.", vitals.flushes),
        ("memod_database_write_stopped", "1 while writing has to wait.", vitals.write_stopped),
    ];
    for (name, help, value) in numbers {
        page.one(name, Gauge, help, value);
    }
    let help = "Errors in the background since the store was opened.";
    page.one("memod_database_errors", Kind::Counter, help, vitals.background_errors);
}

/// The counters of tasks, those that saved the most first.
fn expose_tasks(page: &mut Exposition, stats: &Stats) {
    // Each task stands in three families: room for all three, or for none.
    let labels_bytes = |of: &memod_protocol::TaskStats| {
        2 * (of.scope.project.len() + of.scope.domain.len() + of.task.len()) + 128
    };
    let mut room = TASKS_BYTES_MAX.saturating_sub(page.len());
    let fits = stats.by_task.iter().take_while(|of| {
        let wanted = 3 * labels_bytes(of);
        let fits = wanted <= room;
        room = room.saturating_sub(wanted);
        fits
    });
    let rows: Vec<_> = fits.collect();
    let mut expose = |name, help: &str, value: &dyn Fn(&memod_protocol::TaskStats) -> String| {
        let mut family = page.family(name, Kind::Counter, help);
        for of in &rows {
            let labels = [
                ("project", of.scope.project.as_str()),
                ("domain", of.scope.domain.as_str()),
                ("task", of.task.as_str()),
            ];
            family.sample(&labels, value(of));
        }
    };
    expose("memod_task_hits", "Lookups of a task that hit.", &|of| of.hits.to_string());
    expose("memod_task_misses", "Lookups of a task that missed.", &|of| of.misses.to_string());
    let help = "Compute time that hits of a task spared.";
    expose("memod_task_time_saved_seconds", help, &|of| seconds(of.time_saved_ns));
}
