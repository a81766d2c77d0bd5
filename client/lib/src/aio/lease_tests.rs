//! Tests of leases with the async client against a fake daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::time::Duration;

use bytes::Bytes;
use memod_protocol::limits::INLINE_BYTES_MAX;
use memod_protocol::{Delivery, ErrorCode, LiteralType, MissReason, Request, Response, WireError};

use super::*;
use crate::memo::MemoizeError;
use crate::options::{MemoizeOptions, Wait};
use crate::outputs::Source;
use crate::status::{CacheStatus, ReservationStatus};
use crate::testing::{
    FakeDaemon, Told, call_with_outputs, forgetting, hit, holder, leased, miss, pending, telling,
};

const SHORT: Duration = Duration::from_millis(50);
/// What no bounded wait of these tests comes near, on however busy a machine.
const LONG: Duration = Duration::from_secs(80);

fn call() -> Call {
    call_with_outputs(&["a"], &LiteralType::Bytes)
}

fn outputs(bytes: usize) -> Vec<PutOutput> {
    let source = Source::Bytes(Bytes::from(vec![7; bytes]));
    vec![PutOutput { name: "a".into(), literal_type: LiteralType::Bytes, source }]
}

async fn claim(client: &Client) -> Result<Claimed, Error> {
    client.claim(&call(), &ClaimOptions::default()).await
}

async fn lease(client: &Client) -> Lease {
    let Claimed::Leased(lease) = claim(client).await.unwrap() else { panic!() };
    lease
}

/// Waits for what the daemon tells without holding up the runtime.
async fn expect(told: Told, what: &'static str) -> Told {
    let told = tokio::task::spawn_blocking(move || {
        told.expect(what);
        told
    });
    told.await.unwrap()
}

#[tokio::test]
async fn s26_each_answer_is_told_apart() {
    let daemon = FakeDaemon::answering(|request, _| {
        let Request::Claim(claim) = request else { panic!("{request:?}") };
        Some(match claim.wait_ms {
            Some(0) => (pending(&call(), false), vec![]),
            Some(1) => (Response::Miss(miss(&call(), MissReason::Expired)), vec![]),
            Some(2) => (hit(&call(), &[("a", b"12", Delivery::Inline)]), b"12".to_vec()),
            _ => (Response::Error(WireError::new(ErrorCode::Busy, "many wait")), vec![]),
        })
    });
    let client = daemon.builder().build_async();
    let ask = async |ms| {
        let wait = Wait::AtMost(Duration::from_millis(ms));
        client.claim(&call(), &ClaimOptions { wait, ..ClaimOptions::default() }).await
    };
    assert!(matches!(ask(0).await.unwrap(), Claimed::Pending(got) if got.holder == holder()));
    assert!(matches!(ask(1).await.unwrap(), Claimed::Miss(_)));
    let Claimed::Hit(got) = ask(2).await.unwrap() else { panic!() };
    assert_eq!(got.outputs[0].content.to_bytes().unwrap(), &b"12"[..]);
    assert_eq!(daemon.connections(), 1);
    assert!(matches!(ask(3).await, Err(Error::Daemon(error)) if error.code == ErrorCode::Busy));
}

#[tokio::test]
async fn s27_a_push_ends_a_wait_with_pongs_before_and_within_it() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        for _ in 0..3 {
            peer.respond(id, pending(&call(), true), b"");
            let (ping, request, _) = peer.request().unwrap();
            assert_eq!(request, Request::Ping);
            peer.respond(ping, Response::Pong, b"");
        }
        let (ping, _, _) = peer.request().unwrap();
        peer.respond(id, hit(&call(), &[("a", b"1234", Delivery::Stream)]), b"");
        peer.respond(id, Response::Chunk { output: 0, offset: 0 }, b"12");
        peer.respond(ping, Response::Pong, b"");
        peer.respond(id, Response::Chunk { output: 0, offset: 2 }, b"34");
        peer.until_end();
    });
    let client = daemon.builder().silence(SHORT).build_async();
    let Claimed::Hit(got) = claim(&client).await.unwrap() else { panic!() };
    assert_eq!(got.outputs[0].content.to_bytes().unwrap(), &b"1234"[..]);
}

#[tokio::test]
async fn s34_a_daemon_that_hangs_or_dies_while_a_claim_waits_is_noticed() {
    let hung = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        peer.until_end();
    });
    let client = hung.builder().silence(SHORT).deadline(SHORT).build_async();
    let failed = claim(&client).await.unwrap_err();
    assert!(matches!(failed, Error::Timeout { after, .. } if after >= SHORT * 2), "{failed}");
    assert_eq!(hung.connections(), 1, "it is not asked a second time");
    let dead = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
    });
    let client = dead.builder().silence(LONG).deadline(LONG).build_async();
    assert!(matches!(claim(&client).await, Err(Error::Io { .. })));
    let unending = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        assert!(peer.but_pings().is_none());
    });
    let client = unending.builder().silence(SHORT / 2).deadline(SHORT * 4).build_async();
    let options = ClaimOptions { wait: Wait::AtMost(SHORT), ..ClaimOptions::default() };
    let failed = client.claim(&call(), &options).await.unwrap_err();
    assert!(matches!(failed, Error::Timeout { after, .. } if after == SHORT * 5), "{failed}");
}

#[tokio::test]
async fn s28_what_is_dropped_ends_its_connection() {
    let (daemon, told) = telling(|number, peer, tell| {
        let id = peer.claimed();
        peer.respond(id, if number == 1 { leased(&call()) } else { pending(&call(), true) }, b"");
        assert!(peer.request().is_none());
        tell("ended");
    });
    let client = daemon.builder().build_async();
    let held = lease(&client).await;
    let copy = held.connection.as_ref().unwrap().copy();
    drop(held);
    let told = expect(told, "ended").await;
    drop(copy);
    assert!(tokio::time::timeout(SHORT, claim(&client)).await.is_err());
    expect(told, "ended").await;
}

#[tokio::test]
async fn a_put_goes_through_the_lease_and_its_connection_is_used_again() {
    let inline = usize::try_from(INLINE_BYTES_MAX).unwrap();
    for bytes in [0, inline + 1] {
        let daemon = FakeDaemon::new(move |peer| {
            for _ in 0..2 {
                let id = peer.claimed();
                peer.respond(id, leased(&call()), b"");
                assert_eq!(peer.take_put(PutOutcome::Populated), Some(bytes));
            }
            peer.until_end();
        });
        let client = daemon.builder().build_async();
        for _ in 0..2 {
            let held = lease(&client).await;
            assert_eq!((held.key(), held.holder()), (call().key().unwrap(), &holder()));
            assert_eq!(held.miss().reason, MissReason::NeverSeen);
            let outcome = held.put(&call(), outputs(bytes), &PutOptions::default()).await;
            assert_eq!(outcome.unwrap(), PutOutcome::Populated);
        }
        assert_eq!(daemon.connections(), 1);
    }
}

/// The bytes of an upload that was cut off are all there for the next.
#[tokio::test]
async fn s31_a_daemon_that_was_restarted_meanwhile_takes_the_put_all_the_same() {
    let inline = usize::try_from(INLINE_BYTES_MAX).unwrap();
    for bytes in [10, inline + 1] {
        let (daemon, told) = telling(move |number, peer, tell| {
            if number == 1 {
                let id = peer.claimed();
                peer.respond(id, leased(&call()), b"");
                peer.request();
            } else {
                assert_eq!(peer.take_put(PutOutcome::Populated), Some(bytes));
                tell("put");
            }
        });
        let client = daemon.builder().build_async();
        let held = lease(&client).await;
        let outcome = held.put(&call(), outputs(bytes), &PutOptions::default()).await;
        assert_eq!(outcome.unwrap(), PutOutcome::Populated);
        expect(told, "put").await;
    }
}

#[tokio::test]
async fn s29_leases_are_released_those_of_named_owners_too() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Claim(_) => Some((leased(&call()), vec![])),
        Request::Reserve(reserve) => {
            let key = reserve.call.key();
            let made = Reservation { key, acquired: false, holder: holder() };
            Some((Response::Reservation(Box::new(made)), vec![]))
        }
        Request::Release(release) => {
            let released = release.owner.as_deref() != Some("another");
            Some((Response::Released { released }, vec![]))
        }
        other => panic!("{other:?}"),
    });
    let client = daemon.builder().build_async();
    let held = lease(&client).await;
    held.release().await;
    let owner = NamedOwner { name: "worker".into(), heartbeat_ms: 1000 };
    let options = ClaimOptions { owner: Some(owner.clone()), ..ClaimOptions::default() };
    let Claimed::Leased(named) = client.claim(&call(), &options).await.unwrap() else { panic!() };
    named.release().await;
    assert!(!client.reserve(&call(), &owner).await.unwrap().acquired);
    assert!(client.release(&call(), "worker").await.unwrap());
    assert!(!client.release(&call(), "another").await.unwrap());
    assert!(matches!(client.release(&call(), "").await, Err(Error::Invalid(_))));
    assert_eq!(daemon.connections(), 1);
}

#[tokio::test]
async fn serialized_calls_are_memoized() {
    let (daemon, told) = telling(|number, peer, tell| {
        let id = peer.claimed();
        if number == 1 {
            peer.respond(id, leased(&call()), b"");
            peer.take_put(PutOutcome::Populated).unwrap();
            let id = peer.claimed();
            peer.respond(id, pending(&call(), true), b"");
            peer.respond(id, hit(&call(), &[("a", b"12", Delivery::Inline)]), b"12");
            let id = peer.claimed();
            peer.respond(id, leased(&call()), b"");
            assert!(peer.request().is_none());
            tell("given back");
        } else {
            let busy = WireError::new(ErrorCode::Busy, "many wait");
            peer.respond(id, Response::Error(busy), b"");
        }
    });
    let client = daemon.builder().build_async();
    let options = MemoizeOptions { serialize: true, ..MemoizeOptions::default() };
    // Spawned, because such futures must be able to move between threads.
    let spawned = {
        let (client, options) = (client.clone(), options.clone());
        let compute = || async { Ok::<_, ()>(outputs(1)) };
        tokio::spawn(async move { client.memoize(&call(), &options, compute).await.unwrap() })
    };
    let made = spawned.await.unwrap();
    assert_eq!((made.status, made.store), (CacheStatus::Miss, CacheStatus::Populated));
    assert_eq!(made.reservation, ReservationStatus::Released);
    let never = || async { panic!("somebody else has computed it") };
    let waited = client.memoize::<(), _>(&call(), &options, never).await.unwrap();
    assert_eq!((waited.status, waited.reservation), (CacheStatus::Hit, ReservationStatus::Exists));
    let failing = || async { Err::<Vec<PutOutput>, _>("why") };
    let failed = client.memoize(&call(), &options, failing).await;
    assert!(matches!(failed, Err(MemoizeError::Compute("why"))));
    expect(told, "given back").await;
    let recall = client.recall(&call(), &options).await;
    assert_eq!(recall.reservation(), ReservationStatus::Failure);
    assert_eq!(recall.status(), CacheStatus::LookupFailure);
}

#[tokio::test]
async fn s31_a_lost_lease_is_told_and_does_not_void_the_run() {
    let (daemon, told) = forgetting(call());
    let client = daemon.builder().build_async();
    let options = MemoizeOptions { serialize: true, ..MemoizeOptions::default() };
    let compute = || async { Ok::<_, ()>(outputs(1)) };
    let made = client.memoize(&call(), &options, compute).await.unwrap();
    assert_eq!((made.status, made.store), (CacheStatus::Miss, CacheStatus::Populated));
    assert_eq!(made.reservation, ReservationStatus::Failure);
    assert!(matches!(made.lease_error, Some(Error::LeaseLost)));
    expect(told, "put").await;
}
