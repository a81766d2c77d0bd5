//! Peers that greet wrongly, late or not at all.

use std::time::{Duration, Instant};

use harness::{Daemon, Raw, call};
use memod_protocol::handshake::{
    ANNOUNCE, BATCHES, CAPABILITIES, DESCRIPTORS, Hello, MAGIC, OVERSIGHT, VERSIONS, Welcome,
};
use memod_protocol::{
    Announcement, ErrorCode, Frame, LogQuery, Lookup, Request, RequestHeader, Response, Verb,
    WireError, wire,
};

use crate::bystander::Bystander;

/// Sends a greeting that must be refused; gives the refusal.
fn refusal(daemon: &Daemon, greeting: &Frame) -> (Vec<u16>, WireError) {
    let mut raw = Raw::connect(&daemon.socket());
    raw.send_frame(greeting);
    let answer = raw.read_frame().expect("a refusal is told");
    assert!(raw.read_frame().is_none(), "the connection goes on");
    match wire::decode(&answer.header).expect("it answers as to every greeting") {
        Welcome::Refused { magic, versions, error } => {
            assert_eq!(magic, MAGIC);
            (versions, error)
        }
        Welcome::Agreed(agreement) => panic!("{greeting:?} led to {agreement:?}"),
    }
}

fn hello(change: impl FnOnce(&mut Hello)) -> Frame {
    let mut hello = Hello::new("memod-tests");
    change(&mut hello);
    Frame::bare(&hello).unwrap()
}

#[test]
fn a_client_of_another_version_parts_with_both_sides_versions() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let (versions, error) = refusal(&daemon, &hello(|hello| hello.versions = vec![60_001, 60_000]));
    assert_eq!(versions, VERSIONS);
    assert_eq!(error.code, ErrorCode::VersionMismatch);
    assert!(error.message.contains("[60001, 60000]"), "{error}");
    assert!(error.message.contains(&format!("{VERSIONS:?}")), "{error}");
    assert!(error.hint.unwrap().contains("same release"));
    let (_, error) = refusal(&daemon, &hello(|hello| hello.versions.clear()));
    assert_eq!(error.code, ErrorCode::VersionMismatch);
    // A newer client offers more than the daemon knows, and they agree on what both know.
    let mut newer = Raw::connect(&daemon.socket());
    newer.send_frame(&hello(|hello| hello.versions = vec![60_000, VERSIONS[0]]));
    let answer = newer.read_frame().unwrap();
    let Welcome::Agreed(agreement) = wire::decode(&answer.header).unwrap() else {
        panic!("they have a version in common");
    };
    assert_eq!(agreement.version, VERSIONS[0]);
    assert!(newer.ping());
    drop(newer);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn a_greeting_that_is_not_memods_is_refused() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let request = RequestHeader { id: 1, request: Request::Ping };
    for (what, greeting) in [
        ("another magic", hello(|hello| hello.magic = *b"redis\r\n\x1a")),
        ("too many versions", hello(|hello| hello.versions = (1..=65).collect())),
        ("a request", Frame::bare(&request).unwrap()),
        ("nothing at all", Frame { header: Vec::new().into(), payload: Vec::new() }),
        ("noise", Frame { header: vec![0xff; 300].into(), payload: Vec::new() }),
    ] {
        let (_, error) = refusal(&daemon, &greeting);
        assert_eq!(error.code, ErrorCode::Malformed, "{what}");
        assert!(error.message.contains("greeting is not memod's"), "{what}: {error}");
    }
    bystander.noticed_nothing(&daemon);
}

#[test]
fn other_protocols_are_shown_the_door() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    for spoken in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(),
        b"*1\r\n$4\r\nPING\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut raw = Raw::connect(&daemon.socket());
        raw.send_bytes(spoken).unwrap();
        let answer = raw.read_frame().expect("it is told why");
        let error = match wire::decode::<Welcome>(&answer.header) {
            Ok(Welcome::Refused { error, .. }) => error,
            other => panic!("{} led to {other:?}", spoken.escape_ascii()),
        };
        assert_eq!(error.code, ErrorCode::Malformed);
        assert!(raw.read_frame().is_none(), "the connection goes on");
    }
    bystander.noticed_nothing(&daemon);
}

#[test]
fn peers_that_leave_without_a_greeting_leave_nothing_behind() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let whole = hello(|_| {}).head();
    for sent in 0..whole.len() {
        let mut raw = Raw::connect(&daemon.socket());
        raw.send_bytes(&whole[..sent]).unwrap();
        raw.end_sending();
        assert!(raw.read_frame().is_none(), "half a greeting was answered");
    }
    bystander.noticed_nothing(&daemon);
}

#[test]
fn a_peer_that_never_greets_is_cut_off_and_disturbs_nobody() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let began = Instant::now();
    let mut silent: Vec<Raw> = (0..100).map(|_| Raw::connect(&daemon.socket())).collect();
    for (index, raw) in silent.iter_mut().enumerate() {
        raw.send_bytes(&hello(|_| {}).head()[..index % 8]).unwrap();
    }
    bystander.is_served();
    for raw in &mut silent {
        // Some are told why; in the end each is cut off.
        while let Some(frame) = raw.read_frame() {
            let told = wire::decode::<Welcome>(&frame.header);
            assert!(matches!(told, Ok(Welcome::Refused { .. })), "{told:?}");
        }
    }
    // No later than the ten seconds it may take, plus what a busy machine adds.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    drop(silent);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn a_request_that_needs_a_capability_is_asked_with_it_only() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let of = call("capable");
    let lookup = Lookup { call: of.0.identity().unwrap(), max_age_ms: None };
    let (put, _) = of.put(&[("o0", b"content")]);
    let announcement = Announcement { put, writer_uid: None };
    let of_upkeep = LogQuery { verb: Some(Verb::Collect), ..LogQuery::default() };
    let requests = [
        (BATCHES, Request::LookupMany(vec![lookup])),
        (ANNOUNCE, Request::Announce(Box::new(announcement))),
        (OVERSIGHT, Request::Leases),
        (OVERSIGHT, Request::Log(Box::new(of_upkeep))),
    ];
    for (needed, request) in requests {
        for lacking in [0, DESCRIPTORS, CAPABILITIES & !needed] {
            let mut raw = Raw::capable(&daemon.socket(), lacking);
            let header = RequestHeader { id: 7, request: request.clone() };
            raw.send_frame(&Frame::bare(&header).unwrap());
            let reply = raw.read_reply().expect("it is told why");
            let Response::Error(error) = reply.response else { panic!("{:?}", reply.response) };
            assert_eq!((reply.id, error.code), (0, ErrorCode::Malformed), "{request:?}");
            assert!(error.message.contains("was not agreed on"), "{error}");
            assert!(raw.read_frame().is_none(), "the connection goes on");
        }
        let mut raw = Raw::capable(&daemon.socket(), needed);
        let reply = raw.ask(request, bytes::Bytes::new());
        let is_error = matches!(reply.response, Response::Error(_));
        assert!(!is_error && reply.id == 1, "{:?}", reply.response);
    }
    bystander.noticed_nothing(&daemon);
}
