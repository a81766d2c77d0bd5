//! What takes leases or waits for them: `Claim`, `Await`, `Reserve`, `Release`.

use std::slice;

use bytes::Bytes;
use harness::{CallBuilder, Raw, named};
use memod_protocol::{Claim, MissReason, Release, Request, Reserve, Response};

use super::{ALICE, BOB, Two, elsewhere};
use crate::grants::house::KEEPER;

/// All ways to claim: to own, to wait, as a named owner.
fn claims(call: &CallBuilder) -> [Claim; 3] {
    let named = Claim { owner: Some(named("somebody", 10_000)), ..call.claim() };
    [call.claim(), call.watch(), named]
}

/// Whether somebody computes it or not, whoever may not read it misses at once, and holds nothing.
fn misses(two: &mut Two, ask: impl Fn(Claim) -> Request) {
    for computed in [false, true] {
        if computed {
            two.alice.owns(two.absent.claim());
        }
        for way in 0..3 {
            let ask = |call: &CallBuilder| (ask(claims(call)[way].clone()), Bytes::new());
            for told in two.same(ask) {
                let Response::Miss(miss) = told else { panic!("{told:?}") };
                assert_eq!(miss.reason, MissReason::Forbidden);
                let detail = miss.detail.expect("a word on what may not be done");
                assert!(detail.ends_with("may not read alpha/development"), "{detail}");
            }
            let leases = two.house.daemon.connect().leases_and_waiters();
            assert_eq!(leases, (u64::from(computed), 0));
        }
    }
    assert!(two.alice.release(&two.absent, None), "it is still hers");
    two.nothing_has_changed();
}

#[test]
fn claim_neither_takes_nor_waits() {
    let Some(mut two) = Two::meet() else { return };
    misses(&mut two, |claim| Request::Claim(Box::new(claim)));
    // Nor does his claim of the same call elsewhere meet hers.
    two.alice.owns(two.absent.claim());
    two.bob.owns(elsewhere("absent").claim());
}

#[test]
fn await_neither_takes_nor_waits() {
    let Some(mut two) = Two::meet() else { return };
    misses(&mut two, |claim| Request::Await(Box::new(claim)));
}

#[test]
fn reserve_is_refused_alike() {
    let Some(mut two) = Two::meet() else { return };
    let reserve = |call: &CallBuilder| {
        let reserve = Reserve { call: call.identity(), owner: named("a", 10_000) };
        (Request::Reserve(Box::new(reserve)), Bytes::new())
    };
    two.forbidden("lease alpha/development", reserve);
    // Nor is it told that somebody holds it, under the very name.
    assert!(two.alice.reserve(&two.absent, named("a", 10_000)).acquired);
    two.forbidden("lease alpha/development", reserve);
    assert!(two.alice.release(&two.absent, Some("a")), "it is still hers");
    two.nothing_has_changed();
}

#[test]
fn leases_are_told_to_who_may_read_there() {
    let Some(mut two) = Two::meet() else { return };
    two.alice.owns(two.absent.claim());
    for raw in [&mut two.bob, &mut two.stranger] {
        assert_eq!(raw.ask(Request::Leases, Bytes::new()).response, Response::Leases(Vec::new()));
    }
    two.bob.owns(elsewhere("his").claim());
    let told = |raw: &mut Raw| -> Vec<(u32, String)> {
        raw.leases().into_iter().map(|row| (row.holder.uid, row.task)).collect()
    };
    let (hers, his) = ((ALICE, "absent".to_owned()), (BOB, "his".to_owned()));
    assert_eq!(told(&mut two.alice), slice::from_ref(&hers));
    assert_eq!(told(&mut two.bob), slice::from_ref(&his));
    assert_eq!(told(&mut two.house.connect(KEEPER)), slice::from_ref(&hers));
    assert_eq!(told(&mut two.house.daemon.connect()), [hers, his]);
}

#[test]
fn release_is_refused_alike() {
    let Some(mut two) = Two::meet() else { return };
    assert!(two.alice.reserve(&two.absent, named("a", 10_000)).acquired);
    for owner in [Some("a"), None] {
        two.forbidden("lease alpha/development", |call| {
            let release = Release { call: call.identity(), owner: owner.map(str::to_owned) };
            (Request::Release(Box::new(release)), Bytes::new())
        });
    }
    assert!(two.alice.release(&two.absent, Some("a")), "it is still hers");
    two.nothing_has_changed();
}
