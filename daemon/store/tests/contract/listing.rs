//! Listing, by filter and by page.

use memod_protocol::{EntryRow, Filter, Key, Scope};
use memod_store::{Replace, Store, StoreError};

use crate::harness::*;

/// All pages of a listing.
fn list(store: &Store, filter: &Filter, limit: u32) -> Vec<EntryRow> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(filter, 1000, limit, cursor.as_deref()).unwrap();
        assert!(page.rows.len() <= limit as usize);
        rows.extend(page.rows);
        cursor = page.cursor;
        if cursor.is_none() {
            return rows;
        }
    }
}

fn keys(rows: &[EntryRow]) -> Vec<Key> {
    let mut keys: Vec<_> = rows.iter().map(|row| row.key).collect();
    keys.sort_unstable();
    keys
}

fn filled() -> TestStore {
    let store = open();
    for number in 0..60 {
        put_as(&store, number, &[content(number, 10), content(0, 5)], number, Replace::Never);
    }
    store
}

#[test]
fn a_filter_selects_what_meets_all_its_conditions() {
    let store = filled();
    let even = Some(Scope::new("project", "even"));
    let task = Some("task1".to_owned());
    let everything = Filter::default();
    let filters = [
        everything.clone(),
        Filter { scope: even.clone(), ..everything.clone() },
        Filter { scope: Some(Scope::new("project", "")), ..everything.clone() },
        Filter { scope: even.clone(), task: task.clone(), ..everything.clone() },
        Filter { task: task.clone(), ..everything.clone() },
        Filter { cache_version: Some("1.0".to_owned()), ..everything.clone() },
        Filter { scope: even, task, cache_version: Some("0.0".to_owned()), ..everything.clone() },
        Filter { writer_uid: Some(1000), ..everything.clone() },
        Filter { writer_uid: Some(1), ..everything.clone() },
        Filter { older_than_ms: Some(970), ..everything.clone() },
        Filter { older_than_ms: Some(0), ..everything },
    ];
    for filter in filters {
        let mut expected: Vec<Key> = (0..60)
            .filter(|number| {
                let identity = identity(*number);
                filter.scope.as_ref().is_none_or(|scope| *scope == identity.scope)
                    && filter.task.as_ref().is_none_or(|task| *task == identity.task)
                    && filter.cache_version.as_ref().is_none_or(|v| *v == identity.cache_version)
                    && filter.writer_uid.is_none_or(|uid| uid == 1000)
                    && filter.older_than_ms.is_none_or(|age| 1000 - number > age)
            })
            .map(key)
            .collect();
        expected.sort_unstable();
        for limit in [1, 7, 1000] {
            assert_eq!(keys(&list(&store, &filter, limit)), expected, "{filter:?} by {limit}");
        }
    }
}

#[test]
fn a_row_says_what_the_entry_is() {
    let store = filled();
    let rows = list(&store, &Filter::default(), 100);
    let row = rows.iter().find(|row| row.key == key(31)).unwrap();
    let identity = identity(31);
    let expected = EntryRow {
        key: key(31),
        scope: identity.scope,
        task: identity.task,
        cache_version: identity.cache_version,
        created_at_ms: 31,
        compute_ns: Some(31),
        writer_uid: 1000,
        outputs: 2,
        bytes: 15,
    };
    assert_eq!(*row, expected);
}

#[test]
fn a_page_that_was_removed_does_not_stop_the_listing() {
    let store = filled();
    let page = store.list(&Filter::default(), 1000, 20, None).unwrap();
    let cursor = page.cursor.unwrap();
    assert_eq!(remove(&store, &(0..60).collect::<Vec<_>>()), 60);
    let rest = store.list(&Filter::default(), 1000, 20, Some(&cursor)).unwrap();
    assert_eq!((rest.rows.len(), rest.cursor), (0, None));
}

#[test]
fn a_cursor_that_no_listing_gave_is_refused() {
    let store = filled();
    let odd = Filter { scope: Some(Scope::new("project", "odd")), ..Filter::default() };
    let page = store.list(&odd, 1000, 5, None).unwrap();
    let cursor = page.cursor.unwrap();
    let even = Filter { scope: Some(Scope::new("project", "even")), ..Filter::default() };
    for (filter, cursor) in
        [(&odd, b"".as_slice()), (&odd, b"nonsense"), (&even, &cursor), (&odd, &cursor[1..])]
    {
        let refused = store.list(filter, 1000, 5, Some(cursor));
        assert!(matches!(refused, Err(StoreError::InvalidCursor)), "{refused:?}");
    }
}
