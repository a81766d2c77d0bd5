//! Tests of the async client against a fake daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::limits::{CHUNK_BYTES, INLINE_BYTES_MAX};
use memod_protocol::{
    Delivery, Digest, ErrorCode, LiteralType, Miss, MissReason, OutputSource, Request, Response,
    WireError,
};

use super::*;
use crate::content::Content;
use crate::memo::MemoizeError;
use crate::options::MemoizeOptions;
use crate::outputs::Source;
use crate::status::CacheStatus;
use crate::testing::{FakeDaemon, Peer, builder, call_with_outputs, hit};

const SHORT: Duration = Duration::from_millis(100);

fn call() -> Call {
    call_with_outputs(&["a", "b"], &LiteralType::Bytes)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

fn output(name: &str, source: Source) -> PutOutput {
    PutOutput { name: name.into(), literal_type: LiteralType::Bytes, source }
}

fn pong() -> FakeDaemon {
    FakeDaemon::answering(|_, _| Some((Response::Pong, vec![])))
}

#[tokio::test]
async fn a_hit_comes_byte_by_byte_in_memory_or_in_a_file() {
    let chunk = CHUNK_BYTES as usize;
    for length in [0, 1, chunk + 1, 3 * chunk + 5] {
        let (a, b) = (pattern(1000), pattern(length));
        let (served_a, served_b) = (a.clone(), b.clone());
        let daemon = FakeDaemon::new(move |peer| {
            while let Some((id, _, _)) = peer.request() {
                let contents =
                    [("a", &*served_a, Delivery::Inline), ("b", &*served_b, Delivery::Stream)];
                peer.respond(id, hit(&call(), &contents), &served_a);
                let mut offset = 0;
                for piece in served_b.chunks(700_001) {
                    peer.respond(id, Response::Chunk { output: 1, offset }, piece);
                    offset += piece.len() as u64;
                }
            }
        });
        for memory_bytes_max in [0, 1000, 64 * 1024 * 1024] {
            let client = daemon.builder().memory_bytes_max(memory_bytes_max).build_async();
            for _ in 0..2 {
                let found = client.lookup(&call(), &LookupOptions::default()).await.unwrap();
                let Lookup::Hit(hit) = found else { panic!() };
                let [got_a, got_b] = hit.outputs.try_into().unwrap();
                let in_memory = (1000 + b.len() as u64) <= memory_bytes_max || b.is_empty();
                assert_eq!(matches!(got_b.content, Content::Memory(_)), in_memory);
                assert!(got_a.content.into_bytes().unwrap() == a);
                assert!(got_b.content.into_bytes().unwrap() == b);
            }
        }
        assert_eq!(daemon.connections(), 3, "one for each client");
    }
}

#[tokio::test]
async fn every_kind_of_source_arrives_whole() {
    let inline = usize::try_from(INLINE_BYTES_MAX).unwrap();
    for length in [0, inline + 1, 3 * CHUNK_BYTES as usize + 7] {
        let content = pattern(length);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        for source in [
            Source::Bytes(Bytes::from(content.clone())),
            Source::Reader(Box::new(std::io::Cursor::new(content.clone()))),
            Source::File(file.path().to_owned()),
        ] {
            let expected = content.clone();
            let daemon = FakeDaemon::new(move |peer| {
                let mut uploaded = Vec::new();
                while let Some((id, request, payload)) = peer.request() {
                    match request {
                        Request::Announce(_) => peer.respond(id, Response::Awaited, b""),
                        Request::UploadData { .. } => uploaded.extend_from_slice(&payload),
                        Request::UploadEnd { .. } => {
                            let (digest, bytes) = (Digest::of(&uploaded), uploaded.len() as u64);
                            peer.respond(id, Response::Uploaded { digest, bytes }, b"");
                        }
                        Request::Put(put) => {
                            let b = match put.outputs[1].source {
                                OutputSource::Inline => payload.slice(5..).to_vec(),
                                OutputSource::Upload(_) => std::mem::take(&mut uploaded),
                            };
                            assert!(payload.starts_with(b"small") && b == expected);
                            peer.respond(id, Response::Put(PutOutcome::Populated), b"");
                        }
                        other => panic!("{other:?}"),
                    }
                }
            });
            let small = output("a", Source::Bytes(Bytes::from_static(b"small")));
            let client = daemon.builder().build_async();
            let outputs = vec![output("b", source), small];
            let outcome = client.put(&call(), outputs, &PutOptions::default()).await;
            assert_eq!(outcome.unwrap(), PutOutcome::Populated);
        }
    }
}

#[tokio::test]
async fn connections_are_used_again_and_stale_ones_replaced() {
    let daemon = pong();
    let client = daemon.builder().build_async();
    for _ in 0..10 {
        client.ping().await.unwrap();
    }
    assert_eq!(daemon.connections(), 1);
    let restarting = FakeDaemon::new(|peer| {
        let (id, _, _) = peer.request().unwrap();
        peer.respond(id, Response::Pong, b"");
        peer.request();
    });
    let client = restarting.builder().build_async();
    for connections in 1..=5 {
        client.ping().await.unwrap();
        assert_eq!(restarting.connections(), connections);
    }
}

#[test]
fn a_client_that_outlives_its_runtime_connects_anew() {
    let daemon = pong();
    let client = daemon.builder().build_async();
    for connections in 1..=3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { client.ping().await.unwrap() });
        assert_eq!(daemon.connections(), connections);
    }
}

#[tokio::test]
async fn a_future_that_is_dropped_closes_its_connection() {
    let (told, ended) = std::sync::mpsc::sync_channel(1);
    let told = Mutex::new(told);
    let daemon = FakeDaemon::new(move |peer| {
        peer.until_end();
        told.lock().unwrap().send(()).unwrap();
    });
    let client = daemon.builder().deadline(Duration::from_secs(3600)).build_async();
    assert!(tokio::time::timeout(SHORT, client.ping()).await.is_err());
    tokio::task::spawn_blocking(move || ended.recv().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_hung_daemon_costs_three_deadlines_and_then_nothing() {
    let daemon = FakeDaemon::new(Peer::until_end);
    let client = daemon.builder().deadline(SHORT).build_async();
    for _ in 0..3 {
        assert!(matches!(client.stats().await, Err(Error::Timeout { .. })));
    }
    assert!(matches!(client.stats().await, Err(Error::BreakerOpen)));
    assert_eq!(daemon.connections(), 3);
    assert!(matches!(client.ping().await, Err(Error::Timeout { .. })));
    assert!(matches!(client.status().await, Err(Error::Timeout { .. })));
    assert_eq!(daemon.connections(), 5);
}

#[tokio::test]
async fn faults_of_the_daemon_never_become_the_tasks() {
    let refusing = FakeDaemon::answering(|_, _| {
        Some((Response::Error(WireError::new(ErrorCode::Forbidden, "no")), vec![]))
    });
    let hanging_up = FakeDaemon::new(|peer| drop(peer.request()));
    let absent = builder(std::path::Path::new("/nonexistent/memod.sock"));
    for builder in [refusing.builder(), hanging_up.builder(), absent] {
        let runs = AtomicU32::new(0);
        let compute = || async {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok::<_, ()>(["a", "b"].map(|n| output(n, Source::Bytes(Bytes::new()))).into())
        };
        let client = builder.build_async();
        let memoized = client.memoize(&call(), &MemoizeOptions::default(), compute).await.unwrap();
        assert_eq!(memoized.status, CacheStatus::LookupFailure);
        assert_eq!(memoized.store, CacheStatus::PutFailure);
        assert_eq!((memoized.outputs.len(), runs.into_inner()), (2, 1));
    }
}

#[tokio::test]
async fn a_miss_is_computed_and_stored_and_a_failure_is_not() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Lookup(_) => {
            let (key, reason) = (call().key().unwrap(), MissReason::NeverSeen);
            let miss = Miss { key, reason, at_ms: None, by_uid: None, detail: None };
            Some((Response::Miss(miss), vec![]))
        }
        _ => Some((Response::Put(PutOutcome::Populated), vec![])),
    });
    let client = daemon.builder().build_async();
    let options = MemoizeOptions::default();
    let reader = || Source::Reader(Box::new(std::io::Cursor::new(b"read".to_vec())));
    let compute =
        move || async move { Ok::<_, ()>(vec![output("a", reader()), output("b", reader())]) };
    // Spawned, because such futures must be able to move between threads.
    let memoized = {
        let (client, options) = (client.clone(), options.clone());
        tokio::spawn(async move { client.memoize(&call(), &options, compute).await.unwrap() })
    };
    let memoized = memoized.await.unwrap();
    assert_eq!((memoized.status, memoized.store), (CacheStatus::Miss, CacheStatus::Populated));
    assert_eq!(memoized.outputs[1].content.to_bytes().unwrap(), &b"read"[..]);
    let failing = || async { Err::<Vec<PutOutput>, _>("why") };
    let failed = client.memoize(&call(), &options, failing).await;
    assert!(matches!(failed, Err(MemoizeError::Compute("why"))));
}
