//! Semantics 29 and 30: owners that have a name and hold a lease by heartbeats, as in Flyte.

use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, Setup, call, eventually, named};
use memod_protocol::{
    Claim, ErrorCode, Holder, NamedOwner, PutOutcome, Release, Request, Reserve, Response,
};

use super::hold::all_is_quiet;

/// A daemon that takes heartbeats of up to this long.
fn daemon(heartbeat_max: &str) -> Daemon {
    Setup::new().config(format!("lease_heartbeat_max = \"{heartbeat_max}\"")).start()
}

fn claim_as(one: &CallBuilder, owner: NamedOwner) -> Claim {
    Claim { owner: Some(owner), ..one.claim() }
}

#[track_caller]
fn expires_in(holder: &Holder) -> u64 {
    holder.expires_in_ms.expect("a named owner's lease expires")
}

#[test]
fn s29_a_lease_expires_after_three_heartbeats_the_longest_of_which_is_the_daemons() {
    let daemon = daemon("1h");
    let mut raw = daemon.connect();
    let longest = 3 * 3_600_000;
    for (number, (heartbeat_ms, wanted)) in [
        (1_000_000, 3_000_000),
        (3_600_000, longest),
        (3_600_001, longest),
        (1_000_000_000_000_000_000, longest),
        (i64::MAX, longest),
    ]
    .into_iter()
    .enumerate()
    {
        let one = call("expiry").version(&number.to_string());
        let reservation = raw.reserve(&one, named("a", heartbeat_ms));
        assert!(reservation.acquired);
        assert_eq!(reservation.key, one.0.key().unwrap());
        assert_eq!(reservation.holder.name.as_deref(), Some("a"));
        let Holder { pid, program, .. } = &reservation.holder;
        assert_eq!((pid, program), (&None, &None), "the lease is no process's");
        let expires = expires_in(&reservation.holder);
        assert!((wanted - 60_000..=wanted).contains(&expires), "{heartbeat_ms}: {expires}");
        // The same when it is taken by a claim.
        let two = call("expiry of a claim").version(&number.to_string());
        let expires = expires_in(&raw.owns(claim_as(&two, named("a", heartbeat_ms))).holder);
        assert!((wanted - 60_000..=wanted).contains(&expires), "{heartbeat_ms}: {expires}");
    }
}

#[test]
fn s29_the_owner_extends_and_another_sees_it_with_its_expiry_untouched() {
    let daemon = daemon("1h");
    let (mut a, mut b, one) = (daemon.connect(), daemon.connect(), call("extended"));
    assert!(a.reserve(&one, named("a", 1_000_000)).acquired);
    let seen = b.reserve(&one, named("b", 3_000_000));
    assert!(!seen.acquired);
    assert_eq!(seen.holder.name.as_deref(), Some("a"));
    let first = expires_in(&seen.holder);
    assert!((2_900_000..=3_000_000).contains(&first), "{first}");
    for owner in [named("b", 3_000_000), named("c", 1)] {
        let seen = b.reserve(&one, owner);
        assert_eq!((seen.acquired, seen.holder.name.as_deref()), (false, Some("a")));
        let expires = expires_in(&seen.holder);
        assert!((2_900_000..=first).contains(&expires), "{expires} after {first}");
    }
    // Over another connection, which is the same to a named owner.
    assert!(b.reserve(&one, named("a", 2_000_000)).acquired);
    let extended = expires_in(&b.reserve(&one, named("b", 1)).holder);
    assert!((5_900_000..=6_000_000).contains(&extended), "{extended}");
    // Or by a claim; and a shorter heartbeat shortens it.
    assert_eq!(a.owns(claim_as(&one, named("a", 100_000))).holder.name.as_deref(), Some("a"));
    let shortened = expires_in(&b.reserve(&one, named("b", 1)).holder);
    assert!(shortened <= 300_000, "{shortened}");
    assert_eq!(a.leases_and_waiters(), (1, 0));
}

#[test]
fn s29_who_extends_in_time_keeps_it_and_since_when_is_not_forgotten() {
    let daemon = daemon("100ms");
    let (mut a, mut b) = (daemon.connect(), daemon.connect());
    let mut attempt = 0;
    eventually("the machine lets it be extended in time for twice as long as it lasts", || {
        attempt += 1;
        keeps_it(&mut a, &mut b, &call("kept").version(&attempt.to_string()))
    });
}

/// Extends a lease of 300 ms again and again; false if the machine was too busy for that.
fn keeps_it(a: &mut Raw, b: &mut Raw, one: &CallBuilder) -> bool {
    let begun = Instant::now();
    assert!(a.reserve(one, named("a", 100)).acquired);
    while begun.elapsed() < Duration::from_millis(600) {
        let asked = Instant::now();
        let (extended, seen) = (a.reserve(one, named("a", 100)), b.reserve(one, named("b", 100)));
        if asked.elapsed() > Duration::from_millis(200) {
            return false;
        }
        assert!(extended.acquired && !seen.acquired, "{extended:?}, {seen:?}");
    }
    let (own, held) = (a.reserve(one, named("a", 100)), b.reserve(one, named("b", 100)));
    assert_eq!(held.holder.name.as_deref(), Some("a"));
    assert!(held.holder.held_ms >= 500, "{held:?}");
    assert!(own.holder.held_ms >= 500, "the owner is told the same: {own:?}");
    true
}

#[test]
fn s29_what_has_expired_is_taken_over() {
    let daemon = daemon("50ms");
    let (mut a, mut b, one) = (daemon.connect(), daemon.connect(), call("taken over"));
    let begun = Instant::now();
    assert!(a.reserve(&one, named("a", i64::MAX)).acquired);
    eventually("b takes it over", || b.reserve(&one, named("b", 50)).acquired);
    assert!(begun.elapsed() >= Duration::from_millis(150), "it was a's for three heartbeats");
    let seen = a.reserve(&one, named("a", 50));
    assert_eq!((seen.acquired, seen.holder.name.as_deref()), (false, Some("b")));
    // A lost lease does not void what was computed under it.
    assert_eq!(a.put(one.put(&[("o0", b"a")])), PutOutcome::Populated);
    assert!(matches!(b.put(one.put(&[("o0", b"b")])), PutOutcome::Exists(_)));
    all_is_quiet(&daemon);
}

#[test]
fn s29_who_waits_takes_over_by_itself_and_in_turn() {
    let daemon = daemon("50ms");
    let (mut a, mut b, mut c) = (daemon.connect(), daemon.connect(), daemon.connect());
    let one = call("waited for");
    let begun = Instant::now();
    a.owns(claim_as(&one, named("a", 50)));
    let told = b.waits(claim_as(&one, named("b", 50)));
    assert_eq!(told.pending.holder.name.as_deref(), Some("a"));
    assert!(expires_in(&told.pending.holder) <= 150);
    let connection = c.waits(one.claim());
    let leased = b.woken_as_owner(&told);
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert_eq!(leased.holder.name.as_deref(), Some("b"));
    assert!(expires_in(&leased.holder) <= 150, "three of its own heartbeats");
    // Next is a connection, whose lease does not expire.
    assert_eq!(c.woken_as_owner(&connection).holder.expires_in_ms, None);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let seen = a.reserve(&one, named("a", 50));
    assert_eq!((seen.acquired, seen.holder.name), (false, None));
    assert_eq!(c.put(one.put(&[("o0", b"c")])), PutOutcome::Populated);
    all_is_quiet(&daemon);
}

#[test]
fn s29_a_named_lease_outlives_its_connection_and_a_commit_over_any_ends_it() {
    let daemon = daemon("1h");
    let (mut a, mut waiter, one) = (daemon.connect(), daemon.connect(), call("elsewhere"));
    a.owns(claim_as(&one, named("a", 1_000_000)));
    let waiting = waiter.waits(one.claim());
    a.hang_up();
    assert_eq!(waiter.leases_and_waiters(), (1, 1), "nobody has it but a");
    let mut elsewhere = daemon.connect();
    assert!(elsewhere.reserve(&one, named("a", 1_000_000)).acquired);
    assert_eq!(elsewhere.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    assert_eq!(waiter.woken_by_hit(&waiting).1, ["made"]);
    assert_eq!(waiter.leases_and_waiters(), (0, 0));
}

#[test]
fn s30_only_the_owner_releases_by_its_name() {
    let daemon = daemon("1h");
    let (mut a, mut b, one) = (daemon.connect(), daemon.connect(), call("by name"));
    a.owns(claim_as(&one, named("a", 1_000_000)));
    let waiting = b.waits(claim_as(&one, named("b", 1_000_000)));
    for owner in [Some("b"), None] {
        assert!(!a.release(&one, owner), "{owner:?}");
        assert!(!b.release(&one, owner), "{owner:?}");
    }
    assert_eq!(a.leases_and_waiters(), (1, 1));
    assert!(daemon.connect().release(&one, Some("a")), "over whatever connection");
    assert_eq!(b.woken_as_owner(&waiting).holder.name.as_deref(), Some("b"));
    assert!(!a.release(&one, Some("a")), "it is another's now");
    assert!(b.release(&one, Some("b")));
    assert!(!b.release(&one, Some("b")));
    // A connection's lease has no name by which it could be released.
    a.owns(one.claim());
    assert!(!a.release(&one, Some("a")));
    assert!(a.release(&one, None));
    all_is_quiet(&daemon);
}

/// Asks as this owner in every way; gives the errors.
fn refusals(
    raw: &mut Raw,
    one: &CallBuilder,
    owner: &NamedOwner,
) -> Vec<memod_protocol::WireError> {
    let reserve = Reserve { call: one.identity(), owner: owner.clone() };
    let claims =
        [claim_as(one, owner.clone()), Claim { owner: Some(owner.clone()), ..one.watch() }];
    let mut requests = vec![Request::Reserve(Box::new(reserve))];
    requests.extend(claims.map(|claim| Request::Claim(Box::new(claim))));
    requests.into_iter().map(|request| raw.ask_error(request, Bytes::new())).collect()
}

#[test]
fn s29_s30_heartbeats_and_names_that_are_none_are_errors() {
    let daemon = Daemon::new();
    let (mut raw, one) = (daemon.connect(), call("wrong"));
    let long = "o".repeat(1025);
    for (owner, message) in [
        (named("a", 0), "heartbeat: is 0 ms, more than zero is wanted"),
        (named("a", -1), "heartbeat: is -1 ms"),
        (named("a", i64::MIN), "heartbeat: is -9223372036854775808 ms"),
        (named("", 1000), "owner: must not be empty"),
        (named(" ", 1000), "owner: must not be blank"),
        (named("\n\t", 1000), "owner: must not be blank"),
        (named(&long, 1000), "owner: is 1025 bytes"),
    ] {
        for error in refusals(&mut raw, &one, &owner) {
            assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
            assert!(error.message.starts_with(message), "{message}: {error}");
        }
    }
    for (owner, message) in [("", "owner: must not be empty"), (" ", "owner: must not be blank")] {
        let release = Release { call: one.identity(), owner: Some(owner.to_owned()) };
        let error = raw.ask_error(Request::Release(Box::new(release)), Bytes::new());
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::InvalidArgument, message));
    }
    assert_eq!(raw.leases_and_waiters(), (0, 0), "nothing was taken");
    assert!(raw.reserve(&one, named(&"o".repeat(1024), 1)).acquired);
}

#[test]
fn s29_a_named_owner_that_is_two_is_one() {
    let daemon = daemon("1h");
    let (mut a, mut twin, one) = (daemon.connect(), daemon.connect(), call("twins"));
    a.owns(claim_as(&one, named("a", 1_000_000)));
    assert_eq!(twin.owns(claim_as(&one, named("a", 1_000_000))).holder.name.as_deref(), Some("a"));
    // Who only watches does not extend, not even by that name.
    let watching = twin.waits(Claim { owner: Some(named("a", 1_000_000)), ..one.watch() });
    assert_eq!(a.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    twin.woken_by_hit(&watching);
    assert!(matches!(twin.claim(claim_as(&one, named("a", 1))), Response::Hit(_)));
    all_is_quiet(&daemon);
}
