//! Leases with the async client; as [`crate::Lease`].
//!
//! **Invariants.** As the blocking one. A claim or lease that is dropped ends its connection at
//! once, without waiting for the runtime.

use std::time::Instant;

use memod_protocol::{
    Call, CallIdentity, Holder, Key, Leased, Miss, NamedOwner, PutOutcome, Reservation, name,
};

use super::client::{Client, PutWork, Work, prepare_outputs};
use super::connection::Connection;
use super::wire::Taker;
use super::{ClaimFound, Claimed};
use crate::claiming::{Claiming, Next};
use crate::client::put_options;
use crate::connect::{Patience, sink_error};
use crate::connection::ClaimOutcome;
use crate::error::Error;
use crate::exchange::ask::{AskRelease, AskReserve};
use crate::exchange::claim::{ClaimExchange, Terms, of_another};
use crate::exchange::hit::unread;
use crate::memo::Right;
use crate::options::{self, ClaimOptions, OutputSink, PutOptions};
use crate::outputs::{Prepared, PutOutput};

/// A claim that was tried, with the connection on which it was.
type Tried = (Option<Connection>, Result<ClaimOutcome, Error>);

struct ClaimWork<'a, 'b> {
    claim: Claiming<'a>,
    taker: &'a mut Taker<'b>,
}

impl Work for ClaimWork<'_, '_> {
    type Outcome = ClaimOutcome;

    async fn run(
        &mut self,
        connection: &mut Connection,
        patience: Patience,
    ) -> Result<ClaimOutcome, Error> {
        connection.claim(&mut self.claim, self.taker, patience).await
    }
}

impl Client {
    /// As [`crate::Client::claim`]. A future that is dropped waits no longer.
    ///
    /// # Errors
    /// As [`crate::Client::claim`].
    pub async fn claim(&self, call: &Call, options: &ClaimOptions) -> Result<Claimed, Error> {
        let identity = call.identity()?;
        if !self.mode().reads() {
            return Ok(Claimed::Miss(unread(&identity)));
        }
        let options = options.in_mode(self.mode());
        self.claim_identified(call, &identity, &options).await.map(|(claimed, _)| claimed)
    }

    /// As [`crate::Client::claim_into`]. The sink is called on an async thread and must not block.
    ///
    /// # Errors
    /// As [`crate::Client::claim_into`].
    pub async fn claim_into(
        &self,
        call: &Call,
        options: &ClaimOptions,
        sink: &mut (dyn OutputSink + Send),
    ) -> Result<ClaimFound, Error> {
        let identity = call.identity()?;
        if !self.mode().reads() {
            return Ok(ClaimFound::Miss(unread(&identity)));
        }
        let options = options.in_mode(self.mode());
        let mut taker = Taker::Sink(sink);
        self.claim_taken(call, &identity, &options, &mut taker).await.map(|(found, _)| found)
    }

    /// As [`Client::claim`], whatever the client's mode; also tells whether it waited.
    pub(super) async fn claim_identified(
        &self,
        call: &Call,
        identity: &CallIdentity,
        options: &ClaimOptions,
    ) -> Result<(Claimed, bool), Error> {
        let mut taker = self.collector();
        let (found, waited) = self.claim_taken(call, identity, options, &mut taker).await?;
        Ok((found.collected(|summary| taker.collected(summary))?, waited))
    }

    async fn claim_taken(
        &self,
        call: &Call,
        identity: &CallIdentity,
        options: &ClaimOptions,
        taker: &mut Taker<'_>,
    ) -> Result<(ClaimFound, bool), Error> {
        let exchange = ClaimExchange::new(call, identity, options)?;
        if let Some(hit) = self.look_on_board(call, None, options.max_age) {
            let sink = taker.sink().map_err(sink_error)?;
            return Ok((ClaimFound::Hit(hit.pour(sink)?), false));
        }
        let claim = Claiming::new(exchange, self.settings().bounds.deadline);
        let mut work = ClaimWork { claim, taker };
        let process = self.admit()?;
        let tried = self.attempt(process, &mut work).await;
        let (mut connection, outcome) = self.outlast(&mut work, tried).await;
        let is_hit = |got: &ClaimOutcome| matches!(got.found, options::ClaimFound::Hit(_));
        let address = connection.as_ref().map(|connection| connection.address().clone());
        if let Some(address) = address.filter(|_| outcome.as_ref().is_ok_and(is_hit)) {
            self.note_hit(&identity.scope, address).await;
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

    /// Goes on with a claim whose wait was cut off; as the blocking one.
    async fn outlast(&self, work: &mut ClaimWork<'_, '_>, tried: Tried) -> Tried {
        let (mut connection, mut outcome) = tried;
        let within = || Patience::within(self.settings().bounds.deadline);
        loop {
            let next = match outcome {
                Err(error) => work.claim.failed(error, Instant::now()),
                done => return (connection, done),
            };
            // What failed is closed before another is opened.
            drop(connection);
            let opened = match next {
                Err(error) => return (None, Err(error)),
                Ok(Next::There { after, at }) => {
                    tokio::time::sleep(after).await;
                    let patience = within();
                    self.open(&at, patience).await.map(|opened| (opened, patience))
                }
                Ok(Next::Anywhere) => self.connect(within()).await,
            };
            (connection, outcome) = match opened {
                Ok((mut opened, patience)) => {
                    let outcome = work.run(&mut opened, patience).await;
                    (Some(opened), outcome)
                }
                Err(error) => (None, Err(error)),
            };
        }
    }

    /// As [`crate::Client::reserve`].
    ///
    /// # Errors
    /// As [`crate::Client::reserve`].
    pub async fn reserve(&self, call: &Call, owner: &NamedOwner) -> Result<Reservation, Error> {
        let identity = call.identity()?;
        owner.check()?;
        self.ask(&mut AskReserve { call: &identity, owner }).await
    }

    /// As [`crate::Client::release`].
    ///
    /// # Errors
    /// As [`crate::Client::release`].
    pub async fn release(&self, call: &Call, owner: &str) -> Result<bool, Error> {
        let identity = call.identity()?;
        name::owner(owner)?;
        self.ask(&mut AskRelease { call: &identity, owner: Some(owner) }).await
    }
}

/// As [`crate::Lease`].
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

    /// As [`crate::Lease::put`].
    ///
    /// # Errors
    /// As [`crate::Lease::put`].
    pub async fn put(
        self,
        call: &Call,
        outputs: Vec<PutOutput>,
        options: &PutOptions,
    ) -> Result<PutOutcome, Error> {
        let identity = call.identity()?;
        let options = put_options(self.client.mode(), options)?;
        let outputs = prepare_outputs(call, outputs).await?;
        self.put_prepared(call, &identity, outputs, &options, &mut false).await
    }

    /// As [`Lease::put`], whatever the client's mode; also tells whether the lease was lost.
    pub(super) async fn put_prepared(
        mut self,
        call: &Call,
        identity: &CallIdentity,
        outputs: Vec<Prepared>,
        options: &PutOptions,
        is_lost: &mut bool,
    ) -> Result<PutOutcome, Error> {
        of_another(self.key(), identity)?;
        let options = self.terms.put_options(options, Instant::now());
        let mut work = PutWork::new(call, identity, &options, outputs)?;
        let client = self.client.clone();
        let process = std::process::id();
        let patience = Patience::within(client.settings().bounds.deadline);
        if let Some(connection) = self.usable(process, patience).await {
            let outcome = work.run(connection, patience).await;
            let stale = |error: &Error| work.is_repeatable() && connection.was_stale(error);
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
        client.with_connection(work).await
    }

    /// As [`crate::Lease::release`].
    pub async fn release(mut self) {
        let client = self.client.clone();
        let identity = self.identity.clone();
        if let Some(owner) = self.owner.take() {
            let _ = client.ask(&mut AskRelease { call: &identity, owner: Some(&owner) }).await;
            return;
        }
        let process = std::process::id();
        let patience = Patience::within(client.settings().bounds.deadline);
        if let Some(connection) = self.usable(process, patience).await {
            let mut release = AskRelease { call: &identity, owner: None };
            let outcome = connection.ask(&mut release, patience).await;
            let connection = self.connection.take_if(|_| outcome.is_ok());
            let _ = client.finish(process, connection, outcome);
        }
    }

    /// The connection that holds it, if it is there, this process's and this runtime's.
    async fn usable(&mut self, process: u32, patience: Patience) -> Option<&mut Connection> {
        let ours = self.process == process;
        self.connection.as_mut().filter(|_| ours)?.if_alive(patience).await
    }
}

impl Right for Lease {
    fn miss(&self) -> &Miss {
        &self.terms.miss
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
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
