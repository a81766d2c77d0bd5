//! What the torture stores: calls by number, and what each version of an entry must hold.
//!
//! **Invariants.** The outputs of a version follow from its number, so whoever finds an entry knows
//! what each of its bytes must be.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use harness::{CallBuilder, Random, call};
use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{CallIdentity, Digest, Filter, Hit, Key, LiteralType};

/// Keys that anybody writes at any time.
pub(crate) const PLAIN_KEYS: usize = 125;
/// Keys behind those, which only who holds their lease writes.
pub(crate) const LEASE_KEYS: usize = 3;
/// All keys.
pub(crate) const KEYS: usize = PLAIN_KEYS + LEASE_KEYS;

const CHUNK: usize = CHUNK_BYTES as usize;
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
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK,
    3 * CHUNK + 17,
    5 * CHUNK,
];
/// Different contents of each size: few, so that entries share them.
const CONTENTS: u64 = 6;
/// How many outputs a call has, by its number.
const OUTPUTS: [usize; 8] = [2, 1, 3, 2, 1, 0, 2, 1];
const TASKS: usize = 5;

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

    /// All its bytes.
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

/// The outputs of a version of a call.
pub(crate) fn outputs(number: usize, version: u32) -> Vec<Content> {
    let mut random = Random::new(u64::from(version) << 16 | number as u64);
    (0..OUTPUTS[number % OUTPUTS.len()]).map(|_| Content::any(&mut random)).collect()
}

/// A call, with what follows from it.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// The call.
    pub(crate) call: CallBuilder,
    /// What goes into its key.
    pub(crate) identity: CallIdentity,
    /// Its key.
    pub(crate) key: Key,
}

/// The call of this number.
pub(crate) fn numbered(number: usize) -> &'static Numbered {
    static ALL: LazyLock<Vec<Numbered>> = LazyLock::new(|| (0..KEYS).map(make).collect());
    &ALL[number]
}

fn make(number: usize) -> Numbered {
    let mut of = call(&format!("torture {}", number % TASKS))
        .scope("torture", if number.is_multiple_of(3) { "narrow" } else { "wide" })
        .version(&(number % 2).to_string());
    of.0.inputs.insert("original".into(), memod_protocol::Literal::String(number.to_string()));
    let outputs = 0..OUTPUTS[number % OUTPUTS.len()];
    of.0.interface.outputs =
        outputs.map(|output| (format!("o{output}"), LiteralType::Bytes)).collect();
    let identity = of.identity();
    Numbered { key: identity.key(), call: of, identity }
}

/// A condition, and the numbers of the calls that it selects.
pub(crate) fn any_filter(random: &mut Random) -> (Filter, Vec<usize>) {
    let of = numbered(random.below(KEYS)).identity.clone();
    let mut filter = Filter::default();
    match random.below(32) {
        0 => {}
        1 => filter.writer_uid = Some(nix::unistd::geteuid().as_raw()),
        2 => filter.scope = Some(of.scope),
        3..8 => filter.older_than_ms = Some(random.number() % 300),
        _ => {
            filter.task = Some(of.task);
            filter.cache_version = Some(of.cache_version);
            filter.scope = (random.below(2) == 0).then_some(of.scope);
        }
    }
    let is_selected = |number: &usize| {
        let of = &numbered(*number).identity;
        let is = |wanted: &Option<String>, of: &String| wanted.as_ref().is_none_or(|w| w == of);
        filter.scope.as_ref().is_none_or(|scope| *scope == of.scope)
            && is(&filter.task, &of.task)
            && is(&filter.cache_version, &of.cache_version)
    };
    let numbers = (0..KEYS).filter(is_selected).collect();
    (filter, numbers)
}

/// The version that a hit is of. Its outputs are exactly those of that version, as it says and as
/// they have come; `only`: of one output that was asked for alone.
pub(crate) fn version_of(number: usize, hit: &Hit, contents: &[Bytes], only: Option<usize>) -> u32 {
    assert_eq!(hit.key, numbered(number).key);
    let version = hit.provenance.run.attempt.expect("it was put with its version");
    let mut expected = outputs(number, version);
    if let Some(only) = only {
        expected = vec![expected[only]];
    }
    let expected: Vec<_> = expected.into_iter().map(Content::description).collect();
    let said: Vec<_> = hit.outputs.iter().map(|output| (output.digest, output.bytes)).collect();
    assert_eq!(said, expected, "call {number}, version {version}");
    let came: Vec<_> =
        contents.iter().map(|content| (Digest::of(content), content.len() as u64)).collect();
    assert_eq!(came, expected, "call {number}, version {version}");
    version
}
