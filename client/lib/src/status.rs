//! What came of a call, in Flyte's words (semantics 25).

use std::fmt;

/// How the cache was involved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheStatus {
    /// The mode does not allow it.
    Disabled,
    /// There was no entry that could be used.
    Miss,
    /// The outputs came from the cache.
    Hit,
    /// The outputs are in the cache now. [`crate::Memoized::put`] tells whether they were there
    /// before.
    Populated,
    /// The daemon could not be asked; the call was run.
    LookupFailure,
    /// The outputs could not be stored.
    PutFailure,
    /// Not tried: the lookup of an overwriting call, or storing what came from the cache.
    Skipped,
    /// The entry was removed, for those who remove entries. No lookup is told this: a call whose
    /// entry was evicted is a [`CacheStatus::Miss`] with the reason "evicted".
    Evicted,
}

impl CacheStatus {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Miss => "MISS",
            Self::Hit => "HIT",
            Self::Populated => "POPULATED",
            Self::LookupFailure => "LOOKUP_FAILURE",
            Self::PutFailure => "PUT_FAILURE",
            Self::Skipped => "SKIPPED",
            Self::Evicted => "EVICTED",
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How a lease was involved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReservationStatus {
    /// None was needed: the call is not serialized, its mode takes none, or the entry was there.
    #[default]
    Disabled,
    /// It is held.
    Acquired,
    /// Another held it: the outputs came from there, or the call was run without it.
    Exists,
    /// It was held, and ended when the run did.
    Released,
    /// It was wanted and could not be had, or the daemon that gave it ended during the run.
    Failure,
}

impl ReservationStatus {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Acquired => "ACQUIRED",
            Self::Exists => "EXISTS",
            Self::Released => "RELEASED",
            Self::Failure => "FAILURE",
        }
    }
}

impl fmt::Display for ReservationStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
