//! Damaged blocks of each column, one after the other: what is whole is never lost with them.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use memod_protocol::{
    CallIdentity, Digest, Filter, InterfaceText, Provenance, PutOutcome, RunClaim, Scope,
    VerifyReport,
};
use tempfile::TempDir;

use super::*;
use crate::halt::Trial;
use crate::lookup::{Content, Found};
use crate::mutation::{NewEntry, Replace};
use crate::options::{OnDamage, Options};
use crate::rocks::{compact, family_names, files_of, leave_unfinished};
use crate::store::Store;

pub(crate) const ENTRIES: u64 = 60;
/// One of them is removed, and has a grave.
const REMOVED: u64 = 7;
/// Other places of a file are damaged in steps of this: a block has 4 KiB.
const STEP: usize = 2500;
/// What stands behind the blocks of rows: without it, a file cannot be opened at all.
const TAIL: usize = 2500;

pub(crate) fn identity(number: u64) -> CallIdentity {
    CallIdentity {
        scope: Scope::new("project", "domain"),
        task: format!("task {}", number % 3),
        cache_version: "1".to_owned(),
        signature: Digest::of(b"signature"),
        inputs: vec![
            ("fixed".to_owned(), Digest::of(b"fixed")),
            ("number".to_owned(), Digest::of(&number.to_le_bytes())),
        ],
    }
}

pub(crate) fn key(number: u64) -> Key {
    identity(number).key()
}

fn interface() -> InterfaceText {
    let member = |name: &str| (name.to_owned(), "integer".to_owned());
    InterfaceText {
        inputs: vec![member("fixed"), member("number")],
        outputs: vec![("a".to_owned(), "bytes".to_owned()), ("b".to_owned(), "bytes".to_owned())],
    }
}

/// Content that does not compress: some in its row, some in chunks; and some that entries share.
pub(crate) fn contents(number: u64) -> [Bytes; 2] {
    let length = if number % 10 == 3 { 20_000 } else { 150 };
    let mut own = Vec::new();
    while own.len() < length {
        own.extend_from_slice(
            Digest::of(&[number, own.len() as u64].map(u64::to_le_bytes).concat()).as_bytes(),
        );
    }
    [own.into(), Bytes::from(format!("shared by some: {}", number % 5))]
}

pub(crate) fn put(store: &Store, number: u64) -> Result<PutOutcome, StoreError> {
    put_as(store, number, contents(number), Replace::Never)
}

/// Puts an entry with other content than its own.
pub(crate) fn put_as(
    store: &Store,
    number: u64,
    contents: [Bytes; 2],
    replace: Replace,
) -> Result<PutOutcome, StoreError> {
    let outputs = ["a", "b"].into_iter().zip(contents);
    let outputs = outputs
        .map(|(name, content)| (name.to_owned(), "bytes".to_owned(), store.prepare(content)));
    let entry = NewEntry {
        key: key(number),
        identity: identity(number),
        interface: interface(),
        outputs: outputs.collect(),
        provenance: Provenance {
            writer_uid: (number % 2) as u32,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms: number,
            run: RunClaim::default(),
        },
        replace,
        apart: number % 10 == 4,
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    store.put(entry, move |result| sender.send(result).unwrap());
    receiver.recv().unwrap()
}

/// A store of all entries, as files, and which of them are those of a column.
pub(crate) fn filled(column: Column) -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    for number in 0..ENTRIES {
        assert_eq!(put(&store, number).unwrap(), PutOutcome::Populated);
    }
    store.remove(vec![key(REMOVED)], GraveCause::Invalidated, 1, None, |_| {});
    for number in (0..ENTRIES).filter(|number| *number != REMOVED) {
        let Found::Entry(entry) = store.lookup(&key(number), Tier::Disk).unwrap() else {
            panic!("{number} is there");
        };
        store.touch(&entry, 1000, 3);
    }
    store.fold(|_| {});
    store.settle().unwrap();
    drop(store);
    let store = Store::open(&Options::new(folder.path())).unwrap();
    // So few files that none of them is compacted unless that is asked for. Graves of long ago
    // would go.
    for column in Column::ALL.into_iter().filter(|column| *column != Column::Graves) {
        compact(&store.shared().db, column);
    }
    let files = files_of(&store.shared().db, column);
    assert!(!files.is_empty(), "{column:?} has files");
    drop(store);
    (folder, files)
}

/// A copy of a store that is not open.
pub(crate) fn copy(store: &Path) -> TempDir {
    let copied = tempfile::tempdir().unwrap();
    let (from, to) = (store.join("rocksdb"), copied.path().join("rocksdb"));
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    copied
}

/// Copies of a store, each with another block of a column damaged.
fn damaged(column: Column) -> impl Iterator<Item = TempDir> {
    let (folder, files) = filled(column);
    let mut places = Vec::new();
    for file in files {
        let bytes = fs::metadata(folder.path().join("rocksdb").join(&file)).unwrap().len();
        let end = usize::try_from(bytes).unwrap().saturating_sub(TAIL).max(60);
        places.extend((50..end).step_by(STEP).map(|place| (file.clone(), place)));
    }
    places.into_iter().map(move |(file, place)| {
        let copied = copy(folder.path());
        let to = copied.path().join("rocksdb");
        let mut bytes = fs::read(to.join(&file)).unwrap();
        bytes[place] ^= 0x10;
        fs::write(to.join(&file), bytes).unwrap();
        copied
    })
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(&Options { on_damage: OnDamage::SetAside, ..Options::new(path) }).unwrap()
}

/// None if the store takes no changes.
fn try_verify(store: &Store, repair: bool) -> Option<VerifyReport> {
    let mut verification = store.verification(repair);
    loop {
        match verification.step() {
            Ok(true) => {}
            Ok(false) => return Some(verification.report().clone()),
            Err(StoreError::Damaged { .. }) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn verify(store: &Store, repair: bool) -> VerifyReport {
    try_verify(store, repair).expect("the store takes changes")
}

pub(crate) fn is_served(store: &Store, number: u64) -> bool {
    let Found::Entry(found) = store.lookup(&key(number), Tier::Disk).unwrap() else {
        return false;
    };
    let content = |content: &Content| match content {
        Content::Whole(content) => Some(content.clone()),
        Content::Chunked(reader) => reader.chunk(0, Tier::Disk).ok().flatten(),
    };
    let found: Vec<_> = found.outputs.iter().map(|output| content(&output.content)).collect();
    found == contents(number).map(Some)
}

pub(crate) fn numbers() -> impl Iterator<Item = u64> {
    (0..ENTRIES).filter(|number| *number != REMOVED)
}

/// Asserts that these entries are served, listed, described and found from others, and no more.
pub(crate) fn assert_there(store: &Store, numbers: &[u64]) {
    for number in numbers {
        assert!(is_served(store, *number), "{number} is served");
        let detail = store.describe(&key(*number)).unwrap().unwrap();
        assert_eq!((detail.inputs, detail.interface), (identity(*number).inputs, interface()));
    }
    let listed = store.list(&Filter::default(), 0, 1000, None).unwrap();
    let mut listed: Vec<_> = listed.rows.iter().map(|row| row.created_at_ms).collect();
    listed.sort_unstable();
    assert_eq!(listed, numbers);
}

/// Asserts that everything agrees, and that all can be changed.
pub(crate) fn assert_works(store: &Store, path: &Path, mut numbers: Vec<u64>) {
    assert!(!store.is_halted());
    assert_eq!(set_aside::marked(path), None);
    assert_eq!(verify(store, false).problems, 0);
    assert_sound(store);
    for column in Column::ALL {
        compact(&store.shared().db, column);
    }
    for number in ENTRIES..ENTRIES + 3 {
        assert_eq!(put(store, number).unwrap(), PutOutcome::Populated);
        numbers.push(number);
    }
    assert_there(store, &numbers);
    assert_sound(store);
    let mut other = identity(1);
    other.inputs[1].1 = Digest::of(b"other");
    let nearest = store.nearest(&other, &interface(), 1).unwrap();
    assert_eq!(nearest[0].differs.len(), 1, "the newest of its task differs in its number only");
}

pub(crate) fn assert_sound(store: &Store) {
    store.settle().unwrap();
    let recount = store.recount().unwrap();
    assert_eq!(recount.problems, Vec::<String>::new());
    assert_eq!(recount.counters, store.counters());
    assert_eq!((recount.near_rows_left, recount.entries_without_near), (0, 0));
}

fn assert_mended(found: &VerifyReport, column: Column) {
    let what = format!("rows of {} cannot be read", column.name());
    assert!(found.named.iter().any(|problem| problem.what.contains(&what)), "{found:?}");
    let of_files = found.named.iter().filter(|problem| problem.is_of_files());
    assert!(of_files.clone().all(memod_protocol::Problem::is_mended), "{found:?}");
}

fn repairs_without_loss(column: Column) {
    let all: Vec<u64> = numbers().collect();
    let mut repaired_here = 0;
    for folder in damaged(column) {
        let store = open(folder.path());
        assert_there(&store, &all);
        let before = store.counters();
        let repaired = try_verify(&store, true).filter(|_| !store.is_halted());
        let Some(repaired) = repaired else {
            // A compaction has met the damage first: the next opening mends it.
            assert!(store.is_halted());
            drop(store);
            let store = open(folder.path());
            assert_eq!(store.counters(), before, "nothing is lost");
            assert_works(&store, folder.path(), all.clone());
            continue;
        };
        repaired_here += 1;
        assert_eq!((repaired.buried, repaired.entries), (0, ENTRIES - 1), "{repaired:?}");
        assert_mended(&repaired, column);
        assert_eq!(store.counters(), before, "nothing is lost");
        assert_works(&store, folder.path(), all.clone());
        drop(store);
        let all: Vec<u64> = all.iter().copied().chain(ENTRIES..ENTRIES + 3).collect();
        let store = open(folder.path());
        assert_there(&store, &all);
        assert_sound(&store);
        assert_eq!(family_names(folder.path()).len(), Column::ALL.len() + 1, "and no others");
    }
    assert!(repaired_here > 0);
}

#[test]
fn a_damaged_listing_is_written_anew() {
    repairs_without_loss(Column::Tasks);
}

#[test]
fn damaged_references_are_written_anew() {
    repairs_without_loss(Column::Refs);
}

#[test]
fn what_finds_near_entries_is_written_anew() {
    repairs_without_loss(Column::Near);
}

#[test]
fn uses_are_written_anew_as_far_as_they_can_be_read() {
    repairs_without_loss(Column::Heat);
}

/// Has a compaction meet the damage, which ends changes until the store is opened again.
fn met_by_a_compaction(column: Column) -> impl Iterator<Item = (TempDir, Store)> {
    damaged(column).map(move |folder| {
        let store = open(folder.path());
        let _ = put(&store, 1000);
        compact(&store.shared().db, column);
        let refused = put(&store, 1001);
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
        assert!(store.is_halted());
        assert_eq!(store.try_again(), Trial::Stuck { may_recover: false });
        let why = set_aside::marked(folder.path()).unwrap();
        assert!(is_of_rows(&why), "{why}");
        drop(store);
        let store = open(folder.path());
        assert_eq!(set_aside::marked(folder.path()), None);
        (folder, store)
    })
}

/// Nobody asks for it, and nobody is told but who looks.
#[test]
fn damage_that_a_compaction_in_the_background_has_met_is_mended_by_the_next_opening() {
    for column in [Column::Tasks, Column::Refs, Column::Near] {
        let folder = damaged(column).next().unwrap();
        let store = open(folder.path());
        assert!(!store.has_failed_behind());
        // When there are some files of a column they are compacted, with what is below them.
        let mut added = Vec::new();
        while !store.has_failed_behind() {
            let number = ENTRIES + added.len() as u64;
            if put(&store, number).is_err() {
                break;
            }
            added.push(number);
            if store.shared().db.flush_column(column).is_err() {
                break;
            }
        }
        assert_eq!(store.try_again(), Trial::Stuck { may_recover: false });
        assert!(store.is_halted());
        assert!(is_of_rows(&set_aside::marked(folder.path()).unwrap()));
        drop(store);
        let store = open(folder.path());
        assert_eq!(set_aside::marked(folder.path()), None);
        for number in numbers().chain(added) {
            assert!(is_served(&store, number), "{column:?}: {number}");
        }
        assert_sound(&store);
        compact(&store.shared().db, column);
        put(&store, 2000).unwrap();
    }
}

#[test]
fn an_index_that_a_compaction_found_damaged_is_written_anew_by_the_next_opening() {
    for column in [Column::Tasks, Column::Refs, Column::Near, Column::Heat, Column::Graves] {
        for (folder, store) in met_by_a_compaction(column) {
            store.remove(vec![key(1000)], GraveCause::Evicted, 1, None, |_| {});
            store.settle().unwrap();
            let all: Vec<u64> = numbers().collect();
            assert_eq!(store.counters().entries, ENTRIES - 1);
            assert_there(&store, &all);
            assert_works(&store, folder.path(), all);
        }
    }
}

#[test]
fn of_damaged_content_only_what_cannot_be_read_is_lost() {
    for column in [Column::Entries, Column::Blobs, Column::Chunks] {
        let mut lost = 0;
        for (folder, store) in met_by_a_compaction(column) {
            store.remove(vec![key(1000)], GraveCause::Evicted, 1, None, |_| {});
            // What has lost its content goes when it is found.
            verify(&store, true);
            let there: Vec<u64> = numbers().filter(|number| is_served(&store, *number)).collect();
            store.settle().unwrap();
            lost += numbers().count() - there.len();
            // A block has up to thirty small contents, and some of those are shared.
            assert!(there.len() > 5, "{column:?}: {} are left", there.len());
            for number in numbers().filter(|number| !there.contains(number)) {
                let found = store.lookup(&key(number), Tier::Disk).unwrap();
                let Found::Grave(grave) = found else { panic!("{column:?} {number}: {found:?}") };
                assert!(
                    matches!(grave.cause, GraveCause::Corrupt | GraveCause::BlobMissing),
                    "{grave:?}"
                );
            }
            assert_works(&store, folder.path(), there.clone());
            for number in numbers().filter(|number| !there.contains(number)) {
                assert_eq!(put(&store, number).unwrap(), PutOutcome::Populated);
                assert!(is_served(&store, number));
            }
            assert_sound(&store);
        }
        assert!(lost > 0, "{column:?}: something stood in a damaged block");
    }
}

/// Damage that nobody needs any more, because lookups have met it and removed what stood there,
/// would be met by the next compaction.
#[test]
fn damage_among_removed_rows_is_found_and_written_anew() {
    for column in [Column::Blobs, Column::Chunks] {
        let mut found_here = 0;
        for folder in damaged(column) {
            let store = open(folder.path());
            let there: Vec<u64> = numbers().filter(|number| is_served(&store, *number)).collect();
            store.settle().unwrap();
            if there.len() == numbers().count() || store.is_halted() {
                continue;
            }
            let found = verify(&store, false);
            let what = format!("rows of {} cannot be read", column.name());
            assert!(found.named.iter().any(|problem| problem.what.contains(&what)), "{found:?}");
            let repaired = try_verify(&store, true).filter(|_| !store.is_halted());
            // A compaction may have met the damage first.
            let Some(repaired) = repaired else { continue };
            found_here += 1;
            assert_mended(&repaired, column);
            let there: Vec<u64> = numbers().filter(|number| is_served(&store, *number)).collect();
            assert_works(&store, folder.path(), there);
        }
        assert!(found_here > 0, "{column:?}: lookups met the damage");
    }
}

#[test]
fn what_was_cut_off_is_done_again() {
    let folder = filled(Column::Tasks).0;
    let all: Vec<u64> = numbers().collect();
    let store = open(folder.path());
    leave_unfinished(&store.shared().db, Column::Tasks);
    drop(store);
    assert!(family_names(folder.path()).contains(&"tasks~1".to_owned()));
    drop(open(folder.path()));
    assert!(!family_names(folder.path()).contains(&"tasks~1".to_owned()));
    for columns in [&INDEXES[..], &CONTENT, &[Column::Heat, Column::Graves]] {
        // As if it had ended behind the first of them.
        let store = open(folder.path());
        set_aside::mark(folder.path(), &Extent::of(columns).text(None));
        renew(&store.shared().db, &Extent::of(&columns[..1]), store.counters(), &|| ()).unwrap();
        drop(store);
        let store = open(folder.path());
        assert_eq!(set_aside::marked(folder.path()), None);
        assert_there(&store, &all);
        assert_sound(&store);
    }
    assert_works(&open(folder.path()), folder.path(), all);
}

#[test]
fn a_view_has_what_was_replaced_for_as_long_as_it_lives() {
    let folder = filled(Column::Tasks).0;
    let store = open(folder.path());
    let db = &store.shared().db;
    let view = db.view();
    let of = |view: &crate::rocks::View<'_>, column| {
        let mut rows = view.rows(column, &[], None);
        let mut found = 0_u64;
        rows.first();
        while rows.row().unwrap().is_some() {
            found += 1;
            rows.forward();
        }
        found
    };
    for _ in 0..2 {
        for column in [Column::Tasks, Column::Near] {
            renew(db, &Extent::of(&[column]), store.counters(), &|| ()).unwrap();
            db.drop_retired();
            for view in [&view, &db.view()] {
                assert_eq!(of(view, Column::Tasks), ENTRIES - 1);
                assert_eq!(of(view, Column::Near), 2 * (ENTRIES - 1));
            }
        }
    }
    drop(view);
    db.drop_retired();
    drop(store);
    assert_eq!(family_names(folder.path()).len(), Column::ALL.len() + 1);
}
