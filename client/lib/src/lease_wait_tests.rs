//! Tests of waiting for somebody else's lease with the blocking client against a fake daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use memod_protocol::{Delivery, LiteralType, Pending, Request, Response};

use super::*;
use crate::options::Wait;
use crate::outputs::Source;
use crate::testing::{FakeDaemon, call_with_outputs, hit, leased, pending};

const SHORT: Duration = Duration::from_millis(50);
/// What no bounded wait of these tests comes near, on however busy a machine.
const LONG: Duration = Duration::from_secs(8);

fn call() -> Call {
    call_with_outputs(&["a"], &LiteralType::Bytes)
}

fn claim(client: &Client) -> Result<Claimed, Error> {
    client.claim(&call(), &ClaimOptions::default())
}

/// A sink that tells what happens to it.
#[derive(Default)]
struct Witness(Vec<String>);

impl OutputSink for Witness {
    fn begin(&mut self, output: &crate::OutputDescription, _: usize) -> std::io::Result<()> {
        self.0.push(format!("begin {}", output.name));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.push(format!("{} bytes", bytes.len()));
        Ok(())
    }

    fn waiting(&mut self, pending: &Pending) {
        self.0.push(format!("waiting for {}", pending.holder.pid.unwrap()));
    }
}

#[test]
fn s27_a_push_ends_a_wait_however_long_it_was_and_whatever_comes_between() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        for _ in 0..3 {
            // Two answers that say that it waits are as good as one.
            peer.respond(id, pending(&call(), true), b"");
            let (ping, request, _) = peer.request().unwrap();
            assert_eq!((ping > id, request), (true, Request::Ping));
            peer.respond(ping, Response::Pong, b"");
        }
        peer.respond(id, hit(&call(), &[("a", b"12", Delivery::Inline)]), b"12");
        let (id, _, _) = peer.request().unwrap();
        peer.respond(id, Response::Pong, b"");
        peer.until_end();
    });
    let client = daemon.builder().silence(SHORT).build();
    let mut sink = Witness::default();
    let found = client.claim_into(&call(), &ClaimOptions::default(), &mut sink).unwrap();
    assert!(matches!(found, ClaimFound::Hit(_)));
    assert_eq!(sink.0, ["waiting for 8", "begin a", "2 bytes"]);
    client.ping().unwrap();
    assert_eq!(daemon.connections(), 1, "all pings were answered, so it is used again");
}

#[test]
fn s27_a_push_is_not_kept_waiting_by_a_pong_that_is_due() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        let (ping, _, _) = peer.request().unwrap();
        // The answer overtakes the pong, which then comes in the middle of the stream.
        peer.respond(id, hit(&call(), &[("a", b"1234", Delivery::Stream)]), b"");
        peer.respond(id, Response::Chunk { output: 0, offset: 0 }, b"12");
        peer.respond(ping, Response::Pong, b"");
        peer.respond(id, Response::Chunk { output: 0, offset: 2 }, b"34");
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        peer.request();
        peer.respond(id, hit(&call(), &[("a", b"1234", Delivery::Inline)]), b"1234");
        // A pong is still due here, and nothing else is answered.
        peer.until_end();
    });
    let client = daemon.builder().silence(SHORT).build();
    for connections in [1, 1, 2] {
        let Claimed::Hit(got) = claim(&client).unwrap() else { panic!() };
        assert_eq!(got.outputs[0].content.to_bytes().unwrap(), &b"1234"[..]);
        assert_eq!(daemon.connections(), connections);
    }
}

#[test]
fn s34_a_daemon_that_hangs_while_a_claim_waits_is_noticed() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        peer.until_end();
    });
    let client = daemon.builder().silence(SHORT).deadline(SHORT).build();
    for connections in 1..=3 {
        let begun = Instant::now();
        let failed = claim(&client).unwrap_err();
        let took = begun.elapsed();
        assert!(failed.to_string().contains(" did not give a sign of life within "), "{failed}");
        let Error::Timeout { after, .. } = failed else { panic!("{failed}") };
        assert!(after >= SHORT * 2 && after <= took && took < LONG, "{after:?} of {took:?}");
        assert_eq!(daemon.connections(), connections, "it is not asked a second time");
    }
    assert!(matches!(claim(&client), Err(Error::BreakerOpen)));
}

#[test]
fn s27_a_wait_that_the_daemon_does_not_end_is_ended_here() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        assert!(peer.but_pings().is_none());
    });
    let options = ClaimOptions { wait: Wait::AtMost(SHORT), ..ClaimOptions::default() };
    for silence in [SHORT / 2, LONG * 10] {
        let client = daemon.builder().silence(silence).deadline(SHORT * 4).build();
        let begun = Instant::now();
        let failed = client.claim(&call(), &options).unwrap_err();
        assert!(matches!(failed, Error::Timeout { after, .. } if after == SHORT * 5), "{failed}");
        assert!(begun.elapsed() >= SHORT * 5 && begun.elapsed() < LONG);
    }
}

#[test]
fn a_pong_that_comes_after_the_lease_does_not_spoil_it() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        let (ping, _, _) = peer.request().unwrap();
        peer.respond(id, leased(&call()), b"");
        peer.respond(ping, Response::Pong, b"");
        peer.take_put(PutOutcome::Populated).unwrap();
        let (id, _, _) = peer.request().unwrap();
        peer.respond(id, Response::Pong, b"");
    });
    let client = daemon.builder().silence(SHORT).build();
    let Claimed::Leased(lease) = claim(&client).unwrap() else { panic!() };
    let source = Source::Bytes(Bytes::new());
    let output = PutOutput { name: "a".into(), literal_type: LiteralType::Bytes, source };
    lease.put(&call(), vec![output], &PutOptions::default()).unwrap();
    client.ping().unwrap();
    assert_eq!(daemon.connections(), 1);
}
