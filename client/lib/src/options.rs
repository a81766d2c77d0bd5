//! What callers give to requests, and get back.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::{Call, Miss, NamedOwner, Pending, RunClaim};

use crate::content::Hit;
use crate::error::Error;
use crate::exchange::hit::{HitSummary, OutputDescription};
use crate::mode::Mode;
use crate::outputs::PutOutput;

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

/// A run to remember, one of many.
#[derive(Debug)]
pub struct NewRun<'a> {
    /// The call that was run.
    pub call: &'a Call,
    /// Its outputs: exactly those that the call declares.
    pub outputs: Vec<PutOutput>,
    /// How to store them.
    pub options: PutOptions,
}

/// How to claim.
#[derive(Debug, Clone)]
pub struct ClaimOptions {
    /// Entries strictly older than this are a miss; see [`LookupOptions::max_age`].
    pub max_age: Option<Duration>,
    /// Take the lease if nobody holds it; else the claim only looks, and waits for who does.
    pub take: bool,
    /// Who is to hold the lease; absent: this process, for as long as the [`crate::Lease`] lives.
    pub owner: Option<NamedOwner>,
    /// How long to wait while another holds it.
    pub wait: Wait,
}

impl Default for ClaimOptions {
    /// Takes the lease for this process, and waits for as long as another holds it.
    fn default() -> Self {
        Self { max_age: None, take: true, owner: None, wait: Wait::default() }
    }
}

impl ClaimOptions {
    /// The same for a client of this mode: one that does not write takes no lease.
    pub(crate) fn in_mode(&self, mode: Mode) -> Self {
        Self { take: self.take && mode.writes(), ..self.clone() }
    }
}

/// How long to wait while another computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// Not at all.
    No,
    /// So long.
    AtMost(Duration),
    /// Until the outputs are there or the lease is free. A daemon that hangs ends it too, and so
    /// does one that dies and does not come back; a restart does not.
    #[default]
    Forever,
}

impl From<Duration> for Wait {
    fn from(most: Duration) -> Self {
        Self::AtMost(most)
    }
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
    /// Of all who ask for the same call at the same time, have one compute and the others wait for
    /// its outputs. A mode that does not write waits, but is never the one; one that does not read
    /// does neither.
    pub serialize: bool,
    /// How long to wait for the outputs of another, if the call is serialized; when that was in
    /// vain, the call is run here too.
    pub wait: Wait,
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

/// What a claim came to; `L` is the client's lease.
#[derive(Debug)]
pub enum Claimed<L = crate::Lease> {
    /// The call has been run before, or just now by another.
    Hit(Hit),
    /// It has not, and this claim takes no lease, or what is stored turned out damaged only after
    /// the lookup had been answered.
    Miss(Miss),
    /// It has not, and the right to compute it is the caller's.
    Leased(L),
    /// Another computes it: the claim did not wait, or waited in vain.
    Pending(Pending),
}

/// What a claim into a sink came to; `L` is the client's lease.
#[derive(Debug)]
pub enum ClaimFound<L = crate::Lease> {
    /// As [`Claimed::Hit`]; the sink has all outputs.
    Hit(HitSummary),
    /// As [`Claimed::Miss`].
    Miss(Miss),
    /// As [`Claimed::Leased`].
    Leased(L),
    /// As [`Claimed::Pending`].
    Pending(Pending),
}

impl<L> ClaimFound<L> {
    /// The same with the lease made into another.
    pub(crate) fn map_lease<M>(self, lease: impl FnOnce(L) -> M) -> ClaimFound<M> {
        match self {
            Self::Hit(summary) => ClaimFound::Hit(summary),
            Self::Miss(miss) => ClaimFound::Miss(miss),
            Self::Leased(leased) => ClaimFound::Leased(lease(leased)),
            Self::Pending(pending) => ClaimFound::Pending(pending),
        }
    }

    /// The same with the outputs that were collected.
    pub(crate) fn collected(
        self,
        collect: impl FnOnce(HitSummary) -> Result<Hit, Error>,
    ) -> Result<Claimed<L>, Error> {
        Ok(match self {
            Self::Hit(summary) => Claimed::Hit(collect(summary)?),
            Self::Miss(miss) => Claimed::Miss(miss),
            Self::Leased(leased) => Claimed::Leased(leased),
            Self::Pending(pending) => Claimed::Pending(pending),
        })
    }
}

impl<L> From<Found> for ClaimFound<L> {
    fn from(found: Found) -> Self {
        match found {
            Found::Hit(summary) => Self::Hit(summary),
            Found::Miss(miss) => Self::Miss(miss),
        }
    }
}

/// The pieces in which shared memory is handed to a sink that takes data.
const PIECE_BYTES: usize = 256 * 1024;

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

    /// All bytes of the output, in memory that is shared with the daemon and that nobody can
    /// change: to keep them costs no copy. Unless this is implemented they come as data does.
    ///
    /// # Errors
    /// Whatever ends the lookup.
    fn whole(&mut self, bytes: Bytes) -> io::Result<()> {
        bytes.chunks(PIECE_BYTES).try_for_each(|piece| self.data(piece))
    }

    /// A claim begins to wait, because another computes the outputs; after a restart of the daemon
    /// it does so again. Nothing has been taken yet.
    fn waiting(&mut self, pending: &Pending) {
        let _ = pending;
    }
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
