//! A slot: the lease of one key and those who wait for it.
//!
//! **Invariants.** There is a slot for a key exactly while somebody owns its lease. Waiters stand
//! in the order in which they asked.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Claimant, ConnectionId, Holder, Owner, Ticket, Time};

/// The place of an ask in the order of all asks that ever waited.
pub(super) type Arrival = u64;

/// Who owns, and on what terms.
#[derive(Debug)]
pub(super) struct Lease<W> {
    /// The ask by which it owns; the last one, if it extended.
    pub(super) ticket: Ticket,
    pub(super) owner: Owner,
    pub(super) who: W,
    pub(super) since: Time,
    pub(super) expires: Option<Time>,
}

impl<W: Clone> Lease<W> {
    /// What others are told.
    pub(super) fn holder(&self) -> Holder<W> {
        Holder { who: self.who.clone(), since: self.since, expires: self.expires }
    }
}

/// An ask that waits.
#[derive(Debug)]
pub(super) struct Waiter<W> {
    pub(super) ticket: Ticket,
    pub(super) connection: ConnectionId,
    pub(super) uid: u32,
    pub(super) claimant: Claimant,
    pub(super) take: bool,
    pub(super) deadline: Option<Time>,
    pub(super) who: W,
}

/// A lease and its queue.
#[derive(Debug)]
pub(super) struct Slot<W> {
    pub(super) lease: Lease<W>,
    queue: BTreeMap<Arrival, Waiter<W>>,
    /// Those in the queue who would own.
    takers: BTreeSet<Arrival>,
}

impl<W> Slot<W> {
    /// A slot for which nobody waits.
    pub(super) fn new(lease: Lease<W>) -> Self {
        Self { lease, queue: BTreeMap::new(), takers: BTreeSet::new() }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Puts a waiter at the end: `arrival` is greater than any before.
    pub(super) fn push(&mut self, arrival: Arrival, waiter: Waiter<W>) {
        if waiter.take {
            self.takers.insert(arrival);
        }
        self.queue.insert(arrival, waiter);
    }

    /// Takes a waiter out, wherever it stands.
    pub(super) fn remove(&mut self, arrival: Arrival) -> Option<Waiter<W>> {
        self.takers.remove(&arrival);
        self.queue.remove(&arrival)
    }

    /// Takes out the one that has waited longest among those who would own.
    pub(super) fn pop_taker(&mut self) -> Option<(Arrival, Waiter<W>)> {
        let arrival = self.takers.pop_first()?;
        self.queue.remove(&arrival).map(|waiter| (arrival, waiter))
    }

    /// All who wait, the longest first.
    pub(super) fn into_waiters(self) -> impl Iterator<Item = (Arrival, Waiter<W>)> {
        self.queue.into_iter()
    }
}
