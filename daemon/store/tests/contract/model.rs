//! The store against a model of it in memory, by random operations.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use memod_protocol::{Filter, PutOutcome};
use memod_store::{Counters, Durability, Found, GraveCause, Options, Replace, Store};
use proptest::prelude::*;

use crate::content::INTERESTING_BYTES;
use crate::harness::*;

const KEYS: u64 = 5;

#[derive(Debug, Clone)]
enum Operation {
    Put { number: u64, outputs: Vec<usize>, replace: Replace, uploaded: bool },
    GiveUp { of: usize },
    Remove(Vec<u64>),
    Lookup(u64),
    List { limit: u32 },
    Reopen { close: bool },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let replace = prop_oneof![
        3 => Just(Replace::Never),
        1 => Just(Replace::Always),
        2 => (0u64..40).prop_map(Replace::IfCreatedBefore),
    ];
    let contents = 0..2 * INTERESTING_BYTES.len();
    let put = (0..KEYS, prop::collection::vec(contents.clone(), 0..4), replace, any::<bool>());
    let operation = prop_oneof![
        8 => put.prop_map(|(number, outputs, replace, uploaded)| {
            Operation::Put { number, outputs, replace, uploaded }
        }),
        1 => contents.prop_map(|of| Operation::GiveUp { of }),
        3 => prop::collection::vec(0..KEYS, 0..4).prop_map(Operation::Remove),
        4 => (0..KEYS).prop_map(Operation::Lookup),
        1 => (1u32..4).prop_map(|limit| Operation::List { limit }),
        1 => any::<bool>().prop_map(|close| Operation::Reopen { close }),
    ];
    prop::collection::vec(operation, 1..40)
}

/// Twice as many contents as there are lengths, so that some are alike in length alone.
fn content_of(index: usize) -> Bytes {
    content(
        (index / INTERESTING_BYTES.len()) as u64,
        INTERESTING_BYTES[index % INTERESTING_BYTES.len()],
    )
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, (Vec<Bytes>, u64)>,
    graves: BTreeMap<u64, u64>,
    puts: u64,
}

impl Model {
    fn put(&mut self, number: u64, outputs: Vec<Bytes>, now: u64, replace: Replace) -> PutOutcome {
        if let Some((_, created_at_ms)) = self.entries.get(&number) {
            let replaces = match replace {
                Replace::Never => false,
                Replace::Always => true,
                Replace::IfCreatedBefore(ms) => *created_at_ms < ms,
            };
            if !replaces {
                return PutOutcome::Exists(provenance(*created_at_ms));
            }
        }
        self.entries.insert(number, (outputs, now));
        self.graves.remove(&number);
        self.puts += 1;
        PutOutcome::Populated
    }

    fn remove(&mut self, numbers: &[u64], now: u64) -> u64 {
        let gone = numbers.iter().filter(|number| self.entries.remove(number).is_some());
        let gone: Vec<u64> = gone.copied().collect();
        self.graves.extend(gone.iter().map(|number| (*number, now)));
        gone.len() as u64
    }

    /// What the counters should be, but for the bytes of rows: a recount knows those.
    fn counters(&self, row_bytes: u64) -> Counters {
        let outputs = || self.entries.values().flat_map(|(outputs, _)| outputs);
        let blobs: BTreeSet<&Bytes> = outputs().collect();
        Counters {
            entries: self.entries.len() as u64,
            blobs: blobs.len() as u64,
            stored_bytes: blobs.iter().map(|blob| blob.len() as u64).sum(),
            logical_bytes: outputs().map(|output| output.len() as u64).sum(),
            puts: self.puts,
            row_bytes,
            ..Counters::default()
        }
    }

    /// Everything is charged to a scope and to a user.
    fn assert_usage(&self, store: &Store) {
        let (usages, total) = (store.usage(10).unwrap(), store.counters().total_bytes());
        assert_eq!(usages.scopes.iter().map(|(_, usage)| usage.bytes).sum::<u64>(), total);
        for (scope, usage) in &usages.scopes {
            let its = self.entries.keys().filter(|number| identity(**number).scope == *scope);
            assert_eq!(usage.entries, its.count() as u64);
        }
        let users: Vec<_> = usages.users.iter().map(|(uid, usage)| (*uid, usage.bytes)).collect();
        let expected = if self.entries.is_empty() { vec![] } else { vec![(1000, total)] };
        assert_eq!(users, expected);
    }

    fn assert_lookup(&self, store: &Store, number: u64) {
        match (lookup(store, number), self.entries.get(&number), self.graves.get(&number)) {
            (Found::Entry(found), Some((outputs, created_at_ms)), None) => {
                assert_eq!(found.provenance, provenance(*created_at_ms));
                assert_hit(store, number, outputs);
            }
            (Found::Grave(grave), None, Some(at_ms)) => assert_eq!(grave.at_ms, *at_ms),
            (Found::Unknown, None, None) => {}
            (found, entry, grave) => {
                panic!("entry {number}: {found:?} for {} {grave:?}", entry.is_some());
            }
        }
    }

    fn assert_list(&self, store: &Store, limit: u32) {
        let (mut listed, mut cursor) = (BTreeSet::new(), None);
        loop {
            let page = store.list(&Filter::default(), 0, limit, cursor.as_deref()).unwrap();
            for row in page.rows {
                assert!(listed.insert((row.key, row.created_at_ms, row.bytes)), "listed twice");
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        let expected = self.entries.iter().map(|(number, (outputs, created_at_ms))| {
            let bytes = outputs.iter().map(|output| output.len() as u64).sum();
            (key(*number), *created_at_ms, bytes)
        });
        assert_eq!(listed, expected.collect());
    }
}

fn run(operations: Vec<Operation>, options: &Options) {
    let (mut model, mut store) = (Model::default(), Store::open(options).unwrap());
    for (operation, now) in operations.into_iter().zip(0u64..) {
        match operation {
            Operation::Put { number, outputs, replace, uploaded } => {
                let outputs: Vec<Bytes> = outputs.into_iter().map(content_of).collect();
                let prepared = outputs.iter().map(|output| {
                    if uploaded {
                        upload(&store, output, 700_000)
                    } else {
                        store.prepare(output.clone())
                    }
                });
                let prepared = prepared.collect();
                let outcome = try_put(&store, entry(number, prepared, now, replace)).unwrap();
                assert_eq!(outcome, model.put(number, outputs, now, replace));
            }
            Operation::GiveUp { of } => {
                let mut given_up = store.begin_upload();
                given_up.write(content_of(of)).unwrap();
            }
            Operation::Remove(numbers) => {
                let keys = numbers.iter().map(|number| key(*number)).collect();
                let removed = wait(|done| store.remove(keys, GraveCause::Expired, now, None, done));
                assert_eq!(removed.unwrap(), model.remove(&numbers, now));
            }
            Operation::Lookup(number) => model.assert_lookup(&store, number),
            Operation::List { limit } => model.assert_list(&store, limit),
            Operation::Reopen { close } => {
                if close {
                    store.close();
                }
                drop(store);
                store = Store::open(options).unwrap();
            }
        }
        let counters = store.counters();
        assert_eq!(counters, model.counters(counters.row_bytes));
        assert_eq!(counters.row_bytes == 0, counters.entries == 0);
        model.assert_usage(&store);
    }
    for number in 0..KEYS {
        model.assert_lookup(&store, number);
    }
    model.assert_list(&store, 2);
    assert_sound(&store);
    assert_eq!(store.recount().unwrap().grave_rows, model.graves.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_store_does_what_the_model_does(
        operations in operations(),
        durability in prop_oneof![Just(Durability::Process), Just(Durability::Power)],
        hot_bytes in prop_oneof![Just(0u64), Just(64 * 1024 * 1024)],
    ) {
        let folder = tempfile::tempdir().unwrap();
        run(operations, &Options { durability, hot_bytes, ..options(folder.path()) });
    }
}
