//! Hits from the daemon's shared memory: see [`memod_protocol::board`].
//!
//! After a few hits in a scope the client opens one more connection, the tether, and is given the
//! scope's board on it. An entry that stands there costs no turn of the daemon.
//!
//! **Invariants.** A hit by the board is right at some moment between call and return: the entry
//! stood there as a whole, the daemon takes it off before any change is written, and that this
//! daemon still lives is looked at after the entry was read, so that no other can have changed it
//! before; a look is good for as long as no successor changes anything, see `Tether`. Nothing here
//! is an error: whatever is odd, the daemon is asked. A process never uses the tether that its
//! parent opened, and counts none of its hits.
//!
//! **Does not** wait on the way of a hit.

mod mapping;
mod of_process;
mod on_board;
mod tally;
mod tether;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use memod_protocol::board::Board;
use memod_protocol::board::layout::Layout;
use memod_protocol::{Call, Key, KnownCall, Scope, TaskIdentity};

use crate::address::Address;
use crate::builder::Settings;
use crate::connect::Patience;
use crate::declarations;
use crate::options::milliseconds;
use mapping::{ForkMark, Mapping};
pub use of_process::report_board_hits;
pub(crate) use on_board::OnBoard;
use tally::Tally;
use tether::Tether;

/// Hits in a scope after which its board is asked for.
const HITS_BEFORE: u32 = 2;
/// Boards that are kept, and scopes without one that are kept track of.
const SCOPES_MAX: usize = 64;
const SEEN_MAX: usize = 256;
/// The longest time that a lookup which has been answered may take to ask for a board.
const OPENING_MAX: Duration = Duration::from_millis(250);
/// How long not to ask again when there was no board.
const PAUSE: Duration = Duration::from_secs(10);
/// The same for a board that the daemon gave up sooner than that after it was opened: at first, and
/// at the most, when that happens again and again. There are more scopes than boards then.
const GIVEN_UP_MIN: Duration = Duration::from_secs(1);
const GIVEN_UP_MAX: Duration = Duration::from_secs(64);

/// The boards that a client reads.
#[derive(Debug)]
pub(crate) struct Boards {
    is_on: bool,
    state: RwLock<State>,
    hits: AtomicU64,
}

#[derive(Debug)]
struct State {
    process: u32,
    mark: Option<ForkMark>,
    tether: Option<Arc<Tether>>,
    views: Vec<Arc<View>>,
    seen: Vec<Seen>,
}

/// A scope without a board.
#[derive(Debug)]
struct Seen {
    scope: Scope,
    hits: u32,
    /// When its board may be asked for again.
    not_before: Option<Instant>,
    /// The pause that began when its board was given up.
    pause: Duration,
}

/// The board of a scope.
#[derive(Debug)]
struct View {
    scope: Scope,
    mapping: Mapping,
    layout: Layout,
    tether: Arc<Tether>,
    tally: Mutex<Tally>,
    opened: Instant,
    /// The pause before it was asked for.
    pause: Duration,
}

impl State {
    fn new(process: u32) -> Self {
        Self { process, mark: None, tether: None, views: Vec::new(), seen: Vec::new() }
    }

    fn view(&self, scope: &Scope) -> Option<&Arc<View>> {
        self.views.iter().find(|view| view.scope == *scope)
    }

    /// What is known of a scope that has no board.
    fn seen(&mut self, scope: &Scope) -> &mut Seen {
        let at = self.seen.iter().position(|seen| seen.scope == *scope).unwrap_or_else(|| {
            if self.seen.len() >= SEEN_MAX {
                self.seen.remove(0);
            }
            let (hits, not_before, pause) = (0, None, Duration::ZERO);
            self.seen.push(Seen { scope: scope.clone(), hits, not_before, pause });
            self.seen.len() - 1
        });
        self.seen.get_mut(at).expect("it was found, or has just been pushed")
    }

    /// The daemon has given a board up: one that it gave up soon is asked for less often.
    fn given_up(&mut self, view: &View, now: Instant) {
        let pause = pause_after(now.duration_since(view.opened), view.pause);
        let seen = self.seen(&view.scope);
        (seen.pause, seen.not_before) = (pause, now.checked_add(pause));
    }
}

impl Boards {
    pub(crate) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            is_on: settings.board && !settings.environment.board_off,
            state: RwLock::new(State::new(std::process::id())),
            hits: AtomicU64::new(0),
        })
    }

    /// How many hits were had by a board.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Looks on the board of the call's scope, if there is one. The key is made here unless it is
    /// known.
    pub(crate) fn look(
        &self,
        call: &Call,
        known: Option<Key>,
        max_age: Option<Duration>,
    ) -> Option<OnBoard> {
        let (begun, view) = (Instant::now(), self.view_of(&call.scope)?);
        let task = declarations::of(call)?;
        let key = known.or_else(|| task.key(call).ok())?;
        self.read(&view, (call, &task, key), max_age, begun)
    }

    /// The same for a call of which all is known.
    pub(crate) fn look_known(
        &self,
        known: &KnownCall<'_>,
        max_age: Option<Duration>,
    ) -> Option<OnBoard> {
        let call = known.call();
        let (begun, view) = (Instant::now(), self.view_of(&call.scope)?);
        self.read(&view, (call, known.task(), known.key()), max_age, begun)
    }

    /// The board of a scope, if there is one that this process may read.
    fn view_of(&self, scope: &Scope) -> Option<Arc<View>> {
        if !self.is_on {
            return None;
        }
        let state = self.state.try_read().ok()?;
        let view = state.view(scope)?;
        let is_ours = state.mark.as_ref().is_some_and(ForkMark::is_of_this_process);
        is_ours.then(|| Arc::clone(view))
    }

    fn read(
        &self,
        view: &Arc<View>,
        (call, task, key): (&Call, &TaskIdentity, Key),
        max_age: Option<Duration>,
        begun: Instant,
    ) -> Option<OnBoard> {
        let board = Board::of(view.mapping.words(), view.layout);
        let mut buffer = Vec::new();
        let Some(posted) = board.read(&key, &mut buffer) else {
            if board.is_closed() {
                self.forget(|other| Arc::ptr_eq(other, view));
            }
            return None;
        };
        let now_ms = now_ms();
        let age_ms = now_ms.saturating_sub(posted.created_at_ms);
        let most = milliseconds(max_age).unwrap_or_else(|| board.max_age_ms());
        if most > 0 && age_ms > most {
            return None;
        }
        let found = OnBoard::of(call, task, key, &posted, age_ms)?;
        // Last of all: what was read before the daemon is seen to live is what its store has.
        let ended = Instant::now();
        if !view.tether.was_up(ended) {
            self.forget(|other| Arc::ptr_eq(&other.tether, &view.tether));
            return None;
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        view.count(key, now_ms, ended, ended.duration_since(begun));
        Some(found.with(buffer))
    }

    /// Gives boards up, and reports what was had by them.
    fn forget(&self, which: impl Fn(&Arc<View>) -> bool) {
        let Ok(mut state) = self.state.try_write() else { return };
        let forgotten: Vec<_> = state.views.extract_if(.., |view| which(view)).collect();
        for view in forgotten {
            view.report_all();
            if Board::of(view.mapping.words(), view.layout).is_closed() && view.tether.is_up() {
                state.given_up(&view, Instant::now());
            }
        }
        if state.tether.as_ref().is_some_and(|tether| !tether.is_up()) {
            state.tether = None;
        }
    }

    /// Notes a hit that the daemon gave; whether the scope's board is to be asked for.
    pub(crate) fn noted(&self, scope: &Scope) -> bool {
        if !self.is_on {
            return false;
        }
        let process = std::process::id();
        match self.state.try_read() {
            Ok(state) if state.process == process && state.view(scope).is_some() => return false,
            Ok(_) => {}
            Err(_) => return false,
        }
        let Ok(mut state) = self.state.try_write() else { return false };
        if state.process != process {
            *state = State::new(process);
        }
        let seen = state.seen(scope);
        seen.hits = seen.hits.saturating_add(1);
        seen.hits >= HITS_BEFORE && seen.not_before.is_none_or(|at| at <= Instant::now())
    }

    /// Asks for the board of a scope the daemon that is there. Others have their hits from the
    /// daemon meanwhile.
    pub(crate) fn open(self: &Arc<Self>, scope: &Scope, address: &Address, settings: &Settings) {
        let Ok(mut state) = self.state.try_write() else { return };
        if state.view(scope).is_some() {
            return;
        }
        let patience = Patience::within(settings.bounds.deadline.min(OPENING_MAX));
        match View::open(&mut state, scope, address, settings, patience) {
            Some(view) => {
                if state.views.len() >= SCOPES_MAX {
                    state.views.remove(0).report_all();
                }
                state.seen.retain(|seen| seen.scope != *scope);
                state.views.push(Arc::new(view));
                of_process::remember(self);
            }
            None => state.seen(scope).not_before = Instant::now().checked_add(PAUSE),
        }
    }

    /// Reports what is due.
    pub(crate) fn report_due(&self) {
        if let Some(views) = self.own_views() {
            let now = Instant::now();
            for view in views {
                view.report_if(|tally| tally.is_due(now));
            }
        }
    }

    /// Reports everything, without waiting.
    fn report_all(&self) {
        if let Some(views) = self.own_views() {
            for view in views {
                view.report_all();
            }
        }
    }

    /// Has everything reported that clients of this process had from the daemons which this one
    /// asks, and waits until it is counted, so that counters which are asked for next have it.
    pub(crate) fn settle(settings: &Settings) {
        let all = of_process::all();
        let views = all.iter().filter_map(|boards| boards.own_views()).flatten();
        let mut views = views.peekable();
        if views.peek().is_none() {
            return;
        }
        let addresses = settings.addresses();
        for view in views.filter(|view| addresses.contains(view.tether.address())) {
            view.report_all();
            view.tether.settle(Patience::within(settings.bounds.deadline));
        }
    }

    /// All boards of this process; nothing if there is none.
    fn own_views(&self) -> Option<Vec<Arc<View>>> {
        let state = self.state.try_read().ok()?;
        let own = !state.views.is_empty() && state.process == std::process::id();
        own.then(|| state.views.clone())
    }
}

impl Drop for Boards {
    fn drop(&mut self) {
        self.report_all();
    }
}

impl View {
    fn open(
        state: &mut State,
        scope: &Scope,
        address: &Address,
        settings: &Settings,
        patience: Patience,
    ) -> Option<Self> {
        if state.mark.is_none() {
            state.mark = Some(ForkMark::new().ok()?);
        }
        let tether = if let Some(tether) = state.tether.take_if(|tether| tether.is_up()) {
            tether
        } else {
            let (program, bounds) = (&settings.program, settings.bounds);
            Arc::new(Tether::open(address, program, bounds, patience).ok()?)
        };
        state.tether = Some(Arc::clone(&tether));
        let (offer, descriptor) = tether.ask(scope, patience).ok()??;
        let mapping = Mapping::new(&descriptor, offer.bytes).ok()?;
        let board = Board::open(mapping.words()).ok().filter(|board| board.id() == offer.id)?;
        let (layout, tally, scope) = (board.layout(), Mutex::default(), scope.clone());
        let (opened, pause) = (Instant::now(), state.seen(&scope).pause);
        Some(Self { scope, mapping, layout, tether, tally, opened, pause })
    }

    /// Counts a hit, and reports if that is due.
    fn count(&self, key: Key, at_ms: u64, now: Instant, took: Duration) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.add(key, at_ms, took, now);
        let is_due = tally.is_due(now);
        drop(tally);
        // Whoever speaks with the daemon just now may have to wait for it; a later hit reports.
        if is_due && !self.tether.is_in_use() {
            self.report_if(|tally| tally.is_due(now));
        }
    }

    fn report_all(&self) {
        self.report_if(|tally| !tally.is_empty());
    }

    fn report_if(&self, is_due: impl Fn(&Tally) -> bool) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if is_due(&tally) && !self.tether.is_behind() {
            let hits = tally.take();
            drop(tally);
            self.tether.report(&self.scope, hits);
        }
    }
}

/// How long not to ask for a board that was given up after so long, and had been asked for after
/// this pause.
fn pause_after(open: Duration, before: Duration) -> Duration {
    if open >= PAUSE.max(before) {
        return Duration::ZERO;
    }
    (2 * before).clamp(GIVEN_UP_MIN, GIVEN_UP_MAX)
}

/// Milliseconds since 1970-01-01 UTC; 0 on a clock before that.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;
    use crate::builder::Builder;

    #[test]
    fn a_child_process_begins_anew() {
        let boards = Builder::default().boards();
        let scope = Scope::new("p", "d");
        assert!(!boards.noted(&scope));
        assert!(boards.noted(&scope), "after two hits the board is asked for");
        // As if this were another process than the one that counted them.
        boards.state.write().unwrap().process += 1;
        assert!(!boards.noted(&scope), "hits of the parent do not count");
        assert!(boards.noted(&scope));
    }

    #[test]
    fn a_lock_held_across_a_fork_is_not_waited_for() {
        let boards = Builder::default().boards();
        let held = boards.state.write().unwrap();
        assert!(!boards.noted(&Scope::new("p", "d")));
        boards.report_due();
        boards.report_all();
        drop(held);
    }

    #[test]
    fn scopes_that_are_kept_track_of_are_bounded() {
        let boards = Builder::default().boards();
        for number in 0..10 * SEEN_MAX {
            boards.noted(&Scope::new("p", number.to_string()));
        }
        assert_eq!(boards.state.read().unwrap().seen.len(), SEEN_MAX);
    }

    #[test]
    fn a_board_that_is_given_up_soon_again_and_again_is_asked_for_less_and_less_often() {
        let (soon, mut pause, mut pauses) = (Duration::from_millis(5), Duration::ZERO, Vec::new());
        for _ in 0..9 {
            pause = pause_after(soon, pause);
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        // One that stood for long was given up for another reason.
        assert_eq!(pause_after(PAUSE, Duration::ZERO), Duration::ZERO);
        assert_eq!(pause_after(pause, pause), Duration::ZERO);
        assert!(pause_after(PAUSE, pause) > PAUSE);
    }

    #[test]
    fn nothing_is_noted_where_boards_are_not_wanted() {
        let boards = Builder::default().board(false).boards();
        assert!((0..5).all(|_| !boards.noted(&Scope::new("p", "d"))));
        let environment = crate::address::Environment { board_off: true, ..Default::default() };
        let boards = Builder::default().environment(environment).boards();
        assert!((0..5).all(|_| !boards.noted(&Scope::new("p", "d"))));
    }
}
