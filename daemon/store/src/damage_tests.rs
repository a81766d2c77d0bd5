//! Rows that the database thinks sound and that are not what was written: its checksums find
//! nothing, so verification has to.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use memod_protocol::limits::CHUNK_BYTES;
use memod_protocol::{
    CallIdentity, Digest, Filter, InterfaceText, Key, Provenance, PutOutcome, RunClaim, Scope,
};

use crate::chunk_reader::ChunkReader;
use crate::limits::WHOLE_BYTES_MAX;
use crate::lookup::{Content, Found};
use crate::mutation::{BlobFault, Burial, NewEntry, Replace};
use crate::near;
use crate::options::Options;
use crate::record::{BlobRecord, ChunkedRecord, EntryRecord, GraveCause};
use crate::rocks::{Batch, Read, Reads, Tier};
use crate::schema::{Column, META_DOUBT, chunk_key, task_key};
use crate::store::Store;

fn identity(number: u64) -> CallIdentity {
    CallIdentity {
        scope: Scope::new("p", "d"),
        task: "t".to_owned(),
        cache_version: "1".to_owned(),
        signature: Digest::of(b""),
        inputs: vec![("number".to_owned(), Digest::of(&number.to_le_bytes()))],
    }
}

fn new_entry(store: &Store, number: u64, content: &[u8]) -> NewEntry {
    let provenance = Provenance {
        writer_uid: 0,
        writer_pid: None,
        program: None,
        host: None,
        created_at_ms: 1,
        run: RunClaim::default(),
    };
    let content = store.prepare(Bytes::copy_from_slice(content));
    NewEntry {
        key: identity(number).key(),
        identity: identity(number),
        interface: InterfaceText::default(),
        outputs: vec![("o".to_owned(), "bytes".to_owned(), content)],
        provenance,
        replace: Replace::Never,
        apart: false,
    }
}

fn put(store: &Store, number: u64, content: &[u8]) -> Key {
    let (sender, receiver) = mpsc::sync_channel(1);
    let entry = new_entry(store, number, content);
    store.put(entry, move |result| sender.send(result).unwrap());
    assert_eq!(receiver.recv().unwrap().unwrap(), PutOutcome::Populated);
    identity(number).key()
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

fn chunked_record(store: &Store, content: &[u8]) -> ChunkedRecord {
    let row = row(store, Column::Blobs, Digest::of(content).as_bytes());
    match BlobRecord::decode(&row).unwrap() {
        BlobRecord::Chunked(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Damages a new store's only entry, and asserts that it is not served but buried for this cause,
/// and that it can be put again.
fn assert_found(content: &[u8], cause: GraveCause, damage: impl FnOnce(&Store, &Key)) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let key = put(&store, 0, content);
    damage(&store, &key);
    let found = match store.lookup(&key, Tier::Disk).unwrap() {
        Found::Corrupt { .. } => GraveCause::Corrupt,
        Found::BlobMissing { .. } => GraveCause::BlobMissing,
        Found::Entry(entry) => {
            let Content::Chunked(reader) = &entry.outputs[0].content else {
                panic!("damaged content was served")
            };
            let chunks = 0..reader.chunk_count();
            let is_served = |index| reader.with_chunk(index, |_| ()).is_ok();
            let faults = chunks.clone().filter(|index| !is_served(*index));
            assert_eq!(faults.count(), 1);
            let faults = chunks.filter(|index| reader.chunk(*index, Tier::Disk).is_err());
            assert_eq!(faults.count(), 1);
            cause
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(found, cause);
    store.settle().unwrap();
    let Found::Grave(grave) = store.lookup(&key, Tier::Disk).unwrap() else { panic!("no grave") };
    assert_eq!(grave.cause, cause);
    assert_eq!(store.counters().entries, 0);
    put(&store, 0, content);
    assert!(matches!(store.lookup(&key, Tier::Disk).unwrap(), Found::Entry(_)));
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

#[test]
fn a_whole_blob_with_other_content_is_corrupt() {
    for other in [content(WHOLE_BYTES_MAX - 1), vec![7; WHOLE_BYTES_MAX], Vec::new()] {
        let content = content(WHOLE_BYTES_MAX);
        assert_found(&content, GraveCause::Corrupt, |store, _| {
            let digest = Digest::of(&content);
            let row = BlobRecord::Whole(&other).encode();
            set_row(store, Column::Blobs, digest.as_bytes(), Some(&row));
        });
    }
}

#[test]
fn a_chunk_with_other_content_is_corrupt() {
    let chunk = CHUNK_BYTES as usize;
    for bytes in [WHOLE_BYTES_MAX + 1, chunk, chunk + 1, 3 * chunk] {
        let content = content(bytes);
        let last = bytes.div_ceil(chunk) as u32 - 1;
        for other in [vec![7; bytes - last as usize * chunk], vec![7]] {
            assert_found(&content, GraveCause::Corrupt, |store, _| {
                let record = chunked_record(store, &content);
                let key = chunk_key(record.storage, last);
                assert_ne!(row(store, Column::Chunks, &key), other);
                set_row(store, Column::Chunks, &key, Some(&other));
            });
        }
    }
}

#[test]
fn a_chunk_in_the_place_of_another_is_corrupt() {
    let chunk = CHUNK_BYTES as usize;
    let content: Vec<u8> = [vec![1; chunk], vec![2; chunk], vec![3; 10]].concat();
    assert_found(&content, GraveCause::Corrupt, |store, _| {
        let storage = chunked_record(store, &content).storage;
        let first = row(store, Column::Chunks, &chunk_key(storage, 0));
        set_row(store, Column::Chunks, &chunk_key(storage, 1), Some(&first));
    });
}

#[test]
fn a_list_of_chunks_that_does_not_merge_is_corrupt() {
    let content = content(3 * CHUNK_BYTES as usize);
    for damage in [
        |record: &mut ChunkedRecord| record.chaining[1][0] ^= 1,
        |record: &mut ChunkedRecord| record.chaining.truncate(2),
        |record: &mut ChunkedRecord| record.bytes -= 1,
        |record: &mut ChunkedRecord| record.bytes = 5,
    ] {
        assert_found(&content, GraveCause::Corrupt, |store, _| {
            let mut record = chunked_record(store, &content);
            damage(&mut record);
            let row = BlobRecord::Chunked(record).encode();
            set_row(store, Column::Blobs, Digest::of(&content).as_bytes(), Some(&row));
        });
    }
}

#[test]
fn what_is_gone_is_missing() {
    for bytes in [0, WHOLE_BYTES_MAX + 1, 3 * CHUNK_BYTES as usize] {
        let content = content(bytes);
        let digest = Digest::of(&content);
        assert_found(&content, GraveCause::BlobMissing, |store, _| {
            set_row(store, Column::Blobs, digest.as_bytes(), None);
        });
        if bytes > 0 {
            assert_found(&content, GraveCause::BlobMissing, |store, _| {
                let storage = chunked_record(store, &content).storage;
                set_row(store, Column::Chunks, &chunk_key(storage, 0), None);
            });
        }
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_corrupt() {
    let content = content(100);
    assert_found(&content, GraveCause::Corrupt, |store, key| {
        set_row(store, Column::Entries, key.as_bytes(), Some(b"nonsense"));
    });
    assert_found(&content, GraveCause::Corrupt, |store, key| {
        let row = row(store, Column::Entries, key.as_bytes());
        let (mut record, details) = EntryRecord::decode_whole(&row).unwrap();
        record.outputs[0].bytes += 1;
        let row = record.encode_with(&details.unwrap());
        set_row(store, Column::Entries, key.as_bytes(), Some(&row));
    });
}

/// Problems of a recount, and how many rows of `near` are left of entries that are gone.
fn recount(store: &Store) -> (Vec<String>, u64) {
    store.settle().unwrap();
    let recount = store.recount().unwrap();
    (recount.problems, recount.near_rows_left)
}

fn nearest(store: &Store, number: u64) -> Vec<Key> {
    let found = store.nearest(&identity(number), &InterfaceText::default(), 9).unwrap();
    found.into_iter().map(|nearest| nearest.key).collect()
}

#[test]
fn rows_of_near_are_no_entries() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let [key, sound] = [put(&store, 0, b"content"), put(&store, 1, b"content")];
    let sorted = |mut keys: Vec<Key>| {
        keys.sort_unstable();
        keys
    };
    assert_eq!(sorted(nearest(&store, 9)), sorted(vec![key, sound]));
    set_row(&store, Column::Entries, key.as_bytes(), Some(b"nonsense"));
    assert!(matches!(store.lookup(&key, Tier::Disk).unwrap(), Found::Corrupt { .. }));
    let (problems, near_rows_left) = recount(&store);
    // What the entry was is not known any more, so its other rows are left.
    assert_eq!(near_rows_left, 1);
    assert!(problems.contains(&format!("{key} is listed but not there")), "{problems:?}");
    assert!(problems.iter().all(|problem| !problem.contains("near")), "{problems:?}");
    assert_eq!(nearest(&store, 9), [sound]);
    put(&store, 0, b"content");
    assert_eq!(recount(&store), (Vec::new(), 0));
    assert_eq!(sorted(nearest(&store, 9)), sorted(vec![key, sound]));
}

#[test]
fn an_entry_that_cannot_be_read_is_replaced_with_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let key = put(&store, 0, b"content");
    set_row(&store, Column::Entries, key.as_bytes(), Some(b"nonsense"));
    let mut entry = new_entry(&store, 0, b"content");
    (entry.replace, entry.provenance.created_at_ms) = (Replace::Always, 2);
    let (sender, receiver) = mpsc::sync_channel(1);
    store.put(entry, move |result| sender.send(result).unwrap());
    assert_eq!(receiver.recv().unwrap().unwrap(), PutOutcome::Populated);
    let recount = store.recount().unwrap();
    assert_eq!((recount.near_rows, recount.near_rows_left), (1, 0));
    assert!(recount.problems.iter().all(|problem| !problem.contains("near")));
}

#[test]
fn a_recount_finds_rows_of_near_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let key = put(&store, 0, b"content");
    let identity = identity(0);
    let task = task_key(&identity.scope, "t", "1", &identity.signature, &key);
    let [right] = near::rows(&task, 1, &identity.inputs)[..] else { panic!("one input, one row") };
    let [other] = near::rows(&task, 2, &identity.inputs)[..] else { panic!("one input, one row") };
    let mut nobody = right;
    nobody[55] ^= 1;
    for (row, value, expected) in [
        (&right[..55], Some(b"".as_slice()), "a row of `near` cannot be read".to_owned()),
        (&other, Some(b""), format!("a row of `near` is not that of entry {key}")),
        (&nobody, Some(b""), "which is not there".to_owned()),
    ] {
        set_row(&store, Column::Near, row, value);
        let (problems, _) = recount(&store);
        assert!(problems.len() == 1 && problems[0].contains(&expected), "{problems:?}");
        assert_eq!(nearest(&store, 9), [key]);
        set_row(&store, Column::Near, row, None);
    }
    set_row(&store, Column::Near, &right, None);
    assert_eq!(store.recount().unwrap().entries_without_near, 1);
}

fn assert_hit(store: &Store, key: &Key) {
    let Found::Entry(entry) = store.lookup(key, Tier::Disk).unwrap() else { panic!("no hit") };
    let [output] = entry.outputs.as_slice() else { panic!("one output was put") };
    if let Content::Chunked(reader) = &output.content {
        for index in 0..reader.chunk_count() {
            let handed_on = reader.with_chunk(index, <[u8]>::to_vec).unwrap();
            assert!(reader.chunk(index, Tier::Disk).unwrap().unwrap() == handed_on);
        }
    }
}

fn assert_sound(store: &Store) {
    store.settle().unwrap();
    let recount = store.recount().unwrap();
    assert_eq!((recount.problems, recount.loose_rows), (Vec::new(), 0));
    assert_eq!(recount.counters, store.counters());
}

/// Damages content of this length that two entries share: in its row if it is there, else in its
/// first chunk.
fn shared_and_damaged(store: &Store, content: &[u8]) -> [Key; 2] {
    let keys = [put(store, 0, content), put(store, 1, content)];
    if content.len() <= WHOLE_BYTES_MAX {
        let row = BlobRecord::Whole(b"other").encode();
        set_row(store, Column::Blobs, Digest::of(content).as_bytes(), Some(&row));
    } else {
        let key = chunk_key(chunked_record(store, content).storage, 0);
        set_row(store, Column::Chunks, &key, Some(b"other"));
    }
    keys
}

#[test]
fn entries_that_share_damaged_content_all_miss_or_are_mended_together() {
    for bytes in [100, WHOLE_BYTES_MAX + 1, CHUNK_BYTES as usize] {
        for mended in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&Options::new(folder.path())).unwrap();
            let content = content(bytes);
            let [first, second] = shared_and_damaged(&store, &content);
            let found = store.lookup(&first, Tier::Disk).unwrap();
            assert!(matches!(found, Found::Corrupt { .. }), "{found:?}");
            store.settle().unwrap();
            if mended {
                put(&store, 2, &content);
                assert_hit(&store, &second);
            } else {
                let found = store.lookup(&second, Tier::Disk).unwrap();
                assert!(matches!(found, Found::BlobMissing { .. }), "{found:?}");
                store.settle().unwrap();
                assert_eq!(store.counters().blobs, 0);
            }
            assert_sound(&store);
            assert_hit(&store, &put(&store, 0, &content));
            assert_sound(&store);
        }
    }
}

#[test]
fn content_that_stands_in_its_row_is_mended_by_any_put_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let content = content(WHOLE_BYTES_MAX);
    let [first, second] = shared_and_damaged(&store, &content);
    put(&store, 2, &content);
    assert_hit(&store, &first);
    assert_hit(&store, &second);
    assert_eq!(store.counters().blobs, 1);
    assert_sound(&store);
}

#[test]
fn an_entry_that_has_been_replaced_since_it_was_read_is_not_buried() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let key = put(&store, 0, b"content");
    store.shared().bury(Burial {
        key,
        row: Some(Digest::of(b"another row")),
        blob: Some(BlobFault { digest: Digest::of(b"content"), storage: None }),
        cause: GraveCause::Corrupt,
        at_ms: 1,
    });
    store.settle().unwrap();
    assert_hit(&store, &key);
    assert_sound(&store);
}

#[test]
fn a_storage_that_has_been_given_up_is_not_read_though_it_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let content = content(WHOLE_BYTES_MAX + 1);
    let key = put(&store, 0, &content);
    let record = chunked_record(&store, &content);
    let reader = || {
        let (shared, digest) = (Arc::clone(store.shared()), Digest::of(&content));
        ChunkReader::pin(shared, key, Bytes::new(), digest, record.clone())
    };
    assert!(reader().still_owned(Tier::Disk).unwrap());
    store.remove(vec![key], GraveCause::Evicted, 1, None, |_| {});
    store.settle().unwrap();
    assert!(!reader().still_owned(Tier::Disk).unwrap());
    put(&store, 0, &content);
    assert!(!reader().still_owned(Tier::Disk).unwrap(), "the same content has another storage");
    assert_sound(&store);
}

#[test]
fn a_key_of_the_listing_that_cannot_be_read_ends_no_listing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let keys: BTreeSet<Key> = (0..4).map(|number| put(&store, number, b"x")).collect();
    let first = keys.first().unwrap();
    let call = (0..4).map(identity).find(|call| call.key() == *first).unwrap();
    let row = task_key(&call.scope, &call.task, &call.cache_version, &call.signature, first);
    // Directly behind the first row, where a page of one row ends.
    set_row(&store, Column::Tasks, &[&row[..], b"?"].concat(), Some(b""));
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(&Filter::default(), 1, 1, cursor.as_deref()).unwrap();
        listed.extend(page.rows.into_iter().map(|row| row.key));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, Vec::from_iter(keys));
}

#[test]
fn charges_that_are_made_anew_leave_those_who_pay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    for (number, uid) in [(0, 7), (1, 8), (2, 8), (3, 7)] {
        let mut entry = new_entry(&store, number, &content(100_000));
        (entry.provenance.writer_uid, entry.apart) = (uid, uid == 8);
        let (sender, receiver) = mpsc::sync_channel(1);
        store.put(entry, move |result| sender.send(result).unwrap());
        receiver.recv().unwrap().unwrap();
    }
    let before = store.usage(10).unwrap();
    let of = |uid| before.users.iter().find(|(of, _)| *of == uid).unwrap().1.bytes;
    assert!((100_000..102_000).contains(&of(7)) && (200_000..202_000).contains(&of(8)));
    set_row(&store, Column::Meta, META_DOUBT, Some(b""));
    store.close();
    drop(store);
    let store = Store::open(&Options::new(folder.path())).unwrap();
    assert_eq!(store.usage(10).unwrap(), before);
    assert_eq!(store.recount().unwrap().problems, Vec::<String>::new());
}

#[test]
fn what_is_put_apart_is_written_though_it_is_there_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    put(&store, 0, &content(100_000));
    let storages_of = |number, apart| {
        let before = store.shared().new_storage();
        let entry = NewEntry { apart, ..new_entry(&store, number, &content(100_000)) };
        let (sender, receiver) = mpsc::sync_channel(1);
        store.put(entry, move |result| sender.send(result).unwrap());
        receiver.recv().unwrap().unwrap();
        store.shared().new_storage() - before - 1
    };
    assert_eq!((storages_of(1, false), storages_of(2, true)), (0, 1));
    store.settle().unwrap();
    let recount = store.recount().unwrap();
    assert_eq!((recount.chunk_rows, recount.loose_rows, recount.problem_count), (1, 0, 0));
}
