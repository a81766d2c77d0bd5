//! Semantics 27: who waits is told for whom, is woken when it is over, and not kept longer than it
//! wishes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Daemon, Raw, call};
use memod_protocol::{
    Claim, Delivery, ErrorCode, MissReason, Pending, PutOutcome, Request, Response,
};

use super::hold::all_is_quiet;

/// A claim that must not wait, or no longer: who holds the lease.
#[track_caller]
fn is_held(response: Response) -> Pending {
    match response {
        Response::Pending(pending) if !pending.waiting => *pending,
        other => panic!("the holder was due, not {other:?}"),
    }
}

#[test]
fn s27_who_waits_is_told_the_owner() {
    let daemon = Daemon::new();
    let (mut owner, mut waiter, one) = (daemon.connect(), daemon.connect(), call("told"));
    owner.owns(one.claim());
    harness::eventually("it is held for some milliseconds", || {
        let pending = is_held(waiter.claim(Claim { wait_ms: Some(0), ..one.claim() }));
        let holder = pending.holder;
        assert_eq!(pending.key, one.0.key().unwrap());
        assert_eq!(holder.uid, nix::unistd::getuid().as_raw());
        assert_eq!(holder.pid, Some(std::process::id()));
        let program = std::env::current_exe().unwrap();
        assert_eq!(holder.program.as_deref(), program.file_name().and_then(|name| name.to_str()));
        assert_eq!((holder.name, holder.expires_in_ms), (None, None));
        holder.held_ms > 1
    });
    let waiting = waiter.waits(one.claim());
    assert_eq!(waiting.pending.key, one.0.key().unwrap());
    assert_eq!(waiting.pending.holder.pid, Some(std::process::id()));
}

#[test]
fn s27_who_does_not_wait_is_answered_once() {
    let daemon = Daemon::new();
    let (mut owner, mut asker, one) = (daemon.connect(), daemon.connect(), call("no wait"));
    let at_once = || Claim { wait_ms: Some(0), ..one.claim() };
    owner.owns(at_once());
    is_held(asker.claim(at_once()));
    assert!(asker.ping(), "no second answer comes");
    assert_eq!(asker.leases_and_waiters(), (1, 0));
    assert!(owner.release(&one, None));
    asker.owns(at_once());
    // So is a lease that was not waited for: it stays with whoever is gone for a moment only.
    is_held(owner.claim(at_once()));
}

#[test]
fn s27_a_wait_ends_at_its_own_deadline() {
    let daemon = Daemon::new();
    let (mut owner, one) = (daemon.connect(), call("deadline"));
    owner.owns(one.claim());
    let within = |wait_ms| Claim { wait_ms: Some(wait_ms), ..one.claim() };
    let mut patient = daemon.connect();
    let patient_waits = patient.waits(within(u64::MAX));
    let mut hour = daemon.connect();
    let hour_waits = hour.waits(within(3_600_000));
    for wait_ms in [1, 40, 120] {
        let mut raw = daemon.connect();
        let begun = Instant::now();
        let waiting = raw.waits(within(wait_ms));
        let pending = is_held(raw.woken(&waiting).response);
        assert!(begun.elapsed() >= Duration::from_millis(wait_ms), "{wait_ms} ms were wanted");
        assert_eq!(pending.holder.pid, Some(std::process::id()));
        assert!(raw.ping(), "that was the last answer");
    }
    assert_eq!(owner.leases_and_waiters(), (1, 2), "the others wait on");
    assert_eq!(owner.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    patient.woken_by_hit(&patient_waits);
    hour.woken_by_hit(&hour_waits);
}

#[test]
fn s27_who_only_watches_never_owns() {
    let daemon = Daemon::new();
    let (mut owner, mut looker, mut taker) = (daemon.connect(), daemon.connect(), daemon.connect());
    let one = call("watched");
    let reply = looker.claim(one.watch());
    let Response::Miss(miss) = reply else { panic!("nobody computes it: {reply:?}") };
    assert_eq!(miss.reason, MissReason::NeverSeen);
    assert_eq!(looker.leases_and_waiters(), (0, 0));
    owner.owns(one.claim());
    let first_wait = looker.waits(one.watch());
    let next = taker.waits(one.claim());
    drop(owner);
    taker.woken_as_owner(&next);
    assert_eq!(looker.leases_and_waiters(), (1, 1), "it was first, and waits on");
    assert!(taker.release(&one, None));
    let reply = looker.read_reply().expect("nobody is left to compute it");
    assert_eq!(reply.id, first_wait.id);
    assert!(matches!(reply.response, Response::Miss(_)), "{:?}", reply.response);
    // And a hit, when there is one.
    taker.owns(one.claim());
    let second_wait = looker.waits(one.watch());
    assert_eq!(taker.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    assert_eq!(looker.woken_by_hit(&second_wait).1, ["made"]);
    all_is_quiet(&daemon);
}

#[test]
fn one_connection_may_ask_again_while_it_owns_and_while_it_waits() {
    let daemon = Daemon::new();
    let (mut owner, mut waiter, one) = (daemon.connect(), daemon.connect(), call("twice"));
    owner.owns(one.claim());
    let again = owner.waits(one.claim());
    let (first, second) = (waiter.waits(one.claim()), waiter.waits(one.claim()));
    assert_eq!(owner.leases_and_waiters(), (1, 3));
    // It asked once more before the others did, so it owns again.
    let id = owner.send(release_of(&one), Bytes::new());
    let mut replies = [owner.read_reply().unwrap(), owner.read_reply().unwrap()];
    replies.sort_by_key(|reply| reply.id);
    assert_eq!([replies[0].id, replies[1].id], [again.id, id]);
    assert!(matches!(replies[0].response, Response::Leased(_)), "{:?}", replies[0].response);
    assert!(matches!(replies[1].response, Response::Released { released: true }));
    assert!(owner.release(&one, None));
    waiter.woken_as_owner(&first);
    assert_eq!(owner.leases_and_waiters(), (1, 1), "one connection owns and waits");
    // Its own commit is a hit for its own second question.
    let (put, payload) = one.put(&[("o0", b"made")]);
    let id = waiter.send(Request::Put(Box::new(put)), payload);
    let mut replies = [waiter.read_reply().unwrap(), waiter.read_reply().unwrap()];
    replies.sort_by_key(|reply| reply.id);
    assert_eq!([replies[0].id, replies[1].id], [second.id, id]);
    assert!(matches!(replies[0].response, Response::Hit(_)), "{:?}", replies[0].response);
    assert!(matches!(replies[1].response, Response::Put(PutOutcome::Populated)));
    all_is_quiet(&daemon);
}

fn release_of(one: &harness::CallBuilder) -> Request {
    let release = memod_protocol::Release { call: one.identity(), owner: None };
    Request::Release(Box::new(release))
}

#[test]
fn a_connection_that_waits_is_served_as_ever() {
    let daemon = Daemon::new();
    let (mut owner, mut waiter) = (daemon.connect(), daemon.connect());
    let calls: Vec<_> =
        (0..200).map(|number| call("served").version(&number.to_string())).collect();
    for one in &calls {
        owner.owns(one.claim());
    }
    // More than it may have at work at a time.
    let waiting: Vec<_> = calls.iter().map(|one| waiter.waits(one.claim())).collect();
    let other = call("other");
    assert_eq!(waiter.put(other.put(&[("o0", b"x")])), PutOutcome::Populated);
    assert_eq!(waiter.lookup(&other).expect("stored").1, ["x"]);
    waiter.upload(1, &vec![1; 3 << 20]);
    assert_eq!(waiter.leases_and_waiters(), (200, 200));
    for (one, waiting) in calls.iter().zip(&waiting) {
        owner.put(one.put(&[("o0", b"made")]));
        waiter.woken_by_hit(waiting);
    }
    all_is_quiet(&daemon);
}

#[test]
fn a_waiter_that_dies_is_passed_over() {
    let daemon = Daemon::new();
    let (mut owner, mut third, one) = (daemon.connect(), daemon.connect(), call("dead waiter"));
    owner.owns(one.claim());
    let (mut first, mut second) = (daemon.connect(), daemon.connect());
    first.waits(one.claim());
    second.waits(one.claim());
    let waiting = third.waits(one.claim());
    assert_eq!(owner.leases_and_waiters(), (1, 3));
    first.hang_up();
    drop(second);
    harness::eventually("their places are given up", || owner.leases_and_waiters() == (1, 1));
    assert!(owner.release(&one, None));
    third.woken_as_owner(&waiting);
    assert_eq!(owner.leases_and_waiters(), (1, 0));
}

#[test]
fn waiters_that_die_together_with_the_owner_leave_nothing_stuck() {
    let daemon = Daemon::new();
    let (mut last, one) = (daemon.connect(), call("massacre"));
    for _ in 0..30 {
        let mut connections: Vec<Raw> = (0..6).map(|_| daemon.connect()).collect();
        for raw in &mut connections {
            raw.send(Request::Claim(Box::new(one.claim())), Bytes::new());
        }
        let waiting = connections[5].read_reply().expect("an answer");
        drop(connections);
        drop(waiting);
        // Whoever the lease went to on its way, it comes to who is left.
        match last.claim(one.claim()) {
            Response::Leased(_) => {}
            Response::Pending(_) => {
                let reply = last.read_reply().expect("the lease comes");
                assert!(matches!(reply.response, Response::Leased(_)), "{:?}", reply.response);
            }
            other => panic!("neither the lease nor a wait: {other:?}"),
        }
        assert!(last.release(&one, None));
    }
    all_is_quiet(&daemon);
}

#[test]
fn s27_the_daemons_end_is_told_to_who_waits() {
    let mut daemon = Daemon::new();
    let (mut owner, mut waiter, one) = (daemon.connect(), daemon.connect(), call("stopped"));
    owner.owns(one.claim());
    let waiting = waiter.waits(one.claim());
    let begun = Instant::now();
    assert!(daemon.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "a wait does not hold up the end");
    match waiter.woken(&waiting).response {
        Response::Error(error) => assert_eq!(error.code, ErrorCode::ShuttingDown, "{error}"),
        other => panic!("no hit will come, nor a lease: {other:?}"),
    }
    daemon.start().expect("it starts again");
    let (mut owner, mut other) = (daemon.connect(), daemon.connect());
    assert_eq!(other.leases_and_waiters(), (0, 0), "a restart frees the leases");
    other.owns(one.claim());
    // Who has computed meanwhile commits all the same.
    assert_eq!(owner.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    assert!(matches!(other.put(one.put(&[("o0", b"made")])), PutOutcome::Exists(_)));
}

#[test]
fn s36_who_wants_no_outputs_gets_none_and_counts_for_nothing() {
    let daemon = Daemon::new();
    let (mut owner, mut asker, one) = (daemon.connect(), daemon.connect(), call("awaited"));
    let awaits = || Request::Await(Box::new(one.claim()));
    owner.owns(one.claim());
    let waiting = asker.ask(awaits(), Bytes::new());
    assert!(matches!(waiting.response, Response::Pending(of) if of.waiting));
    assert!(owner.release(&one, None));
    let reply = asker.read_reply().expect("what came of it");
    assert_eq!(reply.id, waiting.id);
    assert!(matches!(reply.response, Response::Leased(_)), "{:?}", reply.response);
    // Too much for a frame: it would follow in others.
    let content = vec![b'c'; 3 << 20];
    let large = call("large").output("o0", "bytes");
    let both = [(&one, &b"small"[..]), (&large, &content)];
    for (of, content) in both {
        assert_eq!(asker.put(of.put(&[("o0", content)])), PutOutcome::Populated);
    }
    let before = asker.stats();
    for (of, content) in both {
        let reply = owner.ask(Request::Await(Box::new(of.claim())), Bytes::new());
        let Response::Hit(hit) = reply.response else { panic!("{:?}", reply.response) };
        assert_eq!((reply.payload.len(), hit.outputs.len()), (0, 1));
        let output = &hit.outputs[0];
        assert_eq!((output.delivery, output.bytes), (Delivery::Withheld, content.len() as u64));
        assert!(owner.ping(), "nothing follows");
    }
    let after = asker.stats();
    assert_eq!((after.hits, after.misses), (before.hits, before.misses));
    assert_eq!((after.hits, after.misses), (0, 1), "the owner's claim");
}
