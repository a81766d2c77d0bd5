//! The blocking client.
//!
//! **Invariants.** Every request has a bound on its time. A connection on which anything went
//! wrong is closed, never used again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use memod_protocol::handshake::PeerLimits;
use memod_protocol::{
    Call, CallIdentity, EntryDetail, Explanation, Filter, InterfaceText, InvalidArgument, Key,
    LogPage, LogQuery, PutOutcome, Savings, Scope, Selector, Status,
};

use crate::address::Address;
use crate::board::{Boards, OnBoard};
use crate::builder::{Builder, Settings, Start};
use crate::collect::Collector;
use crate::connect::{Patience, sink_error};
use crate::connection::Connection;
use crate::content::HitOutput;
use crate::error::Error;
use crate::exchange::ask::{
    Ask, AskLog, AskSavings, AskStats, AskStatus, AskWhy, Invalidate, List, Page, Ping, Show,
};
use crate::exchange::hit::{HitSummary, Wanted, not_found, unread};
use crate::exchange::put::PutExchange;
use crate::hang_ups::HangUps;
use crate::mode::Mode;
use crate::options::{Found, Lookup, LookupOptions, OutputSink, PutOptions};
use crate::outputs::{Prepared, PutOutput, prepare};
use crate::pool::Pool;
use crate::stats::Stats;

/// A client: cheap to clone, and shared by threads.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    pool: Pool<Connection>,
    boards: Arc<Boards>,
    started: OnceLock<PathBuf>,
}

impl Client {
    /// Sets up a client.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The client that a program uses unless it is told otherwise: finds the daemon as
    /// [`crate::address`] says, and starts the user's own if none answers.
    #[must_use]
    pub fn from_env() -> Self {
        Self::builder().start(Start::Own).build()
    }

    pub(crate) fn new(settings: Settings) -> Self {
        let (pool, boards, started) = (Pool::default(), Boards::new(&settings), OnceLock::new());
        Self { shared: Arc::new(Shared { settings, pool, boards, started }) }
    }

    /// The sockets at which the client looks for a daemon, in order.
    #[must_use]
    pub fn sockets(&self) -> Vec<PathBuf> {
        self.settings().addresses().into_iter().map(|address| address.path).collect()
    }

    /// The socket of the user's own daemon, if this client has had to turn to it because none
    /// answered where it was to look.
    #[must_use]
    pub fn started(&self) -> Option<&Path> {
        self.shared.started.get().map(PathBuf::as_path)
    }

    /// Whether the client reads, writes, both or neither.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.settings().mode
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Has this call been run before? A client that does not read is told "disabled".
    ///
    /// # Errors
    /// If the call is wrong, or the daemon could not be asked.
    pub fn lookup(&self, call: &Call, options: &LookupOptions) -> Result<Lookup, Error> {
        let reads = self.mode().reads();
        if reads && let Some(hit) = self.boards().look(call, None, options.max_age) {
            return hit.collect(self.settings().memory_bytes_max).map(Lookup::Hit);
        }
        let identity = call.identity()?;
        if !reads {
            return Ok(Lookup::Miss(unread(&identity)));
        }
        self.lookup_asked(call, &identity, options)
    }

    /// As [`Client::lookup`], whatever the client's mode, of a call whose key is known.
    pub(crate) fn lookup_known(
        &self,
        call: &Call,
        (identity, key): (&CallIdentity, Option<Key>),
        options: &LookupOptions,
    ) -> Result<Lookup, Error> {
        match self.boards().look(call, key, options.max_age) {
            Some(hit) => hit.collect(self.settings().memory_bytes_max).map(Lookup::Hit),
            None => self.lookup_asked(call, identity, options),
        }
    }

    /// As [`Client::lookup`], from the daemon, whatever the client's mode.
    pub(crate) fn lookup_asked(
        &self,
        call: &Call,
        identity: &CallIdentity,
        options: &LookupOptions,
    ) -> Result<Lookup, Error> {
        let mut collector = Collector::new(self.settings().memory_bytes_max);
        match self.fetch_asked(Wanted::Call { call, identity }, options, &mut collector)? {
            Found::Hit(summary) => Ok(Lookup::Hit(collector.finish(summary).map_err(sink_error)?)),
            Found::Miss(miss) => Ok(Lookup::Miss(miss)),
        }
    }

    /// As [`Client::lookup`], with the outputs going into the sink as they come.
    ///
    /// # Errors
    /// As [`Client::lookup`], or with what the sink fails. What the sink has taken is void then.
    pub fn lookup_into(
        &self,
        call: &Call,
        options: &LookupOptions,
        sink: &mut dyn OutputSink,
    ) -> Result<Found, Error> {
        let identity = call.identity()?;
        if !self.mode().reads() {
            return Ok(Found::Miss(unread(&identity)));
        }
        self.fetch(Wanted::Call { call, identity: &identity }, options, sink)
    }

    /// Remembers a run: its outputs are exactly those that the call declares.
    ///
    /// # Errors
    /// If the call or the outputs are wrong, the client does not write, an output cannot be read,
    /// or the daemon does not store it.
    pub fn put(
        &self,
        call: &Call,
        outputs: Vec<PutOutput>,
        options: &PutOptions,
    ) -> Result<PutOutcome, Error> {
        let identity = call.identity()?;
        let options = put_options(self.mode(), options)?;
        self.put_prepared(call, &identity, prepare(&call.interface, outputs)?, &options)
    }

    /// As [`Client::put`], whatever the client's mode.
    pub(crate) fn put_prepared(
        &self,
        call: &Call,
        identity: &CallIdentity,
        mut outputs: Vec<Prepared>,
        options: &PutOptions,
    ) -> Result<PutOutcome, Error> {
        options.run.check()?;
        let repeatable = outputs.iter().all(Prepared::is_repeatable);
        self.with_connection(repeatable, |connection, patience| {
            let put = plan(call, identity, options, &outputs, connection.limits())?;
            connection.put(put, &mut outputs, patience)
        })
    }

    /// Everything about an entry but its outputs' bytes.
    ///
    /// # Errors
    /// If there is none that the user may read, or the daemon could not be asked.
    pub fn show(&self, key: &Key) -> Result<EntryDetail, Error> {
        self.ask(&mut Show(*key))
    }

    /// One output of an entry.
    ///
    /// # Errors
    /// If there is none that the user may read, or the daemon could not be asked.
    pub fn read(&self, key: &Key, output: &str) -> Result<HitOutput, Error> {
        let mut collector = Collector::new(self.settings().memory_bytes_max);
        let summary = self.read_into(key, output, &mut collector)?;
        let hit = collector.finish(summary).map_err(sink_error)?;
        let only = hit.outputs.into_iter().next();
        only.ok_or_else(|| Error::Protocol("it answered a read without an output".into()))
    }

    /// As [`Client::read`], with the bytes going into the sink as they come.
    ///
    /// # Errors
    /// As [`Client::read`], or with what the sink fails.
    pub fn read_into(
        &self,
        key: &Key,
        output: &str,
        sink: &mut dyn OutputSink,
    ) -> Result<HitSummary, Error> {
        let wanted = Wanted::Output { key: *key, name: output };
        match self.fetch(wanted, &LookupOptions::default(), sink)? {
            Found::Hit(summary) => Ok(summary),
            Found::Miss(miss) => Err(not_found(&miss, output)),
        }
    }

    /// What is stored, at most `limit` entries at a time; `cursor` is that of the page before.
    ///
    /// # Errors
    /// If the daemon could not be asked.
    pub fn list(
        &self,
        filter: &Filter,
        limit: u32,
        cursor: Option<Vec<u8>>,
    ) -> Result<Page, Error> {
        self.ask(&mut List { filter: filter.clone(), limit, cursor })
    }

    /// Forgets entries, or with `dry_run` only counts them; gives how many. `progress` is told how
    /// many so far whenever the daemon says.
    ///
    /// # Errors
    /// If the user may not, or the daemon could not be asked.
    pub fn invalidate(
        &self,
        selector: &Selector,
        dry_run: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, Error> {
        self.ask(&mut Invalidate { selector: selector.clone(), dry_run, progress })
    }

    /// The daemon's counters, as far as the user may see them.
    ///
    /// # Errors
    /// If the daemon could not be asked.
    pub fn stats(&self) -> Result<Stats, Error> {
        Boards::settle(self.settings());
        let said = self.ask(&mut AskStats)?;
        Ok(Stats::of(said, self.budgets()?.tells_all()))
    }

    /// Who the daemon is and how it is set up. Asks even a daemon that is left alone for a while.
    ///
    /// # Errors
    /// If the daemon could not be asked.
    pub fn status(&self) -> Result<Status, Error> {
        self.ask_anyway(&mut AskStatus)
    }

    /// Is the daemon there? Asks even one that is left alone for a while.
    ///
    /// # Errors
    /// If it is not.
    pub fn ping(&self) -> Result<(), Error> {
        self.ask_anyway(&mut Ping)
    }

    /// Why a lookup misses, and what the nearest entries differ in, at most `nearest_max` of them.
    /// The lookup is not counted.
    ///
    /// # Errors
    /// If the call is wrong, or the daemon could not be asked.
    pub fn why(
        &self,
        call: &Call,
        options: &LookupOptions,
        nearest_max: u32,
    ) -> Result<Explanation, Error> {
        let identity = call.identity()?;
        self.ask(&mut AskWhy { call, identity: &identity, options, nearest_max })
    }

    /// Recent requests. A query that waits for one makes the answer that much later.
    ///
    /// # Errors
    /// If the daemon could not be asked.
    pub fn log(&self, query: &LogQuery) -> Result<LogPage, Error> {
        Boards::settle(self.settings());
        self.ask(&mut AskLog(query))
    }

    /// The daemon's counters by scope and by user.
    ///
    /// # Errors
    /// If the daemon could not be asked.
    pub fn savings(&self) -> Result<Savings, Error> {
        Boards::settle(self.settings());
        self.ask(&mut AskSavings)
    }

    pub(crate) fn ask<A: Ask>(&self, ask: &mut A) -> Result<A::Answer, Error> {
        self.with_connection(true, |connection, patience| connection.ask(ask, patience))
    }

    /// Asks whatever the breaker says.
    fn ask_anyway<A: Ask>(&self, ask: &mut A) -> Result<A::Answer, Error> {
        let work = |connection: &mut Connection, patience| connection.ask(ask, patience);
        let process = std::process::id();
        let (connection, outcome) = self.attempt(process, true, work);
        self.finish(process, connection, outcome)
    }

    fn fetch(
        &self,
        wanted: Wanted<'_>,
        options: &LookupOptions,
        sink: &mut dyn OutputSink,
    ) -> Result<Found, Error> {
        match self.look_on_board(wanted, options.max_age) {
            Some(hit) => hit.pour(sink).map(Found::Hit),
            None => self.fetch_asked(wanted, options, sink),
        }
    }

    fn fetch_asked(
        &self,
        wanted: Wanted<'_>,
        options: &LookupOptions,
        sink: &mut dyn OutputSink,
    ) -> Result<Found, Error> {
        self.shared.boards.report_due();
        self.with_connection(true, |connection, patience| {
            let found = connection.fetch(wanted, options, sink, patience)?;
            if let (Found::Hit(_), Some(scope)) = (&found, wanted.scope()) {
                self.note_hit(scope, connection);
            }
            Ok(found)
        })
    }

    /// A hit by a board of what is wanted.
    pub(crate) fn look_on_board(
        &self,
        wanted: Wanted<'_>,
        max_age: Option<Duration>,
    ) -> Option<OnBoard> {
        match wanted {
            Wanted::Call { call, .. } => self.boards().look(call, None, max_age),
            Wanted::Output { .. } => None,
        }
    }

    pub(crate) fn boards(&self) -> &Boards {
        &self.shared.boards
    }

    /// Notes a hit on a connection: after a few, the board of their scope is asked for.
    pub(crate) fn note_hit(&self, scope: &Scope, connection: &Connection) {
        if self.shared.boards.noted(scope) {
            self.shared.boards.open(scope, connection.address(), self.settings());
        }
    }

    /// How many hits this client has read from the daemon's shared memory, without asking it.
    #[must_use]
    pub fn board_hits(&self) -> u64 {
        self.shared.boards.hits()
    }

    /// Does something on a connection: a pooled one if there is one, and a fresh one if that turns
    /// out to be from before a restart of the daemon.
    pub(crate) fn with_connection<R>(
        &self,
        repeatable: bool,
        work: impl FnMut(&mut Connection, Patience) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let process = self.admit()?;
        let (connection, outcome) = self.attempt(process, repeatable, work);
        self.finish(process, connection, outcome)
    }

    /// Whether the daemon may be asked; gives this process's number, which is a system call and
    /// so asked for once.
    pub(crate) fn admit(&self) -> Result<u32, Error> {
        let process = std::process::id();
        let admitted = self.shared.pool.admit(process, Instant::now());
        admitted.then_some(process).ok_or(Error::BreakerOpen)
    }

    /// The connection on which it was done, or tried, is the caller's until [`Client::finish`].
    pub(crate) fn attempt<R>(
        &self,
        process: u32,
        repeatable: bool,
        mut work: impl FnMut(&mut Connection, Patience) -> Result<R, Error>,
    ) -> (Option<Connection>, Result<R, Error>) {
        let patience = Patience::within(self.settings().bounds.deadline);
        while let Some(mut connection) = self.shared.pool.take(process) {
            if !connection.is_usable() {
                continue;
            }
            match work(&mut connection, patience) {
                Err(error) if repeatable && connection.was_stale(&error) => break,
                outcome => return (Some(connection), outcome),
            }
        }
        let mut hang_ups = HangUps::default();
        loop {
            let (connection, outcome) = match self.connect(patience.or_anew()) {
                Ok((mut connection, patience)) => {
                    let outcome = work(&mut connection, patience);
                    (Some(connection), outcome)
                }
                Err(error) => (None, Err(error)),
            };
            let unseen = connection.as_ref().is_none_or(Connection::has_heard_nothing);
            if !hang_ups.goes_on(&outcome, repeatable && unseen) {
                return (connection, outcome);
            }
        }
    }

    /// Tells the breaker how it went, and keeps the connection if it may be used again.
    pub(crate) fn finish<R>(
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

    /// Connects to the first daemon that answers, or starts one if that is wanted. Starting takes
    /// longer than asking, so the time begins anew then.
    pub(crate) fn connect(&self, patience: Patience) -> Result<(Connection, Patience), Error> {
        let mut none: Option<Error> = None;
        for address in self.settings().addresses() {
            match self.open(&address, patience) {
                Ok(connection) => return Ok((connection, patience)),
                Err(error) if self.settings().goes_on(&error) => {
                    none.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let error = none.expect("there is at least one address");
        if !self.settings().may_start(&error) {
            return Err(error);
        }
        let address = self.settings().start()?;
        self.shared.started.get_or_init(|| address.path.clone());
        let patience = Patience::within(self.settings().bounds.deadline);
        Ok((self.open(&address, patience)?, patience))
    }

    pub(crate) fn open(&self, at: &Address, patience: Patience) -> Result<Connection, Error> {
        Connection::open(at, &self.settings().program, self.settings().bounds, patience)
    }
}

/// A put of these outputs over a connection with these bounds.
pub(crate) fn plan(
    call: &Call,
    identity: &CallIdentity,
    options: &PutOptions,
    outputs: &[Prepared],
    limits: PeerLimits,
) -> Result<PutExchange, Error> {
    let offers: Vec<_> = outputs.iter().map(Prepared::offer).collect();
    PutExchange::new(identity, InterfaceText::from(&call.interface), options, &offers, limits)
}

/// A put's options in a mode.
///
/// # Errors
/// If the mode does not write.
pub(crate) fn put_options(mode: Mode, options: &PutOptions) -> Result<PutOptions, Error> {
    if !mode.writes() {
        return Err(Error::Invalid(InvalidArgument::new("mode", "does not allow to store")));
    }
    let overwrite = options.overwrite || mode == Mode::Overwrite;
    Ok(PutOptions { overwrite, ..options.clone() })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "client_wait_tests.rs"]
mod wait_tests;
