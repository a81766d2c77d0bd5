//! What many who ask, wait, do not read or die may take: a bounded part, and a clear answer.

use bytes::Bytes;
use harness::{Daemon, Raw, Setup, call, descriptors, eventually};
use memod_protocol::{Claim, ErrorCode, PutOutcome, Request, Response};

use super::hold::all_is_quiet;
use crate::bystander::{Bystander, assert_bounded};

/// Connections lease on lease, more than one may have.
const LEASES_PER_CONNECTION_MAX: u64 = 4096;

fn busy(response: Response) {
    match response {
        Response::Error(error) => {
            assert_eq!(error.code, ErrorCode::Busy, "{error}");
            assert!(error.hint.is_some(), "it says what to do: {error}");
        }
        other => panic!("there is no room: {other:?}"),
    }
}

#[test]
fn too_many_waiters_are_told_so_and_those_who_wait_go_on() {
    let daemon = Setup::new().config("waiters_max = 3").start();
    let (one, other) = (call("full"), call("also full"));
    let mut owner = daemon.connect();
    owner.owns(one.claim());
    owner.owns(other.claim());
    let (mut a, mut b) = (daemon.connect(), daemon.connect());
    let (first, second) = (a.waits(one.claim()), a.waits(other.claim()));
    let third = b.waits(one.watch());
    let mut late = daemon.connect();
    busy(late.claim(one.claim()));
    busy(late.claim(other.watch()));
    assert!(late.ping(), "the connection is as good as before");
    let no_wait = late.claim(Claim { wait_ms: Some(0), ..one.claim() });
    assert!(
        matches!(no_wait, Response::Pending(_)),
        "who does not wait needs no room: {no_wait:?}"
    );
    assert_eq!(late.leases_and_waiters(), (2, 3));
    // It computes it then, as it is told to.
    assert_eq!(late.put(one.put(&[("o0", b"made")])), PutOutcome::Populated);
    a.woken_by_hit(&first);
    b.woken_by_hit(&third);
    let room = late.waits(other.claim());
    assert!(owner.release(&other, None));
    a.woken_as_owner(&second);
    assert!(a.release(&other, None));
    late.woken_as_owner(&room);
    late.put(other.put(&[("o0", b"made")]));
    all_is_quiet(&daemon);
}

#[test]
fn leases_of_one_connection_are_bounded() {
    let daemon = Daemon::new();
    let (mut raw, mut other) = (daemon.connect(), daemon.connect());
    let numbered = |number: u64| call("hoarded").version(&number.to_string());
    let mut sent = 0;
    for received in 0..LEASES_PER_CONNECTION_MAX {
        while sent < LEASES_PER_CONNECTION_MAX && sent - received < 32 {
            raw.send(Request::Claim(Box::new(numbered(sent).claim())), Bytes::new());
            sent += 1;
        }
        let reply = raw.read_reply().expect("a lease");
        assert!(matches!(reply.response, Response::Leased(_)), "{:?}", reply.response);
    }
    let more = numbered(sent);
    busy(raw.claim(more.claim()));
    other.owns(more.claim());
    assert!(raw.release(&numbered(0), None));
    raw.owns(numbered(0).claim());
    assert_eq!(other.leases_and_waiters(), (LEASES_PER_CONNECTION_MAX + 1, 0));
    drop(raw);
    eventually("they end with the connection", || other.leases_and_waiters() == (1, 0));
    assert_bounded(&daemon);
}

#[test]
fn a_waiter_that_never_reads_holds_up_nobody() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let (mut owner, mut waiter) = (daemon.connect(), daemon.connect());
    let mut deaf: Vec<Raw> = (0..8).map(|_| daemon.connect()).collect();
    let calls: Vec<_> = (0..40)
        .map(|number| call("unread").output("o0", "bytes").version(&number.to_string()))
        .collect();
    for one in &calls {
        owner.owns(one.claim());
        for raw in &mut deaf {
            raw.send(Request::Claim(Box::new(one.claim())), Bytes::new());
        }
    }
    eventually("all of them wait", || bystander.raw().leases_and_waiters() == (40, 320));
    let waiting: Vec<_> = calls.iter().map(|one| waiter.waits(one.claim())).collect();
    // So much is due to each of them that its socket cannot hold it.
    let content = vec![b'c'; 1 << 20];
    for (one, waiting) in calls.iter().zip(&waiting) {
        assert_eq!(owner.put(one.put(&[("o0", &content)])), PutOutcome::Populated);
        assert!(waiter.woken_by_hit(waiting).1[0] == content);
    }
    bystander.is_served();
    assert_eq!(bystander.raw().leases_and_waiters(), (0, 0), "who has been woken waits no more");
    drop(deaf);
    eventually("the deaf are gone", || bystander.raw().stats().connections == 3);
    bystander.is_served();
    assert_bounded(&daemon);
}

#[test]
fn connections_that_end_leave_nothing_behind() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let before = descriptors(daemon.pid());
    let calls: Vec<_> = (0..10).map(|number| call("left").version(&number.to_string())).collect();
    for _ in 0..3 {
        let mut connections: Vec<Raw> = (0..50).map(|_| daemon.connect()).collect();
        for raw in &mut connections {
            for one in &calls {
                raw.send(Request::Claim(Box::new(one.claim())), Bytes::new());
            }
        }
        eventually("all have asked", || bystander.raw().leases_and_waiters() == (10, 490));
        drop(connections);
        eventually("all is given up", || bystander.raw().leases_and_waiters() == (0, 0));
    }
    eventually("the connections are closed", || bystander.raw().stats().connections == 1);
    eventually("the descriptors are closed", || descriptors(daemon.pid()) <= before);
    bystander.noticed_nothing(&daemon);
}
