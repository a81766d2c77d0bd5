//! What memoizing a call decides and reports; the same for both clients.
//!
//! **Invariants.** Nothing here is an error of the task: whatever went wrong with the cache is a
//! status and stands in the report.
//!
//! **Does not** do I/O.

use std::time::Duration;

use memod_protocol::{
    Call, CallIdentity, InvalidArgument, Key, Miss, MissReason, Pending, Provenance, PutOutcome,
    RunClaim,
};

use crate::content::{Hit, HitOutput};
use crate::error::Error;
use crate::mode::Mode;
use crate::options::{ClaimOptions, Claimed, Lookup, LookupOptions, MemoizeOptions, PutOptions};
use crate::status::{CacheStatus, ReservationStatus};

/// The outputs of a call, from the cache or just computed, and how they came to be.
#[derive(Debug)]
pub struct Memoized<T = Vec<HitOutput>> {
    /// The outputs.
    pub outputs: T,
    /// What came of the lookup.
    pub status: CacheStatus,
    /// What came of storing.
    pub store: CacheStatus,
    /// What came of the lease, if the call is serialized.
    pub reservation: ReservationStatus,
    /// The call's key; absent if the call is wrong, which [`Memoized::lookup_error`] tells.
    pub key: Option<Key>,
    /// How long the run took that made the outputs: as measured here, or on a hit as its writer
    /// said.
    pub compute_time: Option<Duration>,
    /// How long the lookup took, with all outputs and the wait for another who computed them.
    pub lookup_time: Duration,
    /// On a hit, how long ago the entry was written.
    pub age: Option<Duration>,
    /// On a hit, who made the outputs.
    pub provenance: Option<Provenance>,
    /// On a miss, why; absent if another was computing the outputs.
    pub miss: Option<Miss>,
    /// Who was computing the outputs when the wait for them ended in vain.
    pub pending: Option<Pending>,
    /// What became of the put, if it succeeded.
    pub put: Option<PutOutcome>,
    /// Why the lookup failed, if it did.
    pub lookup_error: Option<Error>,
    /// Why storing failed, if it did.
    pub store_error: Option<Error>,
    /// What became of the lease, if it did not outlast the run.
    pub lease_error: Option<Error>,
}

impl<T> Memoized<T> {
    /// The time that was saved: that of the run which was spared, net of the lookup.
    #[must_use]
    pub fn saved(&self) -> Option<Duration> {
        let compute_time = self.compute_time.filter(|_| self.status == CacheStatus::Hit)?;
        Some(compute_time.saturating_sub(self.lookup_time))
    }

    /// The report of a run that had nothing to do with a daemon: none was wanted, or the call is
    /// wrong.
    pub(crate) fn alone(outputs: T, took: Duration, mode: Mode, wrong: Option<Error>) -> Self {
        let disabled = mode == Mode::Disabled;
        let (status, store) = if disabled {
            (CacheStatus::Disabled, CacheStatus::Disabled)
        } else {
            (CacheStatus::LookupFailure, CacheStatus::PutFailure)
        };
        Self {
            outputs,
            status,
            store,
            reservation: ReservationStatus::Disabled,
            key: None,
            compute_time: Some(took),
            lookup_time: Duration::ZERO,
            age: None,
            provenance: None,
            miss: None,
            pending: None,
            put: None,
            lookup_error: wrong.filter(|_| !disabled),
            store_error: None,
            lease_error: None,
        }
    }

    /// The same report with other outputs.
    pub fn map<U>(self, outputs: impl FnOnce(T) -> U) -> Memoized<U> {
        Memoized {
            outputs: outputs(self.outputs),
            status: self.status,
            store: self.store,
            reservation: self.reservation,
            key: self.key,
            compute_time: self.compute_time,
            lookup_time: self.lookup_time,
            age: self.age,
            provenance: self.provenance,
            miss: self.miss,
            pending: self.pending,
            put: self.put,
            lookup_error: self.lookup_error,
            store_error: self.store_error,
            lease_error: self.lease_error,
        }
    }
}

impl Memoized {
    /// The report of a hit that was had without asking the daemon.
    pub(crate) fn of_hit(key: Key, hit: Hit, took: Duration) -> Self {
        Self {
            outputs: hit.outputs,
            status: CacheStatus::Hit,
            store: CacheStatus::Skipped,
            reservation: ReservationStatus::Disabled,
            key: Some(key),
            compute_time: hit.provenance.run.compute_ns.map(Duration::from_nanos),
            lookup_time: took,
            age: Some(hit.age),
            provenance: Some(hit.provenance),
            miss: None,
            pending: None,
            put: None,
            lookup_error: None,
            store_error: None,
            lease_error: None,
        }
    }
}

/// Why there are no outputs. The daemon is never the reason.
#[derive(Debug, thiserror::Error)]
pub enum MemoizeError<E> {
    /// The computation failed; this is what it returned, unchanged.
    #[error(transparent)]
    Compute(E),
    /// The computation returned outputs that cannot be read: a value that is not of its type, a
    /// file that is not there, a reader that failed.
    #[error(transparent)]
    Outputs(Error),
}

/// A lease, of either client.
pub(crate) trait Right {
    /// Why there is something to compute.
    fn miss(&self) -> &Miss;
}

/// A call that has been looked up: the outputs, or the right to compute them.
///
/// [`crate::Client::memoize`] in steps, for callers that cannot put the computation into a
/// closure. Of a serialized call it holds the lease, which is given back when it is dropped. `L`
/// is the client's lease.
#[derive(Debug)]
pub struct Recall<L = crate::Lease> {
    report: Memoized<Option<Vec<HitOutput>>>,
    identity: Option<CallIdentity>,
    mode: Mode,
    max_age: Option<Duration>,
    run: RunClaim,
    lease: Option<L>,
}

/// How to ask the daemon for a call.
#[derive(Debug)]
pub(crate) enum Asking {
    Lookup(LookupOptions),
    Claim(ClaimOptions),
}

impl<L> Recall<L> {
    /// Before the daemon is asked; with how to, if it is to be.
    pub(crate) fn begin(
        call: &Call,
        options: &MemoizeOptions,
        mode: Mode,
    ) -> (Self, Option<Asking>) {
        let identity = call.identity();
        let identity = identity.map(|identity| {
            let key = identity.key();
            (identity, key)
        });
        Self::begin_with(identity, options, mode)
    }

    /// The same for a call whose identity and key are known, or what is wrong with it.
    pub(crate) fn begin_with(
        identity: Result<(CallIdentity, Key), InvalidArgument>,
        options: &MemoizeOptions,
        mode: Mode,
    ) -> (Self, Option<Asking>) {
        let (identity, key, lookup_error) = match identity {
            Ok((identity, key)) => (Some(identity), Some(key), None),
            Err(error) => (None, None, Some(Error::Invalid(error))),
        };
        let status = match mode {
            Mode::Disabled => CacheStatus::Disabled,
            Mode::Overwrite => CacheStatus::Skipped,
            Mode::Enabled | Mode::ReadOnly => CacheStatus::LookupFailure,
        };
        let asks = mode.reads() && identity.is_some();
        let reservation = if options.serialize && mode.reads() {
            ReservationStatus::Failure
        } else {
            ReservationStatus::Disabled
        };
        let report = Memoized {
            outputs: None,
            status,
            store: if mode.writes() { CacheStatus::PutFailure } else { CacheStatus::Disabled },
            reservation,
            key,
            compute_time: None,
            lookup_time: Duration::ZERO,
            age: None,
            provenance: None,
            miss: None,
            pending: None,
            put: None,
            lookup_error,
            store_error: None,
            lease_error: None,
        };
        let (max_age, run) = (options.max_age, options.run.clone());
        let asking = if options.serialize {
            let (take, wait) = (mode.writes(), options.wait);
            Asking::Claim(ClaimOptions { max_age, take, owner: None, wait })
        } else {
            Asking::Lookup(LookupOptions { max_age })
        };
        (Self { report, identity, mode, max_age, run, lease: None }, asks.then_some(asking))
    }

    /// What the lookup gave.
    pub(crate) fn looked_up(&mut self, outcome: Result<Lookup, Error>, took: Duration) {
        self.report.lookup_time = took;
        match outcome {
            Ok(Lookup::Hit(hit)) => self.hit(hit),
            Ok(Lookup::Miss(miss)) => self.missed(miss),
            Err(error) => self.failed(error),
        }
    }

    /// What the claim gave, and whether it waited.
    pub(crate) fn claimed(&mut self, outcome: Result<(Claimed<L>, bool), Error>, took: Duration)
    where
        L: Right,
    {
        self.report.lookup_time = took;
        self.report.reservation = match outcome {
            Ok((Claimed::Hit(hit), waited)) => {
                self.hit(hit);
                if waited { ReservationStatus::Exists } else { ReservationStatus::Disabled }
            }
            Ok((Claimed::Miss(miss), waited)) => {
                self.missed(miss);
                match (waited, self.mode.writes()) {
                    (true, _) => ReservationStatus::Exists,
                    (false, false) => ReservationStatus::Disabled,
                    // Whoever may store was to get the lease.
                    (false, true) => ReservationStatus::Failure,
                }
            }
            Ok((Claimed::Leased(lease), _)) => {
                self.missed(lease.miss().clone());
                self.lease = Some(lease);
                ReservationStatus::Acquired
            }
            Ok((Claimed::Pending(pending), _)) => {
                self.report.status = CacheStatus::Miss;
                self.report.pending = Some(pending);
                ReservationStatus::Exists
            }
            Err(error) => {
                self.failed(error);
                ReservationStatus::Failure
            }
        };
    }

    fn hit(&mut self, hit: Hit) {
        let report = &mut self.report;
        report.status = CacheStatus::Hit;
        report.store = CacheStatus::Skipped;
        report.compute_time = hit.provenance.run.compute_ns.map(Duration::from_nanos);
        report.age = Some(hit.age);
        report.provenance = Some(hit.provenance);
        report.outputs = Some(hit.outputs);
    }

    fn missed(&mut self, miss: Miss) {
        self.report.status = CacheStatus::Miss;
        self.report.miss = Some(miss);
    }

    fn failed(&mut self, error: Error) {
        self.report.status = CacheStatus::LookupFailure;
        self.report.lookup_error = Some(error);
    }

    pub(crate) const fn identity(&self) -> Option<&CallIdentity> {
        self.identity.as_ref()
    }

    /// The lease that is held, to store with it.
    pub(crate) fn take_lease(&mut self) -> Option<L> {
        self.lease.take().inspect(|_| self.report.reservation = ReservationStatus::Released)
    }

    /// The daemon has forgotten the lease that was held.
    pub(crate) fn lost_lease(&mut self) {
        self.report.reservation = ReservationStatus::Failure;
        self.report.lease_error = Some(Error::LeaseLost);
    }

    /// What came of the lease.
    #[must_use]
    pub const fn reservation(&self) -> ReservationStatus {
        self.report.reservation
    }

    /// Who was computing the outputs when the wait for them ended in vain.
    #[must_use]
    pub const fn pending(&self) -> Option<&Pending> {
        self.report.pending.as_ref()
    }

    /// What came of the lookup.
    #[must_use]
    pub const fn status(&self) -> CacheStatus {
        self.report.status
    }

    /// The call's key; absent if the call is wrong.
    #[must_use]
    pub const fn key(&self) -> Option<Key> {
        self.report.key
    }

    /// Takes the outputs of a hit, or gives back the right to compute them.
    ///
    /// # Errors
    /// `self`, unless there was a hit.
    pub fn into_hit(mut self) -> Result<Memoized, Box<Self>> {
        match self.report.outputs.take() {
            Some(outputs) => Ok(self.report.map(|_| outputs)),
            None => Err(Box::new(self)),
        }
    }

    /// The report of a hit whose outputs have been made into this.
    pub(crate) fn into_hit_with<T>(self, outputs: T) -> Memoized<T> {
        self.report.map(|_| outputs)
    }

    /// Of a hit, who made the outputs.
    #[must_use]
    pub const fn provenance(&self) -> Option<&Provenance> {
        self.report.provenance.as_ref()
    }

    /// Why the lookup failed, if it did.
    #[must_use]
    pub const fn lookup_error(&self) -> Option<&Error> {
        self.report.lookup_error.as_ref()
    }

    /// The outputs of a hit.
    #[must_use]
    pub fn outputs(&self) -> Option<&[HitOutput]> {
        self.report.outputs.as_deref()
    }

    /// Turns a hit whose outputs the caller cannot use into a miss; what is stored next replaces
    /// the entry.
    pub fn reject(&mut self, detail: impl Into<String>) {
        let report = &mut self.report;
        let Some(key) = report.key.filter(|_| report.status == CacheStatus::Hit) else { return };
        report.status = CacheStatus::Miss;
        report.outputs = None;
        report.compute_time = None;
        report.age = None;
        report.provenance = None;
        report.store =
            if self.mode.writes() { CacheStatus::PutFailure } else { CacheStatus::Disabled };
        report.miss = Some(Miss {
            key,
            reason: MissReason::Corrupt,
            at_ms: None,
            by_uid: None,
            detail: Some(detail.into()),
        });
    }

    /// The call was run, which took so long. With how to store it, if that is wanted.
    pub(crate) fn computed(&mut self, took: Duration) -> Option<PutOptions> {
        self.report.compute_time = Some(took);
        if !self.mode.writes() {
            return None;
        }
        // An entry that is there but cannot be used would otherwise stay for ever.
        let corrupt = |miss: &Miss| miss.reason == MissReason::Corrupt;
        let overwrite =
            self.mode == Mode::Overwrite || self.report.miss.as_ref().is_some_and(corrupt);
        let mut run = self.run.clone();
        run.compute_ns.get_or_insert(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        Some(PutOptions { overwrite, max_age: self.max_age, run })
    }

    /// The report of a run that took so long and whose outputs cannot be stored. A lease is given
    /// back.
    #[must_use]
    pub fn unstored(mut self, took: Duration) -> Memoized<()> {
        let _ = self.computed(took);
        drop(self.take_lease());
        self.stored(None)
    }

    /// What storing gave; nothing if it was not tried.
    pub(crate) fn stored(mut self, outcome: Option<Result<PutOutcome, Error>>) -> Memoized<()> {
        match outcome {
            None => {}
            Some(Ok(outcome)) => {
                self.report.store = CacheStatus::Populated;
                self.report.put = Some(outcome);
            }
            Some(Err(error)) => {
                self.report.store = CacheStatus::PutFailure;
                self.report.store_error = Some(error);
            }
        }
        self.report.map(|_| ())
    }
}

#[cfg(test)]
#[path = "memo_tests.rs"]
mod tests;
