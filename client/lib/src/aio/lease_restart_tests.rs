//! Tests of claims that wait while the daemon is restarted, with the async client against a fake
//! daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::time::Duration;

use memod_protocol::{Delivery, ErrorCode, LiteralType, Request, Response, WireError};

use super::*;
use crate::options::Wait;
use crate::testing::{FakeDaemon, call_with_outputs, hit, pending, telling};

const SHORT: Duration = Duration::from_millis(50);
/// What no bounded wait of these tests comes near, on however busy a machine.
const LONG: Duration = Duration::from_secs(60);

fn call() -> Call {
    call_with_outputs(&["a"], &LiteralType::Bytes)
}

async fn claim(client: &Client) -> Result<Claimed, Error> {
    client.claim(&call(), &ClaimOptions::default()).await
}

#[tokio::test]
async fn a_wait_that_the_daemons_end_cuts_off_is_begun_anew() {
    let (daemon, _told) = telling(|number, peer, _| {
        let id = peer.claimed();
        match number {
            1 => {
                peer.respond(id, pending(&call(), true), b"");
                let leaving = WireError::new(ErrorCode::ShuttingDown, "stopping");
                peer.respond(id, Response::Error(leaving), b"");
                peer.until_end();
            }
            // One that is on its way out before it answers, and one that dies.
            2 => {}
            3 => peer.respond(id, pending(&call(), true), b""),
            _ => {
                peer.respond(id, hit(&call(), &[("a", b"12", Delivery::Inline)]), b"12");
                peer.until_end();
            }
        }
    });
    let client = daemon.builder().deadline(LONG).build_async();
    let (identity, options) = (call().identity().unwrap(), ClaimOptions::default());
    // Spawned, because such futures must be able to move between threads.
    let claiming = {
        let client = client.clone();
        tokio::spawn(async move { client.claim_identified(&call(), &identity, &options).await })
    };
    let (claimed, waited) = claiming.await.unwrap().unwrap();
    assert!(matches!(claimed, Claimed::Hit(_)) && waited, "another has computed it");
    assert_eq!(daemon.connections(), 4);
}

#[tokio::test]
async fn a_daemon_that_is_away_is_looked_for_until_the_deadline() {
    for comes_back in [true, false] {
        let (end, ended) = std::sync::mpsc::sync_channel(1);
        let ended = std::sync::Mutex::new(ended);
        let (daemon, told) = telling(move |number, peer, tell| {
            let id = peer.claimed();
            if number == 1 {
                peer.respond(id, pending(&call(), true), b"");
                tell("it waits");
                ended.lock().unwrap().recv().unwrap();
            } else {
                peer.respond(id, hit(&call(), &[("a", b"12", Delivery::Inline)]), b"12");
                peer.until_end();
            }
        });
        let deadline = if comes_back { LONG } else { SHORT * 2 };
        let client = daemon.builder().deadline(deadline).build_async();
        let away = daemon.socket().with_extension("away");
        let waits = tokio::spawn(async move { claim(&client).await });
        let socket = daemon.socket();
        let move_away = move || {
            told.expect("it waits");
            std::fs::rename(&socket, &away).unwrap();
            end.send(()).unwrap();
            away
        };
        let away = tokio::task::spawn_blocking(move_away).await.unwrap();
        if comes_back {
            let mut waits = waits;
            assert!(tokio::time::timeout(SHORT * 3, &mut waits).await.is_err(), "it looks for it");
            std::fs::rename(&away, daemon.socket()).unwrap();
            assert!(matches!(waits.await.unwrap().unwrap(), Claimed::Hit(_)));
        } else {
            let failed = waits.await.unwrap().unwrap_err();
            assert!(matches!(failed, Error::NoDaemon { .. }), "{failed}");
        }
    }
}

#[tokio::test]
async fn s34_a_daemon_that_keeps_dying_does_not_hold_a_task_and_is_one_failure() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
    });
    let client = daemon.builder().deadline(LONG).build_async();
    for claims in 1..=3 {
        assert!(matches!(claim(&client).await, Err(Error::Io { .. })));
        assert_eq!(daemon.connections(), claims * 4, "one, and three more");
    }
    assert!(matches!(claim(&client).await, Err(Error::BreakerOpen)));
}

#[tokio::test]
async fn a_wait_whose_bound_is_used_up_asks_once_more_and_waits_no_longer() {
    let (daemon, _told) = telling(|number, peer, _| {
        let (id, request, _) = peer.request().unwrap();
        let Request::Claim(claim) = request else { panic!("{request:?}") };
        if number == 1 {
            assert_eq!(claim.wait_ms, Some(50));
            peer.respond(id, pending(&call(), true), b"");
            // The ping says that so much has passed.
            peer.request();
        } else {
            assert_eq!(claim.wait_ms, Some(0));
            peer.respond(id, pending(&call(), false), b"");
            peer.until_end();
        }
    });
    let client = daemon.builder().silence(SHORT).deadline(LONG).build_async();
    let options = ClaimOptions { wait: Wait::AtMost(SHORT), ..ClaimOptions::default() };
    let claimed = client.claim(&call(), &options).await.unwrap();
    assert!(matches!(claimed, Claimed::Pending(_)));
}
