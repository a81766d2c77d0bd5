//! Put, lookup, overwrite, remove, notes, counters, closing.

use std::slice;

use memod_protocol::{Delivery, Digest, PutOutcome};
use memod_store::{
    Durability, Found, Grave, GraveCause, Options, Replace, Store, StoreError, Tier,
};

use crate::harness::*;

#[test]
fn an_unknown_key_is_unknown() {
    let store = open();
    assert!(matches!(lookup(&store, 1), Found::Unknown));
    assert_eq!(store.describe(&key(1)).unwrap(), None);
    assert_eq!(remove(&store, &[1, 2]), 0);
    assert!(matches!(lookup(&store, 1), Found::Unknown), "nothing was removed");
}

#[test]
fn the_first_put_wins_and_the_second_is_told_who() {
    let store = open();
    let (first, second) = (content(1, 10), content(2, 10));
    assert_eq!(
        put_as(&store, 1, slice::from_ref(&first), 5, Replace::Never),
        PutOutcome::Populated
    );
    let outcome = put_as(&store, 1, &[second], 6, Replace::Never);
    assert_eq!(outcome, PutOutcome::Exists(provenance(5)));
    assert_hit(&store, 1, &[first]);
    assert_eq!(store.counters().puts, 1);
    assert_sound(&store);
}

#[test]
fn an_overwrite_replaces_outputs_provenance_and_listing() {
    let store = open();
    put_as(&store, 1, &[content(1, 10), content(2, 3 * CHUNK)], 5, Replace::Never);
    let outcome = put_as(&store, 1, &[content(3, 20)], 6, Replace::Always);
    assert_eq!(outcome, PutOutcome::Populated);
    assert_hit(&store, 1, &[content(3, 20)]);
    assert_eq!(hit(&store, 1).provenance, provenance(6));
    assert_sound(&store);
    let counters = store.counters();
    assert_eq!((counters.entries, counters.blobs), (1, 1));
    assert_eq!((counters.stored_bytes, counters.logical_bytes), (20, 20));
    assert_eq!(store.recount().unwrap().chunk_rows, 0);
}

#[test]
fn an_entry_is_replaced_by_age_only_if_it_is_older() {
    let store = open();
    put_as(&store, 1, &[content(1, 10)], 100, Replace::Never);
    let young = put_as(&store, 1, &[content(2, 10)], 200, Replace::IfCreatedBefore(100));
    assert_eq!(young, PutOutcome::Exists(provenance(100)));
    let old = put_as(&store, 1, &[content(2, 10)], 200, Replace::IfCreatedBefore(101));
    assert_eq!(old, PutOutcome::Populated);
    assert_hit(&store, 1, &[content(2, 10)]);
}

#[test]
fn a_removed_entry_leaves_a_grave_and_a_put_clears_it() {
    let store = open();
    put(&store, 1, &[content(1, 10)]);
    let by_uid = Some(7);
    let keys = vec![key(1), key(2), key(1)];
    let removed =
        wait(|done| store.remove(keys, GraveCause::Invalidated, 44, by_uid, done)).unwrap();
    assert_eq!(removed, 1, "one was there, and it counts once");
    let Found::Grave(grave) = lookup(&store, 1) else { panic!("no grave") };
    assert_eq!(grave, Grave { cause: GraveCause::Invalidated, at_ms: 44, by_uid, lost: None });
    assert!(matches!(lookup(&store, 2), Found::Unknown));
    assert_sound(&store);
    let store = store.reopen();
    assert!(matches!(lookup(&store, 1), Found::Grave(_)));
    put(&store, 1, &[content(1, 10)]);
    assert_hit(&store, 1, &[content(1, 10)]);
    assert_eq!(store.recount().unwrap().grave_rows, 0);
}

#[test]
fn no_outputs_is_an_entry_like_any_other() {
    let store = open();
    put(&store, 1, &[]);
    assert_hit(&store, 1, &[]);
    assert_sound(&store);
}

#[test]
fn describe_tells_everything_but_the_bytes() {
    let store = open();
    put_as(&store, 3, &[content(1, 10), content(2, CHUNK + 1)], 5, Replace::Never);
    let detail = store.describe(&key(3)).unwrap().unwrap();
    assert_eq!(detail.key, key(3));
    let identity = identity(3);
    assert_eq!((detail.scope, detail.task), (identity.scope, identity.task));
    assert_eq!(detail.cache_version, identity.cache_version);
    assert_eq!((detail.signature, detail.inputs), (identity.signature, identity.inputs));
    assert_eq!(detail.interface.inputs.len(), 5);
    assert_eq!(detail.interface.inputs[4], ("number".to_owned(), "integer".to_owned()));
    assert_eq!(detail.interface.outputs.len(), 2);
    assert_eq!((detail.provenance, detail.age_ms), (provenance(5), 0));
    let output = &detail.outputs[1];
    assert_eq!(output.digest, Digest::of(&content(2, CHUNK + 1)));
    assert_eq!((output.name.as_str(), output.bytes), ("o1", CHUNK as u64 + 1));
    assert_eq!(output.delivery, Delivery::Withheld);
}

#[test]
fn what_is_shared_is_stored_once_and_stays_until_the_last_entry_goes() {
    let store = open();
    for shared in [content(1, 100), content(2, 50_000), content(3, CHUNK + 1)] {
        let entries: Vec<u64> = (0..20).collect();
        for number in &entries {
            put(&store, *number, &[shared.clone(), shared.clone()]);
        }
        let counters = store.counters();
        let bytes = shared.len() as u64;
        assert_eq!((counters.blobs, counters.stored_bytes), (1, bytes));
        assert_eq!(counters.logical_bytes, 40 * bytes);
        assert_sound(&store);
        // In an order that is neither that of the keys nor its reverse.
        for number in &entries[..10] {
            assert_eq!(remove(&store, &[(number * 7) % 20]), 1);
        }
        let left: Vec<u64> =
            entries.into_iter().filter(|n| !(0..10).any(|i| (i * 7) % 20 == *n)).collect();
        assert_sound(&store);
        for number in &left {
            assert_hit(&store, *number, &[shared.clone(), shared.clone()]);
        }
        assert_eq!(remove(&store, &left), 10);
        assert_sound(&store);
        let recount = store.recount().unwrap();
        assert_eq!((recount.counters.blobs, recount.chunk_rows, recount.ref_rows), (0, 0, 0));
    }
}

#[test]
fn notes_are_kept() {
    let store = open();
    assert_eq!(store.load_note("hits").unwrap(), None);
    for value in [b"1".to_vec(), b"22".to_vec()] {
        wait(|done| store.save_note("hits", value, done)).unwrap();
    }
    assert_eq!(store.load_note("hits").unwrap(), Some(b"22".to_vec()));
    assert_eq!(store.load_note("misses").unwrap(), None);
    let store = store.reopen();
    assert_eq!(store.load_note("hits").unwrap(), Some(b"22".to_vec()));
}

#[test]
fn everything_is_there_after_reopening() {
    for durability in [Durability::Process, Durability::Power] {
        for close in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let options = Options { durability, ..options(&folder.path().join("a/b")) };
            let store = Store::open(&options).unwrap();
            let outputs = [content(1, 0), content(2, 20_000), content(3, 2 * CHUNK)];
            put(&store, 1, &outputs);
            put(&store, 2, &outputs[1..]);
            remove(&store, &[2]);
            let (id, counters) = (store.id().to_owned(), store.counters());
            assert_eq!(id.len(), 32);
            if close {
                store.close();
            }
            drop(store);
            let store = Store::open(&options).unwrap();
            assert_eq!((store.id(), store.counters()), (id.as_str(), counters));
            assert_eq!(store.path(), options.path);
            assert_hit(&store, 1, &outputs);
            assert_sound(&store);
        }
    }
}

#[test]
fn a_closed_store_refuses_to_change_but_can_be_read() {
    let store = open();
    put(&store, 1, &[content(1, 10)]);
    let late = upload(&store, &content(2, 3 * CHUNK), CHUNK);
    let mut open_upload = store.begin_upload();
    store.close();
    store.close();
    let outcome = try_put(&store, entry(2, vec![late], 1, Replace::Never));
    assert!(matches!(outcome, Err(StoreError::Closed)), "{outcome:?}");
    let removed = wait(|done| store.remove(vec![key(1)], GraveCause::Evicted, 1, None, done));
    assert!(matches!(removed, Err(StoreError::Closed)));
    assert!(matches!(store.settle(), Err(StoreError::Closed)));
    assert!(matches!(open_upload.write(content(1, 3 * CHUNK)), Err(StoreError::Closed)));
    drop(open_upload);
    assert_hit(&store, 1, &[content(1, 10)]);
    let store = store.reopen();
    assert_hit(&store, 1, &[content(1, 10)]);
    assert_sound(&store);
    assert_eq!(store.recount().unwrap().chunk_rows, 0);
}

#[test]
fn the_last_clone_may_go_in_a_callback() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    let output = store.prepare(content(1, 10));
    let clone = store.clone();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
    store.put(entry(1, vec![output], 1, Replace::Never), move |result| {
        gone.recv().unwrap();
        drop(clone);
        sender.send(result).unwrap();
    });
    drop(store);
    go.send(()).unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap(), PutOutcome::Populated);
}

#[test]
fn a_callback_that_panics_does_not_end_the_writer() {
    let store = open();
    let output = store.prepare(content(1, 10));
    store.put(entry(1, vec![output], 1, Replace::Never), |_| panic!("wanted by this test"));
    put(&store, 2, &[content(2, 10)]);
    assert_hit(&store, 1, &[content(1, 10)]);
    assert_hit(&store, 2, &[content(2, 10)]);
}

#[test]
fn memory_answers_what_it_can_and_says_when_it_cannot() {
    let store = open();
    let outputs = [content(1, 100), content(2, 10_000), content(3, 100_000)];
    put(&store, 1, &outputs);
    let store = store.reopen();
    let found = store.lookup(&key(1), Tier::Memory).unwrap();
    assert!(matches!(found, Found::WouldBlock), "nothing has been read yet: {found:?}");
    assert_hit(&store, 1, &outputs);
    let found = store.lookup(&key(1), Tier::Memory).unwrap();
    assert!(matches!(found, Found::Entry(_)), "everything has been read: {found:?}");
}
