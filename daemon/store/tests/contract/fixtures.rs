//! Stores of all formats so far, as the memod of their time wrote them: each still opens, and every
//! entry hits.
//!
//! `MEMOD_BLESS=1` writes the one of the present format anew. Once that format has been released
//! it is never done again: a change of the format makes a fixture beside it.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memod_protocol::Filter;
use memod_store::{Replace, Store};

use crate::harness::*;
use crate::verify::verify;

const ENTRIES: u64 = 24;
/// A fixture is committed, so it is small.
const FIXTURE_BYTES_MAX: u64 = 300 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// Shared, empty, in its row, in a blob file, in chunks; and two entries without outputs.
fn outputs(number: u64) -> Vec<Bytes> {
    match number % 12 {
        0 => vec![],
        1 => vec![Bytes::new(), content(number, 300)],
        2 => vec![content(number, 2000), content(1000, 100)],
        3 => vec![content(1001, 20_000)],
        4 => vec![content(number, 17_000)],
        _ => vec![content(number, 40), content(1000, 100)],
    }
}

fn make(path: &Path) {
    let store = open_in(path);
    for number in 0..ENTRIES + 4 {
        put(&store, number, &outputs(number));
    }
    // Something has been replaced, and something removed.
    put_as(&store, 5, &[content(77, 10)], 2, Replace::Always);
    put_as(&store, 5, &outputs(5), 1, Replace::Always);
    remove(&store, &(ENTRIES..ENTRIES + 4).collect::<Vec<_>>());
    store.settle().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Writes the fixture of the present format: what a closed store needs, and no more.
fn bless(target: &Path) {
    let made = tempfile::tempdir().unwrap();
    make(made.path());
    if target.exists() {
        fs::remove_dir_all(target).unwrap();
    }
    copy(&made.path().join("rocksdb"), &target.join("rocksdb"));
    for entry in fs::read_dir(target.join("rocksdb")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_log = path.extension().is_some_and(|of| of == "log");
        if is_log || ["LO", "OPTIONS", "IDENTITY"].iter().any(|begin| name.starts_with(begin)) {
            fs::remove_file(&path).unwrap();
        }
    }
}

fn assert_whole(store: &Store) {
    for number in 0..ENTRIES {
        assert_hit(store, number, &outputs(number));
        assert_eq!(hit(store, number).provenance.created_at_ms, 1);
        let detail = store.describe(&key(number)).unwrap().unwrap();
        assert_eq!(detail.inputs, identity(number).inputs);
    }
    assert_eq!(store.counters().entries, ENTRIES);
    let listed = store.list(&Filter::default(), 0, 1000, None).unwrap();
    assert_eq!(listed.rows.len() as u64, ENTRIES);
    let report = verify(store, false).unwrap();
    assert_eq!((report.entries, report.problems), (ENTRIES, 0), "{report:?}");
}

#[test]
fn a_store_of_every_format_opens_and_every_entry_hits() {
    let present = format!("store-format-{}", open().format());
    if std::env::var_os("MEMOD_BLESS").is_some() {
        bless(&folder().join(&present));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("store-format-") {
            continue;
        }
        eprintln!("{name}");
        let files = fs::read_dir(path.join("rocksdb")).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < FIXTURE_BYTES_MAX, "{bytes} bytes");
        let copied = tempfile::tempdir().unwrap();
        copy(&path.join("rocksdb"), &copied.path().join("rocksdb"));
        // It is taken over by the first opening, and stays so.
        for _ in 0..2 {
            let store = open_in(copied.path());
            assert_whole(&store);
            assert_sound(&store);
        }
        let store = open_in(copied.path());
        put(&store, 500, &[content(500, 100)]);
        assert_hit(&store, 500, &[content(500, 100)]);
        names.push(name);
    }
    assert!(names.contains(&present), "no fixture of the present format in {names:?}");
}
