//! A claim: a lookup that may bring the lease, or wait for who holds it.
//!
//! **Invariants.** Every answer names the key that was asked for. An answer that says that the
//! claim waits is followed by another; any other is the last.

use std::time::{Duration, Instant};

use memod_protocol::{
    Call, CallIdentity, Claim, InvalidArgument, Key, Leased, Lookup, Miss, MissReason, NamedOwner,
    Pending, Request, Response,
};

use super::hit::{Expected, First, Wanted, found};
use super::{response, unexpected};
use crate::error::Error;
use crate::options::{ClaimOptions, PutOptions, Wait, milliseconds};

/// A claim that may be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimExchange<'a> {
    call: &'a Call,
    identity: &'a CallIdentity,
    options: &'a ClaimOptions,
    /// Whether the outputs are wanted of an entry that is there.
    takes_outputs: bool,
}

/// What an answer to a claim means.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The lookup is answered.
    Found(First),
    /// There is nothing, and the lease is the asker's.
    Leased(Box<Leased>),
    /// Another holds the lease; this is the last answer.
    Pending(Box<Pending>),
    /// Another holds the lease, and another answer will come.
    Waiting(Box<Pending>),
}

impl<'a> ClaimExchange<'a> {
    /// Checks a claim.
    ///
    /// # Errors
    /// If its owner is no owner.
    pub(crate) fn new(
        call: &'a Call,
        identity: &'a CallIdentity,
        options: &'a ClaimOptions,
    ) -> Result<Self, InvalidArgument> {
        options.owner.as_ref().map_or(Ok(()), NamedOwner::check)?;
        Ok(Self { call, identity, options, takes_outputs: true })
    }

    /// The same, by who does not want the outputs.
    pub(crate) const fn without_outputs(self) -> Self {
        Self { takes_outputs: false, ..self }
    }

    /// The call.
    pub(crate) const fn identity(&self) -> &'a CallIdentity {
        self.identity
    }

    /// How it claims.
    pub(crate) const fn options(&self) -> &'a ClaimOptions {
        self.options
    }

    /// What to send, if it has been waiting so long already for a daemon that is gone.
    pub(crate) fn request(&self, waited: Duration) -> Request {
        let ClaimOptions { max_age, take, owner, .. } = self.options;
        // What was made meanwhile is not too old; and zero says that nothing ever is.
        let later = |age: Duration| if age.is_zero() { age } else { age.saturating_add(waited) };
        let max_age = max_age.map(later);
        let claim = Box::new(Claim {
            lookup: Lookup { call: self.identity.clone(), max_age_ms: milliseconds(max_age) },
            take: *take,
            owner: owner.clone(),
            wait_ms: milliseconds(self.wait(waited).bound()),
        });
        if self.takes_outputs { Request::Claim(claim) } else { Request::Await(claim) }
    }

    /// What may be looked for before the daemon is asked; nothing if no outputs are wanted, because
    /// what is found without asking counts as a use.
    pub(crate) fn wanted(&self) -> Option<Wanted<'a>> {
        let wanted = Wanted::Call { call: self.call, identity: self.identity };
        self.takes_outputs.then_some(wanted)
    }

    /// What the answers must name; see [`Wanted::expect`].
    pub(crate) fn expect(&self) -> Expected<'a> {
        let expected = Wanted::Call { call: self.call, identity: self.identity }.expect();
        if self.takes_outputs { expected } else { expected.withheld() }
    }

    /// How long the daemon may still let the claim wait if it has been waiting so long already.
    pub(crate) fn wait(&self, waited: Duration) -> Wait {
        match self.options.wait {
            Wait::AtMost(bound) => Wait::AtMost(bound.saturating_sub(waited)),
            other => other,
        }
    }
}

/// Why a lease was given, and when: what a put under it may replace.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Why there was something to compute.
    pub(crate) miss: Miss,
    /// How old an entry might have been for the claim.
    max_age: Option<Duration>,
    since: Instant,
}

impl Terms {
    /// Those of a lease that is given now, to a claim of this age.
    pub(crate) fn new(miss: Miss, max_age: Option<Duration>) -> Self {
        Self { miss, max_age, since: Instant::now() }
    }

    /// How to store under the lease: so that what was too old for the claim is replaced, and
    /// nothing that has come since. That age grows with the time for which the lease is held.
    pub(crate) fn put_options(&self, given: &PutOptions, now: Instant) -> PutOptions {
        let held = now.saturating_duration_since(self.since);
        // Whole milliseconds, rounded down, as the daemon compares: what was too old stays so.
        let held = Duration::from_millis(u64::try_from(held.as_millis()).unwrap_or(u64::MAX));
        let expired = self.max_age.filter(|_| self.miss.reason == MissReason::Expired);
        let max_age = given.max_age.or_else(|| expired.map(|age| age.saturating_add(held)));
        PutOptions { max_age, ..given.clone() }
    }
}

/// Refuses to store with the lease of another call.
pub(crate) fn of_another(leased: Key, identity: &CallIdentity) -> Result<(), InvalidArgument> {
    if identity.key() == leased {
        return Ok(());
    }
    Err(InvalidArgument::new("call", "is not the one that the lease is for"))
}

/// Reads the first frame of an answer to the claim of that number.
pub(crate) fn answer(
    id: u64,
    expected: Expected<'_>,
    header: &[u8],
    payload_bytes: usize,
) -> Result<Answer, Error> {
    let key = expected.key();
    match response(id, header)? {
        Response::Leased(leased) if payload_bytes == 0 && leased.miss.key == key => {
            Ok(Answer::Leased(leased))
        }
        Response::Pending(pending) if payload_bytes == 0 && pending.key == key => {
            Ok(if pending.waiting { Answer::Waiting(pending) } else { Answer::Pending(pending) })
        }
        other @ (Response::Leased(_) | Response::Pending(_)) => Err(unexpected("a claim", &other)),
        other => found(id, expected, other, payload_bytes).map(Answer::Found),
    }
}

impl Wait {
    /// The most that it may take; absent: there is no bound.
    pub(crate) const fn bound(self) -> Option<Duration> {
        match self {
            Self::No => Some(Duration::ZERO),
            Self::AtMost(bound) => Some(bound),
            Self::Forever => None,
        }
    }
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
