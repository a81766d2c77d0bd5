//! Tests of memoizing serialized calls: one computes, the others wait, and the task runs whatever
//! happens to the daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::cell::Cell;

use memod_protocol::{
    Delivery, ErrorCode, Literal, LiteralType, MissReason, PutOutcome, Request, Response, WireError,
};

use super::*;
use crate::mode::Mode;
use crate::options::Wait;
use crate::outputs::Source;
use crate::status::{CacheStatus, ReservationStatus};
use crate::testing::{
    FakeDaemon, Peer, builder, call_with_outputs, forgetting, hit, holder, leased, miss, pending,
    telling,
};

const SHORT: Duration = Duration::from_millis(50);

fn call() -> Call {
    call_with_outputs(&["o0"], &LiteralType::Integer)
}

fn integer(value: i64) -> PutOutput {
    PutOutput {
        name: "o0".into(),
        literal_type: LiteralType::Integer,
        source: Source::Literal(Literal::Integer(value)),
    }
}

fn blob(value: i64) -> Bytes {
    Literal::Integer(value).to_blob(&LiteralType::Integer).unwrap()
}

fn serialized() -> MemoizeOptions {
    MemoizeOptions { serialize: true, ..MemoizeOptions::default() }
}

/// Answers a claim with a hit of 7.
fn respond_hit(peer: &mut Peer, id: u64) {
    let bytes = blob(7);
    peer.respond(id, hit(&call(), &[("o0", &bytes, Delivery::Inline)]), &bytes);
}

/// Runs the call; gives the report and how often it was computed.
fn run(client: &Client, options: &MemoizeOptions) -> (Memoized, u32) {
    let runs = Cell::new(0);
    let memoized = client.memoize(&call(), options, || {
        runs.set(runs.get() + 1);
        Ok::<_, ()>(vec![integer(42)])
    });
    (memoized.unwrap(), runs.get())
}

#[test]
fn s25_who_has_the_lease_computes_stores_and_releases_it() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, leased(&call()), b"");
        peer.take_put(PutOutcome::Populated).unwrap();
        let (id, _, _) = peer.request().unwrap();
        peer.respond(id, Response::Pong, b"");
    });
    let client = daemon.client();
    let recall = client.recall(&call(), &serialized());
    assert_eq!(recall.reservation(), ReservationStatus::Acquired);
    assert_eq!(recall.status(), CacheStatus::Miss);
    let report = client.store(&call(), recall, vec![integer(42)], Duration::from_secs(1));
    assert_eq!(report.store, CacheStatus::Populated, "{:?}", report.store_error);
    assert_eq!(report.reservation, ReservationStatus::Released);
    assert!(report.lease_error.is_none());
    assert_eq!(report.miss.unwrap().reason, MissReason::NeverSeen);
    client.ping().unwrap();
    assert_eq!(daemon.connections(), 1);
}

#[test]
fn s28_a_task_that_fails_gives_the_lease_back_at_once() {
    let (daemon, told) = telling(|_, peer, tell| {
        let id = peer.claimed();
        peer.respond(id, leased(&call()), b"");
        assert!(peer.request().is_none());
        tell("ended");
    });
    let client = daemon.client();
    let failed = client.memoize(&call(), &serialized(), || Err::<Vec<PutOutput>, _>("why"));
    assert!(matches!(failed, Err(MemoizeError::Compute("why"))));
    told.expect("ended");
    let panicked = std::panic::catch_unwind(|| {
        let compute = || -> Result<Vec<PutOutput>, ()> { std::panic::resume_unwind(Box::new(1)) };
        let _ = client.memoize(&call(), &serialized(), compute);
    });
    assert!(panicked.is_err());
    told.expect("ended");
    drop(client.recall(&call(), &serialized()));
    told.expect("ended");
}

#[test]
fn s28_outputs_that_cannot_be_stored_give_the_lease_back() {
    let (daemon, told) = telling(|_, peer, tell| {
        let id = peer.claimed();
        peer.respond(id, leased(&call()), b"");
        assert!(peer.request().is_none());
        tell("ended");
    });
    let client = daemon.client();
    let recall = client.recall(&call(), &serialized());
    let report = client.store(&call(), recall, vec![], Duration::ZERO);
    assert_eq!(report.store, CacheStatus::PutFailure);
    assert_eq!(report.reservation, ReservationStatus::Released);
    told.expect("ended");
}

#[test]
fn s27_who_waits_gets_the_outputs_and_runs_nothing() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        respond_hit(peer, id);
        let id = peer.claimed();
        respond_hit(peer, id);
    });
    let client = daemon.client();
    let (memoized, runs) = run(&client, &serialized());
    assert_eq!((memoized.status, runs), (CacheStatus::Hit, 0));
    assert_eq!(memoized.reservation, ReservationStatus::Exists);
    let (memoized, runs) = run(&client, &serialized());
    assert_eq!((memoized.status, runs), (CacheStatus::Hit, 0));
    assert_eq!(memoized.reservation, ReservationStatus::Disabled, "none was needed");
}

#[test]
fn s27_a_wait_in_vain_ends_in_a_run_without_the_lease() {
    let daemon = FakeDaemon::new(|peer| {
        let (id, request, _) = peer.request().unwrap();
        let Request::Claim(claim) = request else { panic!() };
        assert_eq!((claim.take, claim.owner, claim.wait_ms), (true, None, Some(50)));
        peer.respond(id, pending(&call(), true), b"");
        peer.respond(id, pending(&call(), false), b"");
        peer.take_put(PutOutcome::Populated).unwrap();
    });
    let options = MemoizeOptions { wait: Wait::AtMost(SHORT), ..serialized() };
    let (memoized, runs) = run(&daemon.client(), &options);
    assert_eq!((memoized.status, runs), (CacheStatus::Miss, 1));
    assert_eq!(memoized.reservation, ReservationStatus::Exists);
    assert_eq!(memoized.store, CacheStatus::Populated);
    assert_eq!((memoized.miss, memoized.pending.unwrap().holder), (None, holder()));
    assert_eq!(daemon.connections(), 1);
}

#[test]
fn s34_whatever_happens_to_the_daemon_the_task_runs() {
    let busy = FakeDaemon::answering(|_, _| {
        Some((Response::Error(WireError::new(ErrorCode::Busy, "many wait")), vec![]))
    });
    let hung = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        peer.until_end();
    });
    let killed = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
    });
    let absent = builder(std::path::Path::new("/nonexistent/memod.sock"));
    for builder in [busy.builder(), hung.builder(), killed.builder(), absent] {
        let client = builder.silence(SHORT).deadline(SHORT).build();
        let (memoized, runs) = run(&client, &serialized());
        assert_eq!((memoized.status, runs), (CacheStatus::LookupFailure, 1));
        assert_eq!(memoized.reservation, ReservationStatus::Failure);
        assert!(memoized.lookup_error.is_some());
    }
}

#[test]
fn s31_a_lost_lease_does_not_void_the_run() {
    let (daemon, told) = forgetting(call());
    let (memoized, runs) = run(&daemon.client(), &serialized());
    assert_eq!((memoized.store, runs), (CacheStatus::Populated, 1));
    // Another may have run it meanwhile, which is told.
    assert_eq!(memoized.reservation, ReservationStatus::Failure);
    assert!(matches!(memoized.lease_error, Some(Error::LeaseLost)));
    told.expect("put");
}

#[test]
fn s23_modes_that_do_not_read_and_write_take_no_lease() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Claim(claim) if !claim.take => {
            Some((Response::Miss(miss(&call(), MissReason::NeverSeen)), vec![]))
        }
        Request::Put(put) if put.overwrite => Some((Response::Put(PutOutcome::Populated), vec![])),
        other => panic!("{other:?}"),
    });
    for (mode, status, store) in [
        (Mode::ReadOnly, CacheStatus::Miss, CacheStatus::Disabled),
        (Mode::Disabled, CacheStatus::Disabled, CacheStatus::Disabled),
        (Mode::Overwrite, CacheStatus::Skipped, CacheStatus::Populated),
    ] {
        let options = MemoizeOptions { mode: Some(mode), ..serialized() };
        let (memoized, runs) = run(&daemon.client(), &options);
        assert_eq!((memoized.status, memoized.store, runs), (status, store, 1), "{mode:?}");
        assert_eq!(memoized.reservation, ReservationStatus::Disabled, "{mode:?}");
    }
    assert_eq!(daemon.connections(), 2);
}

/// One who only watches is told that the outputs did not come, and why is not known.
#[test]
fn s23_a_reader_waits_for_others_too() {
    let daemon = FakeDaemon::new(|peer| {
        let id = peer.claimed();
        peer.respond(id, pending(&call(), true), b"");
        peer.respond(id, Response::Miss(miss(&call(), MissReason::NeverSeen)), b"");
        peer.until_end();
    });
    let options = MemoizeOptions { mode: Some(Mode::ReadOnly), ..serialized() };
    let (memoized, runs) = run(&daemon.client(), &options);
    assert_eq!((memoized.status, runs), (CacheStatus::Miss, 1));
    assert_eq!(memoized.reservation, ReservationStatus::Exists);
}
