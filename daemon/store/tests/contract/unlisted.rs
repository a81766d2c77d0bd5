//! A damaged listing, and damaged references: they cost no entry that is whole.

use std::path::Path;

use memod_protocol::{Digest, EntryRow, Filter, Scope};
use memod_store::{GraveCause, Store, StoreError};

use crate::damage::{flip, flip_in, is_listing};
use crate::harness::*;
use crate::verify::verify;

const ENTRIES: u64 = 60;

fn filled(folder: &Path) -> Store {
    let store = open_in(folder);
    for number in 0..ENTRIES {
        put_as(
            &store,
            number,
            &[content(1000 + number, 3000)],
            1000 + number,
            memod_store::Replace::Never,
        );
    }
    store
}

/// All rows that a filter selects, fetched so many at a time.
fn listed(store: &Store, filter: &Filter, limit: u32) -> Vec<EntryRow> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(filter, 10_000, limit, cursor.as_deref()).unwrap();
        assert!(page.rows.len() <= limit as usize);
        rows.extend(page.rows);
        cursor = page.cursor;
        if cursor.is_none() {
            return rows;
        }
    }
}

fn filters() -> Vec<Filter> {
    let scope = Some(Scope::new("project", "odd"));
    let task = Some("task1".to_owned());
    let cache_version = Some("1.0".to_owned());
    let none = Filter::default();
    vec![
        none.clone(),
        Filter { scope: scope.clone(), ..none.clone() },
        Filter { scope: scope.clone(), task: task.clone(), ..none.clone() },
        Filter { scope, task: task.clone(), cache_version, ..none.clone() },
        Filter { task, ..none.clone() },
        Filter { writer_uid: Some(1), ..none.clone() },
        Filter { older_than_ms: Some(8970), ..none },
    ]
}

/// A compaction may meet the damage as soon as the store is opened, which ends all changes.
#[test]
fn a_damaged_listing_hides_nothing_and_costs_nothing() {
    assert!((0..10).any(|_| hides_nothing()), "changes were never possible");
}

/// Whether changes were possible.
fn hides_nothing() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let before: Vec<_> = filters().iter().map(|filter| listed(&store, filter, 100)).collect();
    assert_eq!(before[0].len() as u64, ENTRIES);
    drop(store);
    let digest = Digest::of(&5_u64.to_le_bytes());
    assert_eq!(flip_in(folder.path(), digest.as_bytes(), is_listing), 1);
    let store = open_in(folder.path());
    for (filter, before) in filters().iter().zip(&before) {
        for limit in [1, 7, 100] {
            assert_eq!(listed(&store, filter, limit), *before, "{filter:?} {limit}");
        }
    }
    for number in 0..ENTRIES {
        assert_hit(&store, number, &[content(1000 + number, 3000)]);
        let described = store.describe(&key(number)).unwrap().unwrap();
        assert_eq!(described.inputs, identity(number).inputs);
    }
    for repair in [false, true] {
        let report = match verify(&store, repair) {
            Ok(report) => report,
            Err(StoreError::Damaged { .. }) => return false,
            Err(error) => panic!("{error}"),
        };
        assert_eq!((report.entries, report.buried), (ENTRIES, 0), "{report:?}");
        assert!(report.named.iter().all(|found| found.key.is_none()), "{report:?}");
        let told = |part: &str| report.named.iter().any(|found| found.what.contains(part));
        assert!(told("rows of tasks cannot be read"), "{report:?}");
        assert_eq!(told("written anew"), repair, "{report:?}");
    }
    if store.is_halted() {
        // A compaction has been there first.
        return false;
    }
    assert_eq!(verify(&store, false).unwrap().problems, 0);
    for number in 0..ENTRIES {
        assert_hit(&store, number, &[content(1000 + number, 3000)]);
    }
    assert_eq!(store.made(&key(5)).unwrap().unwrap().created_at_ms, 1005);
    // What is removed by what the listing says is really removed.
    let keys = listed(&store, &filters()[1], 100).into_iter().map(|row| row.key).collect();
    let removed = wait(|done| store.remove(keys, GraveCause::Invalidated, 1, None, done));
    match removed {
        Ok(removed) => assert_eq!(removed, ENTRIES / 2),
        Err(StoreError::Damaged { .. }) => return false,
        Err(error) => panic!("{error}"),
    }
    assert_eq!(listed(&store, &filters()[1], 100), []);
    assert_eq!(listed(&store, &filters()[0], 100).len() as u64, ENTRIES / 2);
    drop(store);
    let store = open_in(folder.path());
    assert_eq!(store.counters().entries, ENTRIES / 2);
    assert_hit(&store, 4, &[content(1004, 3000)]);
    true
}

#[test]
fn blobs_are_read_whose_references_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let digest = Digest::of(&content(1005, 3000));
    flip(folder.path(), &[&digest.as_bytes()[..], key(5).as_bytes()].concat());
    let mut store = open_in(folder.path());
    for repair in [false, true] {
        let report = match verify(&store, repair) {
            Ok(report) => report,
            // A compaction has been there first, and ended all changes.
            Err(StoreError::Damaged { .. }) if repair => break,
            Err(error) => panic!("{error}"),
        };
        assert_eq!((report.entries, report.blobs, report.buried), (ENTRIES, ENTRIES, 0));
        assert_eq!(report.bytes, ENTRIES * 3000);
        assert!(report.problems > 0, "{report:?}");
    }
    if store.is_halted() {
        // Opening the store mends it then.
        drop(store);
        store = open_in(folder.path());
    }
    let report = verify(&store, false).unwrap();
    assert_eq!((report.problems, report.blobs, report.buried), (0, ENTRIES, 0), "{report:?}");
    assert_sound(&store);
    for number in 0..ENTRIES {
        assert_hit(&store, number, &[content(1000 + number, 3000)]);
    }
}
