//! Accepts connections.
//!
//! **Invariants.** A permit is taken before a connection is accepted, so there are never more than
//! the settings allow. An error of `accept` is waited out: it neither ends nor spins the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::budget::Budgets;
use super::connection::Connection;
use crate::service::Service;
use crate::settings::Settings;

/// The longest wait after an error of `accept`.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The server: all connections.
#[derive(Debug)]
pub(crate) struct Server {
    settings: Arc<Settings>,
    service: Arc<Service>,
    budgets: Budgets,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    /// How many connections are open, for those who wait for a change.
    open: watch::Sender<usize>,
    /// How often the loop that accepts has been seen at work, and what has it come by.
    beats: AtomicU64,
    nudge: Notify,
    stop: CancellationToken,
}

impl Server {
    /// A server that has not begun to accept.
    pub(crate) fn new(
        settings: Arc<Settings>,
        service: Arc<Service>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            budgets: Budgets::new(settings.buffer_bytes_max),
            permits: Arc::new(Semaphore::new(settings.connections_max)),
            connections: TaskTracker::new(),
            open: watch::Sender::new(0),
            beats: AtomicU64::new(0),
            nudge: Notify::new(),
            settings,
            service,
            stop,
        })
    }

    /// Accepts connections until told to stop.
    pub(crate) async fn run(self: Arc<Self>, listener: UnixListener) {
        let mut backoff = Duration::from_millis(1);
        loop {
            self.beats.fetch_add(1, Ordering::Relaxed);
            let permit = Arc::clone(&self.permits).acquire_owned();
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.nudge.notified() => continue,
                accepted = async { (permit.await, listener.accept().await) } => accepted,
            };
            match accepted {
                (Ok(permit), Ok((stream, _))) => {
                    backoff = Duration::from_millis(1);
                    self.serve(stream, permit);
                }
                (Ok(_), Err(error)) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                (Err(_), _) => return,
            }
        }
    }

    /// How often the loop that accepts has been seen at work, and asks it to come by once more, so
    /// that the number grows soon unless the loop hangs.
    pub(crate) fn accept_beats(&self) -> u64 {
        let beats = self.beats.load(Ordering::Relaxed);
        self.nudge.notify_one();
        beats
    }

    fn serve(self: &Arc<Self>, stream: UnixStream, permit: OwnedSemaphorePermit) {
        let connection = Connection::new(
            stream,
            Arc::clone(&self.service),
            self.budgets.clone(),
            self.settings.stall_timeout,
            self.stop.clone(),
        );
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => return tracing::warn!("a peer cannot be told: {error}"),
        };
        let open = OpenConnection::new(Arc::clone(self), permit);
        let peer = Arc::clone(connection.peer());
        let span = tracing::debug_span!("connection", uid = peer.uid, pid = peer.pid);
        self.connections.spawn(
            async move {
                if let Err(error) = connection.run().await {
                    tracing::info!(uid = peer.uid, pid = peer.pid, "a connection ended: {error}");
                }
                drop(open);
            }
            .instrument(span),
        );
    }

    fn count(&self, change: impl FnOnce(usize) -> usize) {
        self.open.send_modify(|open| *open = change(*open));
        self.service.set_connections(*self.open.borrow());
    }

    /// Waits until every connection has ended.
    pub(crate) async fn drained(&self) {
        self.connections.close();
        self.connections.wait().await;
    }

    /// Waits until no connection has been open for this long; for ever if it is zero.
    pub(crate) async fn idle(&self, idle_exit: Duration) {
        if idle_exit.is_zero() {
            return std::future::pending().await;
        }
        let mut open = self.open.subscribe();
        loop {
            if open.wait_for(|open| *open == 0).await.is_err() {
                return;
            }
            let changed = tokio::time::timeout(idle_exit, open.wait_for(|open| *open > 0)).await;
            if changed.is_err() {
                return;
            }
        }
    }
}

/// Counts a connection as open for as long as it lives, whatever ends it.
struct OpenConnection {
    server: Arc<Server>,
    _permit: OwnedSemaphorePermit,
}

impl OpenConnection {
    fn new(server: Arc<Server>, permit: OwnedSemaphorePermit) -> Self {
        server.count(|open| open + 1);
        Self { server, _permit: permit }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.server.count(|open| open.saturating_sub(1));
    }
}
