//! `kill -9` at any moment: what was acknowledged is there, what was not has left nothing.
//!
//! The test starts itself again as a child process that writes, and kills that.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use memod_store::{Budgets, Found, Options, Replace, Store};

use crate::harness::*;

const FOLDER: &str = "MEMOD_TEST_CRASH_FOLDER";
const BUDGET: &str = "MEMOD_TEST_CRASH_BUDGET";

/// The content of an entry of the child: all kinds, by number.
fn content_bytes(number: u64) -> usize {
    match number % 4 {
        0 => 100,
        1 => 50_000,
        2 => 2 * CHUNK + number as usize,
        _ => 9000,
    }
}

/// Puts entries, and says so, until it is killed. Does nothing unless it is the child.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = open_in(Path::new(&folder));
    for number in store.counters().puts.. {
        let mut cut_off = store.begin_upload();
        cut_off.write(content(number, 3 * CHUNK)).unwrap();
        let content = content(number, content_bytes(number));
        let prepared = upload(&store, &content, 400_000);
        try_put(&store, entry(number, vec![prepared], number, Replace::Never)).unwrap();
        println!("acknowledged {number}");
        if number % 5 == 4 {
            remove(&store, &[number - 2]);
            println!("removed {}", number - 2);
        }
    }
}

/// Puts and uses entries in a store that is too small for them, and says so, until it is killed.
/// Does nothing unless it is the child.
#[test]
fn child_that_evicts_until_it_is_killed() {
    let Some(folder) = std::env::var_os(BUDGET) else { return };
    let store = Store::open(&small(Path::new(&folder))).unwrap();
    for number in store.counters().puts.. {
        // Contents are shared, so that others have to pay for what remains.
        let shared = content(number % 7, content_bytes(number % 4));
        let own = content(number, content_bytes(number));
        let outputs = vec![store.prepare(shared), upload_announced(&store, &own, 400_000)];
        try_put(&store, entry(number, outputs, number, Replace::Never)).unwrap();
        if let Found::Entry(found) = lookup(&store, number) {
            store.touch(&found, number, 1);
        }
        if number % 5 == 0 {
            wait(|done| store.fold(done)).unwrap();
        }
        println!("acknowledged {number}");
    }
}

fn small(path: &Path) -> Options {
    let budgets = Budgets { store_bytes_max: Some(12 * CHUNK as u64), ..Budgets::default() };
    Options { budgets, ..options(path) }
}

#[test]
fn what_is_charged_is_exact_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut evicted = 0;
    for lines in [30, 57, 11, 40] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_that_evicts_until_it_is_killed", "--exact", "--nocapture"])
            .env(BUDGET, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = output.map(|line| line.unwrap()).filter(|line| line.contains("acknowledged"));
        assert_eq!(told.take(lines).count(), lines, "the child goes on until it is killed");
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&small(folder.path())).unwrap();
        assert_sound(&store);
        let counters = store.counters();
        assert!(counters.evicted_entries > evicted, "{counters:?}");
        assert_eq!(counters.entries + counters.evicted_entries, counters.puts);
        assert!(counters.total_bytes() <= 12 * CHUNK as u64);
        evicted = counters.evicted_entries;
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = std::collections::BTreeSet::new();
    let mut removed = std::collections::BTreeSet::new();
    for lines in [1, 17, 40, 3] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = 0;
        let mut note = |line: &str| {
            // The first line shares one with the test's name.
            if let Some((_, number)) = line.split_once("acknowledged ") {
                acknowledged.insert(number.parse::<u64>().unwrap());
                return 1;
            }
            if let Some((_, number)) = line.split_once("removed ") {
                removed.insert(number.parse::<u64>().unwrap());
            }
            0
        };
        while told < lines {
            told += note(&output.next().expect("the child goes on until it is killed").unwrap());
        }
        child.kill().unwrap();
        // What it still said before it died.
        for line in output {
            note(&line.unwrap());
        }
        child.wait().unwrap();

        let store = open_in(folder.path());
        for number in &acknowledged {
            match lookup(&store, *number) {
                Found::Entry(_) => {
                    assert_hit(&store, *number, &[content(*number, content_bytes(*number))]);
                }
                // The removal may have been done but not told.
                Found::Grave(_) => assert!(number % 5 == 2, "entry {number}"),
                other => panic!("entry {number}: {other:?}"),
            }
            assert!(
                !removed.contains(number) || matches!(lookup(&store, *number), Found::Grave(_))
            );
        }
        assert_sound(&store);
        let owned = store.recount().unwrap().chunk_rows;
        // Only the content of entries, no cut-off upload: 1 chunk or 3 each.
        assert!(owned <= 3 * store.counters().entries, "{owned} chunks");
    }
    assert!(acknowledged.len() >= 61 && !removed.is_empty());
}
