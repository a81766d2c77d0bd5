//! Memoizing a call with the async client: the task runs whatever happens to the daemon.

use std::future::Future;
use std::time::{Duration, Instant};

use memod_protocol::{Call, CallIdentity, Key};

use super::Recall;
use super::client::{Client, prepare_outputs};
use super::hop::hop;
use crate::content::HitOutput;
use crate::error::Error;
use crate::memo::{Asking, MemoizeError, Memoized};
use crate::memoize::read_all;
use crate::options::{Lookup, LookupOptions, MemoizeOptions};
use crate::outputs::{self, Prepared, PutOutput};

impl Client {
    /// As [`crate::Client::memoize`]; `compute` is called, and its future polled, only on a miss.
    ///
    /// # Errors
    /// As [`crate::Client::memoize`].
    pub async fn memoize<E, F>(
        &self,
        call: &Call,
        options: &MemoizeOptions,
        compute: impl FnOnce() -> F,
    ) -> Result<Memoized, MemoizeError<E>>
    where
        F: Future<Output = Result<Vec<PutOutput>, E>>,
    {
        let recall = match self.recall(call, options).await.into_hit() {
            Ok(hit) => return Ok(hit),
            Err(recall) => *recall,
        };
        let begun = Instant::now();
        let computed = compute().await.map_err(MemoizeError::Compute)?;
        let took = begun.elapsed();
        let memory_bytes_max = self.settings().memory_bytes_max;
        let read = hop(move || read_all(computed, memory_bytes_max)).await;
        let outputs = read.and_then(|read| read).map_err(MemoizeError::Outputs)?;
        let interface = call.interface.clone();
        let prepared = hop(move || {
            let prepared = outputs::prepare_read(&interface, &outputs);
            (outputs, prepared)
        });
        let (outputs, prepared) = prepared.await.map_err(MemoizeError::Outputs)?;
        let report = self.store_with(call, recall, took, async { prepared }).await;
        Ok(report.map(|()| outputs))
    }

    /// As [`crate::Client::memoize_value`].
    ///
    /// # Errors
    /// What `compute` returned.
    pub async fn memoize_value<T, E, F>(
        &self,
        call: &Call,
        options: &MemoizeOptions,
        compute: impl FnOnce() -> F,
        encode: impl FnOnce(&T) -> Result<Vec<PutOutput>, Error>,
        decode: impl FnOnce(&[HitOutput]) -> Result<T, Error>,
    ) -> Result<Memoized<T>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut recall = self.recall(call, options).await;
        match recall.outputs().map(decode) {
            Some(Ok(value)) => return Ok(recall.into_hit_with(value)),
            Some(Err(error)) => recall.reject(error.to_string()),
            None => {}
        }
        let begun = Instant::now();
        let value = compute().await?;
        let took = begun.elapsed();
        let encoded = encode(&value);
        let prepare = async { prepare_outputs(call, encoded?).await };
        let report = self.store_with(call, recall, took, prepare).await;
        Ok(report.map(|()| value))
    }

    /// As [`crate::Client::recall`].
    pub async fn recall(&self, call: &Call, options: &MemoizeOptions) -> Recall {
        let mode = options.mode.unwrap_or(self.mode());
        let (mut recall, asking) = Recall::begin(call, options, mode);
        let begun = Instant::now();
        match (asking, recall.identity()) {
            (Some(Asking::Lookup(options)), Some(identity)) => {
                let outcome = self.lookup_known(call, (identity, recall.key()), &options).await;
                recall.looked_up(outcome, begun.elapsed());
            }
            (Some(Asking::Claim(options)), Some(identity)) => {
                let outcome = self.claim_identified(call, identity, &options).await;
                recall.claimed(outcome, begun.elapsed());
            }
            _ => {}
        }
        recall
    }

    /// As [`Client::lookup`], whatever the client's mode, of a call whose key is known.
    async fn lookup_known(
        &self,
        call: &Call,
        (identity, key): (&CallIdentity, Option<Key>),
        options: &LookupOptions,
    ) -> Result<Lookup, Error> {
        match self.look_on_board(call, key, options.max_age) {
            Some(hit) => hit.collect(self.settings().memory_bytes_max).map(Lookup::Hit),
            None => self.lookup_asked(call, identity, options).await,
        }
    }

    /// As [`crate::Client::store`].
    pub async fn store(
        &self,
        call: &Call,
        recall: Recall,
        outputs: Vec<PutOutput>,
        took: Duration,
    ) -> Memoized<()> {
        self.store_with(call, recall, took, prepare_outputs(call, outputs)).await
    }

    async fn store_with(
        &self,
        call: &Call,
        mut recall: Recall,
        took: Duration,
        prepare: impl Future<Output = Result<Vec<Prepared>, Error>>,
    ) -> Memoized<()> {
        let options = recall.computed(took);
        let lease = recall.take_lease();
        let mut is_lost = false;
        let outcome = match options.zip(recall.identity()) {
            None => None,
            Some((options, identity)) => Some(match (prepare.await, lease) {
                (Ok(outputs), Some(lease)) => {
                    lease.put_prepared(call, identity, outputs, &options, &mut is_lost).await
                }
                (Ok(outputs), None) => self.put_prepared(call, identity, outputs, &options).await,
                (Err(error), _) => Err(error),
            }),
        };
        if is_lost {
            recall.lost_lease();
        }
        recall.stored(outcome)
    }
}
