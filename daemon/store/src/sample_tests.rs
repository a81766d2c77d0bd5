//! Samples are fair.

use std::collections::HashMap;
use std::sync::mpsc;

use memod_protocol::{
    CallIdentity, Digest, InterfaceText, Key, Provenance, PutOutcome, RunClaim, Scope,
};

use crate::limits::SAMPLE_COUNT;
use crate::mutation::{NewEntry, Replace};
use crate::options::Options;
use crate::sample::Sampler;
use crate::schema::Account;
use crate::store::Store;

const ENTRIES: u64 = 2000;
/// One entry in so many is of the small scope and of the second user.
const SMALL: u64 = 20;
/// How often each of all entries is to be drawn.
const EXPECTED: u64 = 96;

fn identity(number: u64) -> CallIdentity {
    CallIdentity {
        scope: Scope::new("p", if number.is_multiple_of(SMALL) { "small" } else { "large" }),
        task: format!("t{}", number % 3),
        cache_version: "1".to_owned(),
        signature: Digest::of(b"signature"),
        inputs: vec![("number".to_owned(), Digest::of(&number.to_le_bytes()))],
    }
}

fn fill(store: &Store, numbers: impl Iterator<Item = u64>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    for number in numbers {
        let entry = NewEntry {
            key: identity(number).key(),
            identity: identity(number),
            interface: InterfaceText::default(),
            outputs: Vec::new(),
            provenance: Provenance {
                writer_uid: u32::from(number.is_multiple_of(SMALL)),
                writer_pid: None,
                program: None,
                host: None,
                created_at_ms: 1,
                run: RunClaim::default(),
            },
            replace: Replace::Never,
            apart: false,
        };
        let sender = sender.clone();
        store.put(entry, move |result| sender.send(result).unwrap());
        assert_eq!(receiver.recv().unwrap().unwrap(), PutOutcome::Populated);
    }
}

/// How often each key is drawn in so many samples.
fn draw(store: &Store, of: Option<&Account>, samples: usize) -> HashMap<Key, u64> {
    let (mut hand, mut counts) = (Sampler::new(), HashMap::new());
    for _ in 0..samples {
        let sample = hand.draw(store.shared(), of).unwrap();
        assert!(sample.len() <= SAMPLE_COUNT);
        let count = sample.len();
        for one in sample {
            *counts.entry(one.key).or_default() += 1;
        }
        assert!(count == SAMPLE_COUNT || of.is_some(), "{count}");
    }
    counts
}

#[test]
fn each_entry_is_drawn_about_as_often_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    fill(&store, 0..ENTRIES);
    let drawn = draw(&store, None, EXPECTED as usize * ENTRIES as usize / SAMPLE_COUNT);
    assert_eq!(drawn.len() as u64, ENTRIES, "each comes up");
    let least = drawn.values().min().unwrap();
    let most = drawn.values().max().unwrap();
    assert!(*least > EXPECTED / 3 && *most < EXPECTED * 2, "{least} to {most}");
    // The variance of counts: that of chance is one.
    let square = |count: &u64| count.abs_diff(EXPECTED).pow(2);
    let chi = drawn.values().map(square).sum::<u64>() / EXPECTED / ENTRIES;
    assert!(chi < 5, "{chi}");
}

#[test]
fn removed_rows_do_not_make_samples_unfair() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    fill(&store, 0..2 * ENTRIES);
    let gone: Vec<Key> = (ENTRIES..2 * ENTRIES).map(|number| identity(number).key()).collect();
    store.remove(gone, crate::record::GraveCause::Evicted, 1, None, |removed| {
        assert_eq!(removed.unwrap(), ENTRIES);
    });
    store.settle().unwrap();
    let drawn = draw(&store, None, 1000);
    assert!(drawn.len() as u64 > ENTRIES - 5, "{}", drawn.len());
}

#[test]
fn the_entries_of_a_scope_come_up_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    fill(&store, 0..ENTRIES);
    let small = Account::Scope(Scope::new("p", "small"));
    let drawn = draw(&store, Some(&small), 50);
    let its: Vec<Key> =
        (0..ENTRIES).step_by(SMALL as usize).map(|number| identity(number).key()).collect();
    assert_eq!(drawn.len(), its.len());
    for key in its {
        assert!((47..=49).contains(&drawn[&key]), "{:?}", drawn[&key]);
    }
    assert_eq!(draw(&store, Some(&Account::Scope(Scope::new("p", "none"))), 3).len(), 0);
}

#[test]
fn the_entries_of_a_user_are_found_among_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    fill(&store, 0..ENTRIES);
    let drawn = draw(&store, Some(&Account::User(1)), 50);
    let its = ENTRIES / SMALL;
    assert_eq!(drawn.len() as u64, its);
    let (least, most) = (drawn.values().min().unwrap(), drawn.values().max().unwrap());
    assert!(*least > 40 && *most < 60, "{least} to {most}");
    assert_eq!(draw(&store, Some(&Account::User(2)), 3).len(), 0);
}

#[test]
fn a_store_without_entries_has_no_samples() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options::new(folder.path())).unwrap();
    assert!(Sampler::new().draw(store.shared(), None).unwrap().is_empty());
    fill(&store, 0..3);
    let drawn = Sampler::new().draw(store.shared(), None).unwrap();
    assert_eq!(drawn.len(), 3, "each once");
}
