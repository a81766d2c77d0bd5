//! A store of format 1 or 2 is opened and becomes one of format 3.

use std::path::Path;
use std::sync::mpsc;

use memod_protocol::{
    CallIdentity, DifferenceKind, Digest, Filter, InterfaceText, Key, Provenance, PutOutcome,
    RunClaim, Scope,
};

use crate::error::StoreError;
use crate::limits::WHOLE_BYTES_MAX;
use crate::lookup::Found;
use crate::mutation::{NewEntry, Replace};
use crate::options::Options;
use crate::record::GraveCause;
use crate::rocks::{
    Batch, Tier, detailed, format_of, make_format_1, make_format_2, set_row, write_format,
};
use crate::schema::{Column, META_DOUBT, task_key};
use crate::store::Store;

fn identity(number: u64, cache_version: &str) -> CallIdentity {
    CallIdentity {
        scope: Scope::new("p", "d"),
        task: "t".to_owned(),
        cache_version: cache_version.to_owned(),
        signature: Digest::of(b"signature"),
        inputs: vec![
            ("constant".to_owned(), Digest::of(b"constant")),
            ("number".to_owned(), Digest::of(&number.to_le_bytes())),
        ],
    }
}

fn key(number: u64) -> Key {
    identity(number, "1").key()
}

fn interface() -> InterfaceText {
    let member = |name: &str| (name.to_owned(), "integer".to_owned());
    InterfaceText { inputs: vec![member("constant"), member("number")], outputs: Vec::new() }
}

fn put(store: &Store, number: u64, created_at_ms: u64) {
    let content = vec![number as u8; (number as usize + 1) * WHOLE_BYTES_MAX];
    let entry = NewEntry {
        key: key(number),
        identity: identity(number, "1"),
        interface: interface(),
        outputs: vec![("o".to_owned(), "bytes".to_owned(), store.prepare(content.into()))],
        provenance: Provenance {
            writer_uid: 0,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms,
            run: RunClaim::default(),
        },
        replace: Replace::Always,
        apart: false,
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    store.put(entry, move |result| sender.send(result).unwrap());
    assert_eq!(receiver.recv().unwrap().unwrap(), PutOutcome::Populated);
}

fn remove(store: &Store, number: u64) {
    store.remove(vec![key(number)], GraveCause::Evicted, u64::MAX, None, |removed| {
        assert_eq!(removed.unwrap(), 1);
    });
    store.settle().unwrap();
}

/// A store of an older format with the entries 0 to 4, of which 4 has been removed.
fn make_store(path: &Path, format: u32) {
    let store = Store::open(&Options::new(path)).unwrap();
    (0..5).for_each(|number| put(&store, number, number));
    remove(&store, 4);
    drop(store);
    assert_eq!((format_of(path), detailed(path)), (3, (4, 0)));
    match format {
        1 => make_format_1(path),
        _ => make_format_2(path),
    }
    assert_eq!((format_of(path), detailed(path)), (format, (0, 4)));
}

/// Asserts that the store agrees with itself, and that every entry has its rows of `near`.
fn assert_sound(store: &Store) {
    store.settle().unwrap();
    let recount = store.recount().unwrap();
    assert_eq!(recount.problems, Vec::<String>::new());
    assert_eq!(recount.counters, store.counters());
    assert_eq!((recount.entries_without_near, recount.entries_without_details), (0, 0));
    assert_eq!(recount.near_rows, 2 * recount.counters.entries);
}

#[test]
fn a_store_of_an_older_format_is_upgraded_with_all_that_it_holds() {
    for format in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        make_store(folder.path(), format);
        for _ in 0..2 {
            let store = Store::open(&Options::new(folder.path())).unwrap();
            assert_eq!((store.format(), store.counters().entries), (3, 4));
            for number in 0..4 {
                let found = store.lookup(&key(number), Tier::Disk).unwrap();
                let Found::Entry(entry) = found else { panic!("{number}: {found:?}") };
                assert_eq!(entry.provenance.created_at_ms, number);
                let detail = store.describe(&key(number)).unwrap().unwrap();
                assert_eq!(detail.inputs, identity(number, "1").inputs);
                assert_eq!(detail.interface, interface());
            }
            let found = store.lookup(&key(4), Tier::Disk).unwrap();
            assert!(matches!(found, Found::Grave(_)), "{found:?}");
            assert_sound(&store);
            drop(store);
            assert_eq!((format_of(folder.path()), detailed(folder.path())), (3, (4, 0)));
        }
    }
}

#[test]
fn old_entries_are_near_too() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path(), 1);
    let store = Store::open(&Options::new(folder.path())).unwrap();
    let find = |call: &CallIdentity| store.nearest(call, &interface(), 3).unwrap();
    let found = find(&identity(77, "1"));
    let keys: Vec<_> = found.iter().map(|of| of.key).collect();
    assert_eq!(keys, [key(3), key(2), key(1)]);
    assert_eq!(found[0].differs[0].name.as_deref(), Some("number"));
    let found = find(&identity(2, "2"));
    let kinds: Vec<_> = found[0].differs.iter().map(|of| of.what).collect();
    assert_eq!((found[0].key, kinds), (key(2), vec![DifferenceKind::CacheVersion]));
}

#[test]
fn old_entries_are_replaced_and_removed_like_others() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path(), 1);
    let store = Store::open(&Options::new(folder.path())).unwrap();
    put(&store, 0, 10);
    put(&store, 4, 14);
    assert_sound(&store);
    remove(&store, 1);
    assert_sound(&store);
    put(&store, 1, 1);
    assert_sound(&store);
    remove(&store, 0);
    assert_sound(&store);
}

#[test]
fn an_upgrade_that_was_cut_off_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path(), 1);
    drop(Store::open(&Options::new(folder.path())).unwrap());
    // The columns are there and the number is not.
    write_format(folder.path(), 1);
    assert_sound(&Store::open(&Options::new(folder.path())).unwrap());
    assert_eq!(format_of(folder.path()), 3);
    // The number is there, and so are the details of one entry only.
    drop(Store::open(&Options::new(folder.path())).unwrap());
    make_format_2(folder.path());
    write_format(folder.path(), 3);
    let store = Store::open(&Options::new(folder.path())).unwrap();
    put(&store, 0, 10);
    let db = &store.shared().db;
    let mut batch = Batch::new(0);
    batch.put(db, Column::Meta, META_DOUBT, &[]);
    db.write(batch, true).unwrap();
    drop(store);
    assert_eq!(detailed(folder.path()), (1, 3));
    assert_sound(&Store::open(&Options::new(folder.path())).unwrap());
    assert_eq!(detailed(folder.path()), (4, 0));
}

/// What the listing alone knew is lost with it; the entry is not.
#[test]
fn an_old_entry_whose_listing_is_lost_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path(), 2);
    let row = |number| {
        let of = identity(number, "1");
        task_key(&of.scope, &of.task, &of.cache_version, &of.signature, &of.key())
    };
    set_row(folder.path(), Column::Tasks, &row(0), None);
    set_row(folder.path(), Column::Tasks, &row(2), Some(b"nonsense"));
    for _ in 0..2 {
        let store = Store::open(&Options::new(folder.path())).unwrap();
        store.settle().unwrap();
        let recount = store.recount().unwrap();
        assert_eq!((recount.problems, recount.entries_without_details), (Vec::new(), 2));
        assert_eq!(recount.counters, store.counters());
        let listed = store.list(&Filter::default(), 0, 100, None).unwrap().rows;
        assert_eq!(listed.len(), 4);
        for number in 0..4 {
            let found = store.lookup(&key(number), Tier::Disk).unwrap();
            assert!(matches!(found, Found::Entry(_)), "{number}: {found:?}");
            let row = listed.iter().find(|row| row.key == key(number)).unwrap();
            assert_eq!((row.created_at_ms, row.outputs), (number, 1));
            let described = store.describe(&key(number));
            if number % 2 == 0 {
                assert!(matches!(described, Err(StoreError::Undescribed { .. })));
            } else {
                assert_eq!(described.unwrap().unwrap().inputs, identity(number, "1").inputs);
            }
        }
        let mut verification = store.verification(true);
        while verification.step().unwrap() {}
        let report = verification.report();
        assert_eq!((report.problems, report.buried), (1, 0), "{report:?}");
        assert!(report.named[0].what.contains("2 entries"), "{report:?}");
    }
    // Put again, they have their details.
    let store = Store::open(&Options::new(folder.path())).unwrap();
    put(&store, 0, 10);
    put(&store, 2, 10);
    assert_sound(&store);
}
