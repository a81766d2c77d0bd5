//! Tests of the blocking client against a fake daemon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::limits::{CHUNK_BYTES, INLINE_BYTES_MAX};
use memod_protocol::{
    Delivery, Digest, ErrorCode, LiteralType, Miss, MissReason, OutputSource, Request, Response,
    WireError,
};

use super::*;
use crate::content::Content;
use crate::outputs::Source;
use crate::testing::{FakeDaemon, Peer, builder, call_with_outputs, hit, provenance};

const SHORT: Duration = Duration::from_millis(100);
/// What no bounded wait of these tests comes near, on however busy a machine.
const LONG: Duration = Duration::from_secs(8);

fn call() -> Call {
    call_with_outputs(&["a", "b"], &LiteralType::Bytes)
}

fn error(code: ErrorCode) -> Response {
    Response::Error(WireError::new(code, "no"))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// Answers a lookup with `a` inline and `b` streamed in pieces.
fn serve_hit(peer: &mut Peer, a: &[u8], b: &[u8], piece: usize) {
    while let Some((id, _, _)) = peer.request() {
        let contents = [("a", a, Delivery::Inline), ("b", b, Delivery::Stream)];
        peer.respond(id, hit(&call(), &contents), a);
        let mut offset = 0;
        for piece in b.chunks(piece) {
            peer.respond(id, Response::Chunk { output: 1, offset }, piece);
            offset += piece.len() as u64;
        }
    }
}

#[test]
fn a_hit_comes_byte_by_byte_in_memory_or_in_a_file() {
    let chunk = CHUNK_BYTES as usize;
    for length in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk + 5] {
        let (a, b) = (pattern(1000), pattern(length));
        let (served_a, served_b) = (a.clone(), b.clone());
        let daemon = FakeDaemon::new(move |peer| serve_hit(peer, &served_a, &served_b, 700_001));
        for memory_bytes_max in [0, 1000, 64 * 1024 * 1024] {
            let client = daemon.builder().memory_bytes_max(memory_bytes_max).build();
            for _ in 0..2 {
                let found = client.lookup(&call(), &LookupOptions::default()).unwrap();
                let Lookup::Hit(hit) = found else { panic!() };
                assert_eq!(hit.age, Duration::from_millis(1500));
                assert_eq!(hit.provenance, provenance());
                let [got_a, got_b] = hit.outputs.try_into().unwrap();
                assert_eq!((got_a.name.as_str(), got_b.name.as_str()), ("a", "b"));
                assert_eq!((got_b.bytes, got_b.digest), (b.len() as u64, Digest::of(&b)));
                let in_memory = (1000 + b.len() as u64) <= memory_bytes_max || b.is_empty();
                assert_eq!(matches!(got_b.content, Content::Memory(_)), in_memory);
                assert!(got_a.content.into_bytes().unwrap() == a);
                assert!(got_b.content.into_bytes().unwrap() == b);
            }
        }
        assert_eq!(daemon.connections(), 3, "one for each client");
    }
}

#[test]
fn a_miss_is_a_value() {
    let key = call().key().unwrap();
    let detail = Some("an hour ago".to_owned());
    let miss = Miss { key, reason: MissReason::Evicted, at_ms: Some(5), by_uid: None, detail };
    let answer = miss.clone();
    let daemon = FakeDaemon::answering(move |request, _| {
        let Request::Lookup(lookup) = request else { panic!() };
        assert_eq!(lookup.max_age_ms, Some(60_000));
        Some((Response::Miss(answer.clone()), vec![]))
    });
    let options = LookupOptions { max_age: Some(Duration::from_secs(60)) };
    let Lookup::Miss(got) = daemon.client().lookup(&call(), &options).unwrap() else { panic!() };
    assert_eq!(got, miss);
}

#[test]
fn a_hit_of_other_outputs_is_a_corrupt_miss_and_its_connection_is_not_used_again() {
    let other = call_with_outputs(&["a", "b"], &LiteralType::String);
    let daemon = FakeDaemon::answering(move |_, _| {
        // Bytes of the streams may still come, so even a silent connection is spent.
        let contents = [("a", &b"x"[..], Delivery::Stream), ("b", &b"y"[..], Delivery::Stream)];
        let Response::Hit(mut answer) = hit(&other, &contents) else { panic!() };
        answer.key = call().key().unwrap();
        Some((Response::Hit(answer), vec![]))
    });
    let client = daemon.client();
    for connections in 1..=2 {
        let found = client.lookup(&call(), &LookupOptions::default()).unwrap();
        assert!(matches!(found, Lookup::Miss(miss) if miss.reason == MissReason::Corrupt));
        assert_eq!(daemon.connections(), connections);
    }
}

fn half_a_hit(peer: &mut Peer, id: u64) {
    let contents = [("a", &b""[..], Delivery::Inline), ("b", &b"12345"[..], Delivery::Stream)];
    peer.respond(id, hit(&call(), &contents), b"");
    peer.respond(id, Response::Chunk { output: 1, offset: 0 }, b"123");
}

#[test]
fn a_hit_that_breaks_off_is_an_error_and_its_connection_is_not_used_again() {
    let daemon = FakeDaemon::new(|peer| {
        let (id, _, _) = peer.request().unwrap();
        half_a_hit(peer, id);
    });
    let client = daemon.client();
    for connections in 1..=2 {
        let failed = client.lookup(&call(), &LookupOptions::default()).unwrap_err();
        assert!(matches!(failed, Error::Io { .. }), "{failed}");
        assert_eq!(daemon.connections(), connections);
    }
}

/// What turns out damaged is a miss, also in the middle of a stream.
#[test]
fn s22_a_hit_that_turns_out_damaged_is_a_miss_and_the_connection_goes_on() {
    let daemon = FakeDaemon::new(|peer| {
        while let Some((id, _, _)) = peer.request() {
            half_a_hit(peer, id);
            peer.respond(id, error(ErrorCode::Internal), b"");
        }
    });
    let client = daemon.client();
    for _ in 0..2 {
        let found = client.lookup(&call(), &LookupOptions::default()).unwrap();
        assert!(matches!(found, Lookup::Miss(miss) if miss.reason == MissReason::Corrupt));
        assert_eq!(daemon.connections(), 1);
    }
}

#[test]
fn a_stream_that_stands_still_is_given_up() {
    let daemon = FakeDaemon::new(|peer| {
        let (id, _, _) = peer.request().unwrap();
        let contents = [("a", &b""[..], Delivery::Inline), ("b", &b"12"[..], Delivery::Stream)];
        peer.respond(id, hit(&call(), &contents), b"");
        peer.until_end();
    });
    let client = daemon.builder().stall(SHORT).build();
    let failed = client.lookup(&call(), &LookupOptions::default()).unwrap_err();
    assert!(matches!(failed, Error::Timeout { after, .. } if after == SHORT));
}

#[test]
fn a_sink_that_fails_ends_the_lookup_and_is_not_the_daemons_fault() {
    struct Full;
    impl OutputSink for Full {
        fn begin(&mut self, _: &crate::OutputDescription, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn data(&mut self, _: &[u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
    }
    let daemon = FakeDaemon::new(|peer| serve_hit(peer, b"1", b"2", 1));
    let client = daemon.client();
    for _ in 0..5 {
        let failed = client.lookup_into(&call(), &LookupOptions::default(), &mut Full);
        assert!(matches!(failed, Err(Error::Local { .. })), "the breaker stays closed");
    }
}

#[test]
fn connections_are_used_again_and_threads_share_a_client() {
    let daemon = FakeDaemon::answering(|_, _| Some((Response::Pong, vec![])));
    let client = daemon.client();
    for _ in 0..10 {
        client.ping().unwrap();
    }
    assert_eq!(daemon.connections(), 1);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| client.ping().unwrap()));
        }
    });
    assert!(daemon.connections() <= 9, "{}", daemon.connections());
}

#[test]
fn a_connection_from_before_a_restart_is_replaced_without_notice() {
    // Answers once, then hangs up when the next request has come: too late for the client to see
    // it before it asks.
    let daemon = FakeDaemon::new(|peer| {
        let (id, _, _) = peer.request().unwrap();
        peer.respond(id, Response::Pong, b"");
        peer.request();
    });
    let client = daemon.client();
    for connections in 1..=5 {
        client.ping().unwrap();
        assert_eq!(daemon.connections(), connections);
    }
}

#[test]
fn a_request_whose_answer_has_begun_is_not_sent_again() {
    let daemon = FakeDaemon::new(|peer| {
        let (id, _, _) = peer.request().unwrap();
        peer.respond(id, Response::Pong, b"");
        peer.request();
        let _ = std::io::Write::write_all(&mut peer.socket, &[20, 0, 0]);
    });
    let client = daemon.client();
    client.ping().unwrap();
    assert!(matches!(client.ping(), Err(Error::Io { .. })));
    assert_eq!(daemon.connections(), 1);
}

#[test]
fn fresh_connections_that_break_are_tried_again_thrice() {
    let daemon = FakeDaemon::new(|peer| {
        peer.request();
    });
    assert!(matches!(daemon.client().ping(), Err(Error::Io { .. })));
    assert_eq!(daemon.connections(), 4);
}

#[test]
fn what_a_daemon_says_unasked_ends_the_use_of_a_connection() {
    let (said, heard) = std::sync::mpsc::sync_channel(3);
    let said = Mutex::new(said);
    let daemon = FakeDaemon::new(move |peer| {
        while let Some((id, _, _)) = peer.request() {
            peer.respond(id, Response::Pong, b"");
            peer.respond(0, error(ErrorCode::ShuttingDown), b"");
            said.lock().unwrap().send(()).unwrap();
        }
    });
    let client = daemon.client();
    for connections in 1..=3 {
        client.ping().unwrap();
        heard.recv().unwrap();
        assert_eq!(daemon.connections(), connections);
    }
}

#[test]
fn a_hung_daemon_costs_three_deadlines_and_then_nothing() {
    let daemon = FakeDaemon::new(Peer::until_end);
    let client = daemon.builder().deadline(SHORT).build();
    for _ in 0..3 {
        let begun = Instant::now();
        assert!(matches!(client.stats(), Err(Error::Timeout { .. })));
        assert!(begun.elapsed() < LONG);
    }
    let clone = client.clone();
    assert!(matches!(clone.stats(), Err(Error::BreakerOpen)));
    assert_eq!(daemon.connections(), 3);
}

#[test]
fn a_daemon_that_never_greets_is_late_too() {
    let daemon = FakeDaemon::raw(|mut peer| peer.until_end());
    let client = daemon.builder().deadline(SHORT).build();
    assert!(matches!(client.ping(), Err(Error::Timeout { .. })));
}

#[test]
fn an_error_that_the_daemon_sends_is_no_fault_of_it() {
    let daemon = FakeDaemon::answering(|_, _| Some((error(ErrorCode::Forbidden), vec![])));
    let client = daemon.client();
    for _ in 0..5 {
        let failed = client.stats().unwrap_err();
        assert!(matches!(&failed, Error::Daemon(error) if error.code == ErrorCode::Forbidden));
        assert_eq!(failed.code(), 4);
    }
}

#[test]
fn no_daemon_another_version_and_garbage_are_told_apart() {
    let absent = builder(std::path::Path::new("/nonexistent/memod.sock")).build();
    assert!(matches!(absent.ping(), Err(Error::NoDaemon { .. })));
    let long = builder(std::path::Path::new(&"/x".repeat(60))).build();
    assert!(matches!(long.ping(), Err(Error::PathTooLong { bytes: 120, .. })));
    let refusing = FakeDaemon::raw(|mut peer| {
        peer.frame();
        let error = WireError::new(ErrorCode::VersionMismatch, "speaks 9");
        let magic = memod_protocol::handshake::MAGIC;
        let versions = vec![9];
        peer.send(&memod_protocol::handshake::Welcome::Refused { magic, versions, error }, b"");
    });
    assert!(matches!(refusing.client().ping(), Err(Error::Version(_))));
    let garbage = FakeDaemon::raw(|mut peer| {
        peer.frame();
        let _ = std::io::Write::write_all(&mut peer.socket, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert!(matches!(garbage.client().ping(), Err(Error::Protocol(_))));
    let payload = FakeDaemon::answering(|_, _| Some((Response::Pong, b"more".to_vec())));
    assert!(matches!(payload.client().ping(), Err(Error::Protocol(_))));
}

/// Outputs by name.
type Kept = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A daemon that takes puts and keeps their outputs' names and bytes.
fn keeping(kept: Kept) -> FakeDaemon {
    FakeDaemon::new(move |peer| {
        let mut uploads = std::collections::HashMap::<u32, Vec<u8>>::new();
        while let Some((id, request, payload)) = peer.request() {
            match request {
                Request::Announce(_) => peer.respond(id, Response::Awaited, b""),
                Request::UploadData { upload } => {
                    assert!(payload.len() <= CHUNK_BYTES as usize);
                    uploads.entry(upload).or_default().extend_from_slice(&payload);
                }
                Request::UploadEnd { upload, .. } => {
                    let content = &uploads[&upload];
                    let (digest, bytes) = (Digest::of(content), content.len() as u64);
                    peer.respond(id, Response::Uploaded { digest, bytes }, b"");
                }
                Request::Put(put) => {
                    let mut inline = payload;
                    let mut kept = kept.lock().unwrap();
                    for output in put.outputs {
                        let bytes = match output.source {
                            OutputSource::Inline => {
                                inline.split_to(usize::try_from(output.bytes).unwrap()).to_vec()
                            }
                            OutputSource::Upload(number) => uploads.remove(&number).unwrap(),
                        };
                        assert_eq!(bytes.len() as u64, output.bytes);
                        kept.push((output.name, bytes));
                    }
                    assert!(inline.is_empty());
                    peer.respond(id, Response::Put(PutOutcome::Populated), b"");
                }
                other => panic!("{other:?}"),
            }
        }
    })
}

fn output(name: &str, source: Source) -> PutOutput {
    PutOutput { name: name.into(), literal_type: LiteralType::Bytes, source }
}

#[test]
fn every_kind_of_source_arrives_whole() {
    let inline = usize::try_from(INLINE_BYTES_MAX).unwrap();
    for length in [0, 1, inline - 3, inline, inline + 1, 5 * CHUNK_BYTES as usize + 7] {
        let content = pattern(length);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        let reader = std::io::Cursor::new(content.clone());
        for source in [
            Source::Bytes(Bytes::from(content.clone())),
            Source::Literal(memod_protocol::Literal::Bytes(content.clone().into())),
            Source::Reader(Box::new(reader)),
            Source::File(file.path().to_owned()),
        ] {
            let kept = Kept::default();
            let daemon = keeping(Arc::clone(&kept));
            let outputs =
                vec![output("b", source), output("a", Source::Bytes(Bytes::from_static(b"small")))];
            let client = daemon.client();
            let outcome = client.put(&call(), outputs, &PutOptions::default()).unwrap();
            assert_eq!(outcome, PutOutcome::Populated);
            let kept = kept.lock().unwrap();
            assert_eq!(kept[0], ("a".into(), b"small".to_vec()));
            assert!(kept[1].0 == "b" && kept[1].1 == content, "{length}");
        }
    }
}

#[test]
fn a_reader_that_fails_ends_the_put_and_is_not_the_daemons_fault() {
    struct Failing(u64);
    impl std::io::Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::ErrorKind::Other.into());
            }
            self.0 = self.0.saturating_sub(buffer.len() as u64);
            Ok(buffer.len())
        }
    }
    let kept = Kept::default();
    let daemon = keeping(Arc::clone(&kept));
    let client = daemon.client();
    for bytes in [0, 3 * INLINE_BYTES_MAX] {
        for _ in 0..4 {
            let outputs = vec![
                output("a", Source::Reader(Box::new(Failing(bytes)))),
                output("b", Source::Bytes(Bytes::new())),
            ];
            let failed = client.put(&call(), outputs, &PutOptions::default()).unwrap_err();
            assert!(matches!(&failed, Error::Local { .. }), "{failed}");
            assert!(failed.to_string().contains("`a`"), "{failed}");
        }
    }
    assert!(kept.lock().unwrap().is_empty());
}

#[test]
fn a_refused_put_says_why_even_if_the_daemon_hangs_up_while_it_is_sent() {
    let large = || Source::Bytes(Bytes::from(vec![0; 64 * 1024 * 1024]));
    let daemon = FakeDaemon::new(|peer| {
        peer.request();
        peer.respond(0, error(ErrorCode::OverBudget), b"");
    });
    let outputs = vec![output("a", large()), output("b", Source::Bytes(Bytes::new()))];
    let failed = daemon.client().put(&call(), outputs, &PutOptions::default()).unwrap_err();
    assert!(matches!(&failed, Error::Daemon(e) if e.code == ErrorCode::OverBudget), "{failed}");
}

#[test]
fn modes_decide_what_is_asked_at_all() {
    let daemon = FakeDaemon::answering(|request, _| match request {
        Request::Put(put) => {
            assert!(put.overwrite);
            Some((Response::Put(PutOutcome::Populated), vec![]))
        }
        other => panic!("{other:?}"),
    });
    let outputs =
        || ["a", "b"].iter().map(|n| output(n, Source::Bytes(Bytes::new()))).collect::<Vec<_>>();
    for (mode, writes) in
        [(Mode::Disabled, false), (Mode::ReadOnly, false), (Mode::Overwrite, true)]
    {
        let client = daemon.builder().mode(mode).build();
        let outcome = client.put(&call(), outputs(), &PutOptions::default());
        assert_eq!(outcome.is_ok(), writes, "{mode:?}");
        if !mode.reads() {
            let found = client.lookup(&call(), &LookupOptions::default()).unwrap();
            assert!(matches!(found, Lookup::Miss(m) if m.reason == MissReason::Disabled));
        }
    }
    assert_eq!(daemon.connections(), 1);
}

#[test]
fn one_output_is_read_and_one_that_is_not_there_is_not_found() {
    let daemon = FakeDaemon::answering(|request, _| {
        let Request::Read { key, output } = request else { panic!() };
        Some(if output == "b" {
            (hit(&call(), &[("b", b"bytes", Delivery::Inline)]), b"bytes".to_vec())
        } else {
            let reason = MissReason::BlobMissing;
            let miss = Miss { key, reason, at_ms: None, by_uid: None, detail: None };
            (Response::Miss(miss), vec![])
        })
    });
    let (client, key) = (daemon.client(), call().key().unwrap());
    let read = client.read(&key, "b").unwrap();
    assert_eq!(read.content.into_bytes().unwrap(), &b"bytes"[..]);
    assert_eq!(client.read(&key, "z").unwrap_err().code(), 1);
}

#[test]
fn an_invalidation_waits_as_long_as_there_is_progress() {
    let daemon = FakeDaemon::new(|peer| {
        let (id, request, _) = peer.request().unwrap();
        assert!(matches!(request, Request::Invalidate { dry_run: true, .. }));
        for done in [10, 20] {
            peer.respond(id, Response::Progress { done }, b"");
        }
        peer.respond(id, Response::Invalidated { matched: 25 }, b"");
    });
    let mut told = Vec::new();
    let selector = Selector::Matching(Filter::default());
    let matched = daemon.client().invalidate(&selector, true, &mut |done| told.push(done));
    assert_eq!((matched.unwrap(), told), (25, vec![10, 20]));
}

#[test]
fn a_socket_in_our_own_place_must_be_served_by_us() {
    let (path, ours) = (std::path::Path::new("/s"), nix::unistd::geteuid().as_raw());
    crate::connection::check_ours(path, ours).unwrap();
    let failed = crate::connection::check_ours(path, ours + 1);
    assert!(matches!(failed, Err(Error::NotOurs { .. })));
}

#[test]
fn a_wrong_call_is_refused_before_anybody_is_asked() {
    let daemon = FakeDaemon::answering(|_, _| None);
    let mut wrong = call();
    wrong.cache_version = " ".into();
    let client = daemon.client();
    let failed = client.lookup(&wrong, &LookupOptions::default()).unwrap_err();
    assert!(failed.to_string().contains("cache_version"), "{failed}");
    assert!(client.put(&wrong, vec![], &PutOptions::default()).is_err());
    assert!(client.put(&call(), vec![], &PutOptions::default()).is_err());
    assert_eq!(daemon.connections(), 0);
}
