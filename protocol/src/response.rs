//! What the daemon answers.

use crate::batch::Looked;
use crate::board_messages::BoardOffer;
use crate::call::Scope;
use crate::digest::Digest;
use crate::error::WireError;
use crate::explain::Explanation;
use crate::key::Key;
use crate::lease::{LeaseRow, Leased, Pending, Reservation};
use crate::log::LogPage;
use crate::request::{InterfaceText, RunClaim};
use crate::savings::Savings;
use crate::upkeep::{BudgetReport, CollectReport, VerifyReport};
use crate::wire::{Decode, Encode};

/// A response with the number of the request it belongs to.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ResponseHeader {
    /// The request's number; 0 in an error that belongs to none and ends the connection.
    pub id: u64,
    /// What is answered.
    pub response: Response,
}

/// What is answered. Variants are appended, never reordered.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Response {
    /// The call has been run before. Inline outputs stand in the payload, in order; streamed ones
    /// follow in `Chunk`s.
    Hit(Box<Hit>),
    /// It has not, or what is stored cannot be served.
    Miss(Miss),
    /// What became of a put.
    Put(PutOutcome),
    /// An upload is complete.
    Uploaded {
        /// The content's digest.
        digest: Digest,
        /// Its length in bytes.
        bytes: u64,
    },
    /// The next bytes of a streamed output, in the payload, in order of outputs and of offsets.
    Chunk {
        /// Index of the output in the hit.
        output: u32,
        /// Where in the output the payload begins, in bytes.
        offset: u64,
    },
    /// Everything about an entry.
    Shown(Box<EntryDetail>),
    /// What is stored.
    Listed {
        /// One row an entry.
        rows: Vec<EntryRow>,
        /// Where to go on, if there is more.
        cursor: Option<Vec<u8>>,
    },
    /// A long request is still at work.
    Progress {
        /// Entries done so far.
        done: u64,
    },
    /// How many entries were forgotten, or would be.
    Invalidated {
        /// How many.
        matched: u64,
    },
    /// Counters.
    Stats(Box<Stats>),
    /// Who the daemon is.
    Status(Box<Status>),
    /// The daemon is there.
    Pong,
    /// The request failed. In the middle of a hit's stream: the hit is void.
    Error(WireError),
    /// There is no hit, and the lease is the asker's.
    Leased(Box<Leased>),
    /// There is no hit, and somebody else holds the lease.
    Pending(Box<Pending>),
    /// Whether the named owner has the lease.
    Reservation(Box<Reservation>),
    /// A lease was given back, or there was none to give back.
    Released {
        /// Whether the asker held it.
        released: bool,
    },
    /// Why a lookup misses, and what the nearest entries differ in.
    Explained(Box<Explanation>),
    /// Recent requests.
    Logged(LogPage),
    /// Counters by scope and by user.
    Savings(Box<Savings>),
    /// Use of the budgets.
    Budgets(Box<BudgetReport>),
    /// What a verification found.
    Verified(Box<VerifyReport>),
    /// What a collection brought.
    Collected(CollectReport),
    /// The board of a scope, if there is to be one.
    Board(Option<BoardOffer>),
    /// The uploads of a run that was announced may come, and then its put.
    Awaited,
    /// Counters and gauges, as text in the `OpenMetrics` format.
    Metrics(String),
    /// What each of many lookups came to, in their order. The hits' outputs stand in the payload,
    /// one behind the other.
    LookedUp(Vec<Looked>),
    /// Leases that are held, those for which most wait first.
    Leases(Vec<LeaseRow>),
}

impl Response {
    /// How many descriptors come with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        match self {
            Self::Hit(hit) => {
                hit.outputs.iter().filter(|output| output.delivery == Delivery::Sealed).count()
            }
            Self::Board(board) => usize::from(board.is_some()),
            _ => 0,
        }
    }
}

/// A hit.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hit {
    /// The entry's key.
    pub key: Key,
    /// Milliseconds since the entry was written; 0 if the clock has been set back since.
    pub age_ms: u64,
    /// The outputs, in ascending order of their names.
    pub outputs: Vec<Output>,
    /// Who made them.
    pub provenance: Provenance,
}

/// One output of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its type's text.
    pub literal_type: String,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
    /// How its bytes travel; in a listing of what an entry holds: they do not.
    pub delivery: Delivery,
}

/// How an output's bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Delivery {
    /// In the payload of the same frame, behind those of the inline outputs before it.
    Inline,
    /// In the `Chunk` frames that follow.
    Stream,
    /// Not at all: only the description was asked for.
    Withheld,
    /// In a sealed memory file of exactly its length, whose descriptor comes with the frame.
    Sealed,
}

/// The run that made an entry (semantics 15). Unknown parts are absent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Provenance {
    /// The writer's user, from the kernel.
    pub writer_uid: u32,
    /// The writer's process, from the kernel.
    pub writer_pid: Option<u32>,
    /// The writer's program.
    pub program: Option<String>,
    /// The host on which it ran.
    pub host: Option<String>,
    /// When the entry was written, in milliseconds since 1970-01-01 UTC.
    pub created_at_ms: u64,
    /// What the writer said of the run.
    pub run: RunClaim,
}

/// Why there is no hit (semantics 14).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Miss {
    /// The key that was looked up.
    pub key: Key,
    /// Why.
    pub reason: MissReason,
    /// When the entry went, in milliseconds since 1970-01-01 UTC.
    pub at_ms: Option<u64>,
    /// The user who invalidated it.
    pub by_uid: Option<u32>,
    /// More, in words.
    pub detail: Option<String>,
}

/// The kinds of miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum MissReason {
    /// No entry of this key is remembered, nor that there was one.
    NeverSeen,
    /// Evicted to make room.
    Evicted,
    /// Older than the lookup's `max_age`.
    Expired,
    /// Invalidated by a user.
    Invalidated,
    /// Stored bytes did not verify, or did not match the signature.
    Corrupt,
    /// An output's bytes were gone.
    BlobMissing,
    /// The peer may not read this scope.
    Forbidden,
    /// The cache is disabled for this call.
    Disabled,
}

impl MissReason {
    /// The stable name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeverSeen => "never_seen",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Corrupt => "corrupt",
            Self::BlobMissing => "blob_missing",
            Self::Forbidden => "forbidden",
            Self::Disabled => "disabled",
        }
    }
}

/// What became of a put.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PutOutcome {
    /// It is stored.
    Populated,
    /// An entry was there already and stays; its run is told (semantics 17).
    Exists(Provenance),
}

/// Everything about an entry but its outputs' bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntryDetail {
    /// Its key.
    pub key: Key,
    /// Project and domain.
    pub scope: Scope,
    /// The task's name.
    pub task: String,
    /// The cache version.
    pub cache_version: String,
    /// The signature.
    pub signature: Digest,
    /// Declared inputs and outputs.
    pub interface: InterfaceText,
    /// Digests of the inputs that count.
    pub inputs: Vec<(String, Digest)>,
    /// The outputs, withheld.
    pub outputs: Vec<Output>,
    /// Who made them.
    pub provenance: Provenance,
    /// Milliseconds since the entry was written.
    pub age_ms: u64,
}

/// An entry in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntryRow {
    /// Its key.
    pub key: Key,
    /// Project and domain.
    pub scope: Scope,
    /// The task's name.
    pub task: String,
    /// The cache version.
    pub cache_version: String,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub created_at_ms: u64,
    /// How long its outputs took to compute, in nanoseconds.
    pub compute_ns: Option<u64>,
    /// Who wrote it.
    pub writer_uid: u32,
    /// How many outputs it has.
    pub outputs: u32,
    /// Their lengths together, in bytes.
    pub bytes: u64,
}

/// Counters. Those of requests count since the store was made.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Stats {
    /// Lookups that hit.
    pub hits: u64,
    /// Lookups that missed.
    pub misses: u64,
    /// Puts that stored something.
    pub puts: u64,
    /// Entries stored now.
    pub entries: u64,
    /// Distinct blobs stored now.
    pub blobs: u64,
    /// Bytes of the distinct blobs.
    pub stored_bytes: u64,
    /// Bytes of all entries' outputs, counted once for each entry.
    pub logical_bytes: u64,
    /// Entries evicted.
    pub evicted_entries: u64,
    /// Leases held now.
    pub leases: u64,
    /// Requests waiting for a lease or an entry now.
    pub waiters: u64,
    /// Connections open now.
    pub connections: u64,
    /// Compute time spared by hits, net of what the hits took, in nanoseconds (semantics 36).
    pub time_saved_ns: u64,
    /// How long the daemon has been up, in nanoseconds.
    pub uptime_ns: u64,
    /// The same by task.
    pub by_task: Vec<TaskStats>,
    /// Misses by reason, since the store was made.
    pub misses_by_reason: Vec<(MissReason, u64)>,
}

/// Counters of one task.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TaskStats {
    /// Project and domain.
    pub scope: Scope,
    /// The task's name.
    pub task: String,
    /// Lookups that hit.
    pub hits: u64,
    /// Lookups that missed.
    pub misses: u64,
    /// Compute time spared, in nanoseconds.
    pub time_saved_ns: u64,
}

/// Who the daemon is and how it is set up.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The protocol's version on this connection.
    pub protocol: u16,
    /// The daemon's process.
    pub pid: u32,
    /// The daemon's user.
    pub uid: u32,
    /// Where it listens.
    pub socket: String,
    /// Where it stores.
    pub data: String,
    /// The store's identity, made when the store was.
    pub store_id: String,
    /// The format of the store on disk.
    pub store_format: u32,
    /// When the daemon started, in milliseconds since 1970-01-01 UTC.
    pub started_at_ms: u64,
    /// The settings in force: name, value and where the value came from.
    pub settings: Vec<(String, String, String)>,
}
