//! Writers that remember when each change was asked for and when it was acknowledged, and what may
//! be found after a power cut.

use std::io;
use std::path::Path;
use std::time::Duration;

use harness::{CallBuilder, Faults, Random, Raw, call};
use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{
    Delivery, Digest, NewOutput, OutputSource, PutOutcome, Request, Response, Selector,
};
use nix::time::{ClockId, clock_gettime};

use crate::torture::content::Content;

/// Keys of one writer.
const KEYS: usize = 6;
/// Sizes of what is written, large ones now and then; no two contents are alike.
const SIZES: [usize; 7] = [20, 50, 100, 500, 1000, 4096, 4097];
const LARGE_SIZES: [usize; 5] = [16 * 1024, 16 * 1024 + 1, 60_000, 250_000, (1 << 20) + 1];
/// Lookups for each change, so that not all is flushed, and thereby synced, all the time.
const LOOKUPS: usize = 4;
/// What is larger is uploaded.
const INLINE_MAX: usize = 200_000;

/// What is stored under a key: nothing, or the two outputs of one run.
type Stored = Option<[Content; 2]>;

/// A moment: how long the journal was, and the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) journal: u64,
    pub(super) at_us: u64,
}

impl Moment {
    fn now(faults: &Faults) -> Self {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
        let at_us = u64::try_from(now.as_micros()).unwrap();
        Self { journal: faults.journal_bytes(), at_us }
    }
}

/// A change of what is stored under a key.
#[derive(Debug, Clone, Copy)]
struct Change {
    to: Stored,
    asked: Moment,
    /// None: never.
    acknowledged: Option<Moment>,
}

/// A key, and every change of it in order.
#[derive(Debug)]
struct Slot {
    call: CallBuilder,
    changes: Vec<Change>,
}

/// A writer.
#[derive(Debug)]
pub(super) struct Writer {
    slots: Vec<Slot>,
    random: Random,
}

/// What is known to be lost or kept of one key.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// When the newest change that is there was asked for.
    pub(super) kept: Option<Moment>,
    /// When the oldest change that is not there was acknowledged.
    pub(super) lost: Option<Moment>,
}

impl Writer {
    pub(super) fn new(number: usize, seed: u64) -> Self {
        let slot = |index: usize| Slot {
            call: call(&format!("writer {number}"))
                .version(&index.to_string())
                .output("o0", "bytes")
                .output("o1", "bytes"),
            changes: Vec::new(),
        };
        Self { slots: (0..KEYS).map(slot).collect(), random: Random::new(seed) }
    }

    /// Writes until the daemon is gone, or fails.
    pub(super) fn write(&mut self, socket: &Path, faults: &Faults) {
        let Ok(mut raw) = Raw::try_greeted(socket) else { return };
        loop {
            let slot = self.random.below(self.slots.len());
            let to = (self.random.below(8) > 0).then(|| {
                // The second may be shared with others.
                let large = self.random.below(400) == 0;
                let sizes: &[usize] = if large { &LARGE_SIZES } else { &SIZES };
                let [first, second] = [0; 2].map(|_| *self.random.pick(sizes));
                let shared = self.random.number() % 4;
                [Content::new(first, self.random.number()), Content::new(second / 8, shared)]
            });
            let slot = &mut self.slots[slot];
            let asked = Moment::now(faults);
            slot.changes.push(Change { to, asked, acknowledged: None });
            let answered = match to {
                Some(contents) => slot.put(&mut raw, contents),
                None => slot.forget(&mut raw),
            };
            if !answered.unwrap_or(false) {
                return;
            }
            let last = slot.changes.last_mut().expect("it was pushed just now");
            last.acknowledged = Some(Moment::now(faults));
            for _ in 0..LOOKUPS {
                let slot = self.random.below(self.slots.len());
                if !self.slots[slot].look_up(&mut raw).unwrap_or(false) {
                    return;
                }
            }
        }
    }

    /// How many changes were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        let changes = self.slots.iter().flat_map(|slot| &slot.changes);
        changes.filter(|change| change.acknowledged.is_some()).count()
    }

    /// Looks every key up. `must`: whether what was acknowledged then must be there; `cut`: how
    /// long the journal was when the power was cut.
    pub(super) fn check(
        &self,
        raw: &mut Raw,
        cut: u64,
        must: impl Fn(&Moment) -> bool,
    ) -> Vec<Fate> {
        self.slots.iter().map(|slot| slot.check(raw, cut, &must)).collect()
    }
}

impl Slot {
    /// What is stored under the key must be what some change left: none that came before one that
    /// must be there, and none that was asked for after the cut.
    fn check(&self, raw: &mut Raw, cut: u64, must: impl Fn(&Moment) -> bool) -> Fate {
        let found = raw.lookup(&self.call).ok().map(|(_, contents)| contents);
        let found: Option<Vec<_>> =
            found.map(|all| all.iter().map(|one| (Digest::of(one), one.len() as u64)).collect());
        let is_found =
            |to: &Stored| found == to.map(|contents| contents.map(Content::description).to_vec());
        let first =
            self.changes.iter().rposition(|change| change.acknowledged.as_ref().is_some_and(&must));
        let asked = self.changes.iter().take_while(|change| change.asked.journal <= cut).count();
        let sure = first.is_some();
        let left = &self.changes[first.unwrap_or(0)..asked.max(first.unwrap_or(0))];
        assert!(
            left.iter().any(|change| is_found(&change.to)) || (!sure && found.is_none()),
            "{found:?} is neither what had to last (change {first:?}) nor what was asked for \
             afterwards, until {asked}: {:#?}",
            self.changes
        );
        let first = first.unwrap_or(0);
        let newest = left.iter().rposition(|change| is_found(&change.to));
        let oldest = left.iter().position(|change| is_found(&change.to));
        Fate {
            // Nothing may be there because nothing ever was.
            kept: oldest
                .filter(|_| sure || found.is_some())
                .map(|oldest| self.changes[first + oldest].asked),
            lost: self.changes[newest.map_or(0, |newest| first + newest + 1)..]
                .iter()
                .find_map(|change| change.acknowledged),
        }
    }

    /// Whether it was answered, by what was stored last.
    fn look_up(&self, raw: &mut Raw) -> io::Result<bool> {
        let stored = self.changes.last().and_then(|change| change.to);
        let found = match raw.try_ask(self.call.lookup(), b"")?.response {
            Response::Hit(hit) => {
                let streamed = hit.outputs.iter().filter(|of| of.delivery == Delivery::Stream);
                let mut missing: u64 = streamed.map(|of| of.bytes).sum();
                while missing > 0 {
                    missing -= raw.try_read_reply()?.payload.len() as u64;
                }
                Some(hit.outputs.iter().map(|of| (of.digest, of.bytes)).collect::<Vec<_>>())
            }
            Response::Miss(_) => None,
            other => panic!("a lookup was answered by {other:?}"),
        };
        assert_eq!(found, stored.map(|contents| contents.map(Content::description).to_vec()));
        Ok(true)
    }

    fn forget(&self, raw: &mut Raw) -> io::Result<bool> {
        let keys = Selector::Keys(vec![self.call.0.key().unwrap()]);
        let request = Request::Invalidate { selector: keys, dry_run: false };
        let response = raw.try_ask(request, b"")?.response;
        Ok(matches!(response, Response::Invalidated { .. }))
    }

    /// Whether it was stored.
    fn put(&self, raw: &mut Raw, contents: [Content; 2]) -> io::Result<bool> {
        let (mut put, _) = self.call.put(&[]);
        put.overwrite = true;
        let mut payload = Vec::new();
        for (index, content) in (0..).zip(contents) {
            let made = content.make();
            let mut source = OutputSource::Inline;
            if made.len() <= INLINE_MAX {
                payload.extend_from_slice(&made);
            } else {
                source = OutputSource::Upload(index);
                upload(raw, index, &made)?;
            }
            let (name, digest) = (format!("o{index}"), None);
            put.outputs.push(NewOutput { name, bytes: made.len() as u64, digest, source });
        }
        let response = raw.try_ask(Request::Put(Box::new(put)), &payload)?.response;
        Ok(matches!(response, Response::Put(PutOutcome::Populated)))
    }
}

/// Has the daemon flush and compact all it has, so often, or until it is gone.
pub(super) fn collect(socket: &Path, times: usize) {
    let Ok(mut raw) = Raw::try_greeted(socket) else { return };
    for _ in 0..times {
        let asked = raw.try_ask(Request::Collect, b"");
        if !matches!(asked.map(|reply| reply.response), Ok(Response::Collected(_))) {
            return;
        }
    }
}

/// Sends the content of an upload.
fn upload(raw: &mut Raw, number: u32, content: &[u8]) -> io::Result<()> {
    for chunk in content.chunks(CHUNK_BYTES as usize) {
        raw.try_send(Request::UploadData { upload: number }, chunk)?;
    }
    let digest = Some(Digest::of(content));
    match raw.try_ask(Request::UploadEnd { upload: number, digest }, b"")?.response {
        Response::Uploaded { .. } => Ok(()),
        other => panic!("the end of an upload was answered by {other:?}"),
    }
}
