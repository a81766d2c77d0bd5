//! Peers that read or write slowly, or not at all: they stall themselves and nobody else.

use std::time::Instant;

use bytes::Bytes;
use harness::{CallBuilder, Daemon, PATIENCE, Raw, Setup, call, eventually, sockets};
use memod_protocol::limits::{FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};
use memod_protocol::{
    ErrorCode, Frame, NewOutput, OutputSource, PutOutcome, Request, RequestHeader, Response,
};

use crate::bystander::{Bystander, assert_bounded};

/// More than could hold all of the daemon's shared memory for frames at once.
const SLOW_PEERS: usize = 24;

/// Stores an entry of 12 MiB; gives its call.
fn store_large(raw: &mut Raw) -> CallBuilder {
    let large = call("slow.large");
    let content = b"0123456789abcdef".repeat(1 << 16);
    for _ in 0..12 {
        raw.send(Request::UploadData { upload: 1 }, Bytes::from(content.clone()));
    }
    raw.ask(Request::UploadEnd { upload: 1, digest: None }, Bytes::new());
    let (mut put, payload) = large.put(&[]);
    let source = OutputSource::Upload(1);
    put.outputs = vec![NewOutput { name: "o0".to_owned(), bytes: 12 << 20, digest: None, source }];
    assert_eq!(raw.put((put, payload)), PutOutcome::Populated);
    large
}

/// A peer that asks for much and reads none of it.
fn never_reading(daemon: &Daemon, large: &CallBuilder) -> Raw {
    let mut raw = daemon.connect();
    for _ in 0..REQUESTS_IN_FLIGHT_MAX * 2 {
        raw.send(large.lookup(), Bytes::new());
    }
    raw
}

#[test]
fn peers_that_never_read_are_cut_off_and_others_are_served() {
    let daemon = Setup::new().config("stall_timeout = \"1s\"\n").start();
    let large = store_large(&mut daemon.connect());
    let mut bystander = Bystander::of(&daemon);
    let deaf: Vec<Raw> = (0..SLOW_PEERS).map(|_| never_reading(&daemon, &large)).collect();
    bystander.is_served();
    // They are all still there: it is the daemon who ends their connections.
    eventually("they are cut off", || bystander.raw().stats().connections == 1);
    bystander.noticed_nothing(&daemon);
    drop(deaf);
}

#[test]
fn peers_that_never_read_delay_nobody_even_while_they_are_borne_with() {
    let daemon = Daemon::new();
    let large = store_large(&mut daemon.connect());
    let mut bystander = Bystander::of(&daemon);
    let deaf: Vec<Raw> = (0..SLOW_PEERS).map(|_| never_reading(&daemon, &large)).collect();
    for _ in 0..3 {
        bystander.is_served();
    }
    drop(deaf);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn peers_that_never_read_have_no_more_descriptors_than_there_are_places_to_write() {
    // Sixteen places, of which one user has twelve; and nobody is cut off for stalling.
    let (peers, places) = (40, 12);
    let daemon = Setup::new().config("connections_max = 64\nstall_timeout = \"1h\"\n").start();
    let mut observer = daemon.connect();
    let small = call("slow.small");
    assert_eq!(observer.put(small.put(&[("o0", &[b's'; 10_000])])), PutOutcome::Populated);
    let before = sockets(daemon.pid());
    let mut deaf: Vec<Raw> = (0..peers).map(|_| daemon.connect()).collect();
    for raw in &mut deaf {
        // The daemon may have given it up already.
        let _ = (0..REQUESTS_IN_FLIGHT_MAX)
            .try_for_each(|_| raw.try_send(small.lookup(), b"").map(drop));
        assert!(sockets(daemon.pid()) <= before + peers + places);
    }
    // Those without a place have it of those with one, until no more than have one are left.
    eventually("the rest is cut off", || {
        assert!(sockets(daemon.pid()) <= before + peers + places);
        observer.stats().connections <= 1 + places as u64
    });
    drop(deaf);
    eventually("nothing is left of them", || sockets(daemon.pid()) == before);
    assert!(observer.lookup(&small).is_ok());
}

/// A peer that announces the largest frame, sends a part of it, and no more.
fn stopping(daemon: &Daemon) -> Raw {
    let mut raw = daemon.connect();
    let lengths = [FRAME_BYTES_MAX.to_le_bytes(), 100_u32.to_le_bytes()].concat();
    raw.send_bytes(&[lengths, vec![b'x'; 50_000]].concat()).unwrap();
    raw
}

#[test]
fn peers_that_stop_in_the_middle_of_a_frame_are_told_and_cut_off() {
    let daemon = Setup::new().config("stall_timeout = \"1s\"\n").start();
    let mut bystander = Bystander::of(&daemon);
    let began = Instant::now();
    // So few that they do not fill the memory for requests.
    let mut stopped: Vec<Raw> = (0..4).map(|_| stopping(&daemon)).collect();
    bystander.is_served();
    for raw in &mut stopped {
        let reply = raw.read_reply().expect("it is told why");
        let Response::Error(error) = reply.response else { panic!("{:?}", reply.response) };
        assert_eq!((reply.id, error.code), (0, ErrorCode::Malformed));
        assert!(error.message.contains("no byte came for 1s in the middle"), "{error}");
        assert!(raw.read_frame().is_none(), "the connection goes on");
    }
    assert!(began.elapsed() < PATIENCE);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn peers_that_stop_in_large_frames_delay_nobody_even_while_they_are_borne_with() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let stopped: Vec<Raw> = (0..SLOW_PEERS).map(|_| stopping(&daemon)).collect();
    for _ in 0..3 {
        bystander.is_served();
    }
    drop(stopped);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn a_peer_that_is_silent_between_frames_is_borne_with() {
    let daemon = Setup::new().config("stall_timeout = \"100ms\"\n").start();
    let mut silent = daemon.connect();
    let mut stopped = stopping(&daemon);
    // When the one that stopped within a frame has been cut off, the other has been silent longer.
    assert!(stopped.read_reply().is_some() && stopped.read_reply().is_none());
    assert!(silent.ping());
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_a_frame() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let request = RequestHeader { id: 77, request: call("byte by byte").lookup() };
    for byte in Frame::bare(&request).unwrap().head() {
        raw.send_bytes(&[byte]).unwrap();
    }
    let reply = raw.read_reply().unwrap();
    assert!(matches!((reply.id, reply.response), (77, Response::Miss(_))));
}

#[test]
fn more_requests_than_may_be_in_flight_are_all_answered() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let large = store_large(bystander.raw());
    let small = call("slow.small");
    let content = vec![b'y'; 10_000];
    assert_eq!(bystander.raw().put(small.put(&[("o0", &content)])), PutOutcome::Populated);
    let mut raw = daemon.connect();
    let sender = raw.stream().try_clone().unwrap();
    let requests = 2000_u64;
    let (asked_small, asked_large) = (small.lookup(), large.lookup());
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        for id in 1..=requests {
            let request =
                if id.is_multiple_of(400) { asked_large.clone() } else { asked_small.clone() };
            let frame = Frame::bare(&RequestHeader { id, request }).unwrap();
            (&sender).write_all(&frame.head()).unwrap();
        }
    });
    bystander.is_served();
    let mut missing: std::collections::BTreeSet<u64> = (1..=requests).collect();
    let mut streamed = 0;
    while !missing.is_empty() || streamed < (requests / 400) * (12 << 20) {
        let reply = raw.read_reply().expect("each is answered");
        match reply.response {
            Response::Hit(hit) => {
                assert!(missing.remove(&reply.id), "{} was answered twice", reply.id);
                assert_eq!(hit.outputs[0].bytes > 10_000, reply.id.is_multiple_of(400));
                assert!(reply.payload.is_empty() || reply.payload == content);
            }
            Response::Chunk { .. } => streamed += reply.payload.len() as u64,
            other => panic!("neither a hit nor a part of one: {other:?}"),
        }
    }
    sending.join().unwrap();
    drop(raw);
    bystander.is_served();
    assert_bounded(&daemon);
}
