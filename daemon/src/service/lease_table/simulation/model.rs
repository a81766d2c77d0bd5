//! The model: one list of asks in the order in which they came, searched from the front.
//!
//! **Does not** keep anything that could be computed: every count, deadline and successor is found
//! by looking at all asks that are not over.

use memod_protocol::Key;

use crate::service::lease_table::{
    Ask, Bound, Bounds, Claimant, ConnectionId, Effect, Event, Holder, Owner, Ticket, Time, Wait,
};

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Owning { since: Time, expires: Option<Time> },
}

struct Record {
    ask: Ask<u64>,
    state: State,
}

impl Record {
    fn waits(&self) -> bool {
        self.state == State::Waiting
    }

    fn owns(&self) -> bool {
        !self.waits()
    }

    /// Bound to its connection: it waits, or owns as a connection.
    fn bound(&self) -> bool {
        self.waits() || self.ask.claimant == Claimant::Connection
    }

    fn holder(&self) -> Holder<u64> {
        let State::Owning { since, expires } = self.state else {
            panic!("who waits holds nothing")
        };
        Holder { who: self.ask.who, since, expires }
    }

    /// When something happens to it by itself. At one moment leases expire first, by key, then
    /// waiters time out, by age.
    fn due(&self) -> Option<(Time, Option<Key>, Ticket)> {
        match (self.state, self.ask.wait) {
            (State::Owning { expires: Some(expires), .. }, _) => {
                Some((expires, Some(self.ask.key), self.ask.ticket))
            }
            (State::Waiting, Wait::Until(deadline)) => Some((deadline, None, self.ask.ticket)),
            _ => None,
        }
    }
}

/// The order of what is due: a key stands before no key.
fn due_order(due: (Time, Option<Key>, Ticket)) -> (Time, bool, Option<Key>, Ticket) {
    (due.0, due.1.is_none(), due.1, due.2)
}

/// The model.
pub(super) struct Model {
    bounds: Bounds,
    now: Time,
    records: Vec<Record>,
    effects: Vec<Effect<u64>>,
}

impl Model {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, now: Time(0), records: Vec::new(), effects: Vec::new() }
    }

    fn count(&self, counts: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|record| counts(record)).count()
    }

    fn find(&self, fits: impl Fn(&Record) -> bool) -> Option<usize> {
        self.records.iter().position(fits)
    }

    pub(super) fn leases(&self) -> usize {
        self.count(Record::owns)
    }

    pub(super) fn waiters(&self) -> usize {
        self.count(Record::waits)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.records.iter().filter_map(|record| record.due().map(|due| due.0)).min()
    }

    pub(super) fn holder(&self, key: Key, now: Time) -> Option<Holder<u64>> {
        let index = self.find(|record| record.owns() && record.ask.key == key)?;
        let holder = self.records[index].holder();
        let alive = holder.expires.is_none_or(|expires| expires > now && expires > self.now);
        alive.then_some(holder)
    }

    /// What the table's books should hold: places, desks, users, alarms.
    pub(super) fn book_sizes(&self) -> [usize; 4] {
        let mut desks: Vec<ConnectionId> = Vec::new();
        let mut users: Vec<u32> = Vec::new();
        for record in &self.records {
            if record.bound() && !desks.contains(&record.ask.connection) {
                desks.push(record.ask.connection);
            }
            if record.waits() && !users.contains(&record.ask.uid) {
                users.push(record.ask.uid);
            }
        }
        let alarms = self.count(|record| record.due().is_some());
        [self.count(Record::bound), desks.len(), users.len(), alarms]
    }

    pub(super) fn apply(&mut self, event: Event<u64>, now: Time) -> Vec<Effect<u64>> {
        if now > self.now {
            self.now = now;
        }
        match event {
            Event::Commit { key } => self.commit(key),
            Event::Withdraw { ticket } => {
                self.records.retain(|record| record.owns() || record.ask.ticket != ticket);
            }
            Event::Gone { connection } => self.stop_waiting(connection),
            _ => {}
        }
        self.settle();
        match event {
            Event::Ask(ask) => {
                let effect = self.ask(ask);
                self.effects.push(effect);
            }
            Event::Release { key, by } => {
                self.release(|record| record.ask.key == key && owner(&record.ask) == by);
            }
            Event::Withdraw { ticket } => {
                self.release(|record| record.bound() && record.ask.ticket == ticket);
            }
            Event::Gone { connection } => self.end_all(connection),
            Event::Commit { .. } | Event::Tick => {}
        }
        std::mem::take(&mut self.effects)
    }

    fn settle(&mut self) {
        loop {
            let all = self.records.iter().filter_map(Record::due).filter(|due| due.0 <= self.now);
            let Some((_, expired, ticket)) = all.min_by_key(|due| due_order(*due)) else { return };
            let index = self.find(|record| record.ask.ticket == ticket).unwrap();
            if expired.is_some() {
                self.end(index);
            } else {
                let key = self.records.remove(index).ask.key;
                let owner = self.find(|record| record.owns() && record.ask.key == key).unwrap();
                let holder = self.records[owner].holder();
                self.effects.push(Effect::TimedOut { ticket, holder });
            }
        }
    }

    fn ask(&mut self, ask: Ask<u64>) -> Effect<u64> {
        let ticket = ask.ticket;
        let busy = |bound| Effect::Busy { ticket, bound };
        let Some(index) = self.find(|record| record.owns() && record.ask.key == ask.key) else {
            if !ask.take {
                return Effect::Free { ticket };
            }
            if self.crowded(&ask) {
                return busy(Bound::LeasesPerConnection);
            }
            if self.leases() >= self.bounds.leases_max {
                return busy(Bound::Leases);
            }
            return self.own(ask, self.now);
        };
        let holder = self.records[index].holder();
        let named = matches!(ask.claimant, Claimant::Named { .. });
        if ask.take && named && owner(&self.records[index].ask) == owner(&ask) {
            self.records.remove(index);
            return self.own(ask, holder.since);
        }
        let over = matches!(ask.wait, Wait::Until(deadline) if deadline <= self.now);
        if over || ask.wait == Wait::No {
            return Effect::Held { ticket, holder };
        }
        if let Some(bound) = self.bound_for_waiter(&ask) {
            return busy(bound);
        }
        self.records.push(Record { ask, state: State::Waiting });
        Effect::Waiting { ticket, holder }
    }

    fn bound_for_waiter(&self, ask: &Ask<u64>) -> Option<Bound> {
        let waiting = |fits: &dyn Fn(&Ask<u64>) -> bool| self.count(|r| r.waits() && fits(&r.ask));
        let bounds = &self.bounds;
        if waiting(&|other| other.key == ask.key) >= bounds.waiters_per_key_max {
            return Some(Bound::WaitersPerKey);
        }
        if self.waiters() >= bounds.waiters_max {
            return Some(Bound::Waiters);
        }
        let free = bounds.waiters_max - self.waiters();
        let of_connection = waiting(&|other| other.connection == ask.connection);
        if of_connection >= free * bounds.waiters_per_connection_share {
            return Some(Bound::WaitersPerConnection);
        }
        let of_user = waiting(&|other| other.uid == ask.uid);
        (of_user >= free * bounds.waiters_per_user_share).then_some(Bound::WaitersPerUser)
    }

    /// Whether the asker's connection has all the leases it may have.
    fn crowded(&self, ask: &Ask<u64>) -> bool {
        let same = |record: &Record| record.owns() && owner(&record.ask) == owner(ask);
        ask.claimant == Claimant::Connection
            && self.count(same) >= self.bounds.leases_per_connection_max
    }

    fn own(&mut self, ask: Ask<u64>, since: Time) -> Effect<u64> {
        let ticket = ask.ticket;
        let expires = match &ask.claimant {
            Claimant::Connection => None,
            Claimant::Named { heartbeat, .. } => {
                let heartbeat = (*heartbeat).min(self.bounds.heartbeat_max);
                Some(Time(self.now.0 + u64::try_from(heartbeat.as_nanos()).unwrap() * 3))
            }
        };
        self.records.push(Record { ask, state: State::Owning { since, expires } });
        Effect::Granted { ticket, expires }
    }

    fn commit(&mut self, key: Key) {
        for record in self.records.extract_if(.., |record| record.ask.key == key) {
            if record.waits() {
                self.effects.push(Effect::Recheck { ticket: record.ask.ticket });
            }
        }
    }

    fn release(&mut self, fits: impl Fn(&Record) -> bool) {
        if let Some(index) = self.find(|record| record.owns() && fits(record)) {
            self.effects.push(Effect::Released { ticket: self.records[index].ask.ticket });
            self.end(index);
        }
    }

    fn stop_waiting(&mut self, connection: ConnectionId) {
        let waits = |record: &mut Record| record.waits() && record.ask.connection == connection;
        for record in self.records.extract_if(.., waits) {
            self.effects.push(Effect::GaveUp { ticket: record.ask.ticket });
        }
    }

    fn end_all(&mut self, connection: ConnectionId) {
        let gone = Owner::Connection(connection);
        let leases = self.records.iter().filter(|r| r.owns() && owner(&r.ask) == gone);
        let mut keys: Vec<Key> = leases.map(|record| record.ask.key).collect();
        keys.sort();
        for key in keys {
            self.end(self.find(|r| r.owns() && r.ask.key == key).unwrap());
        }
    }

    /// The lease of this record ends without an entry.
    fn end(&mut self, index: usize) {
        let key = self.records.remove(index).ask.key;
        let waits = |record: &Record| record.waits() && record.ask.key == key;
        while let Some(next) = self.find(|record| waits(record) && record.ask.take) {
            let ask = self.records.remove(next).ask;
            if !self.crowded(&ask) {
                let effect = self.own(ask, self.now);
                return self.effects.push(effect);
            }
            let bound = Bound::LeasesPerConnection;
            self.effects.push(Effect::Busy { ticket: ask.ticket, bound });
        }
        for record in self.records.extract_if(.., |record| waits(record)) {
            self.effects.push(Effect::Free { ticket: record.ask.ticket });
        }
    }
}

fn owner(ask: &Ask<u64>) -> Owner {
    match &ask.claimant {
        Claimant::Connection => Owner::Connection(ask.connection),
        Claimant::Named { name, .. } => Owner::Named(name.clone()),
    }
}
