//! The witness: holds what the lease table promises against what it is seen to do.
//!
//! **Does not** know what the table will do next, only what it must never do.

use std::collections::{BTreeMap, BTreeSet};

use memod_protocol::Key;

use crate::service::lease_table::{
    Ask, Claimant, ConnectionId, Effect, Event, Holder, Ticket, Time, Wait,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Asked,
    Waiting,
    Answered,
    Withdrawn,
}

/// What was seen of one ask.
struct Seen {
    ask: Ask<u64>,
    stage: Stage,
    /// Told when the lease was granted.
    expires: Option<Time>,
}

/// The witness.
#[derive(Default)]
pub(super) struct Witness {
    now: Time,
    /// By ticket: they are given out from zero, one after the other.
    asks: Vec<Seen>,
    owners: BTreeMap<Key, Ticket>,
    gone: BTreeSet<ConnectionId>,
}

impl Witness {
    fn seen(&mut self, ticket: Ticket) -> &mut Seen {
        &mut self.asks[usize::try_from(ticket.0).unwrap()]
    }

    /// Looks at one event and what it caused.
    pub(super) fn observe(&mut self, event: &Event<u64>, now: Time, effects: &[Effect<u64>]) {
        self.now = self.now.max(now);
        match event {
            Event::Ask(ask) => {
                self.asks.push(Seen { ask: ask.clone(), stage: Stage::Asked, expires: None });
            }
            Event::Gone { connection } => {
                self.gone.insert(*connection);
            }
            Event::Commit { key } => {
                self.owners.remove(key);
            }
            Event::Withdraw { ticket } if ticket.0 < self.asks.len() as u64 => {
                let seen = self.seen(*ticket);
                if seen.stage == Stage::Waiting {
                    seen.stage = Stage::Withdrawn;
                }
            }
            _ => {}
        }
        for effect in effects {
            self.effect(event, effect);
        }
        self.owners_live();
        self.waiters_have_reason();
    }

    fn effect(&mut self, event: &Event<u64>, effect: &Effect<u64>) {
        let now = self.now;
        let ticket = effect.ticket();
        if let Effect::Released { .. } = effect {
            return self.released(event, ticket);
        }
        let Seen { ask, stage, .. } = self.seen(ticket);
        let (ask, before) = (ask.clone(), *stage);
        assert!(matches!(before, Stage::Asked | Stage::Waiting), "{ticket:?} was {before:?}");
        *stage = Stage::Answered;
        match effect {
            Effect::Granted { expires, .. } => self.granted(&ask, *expires, before),
            Effect::Free { .. } => {
                assert!(!ask.take, "{ticket:?} would have computed");
                assert!(self.living_owner(ask.key).is_none(), "not free for {ticket:?}");
                self.owners.remove(&ask.key);
            }
            Effect::Waiting { holder, .. } => {
                assert_eq!(before, Stage::Asked, "{ticket:?} is told twice that it waits");
                self.told(&ask, holder);
                self.seen(ticket).stage = Stage::Waiting;
            }
            Effect::Held { holder, .. } => {
                assert_eq!(before, Stage::Asked, "{ticket:?} was to wait");
                self.told(&ask, holder);
            }
            Effect::Recheck { .. } => {
                assert_eq!(*event, Event::Commit { key: ask.key }, "no entry for {ticket:?}");
            }
            Effect::TimedOut { holder, .. } => {
                let Wait::Until(deadline) = ask.wait else { panic!("{ticket:?} waits forever") };
                assert!(deadline <= now, "{ticket:?} times out too early");
                self.told(&ask, holder);
            }
            Effect::GaveUp { .. } => {
                assert!(self.gone.contains(&ask.connection), "{ticket:?} is still there");
            }
            Effect::Busy { .. } | Effect::Released { .. } => {}
        }
    }

    fn granted(&mut self, ask: &Ask<u64>, expires: Option<Time>, before: Stage) {
        let ticket = ask.ticket;
        assert!(ask.take, "{ticket:?} only watches");
        assert!(!self.gone.contains(&ask.connection), "{ticket:?} has gone");
        assert_eq!(expires.is_some(), ask.claimant != Claimant::Connection, "{ticket:?} expires");
        let earlier =
            |seen: &&Seen| seen.stage == Stage::Waiting && seen.ask.take && seen.ask.key == ask.key;
        let mut extends = false;
        if let Some(owner) = self.living_owner(ask.key) {
            extends = before == Stage::Asked && same_name(&owner.claimant, &ask.claimant);
            assert!(extends, "{ticket:?} and {:?} own at once", owner.ticket);
        }
        let first = self.asks.iter().find(earlier).map(|seen| seen.ask.ticket);
        assert!(extends || first.is_none_or(|first| first > ticket), "{first:?} was first");
        self.seen(ticket).expires = expires;
        self.owners.insert(ask.key, ticket);
    }

    /// Somebody gave its lease back: it had one, and it was the one to do so.
    fn released(&mut self, event: &Event<u64>, ticket: Ticket) {
        let ask = self.seen(ticket).ask.clone();
        assert_eq!(self.owners.remove(&ask.key), Some(ticket), "who released owned nothing");
        match event {
            Event::Release { key, by } => {
                assert_eq!(*key, ask.key, "the lease of another key was released");
                assert_eq!(*by, ask.claimant.owner(ask.connection), "another released it");
            }
            Event::Withdraw { ticket: withdrawn } => assert_eq!(ticket, *withdrawn),
            _ => panic!("nobody released {ticket:?}"),
        }
    }

    /// The owner of a key, unless its connection is gone or its time is over.
    fn living_owner(&self, key: Key) -> Option<&Ask<u64>> {
        let owner = self.owners.get(&key)?;
        let seen = &self.asks[usize::try_from(owner.0).unwrap()];
        let dead = match seen.expires {
            Some(expires) => expires <= self.now,
            None => self.gone.contains(&seen.ask.connection),
        };
        (!dead).then_some(&seen.ask)
    }

    /// Whoever is told of an owner is told the true one, which was alive a moment ago.
    fn told(&self, ask: &Ask<u64>, holder: &Holder<u64>) {
        let owner = self.owners.get(&ask.key).map(|ticket| ticket.0);
        assert_eq!(owner, Some(holder.who), "{:?} is told of another owner", ask.ticket);
    }

    /// Dead owners are forgotten: what happens next must not count on them. A lease that expires
    /// at the very moment it is granted stands until the next event.
    fn owners_live(&mut self) {
        let (asks, gone, now) = (&self.asks, &self.gone, self.now);
        self.owners.retain(|_, owner| {
            let seen = &asks[usize::try_from(owner.0).unwrap()];
            match seen.expires {
                Some(expires) => expires >= now,
                None => !gone.contains(&seen.ask.connection),
            }
        });
    }

    /// Nobody waits without an owner to wait for, beyond its deadline or after it has gone.
    fn waiters_have_reason(&self) {
        for seen in self.asks.iter().filter(|seen| seen.stage == Stage::Waiting) {
            let Ask { ticket, key, connection, wait, .. } = &seen.ask;
            assert!(self.owners.contains_key(key), "{ticket:?} waits for nobody");
            assert!(!self.gone.contains(connection), "{ticket:?} waits, but has gone");
            if let Wait::Until(deadline) = wait {
                assert!(*deadline > self.now, "{ticket:?} waits too long");
            }
        }
    }

    /// Nothing more will happen: every ask has had its answer.
    pub(super) fn finish(&self) {
        for seen in &self.asks {
            let over = matches!(seen.stage, Stage::Answered | Stage::Withdrawn);
            assert!(over, "{:?} was never answered", seen.ask.ticket);
        }
    }
}

fn same_name(left: &Claimant, right: &Claimant) -> bool {
    match (left, right) {
        (Claimant::Named { name: left, .. }, Claimant::Named { name: right, .. }) => left == right,
        _ => false,
    }
}
