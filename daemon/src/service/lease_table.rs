//! The lease table: who computes which key, and who waits for it (semantics 26 to 32).
//!
//! A machine of events and effects. The owner of a lease is the connection that asked, for as long
//! as it is open, or a name with a heartbeat, as in Flyte's `GetOrExtendReservation`. Who asks for
//! a lease that another has may wait; an entry wakes all who wait, a lease that ends without one
//! goes to whoever has waited longest and would compute.
//!
//! **Invariants.** A key has at most one owner. Every ask is answered exactly once, unless it is
//! withdrawn while it waits. Effects come in the order in which they happen: first those who wait
//! no more because of the event, then what is due by now, the earliest first, then the rest. Time
//! never runs backwards here: a moment before one that was given already is taken for that one.
//! What an event costs grows with the asks it answers, not with those that wait. Nothing is kept
//! for a key that nobody owns.
//!
//! **Does not** read a clock, wait, send, log or look up entries, and does not check names or
//! heartbeats.

mod books;
mod event;
mod slot;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use memod_protocol::Key;

pub(crate) use event::{
    Ask, Bound, Bounds, Claimant, ConnectionId, Effect, Event, Holder, Owner, Ticket, Time, Wait,
};

use books::{Alarm, Books, Place};
use slot::{Arrival, Lease, Slot, Waiter};

/// The lease table. `W` is what others are told about an owner; it should be cheap to clone.
#[derive(Debug)]
pub(crate) struct LeaseTable<W> {
    bounds: Bounds,
    /// The latest moment that was given.
    now: Time,
    /// How many asks ever waited.
    arrivals: Arrival,
    slots: BTreeMap<Key, Slot<W>>,
    books: Books,
}

impl<W: Clone> LeaseTable<W> {
    /// A table in which nobody owns anything.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let books = Books::default();
        Self { bounds, now: Time::default(), arrivals: 0, slots: BTreeMap::new(), books }
    }

    /// How many leases there are, those included that expired since the last event.
    pub(crate) fn leases(&self) -> usize {
        self.slots.len()
    }

    /// How many asks wait.
    pub(crate) fn waiters(&self) -> usize {
        self.books.waiters()
    }

    /// When to send a [`Event::Tick`] if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.books.first_alarm().map(|(due, _)| due)
    }

    /// Who has the lease of a key. Nobody, if it has expired by now.
    pub(crate) fn holder(&self, key: &Key, now: Time) -> Option<Holder<W>> {
        let now = self.now.max(now);
        let lease = &self.slots.get(key)?.lease;
        lease.expires.is_none_or(|expires| expires > now).then(|| lease.holder())
    }

    /// Every lease that has not expired by now: its key, who has it, since when, and how many wait.
    pub(crate) fn held(&self, now: Time) -> impl Iterator<Item = (&Key, &W, Time, usize)> {
        let now = self.now.max(now);
        let is_held = move |slot: &Slot<W>| slot.lease.expires.is_none_or(|due| due > now);
        let held = self.slots.iter().filter(move |(_, slot)| is_held(slot));
        held.map(|(key, slot)| (key, &slot.lease.who, slot.lease.since, slot.waiting()))
    }

    /// Something happens now.
    pub(crate) fn apply(&mut self, event: Event<W>, now: Time) -> Vec<Effect<W>> {
        self.now = self.now.max(now);
        let mut effects = Vec::new();
        self.clear(&event, &mut effects);
        self.settle(&mut effects);
        match event {
            Event::Ask(ask) => effects.push(self.ask(ask)),
            Event::Release { key, by } => self.release(key, &by, &mut effects),
            Event::Withdraw { ticket } => self.give_back(ticket, &mut effects),
            Event::Gone { connection } => self.give_up(connection, &mut effects),
            Event::Commit { .. } | Event::Tick => {}
        }
        effects
    }

    /// Takes out those whom the event keeps from waiting, before a lease that is due could go to
    /// one of them: who has an entry, has withdrawn or is gone must not be told to compute.
    fn clear(&mut self, event: &Event<W>, effects: &mut Vec<Effect<W>>) {
        match event {
            Event::Commit { key } => self.commit(*key, effects),
            Event::Withdraw { ticket } => {
                if let Some(Place::Waiting(key, arrival)) = self.books.place(*ticket) {
                    self.leave(key, arrival);
                }
            }
            Event::Gone { connection } => {
                while let Some((arrival, key)) = self.books.first_waiting(*connection) {
                    let ticket = self.leave(key, arrival);
                    effects.push(Effect::GaveUp { ticket });
                }
            }
            Event::Ask(_) | Event::Release { .. } | Event::Tick => {}
        }
    }

    /// Does all that is due. Each step takes its alarm away.
    fn settle(&mut self, effects: &mut Vec<Effect<W>>) {
        while let Some((due, alarm)) = self.books.first_alarm() {
            if due > self.now {
                break;
            }
            match alarm {
                Alarm::Expiry(key) => self.pass_on(key, effects),
                Alarm::Deadline(arrival, key) => {
                    let slot = self.slots.get(&key).expect("an alarm's waiter waits in a slot");
                    let holder = slot.lease.holder();
                    let ticket = self.leave(key, arrival);
                    effects.push(Effect::TimedOut { ticket, holder });
                }
            }
        }
    }

    fn ask(&mut self, ask: Ask<W>) -> Effect<W> {
        let Some(slot) = self.slots.get_mut(&ask.key) else { return self.ask_free(ask) };
        let ticket = ask.ticket;
        if ask.take && is_named(&ask.claimant, &slot.lease.owner) {
            self.books.strike_lease(ask.key, &slot.lease);
            slot.lease.ticket = ticket;
            slot.lease.who = ask.who;
            slot.lease.expires = ask.claimant.expires(self.now, self.bounds.heartbeat_max);
            self.books.enter_lease(ask.key, &slot.lease);
            return Effect::Granted { ticket, expires: slot.lease.expires };
        }
        let holder = slot.lease.holder();
        let deadline = match ask.wait {
            Wait::Until(deadline) if deadline > self.now => Some(deadline),
            Wait::Forever => None,
            Wait::No | Wait::Until(_) => return Effect::Held { ticket, holder },
        };
        if slot.waiting() >= self.bounds.waiters_per_key_max {
            return Effect::Busy { ticket, bound: Bound::WaitersPerKey };
        }
        if let Some(bound) = self.books.bound_for_waiter(ask.connection, ask.uid, &self.bounds) {
            return Effect::Busy { ticket, bound };
        }
        self.arrivals += 1;
        let Ask { connection, uid, claimant, take, who, .. } = ask;
        let waiter = Waiter { ticket, connection, uid, claimant, take, deadline, who };
        self.books.enter_waiter(ask.key, self.arrivals, &waiter);
        slot.push(self.arrivals, waiter);
        Effect::Waiting { ticket, holder }
    }

    /// An ask for a lease that nobody has.
    fn ask_free(&mut self, ask: Ask<W>) -> Effect<W> {
        let Ask { ticket, connection, key, claimant, take, who, .. } = ask;
        if !take {
            return Effect::Free { ticket };
        }
        let owner = claimant.owner(connection);
        if let Some(bound) = self.books.bound_for_owner(&owner, &self.bounds) {
            return Effect::Busy { ticket, bound };
        }
        if self.slots.len() >= self.bounds.leases_max {
            return Effect::Busy { ticket, bound: Bound::Leases };
        }
        let expires = claimant.expires(self.now, self.bounds.heartbeat_max);
        let lease = Lease { ticket, owner, who, since: self.now, expires };
        self.books.enter_lease(key, &lease);
        self.slots.insert(key, Slot::new(lease));
        Effect::Granted { ticket, expires }
    }

    fn commit(&mut self, key: Key, effects: &mut Vec<Effect<W>>) {
        let Some(slot) = self.slots.remove(&key) else { return };
        self.books.strike_lease(key, &slot.lease);
        for (arrival, waiter) in slot.into_waiters() {
            self.books.strike_waiter(key, arrival, &waiter);
            effects.push(Effect::Recheck { ticket: waiter.ticket });
        }
    }

    fn release(&mut self, key: Key, by: &Owner, effects: &mut Vec<Effect<W>>) {
        let Some(slot) = self.slots.get(&key) else { return };
        if slot.lease.owner == *by {
            effects.push(Effect::Released { ticket: slot.lease.ticket });
            self.pass_on(key, effects);
        }
    }

    /// Gives back the lease that a connection has by this ask, if it has one.
    fn give_back(&mut self, ticket: Ticket, effects: &mut Vec<Effect<W>>) {
        if let Some(Place::Owning(key)) = self.books.place(ticket) {
            effects.push(Effect::Released { ticket });
            self.pass_on(key, effects);
        }
    }

    /// Passes on all that a connection has.
    fn give_up(&mut self, connection: ConnectionId, effects: &mut Vec<Effect<W>>) {
        while let Some(key) = self.books.first_lease(connection) {
            self.pass_on(key, effects);
        }
    }

    /// Takes a waiter out of its queue.
    fn leave(&mut self, key: Key, arrival: Arrival) -> Ticket {
        let waiter = self.slots.get_mut(&key).and_then(|slot| slot.remove(arrival));
        let waiter = waiter.expect("the books name waiters that stand in a slot");
        self.books.strike_waiter(key, arrival, &waiter);
        waiter.ticket
    }

    /// A lease ends without an entry: whoever has waited longest and would compute owns it now. If
    /// there is nobody, the slot goes and the watchers are told.
    fn pass_on(&mut self, key: Key, effects: &mut Vec<Effect<W>>) {
        let mut slot = self.slots.remove(&key).expect("a lease that ends stands in a slot");
        self.books.strike_lease(key, &slot.lease);
        while let Some((arrival, waiter)) = slot.pop_taker() {
            self.books.strike_waiter(key, arrival, &waiter);
            let Waiter { ticket, connection, claimant, who, .. } = waiter;
            let owner = claimant.owner(connection);
            if let Some(bound) = self.books.bound_for_owner(&owner, &self.bounds) {
                effects.push(Effect::Busy { ticket, bound });
                continue;
            }
            let expires = claimant.expires(self.now, self.bounds.heartbeat_max);
            slot.lease = Lease { ticket, owner, who, since: self.now, expires };
            self.books.enter_lease(key, &slot.lease);
            self.slots.insert(key, slot);
            effects.push(Effect::Granted { ticket, expires });
            return;
        }
        for (arrival, waiter) in slot.into_waiters() {
            self.books.strike_waiter(key, arrival, &waiter);
            effects.push(Effect::Free { ticket: waiter.ticket });
        }
    }

    /// How many places, desks, users and alarms the books have.
    #[cfg(test)]
    fn book_sizes(&self) -> [usize; 4] {
        self.books.sizes()
    }
}

/// Whether the claimant is the named owner.
fn is_named(claimant: &Claimant, owner: &Owner) -> bool {
    matches!(
        (claimant, owner),
        (Claimant::Named { name, .. }, Owner::Named(owner)) if name == owner
    )
}
