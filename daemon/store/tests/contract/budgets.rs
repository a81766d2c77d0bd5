//! Budgets: what counts, what is refused, what is evicted and what that costs.

use std::sync::mpsc;

use bytes::Bytes;
use memod_protocol::{PutOutcome, Scope};
use memod_store::policy::PolicyKind;
use memod_store::{
    Budgets, Content, Found, GraveCause, NewEntry, Options, Replace, Store, StoreError, Tier,
    Usages,
};
use proptest::prelude::*;

use crate::harness::*;

pub(crate) const MIB: u64 = 1024 * 1024;

pub(crate) fn open_with(budgets: Budgets) -> TestStore {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options { budgets, ..options(folder.path()) }).unwrap();
    TestStore { store, folder }
}

pub(crate) fn limited(store_bytes_max: u64) -> Budgets {
    Budgets { store_bytes_max: Some(store_bytes_max), ..Budgets::default() }
}

pub(crate) fn new(store: &Store, number: u64, outputs: &[Bytes], at_ms: u64) -> NewEntry {
    let outputs = outputs.iter().map(|output| store.prepare(output.clone())).collect();
    entry(number, outputs, at_ms, Replace::Never)
}

/// Puts small entries of these numbers, one second after the other.
pub(crate) fn fill(store: &Store, numbers: std::ops::Range<u64>, bytes: usize) {
    for number in numbers {
        let entry = new(store, number, &[content(number, bytes)], number * 1000);
        assert_eq!(try_put(store, entry).unwrap(), PutOutcome::Populated);
    }
}

pub(crate) fn present(store: &Store, numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.filter(|number| matches!(lookup(store, *number), Found::Entry(_))).collect()
}

pub(crate) fn shrink(store: &Store) -> u64 {
    wait(|done| store.shrink(done)).unwrap()
}

pub(crate) fn fold(store: &Store) {
    wait(|done| store.fold(done)).unwrap();
}

#[test]
fn content_and_rows_count() {
    let store = open();
    assert_eq!(store.counters().total_bytes(), 0);
    fill(&store, 0..1, 1000);
    let counters = store.counters();
    assert_eq!(counters.stored_bytes, 1000);
    assert!((300..700).contains(&counters.row_bytes), "{}", counters.row_bytes);
    remove(&store, &[0]);
    assert_eq!(store.counters().total_bytes(), 0);
    assert_eq!(store.usage(10).unwrap(), Usages::default());
}

#[test]
fn shared_content_is_charged_to_who_brought_it_and_then_to_the_next() {
    let store = open();
    let shared = [content(1, 100_000)];
    let by = |number, uid| {
        let mut entry = new(&store, number, &shared, 1);
        entry.provenance.writer_uid = uid;
        assert_eq!(try_put(&store, entry).unwrap(), PutOutcome::Populated);
    };
    let charged = || -> Vec<(u32, bool)> {
        let mut users = store.usage(10).unwrap().users;
        users.sort_by_key(|(uid, _)| *uid);
        users.into_iter().map(|(uid, usage)| (uid, usage.bytes > 100_000)).collect()
    };
    by(0, 7);
    by(1, 8);
    by(2, 8);
    assert_eq!(charged(), [(7, true), (8, false)]);
    assert_eq!(store.counters().stored_bytes, 100_000);
    remove(&store, &[0]);
    assert_eq!(charged(), [(8, true)]);
    assert_sound(&store);
    by(0, 7);
    assert_eq!(charged(), [(7, false), (8, true)]);
    let reopened = store.store.clone();
    remove(&reopened, &[1, 2]);
    assert_eq!(charged(), [(7, true)]);
    assert_sound(&store);
    remove(&store, &[0]);
    assert_eq!(store.counters().total_bytes(), 0);
    assert_sound(&store);
}

#[test]
fn an_entry_that_another_user_overwrites_is_charged_to_that_one() {
    let store = open();
    fill(&store, 0..1, 5000);
    let mut other = new(&store, 0, &[content(0, 5000)], 2);
    (other.provenance.writer_uid, other.replace) = (8, Replace::Always);
    try_put(&store, other).unwrap();
    let users = store.usage(10).unwrap().users;
    let [(8, usage)] = users[..] else { panic!("{users:?}") };
    assert_eq!((usage.entries, usage.bytes), (1, store.counters().total_bytes()));
    assert_sound(&store);
}

#[test]
fn above_the_high_water_mark_entries_are_evicted_down_to_the_low_one() {
    let store = open_with(limited(MIB));
    let (high, low) = (store.budgets().high().unwrap(), store.budgets().low().unwrap());
    let mut number = 0;
    while store.counters().evicted_entries == 0 {
        assert!(store.counters().total_bytes() <= high, "nothing is evicted above the mark");
        fill(&store, number..number + 1, 10_000);
        store.settle().unwrap();
        number += 1;
    }
    // It goes on though nothing more is put; every round is one turn of the writer.
    let rounds = (0..10_000).take_while(|_| {
        store.settle().unwrap();
        store.counters().total_bytes() > low
    });
    assert!(rounds.count() < 10_000);
    let counters = store.counters();
    assert!(counters.total_bytes() > low - low / 8, "{counters:?}: no more than that");
    assert_eq!(counters.entries + counters.evicted_entries, number);
    assert!(counters.evicted_bytes >= counters.evicted_entries * 10_000);
    assert!(counters.last_evicted_age_ms.is_some());
    let gone = (0..number).filter(|number| match lookup(&store, *number) {
        Found::Grave(grave) => {
            let lost = grave.lost.unwrap();
            assert_eq!(grave.cause, GraveCause::Evicted);
            assert_eq!(lost.compute_ns, Some(number * 1000));
            true
        }
        _ => false,
    });
    assert_eq!(gone.count() as u64, counters.evicted_entries);
    assert_sound(&store);
}

#[test]
fn the_limit_holds_at_every_moment_and_puts_go_on() {
    let store = open_with(Budgets { policy: PolicyKind::Lru, ..limited(MIB) });
    for number in 0..500 {
        let bytes = 1000 + (number as usize * 7919) % 60_000;
        fill(&store, number..number + 1, bytes);
        let total = store.counters().total_bytes();
        assert!(total <= MIB, "{total}");
        assert!(matches!(lookup(&store, number), Found::Entry(_)), "what was put last is there");
    }
    assert!(store.counters().evicted_entries > 100);
    assert_sound(&store);
}

#[test]
fn puts_of_one_group_keep_within_the_limit_together() {
    let store = open_with(limited(MIB));
    let (sender, receiver) = mpsc::sync_channel(1000);
    for number in 0..500 {
        let entry = new(&store, number, &[content(number, 20_000)], number);
        let (sender, looks) = (sender.clone(), store.store.clone());
        // Whoever is told sees what its group has come to.
        store.put(entry, move |outcome| {
            sender.send((outcome.is_ok(), looks.counters().total_bytes())).unwrap();
        });
    }
    for (stored, total) in receiver.iter().take(500) {
        assert!(stored && total <= MIB, "{stored} {total}");
    }
    assert_sound(&store);
}

#[test]
fn what_is_larger_than_the_budget_is_refused_and_nothing_else_goes() {
    let store = open_with(limited(MIB));
    fill(&store, 0..20, 10_000);
    let before = store.counters();
    let large = new(&store, 99, &[content(99, MIB as usize)], 1);
    let error = try_put(&store, large).unwrap_err();
    let StoreError::EntryTooLarge { most, need } = error else { panic!("{error}") };
    assert_eq!(Some(most), store.budgets().entry_bytes_max());
    assert!(need > MIB);
    assert!(error.to_string().contains("store_bytes_low"), "{error}");
    assert_eq!(store.counters(), before);
    assert!(matches!(lookup(&store, 99), Found::Unknown));
    assert_eq!(present(&store, 0..20).len(), 20);
    assert_sound(&store);
}

#[test]
fn uploads_count_while_they_are_under_way() {
    let store = open_with(limited(8 * MIB));
    let half = content(1, 5 * CHUNK);
    let first = upload(&store, &half, 400_000);
    let mut second = store.begin_upload();
    let refused = second.write(content(2, 5 * CHUNK)).err().or_else(|| {
        // Whether the last chunk has been refused is known when it has been tried.
        store.settle().unwrap();
        second.finish().err()
    });
    assert!(matches!(refused, Some(StoreError::UploadsFull { .. })), "{refused:?}");
    drop(first);
    store.settle().unwrap();
    let third = upload(&store, &half, 400_000);
    try_put(&store, entry(1, vec![third], 1, Replace::Never)).unwrap();
    assert_hit(&store, 1, &[half]);
    assert_eq!(store.recount().unwrap().chunk_rows, 5);
    assert_sound(&store);
}

#[test]
fn a_disk_without_reserve_takes_nothing_more() {
    let store = open_with(Budgets { disk_reserve_bytes: u64::MAX, ..Budgets::default() });
    let error = try_put(&store, new(&store, 1, &[content(1, 10)], 1)).unwrap_err();
    assert!(matches!(error, StoreError::DiskLow { reserve: u64::MAX, .. }), "{error}");
    assert_eq!(store.counters().entries, 0);
    let mut upload = store.begin_upload();
    upload.write(content(1, 2 * CHUNK)).unwrap();
    store.settle().unwrap();
    assert!(matches!(upload.finish(), Err(StoreError::DiskLow { .. })));
    // An entry that is there already needs no room.
    let folder = store.folder;
    drop(store.store);
    put(&open_in(folder.path()), 1, &[content(1, 10)]);
    let budgets = Budgets { disk_reserve_bytes: u64::MAX, ..Budgets::default() };
    let store = Store::open(&Options { budgets, ..options(folder.path()) }).unwrap();
    assert!(matches!(put(&store, 1, &[content(1, 10)]), PutOutcome::Exists(_)));
}

#[test]
fn a_scope_that_is_full_loses_its_own_entries() {
    let even = Scope::new("project", "even");
    let budgets = Budgets { scopes: [(even.clone(), 200_000)].into(), ..Budgets::default() };
    let store = open_with(budgets);
    fill(&store, 0..100, 10_000);
    let usage = store.usage(10).unwrap();
    let bytes = usage.scopes.iter().find(|(scope, _)| *scope == even).unwrap().1.bytes;
    assert!((100_000..=200_000).contains(&bytes), "{bytes}");
    let stay = present(&store, 0..100);
    assert!(stay.contains(&98), "what was put last is there");
    assert_eq!(stay.iter().filter(|number| *number % 2 == 1).count(), 50);
    let large = new(&store, 200, &[content(200, 200_000)], 1);
    let error = try_put(&store, large).unwrap_err();
    let StoreError::ScopeFull { scope, limit: 200_000, .. } = error else { panic!("{error}") };
    assert_eq!(scope, even);
    assert_eq!(present(&store, 0..100), stay);
    assert_sound(&store);
}

#[test]
fn a_user_who_is_over_budget_loses_own_entries() {
    let store = open_with(Budgets { user_bytes_max: Some(200_000), ..Budgets::default() });
    let put_as = |number: u64, bytes| {
        let mut entry = new(&store, number, &[content(number, bytes)], number);
        entry.provenance.writer_uid = 5 + number as u32 % 2;
        try_put(&store, entry)
    };
    for number in 0..10 {
        put_as(number, 10_000).unwrap();
    }
    for number in (10..100).step_by(2) {
        put_as(number, 10_000).unwrap();
    }
    for (_, usage) in store.usage(10).unwrap().users {
        assert!(usage.bytes <= 200_000, "{usage:?}");
    }
    let others = present(&store, 0..10).into_iter().filter(|number| number % 2 == 1);
    assert_eq!(others.count(), 5);
    let error = put_as(200, 200_000).unwrap_err();
    assert!(matches!(error, StoreError::UserFull { uid: 5, limit: 200_000, .. }), "{error}");
    assert_sound(&store);
}

#[test]
fn what_is_asked_for_again_is_regretted_once() {
    let store = open_with(Budgets { store_bytes_low: Some(0), ..limited(MIB) });
    fill(&store, 1..4, 1000);
    assert_eq!(shrink(&store), 3);
    let Found::Grave(grave) = lookup(&store, 2) else { panic!("no grave") };
    assert_eq!(grave.lost.unwrap().compute_ns, Some(2000));
    store.regret(&key(2), &grave);
    store.regret(&key(2), &grave);
    store.settle().unwrap();
    let counters = store.counters();
    assert_eq!((counters.regretted_entries, counters.regret_ns), (1, 2000));
    let Found::Grave(grave) = lookup(&store, 2) else { panic!("no grave") };
    assert!(grave.lost.unwrap().regretted);
    // What a user removed was not evicted.
    fill(&store, 7..8, 1000);
    wait(|done| store.remove(vec![key(7)], GraveCause::Invalidated, 1, None, done)).unwrap();
    let Found::Grave(grave) = lookup(&store, 7) else { panic!("no grave") };
    store.regret(&key(7), &grave);
    store.settle().unwrap();
    assert_eq!(store.counters().regretted_entries, 1);
    assert_eq!(store.counters().evicted_entries, 3);
}

#[test]
fn what_is_put_again_goes_on_with_its_hits() {
    let store = open_with(Budgets { store_bytes_low: Some(0), ..limited(MIB) });
    fill(&store, 1..2, 1000);
    (0..3).for_each(|round| store.touch(&hit(&store, 1), 5000 + round, 1));
    fold(&store);
    for hits in 3..6 {
        assert_eq!(shrink(&store), 1);
        let Found::Grave(grave) = lookup(&store, 1) else { panic!("no grave") };
        assert_eq!(grave.lost.unwrap().hits, hits);
        assert_eq!(store.recount().unwrap().heat_rows, 0);
        fill(&store, 1..2, 1000);
        assert_eq!(store.recount().unwrap().heat_rows, 1);
    }
    assert_sound(&store);
}

#[test]
fn uses_survive_and_what_was_used_stays() {
    let folder = tempfile::tempdir().unwrap();
    let budgets =
        Budgets { store_bytes_low: Some(200_000), policy: PolicyKind::Lru, ..limited(8 * MIB) };
    let options = Options { budgets, ..options(folder.path()) };
    let store = Store::open(&options).unwrap();
    fill(&store, 0..100, 10_000);
    let used = 0..10;
    for number in used.clone() {
        store.touch(&hit(&store, number), 1_000_000, 1);
    }
    drop(store);
    let store = Store::open(&options).unwrap();
    assert_eq!(store.recount().unwrap().heat_rows, 10);
    let evicted = shrink(&store);
    assert!(evicted > 75, "{evicted}");
    let stay = present(&store, 0..100);
    let lost = used.filter(|number| !stay.contains(number)).count();
    assert!(lost <= 1, "{lost} of what was used last are gone: {stay:?}");
    assert_sound(&store);
}

#[test]
fn what_was_dear_to_compute_stays() {
    let store = open_with(Budgets { store_bytes_low: Some(300_000), ..limited(8 * MIB) });
    for number in 0..100 {
        let mut entry = new(&store, number, &[content(number, 10_000)], 1);
        let seconds = if number % 4 == 0 { 3600 } else { 1 };
        entry.provenance.run.compute_ns = Some(seconds * 1_000_000_000);
        try_put(&store, entry).unwrap();
    }
    shrink(&store);
    let stay = present(&store, 0..100);
    let dear = stay.iter().filter(|number| *number % 4 == 0).count();
    assert!(dear >= 23, "{dear} of 25: {stay:?}");
}

#[test]
fn what_is_evicted_is_read_to_its_end() {
    let store = open_with(Budgets { store_bytes_low: Some(0), ..limited(64 * MIB) });
    let large = content(1, 4 * CHUNK + 5);
    let prepared = upload(&store, &large, CHUNK);
    try_put(&store, entry(1, vec![prepared], 1, Replace::Never)).unwrap();
    let entry = hit(&store, 1);
    let Content::Chunked(reader) = &entry.outputs[0].content else { panic!("one chunk") };
    let first = reader.chunk(0, Tier::Disk).unwrap().unwrap();
    assert_eq!(shrink(&store), 1);
    assert!(matches!(lookup(&store, 1), Found::Grave(_)));
    let rest = (1..5).map(|index| reader.chunk(index, Tier::Disk).unwrap().unwrap());
    let read: Vec<Bytes> = std::iter::once(first).chain(rest).collect();
    assert!(read.concat() == large);
    assert_eq!(store.recount().unwrap().chunk_rows, 5);
    drop(entry);
    store.settle().unwrap();
    assert_eq!(store.recount().unwrap().chunk_rows, 0);
    assert_sound(&store);
}

/// What is stored and what is charged, while nothing is being evicted.
fn at_one_moment(store: &Store) -> (u64, Usages) {
    loop {
        let before = store.counters();
        let usages = store.usage(100).unwrap();
        if store.counters() == before {
            return (before.total_bytes(), usages);
        }
    }
}

/// One of a few contents, which entries share.
fn contents() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..12usize, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Puts, overwriting puts and removals of entries that share content, of several scopes and
    /// users, in a store that is too small for them: its budget holds after every step, all of it
    /// is charged to scopes and to users, and in the end everything is counted as it is.
    #[test]
    fn budgets_hold_and_are_exact(
        steps in prop::collection::vec((0..40u64, contents(), any::<bool>(), 0..3u32), 1..150),
        policy in prop::sample::select(PolicyKind::ALL.as_slice()),
    ) {
        let budgets = Budgets {
            scope_bytes_max: Some(300_000),
            user_bytes_max: Some(250_000),
            policy,
            ..limited(400_000)
        };
        let store = open_with(budgets);
        for (step, (number, outputs, remove_it, uid)) in (0u64..).zip(steps) {
            if remove_it && step % 3 == 0 {
                remove(&store, &[number]);
            } else {
                let outputs: Vec<Bytes> =
                    outputs.iter().map(|of| content(*of as u64, of * 6000)).collect();
                let mut entry = new(&store, number, &outputs, step);
                (entry.provenance.writer_uid, entry.replace) = (uid, Replace::Always);
                let uploaded = step % 4 == 0 && !outputs.is_empty();
                if uploaded {
                    entry.outputs[0].2 = upload(&store, &outputs[0], 30_000);
                }
                let outcome = try_put(&store, entry);
                prop_assert!(matches!(outcome, Ok(PutOutcome::Populated)), "{:?}", outcome);
                // Whoever is worth least goes, be it the newest.
                match lookup(&store, number) {
                    Found::Grave(grave) => prop_assert_eq!(grave.cause, GraveCause::Evicted),
                    Found::Entry(found) => {
                        let found: Vec<Bytes> = found.outputs.iter().map(read).collect();
                        prop_assert_eq!(found, outputs);
                    }
                    other => panic!("{other:?}"),
                }
            }
            let (total, usages) = at_one_moment(&store);
            prop_assert!(total <= 400_000);
            prop_assert_eq!(usages.scopes.iter().map(|(_, usage)| usage.bytes).sum::<u64>(), total);
            prop_assert_eq!(usages.users.iter().map(|(_, usage)| usage.bytes).sum::<u64>(), total);
        }
        assert_sound(&store);
    }
}
