//! Tests of questions that wait at the daemon, for longer than it may take to answer others.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::thread;
use std::time::Duration;

use memod_protocol::{LogPage, LogQuery, Response};

use crate::error::Error;
use crate::testing::{FakeDaemon, Peer};

const DEADLINE: Duration = Duration::from_millis(400);

/// Answers the first question of each connection, and ends while the second waits. The first
/// connection may be the only one.
fn ending(is_last: bool) -> FakeDaemon {
    FakeDaemon::new(move |peer| {
        let (id, _, _) = peer.request().unwrap();
        peer.respond(id, Response::Logged(LogPage::default()), b"");
        if peer.request().is_some() {
            if is_last {
                let address = peer.socket.local_addr().unwrap();
                std::fs::remove_file(address.as_pathname().unwrap()).unwrap();
            }
            // tidy: sleeps because only time passes while a question waits.
            thread::sleep(DEADLINE * 2);
        }
    })
}

fn waiting() -> LogQuery {
    LogQuery { wait_ms: 60_000, ..LogQuery::default() }
}

#[test]
fn a_daemon_that_ends_after_a_long_wait_is_asked_anew() {
    let daemon = ending(false);
    let client = daemon.builder().deadline(DEADLINE).build();
    client.log(&waiting()).unwrap();
    client.log(&waiting()).unwrap();
    assert_eq!(daemon.connections(), 2);
}

#[test]
fn a_daemon_that_is_gone_after_a_long_wait_is_not_said_to_be_slow() {
    let daemon = ending(true);
    let client = daemon.builder().deadline(DEADLINE).build();
    client.log(&waiting()).unwrap();
    let failed = client.log(&waiting()).unwrap_err();
    assert!(matches!(failed, Error::NoDaemon { .. }), "{failed:?}");
}

#[test]
fn who_wants_to_know_whether_a_daemon_is_there_is_not_told_what_it_was() {
    let daemon = FakeDaemon::new(Peer::until_end);
    let client = daemon.builder().deadline(Duration::from_millis(20)).build();
    let is_late = |outcome: Result<(), Error>| matches!(outcome, Err(Error::Timeout { .. }));
    assert!((0..3).all(|_| is_late(client.stats().map(drop))));
    assert!(matches!(client.stats(), Err(Error::BreakerOpen)));
    assert!(is_late(client.ping()) && is_late(client.status().map(drop)));
    assert_eq!(daemon.connections(), 5);
    assert!(matches!(client.stats(), Err(Error::BreakerOpen)), "the others still are");
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn the_async_client_asks_anew_too() {
    let daemon = ending(false);
    let client = daemon.builder().deadline(DEADLINE).build_async();
    client.log(&waiting()).await.unwrap();
    client.log(&waiting()).await.unwrap();
    assert_eq!(daemon.connections(), 2);
}
