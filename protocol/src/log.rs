//! The request log: what was asked of late, by whom, and what came of it.

use crate::call::Scope;
use crate::error::ErrorCode;
use crate::handshake::OVERSIGHT;
use crate::key::Key;
use crate::response::MissReason;
use crate::wire::{Decode, Encode};

/// Asks for recent requests: all that meet every condition that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct LogQuery {
    /// In this scope.
    pub scope: Option<Scope>,
    /// Of tasks of this name.
    pub task: Option<String>,
    /// Of this kind.
    pub verb: Option<Verb>,
    /// That ended like this.
    pub outcome: Option<Outcome>,
    /// By this user.
    pub uid: Option<u32>,
    /// With this sequence number or a higher one, the lowest first; absent: the last ones.
    pub from: Option<u64>,
    /// How many rows at the most; more than `LOG_ROWS_MAX` counts as that.
    pub limit: u32,
    /// If there is none yet: how long to wait for one, in milliseconds; the daemon bounds it; 0:
    /// not at all.
    pub wait_ms: u64,
}

/// Rows of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct LogPage {
    /// The rows, oldest first.
    pub rows: Vec<LogRow>,
    /// Where to go on: the `from` of the next query.
    pub next: u64,
    /// How many requests from the wanted number on were forgotten before they could be told,
    /// whether they met the conditions or not; 0 if no number was wanted.
    pub lost: u64,
}

/// A request that has been answered; of a claim that waited, the last answer counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LogRow {
    /// Its number: one more for each request since the daemon started, from 0 on.
    pub sequence: u64,
    /// When it was answered, in milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// Who asked: the user.
    pub uid: u32,
    /// Who asked: the process.
    pub pid: Option<u32>,
    /// Who asked: the program.
    pub program: Option<String>,
    /// What was asked.
    pub verb: Verb,
    /// Of which key, if of one.
    pub key: Option<Key>,
    /// In which scope, if in one.
    pub scope: Option<Scope>,
    /// Of which task, if of one.
    pub task: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why there was no hit, where that is known.
    pub reason: Option<MissReason>,
    /// Why it failed, if it did.
    pub error: Option<ErrorCode>,
    /// From when the request had come to when its answer was sent, in microseconds; of hits by a
    /// board: how long they took together at the peer.
    pub took_us: u64,
    /// Bytes of outputs that were sent or received.
    pub bytes: u64,
}

/// The kinds of request that are logged. Variants are appended, never reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Verb {
    /// A lookup, with or without a lease.
    Lookup,
    /// A put.
    Put,
    /// An entry was shown, or one of its outputs read.
    Read,
    /// A listing.
    List,
    /// An invalidation.
    Invalidate,
    /// A lease was reserved or extended by name.
    Reserve,
    /// A lease was given back.
    Release,
    /// An explanation.
    Why,
    /// Counters or status.
    Stats,
    /// A verification. Only with [`crate::handshake::OVERSIGHT`].
    Verify,
    /// A collection. Only with [`crate::handshake::OVERSIGHT`].
    Collect,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Lookup,
        Self::Put,
        Self::Read,
        Self::List,
        Self::Invalidate,
        Self::Reserve,
        Self::Release,
        Self::Why,
        Self::Stats,
        Self::Verify,
        Self::Collect,
    ];

    /// The capabilities without which nobody may be told of it, or ask for it.
    #[must_use]
    pub const fn capabilities(self) -> u64 {
        match self {
            Self::Verify | Self::Collect => OVERSIGHT,
            _ => 0,
        }
    }

    /// As it is told to who has these capabilities: under the nearest name that they know.
    #[must_use]
    pub const fn told_with(self, capabilities: u64) -> Self {
        if self.capabilities() & !capabilities == 0 { self } else { Self::Stats }
    }

    /// The stable name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Put => "put",
            Self::Read => "read",
            Self::List => "list",
            Self::Invalidate => "invalidate",
            Self::Reserve => "reserve",
            Self::Release => "release",
            Self::Why => "why",
            Self::Stats => "stats",
            Self::Verify => "verify",
            Self::Collect => "collect",
        }
    }
}

/// What came of a request. Variants are appended, never reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Outcome {
    /// A hit.
    Hit,
    /// A miss.
    Miss,
    /// A miss with the lease, or a lease that was acquired.
    Leased,
    /// Another holds the lease; of a claim: it was not waited, or in vain.
    Pending,
    /// A put that stored something.
    Populated,
    /// A put that found an entry there.
    Exists,
    /// Anything else that went well.
    Done,
    /// It failed.
    Error,
    /// Its peer left while it waited.
    Gone,
    /// So many hits of one entry that the peer had by a board, reported together.
    Hits(u32),
}

impl Outcome {
    /// One of each kind.
    pub const ALL: [Self; 10] = [
        Self::Hit,
        Self::Miss,
        Self::Leased,
        Self::Pending,
        Self::Populated,
        Self::Exists,
        Self::Done,
        Self::Error,
        Self::Gone,
        Self::Hits(1),
    ];

    /// The stable name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Leased => "leased",
            Self::Pending => "pending",
            Self::Populated => "populated",
            Self::Exists => "exists",
            Self::Done => "done",
            Self::Error => "error",
            Self::Gone => "gone",
            Self::Hits(_) => "hits",
        }
    }
}
