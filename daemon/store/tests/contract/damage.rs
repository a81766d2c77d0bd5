//! Stored bytes that are not what was written.

use std::fs;
use std::path::Path;
use std::slice;

use bytes::Bytes;
use memod_protocol::PutOutcome;
use memod_store::{Content, Found, GraveCause, StoreError, Tier, WHOLE_BYTES_MAX};

use crate::harness::*;

const DAMAGED_BYTES: [usize; 6] =
    [300, WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1, CHUNK, CHUNK + 40_000, 3 * CHUNK];

/// Flips a byte in the middle of this content, in the one file of the database that holds it.
fn flip(folder: &Path, content: &[u8]) {
    let middle = content.len() / 2;
    let needle = &content[middle - 16..middle + 16];
    let mut places = 0;
    for entry in fs::read_dir(folder.join("rocksdb")).unwrap() {
        let path = entry.unwrap().path();
        let is_data = path.extension().is_some_and(|of| of == "sst" || of == "blob");
        let mut bytes = if is_data { fs::read(&path).unwrap() } else { Vec::new() };
        let found = bytes.windows(needle.len()).position(|window| window == needle);
        if let Some(place) = found {
            bytes[place + 16] ^= 1;
            fs::write(&path, bytes).unwrap();
            places += 1;
        }
    }
    assert_eq!(places, 1);
}

/// A store in which the entries 0 and 9 have this content, which has been damaged on disk. Entries
/// 1 and 2 have other content, in other files: a checksum of the database covers several rows.
fn damaged(damaged: &Bytes) -> TestStore {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    put(&store, 0, slice::from_ref(damaged));
    put(&store, 9, slice::from_ref(damaged));
    drop(store);
    let store = open_in(folder.path());
    put(&store, 1, &[content(2, 3 * CHUNK)]);
    put(&store, 2, &[content(3, 300)]);
    drop(store);
    flip(folder.path(), damaged);
    TestStore { store: open_in(folder.path()), folder }
}

fn assert_others_stay(store: &TestStore) {
    assert_hit(store, 1, &[content(2, 3 * CHUNK)]);
    assert_hit(store, 2, &[content(3, 300)]);
}

/// Reads an entry that is damaged, to where that is found.
fn read_damaged(store: &TestStore, number: u64, bytes: usize) {
    match lookup(store, number) {
        Found::Corrupt { detail } => {
            assert!(bytes <= CHUNK, "{detail}");
            assert!(!detail.is_empty());
        }
        Found::Entry(entry) => {
            assert!(bytes > CHUNK, "damaged content was served");
            let Content::Chunked(reader) = &entry.outputs[0].content else { panic!("whole") };
            let faults: Vec<_> = (0..reader.chunk_count())
                .filter_map(|index| reader.chunk(index, Tier::Disk).err())
                .collect();
            assert!(matches!(faults.as_slice(), [StoreError::Damaged { .. }]), "{faults:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn damaged_content_is_never_served_and_can_be_put_again() {
    for bytes in DAMAGED_BYTES {
        let content = content(1, bytes);
        let store = damaged(&content);
        read_damaged(&store, 0, bytes);
        store.settle().unwrap();
        let found = lookup(&store, 0);
        let Found::Grave(grave) = found else { panic!("{bytes} bytes: {found:?}") };
        assert_eq!(grave.cause, GraveCause::Corrupt);
        assert_others_stay(&store);
        assert_eq!(put(&store, 0, slice::from_ref(&content)), PutOutcome::Populated);
        assert_hit(&store, 0, slice::from_ref(&content));
        // The other entry with that content is mended with it.
        assert_hit(&store, 9, slice::from_ref(&content));
        assert_others_stay(&store);
        let counters = store.counters();
        assert_eq!((counters.entries, counters.blobs), (4, 3), "{bytes} bytes");
        assert_eq!(counters.stored_bytes, (bytes + 3 * CHUNK + 300) as u64);
    }
}

#[test]
fn entries_that_share_damaged_content_all_miss() {
    for bytes in DAMAGED_BYTES {
        let content = content(1, bytes);
        let store = damaged(&content);
        read_damaged(&store, 0, bytes);
        store.settle().unwrap();
        let found = lookup(&store, 9);
        assert!(matches!(found, Found::BlobMissing { .. }), "{bytes} bytes: {found:?}");
        store.settle().unwrap();
        let Found::Grave(grave) = lookup(&store, 9) else { panic!("no grave") };
        assert_eq!(grave.cause, GraveCause::BlobMissing);
        assert_others_stay(&store);
        assert_eq!(store.counters().blobs, 2);
        assert_eq!(put(&store, 9, slice::from_ref(&content)), PutOutcome::Populated);
        assert_hit(&store, 9, slice::from_ref(&content));
        assert_eq!(store.counters().blobs, 3);
    }
}

#[test]
fn content_that_stands_in_its_row_is_mended_by_any_put_of_it() {
    let content = content(1, WHOLE_BYTES_MAX);
    let store = damaged(&content);
    put(&store, 5, slice::from_ref(&content));
    for number in [0, 5, 9] {
        assert_hit(&store, number, slice::from_ref(&content));
    }
    assert_others_stay(&store);
    assert_eq!(store.counters().blobs, 3);
}
