//! Tests of leases with the blocking client against a fake daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::limits::INLINE_BYTES_MAX;
use memod_protocol::{
    Delivery, ErrorCode, LiteralType, MissReason, Pending, Request, Response, WireError,
};

use super::*;
use crate::mode::Mode;
use crate::options::Wait;
use crate::outputs::Source;
use crate::testing::{
    FakeDaemon, call_with_outputs, hit, holder, leased, miss, pending, provenance, telling,
};

fn call() -> Call {
    call_with_outputs(&["a"], &LiteralType::Bytes)
}

fn outputs(bytes: usize) -> Vec<PutOutput> {
    let source = Source::Bytes(Bytes::from(vec![7; bytes]));
    vec![PutOutput { name: "a".into(), literal_type: LiteralType::Bytes, source }]
}

fn claim(client: &Client) -> Result<Claimed, Error> {
    client.claim(&call(), &ClaimOptions::default())
}

fn lease(client: &Client) -> Lease {
    let Claimed::Leased(lease) = claim(client).unwrap() else { panic!() };
    lease
}

/// Until what the daemon did to the lease's connection has come to be seen.
fn until_spoilt(held: &Lease) {
    while held.connection.as_ref().unwrap().is_usable() {
        std::thread::yield_now();
    }
}

#[test]
fn s26_each_answer_is_told_apart() {
    let daemon = FakeDaemon::answering(|request, _| {
        let Request::Claim(claim) = request else { panic!("{request:?}") };
        Some(match claim.wait_ms {
            Some(0) => (pending(&call(), false), vec![]),
            Some(1) => (Response::Miss(miss(&call(), MissReason::Expired)), vec![]),
            Some(2) => (hit(&call(), &[("a", b"12", Delivery::Inline)]), b"12".to_vec()),
            Some(3) => (Response::Error(WireError::new(ErrorCode::Busy, "many wait")), vec![]),
            other => panic!("{other:?}"),
        })
    });
    let client = daemon.client();
    let ask = |wait| client.claim(&call(), &ClaimOptions { wait, ..ClaimOptions::default() });
    let at_most = |ms| ask(Wait::AtMost(Duration::from_millis(ms)));
    let key = call().key().unwrap();
    let expected = Pending { key, holder: holder(), waiting: false };
    assert!(matches!(ask(Wait::No).unwrap(), Claimed::Pending(got) if got == expected));
    let Claimed::Miss(got) = at_most(1).unwrap() else { panic!() };
    assert_eq!(got.reason, MissReason::Expired);
    let Claimed::Hit(got) = at_most(2).unwrap() else { panic!() };
    assert_eq!(got.outputs[0].content.to_bytes().unwrap(), &b"12"[..]);
    assert_eq!(daemon.connections(), 1, "none of these keeps the connection");
    for _ in 0..5 {
        let failed = at_most(3).unwrap_err();
        assert!(matches!(failed, Error::Daemon(error) if error.code == ErrorCode::Busy));
    }
}

#[test]
fn s28_a_lease_that_is_dropped_ends_its_connection_whoever_has_a_copy() {
    let (daemon, told) = telling(|_, peer, tell| {
        let id = peer.claimed();
        peer.respond(id, leased(&call()), b"");
        assert!(peer.request().is_none());
        tell("ended");
    });
    let client = daemon.client();
    let held = lease(&client);
    assert_eq!((held.key(), held.holder()), (call().key().unwrap(), &holder()));
    assert_eq!(held.miss().reason, MissReason::NeverSeen);
    let copy = held.connection.as_ref().unwrap().copy().unwrap();
    told.expect_nothing();
    drop(held);
    told.expect("ended");
    drop(copy);
    // A child's copy of the lease is not the lease.
    let mut inherited = lease(&client);
    let copy = inherited.connection.as_ref().unwrap().copy().unwrap();
    inherited.process += 1;
    drop(inherited);
    assert!(crate::connect::is_quiet(&copy), "the parent's lease goes on");
    drop(copy);
    told.expect("ended");
}

#[test]
fn a_held_connection_is_used_for_nothing_else() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Claim(_) => Some((leased(&call()), vec![])),
        _ => Some((Response::Pong, vec![])),
    });
    let client = daemon.client();
    let first = lease(&client);
    let second = lease(&client);
    client.ping().unwrap();
    client.ping().unwrap();
    assert_eq!(daemon.connections(), 3);
    drop((first, second));
}

#[test]
fn a_put_goes_through_the_lease_and_its_connection_is_used_again() {
    let inline = usize::try_from(INLINE_BYTES_MAX).unwrap();
    for bytes in [0, 10, inline + 1] {
        let daemon = FakeDaemon::new(move |peer| {
            for _ in 0..2 {
                let id = peer.claimed();
                peer.respond(id, leased(&call()), b"");
                assert_eq!(peer.take_put(PutOutcome::Populated), Some(bytes));
            }
            peer.until_end();
        });
        let client = daemon.client();
        for _ in 0..2 {
            let held = lease(&client);
            let outcome = held.put(&call(), outputs(bytes), &PutOptions::default()).unwrap();
            assert_eq!(outcome, PutOutcome::Populated);
        }
        assert_eq!(daemon.connections(), 1);
    }
}

#[test]
fn only_what_was_stored_keeps_the_connection() {
    for stored in [Some(PutOutcome::Exists(provenance())), None] {
        let (daemon, told) = telling(move |_, peer, tell| {
            let id = peer.claimed();
            peer.respond(id, leased(&call()), b"");
            if let Some(outcome) = stored.clone() {
                peer.take_put(outcome).unwrap();
            } else {
                let (id, _, _) = peer.request().unwrap();
                let full = WireError::new(ErrorCode::OverBudget, "full");
                peer.respond(id, Response::Error(full), b"");
            }
            assert!(peer.request().is_none());
            tell("ended");
        });
        let client = daemon.client();
        let _ = lease(&client).put(&call(), outputs(1), &PutOptions::default());
        told.expect("ended");
        drop(client);
    }
}

#[test]
fn s31_a_daemon_that_was_restarted_meanwhile_takes_the_put_all_the_same() {
    let inline = usize::try_from(INLINE_BYTES_MAX).unwrap();
    // The client sees that the connection has ended, or only when it uses it.
    for (bytes, seen) in [(10, true), (10, false), (inline + 1, true), (inline + 1, false)] {
        let (daemon, told) = telling(move |number, peer, tell| {
            if number == 1 {
                let id = peer.claimed();
                peer.respond(id, leased(&call()), b"");
                if !seen {
                    peer.request();
                }
            } else {
                assert_eq!(peer.take_put(PutOutcome::Populated), Some(bytes));
                tell("put");
            }
        });
        let client = daemon.client();
        let held = lease(&client);
        if seen {
            until_spoilt(&held);
        }
        let outcome = held.put(&call(), outputs(bytes), &PutOptions::default()).unwrap();
        assert_eq!(outcome, PutOutcome::Populated);
        told.expect("put");
    }
}

#[test]
fn nobody_gets_the_lease_while_its_owner_stores_over_another_connection() {
    let (daemon, told) = telling(|number, peer, tell| {
        if number == 1 {
            let id = peer.claimed();
            peer.respond(id, leased(&call()), b"");
            // Nobody asked, so the connection is not used again.
            peer.respond(id + 100, Response::Pong, b"");
            assert!(peer.request().is_none());
            tell("the lease is free");
        } else {
            let (id, request, _) = peer.request().unwrap();
            assert!(matches!(request, Request::Put(_)));
            tell("put");
            peer.respond(id, Response::Put(PutOutcome::Populated), b"");
            peer.until_end();
        }
    });
    let client = daemon.client();
    let held = lease(&client);
    until_spoilt(&held);
    held.put(&call(), outputs(1), &PutOptions::default()).unwrap();
    told.expect("put");
    told.expect("the lease is free");
}

#[test]
fn a_process_that_was_forked_does_not_put_over_its_parents_connection() {
    let (daemon, told) = telling(|number, peer, tell| {
        if number == 1 {
            let id = peer.claimed();
            peer.respond(id, leased(&call()), b"");
            if peer.request().is_some() {
                tell("over the parent's");
            }
        } else {
            peer.take_put(PutOutcome::Populated).unwrap();
            tell("put");
        }
    });
    let mut inherited = lease(&daemon.client());
    inherited.process += 1;
    inherited.put(&call(), outputs(1), &PutOptions::default()).unwrap();
    told.expect("put");
}

#[test]
fn s28_a_lease_that_is_released_gives_its_connection_back() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Claim(_) => Some((leased(&call()), vec![])),
        Request::Release(release) => {
            assert_eq!((release.call, release.owner), (call().identity().unwrap(), None));
            Some((Response::Released { released: true }, vec![]))
        }
        other => panic!("{other:?}"),
    });
    let client = daemon.client();
    for _ in 0..3 {
        lease(&client).release();
    }
    assert_eq!(daemon.connections(), 1);
}

#[test]
fn s29_a_named_owner_needs_no_connection_and_stays_when_the_lease_is_dropped() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let daemon = FakeDaemon::answering(move |request, _| match request {
        Request::Claim(claim) => {
            assert_eq!(claim.owner.unwrap().name, "worker 3");
            log.lock().unwrap().push("claim");
            Some((leased(&call()), vec![]))
        }
        Request::Release(release) => {
            log.lock().unwrap().push("release");
            assert_eq!(release.owner.as_deref(), Some("worker 3"));
            Some((Response::Released { released: true }, vec![]))
        }
        _ => {
            log.lock().unwrap().push("put");
            Some((Response::Put(PutOutcome::Populated), vec![]))
        }
    });
    let client = daemon.client();
    let owner = Some(NamedOwner { name: "worker 3".into(), heartbeat_ms: 1000 });
    let options = ClaimOptions { owner, ..ClaimOptions::default() };
    let take = || match client.claim(&call(), &options).unwrap() {
        Claimed::Leased(lease) => lease,
        other => panic!("{other:?}"),
    };
    drop(take());
    take().release();
    take().put(&call(), outputs(1), &PutOptions::default()).unwrap();
    assert_eq!(*asked.lock().unwrap(), ["claim", "claim", "release", "claim", "put"]);
    assert_eq!(daemon.connections(), 1);
}

#[test]
fn s23_the_clients_mode_decides_what_a_claim_may_do() {
    let daemon = FakeDaemon::answering(|request, _| {
        let Request::Claim(claim) = request else { panic!("{request:?}") };
        assert!(!claim.take);
        Some((Response::Miss(miss(&call(), MissReason::NeverSeen)), vec![]))
    });
    let reason = |mode| match claim(&daemon.builder().mode(mode).build()).unwrap() {
        Claimed::Miss(miss) => miss.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(Mode::ReadOnly), MissReason::NeverSeen);
    assert_eq!(reason(Mode::Disabled), MissReason::Disabled);
    assert_eq!(reason(Mode::Overwrite), MissReason::Disabled);
    assert_eq!(daemon.connections(), 1);
}

#[test]
fn the_lease_of_one_call_does_not_store_another() {
    let (daemon, told) = telling(|_, peer, tell| {
        let id = peer.claimed();
        peer.respond(id, leased(&call()), b"");
        assert!(peer.request().is_none());
        tell("given back");
    });
    let other = Call { task: "another".into(), ..call() };
    let refused = lease(&daemon.client()).put(&other, outputs(1), &PutOptions::default());
    assert!(matches!(refused, Err(Error::Invalid(_))));
    told.expect("given back");
}

#[test]
fn s30_reserving_and_releasing_by_name() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Reserve(reserve) => {
            assert_eq!(reserve.owner.heartbeat_ms, 1000);
            let key = reserve.call.key();
            let made = Reservation { key, acquired: true, holder: holder() };
            Some((Response::Reservation(Box::new(made)), vec![]))
        }
        Request::Release(release) => {
            let released = release.owner.as_deref() == Some("worker");
            Some((Response::Released { released }, vec![]))
        }
        other => panic!("{other:?}"),
    });
    let client = daemon.client();
    let owner = |name: &str, heartbeat_ms| NamedOwner { name: name.into(), heartbeat_ms };
    let made = client.reserve(&call(), &owner("worker", 1000)).unwrap();
    assert_eq!((made.acquired, made.key), (true, call().key().unwrap()));
    assert!(client.release(&call(), "worker").unwrap());
    assert!(!client.release(&call(), "another").unwrap());
    for (name, heartbeat_ms) in [("", 1000), ("worker", 0), ("worker", -5)] {
        let refused = client.reserve(&call(), &owner(name, heartbeat_ms));
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
    assert!(matches!(client.release(&call(), ""), Err(Error::Invalid(_))));
}
