//! Semantics 20 to 22: which puts leave nothing behind.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, call};
use memod_protocol::limits::NAME_BYTES_MAX;
use memod_protocol::{
    Digest, ErrorCode, Frame, Literal, Lookup, MissReason, OutputSource, Put, PutOutcome, Request,
    RequestHeader, Response,
};

use crate::semantics_lookup::noise;

#[test]
fn s20_a_put_that_is_cut_off_leaves_nothing() {
    let daemon = Daemon::new();
    let one = call("cut").bare().output("o0", "bytes");
    let content = noise(3, 100_000);
    let (put, payload) = one.put(&[("o0", &content)]);
    let header = RequestHeader { id: 1, request: Request::Put(Box::new(put)) };
    let frame = Frame::new(&header, vec![payload]).unwrap();
    let whole = [frame.head().to_vec(), frame.into_payload().to_vec()].concat();
    for kept in [4, 20, 200, 50_000, whole.len() - 1] {
        let mut raw = daemon.connect();
        raw.send_bytes(&whole[..kept]).unwrap();
        raw.hang_up();
    }
    let mut raw = daemon.connect();
    let (mut by_upload, _) = one.put(&[("o0", &content)]);
    by_upload.outputs[0].source = OutputSource::Upload(1);
    raw.send(Request::UploadData { upload: 1 }, content[..70_000].to_vec().into());
    raw.hang_up();
    let mut raw = daemon.connect();
    assert_eq!(raw.lookup(&one).expect_err("nothing was stored").reason, MissReason::NeverSeen);
    let stats = raw.stats();
    assert_eq!((stats.puts, stats.entries, stats.stored_bytes), (0, 0, 0));
    raw.send_bytes(&whole).unwrap();
    assert!(matches!(
        raw.read_reply().expect("a reply").response,
        Response::Put(PutOutcome::Populated)
    ));
}

/// What is wrong with a put, done to a good one, and what the error names.
type Mistake = (&'static str, fn(&mut Put));

fn long() -> String {
    "x".repeat(NAME_BYTES_MAX + 1)
}

/// A put of a task with inputs `a` and `b`, and outputs `p` and `q`.
fn good() -> (CallBuilder, Put, Bytes) {
    let integer = || Literal::Integer(1);
    let one =
        call("checked").bare().input("a", "integer", integer()).input("b", "integer", integer());
    let one = one.output("p", "string").output("q", "string");
    let (put, payload) = one.put(&[("p", b"1"), ("q", b"2")]);
    (one, put, payload)
}

fn assert_refused(mistakes: &[Mistake]) {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    for (named, mistake) in mistakes {
        let (_, mut put, payload) = good();
        mistake(&mut put);
        let error = raw.put_error((put, payload));
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{named}: {error}");
        assert!(error.message.contains(named), "`{named}` is not named: {error}");
        assert!(error.message.len() < 500, "{named}: a message of {} bytes", error.message.len());
    }
    assert_eq!(raw.stats().entries, 0);
    let (one, put, payload) = good();
    assert_eq!(raw.put((put, payload)), PutOutcome::Populated, "the connection is still good");
    assert_eq!(raw.lookup(&one).expect("stored").1, ["1", "2"]);
}

#[test]
fn s21_empty_names_are_errors_that_name_the_field() {
    assert_refused(&[
        ("project", |put| put.call.scope.project.clear()),
        ("domain", |put| put.call.scope.domain.clear()),
        ("task", |put| put.call.task.clear()),
        ("cache_version", |put| put.call.cache_version.clear()),
        ("input name", |put| put.call.inputs[0].0.clear()),
        ("input name", |put| put.interface.inputs[0].0.clear()),
        ("output name", |put| put.interface.outputs[0].0.clear()),
        ("output ``", |put| put.outputs[0].name.clear()),
        ("type", |put| put.interface.inputs[0].1.clear()),
        ("task_version", |put| put.run.task_version = Some(String::new())),
        ("execution", |put| put.run.execution = Some(String::new())),
        ("node", |put| put.run.node = Some(String::new())),
    ]);
}

#[test]
fn s21_names_that_are_too_long_are_errors_that_name_the_field() {
    assert_refused(&[
        ("project: is 1025 bytes long", |put| put.call.scope.project = long()),
        ("domain: is 1025 bytes long", |put| put.call.scope.domain = long()),
        ("task: is 1025 bytes long", |put| put.call.task = long()),
        ("cache_version: is 1025 bytes long", |put| put.call.cache_version = long()),
        ("input name: is 1025 bytes long", |put| put.call.inputs[1].0 = long()),
        ("input name: is 1025 bytes long", |put| put.interface.inputs[0].0 = long()),
        ("output name: is 1025 bytes long", |put| put.interface.outputs[0].0 = long()),
        ("output `x", |put| put.outputs[1].name = long()),
        ("input `a`, type: is", |put| put.interface.inputs[0].1 = "list<".repeat(9000)),
        ("task_version: is", |put| put.run.task_version = Some(long())),
        ("execution: is", |put| put.run.execution = Some(long())),
        ("node: is", |put| put.run.node = Some(long())),
    ]);
}

#[test]
fn s21_names_of_the_greatest_length_are_good() {
    let name = "n".repeat(NAME_BYTES_MAX);
    let one = call(&name).bare().scope(&name, &name).version(&name);
    let one = one.input(&name, "integer", Literal::Integer(1)).output(&name, "string");
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    assert_eq!(raw.put(one.put(&[(&name, b"x")])), PutOutcome::Populated);
    assert_eq!(raw.lookup(&one).expect("stored").1, ["x"]);
}

#[test]
fn s21_duplicate_names_and_outputs_of_another_signature_are_errors() {
    assert_refused(&[
        ("input `a`: is given twice", |put| put.call.inputs[1].0 = "a".to_owned()),
        ("input `a`: is declared twice", |put| put.interface.inputs[1].0 = "a".to_owned()),
        ("output `p`: is declared twice", |put| put.interface.outputs[1].0 = "p".to_owned()),
        ("output `p`: is given twice", |put| {
            put.interface.outputs.swap(0, 1);
            put.outputs[1].name = "p".to_owned();
        }),
        ("output `p`: is given twice", |put| put.outputs[1].name = "p".to_owned()),
        ("inputs: must be in ascending order", |put| put.call.inputs.reverse()),
        ("output `q`: is declared in the interface and was not given", |put| {
            let dropped = put.outputs.pop().expect("there are two");
            put.outputs[0].bytes += dropped.bytes;
        }),
        ("output `r`: is not declared in the interface", |put| {
            put.outputs[1].name = "r".to_owned();
        }),
        ("input `c`: is not declared in the interface", |put| {
            put.call.inputs[1].0 = "c".to_owned();
        }),
        ("signature", |put| put.call.signature = Digest::of(b"another")),
        ("signature", |put| put.interface.outputs[0].1 = "bytes".to_owned()),
        ("signature", |put| put.call.task.push('x')),
    ]);
}

/// The beginning of an error, and what is done to a good lookup to get it.
type Misasked = (&'static str, fn(&mut Lookup));

#[test]
fn s21_a_lookup_is_checked_as_a_put_is() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let mistakes: [Misasked; 7] = [
        ("project: must not be empty", |lookup| lookup.call.scope.project.clear()),
        ("domain: is 1025 bytes long", |lookup| lookup.call.scope.domain = long()),
        ("task: must not be empty", |lookup| lookup.call.task.clear()),
        ("cache_version: must not be blank", |lookup| lookup.call.cache_version = "\t".to_owned()),
        ("cache_version: must be trimmed", |lookup| lookup.call.cache_version.push(' ')),
        ("input name: must not be empty", |lookup| lookup.call.inputs[0].0.clear()),
        ("input `b`: is given twice", |lookup| lookup.call.inputs[0].0 = "b".to_owned()),
    ];
    for (message, mistake) in mistakes {
        let mut lookup = Lookup { call: good().0.0.identity().unwrap(), max_age_ms: None };
        mistake(&mut lookup);
        let error = raw.ask_error(Request::Lookup(lookup), Bytes::new());
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
        assert!(error.message.starts_with(message), "{message}: {error}");
    }
    assert!(raw.ping());
}

#[test]
fn s22_outputs_that_are_no_values_of_their_types_are_not_stored() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let of = |literal_type: &str| call("typed").bare().output("o0", literal_type);
    let integer = Literal::Integer(1).to_blob(&"integer".parse().unwrap()).unwrap();
    for (literal_type, content) in
        [("string", &b"\xff\xfe"[..]), ("integer", b"1"), ("boolean", &integer), ("none", b"")]
    {
        let error = raw.put_error(of(literal_type).put(&[("o0", content)]));
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{literal_type}: {error}");
        assert!(error.message.starts_with("output `o0`:"), "{error}");
        assert!(raw.lookup(&of(literal_type)).is_err(), "{literal_type}");
    }
    assert_eq!(raw.put(of("integer").put(&[("o0", &integer)])), PutOutcome::Populated);
}
