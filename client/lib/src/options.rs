//! What callers give to requests, and get back.

use std::io;
use std::time::Duration;

use memod_protocol::{Miss, RunClaim};

use crate::content::Hit;
use crate::exchange::hit::{HitSummary, OutputDescription};
use crate::mode::Mode;

/// How to look up.
#[derive(Debug, Clone, Default)]
pub struct LookupOptions {
    /// Entries strictly older than this are a miss; zero: none is too old; absent: as the daemon
    /// is set up.
    pub max_age: Option<Duration>,
}

/// How to store.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Replace an entry that is there already.
    pub overwrite: bool,
    /// Replace an entry that is strictly older than this, as a lookup with the same age would
    /// have missed it.
    pub max_age: Option<Duration>,
    /// What is known of the run.
    pub run: RunClaim,
}

/// How to memoize.
#[derive(Debug, Clone, Default)]
pub struct MemoizeOptions {
    /// The mode of this call; absent: the client's.
    pub mode: Option<Mode>,
    /// Entries strictly older than this are computed again.
    pub max_age: Option<Duration>,
    /// What is known of the run; the compute time is measured if it is not given.
    pub run: RunClaim,
}

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup {
    /// The call has been run before.
    Hit(Hit),
    /// It has not, or what is stored cannot be served.
    Miss(Miss),
}

/// What a lookup into a sink found.
#[derive(Debug)]
pub enum Found {
    /// The call has been run before; the sink has all outputs.
    Hit(HitSummary),
    /// It has not, or what is stored cannot be served.
    Miss(Miss),
}

/// Takes a hit's outputs as they come, so that streams can go anywhere with bounded memory.
///
/// What has been taken is void if the lookup ends in an error or a miss: what is stored may turn
/// out damaged in the middle.
pub trait OutputSink {
    /// The bytes that follow belong to this output, the `index`-th of the hit. Every output is
    /// begun exactly once, not always in ascending order; all its bytes follow before the next.
    ///
    /// # Errors
    /// Whatever ends the lookup.
    fn begin(&mut self, output: &OutputDescription, index: usize) -> io::Result<()>;

    /// The next bytes.
    ///
    /// # Errors
    /// Whatever ends the lookup.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// The wire's form of an age: milliseconds, rounded up, so that only zero means "never expires".
pub(crate) fn milliseconds(age: Option<Duration>) -> Option<u64> {
    let whole = |age: Duration| u64::try_from(age.as_nanos().div_ceil(1_000_000));
    age.map(|age| whole(age).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_age_is_not_taken_for_none() {
        assert_eq!(milliseconds(None), None);
        assert_eq!(milliseconds(Some(Duration::ZERO)), Some(0));
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), Some(1));
        assert_eq!(milliseconds(Some(Duration::from_millis(1))), Some(1));
        assert_eq!(milliseconds(Some(Duration::MAX)), Some(u64::MAX));
    }
}
