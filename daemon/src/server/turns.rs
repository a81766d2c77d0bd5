//! A user's turns: of all of a user's connections that have something to do, a few have it done at
//! a time, one behind the other. So whoever has little to ask waits behind a few pieces of work of
//! each other user, and not behind all connections of one. Within a user, connections that have
//! little to ask come before those that last had more than fits into a turn: the same client beside
//! its own user's flood does not wait for all of that either.
//!
//! **Invariants.** Nobody holds a turn while it waits for anything: it lasts for one poll of a
//! connection, which ends after a few requests. Of those that ask for little, and of those that ask
//! for much, whoever has waited longest gets the next turn, and is woken for it; those that ask for
//! much have at least every fourth. What goes away with a turn, or waiting for one, gives it on.
//!
//! **Does not** order what is done outside a connection's own task, where requests go that need a
//! disk or a thread; [`super::users`] bounds these.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Requests that are handled in a turn.
const TURN_REQUESTS: u32 = 2;
/// Turns in a row of connections that ask for little, while others wait that ask for much.
const LITTLE_MAX: u32 = 3;

/// The turns of a user.
#[derive(Debug)]
pub(crate) struct Turns {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Turns that somebody has.
    taken: usize,
    little: VecDeque<Arc<Waiting>>,
    much: VecDeque<Arc<Waiting>>,
    /// Turns in a row that were given to one of the first queue, though another waited in the
    /// second.
    little_in_row: u32,
}

/// Where somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// Of those that were done in one turn when they last had something to do, or never had.
    Little,
    /// Of all others.
    Much,
}

impl State {
    /// Has somebody wait, at the end of the queue.
    fn enqueue(&mut self, queue: Queue, context: &Context<'_>) -> Arc<Waiting> {
        let waker = Mutex::new(context.waker().clone());
        let waits = Arc::new(Waiting { has_turn: AtomicBool::new(false), waker });
        let queue = match queue {
            Queue::Little => &mut self.little,
            Queue::Much => &mut self.much,
        };
        queue.push_back(Arc::clone(&waits));
        waits
    }

    /// Takes out who is to have the next turn.
    fn next(&mut self) -> Option<Arc<Waiting>> {
        if self.little_in_row < LITTLE_MAX
            && let Some(next) = self.little.pop_front()
        {
            self.little_in_row = if self.much.is_empty() { 0 } else { self.little_in_row + 1 };
            return Some(next);
        }
        self.little_in_row = 0;
        self.much.pop_front().or_else(|| self.little.pop_front())
    }
}

/// One who waits for a turn.
#[derive(Debug)]
struct Waiting {
    /// Whether it has got one.
    has_turn: AtomicBool,
    waker: Mutex<Waker>,
}

/// What one has done in its turn.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    requests: AtomicU32,
    goes_on: AtomicBool,
}

impl Meter {
    /// A request more is handled.
    pub(crate) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the turn, if so much has been done in it that others are to have theirs.
    pub(crate) async fn rest(&self) {
        if self.requests.load(Ordering::Relaxed) >= TURN_REQUESTS {
            self.wait().await;
        }
    }

    /// Ends the poll, and with it the turn. Whoever has this work done in turns has it come back.
    async fn wait(&self) {
        let mut is_back = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut is_back, true) {
                return Poll::Ready(());
            }
            self.goes_on.store(true, Ordering::Relaxed);
            Poll::Pending
        })
        .await;
    }
}

/// One who takes turns.
struct Ticket {
    turns: Arc<Turns>,
    meter: Arc<Meter>,
    waits: Option<Arc<Waiting>>,
    /// Whether its last turn ended before all was done.
    goes_on: bool,
    /// Where it waits when it has something to do again.
    queue: Queue,
}

impl Turns {
    /// So many at a time: no more than there are threads to have them on.
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), state: Mutex::default() }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a turn to who has waited longest, or back.
    fn give_on(&self) {
        let mut state = self.locked();
        let Some(next) = state.next() else {
            state.taken -= 1;
            return;
        };
        drop(state);
        next.has_turn.store(true, Ordering::Release);
        let waker = next.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.wake();
    }
}

/// Work that is done in turns: each poll of it is one.
pub(crate) struct InTurns<F> {
    work: Pin<Box<F>>,
    ticket: Ticket,
}

/// Has work done in turns; it says what it does by the meter.
pub(crate) fn in_turns<F: Future>(turns: Arc<Turns>, meter: Arc<Meter>, work: F) -> InTurns<F> {
    InTurns { work: Box::pin(work), ticket: Ticket::new(turns, meter) }
}

impl<F: Future> Future for InTurns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { work, ticket } = &mut *self;
        if !ticket.takes(context) {
            return Poll::Pending;
        }
        let turns = Arc::clone(&ticket.turns);
        let _given_on = Turn(&turns);
        ticket.meter.requests.store(0, Ordering::Relaxed);
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            ticket.has_had_its_turn(context);
        }
        polled
    }
}

impl Ticket {
    fn new(turns: Arc<Turns>, meter: Arc<Meter>) -> Self {
        Self { turns, meter, waits: None, goes_on: false, queue: Queue::Little }
    }

    /// Its turn is over: it goes on in another, or has nothing more to do for now.
    fn has_had_its_turn(&mut self, context: &Context<'_>) {
        let went_on = self.goes_on;
        self.goes_on = self.meter.goes_on.swap(false, Ordering::Relaxed);
        if self.goes_on {
            self.queue = Queue::Much;
            // It waits here and not among the tasks that are ready, where it would be before
            // everybody who comes later.
            self.waits = Some(self.turns.locked().enqueue(self.queue, context));
        } else if !went_on {
            self.queue = Queue::Little;
        }
    }

    /// Whether it has a turn now; else it is woken when it has.
    fn takes(&mut self, context: &Context<'_>) -> bool {
        if let Some(waits) = &self.waits {
            // Before it is looked whether the turn is there, so that whoever gives it later wakes
            // this task.
            waits.waker.lock().unwrap_or_else(PoisonError::into_inner).clone_from(context.waker());
            let has_turn = waits.has_turn.load(Ordering::Acquire);
            if has_turn {
                self.waits = None;
            }
            return has_turn;
        }
        let mut state = self.turns.locked();
        if state.taken < self.turns.most {
            state.taken += 1;
            return true;
        }
        self.waits = Some(state.enqueue(self.queue, context));
        false
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(waits) = self.waits.take() else { return };
        let mut state = self.turns.locked();
        let State { little, much, .. } = &mut *state;
        let before = little.len() + much.len();
        for queue in [&mut *little, &mut *much] {
            queue.retain(|other| !Arc::ptr_eq(other, &waits));
        }
        let was_given = little.len() + much.len() == before;
        drop(state);
        if was_given {
            self.turns.give_on();
        }
    }
}

/// A turn; given on when dropped.
struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.give_on();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::task::yield_now;

    use super::*;

    fn in_turns_of<F: Future>(turns: &Arc<Turns>, work: F) -> InTurns<F> {
        in_turns(Arc::clone(turns), Arc::default(), work)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_have_a_turn_at_a_time_than_may_and_all_come_to_an_end() {
        let turns = Arc::new(Turns::new(2));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(in_turns_of(&turns, async move {
                    for _ in 0..100 {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        yield_now().await;
                    }
                }))
            })
            .collect();
        for task in tasks {
            task.await.expect("it does not panic");
        }
        assert!(most.load(Ordering::SeqCst) <= 2, "{most:?}");
        assert_eq!(turns.locked().taken, 0);
    }

    #[test]
    fn turns_are_had_in_the_order_of_asking() {
        let turns = Arc::new(Turns::new(1));
        turns.locked().taken = 1;
        let mut all: Vec<_> = (0..3).map(|_| in_turns_of(&turns, async {})).collect();
        let mut context = Context::from_waker(Waker::noop());
        for number in [1, 0, 2] {
            assert!(Pin::new(&mut all[number]).poll(&mut context).is_pending());
        }
        turns.give_on();
        // Who comes by before its time goes on waiting; each turn that has ended is the next one's.
        for number in [0, 2, 1] {
            let polled = Pin::new(&mut all[number]).poll(&mut context);
            assert_eq!(polled.is_ready(), number == 1, "{number}");
        }
        assert!(Pin::new(&mut all[2]).poll(&mut context).is_pending());
        assert!(Pin::new(&mut all[0]).poll(&mut context).is_ready());
        assert!(Pin::new(&mut all[2]).poll(&mut context).is_ready());
        assert_eq!(turns.locked().taken, 0);
    }

    #[test]
    fn who_asks_for_little_comes_first_but_not_for_ever() {
        let turns = Turns::new(1);
        let mut state = turns.locked();
        let context = Context::from_waker(Waker::noop());
        let queues = [Queue::Much, Queue::Much].into_iter().chain([Queue::Little; 4]);
        let all: Vec<_> = queues.map(|queue| state.enqueue(queue, &context)).collect();
        let mut order = Vec::new();
        while let Some(next) = state.next() {
            order.extend(all.iter().position(|waits| Arc::ptr_eq(waits, &next)));
        }
        assert_eq!(order, [2, 3, 4, 0, 5, 1]);
    }

    #[test]
    fn who_has_more_to_do_than_fits_into_a_turn_waits_behind_others() {
        let (turns, meter) = (Arc::new(Turns::new(1)), Arc::new(Meter::default()));
        let counts = Arc::clone(&meter);
        let (asks, mut asked) = tokio::sync::mpsc::channel(8);
        let work = async move {
            while asked.recv().await.is_some() {
                counts.rest().await;
                counts.count();
            }
        };
        let ask = |requests: u32| (0..requests).for_each(|_| asks.try_send(()).expect("it fits"));
        let mut context = Context::from_waker(Waker::noop());
        let mut work = in_turns(Arc::clone(&turns), meter, work);
        ask(TURN_REQUESTS + 1);
        // Another waits that asks for much, and is before it.
        let before = turns.locked().enqueue(Queue::Much, &context);
        assert!(Pin::new(&mut work).poll(&mut context).is_pending());
        assert!(before.has_turn.load(Ordering::Relaxed));
        assert_eq!(turns.locked().much.len(), 1);
        assert!(Pin::new(&mut work).poll(&mut context).is_pending(), "it is not its turn");
        turns.give_on();
        assert!(Pin::new(&mut work).poll(&mut context).is_pending(), "all is done");
        assert_eq!(turns.locked().taken, 0);
        // What it asks next it does in the queue in which it was, and then it is in the other.
        for (requests, queue) in [(1, Queue::Much), (1, Queue::Little)] {
            assert_eq!(work.ticket.queue, queue);
            ask(requests);
            assert!(Pin::new(&mut work).poll(&mut context).is_pending());
        }
        assert_eq!((work.ticket.queue, turns.locked().taken), (Queue::Little, 0));
    }

    #[tokio::test]
    async fn who_goes_away_while_waiting_or_in_its_turn_gives_it_on() {
        let turns = Arc::new(Turns::new(1));
        turns.locked().taken = 1;
        let begin = || in_turns_of(&turns, async {});
        let [mut first, mut second, mut third] = [begin(), begin(), begin()];
        let mut context = Context::from_waker(Waker::noop());
        for waiting in [&mut first, &mut second, &mut third] {
            assert!(Pin::new(waiting).poll(&mut context).is_pending());
        }
        // It goes while it waits: the turn, when it is given on, is the second's.
        drop(first);
        turns.give_on();
        // It goes before it has come to use its turn.
        drop(second);
        assert!(Pin::new(&mut third).poll(&mut context).is_ready());
        drop(third);
        let panics = tokio::spawn(in_turns_of(&turns, async { panic!("as it may") }));
        assert!(panics.await.is_err());
        assert_eq!(turns.locked().taken, 0);
    }
}
