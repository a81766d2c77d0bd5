//! Well-formed messages that ask for what cannot be: names, inputs, types and interfaces.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, call};
use memod_protocol::limits::{
    HEADER_BYTES_MAX, INPUTS_MAX, NAME_BYTES_MAX, OUTPUTS_MAX, TYPE_BYTES_MAX,
};
use memod_protocol::{
    CallIdentity, Digest, ErrorCode, Interface, InterfaceText, Lookup, NewOutput, OutputSource,
    Put, Request, RequestHeader, Response, RunClaim,
};

use crate::bystander::Bystander;

/// The error must be about an argument, and name all of this.
#[track_caller]
fn assert_refused(raw: &mut Raw, what: &str, request: Request, payload: &[u8], names: &[&str]) {
    let error = raw.ask_error(request, Bytes::copy_from_slice(payload));
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{what}: {error}");
    for name in names {
        assert!(error.message.contains(name), "{what}: {name} is not in: {error}");
    }
    assert!(error.message.len() < 2000, "{what}: {} bytes of message", error.message.len());
}

fn lookup_of(call: CallIdentity) -> Request {
    Request::Lookup(Lookup { call, max_age_ms: None })
}

fn put_of(put: Put) -> Request {
    Request::Put(Box::new(put))
}

type Change = fn(&mut CallIdentity, String);

/// Every name of a call, as the error must call it, and how to set it.
const NAMES: [(&str, Change); 5] = [
    ("project", |call, name| call.scope.project = name),
    ("domain", |call, name| call.scope.domain = name),
    ("task", |call, name| call.task = name),
    ("cache_version", |call, name| call.cache_version = name),
    ("input name", |call, name| call.inputs[0].0 = name),
];

#[test]
fn names_of_no_byte_and_of_too_many_are_refused_by_field() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let good = call("names").0.identity().unwrap();
    let longest = HEADER_BYTES_MAX as usize - 4096;
    for (field, change) in NAMES {
        for bytes in [0, NAME_BYTES_MAX + 1, longest] {
            let what = format!("{field} of {bytes} bytes");
            let mut wrong = good.clone();
            change(&mut wrong, "x".repeat(bytes));
            let problem = if bytes == 0 { "must not be" } else { "1024 are allowed" };
            assert_refused(&mut raw, &what, lookup_of(wrong.clone()), &[], &[field, problem]);
            let (mut put, payload) = call("names").put(&[("o0", b"")]);
            put.call = wrong;
            assert_refused(&mut raw, &what, put_of(put), &payload, &[field, problem]);
        }
        // At the limit it is a name like any other.
        let mut right = good.clone();
        change(&mut right, "x".repeat(NAME_BYTES_MAX));
        let reply = raw.ask(lookup_of(right), Bytes::new());
        assert!(matches!(reply.response, Response::Miss(_)), "{field}: {:?}", reply.response);
    }
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn names_of_a_mebibyte_do_not_even_fit_and_the_error_says_so() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    for (field, change) in NAMES {
        let mut wrong = call("names").0.identity().unwrap();
        change(&mut wrong, "x".repeat(1 << 20));
        let header = RequestHeader { id: 1, request: lookup_of(wrong) };
        let header = memod_protocol::wire::encode(&header);
        let length = u32::try_from(header.len()).unwrap();
        let mut raw = daemon.connect();
        // The daemon may have read enough before everything is sent.
        let _ = raw.send_bytes(&[(length + 4).to_le_bytes(), length.to_le_bytes()].concat());
        let _ = raw.send_bytes(&header);
        let reply = raw.read_reply().expect("it is told why");
        let Response::Error(error) = reply.response else { panic!("{field} was accepted") };
        assert!(error.message.contains(&format!("{HEADER_BYTES_MAX} are allowed")), "{error}");
    }
    bystander.noticed_nothing(&daemon);
}

#[test]
fn cache_versions_that_are_blank_or_not_trimmed_are_refused() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    for (version, problem) in [(" \t\n", "must not be blank"), (" 1.0", "must be trimmed")] {
        let mut wrong = call("versions").0.identity().unwrap();
        wrong.cache_version = version.to_owned();
        let names = ["cache_version", problem];
        assert_refused(&mut raw, version, lookup_of(wrong), &[], &names);
    }
}

#[test]
fn ten_thousand_inputs_or_outputs_are_too_many() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let digest = Digest::of(b"");
    let inputs = |count: usize| (0..count).map(|i| (format!("i{i:05}"), digest)).collect();
    let mut call_with = call("many").0.identity().unwrap();
    for (count, wrong) in [(INPUTS_MAX, false), (INPUTS_MAX + 1, true), (10_000, true)] {
        call_with.inputs = inputs(count);
        let request = lookup_of(call_with.clone());
        if wrong {
            let names = ["inputs", "4096 are allowed", &count.to_string()];
            assert_refused(&mut raw, "inputs", request, &[], &names);
        } else {
            let reply = raw.ask(request, Bytes::new());
            assert!(matches!(reply.response, Response::Miss(_)), "{:?}", reply.response);
        }
    }
    let (mut put, payload) = call("many").put(&[("o0", b"")]);
    let declared = |count: usize| (0..count).map(|i| (format!("o{i:05}"), "string".to_owned()));
    put.interface.outputs = declared(OUTPUTS_MAX + 1).collect();
    let names = ["outputs", "4097", "4096 are allowed"];
    assert_refused(&mut raw, "outputs", put_of(put.clone()), &payload, &names);
    put.interface.outputs = declared(10_000).collect();
    let names = ["outputs", "10000", "4096 are allowed"];
    assert_refused(&mut raw, "outputs", put_of(put), &payload, &names);
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn an_entry_may_have_as_many_outputs_as_the_limit_says() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let names: Vec<String> = (0..OUTPUTS_MAX).map(|number| format!("o{number:04}")).collect();
    let mut most = call("most").bare();
    let string = |name: &String| (name.clone(), memod_protocol::LiteralType::String);
    most.0.interface =
        Interface { outputs: names.iter().map(string).collect(), ..Interface::default() };
    let outputs: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    assert_eq!(raw.put(most.put(&outputs)), memod_protocol::PutOutcome::Populated);
    let (_, contents) = raw.lookup(&most).expect("it is stored");
    assert!(contents.iter().zip(&names).all(|(content, name)| content == name.as_bytes()));
}

#[test]
fn inputs_out_of_order_or_given_twice_are_refused() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let digest = Digest::of(b"");
    let mut wrong = call("order").0.identity().unwrap();
    wrong.inputs = vec![("a".into(), digest), ("a".into(), digest)];
    let names = ["input `a`", "given twice"];
    assert_refused(&mut raw, "twice", lookup_of(wrong.clone()), &[], &names);
    wrong.inputs = vec![("b".into(), digest), ("a".into(), digest)];
    let names = ["inputs", "ascending order"];
    assert_refused(&mut raw, "order", lookup_of(wrong), &[], &names);
    // Not even in the error's text does a name get out of its line.
    let mut forged = call("order").0.identity().unwrap();
    forged.inputs = vec![("a\nERROR".into(), digest), ("a\nERROR".into(), digest)];
    let error = raw.ask_error(lookup_of(forged), Bytes::new());
    assert!(!error.message.contains('\n'), "{error}");
}

#[test]
fn types_that_are_too_deep_too_long_or_none_are_refused() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let nested = |depth: usize| format!("{}integer{}", "list<".repeat(depth), ">".repeat(depth));
    let too_long = format!("{TYPE_BYTES_MAX} are allowed");
    for (what, text, problem) in [
        ("nested 100,000 deep", nested(100_000), too_long.as_str()),
        ("opened 100,000 times", "list<".repeat(100_000), too_long.as_str()),
        ("nested 2,000 deep", nested(2_000), "nested deeper than 100"),
        ("opened 1,800 times", "optional<".repeat(1_800), "nested deeper than 100"),
        ("a struct in a struct in ..", "struct{a:".repeat(1_800), "nested deeper than 100"),
        ("a union in a union in ..", "union<none|".repeat(1_400), "nested deeper than 100"),
        ("nothing", String::new(), "not a type"),
        ("not a type", "strin".to_owned(), "not a type"),
        ("something behind", "string>".to_owned(), "left over"),
        ("no end", "list<string".to_owned(), "`>` is missing"),
        ("a field twice", "struct{a:none,a:none}".to_owned(), "named twice"),
        ("an empty enum", "enum()".to_owned(), "output `o0`"),
    ] {
        let (mut put, payload) = call("types").put(&[("o0", b"")]);
        put.interface.outputs[0].1 = text;
        assert_refused(&mut raw, what, put_of(put), &payload, &["output `o0`", problem]);
    }
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

/// What is wrong with a put, how it becomes so, and what the error must name.
type Spoiled = (&'static str, fn(&mut Put), &'static str);

#[test]
fn an_interface_that_is_not_the_signatures_is_refused() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let good = || call("signature").put(&[("o0", b"")]).0;
    let changes: [Spoiled; 7] = [
        ("another signature", |p| p.call.signature = Digest::of(b""), "signature"),
        ("another task", |p| p.call.task = "other".into(), "signature"),
        ("an input retyped", |p| p.interface.inputs[0].1 = "bytes".into(), "signature"),
        ("an output retyped", |p| p.interface.outputs[0].1 = "bytes".into(), "signature"),
        (
            "an output declared twice",
            |p| p.interface.outputs.push(("o0".into(), "string".into())),
            "output `o0`: is declared twice",
        ),
        (
            "an empty output name",
            |p| p.interface.outputs.push((String::new(), "string".into())),
            "output name: must not be empty",
        ),
        ("nothing declared", |p| p.interface = InterfaceText::default(), "signature"),
    ];
    for (what, change, problem) in changes {
        let mut put = good();
        change(&mut put);
        assert_refused(&mut raw, what, put_of(put), b"", &[problem]);
    }
    let mut put = good();
    put.call.inputs.push(("undeclared".to_owned(), Digest::of(b"")));
    assert_refused(&mut raw, "input", put_of(put), b"", &["input `undeclared`", "not declared"]);
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn claims_about_a_run_are_bounded_too() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let text = || Some("x".repeat(NAME_BYTES_MAX + 1));
    let claims = [
        ("task_version", RunClaim { task_version: text(), ..RunClaim::default() }),
        ("execution", RunClaim { execution: text(), ..RunClaim::default() }),
        ("node", RunClaim { node: Some(String::new()), ..RunClaim::default() }),
    ];
    for (field, run) in claims {
        let (mut put, payload) = call("claims").put(&[("o0", b"")]);
        put.run = run;
        assert_refused(&mut raw, field, put_of(put), &payload, &[field]);
    }
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn outputs_that_are_not_those_of_the_signature_are_refused_by_name() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let two: CallBuilder = call("outputs").output("o1", "string");
    for (given, names) in [
        (vec!["o0"], ["output `o1`", "was not given"]),
        (vec!["o1"], ["output `o1`", "order"]),
        (vec![], ["output `o0`", "was not given"]),
        (vec!["o0", "o0"], ["output `o0`", "given twice"]),
        (vec!["o0", "o1", "o1"], ["output `o1`", "given twice"]),
        (vec!["o1", "o0"], ["output `o1`", "order"]),
        (vec!["o0", "o1", "o2"], ["output `o2`", "not declared"]),
        (vec!["O0", "o1"], ["output `O0`", "not declared"]),
        (vec!["", "o1"], ["output ``", "not declared"]),
    ] {
        let (mut put, _) = two.put(&[]);
        let output = |name: &&str| NewOutput {
            name: (*name).to_owned(),
            bytes: 0,
            digest: None,
            source: OutputSource::Inline,
        };
        put.outputs = given.iter().map(output).collect();
        assert_refused(&mut raw, &format!("{given:?}"), put_of(put), b"", &names);
        assert!(raw.lookup(&two).is_err(), "{given:?} was stored");
    }
    drop(raw);
    bystander.noticed_nothing(&daemon);
}
