//! A random schedule: a few keys, connections and names, and what happens to them.
//!
//! **Invariants.** Keeps the caller's side of the contract: no ticket and no connection is used
//! twice, and nobody asks over a connection that is gone. Moments are small numbers, so that many
//! things fall on the same one; some lie before the last.

use std::time::Duration;

use memod_protocol::Key;

use crate::service::lease_table::{
    Ask, Bounds, Claimant, ConnectionId, Event, Owner, Ticket, Time, Wait,
};

/// How many users have the connections in turn.
const USERS: u64 = 2;
const NAMES: [&str; 3] = ["anna", "bert", "cora"];

/// The key of this number.
pub(super) fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

/// An event and the moment that is given with it.
pub(super) struct Step {
    pub(super) event: Event<u64>,
    pub(super) now: Time,
}

/// The generator of Steele, Lea and Flood (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound; the bias of a bound so small does not matter.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A schedule.
pub(super) struct Schedule {
    pub(super) bounds: Bounds,
    /// How many keys there are.
    pub(super) keys: u8,
    /// A moment near the last one, at which to ask who holds.
    pub(super) peek: Time,
    random: Random,
    /// Connections that are open.
    connections: Vec<ConnectionId>,
    connections_ever: u64,
    names: usize,
    tickets: u64,
    now: u64,
    steps_left: u64,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let bounds = bounds(&mut random);
        let keys = u8::try_from(1 + random.below(3)).unwrap();
        let connections_ever = 1 + random.below(5);
        Self {
            bounds,
            keys,
            peek: Time(0),
            connections: (0..connections_ever).map(ConnectionId).collect(),
            connections_ever,
            names: random.index(NAMES.len()) + 1,
            tickets: 0,
            now: 100,
            steps_left: 8 + random.below(17),
            random,
        }
    }

    /// The next step; nothing once everybody is gone and time is over.
    pub(super) fn next(&mut self) -> Option<Step> {
        if self.steps_left == 0 {
            return self.finish();
        }
        self.steps_left -= 1;
        self.move_clock();
        self.peek = Time(self.now + self.random.below(3) * 4);
        Some(Step { event: self.event(), now: Time(self.now) })
    }

    fn finish(&mut self) -> Option<Step> {
        if let Some(connection) = self.connections.pop() {
            return Some(Step { event: Event::Gone { connection }, now: Time(self.now) });
        }
        let over = self.now == u64::MAX;
        self.now = u64::MAX;
        self.peek = Time(self.now);
        (!over).then_some(Step { event: Event::Tick, now: self.peek })
    }

    fn move_clock(&mut self) {
        match self.random.below(20) {
            0..9 => {}
            9..16 => self.now += 1 + self.random.below(4),
            16..18 => self.now += 5 + self.random.below(30),
            _ => self.now = self.now.saturating_sub(1 + self.random.below(12)),
        }
    }

    fn event(&mut self) -> Event<u64> {
        match self.random.below(100) {
            0..52 => Event::Ask(self.ask()),
            52..60 => Event::Commit { key: self.key() },
            60..76 => Event::Release { key: self.key(), by: self.owner() },
            76..86 => {
                // One more than there are: the ticket of nobody.
                Event::Withdraw { ticket: Ticket(self.random.below(self.tickets + 1)) }
            }
            86..93 => Event::Gone { connection: self.disconnect() },
            _ => Event::Tick,
        }
    }

    fn ask(&mut self) -> Ask<u64> {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        let claimant = if self.random.chance(60) {
            Claimant::Connection
        } else {
            let heartbeat = Duration::from_nanos(self.random.below(6));
            Claimant::Named { name: self.name(), heartbeat }
        };
        let wait = match self.random.below(20) {
            0..3 => Wait::No,
            3..12 => Wait::Until(Time((self.now + self.random.below(14)).saturating_sub(2))),
            _ => Wait::Forever,
        };
        let connection = self.connection();
        Ask {
            ticket,
            connection,
            uid: u32::try_from(connection.0 % USERS).unwrap(),
            key: self.key(),
            claimant,
            take: self.random.chance(85),
            wait,
            who: ticket.0,
        }
    }

    fn key(&mut self) -> Key {
        key(u8::try_from(self.random.below(u64::from(self.keys))).unwrap())
    }

    fn name(&mut self) -> String {
        NAMES[self.random.index(self.names)].to_owned()
    }

    fn connection(&mut self) -> ConnectionId {
        self.connections[self.random.index(self.connections.len())]
    }

    fn owner(&mut self) -> Owner {
        if self.random.chance(60) {
            Owner::Connection(self.connection())
        } else {
            Owner::Named(self.name())
        }
    }

    /// Takes away one of the open connections, for which a new one comes.
    fn disconnect(&mut self) -> ConnectionId {
        let index = self.random.index(self.connections.len());
        let new = ConnectionId(self.connections_ever);
        self.connections_ever += 1;
        std::mem::replace(&mut self.connections[index], new)
    }
}

/// Every other schedule has bounds that it will meet.
fn bounds(random: &mut Random) -> Bounds {
    let narrow = random.chance(50);
    let mut at_most = |most: usize| if narrow { 1 + random.index(most) } else { 1_000 };
    Bounds {
        waiters_per_key_max: at_most(4),
        waiters_max: at_most(6),
        waiters_per_connection_share: at_most(3),
        waiters_per_user_share: at_most(3),
        leases_max: at_most(3),
        leases_per_connection_max: at_most(2),
        heartbeat_max: Duration::from_nanos(4),
    }
}
