//! The async client.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use memod_protocol::{
    Call, CallIdentity, EntryDetail, Filter, Key, LogPage, LogQuery, PutOutcome, Savings, Selector,
};

use super::connection::Connection;
use super::hop::hop;
use super::wire::Taker;
use crate::address::Address;
use crate::board::Boards;
use crate::builder::{Builder, Settings, Start};
use crate::client::{plan, put_options};
use crate::collect::Collector;
use crate::connect::{Patience, sink_error};
use crate::content::HitOutput;
use crate::error::Error;
use crate::exchange::ask::{Ask, AskLog, AskSavings, AskStats, Invalidate, List, Page, Show};
use crate::exchange::hit::{HitSummary, Wanted, not_found, unread};
use crate::hang_ups::HangUps;
use crate::mode::Mode;
use crate::options::{Found, Lookup, LookupOptions, OutputSink, PutOptions};
use crate::outputs::{Prepared, PutOutput, prepare};
use crate::pool::Pool;
use crate::stats::Stats;

/// A client for async programs: cheap to clone, and shared by tasks.
///
/// Set up by [`Builder::build_async`]. Methods are those of [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pool: Pool<Connection>,
    pub(super) boards: Arc<Boards>,
}

/// What is done on a connection, perhaps a second time on a fresh one.
pub(super) trait Work: Send {
    type Outcome: Send;

    fn is_repeatable(&self) -> bool {
        true
    }

    fn run(
        &mut self,
        connection: &mut Connection,
        patience: Patience,
    ) -> impl Future<Output = Result<Self::Outcome, Error>> + Send;
}

pub(super) struct AskWork<'a, A>(pub(super) &'a mut A);

impl<A: Ask<Answer: Send> + Send> Work for AskWork<'_, A> {
    type Outcome = A::Answer;

    async fn run(
        &mut self,
        connection: &mut Connection,
        patience: Patience,
    ) -> Result<A::Answer, Error> {
        connection.ask(self.0, patience).await
    }
}

struct FetchWork<'a, 'b> {
    wanted: Wanted<'a>,
    options: &'a LookupOptions,
    taker: &'a mut Taker<'b>,
}

impl Work for FetchWork<'_, '_> {
    /// What was found, and by whom.
    type Outcome = (Found, Address);

    async fn run(
        &mut self,
        connection: &mut Connection,
        patience: Patience,
    ) -> Result<(Found, Address), Error> {
        let found = connection.fetch(self.wanted, self.options, self.taker, patience).await?;
        Ok((found, connection.address().clone()))
    }
}

pub(super) struct PutWork<'a> {
    call: &'a Call,
    identity: &'a CallIdentity,
    options: &'a PutOptions,
    outputs: Vec<Prepared>,
    repeatable: bool,
}

impl<'a> PutWork<'a> {
    pub(super) fn new(
        call: &'a Call,
        identity: &'a CallIdentity,
        options: &'a PutOptions,
        outputs: Vec<Prepared>,
    ) -> Result<Self, Error> {
        options.run.check()?;
        let repeatable = outputs.iter().all(Prepared::is_repeatable);
        Ok(Self { call, identity, options, outputs, repeatable })
    }
}

impl Work for PutWork<'_> {
    type Outcome = PutOutcome;

    fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    async fn run(
        &mut self,
        connection: &mut Connection,
        patience: Patience,
    ) -> Result<PutOutcome, Error> {
        let Self { call, identity, options, outputs, .. } = self;
        let put = plan(call, identity, options, outputs, connection.limits())?;
        connection.put(put, outputs, patience).await
    }
}

impl Client {
    /// Sets up a client; end with [`Builder::build_async`].
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// As [`crate::Client::from_env`].
    #[must_use]
    pub fn from_env() -> Self {
        Self::builder().start(Start::Own).build_async()
    }

    pub(crate) fn new(settings: Settings) -> Self {
        let (pool, boards) = (Pool::default(), Boards::new(&settings));
        Self { shared: Arc::new(Shared { settings, pool, boards }) }
    }

    /// Whether the client reads, writes, both or neither.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.settings().mode
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// As [`crate::Client::lookup`].
    ///
    /// # Errors
    /// As [`crate::Client::lookup`].
    pub async fn lookup(&self, call: &Call, options: &LookupOptions) -> Result<Lookup, Error> {
        let reads = self.mode().reads();
        if reads && let Some(hit) = self.look_on_board(call, None, options.max_age) {
            return hit.collect(self.settings().memory_bytes_max).map(Lookup::Hit);
        }
        let identity = call.identity()?;
        if !reads {
            return Ok(Lookup::Miss(unread(&identity)));
        }
        self.lookup_asked(call, &identity, options).await
    }

    /// As [`Client::lookup`], from the daemon, whatever the client's mode.
    pub(super) async fn lookup_asked(
        &self,
        call: &Call,
        identity: &CallIdentity,
        options: &LookupOptions,
    ) -> Result<Lookup, Error> {
        let mut taker = self.collector();
        match self.fetch_asked(Wanted::Call { call, identity }, options, &mut taker).await? {
            Found::Hit(summary) => Ok(Lookup::Hit(taker.collected(summary)?)),
            Found::Miss(miss) => Ok(Lookup::Miss(miss)),
        }
    }

    /// As [`crate::Client::lookup_into`]. The sink is called on an async thread and must not block.
    ///
    /// # Errors
    /// As [`crate::Client::lookup_into`].
    pub async fn lookup_into(
        &self,
        call: &Call,
        options: &LookupOptions,
        sink: &mut (dyn OutputSink + Send),
    ) -> Result<Found, Error> {
        let identity = call.identity()?;
        if !self.mode().reads() {
            return Ok(Found::Miss(unread(&identity)));
        }
        let wanted = Wanted::Call { call, identity: &identity };
        self.fetch(wanted, options, &mut Taker::Sink(sink)).await
    }

    /// As [`crate::Client::put`].
    ///
    /// # Errors
    /// As [`crate::Client::put`].
    pub async fn put(
        &self,
        call: &Call,
        outputs: Vec<PutOutput>,
        options: &PutOptions,
    ) -> Result<PutOutcome, Error> {
        let identity = call.identity()?;
        let options = put_options(self.mode(), options)?;
        let outputs = prepare_outputs(call, outputs).await?;
        self.put_prepared(call, &identity, outputs, &options).await
    }

    /// As [`Client::put`], whatever the client's mode.
    pub(super) async fn put_prepared(
        &self,
        call: &Call,
        identity: &CallIdentity,
        outputs: Vec<Prepared>,
        options: &PutOptions,
    ) -> Result<PutOutcome, Error> {
        self.with_connection(PutWork::new(call, identity, options, outputs)?).await
    }

    /// As [`crate::Client::show`].
    ///
    /// # Errors
    /// As [`crate::Client::show`].
    pub async fn show(&self, key: &Key) -> Result<EntryDetail, Error> {
        self.ask(&mut Show(*key)).await
    }

    /// As [`crate::Client::read`].
    ///
    /// # Errors
    /// As [`crate::Client::read`].
    pub async fn read(&self, key: &Key, output: &str) -> Result<HitOutput, Error> {
        let mut taker = self.collector();
        let summary = self.read_taken(key, output, &mut taker).await?;
        let hit = taker.collected(summary)?;
        let only = hit.outputs.into_iter().next();
        only.ok_or_else(|| Error::Protocol("it answered a read without an output".into()))
    }

    /// As [`crate::Client::read_into`]. The sink is called on an async thread and must not block.
    ///
    /// # Errors
    /// As [`crate::Client::read_into`].
    pub async fn read_into(
        &self,
        key: &Key,
        output: &str,
        sink: &mut (dyn OutputSink + Send),
    ) -> Result<HitSummary, Error> {
        self.read_taken(key, output, &mut Taker::Sink(sink)).await
    }

    async fn read_taken(
        &self,
        key: &Key,
        output: &str,
        taker: &mut Taker<'_>,
    ) -> Result<HitSummary, Error> {
        let wanted = Wanted::Output { key: *key, name: output };
        match self.fetch(wanted, &LookupOptions::default(), taker).await? {
            Found::Hit(summary) => Ok(summary),
            Found::Miss(miss) => Err(not_found(&miss, output)),
        }
    }

    /// As [`crate::Client::list`].
    ///
    /// # Errors
    /// As [`crate::Client::list`].
    pub async fn list(
        &self,
        filter: &Filter,
        limit: u32,
        cursor: Option<Vec<u8>>,
    ) -> Result<Page, Error> {
        self.ask(&mut List { filter: filter.clone(), limit, cursor }).await
    }

    /// As [`crate::Client::invalidate`].
    ///
    /// # Errors
    /// As [`crate::Client::invalidate`].
    pub async fn invalidate(
        &self,
        selector: &Selector,
        dry_run: bool,
        progress: impl FnMut(u64) + Send,
    ) -> Result<u64, Error> {
        self.ask(&mut Invalidate { selector: selector.clone(), dry_run, progress }).await
    }

    /// As [`crate::Client::stats`].
    ///
    /// # Errors
    /// As [`crate::Client::stats`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.settle().await;
        let said = self.ask(&mut AskStats).await?;
        Ok(Stats::of(said, self.budgets().await?.tells_all()))
    }

    /// As [`crate::Client::log`].
    ///
    /// # Errors
    /// As [`crate::Client::log`].
    pub async fn log(&self, query: &LogQuery) -> Result<LogPage, Error> {
        self.settle().await;
        self.ask(&mut AskLog(query)).await
    }

    /// As [`crate::Client::savings`].
    ///
    /// # Errors
    /// As [`crate::Client::savings`].
    pub async fn savings(&self) -> Result<Savings, Error> {
        self.settle().await;
        self.ask(&mut AskSavings).await
    }

    pub(super) fn collector(&self) -> Taker<'static> {
        Taker::Collector(Some(Collector::new(self.settings().memory_bytes_max)))
    }

    pub(super) async fn ask<A: Ask<Answer: Send> + Send>(
        &self,
        ask: &mut A,
    ) -> Result<A::Answer, Error> {
        self.with_connection(AskWork(ask)).await
    }

    async fn fetch(
        &self,
        wanted: Wanted<'_>,
        options: &LookupOptions,
        taker: &mut Taker<'_>,
    ) -> Result<Found, Error> {
        if let Wanted::Call { call, .. } = wanted
            && let Some(hit) = self.look_on_board(call, None, options.max_age)
        {
            let sink = taker.sink().map_err(sink_error)?;
            return hit.pour(sink).map(Found::Hit);
        }
        self.fetch_asked(wanted, options, taker).await
    }

    async fn fetch_asked(
        &self,
        wanted: Wanted<'_>,
        options: &LookupOptions,
        taker: &mut Taker<'_>,
    ) -> Result<Found, Error> {
        self.shared.boards.report_due();
        let work = FetchWork { wanted, options, taker };
        let (found, address) = self.with_connection(work).await?;
        if let (Found::Hit(_), Some(scope)) = (&found, wanted.scope()) {
            self.note_hit(scope, address).await;
        }
        Ok(found)
    }

    pub(super) async fn with_connection<W: Work>(&self, mut work: W) -> Result<W::Outcome, Error> {
        let process = self.admit()?;
        let (connection, outcome) = self.attempt(process, &mut work).await;
        self.finish(process, connection, outcome)
    }

    pub(super) fn admit(&self) -> Result<u32, Error> {
        let process = std::process::id();
        let admitted = self.shared.pool.admit(process, Instant::now());
        admitted.then_some(process).ok_or(Error::BreakerOpen)
    }

    /// The connection on which it was done, or tried, is the caller's until [`Client::finish`].
    pub(super) async fn attempt<W: Work>(
        &self,
        process: u32,
        work: &mut W,
    ) -> (Option<Connection>, Result<W::Outcome, Error>) {
        let patience = Patience::within(self.settings().bounds.deadline);
        while let Some(mut connection) = self.shared.pool.take(process) {
            if !connection.is_usable() {
                continue;
            }
            match work.run(&mut connection, patience).await {
                Err(error) if work.is_repeatable() && connection.was_stale(&error) => break,
                outcome => return (Some(connection), outcome),
            }
        }
        let mut hang_ups = HangUps::default();
        loop {
            let (connection, outcome) = match self.connect(patience.or_anew()).await {
                Ok((mut connection, patience)) => {
                    let outcome = work.run(&mut connection, patience).await;
                    (Some(connection), outcome)
                }
                Err(error) => (None, Err(error)),
            };
            let unseen = connection.as_ref().is_none_or(Connection::has_heard_nothing);
            if !hang_ups.goes_on(&outcome, work.is_repeatable() && unseen) {
                return (connection, outcome);
            }
        }
    }

    pub(super) fn finish<R>(
        &self,
        process: u32,
        connection: Option<Connection>,
        outcome: Result<R, Error>,
    ) -> Result<R, Error> {
        let settled = connection.filter(Connection::is_settled);
        let error = outcome.as_ref().err();
        self.shared.pool.finished(process, settled, error, Instant::now());
        outcome
    }

    pub(super) async fn connect(
        &self,
        patience: Patience,
    ) -> Result<(Connection, Patience), Error> {
        let settings = self.settings();
        let mut none: Option<Error> = None;
        for address in settings.addresses() {
            match self.open(&address, patience).await {
                Ok(connection) => return Ok((connection, patience)),
                Err(error) if settings.goes_on(&error) => {
                    none.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let error = none.expect("there is at least one address");
        if !settings.may_start(&error) {
            return Err(error);
        }
        let shared = Arc::clone(&self.shared);
        let address = hop(move || shared.settings.start()).await??;
        let patience = Patience::within(settings.bounds.deadline);
        Ok((self.open(&address, patience).await?, patience))
    }

    pub(super) async fn open(&self, at: &Address, patience: Patience) -> Result<Connection, Error> {
        Connection::open(at, &self.settings().program, self.settings().bounds, patience).await
    }
}

/// Brings outputs into the form in which they are sent, elsewhere if that may block.
pub(super) async fn prepare_outputs(
    call: &Call,
    outputs: Vec<PutOutput>,
) -> Result<Vec<Prepared>, Error> {
    if !outputs.iter().any(|output| output.source.may_block()) {
        return prepare(&call.interface, outputs);
    }
    let interface = call.interface.clone();
    hop(move || prepare(&interface, outputs)).await?
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
