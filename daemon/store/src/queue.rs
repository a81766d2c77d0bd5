//! The writer's queue.
//!
//! **Invariants.** Mutations leave in the order in which they came. Bounded by number and by bytes;
//! only [`Queue::force`] goes beyond, for what must not be lost and is small: there is at most one
//! such mutation for each storage.
//!
//! A taker may wait for a group to gather: where a group costs a sync, two halves that take turns
//! cost two. Who was answered with the last group may be back in a moment, so it waits until there
//! are as many as were answered, besides all that came while that group was written. A lone sender
//! is never waited for, and nobody for longer than the taker says.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{GROUP_BYTES_MAX, GROUP_COUNT_MAX, QUEUE_BYTES_MAX};
use crate::mutation::Mutation;

/// What the writer gets from the queue.
pub(crate) enum Taken {
    /// Mutations to make together.
    Group(Vec<Mutation>),
    /// None came until the deadline, or until the taker was nudged.
    Idle,
    /// None will come any more.
    Closed,
}

#[derive(Default)]
struct State {
    mutations: VecDeque<Mutation>,
    bytes: usize,
    closed: bool,
    /// Whether the taker waits for mutations ..
    taker_waits: bool,
    /// .. and how many there have to be for it to come back.
    wanted: usize,
    /// How many there will be if all who were answered last come back.
    expected: usize,
    /// Whether the taker is to come back even if there is no mutation.
    nudged: bool,
    /// How many wait for room.
    pushers_waiting: usize,
}

/// A bounded queue with one taker.
pub(crate) struct Queue {
    state: Mutex<State>,
    came: Condvar,
    left: Condvar,
    count_max: usize,
}

impl Queue {
    pub(crate) fn new(count_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            came: Condvar::new(),
            left: Condvar::new(),
            count_max: count_max.max(1),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, state: &State, bytes: usize) -> bool {
        state.mutations.is_empty()
            || (state.mutations.len() < self.count_max && state.bytes + bytes <= QUEUE_BYTES_MAX)
    }

    fn add(&self, state: &mut State, mutation: Mutation) {
        state.bytes += mutation.bytes();
        state.mutations.push_back(mutation);
        // Waking is a system call, also if nobody waits. Who is woken is not woken once more.
        let enough = state.mutations.len() >= state.wanted || state.bytes >= GROUP_BYTES_MAX;
        if enough && std::mem::take(&mut state.taker_waits) {
            self.came.notify_one();
        }
    }

    /// Appends a mutation, waiting for room; gives it back if the queue is closed.
    #[expect(clippy::result_large_err, reason = "the error is the argument, given back")]
    pub(crate) fn push(&self, mutation: Mutation) -> Result<(), Mutation> {
        let bytes = mutation.bytes();
        let mut state = self.locked();
        while !state.closed && !self.has_room(&state, bytes) {
            state.pushers_waiting += 1;
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.pushers_waiting -= 1;
        }
        if state.closed {
            return Err(mutation);
        }
        self.add(&mut state, mutation);
        Ok(())
    }

    /// Appends a mutation if there is room for it at once.
    pub(crate) fn offer(&self, mutation: Mutation) -> bool {
        let mut state = self.locked();
        let fits = !state.closed && self.has_room(&state, mutation.bytes());
        if fits {
            self.add(&mut state, mutation);
        }
        fits
    }

    /// Appends a mutation whether there is room or not; does nothing if the queue is closed.
    pub(crate) fn force(&self, mutation: Mutation) {
        let mut state = self.locked();
        if !state.closed {
            self.add(&mut state, mutation);
        }
    }

    /// Waits for mutations and takes as many as make a group, for which it may wait so long.
    pub(crate) fn take(&self, deadline: Option<Instant>, gather: Duration) -> Taken {
        let mut state = self.locked();
        state.wanted = 1;
        while state.mutations.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            if std::mem::take(&mut state.nudged) {
                return Taken::Idle;
            }
            state.taker_waits = true;
            state = match deadline {
                None => self.came.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        state.taker_waits = false;
                        return Taken::Idle;
                    }
                    self.came.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        if !gather.is_zero() {
            state = self.gathered(state, gather);
        }
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < GROUP_COUNT_MAX && bytes < GROUP_BYTES_MAX {
            let Some(mutation) = state.mutations.pop_front() else { break };
            bytes += mutation.bytes();
            group.push(mutation);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        let pushers_wait = state.pushers_waiting > 0;
        drop(state);
        if pushers_wait {
            self.left.notify_all();
        }
        Taken::Group(group)
    }

    /// So many are about to be answered, and may be back soon.
    pub(crate) fn expect_back(&self, answered: usize) {
        let mut state = self.locked();
        state.expected = state.mutations.len() + answered;
    }

    /// Waits until there are as many as are expected, but no longer than so.
    fn gathered<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        patience: Duration,
    ) -> MutexGuard<'a, State> {
        let expected = state.expected.min(GROUP_COUNT_MAX).min(self.count_max);
        let until = Instant::now() + patience;
        while state.mutations.len() < expected && state.bytes < GROUP_BYTES_MAX && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.pushers_waiting > 0 {
                break;
            }
            (state.taker_waits, state.wanted) = (true, expected);
            let waited = self.came.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.taker_waits = false;
        state
    }

    /// Has the taker come back once, with or without a mutation.
    pub(crate) fn nudge(&self) {
        let mut state = self.locked();
        state.nudged = true;
        if std::mem::take(&mut state.taker_waits) {
            self.came.notify_one();
        }
    }

    /// How many mutations wait, and for how many bytes they count.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = self.locked();
        (state.mutations.len(), state.bytes)
    }

    /// Takes no more mutations; those that are in are still given out.
    pub(crate) fn close(&self) {
        self.locked().closed = true;
        self.came.notify_all();
        self.left.notify_all();
    }

    /// Closes the queue and throws away what is in it, because the writer is gone.
    pub(crate) fn abandon(&self) -> Vec<Mutation> {
        let mut state = self.locked();
        state.closed = true;
        state.bytes = 0;
        let mutations = state.mutations.drain(..).collect();
        drop(state);
        self.left.notify_all();
        mutations
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Longer than any test may take.
    const LONG: Duration = Duration::from_secs(3600);

    fn barrier() -> Mutation {
        Mutation::Barrier { done: Box::new(|_| {}) }
    }

    fn note(bytes: usize) -> Mutation {
        Mutation::Note { name: String::new(), value: vec![0; bytes], done: Box::new(|_| {}) }
    }

    /// A queue of which a group of so many has been taken and, when so many had come meanwhile,
    /// answered.
    fn queue_after(answered: usize, meanwhile: usize) -> Queue {
        let queue = Queue::new(100);
        (0..answered).for_each(|_| assert!(queue.offer(barrier())));
        assert!(matches!(queue.take(None, LONG), Taken::Group(group) if group.len() == answered));
        (0..meanwhile).for_each(|_| assert!(queue.offer(barrier())));
        queue.expect_back(answered);
        queue
    }

    #[test]
    fn a_group_gathers_until_there_are_as_many_as_were_answered() {
        let queue = queue_after(3, 1);
        thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(None, LONG));
            for there in 1..4 {
                while !taker.is_finished() && !queue.locked().taker_waits {
                    thread::yield_now();
                }
                assert!(!taker.is_finished(), "it did not wait with {there} there");
                assert!(queue.offer(barrier()));
            }
            assert!(matches!(taker.join().unwrap(), Taken::Group(group) if group.len() == 4));
        });
    }

    #[test]
    fn a_lone_sender_is_not_waited_for() {
        let queue = queue_after(1, 0);
        assert!(queue.offer(barrier()));
        assert!(matches!(queue.take(None, LONG), Taken::Group(group) if group.len() == 1));
        queue.expect_back(1);
        assert!(queue.offer(barrier()) && queue.offer(barrier()));
        assert!(matches!(queue.take(None, LONG), Taken::Group(group) if group.len() == 2));
    }

    #[test]
    fn who_does_not_come_back_is_not_waited_for_longer_than_was_said() {
        let queue = queue_after(3, 1);
        let (began, gather) = (Instant::now(), Duration::from_millis(20));
        assert!(matches!(queue.take(None, gather), Taken::Group(group) if group.len() == 1));
        assert!(began.elapsed() >= gather);
        queue.expect_back(1);
        assert!(queue.offer(barrier()));
        assert!(matches!(queue.take(None, LONG), Taken::Group(group) if group.len() == 1));
    }

    #[test]
    fn a_queue_that_is_closed_or_full_does_not_gather() {
        let queue = queue_after(3, 1);
        thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(None, LONG));
            while !taker.is_finished() && !queue.locked().taker_waits {
                thread::yield_now();
            }
            queue.close();
            assert!(matches!(taker.join().unwrap(), Taken::Group(group) if group.len() == 1));
        });
        let queue = queue_after(3, 0);
        assert!(queue.offer(note(GROUP_BYTES_MAX)));
        assert!(matches!(queue.take(None, LONG), Taken::Group(group) if group.len() == 1));
    }

    #[test]
    fn a_full_queue_holds_up_who_pushes_until_some_are_taken() {
        let queue = Queue::new(2);
        assert!(queue.offer(barrier()) && queue.offer(barrier()));
        assert!(!queue.offer(barrier()), "full by number");
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(1);
            let queue = &queue;
            scope.spawn(move || {
                assert!(queue.push(barrier()).is_ok());
                sender.send(()).unwrap();
            });
            assert!(
                matches!(queue.take(None, Duration::ZERO), Taken::Group(group) if group.len() >= 2)
            );
            receiver.recv().unwrap();
        });
    }

    #[test]
    fn bytes_bound_queue_and_group() {
        let queue = Queue::new(1000);
        assert!(queue.offer(note(2 * QUEUE_BYTES_MAX)), "one that is too large goes in alone");
        assert!(!queue.offer(note(1)));
        queue.force(note(1));
        assert!(
            matches!(queue.take(None, Duration::ZERO), Taken::Group(group) if group.len() == 1)
        );
        assert!(queue.offer(note(1)));
        assert!(
            matches!(queue.take(None, Duration::ZERO), Taken::Group(group) if group.len() == 2)
        );
        assert!(matches!(queue.take(Some(Instant::now()), Duration::ZERO), Taken::Idle));
    }

    #[test]
    fn who_waits_is_woken_each_time() {
        let queue = Queue::new(1);
        thread::scope(|scope| {
            let queue = &queue;
            scope.spawn(move || (0..1000).for_each(|_| assert!(queue.push(barrier()).is_ok())));
            let mut taken = 0;
            while taken < 1000 {
                // In turns with a deadline, after which nobody is to be woken.
                match queue.take((taken % 2 == 0).then(Instant::now), Duration::ZERO) {
                    Taken::Group(group) => taken += group.len(),
                    Taken::Idle => thread::yield_now(),
                    Taken::Closed => unreachable!("nobody closes it"),
                }
            }
        });
    }

    #[test]
    fn who_is_nudged_comes_back_once() {
        let queue = Queue::new(2);
        queue.nudge();
        assert!(matches!(queue.take(None, Duration::ZERO), Taken::Idle));
        thread::scope(|scope| {
            scope.spawn(|| assert!(matches!(queue.take(None, Duration::ZERO), Taken::Idle)));
            queue.nudge();
        });
        assert!(queue.offer(barrier()));
        assert_eq!(queue.depth().0, 1);
        assert!(
            matches!(queue.take(None, Duration::ZERO), Taken::Group(group) if group.len() == 1)
        );
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_has() {
        let queue = Queue::new(2);
        assert!(queue.offer(barrier()));
        queue.close();
        assert!(queue.push(barrier()).is_err());
        assert!(!queue.offer(barrier()));
        queue.force(barrier());
        assert!(
            matches!(queue.take(None, Duration::ZERO), Taken::Group(group) if group.len() == 1)
        );
        assert!(matches!(queue.take(None, Duration::ZERO), Taken::Closed));
    }
}
