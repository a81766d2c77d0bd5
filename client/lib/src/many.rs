//! Many lookups, or puts, at a time.

use memod_protocol::{Call, PutOutcome};

use crate::client::Client;
use crate::error::Error;
use crate::exchange::look_many::{Lookups, collect};
use crate::exchange::put_many::Puts;
use crate::options::{Lookup, LookupOptions, NewRun};

impl Client {
    /// Looks many calls up, hundreds in one round trip; gives what each came to, in their order.
    /// One that is wrong, or that the user may not read, has no part in what the others come to.
    /// When the daemon ends in the middle, those that it has answered are there, and the rest are
    /// errors.
    #[must_use]
    pub fn lookup_many(
        &self,
        calls: &[Call],
        options: &LookupOptions,
    ) -> Vec<Result<Lookup, Error>> {
        let mut lookups = Lookups::new(calls, options, self.mode().reads());
        lookups.settle(|call| self.boards().look(call, None, options.max_age));
        let outcome = if lookups.is_done() { Ok(()) } else { self.fetch_many(&mut lookups) };
        if let Err(error) = outcome {
            lookups.fail(&error);
        }
        for (index, call, identity) in lookups.take_apart() {
            lookups.alone(index, self.lookup_asked(call, &identity, options));
        }
        collect(lookups.into_outcomes(), self.settings().memory_bytes_max)
    }

    fn fetch_many(&self, lookups: &mut Lookups<'_>) -> Result<(), Error> {
        self.boards().report_due();
        self.with_connection(true, |connection, patience| {
            let outcome = connection.fetch_many(lookups, patience);
            for scope in lookups.take_noted() {
                self.note_hit(&scope, connection);
            }
            outcome
        })
    }

    /// Remembers many runs, with many requests under way at a time; gives what became of each, in
    /// their order. One that is wrong has no part in what becomes of the others. Runs of one call
    /// are stored one behind the other.
    #[must_use]
    pub fn put_many(&self, runs: Vec<NewRun<'_>>) -> Vec<Result<PutOutcome, Error>> {
        let mut puts = Puts::new(runs, self.mode());
        if !puts.is_done() {
            let outcome = self.with_connection(true, |connection, patience| {
                connection.put_many(&mut puts, patience)
            });
            if let Err(error) = outcome {
                puts.fail(&error);
            }
        }
        while let Some(alone) = puts.take_apart() {
            let (call, options) = (alone.call, alone.options);
            let outcome = self.put_prepared(call, &alone.identity, alone.outputs, &options);
            puts.end(alone.index, outcome);
        }
        puts.into_outcomes()
    }
}
