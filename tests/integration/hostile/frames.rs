//! Frames that are empty, truncated, oversize, trailing or full of nonsense.

use bytes::Bytes;
use harness::{Daemon, Random, Raw, call};
use memod_protocol::limits::{FRAME_BYTES_MAX, HEADER_BYTES_MAX};
use memod_protocol::{
    ErrorCode, Filter, Frame, Key, Request, RequestHeader, Response, Selector, WireError, wire,
};

use crate::bystander::Bystander;

fn prefix(frame: u32, header: u32) -> Vec<u8> {
    [frame.to_le_bytes(), header.to_le_bytes()].concat()
}

/// A frame with this header, whatever it is.
fn with_header(header: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap();
    [prefix(length + 4, length), header.to_vec()].concat()
}

fn header_of(request: Request) -> Vec<u8> {
    wire::encode(&RequestHeader { id: 1, request })
}

/// Sends bytes that are no message; gives the error with which the connection ends.
fn end_of(raw: &mut Raw, bytes: &[u8]) -> WireError {
    // The daemon may have had enough before everything is sent.
    let _ = raw.send_bytes(bytes);
    let reply = raw.read_reply().expect("it is told why");
    assert_eq!(reply.id, 0, "the error belongs to no request");
    assert!(raw.read_frame().is_none(), "the connection goes on");
    match reply.response {
        Response::Error(error) => error,
        other => panic!("an error was due, not {other:?}"),
    }
}

#[test]
fn lengths_that_cannot_be_meant_end_the_connection_with_the_reason() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    for (frame, header, reason) in [
        (0, 0, "a length of 0 bytes, at least 4 are needed"),
        (3, 0, "a length of 3 bytes, at least 4 are needed"),
        (FRAME_BYTES_MAX + 1, 0, "4194304 are allowed"),
        (u32::MAX, u32::MAX, "4194304 are allowed"),
        (FRAME_BYTES_MAX, HEADER_BYTES_MAX + 1, "1048576 are allowed"),
        (100, u32::MAX, "1048576 are allowed"),
        (100, 97, "a header of 97 bytes in a frame of 100"),
        (4, 1, "a header of 1 bytes in a frame of 4"),
        (4, 0, "malformed message"),
    ] {
        let error = end_of(&mut daemon.connect(), &prefix(frame, header));
        assert_eq!(error.code, ErrorCode::Malformed);
        assert!(error.message.contains(reason), "{frame}, {header}: {error}");
    }
    bystander.noticed_nothing(&daemon);
}

#[test]
fn frames_that_are_cut_off_are_forgotten() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let (put, payload) = call("cut.off").put(&[("o0", &[b'x'; 3000])]);
    let request = RequestHeader { id: 1, request: Request::Put(Box::new(put)) };
    let frame = Frame::new(&request, vec![payload]).unwrap();
    let whole = [frame.head(), frame.payload[0].clone()].concat();
    for sent in (0..whole.len()).step_by(61) {
        let mut raw = daemon.connect();
        raw.send_bytes(&whole[..sent]).unwrap();
        raw.end_sending();
        assert!(raw.read_frame().is_none(), "{sent} bytes of a put were answered");
    }
    bystander.noticed_nothing(&daemon);
}

#[test]
fn what_trails_a_good_request_does_not_spoil_its_answer() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let ping = with_header(&header_of(Request::Ping));
    for trailing in [[0xff; 16].as_slice(), &[0; 8], &ping[..5]] {
        let mut raw = daemon.connect();
        raw.send_bytes(&[&ping, trailing].concat()).unwrap();
        raw.end_sending();
        let first = raw.read_reply().expect("the good request is answered");
        assert!(matches!((first.id, first.response), (1, Response::Pong)));
        if let Some(reply) = raw.read_reply() {
            assert!(matches!((reply.id, reply.response), (0, Response::Error(_))));
            assert!(raw.read_frame().is_none());
        }
    }
    bystander.noticed_nothing(&daemon);
}

#[test]
fn requests_at_work_are_answered_before_the_end_is_told() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let stats = with_header(&header_of(Request::Stats));
    raw.send_bytes(&[stats.repeat(20), vec![0xff; 8]].concat()).unwrap();
    for _ in 0..20 {
        let reply = raw.read_reply().unwrap();
        assert!(matches!((reply.id, reply.response), (1, Response::Stats(_))));
    }
    let reply = raw.read_reply().unwrap();
    assert!(matches!((reply.id, reply.response), (0, Response::Error(_))));
    assert!(raw.read_frame().is_none());
}

#[test]
fn headers_that_are_no_request_end_the_connection_with_the_reason() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let ping = header_of(Request::Ping);
    let (last, before) = ping.split_last().unwrap();
    let verb = |number: u8| [before, &[number]].concat();
    assert!(*last < 250, "the verb is the last byte");
    let open = |request: Request| header_of(request)[..3].to_vec();
    for (what, header, reason) in [
        ("the verb behind the last", verb(last + 1), "malformed message"),
        ("an unknown verb", verb(250), "malformed message"),
        ("an oversize verb", [before, &[252, 0, 0, 1, 0]].concat(), "malformed message"),
        ("a number cut short", vec![253, 0], "malformed message"),
        ("a request cut short", open(call("t").lookup()), "malformed message"),
        ("bytes behind a request", [&ping[..], &[0]].concat(), "1 bytes are left over"),
        ("two requests", [&ping[..], &ping].concat(), "are left over"),
        ("zeros", vec![0; 1000], "malformed message"),
        ("ones", vec![0xff; HEADER_BYTES_MAX as usize], "malformed message"),
    ] {
        let error = end_of(&mut daemon.connect(), &with_header(&header));
        assert_eq!(error.code, ErrorCode::Malformed, "{what}");
        assert!(error.message.contains(reason), "{what}: {error}");
    }
    bystander.noticed_nothing(&daemon);
}

/// The header with its last zero replaced by the claim of 2^60.
fn claiming(request: Request) -> Vec<u8> {
    let mut header = header_of(request);
    let zero = header.iter().rposition(|byte| *byte == 0).unwrap();
    let behind = header.split_off(zero);
    header.push(253);
    header.extend_from_slice(&(1_u64 << 60).to_le_bytes());
    header.extend_from_slice(&behind[1..]);
    header
}

#[test]
fn claims_of_more_elements_than_there_are_bytes_reserve_nothing() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut lookup = call("t").bare().lookup();
    let Request::Lookup(inner) = &mut lookup else { panic!("it is a lookup") };
    inner.max_age_ms = Some(1);
    let filter = Filter { task: Some(String::new()), writer_uid: Some(1), ..Filter::default() };
    let filter = Filter { older_than_ms: Some(1), ..filter };
    let list = |cursor| Request::List { filter: filter.clone(), limit: 1, cursor };
    let keys = |keys| Request::Invalidate { selector: Selector::Keys(keys), dry_run: true };
    for (what, request) in [
        ("inputs", lookup),
        ("a cursor's bytes", list(Some(Vec::new()))),
        ("a string", Request::Read { key: Key::from_bytes([7; 32]), output: String::new() }),
        ("keys", keys(Vec::new())),
    ] {
        let error = end_of(&mut daemon.connect(), &with_header(&claiming(request)));
        assert_eq!(error.code, ErrorCode::Malformed, "{what}");
        assert!(error.message.contains("malformed message"), "{what}: {error}");
    }
    bystander.noticed_nothing(&daemon);
}

/// A request of some size that is good and changes nothing.
fn good(random: &mut Random) -> (Request, Bytes) {
    let call = call("mutated").version(&random.number().to_string());
    match random.below(5) {
        0 => (call.lookup(), Bytes::new()),
        1 => (Request::Stats, Bytes::new()),
        2 => (Request::Read { key: Key::from_bytes([7; 32]), output: "o0".into() }, Bytes::new()),
        3 => (Request::UploadEnd { upload: 3, digest: None }, Bytes::new()),
        _ => {
            let (mut put, payload) = call.put(&[("o0", b"content")]);
            put.call.signature = memod_protocol::Digest::of(b"another");
            (Request::Put(Box::new(put)), payload)
        }
    }
}

#[test]
fn three_thousand_mutated_frames_harm_nobody() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut random = Random::seeded();
    for _ in 0..100 {
        let mut raw = daemon.connect();
        for _ in 0..30 {
            let (request, payload) = good(&mut random);
            let mut bytes = with_header(&header_of(request));
            bytes.extend_from_slice(&payload);
            let whole = u32::try_from(bytes.len() - 4).unwrap();
            bytes[..4].copy_from_slice(&whole.to_le_bytes());
            for _ in 0..random.below(4) {
                let place = random.below(bytes.len());
                bytes[place] ^= 1 << random.below(8);
            }
            if raw.send_bytes(&bytes).is_err() {
                break;
            }
        }
        raw.end_sending();
        // Whatever it says, it says it in whole replies, and then it ends.
        while raw.read_reply().is_some() {}
    }
    bystander.noticed_nothing(&daemon);
}
