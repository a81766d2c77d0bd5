//! Budgets that are lowered while the store is closed, and collection by hand.

use memod_store::{Budgets, Options, Store};

use crate::budgets::{fill, limited, open_with, present, shrink};
use crate::harness::*;

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        // tidy: sleeps because nobody is told when the writer has nothing to do any more.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("{what}");
}

fn reopened(store: TestStore, budgets: Budgets) -> TestStore {
    let TestStore { store, folder } = store;
    drop(store);
    let store = Store::open(&Options { budgets, ..options(folder.path()) }).unwrap();
    TestStore { store, folder }
}

#[test]
fn a_lowered_limit_holds_as_soon_as_the_store_is_open() {
    let store = open_with(limited(4_000_000));
    fill(&store, 0..30, 100_000);
    let store = reopened(store, limited(2_000_000));
    eventually("it comes down", || store.counters().total_bytes() <= 1_600_000);
    assert_sound(&store);
}

#[test]
fn lowered_budgets_of_scopes_and_users_hold_as_soon_as_the_store_is_open() {
    let store = open_with(limited(64_000_000));
    fill(&store, 0..60, 50_000);
    let scopes = [(identity(0).scope, 300_000)].into();
    let store = reopened(store, Budgets { scopes, ..limited(64_000_000) });
    let of_scope = |number| {
        let usages = store.usage(10).unwrap().scopes;
        usages.into_iter().find(|(of, _)| *of == identity(number).scope).map(|(_, of)| of.bytes)
    };
    eventually("the scope comes down", || of_scope(0).is_some_and(|bytes| bytes <= 300_000));
    assert_eq!(present(&store, 0..60).iter().filter(|number| *number % 2 == 1).count(), 30);
    let store = reopened(store, Budgets { users: [(1000, 500_000)].into(), ..limited(64_000_000) });
    let of_user = || store.usage(10).unwrap().users[0].1.bytes;
    eventually("the user comes down", || of_user() <= 500_000);
    assert_sound(&store);
}

#[test]
fn budgets_that_are_lowered_while_the_store_is_open_hold_without_a_put() {
    let store = open_with(limited(64_000_000));
    fill(&store, 0..60, 50_000);
    let scopes = [(identity(0).scope, 300_000)].into();
    store.set_budgets(Budgets { scopes, ..limited(64_000_000) });
    eventually("the scope comes down", || present(&store, 0..60).len() <= 36);
    let left = present(&store, 0..60);
    assert_eq!(left.iter().filter(|number| *number % 2 == 1).count(), 30, "those of another stay");
    assert!((1..=6).contains(&(left.len() - 30)), "{left:?}");
    store.set_budgets(limited(1_000_000));
    eventually("the store comes down", || store.counters().total_bytes() <= 800_000);
    assert_sound(&store);
}

/// What inherits shared content may get above its budget: collection by hand brings it down.
#[test]
fn collection_by_hand_brings_scopes_and_users_down_too() {
    let scopes = [(identity(1).scope, 200_000)].into();
    let store = open_with(Budgets { scopes, ..limited(64_000_000) });
    let shared = content(0, 500_000);
    put(&store, 0, std::slice::from_ref(&shared));
    put(&store, 1, std::slice::from_ref(&shared));
    let evicted = shrink(&store);
    assert_eq!(evicted, 0, "nobody has more than it may");
    remove(&store, &[0]);
    assert_eq!(shrink(&store), 1);
    assert_eq!(present(&store, 0..2), Vec::<u64>::new());
    assert_sound(&store);
}
