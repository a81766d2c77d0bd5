//! Stored bytes that are not what was written.

use std::fs;
use std::path::Path;
use std::slice;

use bytes::Bytes;
use memod_protocol::PutOutcome;
use memod_store::{Content, Found, GraveCause, Replace, StoreError, Tier, WHOLE_BYTES_MAX};

use crate::harness::*;

const DAMAGED_BYTES: [usize; 6] =
    [300, WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1, CHUNK, CHUNK + 40_000, 3 * CHUNK];

/// Flips a byte in the middle of this content, in the one file of the database that holds it.
pub(crate) fn flip(folder: &Path, content: &[u8]) {
    assert_eq!(flip_in(folder, content, |_| true), 1, "it stands in one file");
}

/// Flips a byte in the middle of this content, in each file of the database that holds it and that
/// is meant; how many there were.
pub(crate) fn flip_in(folder: &Path, content: &[u8], is_meant: impl Fn(&[u8]) -> bool) -> usize {
    let middle = content.len() / 2;
    let needle = &content[middle - 16..middle + 16];
    let mut places = 0;
    for entry in fs::read_dir(folder.join("rocksdb")).unwrap() {
        let path = entry.unwrap().path();
        let is_data = path.extension().is_some_and(|of| of == "sst" || of == "blob");
        let mut bytes = if is_data { fs::read(&path).unwrap() } else { Vec::new() };
        let found = bytes.windows(needle.len()).position(|window| window == needle);
        if let Some(place) = found.filter(|_| is_meant(&bytes)) {
            bytes[place + 16] ^= 1;
            fs::write(&path, bytes).unwrap();
            places += 1;
        }
    }
    places
}

/// Whether these are the bytes of a file of the listing: there, two bytes say how long a text is.
pub(crate) fn is_listing(file: &[u8]) -> bool {
    let scope = b"\x07project\0";
    file.windows(scope.len()).any(|window| window == scope)
}

/// A store in which the entries 0 and 9 have this content, which has been damaged on disk. Entries
/// 1 and 2 have other content, in other files: a checksum of the database covers several rows.
pub(crate) fn damaged(damaged: &Bytes) -> TestStore {
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

/// Asserts that reading an entry finds that it is damaged, or that it has been removed for that.
fn assert_not_served(store: &TestStore, number: u64, bytes: usize) {
    match lookup(store, number) {
        Found::Corrupt { detail } | Found::BlobMissing { detail } => assert!(!detail.is_empty()),
        Found::Grave(grave) => {
            assert!(matches!(grave.cause, GraveCause::Corrupt | GraveCause::BlobMissing));
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
fn a_flipped_byte_is_never_served_and_harms_nothing_else() {
    for bytes in DAMAGED_BYTES {
        let content = content(1, bytes);
        let store = damaged(&content);
        for number in [0, 9, 0, 9] {
            assert_not_served(&store, number, bytes);
            assert_others_stay(&store);
        }
        let again = vec![store.prepare(content.clone())];
        match try_put(&store, entry(0, again, 1, Replace::Never)) {
            Ok(outcome) => {
                assert_eq!(outcome, PutOutcome::Populated);
                assert_hit(&store, 0, slice::from_ref(&content));
            }
            // The database compacts in the background; if it meets the damage there, it takes no
            // more changes, and says so.
            Err(error) => {
                assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
                assert_not_served(&store, 0, bytes);
            }
        }
        assert_others_stay(&store);
    }
}
