//! What a client may ask.

use crate::board_messages::BoardHits;
use crate::call::{CallIdentity, Interface, Scope};
use crate::digest::Digest;
use crate::error::InvalidArgument;
use crate::explain::Why;
use crate::handshake::{ANNOUNCE, BATCHES, DESCRIPTORS, OVERSIGHT};
use crate::key::Key;
use crate::lease::{Claim, Release, Reserve};
use crate::log::{LogQuery, Verb};
use crate::name;
use crate::upkeep::{Announcement, Import};
use crate::wire::{Decode, Encode};

/// A request with the number that its replies carry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequestHeader {
    /// Chosen by the client, unique among its requests in flight.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What is asked. Variants are appended, never reordered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Has this call been run before? Answered by `Hit` or `Miss`.
    Lookup(Lookup),
    /// Remember this run. Inline outputs stand in the payload, in order. Answered by `Put`.
    Put(Box<Put>),
    /// The next bytes of an upload, in the payload; the first opens it. Never answered: what goes
    /// wrong is told when the upload is ended.
    UploadData {
        /// Chosen by the client, unique among the connection's uploads.
        upload: u32,
    },
    /// The upload is complete. Answered by `Uploaded`.
    UploadEnd {
        /// Which.
        upload: u32,
        /// The digest that the content must have, if the client knows it.
        digest: Option<Digest>,
    },
    /// Forget the upload. Never answered, also not when there is none.
    UploadAbort {
        /// Which.
        upload: u32,
    },
    /// Everything about an entry but its outputs' bytes. Answered by `Shown`.
    Show {
        /// Which.
        key: Key,
    },
    /// One output of an entry. Answered by `Hit` with that output alone.
    Read {
        /// Of which entry.
        key: Key,
        /// Which output.
        output: String,
    },
    /// What is stored. Answered by `Listed`.
    List {
        /// Which entries.
        filter: Filter,
        /// How many rows at the most; also bounded by the daemon.
        limit: u32,
        /// Where the last listing ended, to go on from there.
        cursor: Option<Vec<u8>>,
    },
    /// Forget entries. Answered by any number of `Progress`, then `Invalidated`.
    Invalidate {
        /// Which.
        selector: Selector,
        /// Only count.
        dry_run: bool,
    },
    /// Counters. Answered by `Stats`.
    Stats,
    /// Who the daemon is and how it is set up. Answered by `Status`.
    Status,
    /// Answered by `Pong`.
    Ping,
    /// A lookup that may take the lease or wait. Answered by `Hit`, `Miss`, `Leased` or `Pending`;
    /// behind a `Pending` that says that it waits comes one more answer of the same number.
    Claim(Box<Claim>),
    /// Takes or extends the lease of a named owner. Answered by `Reservation`.
    Reserve(Box<Reserve>),
    /// Gives a lease back. Answered by `Released`.
    Release(Box<Release>),
    /// Why does this lookup miss? Answered by `Explained`.
    Why(Box<Why>),
    /// Recent requests. Answered by `Logged`.
    Log(Box<LogQuery>),
    /// Counters by scope and by user. Answered by `Savings`.
    Savings,
    /// Use of the budgets. Answered by `Budgets`.
    Budgets,
    /// Reads everything that is stored. Answered by any number of `Progress`, then `Verified`.
    Verify {
        /// Remove the entries that are bad.
        repair: bool,
    },
    /// Evicts down to the low water mark and gives free space back to the file system. Answered by
    /// any number of `Progress`, then `Collected`.
    Collect,
    /// Remember a run of another store. Answered by `Put`.
    Import(Box<Import>),
    /// All bytes of an upload, in the memory file whose descriptor comes with the frame. Answered
    /// by `Uploaded`.
    UploadFile {
        /// Chosen by the client, unique among the connection's uploads.
        upload: u32,
        /// The digest that the content must have, if the client knows it.
        digest: Option<Digest>,
    },
    /// The board of a scope. Answered by `Board`, with the descriptor of its memory if there is
    /// one.
    Board {
        /// Which.
        scope: Scope,
    },
    /// Hits that the client had by a board. Never answered.
    BoardHits(Box<BoardHits>),
    /// A claim by who wants the lease, or to know of an entry, and not its outputs. Answered as
    /// `Claim`, but a `Hit` withholds them all, and counts for nobody.
    Await(Box<Claim>),
    /// What would come of this put? Answered by `Awaited`, or by `Put` if there is such an entry,
    /// or by the error that the put would end with. Only with [`crate::handshake::ANNOUNCE`].
    Announce(Box<Announcement>),
    /// Counters and gauges for Prometheus. Answered by `Metrics`.
    Metrics,
    /// At most `LOOKUPS_MAX` lookups. Answered by `LookedUp`. Only with
    /// [`crate::handshake::BATCHES`].
    LookupMany(Vec<Lookup>),
    /// Who holds which leases now. Answered by `Leases`. Only with
    /// [`crate::handshake::OVERSIGHT`].
    Leases,
}

impl Request {
    /// The capabilities without which it may not be asked.
    #[must_use]
    pub fn capabilities(&self) -> u64 {
        match self {
            Self::Leases => OVERSIGHT,
            Self::Log(query) => query.verb.map_or(0, Verb::capabilities),
            Self::LookupMany(_) => BATCHES,
            Self::Announce(_) => ANNOUNCE,
            Self::UploadFile { .. } => DESCRIPTORS,
            _ => 0,
        }
    }

    /// How many descriptors come with it.
    #[must_use]
    pub const fn descriptors(&self) -> usize {
        match self {
            Self::UploadFile { .. } => 1,
            _ => 0,
        }
    }
}

/// A lookup.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Lookup {
    /// The call.
    pub call: CallIdentity,
    /// Entries strictly older than this many milliseconds are a miss; 0 never expires; absent: the
    /// daemon's default (semantics 19).
    pub max_age_ms: Option<u64>,
}

/// A run to remember.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Put {
    /// The call that was run.
    pub call: CallIdentity,
    /// Its declared inputs and outputs; their signature must be the call's.
    pub interface: InterfaceText,
    /// The outputs, in ascending order of their names: exactly those of the interface.
    pub outputs: Vec<NewOutput>,
    /// Replace an entry that is there already (semantics 18).
    pub overwrite: bool,
    /// Replace an entry that is strictly older than this many milliseconds, as [`Lookup`]'s field
    /// of this name would have missed it (semantics 19).
    pub max_age_ms: Option<u64>,
    /// What the client says of the run.
    pub run: RunClaim,
}

/// One output of a run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewOutput {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The digest it must have, if the client knows it.
    pub digest: Option<Digest>,
    /// Where its bytes are.
    pub source: OutputSource,
}

/// Where an output's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum OutputSource {
    /// In the payload of the same frame, behind those of the inline outputs before it.
    Inline,
    /// In this upload, which has been ended; a successful put uses it up.
    Upload(u32),
}

/// What only the client knows of a run; unknown parts are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunClaim {
    /// How long the outputs took to compute, in nanoseconds.
    pub compute_ns: Option<u64>,
    /// The task's own version or code revision; not part of the key (semantics 6).
    pub task_version: Option<String>,
    /// The execution that ran it.
    pub execution: Option<String>,
    /// The node of that execution.
    pub node: Option<String>,
    /// Which attempt it was.
    pub attempt: Option<u32>,
}

impl RunClaim {
    /// Checks the lengths of all texts.
    ///
    /// # Errors
    /// If one is empty or too long; the error names it.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        let texts = [
            ("task_version", &self.task_version),
            ("execution", &self.execution),
            ("node", &self.node),
        ];
        texts.into_iter().try_for_each(|(field, text)| {
            text.as_ref().map_or(Ok(()), |given| name::check(field, given))
        })
    }
}

/// An interface on the wire: types as text, because types are recursive and text has a bounded
/// parser.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct InterfaceText {
    /// Names and types of the inputs.
    pub inputs: Vec<(String, String)>,
    /// Names and types of the outputs.
    pub outputs: Vec<(String, String)>,
}

impl From<&Interface> for InterfaceText {
    fn from(interface: &Interface) -> Self {
        let text = |members: &std::collections::BTreeMap<String, crate::LiteralType>| {
            members.iter().map(|(name, of)| (name.clone(), of.to_string())).collect()
        };
        Self { inputs: text(&interface.inputs), outputs: text(&interface.outputs) }
    }
}

impl InterfaceText {
    /// The interface, parsed and checked.
    ///
    /// # Errors
    /// If a name is wrong or given twice, or a type does not parse; the error names it.
    pub fn parse(&self) -> Result<Interface, InvalidArgument> {
        let mut interface = Interface::default();
        for (kind, texts, members) in [
            ("input", &self.inputs, &mut interface.inputs),
            ("output", &self.outputs, &mut interface.outputs),
        ] {
            for (given, text) in texts {
                let label = name::label(kind, given);
                let parsed = text.parse().map_err(|error: InvalidArgument| {
                    InvalidArgument::new(format!("{label}, {}", error.field), error.problem)
                })?;
                if members.insert(given.clone(), parsed).is_some() {
                    return Err(InvalidArgument::new(label, "is declared twice"));
                }
            }
        }
        interface.check()?;
        Ok(interface)
    }
}

/// Which entries: all that meet every condition that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Filter {
    /// Of this scope.
    pub scope: Option<Scope>,
    /// Of tasks of this name.
    pub task: Option<String>,
    /// Of this cache version.
    pub cache_version: Option<String>,
    /// Written by this user.
    pub writer_uid: Option<u32>,
    /// Written longer ago than this many milliseconds.
    pub older_than_ms: Option<u64>,
}

impl Filter {
    /// Whether no condition is given.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// What to forget.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Selector {
    /// Entries by key.
    Keys(Vec<Key>),
    /// Entries by condition; without one, everything.
    Matching(Filter),
}
