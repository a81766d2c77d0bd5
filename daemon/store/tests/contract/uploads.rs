//! Uploads under way: what is evicted for them, and what is refused before anything is.

use bytes::Bytes;
use memod_protocol::Scope;
use memod_store::{Budgets, Promise, Replace, Store, StoreError, UPLOADS_SHARE, Upload, Uploader};

use crate::budgets::{MIB, fill, limited, new, open_with, present};
use crate::harness::*;

/// As much of this content as is taken, chunk by chunk, and why the rest is not.
fn uploaded(store: &Store, by: Uploader, content: &Bytes) -> (Upload, Option<StoreError>) {
    let mut upload = store.begin_upload_by(by);
    let mut rest = content.clone();
    while !rest.is_empty() {
        let written = upload.write(rest.split_to(CHUNK.min(rest.len())));
        // Whether a chunk was refused is known when the writer has come to it.
        store.settle().unwrap();
        if let Err(error) = written {
            return (upload, Some(error));
        }
    }
    (upload, None)
}

fn by(uid: u32) -> Uploader {
    Uploader { uid: Some(uid), promise: None }
}

fn promised(uid: u32, promise: Promise) -> Uploader {
    Uploader { uid: Some(uid), promise: Some(promise) }
}

fn scope() -> Scope {
    identity(2).scope
}

/// A store of 32 MiB that is full of small entries.
fn full() -> (TestStore, u64) {
    let limits = limited(32 * MIB);
    let store = open_with(Budgets { store_bytes_high: Some(32 * MIB), ..limits });
    fill(&store, 0..330, 100_000);
    let room = 32 * MIB - store.counters().total_bytes();
    assert!(room < MIB && store.counters().evicted_entries == 0, "{room}");
    (store, 330)
}

#[test]
fn for_uploads_that_nobody_announced_no_more_than_a_share_is_evicted() {
    let (store, entries) = full();
    let (first, refused) = uploaded(&store, by(7), &content(1000, 30 * CHUNK));
    let Some(StoreError::UploadsFull { share, uploading, need, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((share, need), (32 * MIB / UPLOADS_SHARE, MIB));
    assert!((share - MIB..=share).contains(&uploading), "{uploading}");
    // That of another, and one that nobody owns, find the share used up.
    for by in [by(8), Uploader::default()] {
        let (_, refused) = uploaded(&store, by, &content(1001, 10 * CHUNK));
        assert!(matches!(refused, Some(StoreError::UploadsFull { .. })), "{refused:?}");
    }
    let evicted = store.counters().evicted_bytes;
    assert!(evicted <= share + 200_000, "{evicted}");
    drop(first);
    store.settle().unwrap();
    // What is free again is there for all.
    let (_, refused) = uploaded(&store, by(8), &content(1002, 3 * CHUNK));
    assert!(refused.is_none(), "{refused:?}");
    let stay = present(&store, 0..entries).len() as u64;
    assert!(stay * 100_000 >= 27 * MIB, "{stay}");
    assert_sound(&store);
}

#[test]
fn an_upload_that_was_announced_has_others_evicted() {
    let (store, _) = full();
    let large = content(1000, 16 * CHUNK);
    let promise = store.announce(&scope(), 1000, large.len() as u64).unwrap().unwrap();
    let (upload, refused) = uploaded(&store, promised(1000, promise), &large);
    assert!(refused.is_none(), "{refused:?}");
    let prepared = upload.finish().unwrap();
    try_put(&store, entry(1000, vec![prepared], 1, Replace::Never)).unwrap();
    assert_hit(&store, 1000, &[large]);
    assert!(store.counters().total_bytes() <= 32 * MIB);
    assert_sound(&store);
}

#[test]
fn what_goes_beyond_a_promise_is_as_if_it_was_not_announced() {
    let (store, _) = full();
    let promise = store.announce(&scope(), 1000, 8 * MIB).unwrap().unwrap();
    let (_upload, refused) = uploaded(&store, promised(1000, promise), &content(1000, 20 * CHUNK));
    let Some(StoreError::UploadsFull { uploading, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(uploading, 8 * MIB);
}

#[test]
fn what_would_be_refused_in_the_end_is_refused_before_it_is_uploaded() {
    let budgets = Budgets {
        scopes: [(Scope::new("small", "d"), 3 * MIB)].into(),
        users: [(7, 2 * MIB)].into(),
        ..limited(32 * MIB)
    };
    let store = open_with(budgets);
    let low = store.budgets().low().unwrap();
    let announce = |scope: &Scope, uid, bytes| store.announce(scope, uid, bytes);
    let error = announce(&scope(), 1, low + 1).unwrap_err();
    assert!(matches!(error, StoreError::EntryTooLarge { most, .. } if most == low), "{error}");
    let error = announce(&Scope::new("small", "d"), 1, 3 * MIB + 1).unwrap_err();
    assert!(matches!(error, StoreError::ScopeFull { .. }), "{error}");
    let error = announce(&scope(), 7, 2 * MIB + 1).unwrap_err();
    assert!(matches!(error, StoreError::UserFull { uid: 7, .. }), "{error}");
    let first = announce(&scope(), 7, MIB).unwrap();
    let error = announce(&scope(), 7, MIB + 1).unwrap_err();
    assert!(error.to_string().contains("1048576 of them in unfinished uploads"), "{error}");
    // No more is promised in all than eviction may bring about.
    let rest = low - MIB;
    let second = announce(&scope(), 1, rest).unwrap();
    assert!(first.is_some() && second.is_some());
    assert!(announce(&scope(), 1, 1).unwrap().is_none());
    drop(first);
    assert!(announce(&scope(), 7, MIB).unwrap().is_some(), "it was given back");
}

#[test]
fn a_user_over_budget_is_refused_while_it_uploads_and_nothing_goes() {
    let limits = Budgets { users: [(7, 3 * MIB)].into(), ..limited(32 * MIB) };
    let store = open_with(Budgets { store_bytes_high: Some(32 * MIB), ..limits });
    fill(&store, 0..330, 100_000);
    let (held, refused) = uploaded(&store, by(7), &content(1000, 6 * CHUNK));
    let Some(StoreError::UserFull { uid: 7, limit, uploading, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((limit, uploading), (3 * MIB, 3 * MIB));
    let (_, refused) = uploaded(&store, by(7), &content(1001, 3 * CHUNK));
    assert!(matches!(refused, Some(StoreError::UserFull { .. })), "{refused:?}");
    assert!(store.counters().evicted_bytes < 4 * MIB);
    drop(held);
    store.settle().unwrap();
    let (_, refused) = uploaded(&store, by(7), &content(1002, 3 * CHUNK));
    assert!(refused.is_none(), "it holds nothing any more: {refused:?}");
}

#[test]
fn what_uploads_hold_is_not_made_up_for_by_evicting_everything() {
    let store = open_with(limited(32 * MIB));
    let (_held, refused) = uploaded(&store, by(7), &content(1000, 24 * CHUNK));
    assert!(refused.is_none(), "there was room: {refused:?}");
    fill(&store, 0..50, 100_000);
    let before = store.counters();
    let error = try_put(&store, new(&store, 500, &[content(500, 12 * CHUNK)], 1)).unwrap_err();
    let StoreError::StoreFull { uploading, .. } = error else { panic!("{error}") };
    assert_eq!(uploading, 24 * MIB - MIB, "the last chunk is held back");
    assert!(error.to_string().contains("of them in unfinished uploads"), "{error}");
    assert_eq!(store.counters(), before);
}

#[test]
fn a_put_that_its_scope_cannot_hold_evicts_nothing_elsewhere() {
    let scopes = [(identity(1001).scope, MIB)].into();
    let limits = Budgets { scopes, ..limited(32 * MIB) };
    let store = open_with(Budgets { store_bytes_high: Some(32 * MIB), ..limits });
    (0..160).for_each(|number| fill(&store, number * 2..number * 2 + 1, 200_000));
    let before = store.counters();
    let error = try_put(&store, new(&store, 1001, &[content(1, 2 * CHUNK)], 1)).unwrap_err();
    assert!(matches!(error, StoreError::ScopeFull { .. }), "{error}");
    assert_eq!(store.counters(), before);
}

/// What is just below the low water mark is worth least by its size and is stored all the same.
#[test]
fn what_has_just_been_stored_is_not_evicted_at_once() {
    let store = open_with(limited(4_000_000));
    fill(&store, 0..17, 100_000);
    for round in 0..4 {
        let large = content(100 + round, 3_100_000);
        try_put(&store, new(&store, 100 + round, std::slice::from_ref(&large), 1)).unwrap();
        store.settle().unwrap();
        assert_hit(&store, 100 + round, &[large]);
        fill(&store, 200 + round..201 + round, 10);
    }
    let low = store.budgets().low().unwrap();
    let error = try_put(&store, new(&store, 300, &[content(1, low as usize)], 1)).unwrap_err();
    assert!(matches!(error, StoreError::EntryTooLarge { .. }), "{error}");
    assert_sound(&store);
}
