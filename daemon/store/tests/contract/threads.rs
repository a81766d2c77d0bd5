//! Many threads at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use memod_protocol::PutOutcome;
use memod_store::{Durability, Found, Options, Replace, Store};

use crate::harness::*;

#[test]
fn of_many_puts_of_a_key_exactly_one_populates() {
    for durability in [Durability::Process, Durability::Power] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { durability, ..options(folder.path()) };
        let store = Store::open(&options).unwrap();
        for round in 0..20 {
            let outcomes: Vec<PutOutcome> = thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|thread| {
                        let store = &store;
                        let output = content(thread, 20_000 + thread as usize);
                        scope.spawn(move || put_as(store, round, &[output], thread, Replace::Never))
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let populated: Vec<_> = outcomes
                .iter()
                .zip(0u64..)
                .filter(|(outcome, _)| **outcome == PutOutcome::Populated)
                .collect();
            assert_eq!(populated.len(), 1, "{outcomes:?}");
            let winner = populated[0].1;
            for (outcome, thread) in outcomes.iter().zip(0..) {
                if thread != winner {
                    assert_eq!(*outcome, PutOutcome::Exists(provenance(winner)));
                }
            }
            assert_hit(&store, round, &[content(winner, 20_000 + winner as usize)]);
        }
        assert_eq!(store.counters().puts, 20);
        assert_sound(&store);
    }
}

/// Two outputs, one in its row or in one chunk and one in several, that belong together.
fn generation(number: u64) -> [Bytes; 3] {
    let generation = number % 4;
    [
        content(generation, 1000 + generation as usize),
        content(100 + generation, 30_000),
        content(200 + generation, 2 * CHUNK + generation as usize),
    ]
}

#[test]
fn readers_see_one_generation_while_it_is_replaced_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    // A small cache, so that most reads go to the database.
    let options = Options { hot_bytes: 1024 * 1024, ..options(folder.path()) };
    let store = Store::open(&options).unwrap();
    put_as(&store, 1, &generation(0), 0, Replace::Always);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut hits, mut generations) = (0, std::collections::BTreeSet::new());
                    while !stop.load(Ordering::Relaxed) {
                        match lookup(&store, 1) {
                            Found::Entry(entry) => {
                                let created_at_ms = entry.provenance.created_at_ms;
                                let expected = generation(created_at_ms);
                                for (output, expected) in entry.outputs.iter().zip(&expected) {
                                    assert!(read(output) == *expected);
                                }
                                generations.insert(created_at_ms % 4);
                                hits += 1;
                            }
                            Found::Grave(_) => {}
                            other => panic!("{other:?}"),
                        }
                    }
                    (hits, generations.len())
                })
            })
            .collect();
        for number in 1..200 {
            put_as(&store, 1, &generation(number), number, Replace::Always);
            if number % 16 == 0 {
                remove(&store, &[1]);
            }
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            let (hits, generations) = reader.join().unwrap();
            assert!(hits > 0 && generations > 1, "{hits} hits, {generations} generations");
        }
    });
    assert_sound(&store);
    assert_eq!(store.recount().unwrap().chunk_rows, 4, "one chunk and three");
}

#[test]
fn uploads_side_by_side_do_not_mix() {
    let store = open();
    thread::scope(|scope| {
        for thread in 0..6 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..3 {
                    let number = thread * 10 + round;
                    // Pairs of threads bring the same content.
                    let content = content(number / 20, 7 * CHUNK + 3);
                    let prepared = upload(store, &content, 300_000);
                    if round == 2 {
                        continue;
                    }
                    try_put(store, entry(number, vec![prepared], 1, Replace::Never)).unwrap();
                    assert_hit(store, number, &[content]);
                }
            });
        }
    });
    assert_sound(&store);
    assert_eq!(store.counters().blobs, 3);
    assert_eq!(store.recount().unwrap().chunk_rows, 3 * 8);
}
