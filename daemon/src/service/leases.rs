//! Leases at work: the lease table with a clock, and those who wait woken.
//!
//! **Invariants.** A connection asks for nothing once it is gone, so that nothing is held by the
//! dead. Who is handed a lease and is no longer there passes it on. Time is monotonic: setting the
//! wall clock neither frees nor prolongs a lease (semantics 32).
//!
//! **Does not** look entries up.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memod_protocol::{
    CallIdentity, ErrorCode, Holder, Key, LeaseRow, NamedOwner, Scope, WireError,
};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::lease_table::{
    self, Ask, Bound, Bounds, Claimant, ConnectionId, Effect, Event, LeaseTable, Owner, Ticket,
    Time, Wait,
};
use crate::server::Peer;

/// Leases of one connection.
const LEASES_PER_CONNECTION_MAX: usize = 4096;
/// Leases in all.
const LEASES_MAX: usize = 65_536;
/// Requests of one connection that wait, for each that could wait besides: two thirds of all if
/// nobody else waits.
const WAITERS_PER_CONNECTION_SHARE: usize = 2;
/// Requests of one user that wait, for each that could wait besides: three quarters of all if
/// nobody else waits.
const WAITERS_PER_USER_SHARE: usize = 3;

/// Who asks, and for what: what others are told of an owner.
#[derive(Debug, Clone)]
struct Who {
    name: Option<Arc<str>>,
    peer: Arc<Peer>,
    of: Arc<Of>,
}

/// Where a lease is, and of which task.
#[derive(Debug)]
struct Of {
    scope: Scope,
    task: String,
}

/// A connection as the lease table knows it.
#[derive(Debug)]
pub(crate) struct Lessee {
    id: ConnectionId,
    /// Set, under the table's lock, when the connection is gone.
    gone: AtomicBool,
}

/// What an ask came to.
#[derive(Debug)]
pub(crate) enum Grant {
    /// The lease is the asker's; this is what others are told.
    Leased(Holder),
    /// Nobody holds it, and the asker did not want to.
    Free,
    /// Another holds it, and the asker does not wait, or not any longer.
    Held(Holder),
    /// There is an entry now.
    Recheck,
    /// The asker's connection is gone.
    GaveUp,
    /// There is no room for another.
    Busy(WireError),
}

/// What an ask came to, or that it waits.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It is answered. The ticket gives back what was granted.
    Answered(Grant, Turn),
    /// It waits for this holder.
    Waits(Holder, Turn),
}

/// A place in the table: a lease, or a place among those who wait. Is given back when it is
/// dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Turn {
    leases: Arc<Leases>,
    ticket: Ticket,
    woken: Option<oneshot::Receiver<Effect<Who>>>,
    who: Who,
    kept: bool,
}

impl Turn {
    /// Waits until this ask is answered.
    pub(crate) async fn answer(&mut self) -> Grant {
        let Some(woken) = self.woken.as_mut() else { return Grant::GaveUp };
        let effect = woken.await;
        self.woken = None;
        match effect {
            Ok(effect) => self.leases.grant(effect, &self.who),
            Err(_) => Grant::GaveUp,
        }
    }

    /// Leaves a granted lease with its owner.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.kept {
            self.leases.happen(Event::Withdraw { ticket: self.ticket });
        }
    }
}

#[derive(Debug)]
struct Inner {
    table: LeaseTable<Who>,
    waiting: HashMap<Ticket, oneshot::Sender<Effect<Who>>>,
    /// The daemon stops: nobody asks or waits any more.
    closed: bool,
}

/// All leases of a daemon.
#[derive(Debug)]
pub(crate) struct Leases {
    inner: Mutex<Inner>,
    origin: Instant,
    next_ticket: AtomicU64,
    next_connection: AtomicU64,
    /// How many leases there are, so that who puts need not ask the table when there is none.
    held: AtomicUsize,
    /// Told when the next deadline may have come nearer.
    hurry: Notify,
}

impl Leases {
    /// No leases, with room for so many who wait.
    pub(crate) fn new(waiters_max: usize, heartbeat_max: Duration) -> Arc<Self> {
        let bounds = Bounds {
            waiters_per_key_max: waiters_max,
            waiters_max,
            waiters_per_connection_share: WAITERS_PER_CONNECTION_SHARE,
            waiters_per_user_share: WAITERS_PER_USER_SHARE,
            leases_max: LEASES_MAX,
            leases_per_connection_max: LEASES_PER_CONNECTION_MAX,
            heartbeat_max,
        };
        Arc::new(Self {
            inner: Mutex::new(Inner {
                table: LeaseTable::new(bounds),
                waiting: HashMap::new(),
                closed: false,
            }),
            origin: Instant::now(),
            next_ticket: AtomicU64::new(0),
            next_connection: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            hurry: Notify::new(),
        })
    }

    /// Lets time pass: ends waits and named leases when they are due, until aborted.
    pub(crate) fn keep_time(self: &Arc<Self>) -> JoinHandle<()> {
        let leases = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let next = leases.locked().table.next_deadline();
                let due =
                    next.and_then(|Time(ns)| leases.origin.checked_add(Duration::from_nanos(ns)));
                let due = async {
                    match due {
                        Some(due) => tokio::time::sleep_until(due.into()).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = due => leases.happen(Event::Tick),
                    () = leases.hurry.notified() => {}
                }
            }
        })
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Lessee {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        Lessee { id, gone: AtomicBool::new(false) }
    }

    /// The connection is closed: what it holds passes on, and it waits no more.
    pub(crate) fn gone(&self, lessee: &Lessee) {
        let mut inner = self.locked();
        lessee.gone.store(true, Ordering::Relaxed);
        self.happen_in(&mut inner, Event::Gone { connection: lessee.id });
    }

    /// Somebody asks for the lease of a call of this key. `wait`: absent as long as it takes.
    pub(crate) fn ask(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        lessee: &Lessee,
        (call, key): (&CallIdentity, Key),
        owner: Option<&NamedOwner>,
        take: bool,
        wait: Option<Duration>,
    ) -> Asked {
        let ticket = Ticket(self.next_ticket.fetch_add(1, Ordering::Relaxed));
        let name = owner.map(|owner| Arc::from(owner.name.as_str()));
        let of = Arc::new(Of { scope: call.scope.clone(), task: call.task.clone() });
        let who = Who { name, peer: Arc::clone(peer), of };
        let now = self.now();
        let ask = Ask {
            ticket,
            connection: lessee.id,
            uid: peer.uid,
            key,
            claimant: owner.map_or(Claimant::Connection, |owner| claimant(owner, peer)),
            take,
            wait: match wait {
                None => Wait::Forever,
                Some(Duration::ZERO) => Wait::No,
                Some(wait) => Wait::Until(now.after(wait)),
            },
            who: who.clone(),
        };
        let mut turn = Turn { leases: Arc::clone(self), ticket, woken: None, who, kept: false };
        let mut inner = self.locked();
        if inner.closed || lessee.gone.load(Ordering::Relaxed) {
            return Asked::Answered(Grant::GaveUp, turn);
        }
        let own = self.happen_in(&mut inner, Event::Ask(ask));
        let effect = own.into_iter().find(|effect| effect.ticket() == ticket);
        match effect.expect("the table answers every ask or says that it waits") {
            Effect::Waiting { holder, .. } => {
                let (sender, receiver) = oneshot::channel();
                inner.waiting.insert(ticket, sender);
                turn.woken = Some(receiver);
                drop(inner);
                Asked::Waits(self.told(&holder), turn)
            }
            effect => {
                // Who extends a lease has held it for longer than since now.
                let holder = inner.table.holder(&key, self.now());
                drop(inner);
                let grant = match (effect, holder) {
                    (Effect::Granted { .. }, Some(holder)) => Grant::Leased(self.told(&holder)),
                    (effect, _) => self.grant(effect, &turn.who),
                };
                Asked::Answered(grant, turn)
            }
        }
    }

    /// Who has the lease of a key, as peers are told.
    pub(crate) fn holder(&self, key: &Key) -> Option<Holder> {
        let holder = self.locked().table.holder(key, self.now());
        holder.map(|holder| self.told(&holder))
    }

    /// At most so many leases, of scopes that are told: those for which most wait first, of these
    /// the oldest.
    pub(crate) fn list(&self, most: usize, tells: &dyn Fn(&Scope) -> bool) -> Vec<LeaseRow> {
        let now = self.now();
        let held = |(key, who, since, waiting): (&Key, &Who, Time, usize)| {
            (Reverse(waiting), since, *key, Arc::clone(&who.of))
        };
        // Whether they are told is asked when others can have the table.
        let mut held: Vec<_> = self.locked().table.held(now).map(held).collect();
        held.retain(|(.., of)| tells(&of.scope));
        held.sort_unstable_by_key(|(waiting, since, key, _)| (*waiting, *since, *key));
        held.truncate(most);
        let row = |(Reverse(waiting), _, key, of): (Reverse<usize>, Time, Key, Arc<Of>)| {
            Some(LeaseRow {
                key,
                scope: of.scope.clone(),
                task: of.task.clone(),
                // None if it has ended meanwhile.
                holder: self.holder(&key)?,
                waiters: u64::try_from(waiting).unwrap_or(u64::MAX),
            })
        };
        held.into_iter().filter_map(row).collect()
    }

    /// The daemon stops: whoever waits is told, instead of being handed the leases of connections
    /// that are closed before its own.
    pub(crate) fn close(&self) {
        let mut inner = self.locked();
        inner.closed = true;
        for (ticket, waiter) in std::mem::take(&mut inner.waiting) {
            // Who does not listen any more need not know.
            let _ = waiter.send(Effect::GaveUp { ticket });
        }
    }

    /// Whether the daemon stops.
    pub(crate) fn is_closed(&self) -> bool {
        self.locked().closed
    }

    /// There is an entry of this key now.
    pub(crate) fn committed(&self, key: Key) {
        // Who asks later than this finds the entry.
        if self.held.load(Ordering::SeqCst) > 0 {
            self.happen(Event::Commit { key });
        }
    }

    /// Gives a lease back; whether it was the giver's.
    pub(crate) fn release(
        &self,
        peer: &Peer,
        lessee: &Lessee,
        key: Key,
        name: Option<&str>,
    ) -> bool {
        let by =
            name.map_or(Owner::Connection(lessee.id), |name| Owner::Named(own_name(name, peer)));
        let effects = self.happen_in(&mut self.locked(), Event::Release { key, by });
        effects.iter().any(|effect| matches!(effect, Effect::Released { .. }))
    }

    /// How many leases there are, and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.locked();
        (inner.table.leases(), inner.table.waiters())
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::default().after(self.origin.elapsed())
    }

    fn happen(&self, event: Event<Who>) {
        self.happen_in(&mut self.locked(), event);
    }

    /// Something happens: wakes those whom it answers, and gives the effects on others. Whoever
    /// was handed a lease and does not listen any more passes it on.
    fn happen_in(&self, inner: &mut Inner, event: Event<Who>) -> Vec<Effect<Who>> {
        let before = inner.table.next_deadline();
        let mut events = VecDeque::from([event]);
        let mut others = Vec::new();
        while let Some(event) = events.pop_front() {
            if let Event::Withdraw { ticket } = &event {
                inner.waiting.remove(ticket);
            }
            for effect in inner.table.apply(event, self.now()) {
                let ticket = effect.ticket();
                match inner.waiting.remove(&ticket) {
                    None => others.push(effect),
                    Some(waiter) => {
                        if waiter.send(effect).is_err() {
                            events.push_back(Event::Withdraw { ticket });
                        }
                    }
                }
            }
        }
        self.held.store(inner.table.leases(), Ordering::SeqCst);
        if inner.table.next_deadline().is_some_and(|due| before.is_none_or(|had| due < had)) {
            self.hurry.notify_one();
        }
        others
    }

    fn grant(&self, effect: Effect<Who>, who: &Who) -> Grant {
        match effect {
            Effect::Granted { expires, .. } => {
                let since = self.now();
                let holder = lease_table::Holder { who: who.clone(), since, expires };
                Grant::Leased(self.told(&holder))
            }
            Effect::Free { .. } => Grant::Free,
            Effect::Held { holder, .. }
            | Effect::TimedOut { holder, .. }
            | Effect::Waiting { holder, .. } => Grant::Held(self.told(&holder)),
            Effect::Recheck { .. } => Grant::Recheck,
            Effect::GaveUp { .. } | Effect::Released { .. } => Grant::GaveUp,
            Effect::Busy { bound, .. } => Grant::Busy(busy(bound)),
        }
    }

    /// A holder as peers are told.
    fn told(&self, holder: &lease_table::Holder<Who>) -> Holder {
        let now = self.now();
        let ms = |from: Time, to: Time| to.0.saturating_sub(from.0) / 1_000_000;
        let lease_table::Holder { who, since, expires } = holder;
        // A name's lease does not end with the process that asked for it, which may be gone.
        let process = who.name.is_none().then_some(&who.peer);
        Holder {
            name: who.name.as_deref().map(str::to_owned),
            uid: who.peer.uid,
            pid: process.and_then(|peer| peer.pid),
            program: process.and_then(|peer| peer.program.clone()),
            held_ms: ms(*since, now),
            expires_in_ms: expires.map(|expires| ms(now, expires)),
        }
    }
}

fn claimant(owner: &NamedOwner, peer: &Peer) -> Claimant {
    // Zero or less was refused before.
    let heartbeat = Duration::from_millis(u64::try_from(owner.heartbeat_ms).unwrap_or(0));
    Claimant::Named { name: own_name(&owner.name, peer), heartbeat }
}

/// A name as the table knows it. A name belongs to a user: others may know it, since holders are
/// told, and must neither extend nor release what it holds.
fn own_name(name: &str, peer: &Peer) -> String {
    format!("{} {name}", peer.uid)
}

fn busy(bound: Bound) -> WireError {
    let (what, hint) = match bound {
        Bound::WaitersPerKey | Bound::Waiters => {
            ("too many requests wait for leases", "compute it, or ask again later")
        }
        Bound::WaitersPerConnection => (
            "too many requests of this connection wait for leases",
            "compute it, or use another connection",
        ),
        Bound::WaitersPerUser => (
            "too many requests of this user wait for leases",
            "compute it, or ask again when others of them wait no longer",
        ),
        Bound::LeasesPerConnection => {
            ("this connection holds too many leases", "commit or release some of them")
        }
        Bound::Leases => ("too many leases are held", "compute it, or ask again later"),
    };
    WireError::new(ErrorCode::Busy, what).with_hint(hint)
}
