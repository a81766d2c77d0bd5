//! Files that cannot be opened, of each column and in each way: what does not need them stays.

use std::collections::BTreeSet;
use std::fs;

use bytes::Bytes;
use memod_protocol::PutOutcome;
use tempfile::TempDir;

use super::*;
use crate::lookup::Found;
use crate::mutation::Replace;
use crate::options::Options;
use crate::record::GraveCause;
use crate::renew::tests::{
    ENTRIES, assert_sound, assert_there, assert_works, copy, filled, is_served, key, numbers, put,
    put_as, verify,
};
use crate::rocks::{Batch, Tier, files_of};
use crate::schema::loose_key;
use crate::store::Store;

/// Of the end of a file, one byte of so many is damaged: there are index, properties and footer.
const STEP: usize = 83;
const TAIL: usize = 1800;
/// Content has three columns; what stands in others follows from them, or only helps.
const CONTENT: [Column; 3] = [Column::Entries, Column::Blobs, Column::Chunks];

/// Ways to keep a file from being opened.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Gone,
    Empty,
    Cut(usize),
    Flipped(usize),
}

fn faults() -> impl Iterator<Item = Fault> {
    let cuts = [1, 53, 600].map(Fault::Cut);
    let flips = (1..TAIL).step_by(STEP).map(Fault::Flipped);
    [Fault::Gone, Fault::Empty].into_iter().chain(cuts).chain(flips)
}

/// Places are counted from the end. Does nothing if the file does not reach there.
fn make(fault: Fault, file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let from_end = |bytes: &[u8], place: usize| bytes.len().saturating_sub(place);
    match fault {
        Fault::Gone => return fs::remove_file(file).unwrap(),
        Fault::Empty => bytes.clear(),
        Fault::Cut(place) => bytes.truncate(from_end(&bytes, place)),
        Fault::Flipped(place) => {
            let at = from_end(&bytes, place);
            bytes[at] ^= 0x10;
        }
    }
    fs::write(file, bytes).unwrap();
}

fn with(path: &Path, on_damage: OnDamage) -> Result<Store, OpenError> {
    Store::open(&Options { on_damage, ..Options::new(path) })
}

fn served(store: &Store) -> Vec<u64> {
    numbers().filter(|number| is_served(store, *number)).collect()
}

/// What a fault in a file of a column has come to: refusals, and files that were taken out.
fn try_all(column: Column) -> (u64, u64) {
    let (folder, files) = filled(column);
    let all: Vec<u64> = numbers().collect();
    let (mut refused, mut repaired) = (0, 0);
    for (fault, file) in faults().flat_map(|fault| files.iter().map(move |file| (fault, file))) {
        let copied = copy(folder.path());
        let path = copied.path();
        make(fault, &path.join("rocksdb").join(file));
        let what = || format!("{column:?}, {file}: {fault:?}");
        if let Err(error) = with(path, OnDamage::Refuse) {
            let said = error.to_string();
            assert!(matches!(error, OpenError::Damaged { .. }), "{}: {said}", what());
            assert!(said.contains(file) && said.contains(column.name()), "{}: {said}", what());
            assert!(said.contains("--on-damage repair"), "{}: {said}", what());
            assert!(!DERIVED.contains(&column), "{}: {said}", what());
            assert!(!path.join(SCRATCH).exists());
            refused += 1;
        }
        let mut store = match with(path, OnDamage::Repair) {
            Err(error) => panic!("{}: {error}", what()),
            Ok(store) => store,
        };
        // What opening does not look at is found in the background.
        store.examine();
        if store.is_halted() {
            drop(store);
            store = with(path, OnDamage::Refuse).unwrap();
        }
        let is_out = !path.join("rocksdb").join(file).exists();
        repaired += u64::from(is_out);
        if !CONTENT.contains(&column) {
            assert_there(&store, &all);
        } else if !is_out {
            assert!(!served(&store).is_empty(), "{}", what());
        }
        // A block of rows that is damaged keeps no file from being opened: see `renew`.
        if is_out {
            // What has lost its content goes when it is found.
            verify(&store, true);
            let there = served(&store);
            store.settle().unwrap();
            assert!(!store.is_halted(), "{}", what());
            assert_works(&store, path, there);
        }
    }
    (refused, repaired)
}

#[test]
fn a_listing_without_a_file_is_written_anew_and_nothing_is_lost() {
    for column in DERIVED {
        let (refused, repaired) = try_all(column);
        assert_eq!(refused, 0, "{column:?}");
        assert!(repaired > 8, "{column:?}: {repaired}");
    }
}

#[test]
fn a_store_without_a_file_of_content_is_refused_or_repaired() {
    for column in CONTENT {
        let (refused, repaired) = try_all(column);
        assert!(repaired > 8 && refused > 4, "{column:?}: {refused}, {repaired}");
    }
}

#[test]
fn a_store_without_a_file_of_uses_or_graves_has_all_its_entries() {
    for column in [Column::Heat, Column::Graves] {
        let (refused, repaired) = try_all(column);
        assert!(repaired > 8 && refused > 4, "{column:?}: {refused}, {repaired}");
    }
}

/// Filters only spare reading, so one that is damaged costs nothing, wherever rows are looked for.
#[test]
fn a_damaged_filter_hides_nothing() {
    let (folder, files) = filled(Column::Entries);
    let all: Vec<u64> = numbers().collect();
    let mut refused = 0;
    for place in (1..TAIL).step_by(101) {
        let copied = copy(folder.path());
        let file = copied.path().join("rocksdb").join(&files[0]);
        make(Fault::Flipped(place), &file);
        let Ok(store) = with(copied.path(), OnDamage::Refuse) else {
            refused += 1;
            continue;
        };
        store.examine();
        if store.is_halted() {
            refused += 1;
            continue;
        }
        let lost = all.len() - served(&store).len();
        // A block of rows has some ten of them.
        assert!(lost < 20, "{place}: {lost}");
    }
    assert!(refused < 16, "some places are no more than a filter");
}

/// Numbers of entries that are changed in a second file of each column.
const REPLACED: [u64; 4] = [0, 11, 23, 34];
const GONE: [u64; 4] = [1, 12, 33, 44];

fn newer(number: u64) -> [Bytes; 2] {
    [Bytes::from(format!("newer {number}").repeat(30)), Bytes::from_static(b"shared by some: 1")]
}

/// A store of two files in each column, the second of which has what was changed since; the names
/// of the second ones of a column, and whether the first are still there: those of content may have
/// been compacted.
fn changed_since(column: Column) -> (TempDir, Vec<String>, bool) {
    let (folder, before) = filled(column);
    let store = with(folder.path(), OnDamage::Refuse).unwrap();
    for number in REPLACED {
        let outcome = put_as(&store, number, newer(number), Replace::Always).unwrap();
        assert_eq!(outcome, PutOutcome::Populated);
    }
    store.remove(GONE.map(key).to_vec(), GraveCause::Invalidated, 1, None, |_| {});
    for number in ENTRIES..ENTRIES + 3 {
        put(&store, number).unwrap();
    }
    store.settle().unwrap();
    drop(store);
    let store = with(folder.path(), OnDamage::Refuse).unwrap();
    let mut files = files_of(&store.shared().db, column);
    drop(store);
    let is_new = |name: &String| !before.contains(name);
    assert!(files.iter().any(is_new), "{before:?} {files:?}");
    let is_apart = before.iter().all(|name| files.contains(name));
    files.retain(is_new);
    (folder, files, is_apart)
}

/// The file in which an entry is removed or replaced may be the one that is lost; what stands in
/// an older one must not come back (semantics 18 and 24).
#[test]
fn s24_what_was_removed_or_replaced_does_not_come_back_with_a_repair() {
    for column in Column::ALL.into_iter().filter(|column| *column != Column::Meta) {
        let (folder, files, is_apart) = changed_since(column);
        assert!(is_apart || [Column::Blobs, Column::Chunks].contains(&column), "{column:?}");
        let copied = copy(folder.path());
        for file in &files {
            make(Fault::Gone, &copied.path().join("rocksdb").join(file));
        }
        let store = with(copied.path(), OnDamage::Repair).unwrap();
        let there: BTreeSet<u64> = served(&store).into_iter().collect();
        for number in GONE {
            let found = store.lookup(&key(number), Tier::Disk).unwrap();
            assert!(!matches!(found, Found::Entry(_)), "{column:?}: {number} is back");
        }
        let is_changed = |number: &u64| REPLACED.contains(number) || GONE.contains(number);
        let unchanged: Vec<u64> = numbers().filter(|number| !is_changed(number)).collect();
        for number in REPLACED {
            assert!(!there.contains(&number), "{column:?}: {number} is as it was before");
        }
        for number in unchanged.iter().filter(|_| is_apart) {
            assert!(there.contains(number), "{column:?}: {number} is lost");
        }
        verify(&store, true);
        store.settle().unwrap();
        assert_sound(&store);
        assert_eq!(verify(&store, false).problems, 0, "{column:?}");
    }
}

#[test]
fn a_store_that_lacks_files_of_entries_and_of_what_bears_them_out_is_refused_or_set_aside() {
    for witness in WITNESSES {
        let (folder, entries, _) = changed_since(Column::Entries);
        let store = with(folder.path(), OnDamage::Refuse).unwrap();
        let files = files_of(&store.shared().db, witness);
        drop(store);
        for file in entries.iter().chain(&files) {
            make(Fault::Gone, &folder.path().join("rocksdb").join(file));
        }
        for on_damage in [OnDamage::Refuse, OnDamage::Repair] {
            let said = with(folder.path(), on_damage).unwrap_err().to_string();
            for file in entries.iter().chain(&files) {
                assert!(said.contains(file), "{said}");
            }
        }
        let store = with(folder.path(), OnDamage::SetAside).unwrap();
        assert_eq!(store.counters().entries, 0, "it is a new one");
    }
}

/// What a store says of itself is counted anew, and nothing that was stored is lost.
#[test]
fn a_store_without_a_file_of_meta_is_refused_or_finds_all_anew() {
    let all: Vec<u64> = numbers().collect();
    let (refused, repaired) = try_all(Column::Meta);
    assert!(repaired > 8 && refused > 4, "{refused}, {repaired}");
    let (folder, files) = filled(Column::Meta);
    let store = with(folder.path(), OnDamage::Refuse).unwrap();
    let before = store.counters();
    drop(store);
    for file in &files {
        make(Fault::Gone, &folder.path().join("rocksdb").join(file));
    }
    let store = with(folder.path(), OnDamage::SetAside).unwrap();
    assert_there(&store, &all);
    let now = store.counters();
    assert_eq!((now.entries, now.blobs), (before.entries, before.blobs));
    assert_eq!(now.total_bytes(), before.total_bytes());
    assert_works(&store, folder.path(), all.clone());
    // It has chunks, which are not put in the place of others'.
    put(&store, ENTRIES + 3).unwrap();
    store.settle().unwrap();
    assert_eq!(served(&store), all);
    assert_sound(&store);
}

/// An older file of `meta` says that content belongs to nobody which has an owner by now, and that
/// storages are free which are not.
#[test]
fn what_an_older_file_of_meta_says_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(folder.path(), OnDamage::Refuse).unwrap();
    let db = &store.shared().db;
    // As if uploads had been under way when the first file was written, which were put later.
    let last = store.shared().new_storage();
    let mut batch = Batch::new(0);
    for storage in last + 1..last + 4 {
        batch.put(db, Column::Meta, &loose_key(storage), &1_u32.to_le_bytes());
    }
    db.write(batch, true).unwrap();
    db.flush_column(Column::Meta).unwrap();
    let before = files_of(db, Column::Meta);
    let all = [3, 13, 23];
    for number in all {
        put(&store, number).unwrap();
    }
    store.settle().unwrap();
    assert_eq!(store.shared().new_storage(), last + 4, "they have these");
    let mut batch = Batch::new(0);
    for storage in last + 1..last + 4 {
        batch.delete(db, Column::Meta, &loose_key(storage));
    }
    db.write(batch, true).unwrap();
    drop(store);
    let store = with(folder.path(), OnDamage::Refuse).unwrap();
    let files = files_of(&store.shared().db, Column::Meta);
    drop(store);
    let newer: Vec<_> = files.iter().filter(|file| !before.contains(file)).collect();
    assert!(newer.len() < files.len() && !newer.is_empty(), "{before:?} {files:?}");
    for file in newer {
        make(Fault::Gone, &folder.path().join("rocksdb").join(file));
    }
    let store = with(folder.path(), OnDamage::Repair).unwrap();
    assert_there(&store, &all);
    store.settle().unwrap();
    put(&store, 33).unwrap();
    store.settle().unwrap();
    assert_there(&store, &[3, 13, 23, 33]);
    assert_sound(&store);
}

/// Not by writing its column anew in a store that is in use, which would lose what stands in older
/// files, too.
#[test]
fn a_file_that_turns_out_not_to_open_is_taken_out_by_the_next_opening() {
    let (folder, files, _) = changed_since(Column::Entries);
    let store = with(folder.path(), OnDamage::Refuse).unwrap();
    for file in &files {
        make(Fault::Cut(600), &folder.path().join("rocksdb").join(file));
    }
    store.examine();
    assert!(store.is_halted());
    drop(store);
    let store = with(folder.path(), OnDamage::Refuse).unwrap();
    assert_eq!(set_aside::marked(folder.path()), None);
    let is_changed = |number: &u64| REPLACED.contains(number) || GONE.contains(number);
    let unchanged: Vec<u64> = numbers().filter(|number| !is_changed(number)).collect();
    assert_works(&store, folder.path(), unchanged);
}

#[test]
fn what_a_repair_has_left_undone_is_done_by_the_next_opening() {
    let all: Vec<u64> = numbers().collect();
    let (folder, files) = filled(Column::Tasks);
    let damaged = || {
        let copied = copy(folder.path());
        for file in &files {
            make(Fault::Gone, &copied.path().join("rocksdb").join(file));
        }
        copied
    };
    // It has ended behind the mark, and behind the list.
    for is_unlisted in [false, true] {
        let copied = damaged();
        let (path, database) = (copied.path(), copied.path().join("rocksdb"));
        let bad = bad_files(&database, &path.join(SCRATCH), "", &is_damage).unwrap();
        assert_eq!(bad.len(), files.len());
        let mut extent = Extent::default();
        extent.add_lacking(&[Column::Tasks]);
        set_aside::mark_anew(path, &extent.text(None)).unwrap();
        if is_unlisted {
            assert!(unlist(&database, &bad).unwrap());
        }
        let store = with(path, OnDamage::Refuse).unwrap();
        assert_there(&store, &all);
        assert_works(&store, path, all.clone());
    }
}

#[test]
fn a_lost_current_is_written_anew_where_there_is_one_list_of_files() {
    let all: Vec<u64> = numbers().collect();
    let folder = filled(Column::Entries).0;
    let list = |path: &Path| mend_current(&path.join("rocksdb")).unwrap();
    assert_eq!(list(folder.path()), None, "nothing is wrong");
    for text in [None, Some(""), Some("nonsense"), Some("MANIFEST-000001\n"), Some("MANIFEST-")] {
        let copied = copy(folder.path());
        let current = copied.path().join("rocksdb/CURRENT");
        match text {
            None => fs::remove_file(&current).unwrap(),
            Some(text) => fs::write(&current, text).unwrap(),
        }
        let store = with(copied.path(), OnDamage::Refuse).unwrap();
        assert_there(&store, &all);
        assert_works(&store, copied.path(), all.clone());
    }
    // Which of two it was is not known; and one that is damaged is none.
    for is_second in [true, false] {
        let copied = copy(folder.path());
        let database = copied.path().join("rocksdb");
        let manifest = crate::rocks::current(&database).unwrap();
        fs::remove_file(database.join("CURRENT")).unwrap();
        let mut bytes = fs::read(&manifest).unwrap();
        if is_second {
            fs::write(database.join("MANIFEST-000002"), &bytes).unwrap();
        } else {
            bytes[100] ^= 1;
            fs::write(&manifest, &bytes).unwrap();
        }
        assert_eq!(list(copied.path()), None);
        let error = with(copied.path(), OnDamage::Repair).unwrap_err();
        assert!(error.to_string().contains("CURRENT is missing"), "{error}");
    }
}
