//! Semantics 27: ten thousand wait for one key, and one execution serves them all.

use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, call, resident_bytes};
use memod_protocol::{PutOutcome, Request, Response};

use super::hold::all_is_quiet;
use crate::bystander::assert_bounded;

/// How long the wake-up of all of them may take on a busy machine.
const AWAKE_MAX: Duration = Duration::from_secs(20);
/// Claims sent at a time: what is in flight of one connection.
const BATCH: usize = 50;
/// What the daemon may hold more once they are gone.
const LEFT_BYTES_MAX: u64 = 96 << 20;

/// Has every connection claim so often; gives how many times the lease was granted.
fn gather(crowd: &mut [Raw], claims: usize, one: &CallBuilder) -> usize {
    let mut leases = 0;
    for raw in crowd {
        let mut left = claims;
        while left > 0 {
            let batch = left.min(BATCH);
            for _ in 0..batch {
                raw.send(Request::Claim(Box::new(one.claim())), Bytes::new());
            }
            for _ in 0..batch {
                match raw.read_reply().expect("an answer").response {
                    Response::Leased(_) => leases += 1,
                    Response::Pending(pending) => assert!(pending.waiting),
                    other => panic!("nobody has made it yet: {other:?}"),
                }
            }
            left -= batch;
        }
    }
    leases
}

/// So many connections with so many claims each, one of which computes; all others hit.
fn one_execution_serves(connections: usize, claims: usize) {
    let daemon = Daemon::new();
    let one = call("crowd");
    let mut crowd: Vec<Raw> = (0..connections).map(|_| daemon.connect()).collect();
    let mut observer = daemon.connect();
    let before = resident_bytes(daemon.pid());
    let waiters = (connections * claims - 1) as u64;
    assert_eq!(gather(&mut crowd, claims, &one), 1, "exactly one computes");
    assert_eq!(observer.leases_and_waiters(), (1, waiters));

    // It was the first to ask, and commits over the same connection.
    let begun = Instant::now();
    let (put, payload) = one.put(&[("o0", b"made once")]);
    crowd[0].send(Request::Put(Box::new(put)), payload);
    let mut hits = 0;
    for (number, raw) in crowd.iter_mut().enumerate() {
        // The first has the answer to its put, and one claim less that waited.
        for _ in 0..claims {
            let reply = raw.read_reply().expect("an answer");
            match reply.response {
                Response::Hit(hit) => {
                    assert_eq!(raw.contents(&hit, reply.payload), ["made once"]);
                    hits += 1;
                }
                Response::Put(PutOutcome::Populated) => assert_eq!(number, 0),
                other => panic!("a hit was due, not {other:?}"),
            }
        }
    }
    let took = begun.elapsed();
    println!("{waiters} waiters over {connections} connections had their hits within {took:?}");
    assert_eq!(hits, waiters);
    assert!(took < AWAKE_MAX, "the last was woken after {took:?}");
    let stats = observer.stats();
    assert_eq!((stats.leases, stats.waiters), (0, 0));
    assert_eq!((stats.hits, stats.misses, stats.puts), (waiters, 1, 1));
    drop(crowd);
    all_is_quiet(&daemon);
    assert_bounded(&daemon);
    let after = resident_bytes(daemon.pid());
    assert!(after < before + LEFT_BYTES_MAX, "{before} bytes before, {after} after");
}

#[test]
fn s27_ten_thousand_waiters_over_one_connection() {
    one_execution_serves(1, 10_000);
}

#[test]
fn s27_ten_thousand_waiters_over_few_connections() {
    one_execution_serves(10, 1000);
}

#[test]
fn s27_ten_thousand_waiters_over_a_thousand_connections() {
    one_execution_serves(1000, 10);
}

#[test]
fn s28_the_lease_passes_through_a_crowd_of_which_each_fails() {
    let daemon = Daemon::new();
    let one = call("all fail");
    let mut crowd: Vec<Raw> = (0..200).map(|_| daemon.connect()).collect();
    assert_eq!(gather(&mut crowd, 1, &one), 1);
    let mut observer = daemon.connect();
    for left in (0..200).rev() {
        let owner = crowd.remove(0);
        assert_eq!(observer.leases_and_waiters(), (1, left));
        drop(owner);
        let Some(next) = crowd.first_mut() else { break };
        let reply = next.read_reply().expect("its turn");
        assert!(matches!(reply.response, Response::Leased(_)), "{:?}", reply.response);
    }
    all_is_quiet(&daemon);
}
