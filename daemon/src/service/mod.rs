//! The service: what a request means.
//!
//! Functions here take a request as a value and give a [`Reply`] as a value.
//!
//! **Does not** know sockets or frames, and does not name the database.

mod access;
mod account;
mod admin;
mod adoption;
mod boards;
mod budgets;
mod claim;
mod clock;
mod disk_watch;
mod explain;
mod exposition;
mod invalidation;
mod latency;
mod lease_table;
mod leases;
mod ledger;
mod lookup;
mod lookup_many;
mod metrics;
mod pool;
mod probe;
mod put;
mod refusals;
mod reply;
mod request_log;
mod sealed;
mod verify;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use memod_store::{Mirror, Store, Usages};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub(crate) use account::Account;
pub(crate) use boards::{Allowance, Boards};
pub(crate) use claim::{Asker, Begun, Claimed, Entered};
pub(crate) use exposition::classic as classic_metrics;
pub(crate) use leases::Lessee;
pub(crate) use lookup_many::Batch;
pub(crate) use pool::{WORKING_THREADS_MAX, within as within_threads};
pub(crate) use put::{GatheredPut, OutputContent, digest_mismatch};
pub(crate) use refusals::Seldom;
pub(crate) use reply::{Reply, Stream};
pub(crate) use sealed::FILES_MAX as SEALED_FILES_MAX;

use crate::grants::{Grant, ScopeGlob};
use crate::settings::Settings;
use access::Access;
use latency::Latencies;
use leases::Leases;
use ledger::Ledger;
use refusals::Refusals;
use request_log::RequestLog;
use sealed::SealedOutputs;

/// How often the counters are written down.
const LEDGER_INTERVAL: Duration = Duration::from_secs(5);
/// The name under which the store keeps them.
const LEDGER_NOTE: &str = "ledger.2";
/// Mutations that may wait for the writer; less than the store's own bound, so that handing one
/// over never blocks an async thread.
const MUTATIONS_QUEUED_MAX: usize = 512;
/// Patterns of grants of which it is looked whether they match anything.
const IDLE_LOOKED_MAX: usize = 1000;

/// The service. One for the whole daemon.
#[derive(Debug)]
pub(crate) struct Service {
    settings: RwLock<Arc<Settings>>,
    store: Store,
    access: Access,
    ledger: Ledger,
    leases: Arc<Leases>,
    boards: Arc<Boards>,
    log: RequestLog,
    latencies: Latencies,
    refusals: Refusals,
    sealed: Arc<SealedOutputs>,
    mutations: Arc<Semaphore>,
    /// One at a time.
    verifying: Arc<Semaphore>,
    collecting: Arc<Semaphore>,
    stopping: AtomicBool,
    connections: AtomicUsize,
    started: Instant,
    started_at_ms: u64,
    host: Option<String>,
}

impl Service {
    /// The service over this store, whose mirror the boards are.
    pub(crate) fn new(settings: Arc<Settings>, store: Store, boards: Arc<Boards>) -> Arc<Self> {
        let ledger = match store.load_note(LEDGER_NOTE) {
            Ok(note) => Ledger::restore(note.as_deref()),
            Err(error) => {
                // Counters must never keep a cache from starting.
                tracing::warn!("the counters are lost and begin at zero: {error}");
                Ledger::default()
            }
        };
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let leases = Leases::new(settings.waiters_max, settings.lease_heartbeat_max);
        Arc::new(Self {
            access: Access::new(&settings),
            ledger,
            leases,
            boards,
            log: RequestLog::new(settings.log_requests),
            latencies: Latencies::default(),
            refusals: Refusals::default(),
            sealed: SealedOutputs::new(settings.sealed_bytes),
            settings: RwLock::new(settings),
            store,
            mutations: Arc::new(Semaphore::new(MUTATIONS_QUEUED_MAX)),
            verifying: Arc::new(Semaphore::new(1)),
            collecting: Arc::new(Semaphore::new(1)),
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            started: Instant::now(),
            started_at_ms: clock::now_ms(),
            host,
        })
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes over to other settings, as far as they can change while it runs.
    pub(crate) fn set_settings(&self, settings: Arc<Settings>) {
        self.access.set(&settings);
        // Behind it, so that no board is made by the rules before.
        self.boards.change_rules(&settings.quarantined_users);
        let max_age_ms = u64::try_from(settings.max_age.as_millis()).unwrap_or(u64::MAX);
        self.boards.set_max_age(max_age_ms);
        self.store.set_budgets(settings.budgets.resolve(&settings.data));
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Logs which grants are for no scope in which anything is stored.
    /// Nobody waits for that: the disk may take its time.
    pub(crate) fn tell_idle_grants(self: &Arc<Self>) {
        let (settings, service) = (self.settings(), Arc::clone(self));
        if settings.grants.is_empty() {
            return;
        }
        tokio::spawn(async move {
            let looked = pool::run(move || {
                service.store.usage(usize::MAX).map(|usages| idle(&settings.grants, &usages))
            });
            let Ok(Ok(idle)) = looked.await else {
                return tracing::warn!("whether grants match anything cannot be read");
            };
            for glob in idle {
                let glob = glob.escape_debug();
                tracing::warn!("grants: \"{glob}\" matches no scope in which anything is stored");
            }
        });
    }

    /// Tells how many connections are open.
    pub(crate) fn set_connections(&self, open: usize) {
        self.connections.store(open, Ordering::Relaxed);
    }

    /// The daemon stops: who waits for a lease is told, upkeep ends, and nobody reads a board any
    /// more, so that no other daemon can change what stands on one.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.boards.end();
        self.leases.close();
    }

    /// Ends waits and leases when they are due, until the handle is aborted.
    pub(crate) fn keep_leases(&self) -> JoinHandle<()> {
        self.leases.keep_time()
    }

    /// Writes the counters down from time to time, until the handle is aborted.
    pub(crate) fn keep_ledger(self: &Arc<Self>) -> JoinHandle<()> {
        let service = Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LEDGER_INTERVAL);
            loop {
                ticks.tick().await;
                service.save_ledger().await;
            }
        })
    }

    /// Writes the counters down if they have changed.
    pub(crate) async fn save_ledger(&self) {
        let Some(note) = self.ledger.changed_note() else { return };
        let (done, saved) = tokio::sync::oneshot::channel();
        self.store.save_note(LEDGER_NOTE, note, move |outcome| {
            // Nobody waits any more if the daemon is ending.
            let _ = done.send(outcome);
        });
        if let Ok(Err(error)) = saved.await {
            tracing::warn!("the counters cannot be written down: {error}");
        }
    }
}

/// The patterns of grants that match no scope of these; none if there is no scope yet.
fn idle(grants: &[Grant], usages: &Usages) -> BTreeSet<String> {
    if usages.scopes.is_empty() {
        return BTreeSet::new();
    }
    let globs: HashMap<String, &ScopeGlob> = grants
        .iter()
        .flat_map(|grant| &grant.scopes)
        .filter(|glob| !glob.is_everything())
        .take(IDLE_LOOKED_MAX)
        .map(|glob| (glob.to_string(), glob))
        .collect();
    let is_idle = |glob: &ScopeGlob| !usages.scopes.iter().any(|(scope, _)| glob.matches(scope));
    globs.into_iter().filter(|(_, glob)| is_idle(glob)).map(|(text, _)| text).collect()
}
