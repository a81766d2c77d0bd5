//! Tests of claims that wait while the daemon is restarted, with the blocking client against a fake
//! daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use memod_protocol::{Claim, Delivery, ErrorCode, LiteralType, Request, Response, WireError};

use super::*;
use crate::address::Environment;
use crate::builder::Start;
use crate::options::Wait;
use crate::testing::{FakeDaemon, Peer, call_with_outputs, hit, leased, pending, telling};

const SHORT: Duration = Duration::from_millis(50);
/// What no bounded wait of these tests comes near, on however busy a machine.
const LONG: Duration = Duration::from_secs(60);

fn call() -> Call {
    call_with_outputs(&["a"], &LiteralType::Bytes)
}

fn claim(client: &Client) -> Result<Claimed, Error> {
    client.claim(&call(), &ClaimOptions::default())
}

fn respond_hit(peer: &mut Peer, id: u64) {
    peer.respond(id, hit(&call(), &[("a", b"12", Delivery::Inline)]), b"12");
}

/// Takes a claim and says that it waits.
fn keep_waiting(peer: &mut Peer) -> (u64, Claim) {
    let (id, request, _) = peer.request().unwrap();
    let Request::Claim(claim) = request else { panic!("{request:?}") };
    peer.respond(id, pending(&call(), true), b"");
    (id, *claim)
}

/// A gate that is opened from outside, for the daemon to wait at.
fn gate() -> (SyncSender<()>, impl Fn() + Send + Sync + 'static) {
    let (open, gate) = sync_channel(1);
    let gate = Mutex::new(gate);
    (open, move || gate.lock().unwrap().recv().unwrap())
}

/// Moves the daemon's socket away, and lets it end its connection then; gives where it is now.
fn move_away(daemon: &FakeDaemon, end: &SyncSender<()>) -> PathBuf {
    let away = daemon.socket().with_extension("away");
    std::fs::rename(daemon.socket(), &away).unwrap();
    end.send(()).unwrap();
    away
}

#[test]
fn a_wait_that_the_daemons_end_cuts_off_is_begun_anew() {
    for says_so in [false, true] {
        let (daemon, told) = telling(move |number, peer, tell| {
            if number == 1 {
                let (id, claim) = keep_waiting(peer);
                assert!(claim.take && claim.wait_ms.is_none() && claim.owner.is_none());
                if says_so {
                    let leaving = WireError::new(ErrorCode::ShuttingDown, "stopping");
                    peer.respond(id, Response::Error(leaving), b"");
                    peer.until_end();
                    tell("the client has closed the old connection");
                }
            } else {
                let (id, request, _) = peer.request().unwrap();
                let Request::Claim(claim) = request else { panic!("{request:?}") };
                assert!(claim.take && claim.wait_ms.is_none() && claim.owner.is_none());
                respond_hit(peer, id);
                peer.until_end();
            }
        });
        let client = daemon.builder().deadline(LONG).build();
        let identity = call().identity().unwrap();
        let options = ClaimOptions::default();
        let (claimed, waited) = client.claim_identified(&call(), &identity, &options).unwrap();
        assert!(matches!(claimed, Claimed::Hit(_)) && waited, "another has computed it");
        assert_eq!(daemon.connections(), 2);
        if says_so {
            told.expect("the client has closed the old connection");
        }
    }
}

#[test]
fn a_wait_that_is_begun_anew_may_bring_the_lease() {
    let (daemon, told) = telling(|number, peer, tell| {
        let (id, _) = keep_waiting(peer);
        if number == 2 {
            peer.respond(id, leased(&call()), b"");
            assert!(peer.request().is_none());
            tell("given back");
        }
    });
    let client = daemon.builder().deadline(LONG).build();
    let Claimed::Leased(lease) = claim(&client).unwrap() else { panic!() };
    told.expect_nothing();
    drop(lease);
    told.expect("given back");
}

#[test]
fn a_daemon_that_is_away_for_a_while_is_looked_for() {
    let (end, ended) = gate();
    let (daemon, told) = telling(move |number, peer, tell| match number {
        1 => {
            let (id, _) = keep_waiting(peer);
            tell("it waits");
            ended();
            let leaving = WireError::new(ErrorCode::ShuttingDown, "stopping");
            peer.respond(id, Response::Error(leaving), b"");
        }
        // The new one is on its way out, too, before it answers.
        2 => drop(peer.request()),
        _ => {
            let (id, _) = keep_waiting(peer);
            respond_hit(peer, id);
        }
    });
    let client = daemon.builder().deadline(LONG).build();
    let (done, outcome) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(|| done.send(claim(&client)).unwrap());
        told.expect("it waits");
        let away = move_away(&daemon, &end);
        let too_early = outcome.recv_timeout(SHORT * 3);
        assert!(matches!(too_early, Err(RecvTimeoutError::Timeout)), "{too_early:?}");
        assert_eq!(daemon.connections(), 1);
        std::fs::rename(&away, daemon.socket()).unwrap();
        assert!(matches!(outcome.recv().unwrap().unwrap(), Claimed::Hit(_)));
    });
    assert_eq!(daemon.connections(), 3);
}

#[test]
fn s34_a_daemon_that_does_not_come_back_is_given_up() {
    let (end, ended) = gate();
    let (daemon, told) = telling(move |_, peer, tell| {
        keep_waiting(peer);
        tell("it waits");
        ended();
    });
    let client = daemon.builder().deadline(SHORT * 2).build();
    let begun = Instant::now();
    let failed = std::thread::scope(|scope| {
        let waits = scope.spawn(|| claim(&client));
        told.expect("it waits");
        move_away(&daemon, &end);
        waits.join().unwrap().unwrap_err()
    });
    assert!(matches!(failed, Error::NoDaemon { .. }), "{failed}");
    assert!(begun.elapsed() >= SHORT * 2 && begun.elapsed() < LONG);
}

#[test]
fn a_daemon_of_ones_own_is_wanted_only_when_the_other_does_not_come_back() {
    let (end, ended) = gate();
    let (daemon, told) = telling(move |number, peer, tell| {
        let (id, _) = keep_waiting(peer);
        tell("it waits");
        if number == 2 {
            return respond_hit(peer, id);
        }
        ended();
    });
    let root = tempfile::tempdir().unwrap();
    let environment = Environment {
        daemon: Some(root.path().join("none")),
        runtime_dir: Some(root.path().join("runtime")),
        cache_home: Some(root.path().join("cache")),
        ..Environment::default()
    };
    let builder = daemon.builder().environment(environment).start(Start::Own);
    let client = builder.clone().deadline(LONG).build();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| claim(&client));
        told.expect("it waits");
        end.send(()).unwrap();
        told.expect("it waits");
        assert!(matches!(waits.join().unwrap().unwrap(), Claimed::Hit(_)));
    });
    let client = builder.deadline(SHORT).build();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| claim(&client));
        told.expect("it waits");
        move_away(&daemon, &end);
        let failed = waits.join().unwrap().unwrap_err();
        assert!(matches!(failed, Error::Start { .. }), "there is no such program: {failed}");
    });
}

#[test]
fn s34_a_daemon_that_keeps_dying_does_not_hold_a_task_and_is_one_failure() {
    let daemon = FakeDaemon::new(|peer| drop(keep_waiting(peer)));
    let client = daemon.builder().deadline(LONG).build();
    for claims in 1..=3 {
        assert!(matches!(claim(&client), Err(Error::Io { .. })));
        assert_eq!(daemon.connections(), claims * 4, "one, and three more");
    }
    assert!(matches!(claim(&client), Err(Error::BreakerOpen)));
}

#[test]
fn a_wait_with_a_bound_is_not_prolonged() {
    for (bound, expected) in [(SHORT, 0..=0), (LONG, 1..=LONG.as_millis())] {
        let expected = *expected.start()..=expected.end().saturating_sub(SHORT.as_millis());
        let (daemon, told) = telling(move |number, peer, tell| {
            if number == 1 {
                let (_, claim) = keep_waiting(peer);
                assert_eq!(u128::from(claim.wait_ms.unwrap()), bound.as_millis());
                // The ping says that so much of it has passed.
                peer.request();
            } else {
                let (id, request, _) = peer.request().unwrap();
                let Request::Claim(claim) = request else { panic!("{request:?}") };
                let left = u128::from(claim.wait_ms.unwrap());
                assert!(expected.contains(&left), "{left} ms of {bound:?}");
                peer.respond(id, pending(&call(), false), b"");
                tell("asked once more");
                peer.until_end();
            }
        });
        let client = daemon.builder().silence(SHORT).deadline(LONG).build();
        let options = ClaimOptions { wait: Wait::AtMost(bound), ..ClaimOptions::default() };
        assert!(matches!(client.claim(&call(), &options).unwrap(), Claimed::Pending(_)));
        told.expect("asked once more");
    }
}

#[test]
fn what_was_not_waiting_is_not_waited_for_again() {
    let unanswered = FakeDaemon::new(|peer| {
        peer.claimed();
    });
    assert!(matches!(claim(&unanswered.client()), Err(Error::Io { .. })));
    assert_eq!(unanswered.connections(), 4, "as any request that is met with silence");
    let broken = FakeDaemon::new(|peer| {
        let (id, _) = keep_waiting(peer);
        peer.respond(id, hit(&call(), &[("a", b"1234", Delivery::Stream)]), b"");
        peer.respond(id, Response::Chunk { output: 0, offset: 0 }, b"12");
    });
    assert!(matches!(claim(&broken.client()), Err(Error::Io { .. })), "the sink has taken bytes");
    assert_eq!(broken.connections(), 1);
}
