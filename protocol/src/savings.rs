//! Counters by scope and by user, beside those by task in [`crate::Stats`] (semantics 36).

use crate::call::Scope;
use crate::wire::{Decode, Encode};

/// Counters by scope and by user, since the store was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Savings {
    /// By scope, those with the most time saved first.
    pub by_scope: Vec<ScopeStats>,
    /// By the user who asked, likewise.
    pub by_uid: Vec<UserStats>,
}

/// Counters of one scope.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ScopeStats {
    /// Project and domain.
    pub scope: Scope,
    /// Lookups that hit.
    pub hits: u64,
    /// Lookups that missed.
    pub misses: u64,
    /// Compute time spared, net of what the hits took, in nanoseconds.
    pub time_saved_ns: u64,
}

/// Counters of one user.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UserStats {
    /// The user who asked, from the kernel.
    pub uid: u32,
    /// Lookups that hit.
    pub hits: u64,
    /// Lookups that missed.
    pub misses: u64,
    /// Compute time spared, net of what the hits took, in nanoseconds.
    pub time_saved_ns: u64,
}
