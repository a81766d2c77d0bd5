//! Tests of memoizing: the task runs whatever happens to the daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use memod_protocol::{
    Delivery, ErrorCode, Literal, LiteralType, Miss, MissReason, Put, PutOutcome, Request,
    Response, WireError,
};

use super::*;
use crate::mode::Mode;
use crate::outputs::Source;
use crate::status::CacheStatus;
use crate::testing::{FakeDaemon, Peer, builder, call_with_outputs, hit, provenance};

const SHORT: Duration = Duration::from_millis(100);
/// What no bounded wait of these tests comes near, on however busy a machine.
const LONG: Duration = Duration::from_secs(8);

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

fn miss(reason: MissReason) -> Response {
    let key = call().key().unwrap();
    Response::Miss(Miss { key, reason, at_ms: None, by_uid: None, detail: None })
}

/// Runs the call; gives the report, the value and how often it was computed.
fn run(client: &Client, options: &MemoizeOptions) -> (Memoized, i64, u32) {
    let runs = Cell::new(0);
    let memoized = client.memoize(&call(), options, || {
        runs.set(runs.get() + 1);
        Ok::<_, ()>(vec![integer(42)])
    });
    let memoized = memoized.unwrap();
    let Literal::Integer(value) = memoized.outputs[0].literal().unwrap() else { panic!() };
    (memoized, value, runs.get())
}

#[test]
fn a_hit_does_not_run_the_task_and_tells_what_it_saved() {
    let daemon = FakeDaemon::answering(|_, _| {
        let bytes = blob(7);
        Some((hit(&call(), &[("o0", &bytes, Delivery::Inline)]), bytes.to_vec()))
    });
    let (memoized, value, runs) = run(&daemon.client(), &MemoizeOptions::default());
    assert_eq!((value, runs), (7, 0));
    assert_eq!((memoized.status, memoized.store), (CacheStatus::Hit, CacheStatus::Skipped));
    assert_eq!(memoized.provenance, Some(provenance()));
    assert_eq!(memoized.key, Some(call().key().unwrap()));
    let saved = memoized.saved().unwrap();
    assert_eq!(saved, Duration::from_secs(5).saturating_sub(memoized.lookup_time));
    assert!(saved > Duration::from_secs(4));
}

#[test]
fn a_miss_runs_the_task_once_and_stores_it() {
    for outcome in [PutOutcome::Populated, PutOutcome::Exists(provenance())] {
        let puts = Arc::new(Mutex::new(Vec::<Put>::new()));
        let (kept, answer) = (Arc::clone(&puts), outcome.clone());
        let daemon = FakeDaemon::answering(move |request, payload| match request {
            Request::Lookup(_) => Some((miss(MissReason::NeverSeen), vec![])),
            Request::Put(put) => {
                assert_eq!(payload, blob(42));
                kept.lock().unwrap().push(*put);
                Some((Response::Put(answer.clone()), vec![]))
            }
            other => panic!("{other:?}"),
        });
        let options =
            MemoizeOptions { max_age: Some(Duration::from_secs(9)), ..MemoizeOptions::default() };
        let (memoized, value, runs) = run(&daemon.client(), &options);
        assert_eq!((value, runs), (42, 1));
        assert_eq!((memoized.status, memoized.store), (CacheStatus::Miss, CacheStatus::Populated));
        assert_eq!(memoized.put, Some(outcome));
        let puts = puts.lock().unwrap();
        assert_eq!(puts.len(), 1);
        assert_eq!((puts[0].overwrite, puts[0].max_age_ms), (false, Some(9000)));
        assert!(puts[0].run.compute_ns.is_some());
        assert_eq!(puts[0].outputs[0].digest, Some(Digest::of(&blob(42))));
    }
}

#[test]
fn a_task_that_fails_stores_nothing_and_its_error_is_passed_on() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Lookup(_) => Some((miss(MissReason::NeverSeen), vec![])),
        other => panic!("{other:?}"),
    });
    let failed = daemon
        .client()
        .memoize(&call(), &MemoizeOptions::default(), || Err::<Vec<PutOutput>, _>("why"));
    assert!(matches!(failed, Err(MemoizeError::Compute("why"))));
    let unreadable = || {
        let source = Source::File("/nonexistent/output".into());
        Ok::<_, ()>(vec![PutOutput { source, ..integer(1) }])
    };
    let failed = daemon.client().memoize(&call(), &MemoizeOptions::default(), unreadable);
    assert!(matches!(failed, Err(MemoizeError::Outputs(Error::Local { .. }))));
}

/// How a fake daemon serves a connection.
type Serve = Box<dyn Fn(&mut Peer) + Send + Sync>;

/// Checks that the task ran once, gave its value, and that both halves failed in time.
fn check_fault(what: &str, client: &Client) {
    let begun = Instant::now();
    let (memoized, value, runs) = run(client, &MemoizeOptions::default());
    assert_eq!((value, runs), (42, 1), "{what}");
    assert_eq!(memoized.status, CacheStatus::LookupFailure, "{what}");
    assert_eq!(memoized.store, CacheStatus::PutFailure, "{what}");
    assert!(memoized.lookup_error.is_some() && memoized.store_error.is_some(), "{what}");
    assert!(begun.elapsed() < LONG, "{what}");
}

#[test]
fn no_fault_of_the_daemon_becomes_one_of_the_task() {
    let error = |code| Response::Error(WireError::new(code, "no"));
    check_fault("absent", &builder(std::path::Path::new("/nonexistent/memod.sock")).build());
    let broken: [(&str, Serve); 6] = [
        ("hung", Box::new(Peer::until_end)),
        ("dies when asked", Box::new(|peer| drop(peer.request()))),
        (
            "dies in the middle of a frame",
            Box::new(|peer| {
                peer.request();
                let _ = std::io::Write::write_all(&mut peer.socket, &[9, 0, 0]);
            }),
        ),
        (
            "garbage",
            Box::new(|peer| {
                peer.request();
                let _ = std::io::Write::write_all(&mut peer.socket, &[0xa5; 4096]);
            }),
        ),
        (
            "forbids",
            Box::new(move |peer| {
                while let Some((id, _, _)) = peer.request() {
                    peer.respond(id, error(ErrorCode::Forbidden), b"");
                }
            }),
        ),
        (
            "answers another question",
            Box::new(|peer| {
                while let Some((id, _, _)) = peer.request() {
                    peer.respond(id, Response::Pong, b"");
                }
            }),
        ),
    ];
    for (what, serve) in broken {
        let daemon = FakeDaemon::new(serve);
        check_fault(what, &daemon.builder().deadline(SHORT).stall(SHORT).build());
    }
    let other = FakeDaemon::raw(|mut peer| {
        peer.frame();
        let error = WireError::new(ErrorCode::VersionMismatch, "speaks 9");
        let (magic, versions) = (memod_protocol::handshake::MAGIC, vec![9]);
        peer.send(&memod_protocol::handshake::Welcome::Refused { magic, versions, error }, b"");
    });
    check_fault("another version", &other.client());
}

#[test]
fn a_daemon_that_is_full_costs_only_the_storing() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Lookup(_) => Some((miss(MissReason::NeverSeen), vec![])),
        _ => Some((Response::Error(WireError::new(ErrorCode::OverBudget, "full")), vec![])),
    });
    let (memoized, value, _) = run(&daemon.client(), &MemoizeOptions::default());
    assert_eq!(value, 42);
    assert_eq!((memoized.status, memoized.store), (CacheStatus::Miss, CacheStatus::PutFailure));
}

#[test]
fn a_call_overrides_the_clients_mode() {
    let daemon = FakeDaemon::answering(|request, _| panic!("{request:?}"));
    let options = |mode| MemoizeOptions { mode: Some(mode), ..MemoizeOptions::default() };
    let (memoized, value, runs) = run(&daemon.client(), &options(Mode::Disabled));
    assert_eq!((value, runs), (42, 1));
    assert_eq!((memoized.status, memoized.store), (CacheStatus::Disabled, CacheStatus::Disabled));
    assert_eq!(daemon.connections(), 0);
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Put(put) if put.overwrite => Some((Response::Put(PutOutcome::Populated), vec![])),
        other => panic!("{other:?}"),
    });
    let (memoized, ..) = run(&daemon.client(), &options(Mode::Overwrite));
    assert_eq!((memoized.status, memoized.store), (CacheStatus::Skipped, CacheStatus::Populated));
}

#[test]
fn a_wrong_call_still_runs() {
    let daemon = FakeDaemon::answering(|request, _| panic!("{request:?}"));
    let mut wrong = call();
    wrong.cache_version = String::new();
    let compute = || Ok::<_, ()>(vec![integer(42)]);
    let memoized = daemon.client().memoize(&wrong, &MemoizeOptions::default(), compute).unwrap();
    assert_eq!(memoized.status, CacheStatus::LookupFailure);
    assert_eq!(memoized.store, CacheStatus::PutFailure);
    assert!(matches!(memoized.lookup_error, Some(Error::Invalid(_))));
    assert_eq!(memoized.key, None);
}

#[test]
fn readers_are_both_given_back_and_stored_in_memory_or_in_a_file() {
    for length in [0, 10, 11, 3_000_000] {
        let content: Vec<u8> = (0..=250).cycle().take(length).collect();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let stored = Arc::clone(&kept);
        let daemon = FakeDaemon::new(move |peer| {
            while let Some((id, request, payload)) = peer.request() {
                stored.lock().unwrap().extend_from_slice(&payload);
                let bytes = stored.lock().unwrap().len() as u64;
                let digest = Digest::of(&stored.lock().unwrap());
                match request {
                    Request::Announce(_) => peer.respond(id, Response::Awaited, b""),
                    Request::UploadData { .. } => {}
                    Request::UploadEnd { digest: claimed, .. } => {
                        assert_eq!(claimed, Some(digest));
                        peer.respond(id, Response::Uploaded { digest, bytes }, b"");
                    }
                    _ => peer.respond(id, Response::Put(PutOutcome::Populated), b""),
                }
            }
        });
        let call = call_with_outputs(&["o0"], &LiteralType::File);
        let client = daemon.builder().memory_bytes_max(10).mode(Mode::Overwrite).build();
        let source = Source::Reader(Box::new(io::Cursor::new(content.clone())));
        let output = PutOutput { literal_type: LiteralType::File, source, name: "o0".into() };
        let compute = || Ok::<_, ()>(vec![output]);
        let memoized = client.memoize(&call, &MemoizeOptions::default(), compute).unwrap();
        assert_eq!(memoized.store, CacheStatus::Populated, "{:?}", memoized.store_error);
        let [output] = <[HitOutput; 1]>::try_from(memoized.outputs).unwrap();
        assert_eq!((output.bytes, output.digest), (length as u64, Digest::of(&content)));
        assert_eq!(matches!(output.content, Content::Memory(_)), length <= 10);
        assert!(output.content.into_bytes().unwrap() == content);
        assert!(*kept.lock().unwrap() == content);
    }
}

#[test]
fn a_hit_that_cannot_be_decoded_is_computed_again_and_replaced() {
    let daemon = FakeDaemon::answering(|request, _| {
        let bytes = blob(7);
        Some(match request {
            Request::Lookup(_) => {
                (hit(&call(), &[("o0", &bytes, Delivery::Inline)]), bytes.to_vec())
            }
            Request::Put(put) => {
                assert!(put.overwrite);
                (Response::Put(PutOutcome::Populated), vec![])
            }
            other => panic!("{other:?}"),
        })
    });
    let memoize = |decodes: bool| {
        let decode = |outputs: &[HitOutput]| match outputs[0].literal()? {
            Literal::Integer(value) if decodes => Ok(value),
            _ => Err(Error::Protocol("an older layout".into())),
        };
        let encode = |value: &i64| Ok(vec![integer(*value)]);
        let compute = || Ok::<i64, ()>(42);
        daemon.client().memoize_value(&call(), &MemoizeOptions::default(), compute, encode, decode)
    };
    let good = memoize(true).unwrap();
    assert_eq!((good.outputs, good.status), (7, CacheStatus::Hit));
    let replaced = memoize(false).unwrap();
    assert_eq!((replaced.outputs, replaced.status), (42, CacheStatus::Miss));
    assert_eq!(replaced.store, CacheStatus::Populated);
    assert_eq!(replaced.miss.unwrap().reason, MissReason::Corrupt);
    assert_eq!(replaced.provenance, None);
}
