//! A user's turns: of all of a user's connections that have something to do, a few have it done at
//! a time, one behind the other. So whoever has little to ask waits behind a few pieces of work of
//! each other user, and not behind all connections of one.
//!
//! **Invariants.** Nobody holds a turn while it waits for anything: it lasts for one poll of a
//! connection, which ends after a few requests. Whoever waits for a turn gets it in the order of
//! asking, and is woken for it. What goes away with a turn, or waiting for one, gives it on.
//!
//! **Does not** order what is done outside a connection's own task, where requests go that need a
//! disk or a thread; [`super::users`] bounds these.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

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
    waiting: VecDeque<Arc<Waiting>>,
}

/// One who waits for a turn.
#[derive(Debug)]
struct Waiting {
    /// Whether it has got one.
    has_turn: AtomicBool,
    waker: Mutex<Waker>,
}

/// One who takes turns.
struct Ticket {
    turns: Arc<Turns>,
    waits: Option<Arc<Waiting>>,
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
        let Some(next) = state.waiting.pop_front() else {
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

/// Has work done in turns.
pub(crate) fn in_turns<F: Future>(turns: Arc<Turns>, work: F) -> InTurns<F> {
    InTurns { work: Box::pin(work), ticket: Ticket { turns, waits: None } }
}

impl<F: Future> Future for InTurns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { work, ticket } = &mut *self;
        if !ticket.takes(context) {
            return Poll::Pending;
        }
        let _given_on = Turn(&ticket.turns);
        work.as_mut().poll(context)
    }
}

impl Ticket {
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
        let waker = Mutex::new(context.waker().clone());
        let waits = Arc::new(Waiting { has_turn: AtomicBool::new(false), waker });
        state.waiting.push_back(Arc::clone(&waits));
        self.waits = Some(waits);
        false
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(waits) = self.waits.take() else { return };
        let mut state = self.turns.locked();
        let before = state.waiting.len();
        state.waiting.retain(|other| !Arc::ptr_eq(other, &waits));
        let was_given = state.waiting.len() == before;
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_have_a_turn_at_a_time_than_may_and_all_come_to_an_end() {
        let turns = Arc::new(Turns::new(2));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(in_turns(Arc::clone(&turns), async move {
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
        let mut all: Vec<_> = (0..3).map(|_| in_turns(Arc::clone(&turns), async {})).collect();
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

    #[tokio::test]
    async fn who_goes_away_while_waiting_or_in_its_turn_gives_it_on() {
        let turns = Arc::new(Turns::new(1));
        turns.locked().taken = 1;
        let begin = || in_turns(Arc::clone(&turns), async {});
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
        let panics = tokio::spawn(in_turns(Arc::clone(&turns), async { panic!("as it may") }));
        assert!(panics.await.is_err());
        assert_eq!(turns.locked().taken, 0);
    }
}
