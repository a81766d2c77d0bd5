//! What goes into the lease table and what comes out of it.
//!
//! **Does not** decide anything.

use std::time::Duration;

use memod_protocol::Key;

/// How many heartbeats a named owner may be silent (Flyte's grace period multiplier).
const GRACE: u32 = 3;

/// A moment, in nanoseconds of a monotonic clock since some origin that the caller chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Time(pub(crate) u64);

impl Time {
    /// This much later; the end of time if that cannot be counted.
    #[must_use]
    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// One ask. The caller gives each a number that no other ask has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// One connection. The caller never uses a number again once the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// Whose a lease is, and who releases it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A connection, for as long as it is open.
    Connection(ConnectionId),
    /// A name, for as long as its heartbeats come.
    Named(String),
}

/// As whom somebody asks for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// As the connection over which the ask came.
    Connection,
    /// As this name, which the caller has checked.
    Named {
        /// The owner's name, not empty.
        name: String,
        /// How often the owner means to ask again. Zero is for the caller to refuse: here it
        /// makes a lease that has expired at the moment it is granted.
        heartbeat: Duration,
    },
}

impl Claimant {
    /// Whose the lease is, once granted to this claimant over that connection.
    pub(super) fn owner(&self, connection: ConnectionId) -> Owner {
        match self {
            Self::Connection => Owner::Connection(connection),
            Self::Named { name, .. } => Owner::Named(name.clone()),
        }
    }

    /// When a lease that is granted or extended now expires (semantics 29).
    pub(super) fn expires(&self, now: Time, heartbeat_max: Duration) -> Option<Time> {
        match self {
            Self::Connection => None,
            Self::Named { heartbeat, .. } => {
                Some(now.after((*heartbeat).min(heartbeat_max).saturating_mul(GRACE)))
            }
        }
    }
}

/// How long somebody waits for a lease that another has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until this moment.
    Until(Time),
    /// As long as the connection is open.
    Forever,
}

/// Somebody asks for the lease of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask<W> {
    /// The number of this ask.
    pub(crate) ticket: Ticket,
    /// Over which connection it came; that connection has not been said to be gone.
    pub(crate) connection: ConnectionId,
    /// The user whose connection that is.
    pub(crate) uid: u32,
    /// The key.
    pub(crate) key: Key,
    /// As whom.
    pub(crate) claimant: Claimant,
    /// Whether the asker would compute. Who would not is a watcher: it never owns nor extends.
    pub(crate) take: bool,
    /// How long to wait.
    pub(crate) wait: Wait,
    /// What others are told about this asker once it owns.
    pub(crate) who: W,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event<W> {
    /// Somebody asks.
    Ask(Ask<W>),
    /// An entry of this key exists now, whoever made it.
    Commit {
        /// The key.
        key: Key,
    },
    /// Somebody gives a lease back, or thinks so.
    Release {
        /// The key.
        key: Key,
        /// Who says it.
        by: Owner,
    },
    /// The asker no longer wants what it asked for: it stops waiting, or gives back the lease
    /// that it has as a connection. A named lease stays until it is released or expires.
    Withdraw {
        /// The ask.
        ticket: Ticket,
    },
    /// A connection is closed.
    Gone {
        /// The connection.
        connection: ConnectionId,
    },
    /// Nothing but time.
    Tick,
}

/// Who has a lease, as others are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder<W> {
    /// What the owner's ask said about it; of several asks by one name, the last.
    pub(crate) who: W,
    /// Since when it owns; extending does not change that.
    pub(crate) since: Time,
    /// When a named lease expires; a connection's lease does not.
    pub(crate) expires: Option<Time>,
}

/// A bound that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    /// [`Bounds::waiters_per_key_max`].
    WaitersPerKey,
    /// [`Bounds::waiters_per_connection_share`].
    WaitersPerConnection,
    /// [`Bounds::waiters_per_user_share`].
    WaitersPerUser,
    /// [`Bounds::waiters_max`].
    Waiters,
    /// [`Bounds::leases_per_connection_max`].
    LeasesPerConnection,
    /// [`Bounds::leases_max`].
    Leases,
}

/// What the table may hold.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Asks that wait for one key.
    pub(crate) waiters_per_key_max: usize,
    /// Asks that wait.
    pub(crate) waiters_max: usize,
    /// Asks of one connection that wait, for each that could wait besides: so its part grows
    /// smaller the more others wait, and some room is always left for those who come (the dynamic
    /// thresholds of Choudhury and Hahne, by which switches share a buffer).
    pub(crate) waiters_per_connection_share: usize,
    /// The same of one user.
    pub(crate) waiters_per_user_share: usize,
    /// Leases.
    pub(crate) leases_max: usize,
    /// Leases of one connection, those of named owners not counted.
    pub(crate) leases_per_connection_max: usize,
    /// The longest heartbeat that counts; a longer one is taken for this.
    pub(crate) heartbeat_max: Duration,
}

/// What an ask comes to. Every ask that is not withdrawn gets exactly one effect besides
/// `Waiting` and `Released`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect<W> {
    /// The asker owns the lease, anew or still.
    Granted {
        /// The ask.
        ticket: Ticket,
        /// When a named lease expires unless it is extended.
        expires: Option<Time>,
    },
    /// Nobody owns the lease, and this asker did not want to.
    Free {
        /// The ask.
        ticket: Ticket,
    },
    /// Another owns the lease; the asker waits and will be told more.
    Waiting {
        /// The ask.
        ticket: Ticket,
        /// The owner.
        holder: Holder<W>,
    },
    /// Another owns the lease, and the asker does not wait.
    Held {
        /// The ask.
        ticket: Ticket,
        /// The owner.
        holder: Holder<W>,
    },
    /// The asker neither owns nor waits, because there is no room.
    Busy {
        /// The ask.
        ticket: Ticket,
        /// Which bound was met.
        bound: Bound,
    },
    /// There is an entry now: look it up.
    Recheck {
        /// The ask.
        ticket: Ticket,
    },
    /// The asker's time is over.
    TimedOut {
        /// The ask.
        ticket: Ticket,
        /// Who owns the lease at that moment.
        holder: Holder<W>,
    },
    /// The asker's connection is gone.
    GaveUp {
        /// The ask.
        ticket: Ticket,
    },
    /// The holder gave back the lease that it had by this ask, which was answered before.
    Released {
        /// The ask.
        ticket: Ticket,
    },
}

impl<W> Effect<W> {
    /// The ask to which this happens.
    pub(crate) fn ticket(&self) -> Ticket {
        match self {
            Self::Granted { ticket, .. }
            | Self::Free { ticket }
            | Self::Waiting { ticket, .. }
            | Self::Held { ticket, .. }
            | Self::Busy { ticket, .. }
            | Self::Recheck { ticket }
            | Self::TimedOut { ticket, .. }
            | Self::GaveUp { ticket }
            | Self::Released { ticket } => *ticket,
        }
    }
}
