//! Content of every size, in and out.

use std::fs;
use std::path::Path;
use std::slice;
use std::time::{Duration, Instant};

use bytes::Bytes;
use memod_protocol::{Digest, PutOutcome};
use memod_store::{ChunkReader, Content, Replace, StoreError, Tier, WHOLE_BYTES_MAX};

use crate::harness::*;

/// Lengths round every threshold.
pub(crate) const INTERESTING_BYTES: [usize; 17] = [
    0,
    1,
    4095,
    4096,
    4097,
    WHOLE_BYTES_MAX - 1,
    WHOLE_BYTES_MAX,
    WHOLE_BYTES_MAX + 1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK - 1,
    2 * CHUNK,
    2 * CHUNK + 1,
    3 * CHUNK,
    4 * CHUNK + 1,
    5 * CHUNK + 1234,
];

#[test]
fn content_of_every_size_comes_back() {
    let store = open();
    let contents: Vec<Bytes> =
        INTERESTING_BYTES.iter().map(|bytes| content(*bytes as u64, *bytes)).collect();
    for (number, content) in contents.iter().enumerate() {
        assert_eq!(put(&store, number as u64, slice::from_ref(content)), PutOutcome::Populated);
        assert_hit(&store, number as u64, slice::from_ref(content));
    }
    assert_sound(&store);
    let store = store.reopen();
    for _cold_then_warm in 0..2 {
        for (number, content) in contents.iter().enumerate() {
            assert_hit(&store, number as u64, slice::from_ref(content));
        }
    }
    let all: Vec<u64> = (0..contents.len() as u64).collect();
    assert_eq!(remove(&store, &all), all.len() as u64);
    assert_sound(&store);
    let recount = store.recount().unwrap();
    assert_eq!((recount.chunk_rows, recount.counters.blobs), (0, 0));
}

#[test]
fn uploads_in_pieces_are_the_same_content() {
    let store = open();
    let mut number = 0;
    for bytes in INTERESTING_BYTES {
        let content = content(bytes as u64, bytes);
        for piece_bytes in [60_001, CHUNK, 3 * CHUNK - 1] {
            let prepared = upload(&store, &content, piece_bytes);
            assert_eq!(prepared.digest(), Digest::of(&content));
            assert_eq!(prepared.bytes(), bytes as u64);
            try_put(&store, entry(number, vec![prepared], 1, Replace::Never)).unwrap();
            assert_hit(&store, number, slice::from_ref(&content));
            number += 1;
        }
        // The second and third of each found the first there and were given up.
        assert_eq!(store.counters().blobs * 3, number);
    }
    assert_sound(&store);
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    let store = open();
    let mut cut_off = store.begin_upload();
    cut_off.write(content(1, 5 * CHUNK + 1)).unwrap();
    wait(|done| store.save_note("everything before is written", Vec::new(), done)).unwrap();
    assert!(store.recount().unwrap().chunk_rows > 0, "or this test shows nothing");
    drop(cut_off);
    let finished = upload(&store, &content(2, 200 * CHUNK), 3 * CHUNK);
    drop(finished);
    assert_sound(&store);
    assert_eq!(store.recount().unwrap().chunk_rows, 0);

    // One whose entry loses against an earlier one.
    put(&store, 1, &[content(3, 10)]);
    let loser = upload(&store, &content(4, 3 * CHUNK), CHUNK);
    let outcome = try_put(&store, entry(1, vec![loser], 1, Replace::Never)).unwrap();
    assert!(matches!(outcome, PutOutcome::Exists(_)));
    assert_sound(&store);
    assert_eq!(store.recount().unwrap().chunk_rows, 0);
}

#[test]
fn an_upload_that_outlives_the_store_is_gone_when_it_is_opened_again() {
    let store = open();
    let mut cut_off = store.begin_upload();
    cut_off.write(content(1, 70 * CHUNK)).unwrap();
    store.settle().unwrap();
    store.close();
    // The queue is closed: nobody removes the chunks now.
    drop(cut_off);
    let recount = store.recount().unwrap();
    assert_eq!((recount.chunk_rows, recount.loose_rows), (69, 1));
    let store = store.reopen();
    assert_sound(&store);
    assert_eq!(store.recount().unwrap().chunk_rows, 0);
    // Storage ids are not used again.
    put(&store, 1, &[content(2, 2 * CHUNK)]);
    assert_hit(&store, 1, &[content(2, 2 * CHUNK)]);
    assert_sound(&store);
}

fn reader(store: &TestStore, number: u64) -> ChunkReader {
    match &hit(store, number).outputs[0].content {
        Content::Chunked(reader) => reader.clone(),
        Content::Whole(_) => panic!("is whole"),
    }
}

#[test]
fn what_is_being_read_stays_until_it_is_read() {
    let store = open();
    let long = content(1, 6 * CHUNK + 5);
    put(&store, 1, slice::from_ref(&long));
    // Without the hot cache: everything comes from the disk.
    let folder = {
        let TestStore { store, folder } = store;
        drop(store);
        folder
    };
    let options = memod_store::Options { hot_bytes: 0, ..options(folder.path()) };
    let store = TestStore { store: memod_store::Store::open(&options).unwrap(), folder };
    let (first, second) = (reader(&store, 1), reader(&store, 1));
    assert!(first.chunk(0, Tier::Disk).unwrap().is_some());
    assert_eq!(remove(&store, &[1]), 1);
    store.settle().unwrap();
    let recount = store.recount().unwrap();
    assert_eq!((recount.chunk_rows, recount.loose_rows), (7, 1));
    assert_eq!(recount.counters.blobs, 0);
    // The same content, put again meanwhile, is stored by itself.
    put(&store, 2, slice::from_ref(&long));
    drop(first);
    for (index, expected) in (0..).zip(long.chunks(CHUNK)) {
        let chunk = second.chunk(index, Tier::Disk).unwrap().unwrap();
        assert!(chunk == expected, "chunk {index}");
    }
    drop(second);
    assert_sound(&store);
    assert_eq!(store.recount().unwrap().chunk_rows, 7);
    assert_hit(&store, 2, &[long]);
}

#[test]
fn there_is_no_chunk_behind_the_last() {
    let store = open();
    put(&store, 1, &[content(1, 2 * CHUNK)]);
    let reader = reader(&store, 1);
    assert_eq!(reader.chunk_count(), 2);
    let beyond = reader.chunk(2, Tier::Disk);
    assert!(matches!(beyond, Err(StoreError::NoSuchChunk { index: 2, chunks: 2 })));
}

#[test]
fn a_wide_entry_is_not_read_into_memory_as_a_whole() {
    let store = open();
    let outputs: Vec<Bytes> = (0..300).map(|seed| content(seed, 60_000)).collect();
    put(&store, 1, &outputs);
    put(&store, 2, &outputs[..3]);
    let is_chunked = |number| {
        let outputs = hit(&store, number).outputs;
        outputs.iter().filter(|o| matches!(o.content, Content::Chunked(_))).count()
    };
    assert_eq!((is_chunked(1), is_chunked(2)), (300, 0));
    assert_hit(&store, 1, &outputs);
    assert_hit(&store, 2, &outputs[..3]);
    assert_sound(&store);
}

fn disk_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let bytes = |entry: fs::DirEntry| {
        if entry.file_type().unwrap().is_dir() {
            return disk_bytes(&entry.path());
        }
        // A file may be removed while we look.
        entry.metadata().map_or(0, |metadata| metadata.len())
    };
    entries.map(bytes).sum()
}

/// Waits until compaction, which works in the background, has brought half of the space back.
fn assert_shrinks(store: &TestStore, full: u64) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let left = disk_bytes(store.folder.path());
        if left < full / 2 {
            return;
        }
        assert!(Instant::now() < end, "{left} of {full} bytes are left");
        store.settle().unwrap();
    }
}

#[test]
fn disk_space_of_large_content_comes_back() {
    let store = open();
    for number in 0..10 {
        let prepared = upload(&store, &content(number, 30 * CHUNK), CHUNK);
        try_put(&store, entry(number, vec![prepared], 1, Replace::Never)).unwrap();
    }
    let full = disk_bytes(store.folder.path());
    assert!(full > 300 * CHUNK as u64, "{full} bytes");
    for number in 0..9 {
        remove(&store, &[number]);
    }
    assert_shrinks(&store, full);
    assert_hit(&store, 9, &[content(9, 30 * CHUNK)]);
}

#[test]
fn disk_space_of_small_content_comes_back() {
    let store = open();
    let outputs = |number| -> Vec<Bytes> {
        (0..100).map(|index| content(number * 100 + index, WHOLE_BYTES_MAX)).collect()
    };
    for number in 0..100 {
        put(&store, number, &outputs(number));
    }
    let full = disk_bytes(store.folder.path());
    assert!(full > 150 * CHUNK as u64, "{full} bytes");
    remove(&store, &(0..90).collect::<Vec<_>>());
    assert_shrinks(&store, full);
    assert_hit(&store, 95, &outputs(95));
}
