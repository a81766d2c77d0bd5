//! Memoizing a call with the blocking client: the task runs whatever happens to the daemon.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use memod_protocol::{Call, Digest};

use crate::client::Client;
use crate::content::{Content, HitOutput};
use crate::error::Error;
use crate::memo::{Asking, MemoizeError, Memoized, Recall};
use crate::options::MemoizeOptions;
use crate::outputs::{self, Opened, Prepared, PutOutput};
use crate::spool;

impl Client {
    /// The outputs of a call: from the cache if it has been run before, else from `compute`, which
    /// is run exactly once, timed, and stored if it succeeds.
    ///
    /// Nothing that happens to the daemon becomes an error; the report tells it. The delay is
    /// bounded by the client's deadline for the lookup and once more for storing; a serialized call
    /// also waits for another that computes the same, as the options say.
    ///
    /// # Errors
    /// What `compute` returned, or that the outputs which it returned cannot be read.
    pub fn memoize<E>(
        &self,
        call: &Call,
        options: &MemoizeOptions,
        compute: impl FnOnce() -> Result<Vec<PutOutput>, E>,
    ) -> Result<Memoized, MemoizeError<E>> {
        let recall = match self.recall(call, options).into_hit() {
            Ok(hit) => return Ok(hit),
            Err(recall) => *recall,
        };
        let begun = Instant::now();
        let computed = compute().map_err(MemoizeError::Compute)?;
        let took = begun.elapsed();
        let memory_bytes_max = self.settings().memory_bytes_max;
        let outputs = read_all(computed, memory_bytes_max).map_err(MemoizeError::Outputs)?;
        let report = self
            .store_with(call, recall, took, || outputs::prepare_read(&call.interface, &outputs));
        Ok(report.map(|()| outputs))
    }

    /// As [`Client::memoize`] for values: what `compute` returns is given back as it is, and
    /// stored as `encode` says. A hit that `decode` cannot read is computed again and replaced.
    ///
    /// # Errors
    /// What `compute` returned.
    pub fn memoize_value<T, E>(
        &self,
        call: &Call,
        options: &MemoizeOptions,
        compute: impl FnOnce() -> Result<T, E>,
        encode: impl FnOnce(&T) -> Result<Vec<PutOutput>, Error>,
        decode: impl FnOnce(&[HitOutput]) -> Result<T, Error>,
    ) -> Result<Memoized<T>, E> {
        self.memoize_recalled(call, self.recall(call, options), compute, encode, decode)
    }

    /// As [`Client::memoize_value`], of a call that has been looked up.
    pub(crate) fn memoize_recalled<T, E>(
        &self,
        call: &Call,
        mut recall: Recall,
        compute: impl FnOnce() -> Result<T, E>,
        encode: impl FnOnce(&T) -> Result<Vec<PutOutput>, Error>,
        decode: impl FnOnce(&[HitOutput]) -> Result<T, Error>,
    ) -> Result<Memoized<T>, E> {
        match recall.outputs().map(decode) {
            Some(Ok(value)) => return Ok(recall.into_hit_with(value)),
            Some(Err(error)) => recall.reject(error.to_string()),
            None => {}
        }
        let begun = Instant::now();
        let value = compute()?;
        let took = begun.elapsed();
        let prepare = || outputs::prepare(&call.interface, encode(&value)?);
        let report = self.store_with(call, recall, took, prepare);
        Ok(report.map(|()| value))
    }

    /// The first half of [`Client::memoize`]: looks the call up, or claims it if it is serialized.
    /// Never fails.
    #[must_use]
    pub fn recall(&self, call: &Call, options: &MemoizeOptions) -> Recall {
        let mode = options.mode.unwrap_or(self.mode());
        let (recall, asking) = Recall::begin(call, options, mode);
        self.recall_begun(call, recall, asking, Instant::now())
    }

    /// Asks what is to be asked.
    pub(crate) fn recall_begun(
        &self,
        call: &Call,
        mut recall: Recall,
        asking: Option<Asking>,
        begun: Instant,
    ) -> Recall {
        match (asking, recall.identity()) {
            (Some(Asking::Lookup(options)), Some(identity)) => {
                let outcome = self.lookup_known(call, (identity, recall.key()), &options);
                recall.looked_up(outcome, begun.elapsed());
            }
            (Some(Asking::Claim(options)), Some(identity)) => {
                let outcome = self.claim_identified(call, identity, &options);
                recall.claimed(outcome, begun.elapsed());
            }
            _ => {}
        }
        recall
    }

    /// The second half of [`Client::memoize`], after a computation that took `took`: stores the
    /// outputs unless the mode forbids it. Never fails; the report tells what came of it.
    #[must_use]
    pub fn store(
        &self,
        call: &Call,
        recall: Recall,
        outputs: Vec<PutOutput>,
        took: Duration,
    ) -> Memoized<()> {
        self.store_with(call, recall, took, || outputs::prepare(&call.interface, outputs))
    }

    fn store_with(
        &self,
        call: &Call,
        mut recall: Recall,
        took: Duration,
        prepare: impl FnOnce() -> Result<Vec<Prepared>, Error>,
    ) -> Memoized<()> {
        let options = recall.computed(took);
        // Held until the end, whatever becomes of the outputs.
        let lease = recall.take_lease();
        // A wrong call has no identity; its report has said why since the lookup.
        let mut is_lost = false;
        let outcome = options.zip(recall.identity()).map(|(options, identity)| {
            let outputs = prepare()?;
            match lease {
                Some(lease) => lease.put_prepared(call, identity, outputs, &options, &mut is_lost),
                None => self.put_prepared(call, identity, outputs, &options),
            }
        });
        if is_lost {
            recall.lost_lease();
        }
        recall.stored(outcome)
    }
}

/// Reads outputs to their ends, so that they can be both stored and given back: up to so many
/// bytes into memory, what goes beyond into unnamed temporary files.
pub(crate) fn read_all(
    outputs: Vec<PutOutput>,
    memory_bytes_max: u64,
) -> Result<Vec<HitOutput>, Error> {
    let mut memory_left = memory_bytes_max;
    let mut read_one = |output: PutOutput| {
        let PutOutput { name, literal_type, source } = output;
        let (content, digest, bytes) = match outputs::open(&name, &literal_type, source)? {
            Opened::Memory(bytes) => in_memory(bytes),
            Opened::Reader(reader, _) => {
                read(reader, &mut memory_left).map_err(|error| outputs::unreadable(&name, error))?
            }
        };
        Ok(HitOutput { name, literal_type, digest, bytes, content })
    };
    outputs.into_iter().map(&mut read_one).collect()
}

fn in_memory(bytes: Bytes) -> (Content, Digest, u64) {
    let (digest, length) = (Digest::of(&bytes), bytes.len() as u64);
    (Content::Memory(bytes), digest, length)
}

fn read(
    mut reader: Box<dyn Read + Send>,
    memory_left: &mut u64,
) -> io::Result<(Content, Digest, u64)> {
    let mut head = Vec::new();
    reader.by_ref().take(memory_left.saturating_add(1)).read_to_end(&mut head)?;
    if head.len() as u64 <= *memory_left {
        *memory_left -= head.len() as u64;
        return Ok(in_memory(head.into()));
    }
    let mut spool = Hashing { file: spool::file()?, hasher: blake3::Hasher::new() };
    spool.write_all(&head)?;
    let mut bytes = head.len() as u64;
    drop(head);
    bytes += io::copy(&mut io::BufReader::with_capacity(256 * 1024, reader), &mut spool)?;
    spool.file.rewind()?;
    Ok((Content::File(spool.file), spool.hasher.finalize().into(), bytes))
}

/// A file that knows the digest of what was written to it.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[path = "memoize_serialized_tests.rs"]
mod serialized_tests;
#[cfg(test)]
#[path = "memoize_tests.rs"]
mod tests;
