//! Writers that keep a daemon busy and remember what it has acknowledged.
//!
//! **Invariants.** Each writer has keys that no other writes, so that what must be stored under
//! each is known exactly: what was acknowledged last, or what was asked for and never answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use harness::{CallBuilder, Random, Raw, call};
use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{
    Digest, Key, NewOutput, OutputSource, PutOutcome, Request, Response, Selector,
};

/// Keys of one writer.
const KEYS: usize = 24;
/// Sizes round every threshold: of what is inline, whole, chunked and streamed.
const SIZES: [usize; 14] = [
    0,
    1,
    100,
    4095,
    4096,
    16 * 1024,
    16 * 1024 + 1,
    100_000,
    CHUNK_BYTES as usize - 1,
    CHUNK_BYTES as usize,
    CHUNK_BYTES as usize + 1,
    2 * CHUNK_BYTES as usize,
    3 * CHUNK_BYTES as usize + 17,
    5 * CHUNK_BYTES as usize,
];
/// What is larger than this is uploaded.
const INLINE_MAX: usize = 2 * CHUNK_BYTES as usize;
/// Different contents of each size: few, so that entries share them.
const CONTENTS: u64 = 6;

/// The content of an output: which of those of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    bytes: usize,
    number: u64,
}

impl Content {
    /// One that no other number has.
    pub(crate) fn new(bytes: usize, number: u64) -> Self {
        Self { bytes, number }
    }

    fn any(random: &mut Random) -> Self {
        // Two of three are small, or the disk would be all that is tested.
        let sizes = if random.below(3) > 0 { &SIZES[..8] } else { &SIZES[..] };
        Self { bytes: *random.pick(sizes), number: random.number() % CONTENTS }
    }

    /// Its bytes.
    pub(crate) fn make(self) -> Vec<u8> {
        let block = Random::new(self.number).bytes(1000);
        let mut made = block.repeat(self.bytes / block.len() + 1);
        made.truncate(self.bytes);
        made
    }

    /// Its digest and length: what a hit says of it.
    pub(crate) fn description(self) -> (Digest, u64) {
        static DIGESTS: Mutex<BTreeMap<(usize, u64), Digest>> = Mutex::new(BTreeMap::new());
        let mut digests = DIGESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Digest::of(&self.make());
        (*digests.entry((self.bytes, self.number)).or_insert_with(made), self.bytes as u64)
    }
}

/// What is stored under a key: nothing, or the two outputs of one run.
pub(crate) type Stored = Option<[Content; 2]>;

/// A key and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The call.
    pub(crate) call: CallBuilder,
    /// What was acknowledged last.
    pub(crate) acknowledged: Stored,
    /// What was asked for since, if that was never answered.
    pub(crate) pending: Option<Stored>,
}

impl Slot {
    /// The key.
    pub(crate) fn key(&self) -> Key {
        self.call.0.key().unwrap()
    }
}

/// A writer.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Its keys.
    pub(crate) slots: Vec<Slot>,
    random: Random,
}

impl Writer {
    /// A writer that has not written.
    pub(crate) fn new(number: usize, seed: u64) -> Self {
        let slot = |index: usize| Slot {
            call: call(&format!("writer {number}"))
                .version(&index.to_string())
                .output("o0", "bytes")
                .output("o1", "bytes"),
            acknowledged: None,
            pending: None,
        };
        Self { slots: (0..KEYS).map(slot).collect(), random: Random::new(seed) }
    }

    /// Writes until the daemon is gone; counts what was acknowledged.
    pub(crate) fn write(&mut self, socket: &Path, acknowledged: &AtomicU64) {
        let Ok(mut raw) = Raw::try_greeted(socket) else { return };
        while self.step(&mut raw).is_ok() {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn step(&mut self, raw: &mut Raw) -> io::Result<()> {
        let kind = self.random.below(10);
        let slot = self.random.below(self.slots.len());
        let contents = [Content::any(&mut self.random), Content::any(&mut self.random)];
        let slot = &mut self.slots[slot];
        match kind {
            0 => slot.forget(raw),
            1..=2 => slot.look_up(raw),
            3..=5 => slot.put(raw, contents, true),
            _ => slot.put(raw, contents, false),
        }
    }
}

impl Slot {
    /// Remembers what is asked for until it has been answered.
    fn change(
        &mut self,
        to: Stored,
        ask: impl FnOnce(&Self) -> io::Result<Stored>,
    ) -> io::Result<()> {
        self.pending = Some(to);
        self.acknowledged = ask(self)?;
        self.pending = None;
        Ok(())
    }

    fn forget(&mut self, raw: &mut Raw) -> io::Result<()> {
        let request =
            Request::Invalidate { selector: Selector::Keys(vec![self.key()]), dry_run: false };
        self.change(None, |slot| match raw.try_ask(request, b"")?.response {
            Response::Invalidated { matched } => {
                assert_eq!(matched, u64::from(slot.acknowledged.is_some()));
                Ok(None)
            }
            other => panic!("an invalidation was answered by {other:?}"),
        })
    }

    fn look_up(&mut self, raw: &mut Raw) -> io::Result<()> {
        match raw.try_ask(self.call.lookup(), b"")?.response {
            Response::Miss(_) => assert_eq!(self.acknowledged, None),
            Response::Hit(hit) => {
                let streamed = hit.outputs.iter().filter(|output| {
                    output.delivery == memod_protocol::Delivery::Stream && output.bytes > 0
                });
                for output in streamed {
                    let mut missing = output.bytes;
                    while missing > 0 {
                        missing -= raw.try_read_reply()?.payload.len() as u64;
                    }
                }
                let found: Vec<_> = hit.outputs.iter().map(|o| (o.digest, o.bytes)).collect();
                let stored = self.acknowledged.expect("a hit was stored");
                assert_eq!(found, stored.map(Content::description));
            }
            other => panic!("a lookup was answered by {other:?}"),
        }
        Ok(())
    }

    fn put(&mut self, raw: &mut Raw, contents: [Content; 2], overwrite: bool) -> io::Result<()> {
        self.change(Some(contents), |slot| {
            let (mut put, _) = slot.call.put(&[]);
            put.overwrite = overwrite;
            let mut payload = Vec::new();
            for (index, content) in (0..).zip(contents) {
                let made = content.make();
                let mut source = OutputSource::Inline;
                if payload.len() + made.len() <= INLINE_MAX {
                    payload.extend_from_slice(&made);
                } else {
                    source = OutputSource::Upload(index);
                    upload(raw, index, &made)?;
                }
                let (name, digest) = (format!("o{index}"), None);
                put.outputs.push(NewOutput { name, bytes: made.len() as u64, digest, source });
            }
            match raw.try_ask(Request::Put(Box::new(put)), &payload)?.response {
                Response::Put(PutOutcome::Populated) => {
                    assert!(overwrite || slot.acknowledged.is_none(), "the first commit wins");
                    Ok(Some(contents))
                }
                Response::Put(PutOutcome::Exists(_)) => {
                    assert!(!overwrite && slot.acknowledged.is_some());
                    Ok(slot.acknowledged)
                }
                other => panic!("a put was answered by {other:?}"),
            }
        })
    }
}

/// Sends the content of an upload.
pub(crate) fn upload(raw: &mut Raw, number: u32, content: &[u8]) -> io::Result<()> {
    for chunk in content.chunks(CHUNK_BYTES as usize) {
        raw.try_send(Request::UploadData { upload: number }, chunk)?;
    }
    let digest = Some(Digest::of(content));
    match raw.try_ask(Request::UploadEnd { upload: number, digest }, b"")?.response {
        Response::Uploaded { .. } => Ok(()),
        other => panic!("the end of an upload was answered by {other:?}"),
    }
}

/// The distinct digests of what is stored, each with its length.
pub(crate) fn distinct(stored: impl Iterator<Item = [Content; 2]>) -> BTreeSet<(Digest, u64)> {
    stored.flatten().map(Content::description).collect()
}
