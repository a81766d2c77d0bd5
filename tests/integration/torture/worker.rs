//! What a worker does: puts of all sizes, overwriting or not, removals, lookups, uploads that are
//! given up.

use std::io;

use harness::Raw;
use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{
    Digest, ErrorCode, NewOutput, OutputSource, PutOutcome, Request, Response, Selector, WireError,
};

use super::asker::{Asker, ending};
use super::content::{self, KEYS, PLAIN_KEYS, numbered};
use super::load::count;
use super::model::Seen;

/// What is larger than this, together, is uploaded.
const INLINE_MAX: usize = 2 * CHUNK_BYTES as usize;
/// Most keys that are removed by name at once.
const REMOVED_MAX: usize = 3;

/// Sends the content of an upload and ends it.
fn upload(raw: &mut Raw, number: u32, content: &[u8]) -> io::Result<Result<(), WireError>> {
    for chunk in content.chunks(CHUNK_BYTES as usize) {
        raw.try_send(Request::UploadData { upload: number }, chunk)?;
    }
    let digest = Some(Digest::of(content));
    match raw.try_ask(Request::UploadEnd { upload: number, digest }, b"")?.response {
        Response::Uploaded { .. } => Ok(Ok(())),
        Response::Error(error) => Ok(Err(error)),
        other => panic!("the end of an upload was answered by {other:?}"),
    }
}

impl Asker<'_> {
    /// Does one thing that a worker does.
    pub(crate) fn write_something(&mut self) -> io::Result<()> {
        let number = self.random.below(PLAIN_KEYS);
        match self.random.below(80) {
            0..36 => self.put(number, false),
            36..54 => self.put(number, true),
            54..60 => self.read_something(),
            60..63 => {
                let numbers = 0..=self.random.below(REMOVED_MAX);
                let numbers = numbers.map(|_| self.random.below(KEYS)).collect();
                self.remove_keys(numbers)
            }
            63 => self.remove_matching(),
            64..66 => self.give_upload_up(),
            66 => self.reserve(number),
            _ => self.claim_something(),
        }
    }

    /// Puts a new version.
    pub(crate) fn put(&mut self, number: usize, overwrite: bool) -> io::Result<()> {
        let (version, request) = {
            let mut model = self.shared.model();
            let version = model.new_version();
            (version, model.begin_put(number, version))
        };
        let began = self.now();
        let outcome = self.try_put(number, version, overwrite)?;
        let mut model = self.shared.model();
        match outcome {
            Ok(PutOutcome::Populated) => {
                model.end(request, true);
                count(&self.shared.tally.puts);
            }
            Ok(PutOutcome::Exists(winner)) => {
                assert!(!overwrite, "an overwrite was told that there is one");
                model.refuse_put(&request);
                drop(model);
                let winner = winner.run.attempt.expect("it was put with its version");
                self.saw(number, began, Seen::Hit(winner));
            }
            Err(error) if error.code == ErrorCode::OverBudget => {
                model.refuse_put(&request);
                count(&self.shared.tally.refused);
            }
            Err(error) => return Err(ending(error)),
        }
        Ok(())
    }

    fn try_put(
        &mut self,
        number: usize,
        version: u32,
        overwrite: bool,
    ) -> io::Result<Result<PutOutcome, WireError>> {
        let (mut put, _) = numbered(number).call.put(&[]);
        put.overwrite = overwrite;
        put.run.attempt = Some(version);
        put.run.compute_ns = Some(self.random.number() % 10_000_000_000);
        let mut payload = Vec::new();
        for (index, content) in (0..).zip(content::outputs(number, version)) {
            let made = content.make();
            let mut source = OutputSource::Inline;
            if payload.len() + made.len() <= INLINE_MAX && self.random.below(8) > 0 {
                payload.extend_from_slice(&made);
            } else {
                source = OutputSource::Upload(index);
                if let Err(error) = upload(&mut self.raw, index, &made)? {
                    // What was uploaded before it is in nobody's way.
                    (0..index).try_for_each(|upload| self.abort(upload))?;
                    return Ok(Err(error));
                }
            }
            let (name, digest) = (format!("o{index}"), None);
            put.outputs.push(NewOutput { name, bytes: made.len() as u64, digest, source });
        }
        let uploads = put.outputs.len();
        let outcome = match self.raw.try_ask(Request::Put(Box::new(put)), &payload)?.response {
            Response::Put(outcome) => Ok(outcome),
            Response::Error(error) => Err(error),
            other => panic!("a put was answered by {other:?}"),
        };
        if !matches!(outcome, Ok(PutOutcome::Populated)) {
            (0..).take(uploads).try_for_each(|upload| self.abort(upload))?;
        }
        Ok(outcome)
    }

    fn abort(&mut self, upload: u32) -> io::Result<()> {
        self.raw.try_send(Request::UploadAbort { upload }, b"").map(drop)
    }

    /// Sends half of an upload and takes it back, or goes.
    fn give_upload_up(&mut self) -> io::Result<()> {
        let chunk = vec![b'x'; CHUNK_BYTES as usize];
        for _ in 0..=self.random.below(4) {
            self.raw.try_send(Request::UploadData { upload: 0 }, &chunk)?;
        }
        count(&self.shared.tally.cut_off);
        if self.random.below(2) == 0 { self.abort(0) } else { self.reconnect() }
    }

    /// Removes these by name.
    pub(crate) fn remove_keys(&mut self, mut numbers: Vec<usize>) -> io::Result<()> {
        numbers.sort_unstable();
        numbers.dedup();
        let keys = numbers.iter().map(|number| numbered(*number).key).collect();
        self.remove(Selector::Keys(keys), numbers, true)
    }

    fn remove_matching(&mut self) -> io::Result<()> {
        let (filter, numbers) = content::any_filter(&mut self.random);
        // An entry may be too young for it.
        let surely = filter.older_than_ms.is_none();
        self.remove(Selector::Matching(filter), numbers, surely)
    }

    fn remove(&mut self, selector: Selector, numbers: Vec<usize>, surely: bool) -> io::Result<()> {
        let most = numbers.len() as u64;
        let begun = self.shared.model().begin_removal(numbers);
        let request = Request::Invalidate { selector, dry_run: false };
        match self.raw.try_ask(request, b"")?.response {
            Response::Invalidated { matched } => assert!(matched <= most, "{matched} of {most}"),
            Response::Error(error) => return Err(ending(error)),
            other => panic!("a removal was answered by {other:?}"),
        }
        self.shared.model().end(begun, surely);
        count(&self.shared.tally.removals);
        Ok(())
    }
}
