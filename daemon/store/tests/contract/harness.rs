//! Stores in temporary folders, and calls that wait.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{
    CallIdentity, Digest, InterfaceText, Key, Provenance, PutOutcome, RunClaim, Scope,
};
use memod_store::{
    Content, Found, GraveCause, NewEntry, Options, Prepared, Replace, Store, StoreError,
    StoredEntry, StoredOutput, Tier, Upload, Uploader,
};
use tempfile::TempDir;

pub(crate) const CHUNK: usize = CHUNK_BYTES as usize;

/// A store in a folder of its own. The store goes before the folder.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
}

impl std::ops::Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

pub(crate) fn open() -> TestStore {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    TestStore { store, folder }
}

pub(crate) fn open_in(path: &Path) -> Store {
    Store::open(&options(path)).unwrap()
}

/// The defaults, except that graves of 1970 are remembered: the tests count time from there.
pub(crate) fn options(path: &Path) -> Options {
    let grave_age_max = Duration::from_secs(200 * 365 * 24 * 60 * 60);
    Options { grave_age_max, ..Options::new(path) }
}

impl TestStore {
    /// Drops the store without closing it and opens it again.
    pub(crate) fn reopen(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        let store = open_in(folder.path());
        Self { store, folder }
    }
}

/// Content that does not compress and differs for each seed.
pub(crate) fn content(seed: u64, bytes: usize) -> Bytes {
    let mut filled = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut filled);
    filled.into()
}

/// The identity of one of many calls; neighbours share task and cache version.
pub(crate) fn identity(number: u64) -> CallIdentity {
    CallIdentity {
        scope: Scope::new("project", if number.is_multiple_of(2) { "even" } else { "odd" }),
        task: format!("task{}", number % 3),
        cache_version: format!("{}.0", number % 2),
        signature: Digest::of(b"signature"),
        inputs: input_names(number).map(|name| (name, Digest::of(&number.to_le_bytes()))).collect(),
    }
}

/// One input or more, up to eleven.
fn input_names(number: u64) -> impl Iterator<Item = String> {
    let more = (0..number * 5 % 11).map(|at| format!("more{at:02}"));
    more.chain(["number".to_owned()])
}

pub(crate) fn key(number: u64) -> Key {
    identity(number).key()
}

pub(crate) fn provenance(created_at_ms: u64) -> Provenance {
    Provenance {
        writer_uid: 1000,
        writer_pid: Some(1),
        program: Some("test".to_owned()),
        host: None,
        created_at_ms,
        run: RunClaim { compute_ns: Some(created_at_ms), ..RunClaim::default() },
    }
}

/// An entry with outputs `o0`, `o1` and so on.
pub(crate) fn entry(
    number: u64,
    outputs: Vec<Prepared>,
    created_at_ms: u64,
    replace: Replace,
) -> NewEntry {
    let names: Vec<_> =
        (0..outputs.len()).map(|index| (format!("o{index}"), "bytes".to_owned())).collect();
    let interface = InterfaceText {
        inputs: input_names(number).map(|name| (name, "integer".to_owned())).collect(),
        outputs: names.clone(),
    };
    let outputs = names.into_iter().zip(outputs).map(|((name, of), output)| (name, of, output));
    NewEntry {
        key: key(number),
        identity: identity(number),
        interface,
        outputs: outputs.collect(),
        provenance: provenance(created_at_ms),
        replace,
        apart: false,
    }
}

/// Calls something that answers through a callback, and waits.
pub(crate) fn wait<T: Send + 'static>(call: impl FnOnce(Box<dyn FnOnce(T) + Send>)) -> T {
    let (sender, receiver) = mpsc::sync_channel(1);
    call(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap()
}

pub(crate) fn try_put(store: &Store, entry: NewEntry) -> Result<PutOutcome, StoreError> {
    wait(|done| store.put(entry, done))
}

/// Puts contents that are in memory, never replacing.
pub(crate) fn put(store: &Store, number: u64, outputs: &[Bytes]) -> PutOutcome {
    put_as(store, number, outputs, 1, Replace::Never)
}

pub(crate) fn put_as(
    store: &Store,
    number: u64,
    outputs: &[Bytes],
    created_at_ms: u64,
    replace: Replace,
) -> PutOutcome {
    let outputs = outputs.iter().map(|output| store.prepare(output.clone())).collect();
    try_put(store, entry(number, outputs, created_at_ms, replace)).unwrap()
}

/// Uploads content in pieces of this length.
pub(crate) fn upload(store: &Store, content: &Bytes, piece_bytes: usize) -> Prepared {
    write(store.begin_upload(), content, piece_bytes)
}

/// The same, of a run that was announced.
pub(crate) fn upload_announced(store: &Store, content: &Bytes, piece_bytes: usize) -> Prepared {
    let bytes = content.len() as u64;
    let promise = store.announce(&identity(0).scope, 1000, bytes).unwrap();
    let upload = store.begin_upload_by(Uploader { uid: Some(1000), promise });
    write(upload, content, piece_bytes)
}

fn write(mut upload: Upload, content: &Bytes, piece_bytes: usize) -> Prepared {
    let mut rest = content.clone();
    while !rest.is_empty() {
        upload.write(rest.split_to(piece_bytes.min(rest.len()))).unwrap();
    }
    upload.finish().unwrap()
}

pub(crate) fn remove(store: &Store, numbers: &[u64]) -> u64 {
    let keys = numbers.iter().map(|number| key(*number)).collect();
    wait(|done| store.remove(keys, GraveCause::Evicted, 99, None, done)).unwrap()
}

pub(crate) fn lookup(store: &Store, number: u64) -> Found {
    store.lookup(&key(number), Tier::Disk).unwrap()
}

pub(crate) fn hit(store: &Store, number: u64) -> StoredEntry {
    match lookup(store, number) {
        Found::Entry(entry) => entry.as_ref().clone(),
        other => panic!("entry {number}: {other:?}"),
    }
}

/// All content of an output.
pub(crate) fn read(output: &StoredOutput) -> Bytes {
    match &output.content {
        Content::Whole(content) => content.clone(),
        Content::Chunked(reader) => {
            let chunks = (0..reader.chunk_count())
                .map(|index| reader.chunk(index, Tier::Disk).unwrap().unwrap());
            chunks.collect::<Vec<_>>().concat().into()
        }
    }
}

/// Asserts that an entry has exactly these outputs.
pub(crate) fn assert_hit(store: &Store, number: u64, outputs: &[Bytes]) {
    let found = hit(store, number);
    assert_eq!(found.outputs.len(), outputs.len(), "entry {number}");
    for (index, (output, expected)) in found.outputs.iter().zip(outputs).enumerate() {
        assert_eq!(output.name, format!("o{index}"));
        assert_eq!(output.bytes, expected.len() as u64);
        assert_eq!(output.digest, Digest::of(expected));
        assert!(read(output) == *expected, "entry {number}, output {index}");
    }
}

/// Asserts that the store agrees with itself.
pub(crate) fn assert_sound(store: &Store) {
    store.settle().unwrap();
    let recount = loop {
        let before = store.counters();
        let recount = store.recount().unwrap();
        assert_eq!(recount.problems, Vec::<String>::new());
        // Unless entries are being evicted.
        if store.counters() == before {
            assert_eq!(recount.counters, before);
            break recount;
        }
    };
    assert_eq!(recount.task_rows, recount.counters.entries);
    assert_eq!(recount.loose_rows, 0);
    assert_eq!((recount.near_rows_left, recount.entries_without_near), (0, 0));
}
