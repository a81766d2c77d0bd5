//! What a store must be when nobody works on it: read without the daemon, and asked of it.
//!
//! **Invariants.** What the daemon left is not touched: a copy of it is opened, which recovers from
//! the same files as the daemon will.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bytes::Bytes;
use harness::{Daemon, Raw};
use memod_protocol::{Digest, Key, MissReason, Request, Response};
use memod_store::{Content, Counters, Found, GraveCause, Options, Store, StoredEntry, Tier};

use super::content::{self, KEYS, numbered, outputs};
use super::model::{Model, Seen};
use super::plan::SMALL_BYTES_MAX;

/// What is there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Inventory {
    /// Entries, with the bytes of all their outputs.
    entries: BTreeMap<Key, u64>,
    /// Distinct contents with their lengths.
    blobs: BTreeSet<(Digest, u64)>,
    graves: u64,
}

impl Inventory {
    fn add(&mut self, number: usize, seen: Seen) {
        match seen {
            Seen::Hit(version) => {
                let outputs: Vec<_> = outputs(number, version)
                    .into_iter()
                    .map(content::Content::description)
                    .collect();
                let bytes = outputs.iter().map(|(_, bytes)| bytes).sum();
                self.entries.insert(numbered(number).key, bytes);
                self.blobs.extend(outputs);
            }
            Seen::Miss(MissReason::NeverSeen, _) => {}
            Seen::Miss(..) => self.graves += 1,
        }
    }

    /// Entries, blobs, their bytes, and those of all entries.
    fn totals(&self) -> [u64; 4] {
        [
            self.entries.len() as u64,
            self.blobs.len() as u64,
            self.blobs.iter().map(|(_, bytes)| bytes).sum(),
            self.entries.values().sum(),
        ]
    }
}

/// Copies the database of a store; files that are never changed are shared.
fn copy(store: &Path, to: &Path) {
    let to = to.join("rocksdb");
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(store.join("rocksdb")).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.extension().is_some_and(|of| of == "sst" || of == "blob") {
            fs::hard_link(&path, target).unwrap();
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn contents(entry: &StoredEntry) -> Vec<Bytes> {
    let read = |content: &Content| match content {
        Content::Whole(content) => content.clone(),
        Content::Chunked(reader) => (0..reader.chunk_count())
            .map(|index| reader.chunk(index, Tier::Disk).unwrap().expect("the disk has it"))
            .collect::<Vec<_>>()
            .concat()
            .into(),
    };
    entry.outputs.iter().map(|output| read(&output.content)).collect()
}

fn look_up(store: &Store, number: usize) -> Seen {
    let key = numbered(number).key;
    match store.lookup(&key, Tier::Disk).unwrap() {
        Found::Entry(entry) => {
            let version = entry.provenance.run.attempt.expect("it was put with its version");
            let said: Vec<_> = entry.outputs.iter().map(|of| (of.digest, of.bytes)).collect();
            let expected: Vec<_> = outputs(number, version);
            let descriptions: Vec<_> = expected.iter().map(|of| of.description()).collect();
            assert_eq!(said, descriptions, "call {number}, version {version}");
            let whole = expected.iter().zip(contents(&entry)).all(|(of, is)| of.make() == is);
            assert!(whole, "call {number}, version {version} has other bytes");
            Seen::Hit(version)
        }
        Found::Grave(grave) => {
            let reason = match grave.cause {
                GraveCause::Evicted => MissReason::Evicted,
                GraveCause::Expired => MissReason::Expired,
                GraveCause::Invalidated => MissReason::Invalidated,
                GraveCause::Corrupt => MissReason::Corrupt,
                GraveCause::BlobMissing => MissReason::BlobMissing,
            };
            assert_eq!(grave.lost.is_some(), reason == MissReason::Evicted, "{grave:?}");
            Seen::Miss(reason, Some(grave.at_ms))
        }
        Found::Unknown => Seen::Miss(MissReason::NeverSeen, None),
        other => panic!("call {number}: {other:?}"),
    }
}

/// Reads all of a dead daemon's store: each entry is what it must be, with every byte, and all
/// counters, charges and references are what they are when counted anew. What was not known is
/// known then.
pub(crate) fn check_files(data: &Path, model: &mut Model) -> Counters {
    let folder = tempfile::Builder::new().prefix("memod-copy-").tempdir_in(data.parent().unwrap());
    let folder = folder.unwrap();
    copy(data, folder.path());
    let store = Store::open(&Options::new(folder.path())).unwrap();
    store.settle().unwrap();
    let mut inventory = Inventory::default();
    for number in 0..KEYS {
        let seen = look_up(&store, number);
        model.settle(number, seen).unwrap_or_else(|why| panic!("{why}"));
        inventory.add(number, seen);
    }
    // Looking found nothing to bury, or that would be counted here.
    store.settle().unwrap();
    let (recount, counters) = (store.recount().unwrap(), store.counters());
    assert_eq!(recount.problems, [""; 0]);
    assert_eq!(recount.counters, counters);
    assert_eq!((recount.loose_rows, recount.near_rows_left), (0, 0), "{recount:?}");
    assert_eq!((recount.entries_without_near, recount.grave_rows), (0, inventory.graves));
    assert_eq!(recount.task_rows, counters.entries);
    assert_eq!(totals(&counters), inventory.totals());
    model.settle_puts(counters.puts);
    if model.evicts() {
        assert!(counters.total_bytes() <= SMALL_BYTES_MAX, "{counters:?}");
    } else {
        assert_eq!(counters.evicted_entries, 0);
    }
    let mut verification = store.verification(false);
    while verification.step().unwrap() {}
    let report = verification.report();
    assert_eq!((report.entries, report.problems), (counters.entries, 0), "{report:?}");
    assert_eq!((report.blobs, report.bytes), (counters.blobs, counters.stored_bytes));
    counters
}

fn totals(counters: &Counters) -> [u64; 4] {
    let Counters { entries, blobs, stored_bytes, logical_bytes, .. } = *counters;
    [entries, blobs, stored_bytes, logical_bytes]
}

/// Asks a daemon that has nothing else to do: it serves what is there, and counts and lists the
/// same.
pub(crate) fn check_daemon(daemon: &Daemon, model: &mut Model) {
    let mut raw = daemon.connect();
    loop {
        let before = raw.stats().evicted_entries;
        let mut inventory = Inventory::default();
        for number in 0..KEYS {
            inventory.add(number, ask(&mut raw, number, model));
        }
        let listed: BTreeMap<Key, u64> =
            raw.list().iter().map(|row| (row.key, row.bytes)).collect();
        let stats = raw.stats();
        // It may have begun to evict in the middle of it.
        if stats.evicted_entries == before {
            assert_eq!(listed, inventory.entries, "the listing shows what the lookups show");
            let counted = [stats.entries, stats.blobs, stats.stored_bytes, stats.logical_bytes];
            assert_eq!(counted, inventory.totals());
            assert!(model.puts().contains(&stats.puts), "{} {:?}", stats.puts, model.puts());
            break;
        }
    }
    match raw.try_ask(Request::Verify { repair: false }, b"").unwrap().response {
        Response::Verified(report) => assert_eq!(report.problems, 0, "{report:?}"),
        other => panic!("a verification was answered by {other:?}"),
    }
}

fn ask(raw: &mut Raw, number: usize, model: &mut Model) -> Seen {
    let began = model.now();
    let seen = match raw.lookup(&numbered(number).call) {
        Ok((hit, contents)) => Seen::Hit(content::version_of(number, &hit, &contents, None)),
        Err(miss) => Seen::from(&miss),
    };
    model.look(number, began, seen).unwrap_or_else(|why| panic!("{why}"));
    seen
}

/// The databases that were set aside in a store.
pub(crate) fn set_aside(data: &Path) -> Vec<std::path::PathBuf> {
    let folders = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("damaged-"))
    };
    folders.filter(is_one).collect()
}
