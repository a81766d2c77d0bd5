//! What is written down of a request once it has been answered: in the ledger and in the log.
//!
//! **Invariants.** A request is counted once, just before the last frame of its answer goes out,
//! so that whoever has the answer finds it in the counters. A hit whose stream turned out damaged
//! counts as the miss that it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memod_protocol::{
    CallIdentity, ErrorCode, Filter, Key, Lookup, MissReason, Outcome, PutOutcome, Request,
    Response, Scope, Selector, Verb, WireError, name,
};

use super::request_log::Record;
use super::{Reply, Service, clock};
use crate::server::Peer;

/// A request on its way to be answered.
#[derive(Debug)]
pub(crate) struct Account {
    began: Instant,
    /// How long it took, if that is known before its answer goes out.
    took: Option<Duration>,
    verb: Verb,
    is_claim: bool,
    key: Option<Key>,
    scope: Option<Scope>,
    task: Option<String>,
    bytes: u64,
    outcome: Outcome,
    reason: Option<MissReason>,
    error: Option<ErrorCode>,
    compute_ns: u64,
}

impl Account {
    /// Begins the account of a request, if it is of a kind that is written down.
    pub(crate) fn open(request: &Request) -> Option<Self> {
        let (verb, call, key) = match request {
            Request::Lookup(lookup) => (Verb::Lookup, Some(&lookup.call), None),
            Request::Claim(claim) => (Verb::Lookup, Some(&claim.lookup.call), None),
            // It brings no outputs, so it spares nobody anything.
            Request::Await(claim) => (Verb::Reserve, Some(&claim.lookup.call), None),
            Request::Put(put) => (Verb::Put, Some(&put.call), None),
            Request::Import(import) => (Verb::Put, Some(&import.put.call), None),
            // The end of the put, unless it is awaited.
            Request::Announce(of) => (Verb::Put, Some(&of.put.call), None),
            Request::Reserve(reserve) => (Verb::Reserve, Some(&reserve.call), None),
            Request::Release(release) => (Verb::Release, Some(&release.call), None),
            Request::Why(why) => (Verb::Why, Some(&why.lookup.call), None),
            Request::Show { key } | Request::Read { key, .. } => (Verb::Read, None, Some(*key)),
            // Who only counts forgets nothing.
            Request::List { .. } | Request::Invalidate { dry_run: true, .. } => {
                (Verb::List, None, None)
            }
            Request::Invalidate { selector: Selector::Keys(keys), .. } => {
                (Verb::Invalidate, None, only(keys))
            }
            Request::Invalidate { .. } => (Verb::Invalidate, None, None),
            Request::Stats | Request::Status => (Verb::Stats, None, None),
            Request::Verify { .. } => (Verb::Verify, None, None),
            Request::Collect => (Verb::Collect, None, None),
            // Asked beside `Stats`, these would make more rows of one question.
            Request::Savings
            | Request::Leases
            | Request::Budgets
            | Request::Metrics
            | Request::UploadData { .. }
            | Request::UploadEnd { .. }
            | Request::UploadFile { .. }
            | Request::UploadAbort { .. }
            | Request::Log(_)
            | Request::Board { .. }
            | Request::BoardHits(_)
            // Each of its lookups has an account of its own.
            | Request::LookupMany(_)
            | Request::Ping => return None,
        };
        let bytes = match request {
            Request::Put(put) => put.outputs.iter().map(|output| output.bytes).fold(0, total),
            _ => 0,
        };
        let mut account = Self::begin(verb, call);
        let filter = filter(request);
        let scope = || filter.and_then(|filter| filter.scope.clone());
        let task = || filter.and_then(|filter| filter.task.clone());
        account.scope = account.scope.or_else(scope);
        account.task = account.task.or_else(task);
        account.is_claim = matches!(request, Request::Claim(_));
        Some(Self { key, bytes, ..account })
    }

    /// Begins the account of one lookup of many.
    pub(crate) fn of_lookup(lookup: &Lookup) -> Self {
        Self::begin(Verb::Lookup, Some(&lookup.call))
    }

    fn begin(verb: Verb, call: Option<&CallIdentity>) -> Self {
        // A name that is too long is an error, and is not kept.
        let call = call.filter(|call| call.check().is_ok());
        Self {
            began: Instant::now(),
            took: None,
            verb,
            is_claim: false,
            key: None,
            scope: call.map(|call| call.scope.clone()),
            task: call.map(|call| call.task.clone()),
            bytes: 0,
            outcome: Outcome::Done,
            reason: None,
            error: None,
            compute_ns: 0,
        }
    }

    /// It has taken as long as until now, even if its answer waits for others'.
    pub(crate) fn stop(&mut self) {
        self.took = Some(self.began.elapsed());
    }

    /// What was asked.
    pub(crate) fn verb(&self) -> Verb {
        self.verb
    }

    /// What it is answered.
    pub(crate) fn answered(&mut self, reply: &Reply) {
        self.key = self.key.or(reply.key);
        if let Some((scope, task)) = reply.of.as_deref() {
            self.scope = Some(scope.clone());
            self.task = Some(task.clone());
        }
        match &reply.response {
            Response::Hit(hit) => {
                self.key = Some(hit.key);
                self.bytes = hit.outputs.iter().map(|output| output.bytes).fold(0, total);
                self.compute_ns = hit.provenance.run.compute_ns.unwrap_or(0);
                self.outcome = Outcome::Hit;
            }
            Response::Miss(miss) => self.missed(Outcome::Miss, miss.key, miss.reason),
            Response::Leased(leased) => {
                self.missed(Outcome::Leased, leased.miss.key, leased.miss.reason);
            }
            Response::Pending(pending) => {
                self.key = Some(pending.key);
                self.outcome = Outcome::Pending;
            }
            Response::Reservation(reservation) => {
                self.key = Some(reservation.key);
                self.outcome =
                    if reservation.acquired { Outcome::Leased } else { Outcome::Pending };
            }
            Response::Put(PutOutcome::Populated) => self.outcome = Outcome::Populated,
            Response::Put(PutOutcome::Exists(_)) => self.outcome = Outcome::Exists,
            Response::Explained(explanation) => {
                self.key = Some(explanation.key);
                self.reason = explanation.miss.as_ref().map(|miss| miss.reason);
            }
            Response::Shown(detail) => {
                self.scope = Some(detail.scope.clone());
                self.task = Some(detail.task.clone());
            }
            Response::Error(error) => self.failed(error),
            _ => {}
        }
    }

    fn missed(&mut self, outcome: Outcome, key: Key, reason: MissReason) {
        self.key = Some(key);
        self.outcome = outcome;
        self.reason = Some(reason);
    }

    fn failed(&mut self, error: &WireError) {
        self.outcome = Outcome::Error;
        self.error = Some(error.code);
    }

    /// The stream of a hit ended in an error.
    pub(crate) fn voided(&mut self) {
        if self.verb == Verb::Lookup && self.outcome == Outcome::Hit {
            self.outcome = Outcome::Miss;
            self.reason = Some(MissReason::Corrupt);
        } else {
            self.outcome = Outcome::Error;
            self.error = Some(ErrorCode::Internal);
        }
    }
}

impl Service {
    /// Writes down what became of a request.
    pub(crate) fn close_account(&self, peer: &Arc<Peer>, mut account: Account) {
        let took = account.took.unwrap_or_else(|| account.began.elapsed());
        if account.error == Some(ErrorCode::ShuttingDown) && !self.leases.is_closed() {
            // It is not the daemon that goes: the peer left while it waited.
            account.error = None;
            account.outcome = Outcome::Gone;
        }
        if account.verb == Verb::Lookup
            && let (Some(scope), Some(task)) = (&account.scope, &account.task)
        {
            match (account.outcome, account.reason) {
                (Outcome::Hit, _) => {
                    self.ledger.hit(scope, task, peer.uid, spared(account.compute_ns, took));
                }
                (Outcome::Miss, Some(reason @ MissReason::Forbidden)) => {
                    self.ledger.refused(peer.uid, reason);
                }
                (Outcome::Miss | Outcome::Leased, Some(reason)) => {
                    self.ledger.miss(scope, task, peer.uid, reason);
                }
                _ => {}
            }
        }
        self.latencies.note(account.verb, account.is_claim, account.outcome, took);
        self.log.push(Record {
            at_ms: clock::now_ms(),
            peer: Arc::clone(peer),
            verb: account.verb,
            key: account.key,
            scope: account.scope,
            task: account.task,
            outcome: account.outcome,
            reason: account.reason,
            error: account.error,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            bytes: account.bytes,
        });
    }
}

/// Compute time spared, net of what the hit took (semantics 36).
fn spared(compute_ns: u64, spent: Duration) -> u64 {
    compute_ns.saturating_sub(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX))
}

/// The conditions of a request that has some, if they are names that may be kept.
fn filter(request: &Request) -> Option<&Filter> {
    let (Request::List { filter, .. }
    | Request::Invalidate { selector: Selector::Matching(filter), .. }) = request
    else {
        return None;
    };
    let good = filter.scope.as_ref().is_none_or(|scope| scope.check().is_ok())
        && filter.task.as_ref().is_none_or(|task| name::check("task", task).is_ok());
    good.then_some(filter)
}

/// The key, if there is one.
fn only(keys: &[Key]) -> Option<Key> {
    match keys {
        [key] => Some(*key),
        _ => None,
    }
}

fn total(sum: u64, bytes: u64) -> u64 {
    sum.saturating_add(bytes)
}
