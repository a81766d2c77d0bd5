//! Semantics 26, 28, 30 and 31: who owns, until when, and whom that concerns.

use std::sync::Barrier;

use bytes::Bytes;
use harness::{Daemon, Raw, call};
use memod_protocol::{
    ErrorCode, Lookup, MissReason, PutOutcome, Release, Request, Response, Selector,
};

/// Waits until nobody holds a lease nor waits for one.
#[track_caller]
pub(super) fn all_is_quiet(daemon: &Daemon) {
    let mut raw = daemon.connect();
    harness::eventually("no lease is held and nobody waits", || raw.leases_and_waiters() == (0, 0));
}

#[test]
fn s26_the_first_asker_owns_and_is_told_why_it_missed() {
    let daemon = Daemon::new();
    let (mut raw, one) = (daemon.connect(), call("first"));
    let leased = raw.owns(one.claim());
    assert_eq!(leased.miss.key, one.0.key().unwrap());
    assert_eq!(leased.miss.reason, MissReason::NeverSeen);
    let own = (nix::unistd::getuid().as_raw(), Some(std::process::id()));
    assert_eq!((leased.holder.uid, leased.holder.pid), own);
    assert_eq!((leased.holder.name, leased.holder.expires_in_ms), (None, None));
    assert_eq!(raw.leases_and_waiters(), (1, 0));
    assert_eq!(raw.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    assert_eq!(raw.leases_and_waiters(), (0, 0), "the commit ends the lease");
    assert!(matches!(raw.claim(one.claim()), Response::Hit(_)), "then there is nothing to compute");
    assert_eq!(raw.leases_and_waiters(), (0, 0));
    // What was forgotten is computed anew, by one.
    raw.invalidate(Selector::Keys(vec![leased.miss.key]), false);
    assert_eq!(raw.owns(one.claim()).miss.reason, MissReason::Invalidated);
}

/// Claims of one connection, sent in one go, take their turns as they were sent.
#[test]
fn s28_claims_that_are_sent_one_behind_the_other_stand_one_behind_the_other() {
    let daemon = Daemon::new();
    for round in 0..50 {
        let one = call("in order").version(&round.to_string());
        let mut raw = daemon.connect();
        let claims: Vec<u64> =
            (0..5).map(|_| raw.send(Request::Claim(Box::new(one.claim())), Bytes::new())).collect();
        let mut owners = Vec::new();
        while owners.len() < claims.len() {
            let reply = raw.read_reply().expect("an answer");
            match reply.response {
                Response::Leased(_) => {
                    owners.push(reply.id);
                    let release = Release { call: one.identity(), owner: None };
                    raw.send(Request::Release(Box::new(release)), Bytes::new());
                }
                Response::Pending(pending) => assert!(pending.waiting),
                Response::Released { released } => assert!(released),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(owners, claims, "round {round}");
    }
}

#[test]
fn s26_of_many_who_ask_at_once_exactly_one_owns() {
    let daemon = Daemon::new();
    for round in 0..20 {
        let one = call("at once").version(&round.to_string());
        let barrier = Barrier::new(24);
        let owners = std::thread::scope(|scope| {
            let askers: Vec<_> = (0..24)
                .map(|_| {
                    let (mut raw, barrier, one) = (daemon.connect(), &barrier, &one);
                    scope.spawn(move || {
                        barrier.wait();
                        ask_and_compute(&mut raw, one)
                    })
                })
                .collect();
            askers.into_iter().map(|asker| usize::from(asker.join().unwrap())).sum::<usize>()
        });
        assert_eq!(owners, 1, "round {round}");
    }
    all_is_quiet(&daemon);
}

/// Claims, and computes if it is to; gives whether it did.
fn ask_and_compute(raw: &mut Raw, one: &harness::CallBuilder) -> bool {
    let first = raw.ask(Request::Claim(Box::new(one.claim())), Bytes::new());
    let answer = match first.response {
        Response::Pending(pending) => {
            assert!(pending.waiting);
            raw.read_reply().expect("an answer").response
        }
        other => other,
    };
    match answer {
        Response::Leased(_) => {
            assert_eq!(raw.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
            true
        }
        Response::Hit(_) => false,
        other => panic!("neither the lease nor a hit: {other:?}"),
    }
}

#[test]
fn s28_a_lease_passes_on_in_the_order_of_asking_however_it_ends() {
    let daemon = Daemon::new();
    let one = call("passed on");
    let mut owner = daemon.connect();
    owner.owns(one.claim());
    let mut waiters: Vec<_> = (0..4)
        .map(|_| {
            let mut raw = daemon.connect();
            let waiting = raw.waits(one.claim());
            (raw, waiting)
        })
        .collect();
    assert_eq!(owner.leases_and_waiters(), (1, 4));
    // Its connection ends.
    drop(owner);
    let (mut first, waiting) = waiters.remove(0);
    assert_eq!(first.woken_as_owner(&waiting).miss.reason, MissReason::NeverSeen);
    // It gives up by itself, as one whose task has failed does.
    assert!(first.release(&one, None));
    let (mut second, waiting) = waiters.remove(0);
    second.woken_as_owner(&waiting);
    assert_eq!(first.leases_and_waiters(), (1, 2));
    // It only says that it sends no more.
    second.hang_up();
    let (mut third, waiting) = waiters.remove(0);
    third.woken_as_owner(&waiting);
    // It commits, and so nobody is next.
    assert_eq!(third.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    let (mut fourth, waiting) = waiters.remove(0);
    assert_eq!(fourth.woken_by_hit(&waiting).1, ["made"]);
    all_is_quiet(&daemon);
}

#[test]
fn s28_a_commit_that_fails_leaves_the_lease_with_its_owner() {
    let daemon = Daemon::new();
    let one = call("fails");
    let (mut owner, mut other) = (daemon.connect(), daemon.connect());
    owner.owns(one.claim());
    let waiting = other.waits(one.claim());
    let (mut wrong, payload) = one.put(&[("o0", b"made")]);
    wrong.outputs[0].digest = Some(memod_protocol::Digest::of(b"something else"));
    assert_eq!(owner.put_error((wrong, payload)).code, ErrorCode::DigestMismatch);
    assert_eq!(owner.leases_and_waiters(), (1, 1));
    assert_eq!(owner.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    assert_eq!(other.woken_by_hit(&waiting).1, ["made"]);
}

#[test]
fn s30_to_release_what_one_does_not_hold_has_no_effect() {
    let daemon = Daemon::new();
    let one = call("released");
    let (mut owner, mut other) = (daemon.connect(), daemon.connect());
    assert!(!owner.release(&one, None), "nothing is held");
    assert!(!owner.release(&one, Some("nobody")));
    owner.owns(one.claim());
    let waiting = other.waits(one.claim());
    assert!(!other.release(&one, None), "it waits, and does not own");
    assert!(!other.release(&one, Some("nobody")));
    assert!(!daemon.connect().release(&one, None));
    assert_eq!(owner.leases_and_waiters(), (1, 1), "none of that has changed anything");
    assert!(owner.release(&one, None));
    assert!(!owner.release(&one, None), "once is enough");
    other.woken_as_owner(&waiting);
    assert!(!owner.release(&one, None), "it is another's now");
    assert!(other.release(&one, None));
    all_is_quiet(&daemon);
}

#[test]
fn s30_what_is_no_call_or_no_owner_is_an_error_that_names_it() {
    let daemon = Daemon::new();
    let (mut raw, one) = (daemon.connect(), call("empty"));
    let release = |change: fn(&mut Release)| {
        let mut release = Release { call: one.identity(), owner: None };
        change(&mut release);
        Request::Release(Box::new(release))
    };
    let cases: [(&str, Request); 4] = [
        ("owner: must not be empty", release(|release| release.owner = Some(String::new()))),
        ("owner: is 1025 bytes", release(|release| release.owner = Some("o".repeat(1025)))),
        ("task: must not be empty", release(|release| release.call.task.clear())),
        ("cache_version: must not be blank", {
            let mut claim = one.claim();
            claim.lookup.call.cache_version = "  ".to_owned();
            Request::Claim(Box::new(claim))
        }),
    ];
    for (message, request) in cases {
        let error = raw.ask_error(request, Bytes::new());
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{message}: {error}");
        assert!(error.message.starts_with(message), "{message}: {error}");
    }
    assert_eq!(raw.leases_and_waiters(), (0, 0));
}

#[test]
fn s31_keys_are_independent() {
    let daemon = Daemon::new();
    let calls: Vec<_> = (0..5).map(|number| call("many").version(&number.to_string())).collect();
    let (mut owner, mut other) = (daemon.connect(), daemon.connect());
    for one in &calls {
        owner.owns(one.claim());
    }
    assert_eq!(owner.leases_and_waiters(), (5, 0));
    let waiting: Vec<_> = calls.iter().map(|one| other.waits(one.claim())).collect();
    for (one, waiting) in calls.iter().zip(&waiting).rev().take(2) {
        assert_eq!(owner.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
        other.woken_by_hit(waiting);
    }
    assert!(owner.release(&calls[2], None));
    other.woken_as_owner(&waiting[2]);
    assert_eq!(owner.leases_and_waiters(), (3, 2), "the rest is as it was");
    // All that a connection holds passes on with it.
    drop(owner);
    let mut passed: Vec<_> = (0..2).map(|_| other.read_reply().expect("a lease")).collect();
    passed.sort_by_key(|reply| reply.id);
    for (reply, waiting) in passed.iter().zip(&waiting) {
        assert_eq!(reply.id, waiting.id);
        assert!(matches!(reply.response, Response::Leased(_)), "{:?}", reply.response);
    }
}

#[test]
fn s31_lookups_and_puts_take_no_notice_of_anothers_lease() {
    let daemon = Daemon::new();
    let one = call("not serialized");
    let (mut owner, mut waiter, mut other) = (daemon.connect(), daemon.connect(), daemon.connect());
    owner.owns(one.claim());
    let waiting = waiter.waits(one.claim());
    assert_eq!(other.lookup(&one).expect_err("a miss").reason, MissReason::NeverSeen);
    assert_eq!(other.leases_and_waiters(), (1, 1));
    assert_eq!(other.put(one.put(&[("o0", b"other")])), PutOutcome::Populated);
    assert_eq!(waiter.woken_by_hit(&waiting).1, ["other"], "it counts like any put");
    assert_eq!(other.leases_and_waiters(), (0, 0), "there is nothing left to compute");
    assert!(
        matches!(owner.put(one.put(&[("o0", b"owner")])), PutOutcome::Exists(_)),
        "who had the lease is told who was first, and no error"
    );
    assert!(!owner.release(&one, None));
}

#[test]
fn s18_overwriting_takes_no_lease_and_is_seen_by_all_at_once() {
    let daemon = Daemon::new();
    let one = call("overwritten");
    let (mut owner, mut waiter, mut other) = (daemon.connect(), daemon.connect(), daemon.connect());
    let overwriting = |content: &[u8]| {
        let (mut put, payload) = one.put(&[("o0", content)]);
        put.overwrite = true;
        (put, payload)
    };
    owner.owns(one.claim());
    let waiting = waiter.waits(one.claim());
    let (mut wrong, payload) = overwriting(b"wrong");
    wrong.outputs[0].digest = Some(memod_protocol::Digest::of(b"something else"));
    other.put_error((wrong, payload));
    assert_eq!(other.leases_and_waiters(), (1, 1), "what failed wakes nobody");
    assert_eq!(other.put(overwriting(b"new")), PutOutcome::Populated);
    assert_eq!(waiter.woken_by_hit(&waiting).1, ["new"]);
    assert_eq!(owner.put(overwriting(b"newer")), PutOutcome::Populated);
    for raw in [&mut owner, &mut waiter, &mut other] {
        assert_eq!(raw.lookup(&one).expect("stored").1, ["newer"]);
    }
    assert_eq!(other.leases_and_waiters(), (0, 0));
}

#[test]
fn s19_what_has_expired_is_computed_anew_by_one() {
    let daemon = Daemon::new();
    let one = call("aged");
    let (mut owner, mut waiter) = (daemon.connect(), daemon.connect());
    owner.put(one.put(&[("o0", b"old")]));
    harness::eventually("it is older than a millisecond", || {
        owner.lookup(&one).is_ok_and(|(hit, _)| hit.age_ms > 1)
    });
    let mut aged = one.claim();
    aged.lookup = Lookup { max_age_ms: Some(1), ..aged.lookup };
    assert_eq!(owner.owns(aged.clone()).miss.reason, MissReason::Expired);
    let waiting = waiter.waits(aged);
    assert!(matches!(waiter.claim(one.claim()), Response::Hit(_)), "for others it is young enough");
    // Longer than the waiter would bear: what is made while it waits is not too old for it.
    let begun = std::time::Instant::now();
    harness::eventually("some milliseconds are over", || begun.elapsed().as_millis() > 5);
    let (mut put, payload) = one.put(&[("o0", b"new")]);
    put.max_age_ms = Some(1);
    assert_eq!(owner.put((put, payload)), PutOutcome::Populated);
    assert_eq!(waiter.woken_by_hit(&waiting).1, ["new"]);
    assert_eq!(waiter.leases_and_waiters(), (0, 0));
}
