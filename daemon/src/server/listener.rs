//! Accepts connections.
//!
//! **Invariants.** There are never more connections than the settings allow, and
//! [`REFUSALS_MAX`] that are being refused. Who comes when all are open, but for those that are
//! kept for who administers the daemon, is accepted as soon as one ends, or refused with a word on
//! why once that has taken [`CROWDED_PATIENCE`]; who has its user's part already is refused at
//! once, and keeps nobody else waiting. An error of `accept` is waited out: it neither ends nor
//! spins the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::connection::{Connection, ConnectionError};
use super::peer::Peer;
use super::refusal::{refuse, refuse_at_once};
use super::turns::in_turns;
use super::users::Users;
use crate::service::{Seldom, Service, within_threads};
use crate::settings::Settings;

/// The longest wait after an error of `accept`.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long somebody waits for one of all connections to end, if nobody has just done so in vain.
const CROWDED_PATIENCE: Duration = Duration::from_millis(500);
/// Connections that are being refused at a time. Further ones are left without waiting until they
/// have greeted.
pub(crate) const REFUSALS_MAX: usize = 16;

/// The server: all connections.
#[derive(Debug)]
pub(crate) struct Server {
    settings: Arc<Settings>,
    service: Arc<Service>,
    users: Users,
    refusals: Arc<Semaphore>,
    connections: TaskTracker,
    /// How many connections are open, for those who wait for a change.
    open: watch::Sender<usize>,
    /// How often the loop that accepts has been seen at work, and what has it come by.
    beats: AtomicU64,
    nudge: Notify,
    /// The number of the next connection, for the log.
    accepted: AtomicU64,
    /// Ends of connections that have been logged: peers cause them as they like.
    ends: Seldom,
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
            users: Users::new(settings.connections_max, settings.buffer_bytes_max),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            connections: TaskTracker::new(),
            open: watch::Sender::new(0),
            beats: AtomicU64::new(0),
            nudge: Notify::new(),
            accepted: AtomicU64::new(1),
            ends: Seldom::default(),
            settings,
            service,
            stop,
        })
    }

    /// Accepts connections until told to stop.
    pub(crate) async fn run(self: Arc<Self>, listener: UnixListener) {
        let mut backoff = Duration::from_millis(1);
        let mut crowded = false;
        loop {
            self.beats.fetch_add(1, Ordering::Relaxed);
            let accepted = async {
                crowded = self.is_crowded(crowded).await;
                listener.accept().await
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.nudge.notified() => continue,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    backoff = Duration::from_millis(1);
                    self.take(stream);
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Waits for room for another connection; whether that was in vain. Where it was before, there
    /// is no waiting.
    async fn is_crowded(&self, before: bool) -> bool {
        let patience = if before { Duration::ZERO } else { CROWDED_PATIENCE };
        let crowded = tokio::time::timeout(patience, self.users.has_room()).await.is_err();
        if crowded && !before {
            tracing::warn!(connections_max = self.settings.connections_max, "refusing connections");
        }
        crowded
    }

    /// How often the loop that accepts has been seen at work, and asks it to come by once more, so
    /// that the number grows soon unless the loop hangs.
    pub(crate) fn accept_beats(&self) -> u64 {
        let beats = self.beats.load(Ordering::Relaxed);
        self.nudge.notify_one();
        beats
    }

    /// Serves who has been accepted, or refuses.
    fn take(self: &Arc<Self>, stream: UnixStream) {
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => return tracing::warn!("a peer cannot be told: {error}"),
        };
        let user = self.users.user(peer.uid);
        let place = match user.connection() {
            Ok(place) => place,
            Err(error) => {
                self.service.note_refusal(&peer, &error);
                let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
                    return refuse_at_once(stream, error);
                };
                self.connections.spawn(async move {
                    refuse(stream, user.budgets(), error).await;
                    drop(permit);
                });
                return;
            }
        };
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        let (threads, turns) = (user.threads(), user.turns());
        let connection = Connection::new(
            (stream, peer, number),
            (user, place),
            Arc::clone(&self.service),
            self.settings.stall_timeout,
            self.stop.clone(),
        );
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => return tracing::warn!("a connection cannot be served: {error}"),
        };
        let open = OpenConnection::new(Arc::clone(self));
        let peer = Arc::clone(connection.peer());
        let (uid, pid, meter) = (peer.uid, peer.pid, connection.meter());
        // Entering a span at each step would cost every hit a twentieth: events without a request
        // that are to be told say it themselves.
        let span = tracing::debug_span!("connection", number, uid, pid);
        self.connections.spawn(
            async move {
                let served = in_turns(turns, meter, within_threads(threads, connection.run()));
                if let Err(error) = served.await {
                    open.server.tell_end((number, uid, pid), &error);
                }
                drop(open);
            }
            .instrument(span),
        );
    }

    /// Tells why a connection has ended, if not too many have just done so.
    fn tell_end(&self, (connection, uid, pid): (u64, u32, Option<u32>), error: &ConnectionError) {
        if let Some(untold) = self.ends.may_tell(Instant::now()) {
            tracing::info!(connection, uid, pid, untold, "a connection ended: {error}");
        }
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
}

impl OpenConnection {
    fn new(server: Arc<Server>) -> Self {
        server.count(|open| open + 1);
        Self { server }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.server.count(|open| open.saturating_sub(1));
    }
}
