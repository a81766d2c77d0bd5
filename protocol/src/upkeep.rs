//! Upkeep: budgets and what they cost, verification, collection, import.

use crate::call::Scope;
use crate::digest::Digest;
use crate::key::Key;
use crate::request::Put;
use crate::response::Provenance;
use crate::wire::{Decode, Encode};

/// A run that another store remembered, with who made it and when. Inline outputs stand in the
/// payload, in order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Import {
    /// The run; what its `run` says is ignored.
    pub put: Put,
    /// Who made it.
    pub provenance: Provenance,
}

/// A run that is about to be put, before its outputs are uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Announcement {
    /// The put that will follow. The lengths of its outputs count, and no more than is promised for
    /// them; their digests need not be known yet.
    pub put: Put,
    /// Who made the run, if it comes from another store.
    pub writer_uid: Option<u32>,
}

/// What is stored against what may be, and what eviction has cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct BudgetReport {
    /// The budget of the store, then those of scopes and users that have one.
    pub budgets: Vec<BudgetRow>,
    /// Eviction begins above this many bytes; absent: never.
    pub high_bytes: Option<u64>,
    /// And goes on to this many.
    pub low_bytes: Option<u64>,
    /// Free bytes of the file system on which the store is.
    pub disk_free_bytes: u64,
    /// Free bytes below which nothing more is stored.
    pub disk_reserve_bytes: u64,
    /// Bytes of the store's files.
    pub disk_used_bytes: u64,
    /// The name of the policy by which is evicted.
    pub policy: String,
    /// Entries evicted, since the store was made.
    pub evicted_entries: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Evicted entries that were asked for again.
    pub regretted_entries: u64,
    /// The compute time of those, in nanoseconds.
    pub regret_ns: u64,
    /// For how long the entry that was evicted last had not been used, in milliseconds.
    pub last_evicted_age_ms: Option<u64>,
}

impl BudgetReport {
    /// Whether who asked is told of everything, because it may read everything. If not, neither
    /// this report nor [`Stats`](crate::Stats) counts what is not counted by scope, task or user:
    /// what is zero there is not told.
    #[must_use]
    pub fn tells_all(&self) -> bool {
        self.budgets.iter().any(|row| row.of == BudgetOf::Store)
    }
}

/// A budget and its use.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BudgetRow {
    /// Whose it is.
    pub of: BudgetOf,
    /// Entries that count.
    pub entries: u64,
    /// Bytes that count.
    pub bytes: u64,
    /// Most bytes; absent: without limit.
    pub limit_bytes: Option<u64>,
}

/// Whose a budget is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum BudgetOf {
    /// The whole store's.
    Store,
    /// A scope's.
    Scope(Scope),
    /// A user's, who wrote the entries.
    User(u32),
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct VerifyReport {
    /// Entries that were read.
    pub entries: u64,
    /// Distinct blobs that were read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was found wrong.
    pub problems: u64,
    /// The first of it.
    pub named: Vec<Problem>,
    /// Entries that were removed because of it.
    pub buried: u64,
}

/// Something wrong in the store.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Problem {
    /// The entry, if it is known.
    pub key: Option<Key>,
    /// The blob, if it is one.
    pub digest: Option<Digest>,
    /// What is wrong.
    pub what: String,
}

impl Problem {
    /// What is told at the end of a problem of files that a repair has mended.
    const MENDED: &str = "; it has been written anew of what is whole";
    /// The same of one that is mended when the daemon has started itself anew, very soon.
    const BEING_MENDED: &str =
        "; it is written anew of what is whole, by the daemon, which starts itself anew";

    /// Whether it is no entry's, but one of the store's files.
    #[must_use]
    pub const fn is_of_files(&self) -> bool {
        self.key.is_none() && self.digest.is_none()
    }

    /// Whether a repair has mended what is wrong, or is about to.
    #[must_use]
    pub fn is_mended(&self) -> bool {
        self.what.ends_with(Self::MENDED) || self.what.ends_with(Self::BEING_MENDED)
    }

    /// Says that a repair has mended what is wrong, or that it is about to be.
    pub fn set_mended(&mut self, is_done: bool) {
        if !self.is_mended() {
            self.what.push_str(if is_done { Self::MENDED } else { Self::BEING_MENDED });
        }
    }
}

/// What a collection brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct CollectReport {
    /// Entries evicted because the store was above its low water mark.
    pub evicted_entries: u64,
    /// Bytes of the store's files before.
    pub disk_bytes_before: u64,
    /// Bytes of the store's files after.
    pub disk_bytes_after: u64,
}
