//! Explanations: why there is no hit, and what the nearest entries differ in (semantics 14 and 35).

use crate::key::Key;
use crate::request::{InterfaceText, Lookup};
use crate::response::Miss;
use crate::wire::{Decode, Encode};

/// Asks why a lookup misses.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Why {
    /// The lookup; it is not counted as one.
    pub lookup: Lookup,
    /// Declared inputs and outputs; their signature must be the call's.
    pub interface: InterfaceText,
    /// How many entries to tell of at the most; more than `NEAREST_MAX` counts as that.
    pub nearest_max: u32,
}

/// Why there is no hit.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Explanation {
    /// The key that was looked up.
    pub key: Key,
    /// Why it misses; absent: it hits.
    pub miss: Option<Miss>,
    /// Entries of the same task name that differ least, those that differ in less first, then the
    /// newer ones; none if it hits.
    pub nearest: Vec<Nearest>,
}

/// An entry that is near to what was looked up.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Nearest {
    /// Its key.
    pub key: Key,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub created_at_ms: u64,
    /// Everything in which it differs.
    pub differs: Vec<Difference>,
}

/// One thing in which an entry differs from what was looked up.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Difference {
    /// What differs.
    pub what: DifferenceKind,
    /// Which input; of a signature: which input or output, as in ``output `o0` ``; absent for a
    /// cache version, a scope, and a signature whose declared inputs and outputs are the same.
    pub name: Option<String>,
    /// What was looked up: a digest, a version, a type, a scope as `project/domain`; absent if
    /// there is nothing of that name.
    pub here: Option<String>,
    /// What is stored, likewise.
    pub stored: Option<String>,
}

/// The kinds of difference. Variants are appended, never reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum DifferenceKind {
    /// The value of an input, or whether it counts.
    Input,
    /// The cache version.
    CacheVersion,
    /// The name or type of an input or output.
    Signature,
    /// Project and domain.
    Scope,
}

impl DifferenceKind {
    /// The stable name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheVersion => "cache_version",
            Self::Signature => "signature",
            Self::Scope => "scope",
        }
    }
}
