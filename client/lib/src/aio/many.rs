//! Many lookups, or puts, at a time; as the blocking ones.

use memod_protocol::{Call, PutOutcome};

use super::client::{Client, Work};
use super::connection::Connection;
use super::hop::hop;
use crate::address::Address;
use crate::connect::Patience;
use crate::error::Error;
use crate::exchange::look_many::{Kept, Lookups, Outcomes, collect};
use crate::exchange::put_many::Puts;
use crate::options::{Lookup, LookupOptions, NewRun};

struct FetchMany<'a, 'b>(&'a mut Lookups<'b>);

impl Work for FetchMany<'_, '_> {
    type Outcome = Address;

    async fn run(
        &mut self,
        connection: &mut Connection,
        patience: Patience,
    ) -> Result<Address, Error> {
        connection.fetch_many(self.0, patience).await?;
        Ok(connection.address().clone())
    }
}

struct PutMany<'a, 'b>(&'a mut Puts<'b>);

impl Work for PutMany<'_, '_> {
    type Outcome = ();

    async fn run(&mut self, connection: &mut Connection, patience: Patience) -> Result<(), Error> {
        connection.put_many(self.0, patience).await
    }
}

impl Client {
    /// As [`crate::Client::lookup_many`].
    pub async fn lookup_many(
        &self,
        calls: &[Call],
        options: &LookupOptions,
    ) -> Vec<Result<Lookup, Error>> {
        let mut lookups = Lookups::new(calls, options, self.mode().reads());
        lookups.settle(|call| self.look_on_board(call, None, options.max_age));
        if !lookups.is_done() {
            self.shared.boards.report_due();
            match self.with_connection(FetchMany(&mut lookups)).await {
                Ok(address) => {
                    for scope in lookups.take_noted() {
                        self.note_hit(&scope, address.clone()).await;
                    }
                }
                Err(error) => lookups.fail(&error),
            }
        }
        for (index, call, identity) in lookups.take_apart() {
            lookups.alone(index, self.lookup_asked(call, &identity, options).await);
        }
        self.collect_many(lookups.into_outcomes()).await
    }

    /// Collects the outputs of all: elsewhere, if any of them goes into a file.
    async fn collect_many(&self, outcomes: Outcomes) -> Vec<Result<Lookup, Error>> {
        let most = self.settings().memory_bytes_max;
        if outcomes.iter().flatten().map(Kept::bytes).all(|bytes| bytes <= most) {
            return collect(outcomes, most);
        }
        let count = outcomes.len();
        match hop(move || collect(outcomes, most)).await {
            Ok(collected) => collected,
            Err(error) => (0..count).map(|_| Err(error.again())).collect(),
        }
    }

    /// As [`crate::Client::put_many`].
    pub async fn put_many(&self, runs: Vec<NewRun<'_>>) -> Vec<Result<PutOutcome, Error>> {
        let mut puts = Puts::new(runs, self.mode());
        if !puts.is_done()
            && let Err(error) = self.with_connection(PutMany(&mut puts)).await
        {
            puts.fail(&error);
        }
        while let Some(alone) = puts.take_apart() {
            let (call, options) = (alone.call, alone.options);
            let outcome = self.put_prepared(call, &alone.identity, alone.outputs, &options).await;
            puts.end(alone.index, outcome);
        }
        puts.into_outcomes()
    }
}
