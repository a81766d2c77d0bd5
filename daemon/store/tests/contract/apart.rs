//! Entries that are stored as if nobody else had their content.

use bytes::Bytes;
use memod_protocol::PutOutcome;
use memod_store::{NewEntry, Replace, Store, StoreError, Usage};
use proptest::prelude::*;

use crate::budgets::{MIB, limited, open_with};
use crate::harness::*;

const SOMEBODY: u32 = 7;
const APART: u32 = 8;

fn new(store: &Store, uid: u32, number: u64, outputs: &[Bytes]) -> NewEntry {
    let outputs = outputs.iter().map(|output| store.prepare(output.clone())).collect();
    let mut entry = entry(number, outputs, 1, Replace::Always);
    (entry.provenance.writer_uid, entry.apart) = (uid, uid == APART);
    entry
}

fn put(store: &Store, uid: u32, number: u64, outputs: &[Bytes]) {
    let entry = new(store, uid, number, outputs);
    assert_eq!(try_put(store, entry).unwrap(), PutOutcome::Populated);
}

fn charged(store: &Store, uid: u32) -> Usage {
    let users = store.usage(10).unwrap().users;
    users.into_iter().find(|(of, _)| *of == uid).map(|(_, usage)| usage).unwrap_or_default()
}

#[test]
fn who_is_apart_pays_whoever_else_does() {
    // In its row, in a chunk, in several.
    for bytes in [5000, 100_000, 3_000_000] {
        let store = open();
        let shared = [content(1, bytes)];
        let fair = bytes as u64..bytes as u64 + 2000;
        put(&store, APART, 100, &shared);
        let alone = charged(&store, APART);
        assert!(fair.contains(&alone.bytes), "{alone:?}");
        put(&store, SOMEBODY, 0, &shared);
        assert!(charged(&store, SOMEBODY).bytes < 2000, "somebody else pays");
        remove(&store, &[100]);
        assert!(fair.contains(&charged(&store, SOMEBODY).bytes), "nobody else is left");
        put(&store, APART, 100, &shared);
        assert_eq!(charged(&store, APART), alone);
        assert_eq!(store.counters().stored_bytes, bytes as u64, "it is stored once");
        assert_sound(&store);
        let store = store.reopen();
        assert_hit(&store, 100, &shared);
        put(&store, APART, 102, &shared);
        remove(&store, &[0, 102]);
        assert_eq!(charged(&store, APART), alone);
        assert_hit(&store, 100, &shared);
        assert_sound(&store);
        remove(&store, &[100]);
        assert_eq!(store.counters().total_bytes(), 0);
        assert_sound(&store);
    }
}

#[test]
fn a_refusal_does_not_tell_what_is_there() {
    let budgets = memod_store::Budgets { user_bytes_max: Some(50_000), ..limited(10 * MIB) };
    let store = open_with(budgets);
    let there = content(1, 40_000);
    put(&store, SOMEBODY, 0, std::slice::from_ref(&there));
    let refused = |of: &Bytes| match try_put(
        &store,
        new(&store, APART, 100, &[of.clone(), content(3, 30_000)]),
    ) {
        Err(StoreError::UserFull { limit, used, need, .. }) => (limit, used, need),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&there), refused(&content(2, 40_000)));
    // Others need not bring what is there.
    put(&store, SOMEBODY, 2, &[there]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever others put and remove, of the same few contents: who is apart is charged what it
    /// would be charged if it were alone.
    #[test]
    fn what_others_store_changes_nothing_for_who_is_apart(
        steps in prop::collection::vec(
            (0..10u64, prop::collection::vec(0..8usize, 0..4), any::<bool>(), 0..4u32),
            1..80,
        ),
    ) {
        let (alone, shared) = (open(), open());
        for (number, outputs, is_apart, kind) in steps {
            let outputs: Vec<Bytes> =
                outputs.iter().map(|of| content(*of as u64, of * 6000)).collect();
            let (uid, number) = if is_apart { (APART, number + 100) } else { (SOMEBODY, number) };
            let stores: &[&TestStore] = if is_apart { &[&alone, &shared] } else { &[&shared] };
            for store in stores {
                match kind {
                    0 => drop(remove(store, &[number])),
                    _ => put(store, uid, number, &outputs),
                }
            }
            prop_assert_eq!(charged(&alone, APART), charged(&shared, APART));
        }
        assert_sound(&alone);
        assert_sound(&shared);
        let total = shared.counters().total_bytes();
        let paid = charged(&shared, APART).bytes + charged(&shared, SOMEBODY).bytes;
        prop_assert!(paid >= total, "{} of {}", paid, total);
    }
}
