//! Leases with the blocking client: the right to compute, and those who wait for it
//! (semantics 26 to 32).
//!
//! **Invariants.** A lease without a named owner is held by a connection that is used for nothing
//! else; whatever ends the [`Lease`] ends the connection or the lease on it. A process never uses
//! a lease's connection that its parent opened, nor ends it.

use std::time::Instant;

use memod_protocol::{
    Call, CallIdentity, Holder, Key, Leased, Miss, NamedOwner, PutOutcome, Reservation, name,
};

use crate::claiming::{Claiming, Next};
use crate::client::{Client, plan, put_options};
use crate::collect::Collector;
use crate::connect::{Patience, sink_error};
use crate::connection::{ClaimOutcome, Connection};
use crate::error::Error;
use crate::exchange::ask::{AskRelease, AskReserve};
use crate::exchange::claim::{ClaimExchange, Terms, of_another};
use crate::exchange::hit::unread;
use crate::memo::Right;
use crate::options::{ClaimFound, ClaimOptions, Claimed, OutputSink, PutOptions};
use crate::outputs::{Prepared, PutOutput, prepare};
use crate::pause;

/// A claim that was tried, with the connection on which it was.
type Tried = (Option<Connection>, Result<ClaimOutcome, Error>);

impl Client {
    /// Has this call been run before? If not, is it the caller's turn to run it? While another runs
    /// it, waits as the options say; the daemon's word wakes it at once.
    ///
    /// A client that does not read is told "disabled"; one that does not write takes no lease.
    ///
    /// # Errors
    /// If the call or the owner is wrong, too many wait, or the daemon could not be asked. While
    /// the claim waits, a daemon that gives no sign of life is an error too; one that ends only if
    /// none comes back within the client's deadline, or they end again and again.
    pub fn claim(&self, call: &Call, options: &ClaimOptions) -> Result<Claimed, Error> {
        let identity = call.identity()?;
        if !self.mode().reads() {
            return Ok(Claimed::Miss(unread(&identity)));
        }
        let options = options.in_mode(self.mode());
        self.claim_identified(call, &identity, &options).map(|(claimed, _)| claimed)
    }

    /// As [`Client::claim`], with the outputs going into the sink as they come.
    ///
    /// # Errors
    /// As [`Client::claim`], or with what the sink fails. What the sink has taken is void then.
    pub fn claim_into(
        &self,
        call: &Call,
        options: &ClaimOptions,
        sink: &mut dyn OutputSink,
    ) -> Result<ClaimFound, Error> {
        let identity = call.identity()?;
        if !self.mode().reads() {
            return Ok(ClaimFound::Miss(unread(&identity)));
        }
        let options = options.in_mode(self.mode());
        let exchange = ClaimExchange::new(call, &identity, &options)?;
        self.claim_taken(exchange, sink).map(|(found, _)| found)
    }

    /// As [`Client::claim`], for who wants the lease, or to know of an entry, and not its outputs:
    /// a hit counts for nobody.
    ///
    /// # Errors
    /// As [`Client::claim`].
    pub fn await_lease(&self, call: &Call, options: &ClaimOptions) -> Result<ClaimFound, Error> {
        let identity = call.identity()?;
        if !self.mode().reads() {
            return Ok(ClaimFound::Miss(unread(&identity)));
        }
        let options = options.in_mode(self.mode());
        let exchange = ClaimExchange::new(call, &identity, &options)?.without_outputs();
        // What is withheld takes no memory.
        self.claim_taken(exchange, &mut Collector::new(0)).map(|(found, _)| found)
    }

    /// As [`Client::claim`], whatever the client's mode; also tells whether it waited.
    pub(crate) fn claim_identified(
        &self,
        call: &Call,
        identity: &CallIdentity,
        options: &ClaimOptions,
    ) -> Result<(Claimed, bool), Error> {
        let mut collector = Collector::new(self.settings().memory_bytes_max);
        let exchange = ClaimExchange::new(call, identity, options)?;
        let (found, waited) = self.claim_taken(exchange, &mut collector)?;
        let claimed = found.collected(|summary| collector.finish(summary).map_err(sink_error))?;
        Ok((claimed, waited))
    }

    fn claim_taken(
        &self,
        exchange: ClaimExchange<'_>,
        sink: &mut dyn OutputSink,
    ) -> Result<(ClaimFound, bool), Error> {
        let (identity, options) = (exchange.identity(), exchange.options());
        if let Some(wanted) = exchange.wanted()
            && let Some(hit) = self.look_on_board(wanted, options.max_age)
        {
            return Ok((ClaimFound::Hit(hit.pour(sink)?), false));
        }
        let mut claim = Claiming::new(exchange, self.settings().bounds.deadline);
        let process = self.admit()?;
        let tried = self.attempt(process, true, |connection, patience| {
            connection.claim(&mut claim, sink, patience)
        });
        let (mut connection, outcome) = self.outlast(&mut claim, sink, tried);
        if let (Some(connection), Ok(got)) = (&connection, &outcome)
            && matches!(got.found, ClaimFound::Hit(_))
        {
            self.note_hit(&identity.scope, connection);
        }
        let held = connection.take_if(|_| outcome.as_ref().is_ok_and(|got| got.holds(options)));
        let ClaimOutcome { found, waited } = self.finish(process, connection, outcome)?;
        let lease = |leased: Box<Leased>| Lease {
            client: self.clone(),
            identity: identity.clone(),
            terms: Terms::new(leased.miss, options.max_age),
            holder: leased.holder,
            owner: options.owner.as_ref().map(|owner| owner.name.clone()),
            process,
            connection: held,
        };
        Ok((found.map_lease(lease), waited))
    }

    /// Goes on with a claim whose wait was cut off, for as long as that makes sense. The breaker
    /// is told only what comes of it in the end.
    fn outlast(&self, claim: &mut Claiming<'_>, sink: &mut dyn OutputSink, tried: Tried) -> Tried {
        let (mut connection, mut outcome) = tried;
        let within = || Patience::within(self.settings().bounds.deadline);
        loop {
            let next = match outcome {
                Err(error) => claim.failed(error, Instant::now()),
                done => return (connection, done),
            };
            // What failed is closed before another is opened.
            drop(connection);
            let opened = match next {
                Err(error) => return (None, Err(error)),
                Ok(Next::There { after, at }) => {
                    pause::sleep(after);
                    let patience = within();
                    self.open(&at, patience).map(|opened| (opened, patience))
                }
                Ok(Next::Anywhere) => self.connect(within()),
            };
            (connection, outcome) = match opened {
                Ok((mut opened, patience)) => {
                    let outcome = opened.claim(claim, sink, patience);
                    (Some(opened), outcome)
                }
                Err(error) => (None, Err(error)),
            };
        }
    }

    /// Takes or extends the lease of a named owner, without looking up. Never waits.
    ///
    /// # Errors
    /// If the call or the owner is wrong, or the daemon could not be asked.
    pub fn reserve(&self, call: &Call, owner: &NamedOwner) -> Result<Reservation, Error> {
        let identity = call.identity()?;
        owner.check()?;
        self.ask(&mut AskReserve { call: &identity, owner })
    }

    /// Gives the lease of a named owner back; gives whether the owner held it.
    ///
    /// # Errors
    /// If the call is wrong, the owner is blank, or the daemon could not be asked.
    pub fn release(&self, call: &Call, owner: &str) -> Result<bool, Error> {
        let identity = call.identity()?;
        name::owner(owner)?;
        self.ask(&mut AskRelease { call: &identity, owner: Some(owner) })
    }
}

/// The right to compute a call, while others wait for its outputs.
///
/// Dropped, it is given back at once, and the next who waits has it; so it is when the process
/// ends in whatever way. Only that of a named owner stays, until it is released or expires.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    identity: CallIdentity,
    terms: Terms,
    holder: Holder,
    owner: Option<String>,
    /// The process that took it.
    process: u32,
    /// What holds it, unless a named owner does.
    connection: Option<Connection>,
}

impl Lease {
    /// The key that may be computed.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.terms.miss.key
    }

    /// Why the lookup missed.
    #[must_use]
    pub const fn miss(&self) -> &Miss {
        &self.terms.miss
    }

    /// Who holds the lease, as others are told.
    #[must_use]
    pub const fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Remembers the run, which ends the lease and wakes who waits. A daemon that has been
    /// restarted meanwhile, and so has forgotten the lease, takes it like any other run.
    ///
    /// If the lease was given because the entry was too old for the claim, that entry is replaced,
    /// and none that came later, unless the options name an age of their own.
    ///
    /// # Errors
    /// If the call is not that of the lease, or as [`Client::put`]. The lease is given back.
    pub fn put(
        self,
        call: &Call,
        outputs: Vec<PutOutput>,
        options: &PutOptions,
    ) -> Result<PutOutcome, Error> {
        let identity = call.identity()?;
        let options = put_options(self.client.mode(), options)?;
        let outputs = prepare(&call.interface, outputs)?;
        self.put_prepared(call, &identity, outputs, &options, &mut false)
    }

    /// As [`Lease::put`], whatever the client's mode; also tells whether the lease was lost.
    pub(crate) fn put_prepared(
        mut self,
        call: &Call,
        identity: &CallIdentity,
        mut outputs: Vec<Prepared>,
        options: &PutOptions,
        is_lost: &mut bool,
    ) -> Result<PutOutcome, Error> {
        of_another(self.key(), identity)?;
        let options = &self.terms.put_options(options, Instant::now());
        options.run.check()?;
        let client = self.client.clone();
        let process = std::process::id();
        let patience = Patience::within(client.settings().bounds.deadline);
        if let Some(connection) = self.usable(process, patience) {
            let repeatable = outputs.iter().all(Prepared::is_repeatable);
            let put = plan(call, identity, options, &outputs, connection.limits())?;
            let outcome = connection.put(put, &mut outputs, patience);
            let stale = |error: &Error| repeatable && connection.was_stale(error);
            if !outcome.as_ref().is_err_and(stale) {
                // Only what was stored has surely ended the lease.
                let ended = matches!(outcome, Ok(PutOutcome::Populated));
                let connection = self.connection.take_if(|_| ended);
                return client.finish(process, connection, outcome);
            }
        }
        // A process that was forked has never had it.
        *is_lost = self.owner.is_none() && self.process == process;
        // What holds the lease stays until this is over, so that nobody else computes meanwhile.
        client.put_prepared(call, identity, outputs, options)
    }

    /// Gives the lease back: the next who waits has it. If the daemon cannot be told, it sees the
    /// connection end; a named owner's lease expires.
    pub fn release(mut self) {
        let client = self.client.clone();
        if let Some(owner) = self.owner.take() {
            let _ = client.ask(&mut AskRelease { call: &self.identity, owner: Some(&owner) });
            return;
        }
        let identity = self.identity.clone();
        let process = std::process::id();
        let patience = Patience::within(client.settings().bounds.deadline);
        if let Some(connection) = self.usable(process, patience) {
            let mut release = AskRelease { call: &identity, owner: None };
            let outcome = connection.ask(&mut release, patience);
            let connection = self.connection.take_if(|_| outcome.is_ok());
            let _ = client.finish(process, connection, outcome);
        }
    }

    /// The connection that holds it, if it is there and this process's.
    fn usable(&mut self, process: u32, patience: Patience) -> Option<&mut Connection> {
        let ours = self.process == process;
        self.connection.as_mut().filter(|_| ours)?.if_alive(patience)
    }
}

impl Right for Lease {
    fn miss(&self) -> &Miss {
        &self.terms.miss
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A process that was forked meanwhile has a copy of the connection, which would keep it
        // open; being that process, one must not end the parent's lease.
        if let Some(connection) = &self.connection
            && self.process == std::process::id()
        {
            connection.shut_down();
        }
    }
}

#[cfg(test)]
#[path = "lease_restart_tests.rs"]
mod restart_tests;
#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "lease_wait_tests.rs"]
mod wait_tests;
