//! Verification of rows that the database thinks sound and that contradict themselves or others.

use std::sync::mpsc;

use bytes::Bytes;
use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{CallIdentity, InterfaceText, Provenance, PutOutcome, RunClaim, Scope};

use super::*;
use crate::lookup::Found;
use crate::mutation::{NewEntry, Replace};
use crate::options::Options;
use crate::record::BlobRecord;
use crate::rocks::{Batch, Read, Tier};
use crate::schema::{chunk_key, task_key};

const LARGE: usize = 3 * CHUNK_BYTES as usize;

fn identity(number: u64) -> CallIdentity {
    CallIdentity {
        scope: Scope::new("p", "d"),
        task: "t".to_owned(),
        cache_version: "1".to_owned(),
        signature: Digest::of(b""),
        inputs: vec![("number".to_owned(), Digest::of(&number.to_le_bytes()))],
    }
}

fn key(number: u64) -> Key {
    identity(number).key()
}

fn listing_row(number: u64) -> Vec<u8> {
    let of = identity(number);
    task_key(&of.scope, &of.task, &of.cache_version, &of.signature, &of.key())
}

/// One output that is an entry's own, and one that all share.
fn contents(number: u64) -> [Vec<u8>; 2] {
    let bytes = if number == 1 { LARGE } else { 50 };
    [vec![u8::try_from(number).unwrap(); bytes], b"shared by all".to_vec()]
}

fn put(store: &Store, number: u64) {
    let outputs = ["a", "b"].into_iter().zip(contents(number)).map(|(name, content)| {
        (name.to_owned(), "bytes".to_owned(), store.prepare(Bytes::from(content)))
    });
    let entry = NewEntry {
        key: key(number),
        identity: identity(number),
        interface: InterfaceText::default(),
        outputs: outputs.collect(),
        provenance: Provenance {
            writer_uid: 0,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms: 1,
            run: RunClaim::default(),
        },
        replace: Replace::Never,
        apart: false,
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    store.put(entry, move |result| sender.send(result).unwrap());
    assert_eq!(receiver.recv().unwrap().unwrap(), PutOutcome::Populated);
}

fn row(store: &Store, column: Column, key: &[u8]) -> Vec<u8> {
    match store.shared().db.read(column, key, Tier::Disk, <[u8]>::to_vec).unwrap() {
        Read::Row(row) => row,
        other => panic!("{other:?}"),
    }
}

fn set_row(store: &Store, column: Column, key: &[u8], value: Option<&[u8]>) {
    let db = &store.shared().db;
    let mut batch = Batch::new(0);
    match value {
        Some(value) => batch.put(db, column, key, value),
        None => batch.delete(db, column, key),
    }
    db.write(batch, false).unwrap();
}

fn verify(store: &Store, repair: bool) -> VerifyReport {
    let mut verification = store.verification(repair);
    while verification.step().unwrap() {}
    verification.report().clone()
}

/// Whether an entry is there, by a store that has nothing in memory.
fn is_there(store: &Store, number: u64) -> bool {
    matches!(store.lookup(&key(number), Tier::Disk).unwrap(), Found::Entry(_))
}

/// Breaks a store of the entries 0, 1 and 2; verification finds that many problems, and repair
/// removes those entries and leaves nothing to find, now or after the next opening.
fn case(name: &str, problems: u64, removed: &[u64], break_it: impl FnOnce(&Store)) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    let store = Store::open(&options).unwrap();
    for number in 0..3 {
        put(&store, number);
    }
    store.settle().unwrap();
    assert_eq!(verify(&store, false).problems, 0, "{name}");
    break_it(&store);
    // The hot cache knows nothing of it.
    drop(store);
    let store = Store::open(&options).unwrap();
    let found = verify(&store, false);
    assert_eq!((found.problems, found.buried), (problems, 0), "{name}: {found:?}");
    let repaired = verify(&store, true);
    assert_eq!(repaired.buried, removed.len() as u64, "{name}: {repaired:?}");
    let left = verify(&store, false);
    assert_eq!(left.problems, 0, "{name}: {left:?}");
    assert_eq!(left.entries, 3 - removed.len() as u64, "{name}");
    drop(store);
    let store = Store::open(&options).unwrap();
    for number in 0..3 {
        assert_eq!(is_there(&store, number), !removed.contains(&number), "{name}: {number}");
    }
    let recount = store.recount().unwrap();
    assert_eq!(recount.problems, Vec::<String>::new(), "{name}");
    assert_eq!(recount.counters, store.counters(), "{name}");
}

#[test]
fn content_that_is_not_what_was_written_is_found() {
    let small = Digest::of(&contents(0)[0]);
    case("small content", 1, &[0], |store| {
        let wrong = BlobRecord::Whole(&[9; 50]).encode();
        set_row(store, Column::Blobs, small.as_bytes(), Some(&wrong));
    });
    case("no kind of blob", 1, &[0], |store| {
        set_row(store, Column::Blobs, small.as_bytes(), Some(b"nonsense"));
    });
    let shared = Digest::of(&contents(0)[1]);
    case("shared content", 3, &[0, 1, 2], |store| {
        let wrong = BlobRecord::Whole(b"not what was written").encode();
        set_row(store, Column::Blobs, shared.as_bytes(), Some(&wrong));
    });
    let large = Digest::of(&contents(1)[0]);
    for index in 0..3 {
        case("a chunk", 1, &[1], |store| {
            let blob = row(store, Column::Blobs, large.as_bytes());
            let Ok(BlobRecord::Chunked(record)) = BlobRecord::decode(&blob) else {
                panic!("it is not chunked");
            };
            let chunk = chunk_key(record.storage, index);
            let mut content = row(store, Column::Chunks, &chunk);
            content[7] ^= 1;
            set_row(store, Column::Chunks, &chunk, Some(&content));
        });
    }
}

#[test]
fn rows_that_are_missing_are_found() {
    case("the listing", 1, &[], |store| {
        set_row(store, Column::Tasks, &listing_row(0), None);
    });
    case("a row of `near`", 1, &[], |store| {
        let entry = row(store, Column::Entries, key(0).as_bytes());
        let (entry, details) = EntryRecord::decode_whole(&entry).unwrap();
        let derived = Derived::of(&key(0), &entry, details.as_ref());
        set_row(store, Column::Near, &derived.near[0], None);
    });
    case("a reference", 1, &[], |store| {
        let own = Digest::of(&contents(0)[0]);
        set_row(store, Column::Refs, &ref_key(&own, &key(0)), None);
    });
}

#[test]
fn an_entry_under_anothers_key_is_found() {
    case("another's row", 1, &[0], |store| {
        let (own, other) = (row(store, Column::Entries, key(0).as_bytes()), key(2));
        let (own, _) = EntryRecord::decode_whole(&own).unwrap();
        let other = row(store, Column::Entries, other.as_bytes());
        let (_, others) = EntryRecord::decode_whole(&other).unwrap();
        let mixed = own.encode_with(&others.unwrap());
        set_row(store, Column::Entries, key(0).as_bytes(), Some(&mixed));
    });
    case("another's listing", 1, &[], |store| {
        let other = row(store, Column::Tasks, &listing_row(2));
        set_row(store, Column::Tasks, &listing_row(0), Some(&other));
    });
}

#[test]
fn what_dangles_is_found_and_removed() {
    let stranger = identity(77);
    case("a listing without an entry", 1, &[], |store| {
        let listed = row(store, Column::Tasks, &listing_row(0));
        set_row(store, Column::Tasks, &listing_row(77), Some(&listed));
    });
    case("a reference without an entry", 1, &[], |store| {
        let shared = Digest::of(&contents(0)[1]);
        let value = row(store, Column::Refs, &ref_key(&shared, &key(0)));
        set_row(store, Column::Refs, &ref_key(&shared, &stranger.key()), Some(&value));
    });
}
