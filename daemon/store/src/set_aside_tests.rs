//! Tests of what happens to a database that takes no changes any more.

use std::sync::mpsc;

use crate::error::StoreError;
use crate::options::{OnDamage, Options};
use crate::rocks::{Batch, compact};
use crate::schema::Column;
use crate::store::Store;

use super::*;

#[test]
fn days_have_their_dates() {
    for (seconds, expected) in [
        (0, "1970-01-01"),
        (951_782_399, "2000-02-28"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (1_709_251_199, "2024-02-29"),
        (1_735_689_599, "2024-12-31"),
        (4_107_542_400, "2100-03-01"),
    ] {
        assert_eq!(date(seconds), expected, "{seconds}");
    }
}

fn change(store: &Store) -> Result<(), StoreError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    store.save_note("n", b"v".to_vec(), move |outcome| sender.send(outcome).unwrap());
    receiver.recv().unwrap()
}

/// Flips a byte in the one file that holds these bytes.
fn flip(database: &Path, needle: &[u8]) {
    let mut places = 0;
    for entry in fs::read_dir(database).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let is_table = path.extension().is_some_and(|of| of == "sst");
        let found = bytes.windows(needle.len()).position(|part| part == needle);
        if let Some(place) = found.filter(|_| is_table) {
            bytes[place] ^= 1;
            fs::write(&path, bytes).unwrap();
            places += 1;
        }
    }
    assert_eq!(places, 1);
}

/// A compaction that meets damage ends all changes, and would do so again after each start: so what
/// is damaged is written anew; what cannot be is set aside.
#[test]
fn a_store_that_took_no_changes_is_mended_or_set_aside_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (path, database) = (folder.path(), folder.path().join("rocksdb"));
    let with = |on_damage| Options { on_damage, ..Options::new(path) };
    let open = |on_damage| Store::open(&with(on_damage)).unwrap();
    let store = open(OnDamage::SetAside);
    let id = store.id().to_owned();
    let db = &store.shared().db;
    let mut batch = Batch::new(0);
    batch.put(db, Column::Near, b"a row that will be damaged", &[]);
    batch.put(db, Column::Near, b"b", &[]);
    db.write(batch, true).unwrap();
    drop(store);
    flip(&database, b"a row that will be damaged");

    let store = open(OnDamage::SetAside);
    assert_eq!(store.id(), id);
    change(&store).unwrap();
    assert_eq!(marked(path), None);
    compact(&store.shared().db, Column::Near);
    let refused = change(&store).unwrap_err();
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
    assert!(refused.to_string().contains("--on-damage set_aside"), "{refused}");
    let why = marked(path).unwrap();
    assert!(why.contains("orruption"), "{why}");
    drop(store);
    for on_damage in [OnDamage::Refuse, OnDamage::SetAside] {
        let store = open(on_damage);
        assert_eq!((store.id(), marked(path)), (id.as_str(), None));
        compact(&store.shared().db, Column::Near);
        change(&store).unwrap();
    }

    // Of this, nobody knows where it is.
    let why = "Corruption: it is bad".to_owned();
    mark(path, &why);
    // Who wants to decide for themselves has it as it is, and it is still marked.
    for _ in 0..2 {
        let store = open(OnDamage::Refuse);
        assert_eq!(store.id(), id);
        change(&store).unwrap();
        assert_eq!(marked(path).as_ref(), Some(&why));
    }
    let store = open(OnDamage::SetAside);
    assert_ne!(store.id(), id);
    change(&store).unwrap();
    assert_eq!(marked(path), None);
    let mut moved: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(FOLDER))
        .collect();
    let moved = moved.pop().unwrap();
    assert_eq!(marked(&moved), Some(why));
    // It is a store of its own.
    assert_eq!(Store::open(&Options::new(&moved)).unwrap().id(), id);
    // And the new one is not moved again.
    let id = store.id().to_owned();
    drop(store);
    assert_eq!(open(OnDamage::SetAside).id(), id);
}

/// The database is moved, then the mark: between the two the daemon may die.
#[test]
fn a_mark_whose_database_was_moved_follows_it() {
    for on_damage in [OnDamage::SetAside, OnDamage::Refuse] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let open = || Store::open(&Options { on_damage, ..Options::new(path) }).unwrap();
        drop(open());
        mark(path, "a reason");
        let moved = path.join(format!("{FOLDER}2026-11-22"));
        fs::create_dir(&moved).unwrap();
        fs::rename(path.join("rocksdb"), moved.join("rocksdb")).unwrap();
        let id = open().id().to_owned();
        assert_eq!((marked(path), marked(&moved).as_deref()), (None, Some("a reason")));
        assert_eq!(open().id(), id, "the new one is not moved");
        // One that has been removed, and not moved, has no use for its mark.
        mark(path, "another reason");
        fs::remove_dir_all(path.join("rocksdb")).unwrap();
        let id = open().id().to_owned();
        assert_eq!((marked(path), marked(&moved).as_deref()), (None, Some("a reason")));
        assert_eq!(open().id(), id);
    }
}
