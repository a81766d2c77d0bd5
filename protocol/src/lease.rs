//! Leases: the exclusive right to compute a key (semantics 26 to 32).

use crate::call::{CallIdentity, Scope};
use crate::error::InvalidArgument;
use crate::key::Key;
use crate::name;
use crate::request::Lookup;
use crate::response::Miss;
use crate::wire::{Decode, Encode};

/// A lookup that may take the lease of its key, or wait while another holds it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// What is looked up first; a hit ends the matter.
    pub lookup: Lookup,
    /// Take the lease when it is free. Without: a lease that is free is a miss, and only what
    /// others compute is waited for.
    pub take: bool,
    /// Who is to hold the lease; absent: the connection, for as long as it is open.
    pub owner: Option<NamedOwner>,
    /// How long to wait while another holds the lease, in milliseconds; 0: not at all; absent:
    /// until the outputs are there or the lease is free.
    pub wait_ms: Option<u64>,
}

/// An owner that is no connection: it holds a lease for as long as it says that it lives, over
/// whatever connection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NamedOwner {
    /// Its name, unique among those who may ask for the same key; never blank.
    pub name: String,
    /// How often it will extend the lease, in milliseconds; more than zero. What is more than the
    /// daemon's maximum counts as that. The lease expires after three of them without a word.
    pub heartbeat_ms: i64,
}

impl NamedOwner {
    /// Checks name and heartbeat.
    ///
    /// # Errors
    /// If the name is blank or too long, or the heartbeat is zero or less (semantics 21 and 29).
    pub fn check(&self) -> Result<(), InvalidArgument> {
        name::owner(&self.name)?;
        if self.heartbeat_ms <= 0 {
            return Err(InvalidArgument::new(
                "heartbeat",
                format!("is {} ms, more than zero is wanted", self.heartbeat_ms),
            ));
        }
        Ok(())
    }
}

/// Takes or extends the lease of a named owner, without a lookup and without waiting.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reserve {
    /// The call whose key is meant.
    pub call: CallIdentity,
    /// Who is to hold the lease; who holds it already extends it.
    pub owner: NamedOwner,
}

/// Gives a lease back. Of one that the asker does not hold: no effect and no error.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// The call whose key is meant.
    pub call: CallIdentity,
    /// The named owner that holds it; absent: this connection.
    pub owner: Option<String>,
}

/// A miss with the right to compute.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Leased {
    /// Why there is no hit.
    pub miss: Miss,
    /// Who holds the lease now: the one who asked.
    pub holder: Holder,
}

/// Somebody else holds the lease.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Pending {
    /// The key.
    pub key: Key,
    /// Who holds it now.
    pub holder: Holder,
    /// Whether the request waits, and one more answer is to come; else this is the last.
    pub waiting: bool,
}

/// Whether a named owner has the lease.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reservation {
    /// The key.
    pub key: Key,
    /// Whether the one who asked holds it now.
    pub acquired: bool,
    /// Who holds it: the one who asked, or whoever was first.
    pub holder: Holder,
}

/// A lease in a list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LeaseRow {
    /// Of this key.
    pub key: Key,
    /// Project and domain of the call.
    pub scope: Scope,
    /// The task's name.
    pub task: String,
    /// Who holds it now.
    pub holder: Holder,
    /// Requests that wait for it, or for an entry.
    pub waiters: u64,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Holder {
    /// The name of a named owner; absent: a connection.
    pub name: Option<String>,
    /// The user, from the kernel.
    pub uid: u32,
    /// The process, from the kernel; absent of a named owner, whose lease does not end with it.
    pub pid: Option<u32>,
    /// The process's program; absent of a named owner.
    pub program: Option<String>,
    /// For how long it has held it, in milliseconds.
    pub held_ms: u64,
    /// When the lease expires unless it is extended, in milliseconds from now; absent: it is a
    /// connection's, and ends with it.
    pub expires_in_ms: Option<u64>,
}
