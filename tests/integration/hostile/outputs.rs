//! Outputs whose bytes are not what their sender says.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, call};
use memod_protocol::{
    Digest, ErrorCode, Literal, LiteralType, MissReason, NewOutput, OutputSource, PutOutcome,
    Request, Response, WireError,
};

use crate::bystander::Bystander;

/// A put that must fail leaves nothing: the next lookup says that the key was never seen.
fn refused(
    raw: &mut Raw,
    call: &CallBuilder,
    outputs: Vec<NewOutput>,
    payload: &[u8],
) -> WireError {
    let (mut put, _) = call.put(&[]);
    put.outputs = outputs;
    let error = raw.put_error((put, Bytes::copy_from_slice(payload)));
    let miss = raw.lookup(call).expect_err("a refused put stores nothing");
    assert_eq!(miss.reason, MissReason::NeverSeen);
    error
}

fn output(name: &str, bytes: u64, digest: Option<Digest>) -> NewOutput {
    NewOutput { name: name.to_owned(), bytes, digest, source: OutputSource::Inline }
}

#[test]
fn bytes_of_another_digest_are_refused_and_can_be_sent_again() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let (call, content) = (call("digest"), vec![b'x'; 300_000]);
    let claimed = Digest::of(b"something else");
    let bytes = content.len() as u64;
    let error = refused(&mut raw, &call, vec![output("o0", bytes, Some(claimed))], &content);
    assert_eq!(error.code, ErrorCode::DigestMismatch);
    for part in ["output `o0`", &claimed.to_string(), &Digest::of(&content).to_string()] {
        assert!(error.message.contains(part), "{part} is not in: {error}");
    }
    assert!(error.hint.unwrap().contains("send it again"));
    let mut other = daemon.connect();
    assert!(other.lookup(&call).is_err());
    drop((raw, other));
    bystander.noticed_nothing(&daemon);
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let two = call("lengths").output("o1", "string");
    for (first, second, sent) in [
        (3, 3, 5),
        (3, 3, 7),
        (0, 0, 1),
        (1, 0, 0),
        (u64::MAX, 1, 6),
        (u64::MAX, u64::MAX, 6),
        (6, u64::MAX, 6),
        (1 << 32, 0, 6),
        (6, 1, 6),
    ] {
        let outputs = vec![output("o0", first, None), output("o1", second, None)];
        let error = refused(&mut raw, &two, outputs, &vec![b'x'; sent]);
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        for part in ["outputs", "do not add up", &format!("{sent} bytes")] {
            assert!(error.message.contains(part), "{first}, {second}, {sent}: {error}");
        }
    }
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn bytes_that_are_no_value_of_their_type_are_refused() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let integer = Literal::Integer(7).to_blob(&LiteralType::Integer).unwrap();
    let trailing = [&integer[..], &[0]].concat();
    for (what, literal_type, content) in [
        ("not UTF-8", "string", b"\xff\xfe".as_slice()),
        ("no tag", "integer", b"\xff"),
        ("nothing", "integer", b""),
        ("cut short", "integer", &integer[..4]),
        ("something behind", "integer", &trailing),
        ("another type", "boolean", &integer),
        ("not of the enum", "enum(a|b)", &integer),
        ("no such member", "union<none|boolean>", &integer),
    ] {
        let typed = call("typed").output("o0", literal_type);
        let outputs = vec![output("o0", content.len() as u64, None)];
        let error = refused(&mut raw, &typed, outputs, content);
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{what}");
        assert!(error.message.contains("output `o0`"), "{what}: {error}");
    }
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

/// The bytes that open a list of one value, in the encoding of values.
fn list_of_one() -> Bytes {
    let of_one = "list<none>".parse().unwrap();
    let whole = Literal::List(vec![Literal::None]).to_blob(&of_one).unwrap();
    let none = Literal::None.to_blob(&LiteralType::None).unwrap();
    whole.slice(..whole.len() - none.len())
}

#[test]
fn values_nested_a_hundred_thousand_deep_are_refused() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let deepest = format!("{}none{}", "list<".repeat(99), ">".repeat(99));
    let nested = call("nested").output("o0", &deepest);
    let none = Literal::None.to_blob(&LiteralType::None).unwrap();
    for depth in [100, 101, 1000, 100_000] {
        let content = [list_of_one().repeat(depth), none.to_vec()].concat();
        let outputs = vec![output("o0", content.len() as u64, None)];
        let error = refused(&mut raw, &nested, outputs, &content);
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{depth} deep");
        for part in ["output `o0`", "nested deeper than 100"] {
            assert!(error.message.contains(part), "{depth} deep: {error}");
        }
    }
    // What is as deep as its type, and not deeper than the limit, is stored like anything else.
    let content = [list_of_one().repeat(99), none.to_vec()].concat();
    assert_eq!(raw.put(nested.put(&[("o0", &content)])), PutOutcome::Populated);
    let (_, contents) = raw.lookup(&nested).unwrap();
    assert_eq!(contents[0], content);
    let forget = memod_protocol::Selector::Keys(vec![nested.0.key().unwrap()]);
    assert_eq!(raw.invalidate(forget, false), 1);
    bystander.is_served();
}

#[test]
fn values_that_claim_more_elements_than_bytes_are_refused() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let lists = call("claims").output("o0", "list<none>");
    let mut content = list_of_one().to_vec();
    let count = content.len() - 8;
    for claimed in [2, 1 << 32, 1 << 60, u64::MAX] {
        content[count..].copy_from_slice(&claimed.to_le_bytes());
        let outputs = vec![output("o0", content.len() as u64, None)];
        let error = refused(&mut raw, &lists, outputs, &content);
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("ends too early"), "{error}");
    }
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn an_upload_that_was_not_completed_or_was_used_up_is_no_output() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let uploaded = |name: &str, upload| NewOutput {
        name: name.to_owned(),
        bytes: 3,
        digest: None,
        source: OutputSource::Upload(upload),
    };
    let call = call("uploads").output("o1", "string");
    let not_completed = |raw: &mut Raw, number: u32, outputs: Vec<NewOutput>| {
        let error = refused(raw, &call, outputs, b"");
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        let part = format!("{number} has not been completed");
        assert!(error.message.contains(&part), "{error}");
    };
    not_completed(&mut raw, 7, vec![uploaded("o0", 7), uploaded("o1", 8)]);
    raw.send(Request::UploadData { upload: 7 }, Bytes::from_static(b"abc"));
    not_completed(&mut raw, 7, vec![uploaded("o0", 7), uploaded("o1", 8)]);
    let end = raw.ask(Request::UploadEnd { upload: 7, digest: None }, Bytes::new());
    let digest = Digest::of(b"abc");
    assert!(matches!(end.response, Response::Uploaded { digest: d, bytes: 3 } if d == digest));
    // One upload is one output, and another connection's is none at all.
    not_completed(&mut raw, 7, vec![uploaded("o0", 7), uploaded("o1", 7)]);
    let mut other = daemon.connect();
    not_completed(&mut other, 7, vec![uploaded("o0", 7), uploaded("o1", 7)]);
    assert_eq!(other.stats().entries, 0);
}
