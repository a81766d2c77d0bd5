//! The books: where each ask stands, what each connection has, and when something is due.
//!
//! **Invariants.** Everything here follows from the slots; each change of a slot is entered at
//! once, so that an ask, a connection or a deadline is found without a search. A connection that
//! neither owns nor waits has no desk.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use memod_protocol::Key;

use super::event::{Bound, Bounds, ConnectionId, Owner, Ticket, Time};
use super::slot::{Arrival, Lease, Waiter};

/// Where an ask stands that can still be withdrawn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// It waits in the slot of this key.
    Waiting(Key, Arrival),
    /// By it a connection owns the lease of this key.
    Owning(Key),
}

/// What is due at a moment. Of two at the same moment the first variant comes first, so that who
/// waits until a lease expires gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// The named lease of this key expires.
    Expiry(Key),
    /// Somebody has waited long enough.
    Deadline(Arrival, Key),
}

/// What one connection has.
#[derive(Debug, Default)]
struct Desk {
    leases: BTreeSet<Key>,
    waiting: BTreeMap<Arrival, Key>,
}

/// The books.
#[derive(Debug, Default)]
pub(super) struct Books {
    places: HashMap<Ticket, Place>,
    desks: HashMap<ConnectionId, Desk>,
    /// How many asks of each user wait, of those who have any.
    users: HashMap<u32, usize>,
    alarms: BTreeSet<(Time, Alarm)>,
    waiters: usize,
}

impl Books {
    /// How many wait, for whatever key.
    pub(super) fn waiters(&self) -> usize {
        self.waiters
    }

    /// Where the ask stands; nothing if it is over or its lease is a named one.
    pub(super) fn place(&self, ticket: Ticket) -> Option<Place> {
        self.places.get(&ticket).copied()
    }

    /// What is due next.
    pub(super) fn first_alarm(&self) -> Option<(Time, Alarm)> {
        self.alarms.first().copied()
    }

    /// The ask of a connection that has waited longest.
    pub(super) fn first_waiting(&self, connection: ConnectionId) -> Option<(Arrival, Key)> {
        let (arrival, key) = self.desks.get(&connection)?.waiting.first_key_value()?;
        Some((*arrival, *key))
    }

    /// A lease that a connection has; the one with the least key.
    pub(super) fn first_lease(&self, connection: ConnectionId) -> Option<Key> {
        self.desks.get(&connection)?.leases.first().copied()
    }

    /// The bound that keeps this owner from one more lease.
    pub(super) fn bound_for_owner(&self, owner: &Owner, bounds: &Bounds) -> Option<Bound> {
        let Owner::Connection(connection) = owner else { return None };
        let leases = self.desks.get(connection).map_or(0, |desk| desk.leases.len());
        (leases >= bounds.leases_per_connection_max).then_some(Bound::LeasesPerConnection)
    }

    /// The bound that keeps this connection of this user from waiting once more.
    pub(super) fn bound_for_waiter(
        &self,
        connection: ConnectionId,
        uid: u32,
        bounds: &Bounds,
    ) -> Option<Bound> {
        let free = bounds.waiters_max.saturating_sub(self.waiters);
        if free == 0 {
            return Some(Bound::Waiters);
        }
        let own = self.desks.get(&connection).map_or(0, |desk| desk.waiting.len());
        if own >= bounds.waiters_per_connection_share.saturating_mul(free) {
            return Some(Bound::WaitersPerConnection);
        }
        let own = self.users.get(&uid).copied().unwrap_or(0);
        (own >= bounds.waiters_per_user_share.saturating_mul(free)).then_some(Bound::WaitersPerUser)
    }

    /// Somebody waits.
    pub(super) fn enter_waiter<W>(&mut self, key: Key, arrival: Arrival, waiter: &Waiter<W>) {
        self.waiters += 1;
        *self.users.entry(waiter.uid).or_default() += 1;
        self.places.insert(waiter.ticket, Place::Waiting(key, arrival));
        self.desks.entry(waiter.connection).or_default().waiting.insert(arrival, key);
        if let Some(deadline) = waiter.deadline {
            self.alarms.insert((deadline, Alarm::Deadline(arrival, key)));
        }
    }

    /// Somebody waits no more.
    pub(super) fn strike_waiter<W>(&mut self, key: Key, arrival: Arrival, waiter: &Waiter<W>) {
        self.waiters -= 1;
        self.leave_user(waiter.uid);
        self.places.remove(&waiter.ticket);
        self.change_desk(waiter.connection, |desk| {
            desk.waiting.remove(&arrival);
        });
        if let Some(deadline) = waiter.deadline {
            self.alarms.remove(&(deadline, Alarm::Deadline(arrival, key)));
        }
    }

    /// Somebody owns.
    pub(super) fn enter_lease<W>(&mut self, key: Key, lease: &Lease<W>) {
        if let Owner::Connection(connection) = lease.owner {
            self.places.insert(lease.ticket, Place::Owning(key));
            self.desks.entry(connection).or_default().leases.insert(key);
        }
        if let Some(expires) = lease.expires {
            self.alarms.insert((expires, Alarm::Expiry(key)));
        }
    }

    /// Somebody owns no more.
    pub(super) fn strike_lease<W>(&mut self, key: Key, lease: &Lease<W>) {
        if let Owner::Connection(connection) = lease.owner {
            self.places.remove(&lease.ticket);
            self.change_desk(connection, |desk| {
                desk.leases.remove(&key);
            });
        }
        if let Some(expires) = lease.expires {
            self.alarms.remove(&(expires, Alarm::Expiry(key)));
        }
    }

    fn leave_user(&mut self, uid: u32) {
        let Some(waiting) = self.users.get_mut(&uid) else { return };
        *waiting -= 1;
        if *waiting == 0 {
            self.users.remove(&uid);
        }
    }

    fn change_desk(&mut self, connection: ConnectionId, change: impl FnOnce(&mut Desk)) {
        let Some(desk) = self.desks.get_mut(&connection) else { return };
        change(desk);
        if desk.leases.is_empty() && desk.waiting.is_empty() {
            self.desks.remove(&connection);
        }
    }

    /// How many places, desks, users and alarms there are.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        [self.places.len(), self.desks.len(), self.users.len(), self.alarms.len()]
    }
}
