//! Space on the disk: that it is given back, and what is done when there is none.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use memod_store::{Budgets, Options, Store, StoreError};

use crate::budgets::{MIB, fill, limited, open_with, present, shrink};
use crate::harness::*;

/// What is promised: half as much again as is stored, and 256 MiB.
fn files_bytes_max(store: &TestStore) -> u64 {
    let stored = store.counters().total_bytes();
    stored + stored / 2 + 256 * MIB
}

#[test]
fn a_collection_gives_back_what_was_removed() {
    for bytes in [9000, 200_000, 3 * CHUNK] {
        let store = open_with(Budgets { store_bytes_low: Some(40 * MIB), ..limited(200 * MIB) });
        let entries = 80 * MIB / bytes as u64;
        fill(&store, 0..entries, bytes);
        let full = store.collect().unwrap().disk_bytes_after;
        assert!(full > 80 * MIB, "{full}");
        assert!(shrink(&store) > 0);
        let collected = store.collect().unwrap();
        let (before, after) = (collected.disk_bytes_before, collected.disk_bytes_after);
        assert!(before > 80 * MIB, "{bytes}: {before}");
        // The log that has just begun has taken some room for what is to come.
        assert!(after < 70 * MIB, "{bytes}: {before} {after}");
        assert!(content_bytes(&store) < 50 * MIB, "{bytes}: {}", content_bytes(&store));
        let stay = present(&store, 0..entries);
        assert_hit(&store, stay[0], &[content(stay[0], bytes)]);
        assert_sound(&store);
    }
}

/// Bytes of the files that hold content, without the log.
fn content_bytes(store: &TestStore) -> u64 {
    let files = fs::read_dir(store.folder.path().join("rocksdb")).unwrap().flatten();
    let is_blob = |path: &PathBuf| path.extension().is_some_and(|of| of == "blob");
    let blobs = files.map(|file| file.path()).filter(is_blob);
    // One that has just been deleted takes nothing.
    blobs.map(|path| fs::metadata(path).map_or(0, |of| of.len())).sum()
}

#[test]
fn files_become_smaller_by_themselves() {
    let store = open();
    fill(&store, 0..200, MIB as usize);
    let half: Vec<u64> = (0..200).step_by(2).collect();
    remove(&store, &half);
    let began = Instant::now();
    let (mut before, mut after) = (0, u64::MAX);
    // What is still in memory when it is removed never comes to a file.
    // A sixth of the files may stay garbage.
    while after > 121 * MIB {
        assert!(began.elapsed() < Duration::from_secs(60), "{before} {after}");
        // tidy: sleeps because nobody is told when the database deletes files.
        std::thread::sleep(Duration::from_millis(50));
        after = content_bytes(&store);
        before = before.max(after);
    }
    assert!(before > 150 * MIB, "{before}");
    assert!(store.disk_used_bytes() < files_bytes_max(&store));
    for number in (1..200).step_by(40) {
        assert_hit(&store, number, &[content(number, MIB as usize)]);
    }
    assert_sound(&store);
}

#[test]
fn a_collection_does_not_hold_up_closing() {
    let store = open();
    fill(&store, 0..100, MIB as usize);
    remove(&store, &(0..60).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        let collecting = scope.spawn(|| store.collect());
        store.close();
        // It has ended, or was ended.
        assert!(matches!(collecting.join().unwrap(), Ok(_) | Err(StoreError::Closed)));
    });
    let store = store.reopen();
    assert_eq!(store.counters().entries, 40);
    assert_sound(&store);
}

#[test]
fn a_part_of_the_store_goes_while_the_disk_is_short() {
    let store = open();
    // So much that a fifth of it is worth giving back.
    fill(&store, 0..330, MIB as usize);
    let TestStore { store, folder } = store;
    drop(store);
    let budgets = Budgets { disk_reserve_bytes: u64::MAX, ..Budgets::default() };
    let store = Store::open(&Options { budgets, ..options(folder.path()) }).unwrap();
    let rounds = (0..10_000).take_while(|_| {
        store.settle().unwrap();
        store.counters().evicted_entries < 66
    });
    assert!(rounds.count() < 10_000, "{:?}", store.counters());
    for _ in 0..10 {
        store.settle().unwrap();
    }
    assert!(store.counters().evicted_entries < 70, "and no more for now");
    assert_sound(&store);
}
