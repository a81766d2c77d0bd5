//! The service: what a request means.
//!
//! Functions here take a request as a value and give a [`Reply`] as a value.
//!
//! **Does not** know sockets or frames, and does not name the database.

mod access;
mod admin;
mod clock;
mod invalidation;
mod ledger;
mod lookup;
mod pool;
mod put;
mod reply;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memod_store::Store;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub(crate) use put::{GatheredPut, OutputContent, digest_mismatch};
pub(crate) use reply::{Reply, Stream};

use crate::settings::Settings;
use access::Access;
use ledger::Ledger;

/// How often the counters are written down.
const LEDGER_INTERVAL: Duration = Duration::from_secs(5);
/// The name under which the store keeps them.
const LEDGER_NOTE: &str = "ledger";
/// Mutations that may wait for the writer; less than the store's own bound, so that handing one
/// over never blocks an async thread.
const MUTATIONS_QUEUED_MAX: usize = 512;

/// The service. One for the whole daemon.
#[derive(Debug)]
pub(crate) struct Service {
    settings: Arc<Settings>,
    store: Store,
    access: Access,
    ledger: Ledger,
    mutations: Arc<Semaphore>,
    connections: AtomicUsize,
    started: Instant,
    started_at_ms: u64,
    host: Option<String>,
}

impl Service {
    /// The service over this store.
    pub(crate) fn new(settings: Arc<Settings>, store: Store) -> Arc<Self> {
        let ledger = match store.load_note(LEDGER_NOTE) {
            Ok(note) => Ledger::restore(note.as_deref()),
            Err(error) => {
                // Counters must never keep a cache from starting.
                tracing::warn!("the counters are lost and begin at zero: {error}");
                Ledger::default()
            }
        };
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Arc::new(Self {
            settings,
            store,
            access: Access::own(),
            ledger,
            mutations: Arc::new(Semaphore::new(MUTATIONS_QUEUED_MAX)),
            connections: AtomicUsize::new(0),
            started: Instant::now(),
            started_at_ms: clock::now_ms(),
            host,
        })
    }

    /// Tells how many connections are open.
    pub(crate) fn set_connections(&self, open: usize) {
        self.connections.store(open, Ordering::Relaxed);
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
