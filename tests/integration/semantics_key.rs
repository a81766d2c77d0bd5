//! Semantics 1 to 8 and 11 to 13: which calls are the same call.
//!
//! Every group of calls is put to the daemon: those that are one call find each other's outputs,
//! those that are not each keep their own.

use std::collections::BTreeMap;

use harness::{CallBuilder, call};
use memod_protocol::{ErrorCode, Literal, Lookup, MissReason, PutOutcome, Request, Scope, json};

use crate::sameness::{World, file, hashed, members, text, with};

/// The call that JSON describes. Unlike a map in memory, JSON has an order of its own.
fn from_json(json: &str) -> CallBuilder {
    let parsed = json::parse(json).expect("JSON");
    CallBuilder(json::call(&parsed, &Scope::new("p", "d")).expect("a call"))
}

#[test]
fn s01_the_order_of_inputs_outputs_maps_and_structs_does_not_count() {
    let forth = from_json(
        r#"{"task":"t","cache_version":"1",
            "inputs":{"a":{"value":1},"b":{"value":"x"},
                "m":{"type":"list<map<map<integer>>>","value":[{"k":{"p":1,"q":2},"l":{}}]},
                "s":{"type":"struct{f:integer,g:struct{h:string,i:float}}",
                    "value":{"f":1,"g":{"h":"y","i":0.5}}}},
            "outputs":{"o0":"string","o1":"integer"}}"#,
    );
    let back = from_json(
        r#"{"outputs":{"o1":"integer","o0":"string"},
            "inputs":{"s":{"value":{"g":{"i":0.5,"h":"y"},"f":1},
                    "type":"struct{g:struct{i:float,h:string},f:integer}"},
                "m":{"type":"list<map<map<integer>>>","value":[{"l":{},"k":{"q":2,"p":1}}]},
                "b":{"value":"x"},"a":{"value":1}},
            "cache_version":"1","task":"t"}"#,
    );
    let mut world = World::new();
    world.same(&[("forth", forth.clone()), ("back", back)]);

    // On the wire the inputs' digests have one order only, so that there is one spelling.
    let mut identity = forth.0.identity().unwrap();
    identity.inputs.reverse();
    let error = world.raw.ask_error(
        Request::Lookup(Lookup { call: identity, max_age_ms: None }),
        bytes::Bytes::new(),
    );
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains("inputs"), "{error}");
}

#[test]
fn s02_absent_and_empty_are_the_same() {
    World::new().same(&[
        ("neither", from_json(r#"{"task":"t","cache_version":"1"}"#)),
        (
            "empty",
            from_json(r#"{"task":"t","cache_version":"1","inputs":{},"outputs":{},"ignore":[]}"#),
        ),
        ("bare", call("t").scope("p", "d").version("1").bare()),
    ]);
}

#[test]
fn s03_keys_are_those_of_the_golden_vectors() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/tests/golden/vectors.json");
    let golden = std::fs::read_to_string(file).expect("the golden vectors are there");
    let golden: serde_json::Value = serde_json::from_str(&golden).expect("JSON");
    let vectors = golden["vectors"].as_array().expect("a list");
    assert!(vectors.len() > 100, "{} vectors", vectors.len());
    let mut world = World::new();
    for vector in vectors {
        let parsed = json::call(&vector["call"], &Scope::new("p", "d")).expect("a call");
        let miss = world.raw.lookup(&CallBuilder(parsed)).expect_err("nothing is stored");
        assert_eq!(Some(miss.key.to_string().as_str()), vector["key"].as_str(), "{vector}");
    }
}

#[test]
fn s03_keys_last_beyond_processes() {
    let mut world = World::new();
    let one = call("lasting");
    assert_eq!(world.raw.put(one.put(&[("o0", b"kept")])), PutOutcome::Populated);
    assert!(world.daemon.stop().success());
    world.daemon.start().expect("it starts again");
    let (_, contents) = world.daemon.connect().lookup(&one).expect("another daemon finds it");
    assert_eq!(contents, ["kept"]);
    let output = world
        .daemon
        .memo()
        .args(["--project", "flytesnacks", "lookup", "--task", "lasting"])
        .args(["--cache-version", "1.0.0", "--input", "original:string=value"])
        .args(["--output", "o0:string"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "another program finds it: {output:?}");
}

#[test]
fn s04_each_component_of_the_key_counts() {
    let one = || call("t").scope("p", "d").version("1");
    let mut world = World::new();
    world.different(&[
        ("as it is", one()),
        ("project", one().scope("q", "d")),
        ("domain", one().scope("p", "e")),
        ("project and domain swapped", one().scope("d", "p")),
        ("task", call("u").scope("p", "d").version("1")),
        ("cache version", one().version("2")),
        ("case", one().scope("P", "d")),
    ]);
}

#[test]
fn s05_the_signature_counts() {
    let one = || call("t").bare().input("a", "integer", Literal::Integer(1)).output("o", "string");
    let renamed = call("t").bare().input("b", "integer", Literal::Integer(1)).output("o", "string");
    World::new().different(&[
        ("as it is", one()),
        ("an input more", one().input("b", "integer", Literal::Integer(1))),
        ("an input more, without a value", one().declare("b", "integer")),
        ("an input renamed", renamed),
        ("an input retyped", one().input("a", "optional<integer>", Literal::Integer(1))),
        ("no input", call("t").bare().output("o", "string")),
        ("an output more", one().output("p", "string")),
        (
            "an output renamed",
            call("t").bare().input("a", "integer", Literal::Integer(1)).output("p", "string"),
        ),
        ("an output retyped", one().output("o", "bytes")),
        ("no output", call("t").bare().input("a", "integer", Literal::Integer(1))),
        (
            "input and output swapped",
            call("t").bare().input("o", "string", text("1")).output("a", "integer"),
        ),
    ]);
}

#[test]
fn s06_what_only_describes_the_run_does_not_count() {
    let mut world = World::new();
    let one = call("t");
    let (mut put, payload) = one.put(&[("o0", b"first")]);
    put.run.task_version = Some("sha-1".to_owned());
    put.run.execution = Some("workflow-a/1".to_owned());
    put.run.node = Some("n0".to_owned());
    assert_eq!(world.raw.put((put.clone(), payload)), PutOutcome::Populated);
    put.run.task_version = Some("sha-2".to_owned());
    put.run.execution = Some("workflow-b/7".to_owned());
    put.run.node = Some("n5".to_owned());
    put.run.attempt = Some(3);
    let PutOutcome::Exists(winner) = world.raw.put((put, "other".into())) else {
        panic!("another version of the code, another workflow: another key");
    };
    assert_eq!(winner.run.task_version.as_deref(), Some("sha-1"));
    assert_eq!(world.raw.lookup(&one).expect("one entry").1, ["first"]);
}

#[test]
fn s07_the_cache_version_is_trimmed_and_never_blank() {
    let mut world = World::new();
    world.same(&[
        ("plain", call("t").version("1.0")),
        ("spaces", call("t").version("  1.0 ")),
        ("tab and line", call("t").version("\t1.0\n")),
    ]);
    for blank in ["", " ", "\t\n"] {
        let mut identity = call("t").0.identity().unwrap();
        identity.cache_version = blank.to_owned();
        let lookup = Request::Lookup(Lookup { call: identity, max_age_ms: None });
        let error = world.raw.ask_error(lookup, bytes::Bytes::new());
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert_eq!(error.message, "cache_version: must not be blank");
        let problem = call("t").version(blank).0.identity().expect_err("blank");
        assert_eq!(problem.to_string(), error.message);
    }
}

#[test]
fn s07_old_versions_stay_addressable() {
    let mut world = World::new();
    let version = |version: &str| call("t").version(version);
    assert_eq!(world.raw.put(version("1.0").put(&[("o0", b"old")])), PutOutcome::Populated);
    assert_eq!(world.raw.put(version("1.1").put(&[("o0", b"new")])), PutOutcome::Populated);
    assert_eq!(world.raw.lookup(&version("1.0")).expect("still there").1, ["old"]);
    assert_eq!(world.raw.lookup(&version("1.1")).expect("beside it").1, ["new"]);
}

#[test]
fn s08_an_ignored_input_stays_in_the_signature_only() {
    let one = || call("t").bare().output("o0", "string").input("a", "integer", Literal::Integer(1));
    let ignoring = |value| one().input("b", "integer", Literal::Integer(value)).ignore("b");
    let mut world = World::new();
    world.same(&[
        ("one value", ignoring(1)),
        ("another", ignoring(2)),
        ("none", one().declare("b", "integer").ignore("b")),
        ("an unknown name beside", ignoring(1).ignore("stranger")),
    ]);
    world.same(&[("as it is", one()), ("an unknown name ignored", one().ignore("stranger"))]);
    world.different(&[
        ("ignored", ignoring(1)),
        ("counted", one().input("b", "integer", Literal::Integer(1))),
        ("not declared", one()),
        ("retyped", one().input("b", "string", text("1")).ignore("b")),
        ("the other counts", ignoring(1).input("a", "integer", Literal::Integer(2))),
    ]);
}

#[test]
fn s08_ignoring_works_at_top_level_only() {
    let nested = |value: i64| {
        let fields = members([("a", Literal::Integer(value)), ("b", Literal::Integer(0))]);
        with("struct{a:integer,b:integer}", Literal::Struct(fields)).ignore("a").ignore("x.a")
    };
    let mapped = |value: i64| {
        with("map<integer>", Literal::Map(members([("a", Literal::Integer(value))]))).ignore("a")
    };
    World::new().different(&[
        ("a field", nested(1)),
        ("its other value", nested(2)),
        ("a map's key", mapped(1)),
        ("its other value in a map", mapped(2)),
    ]);
}

#[test]
fn s11_scope_task_and_version_are_framed() {
    let one = |project: &str, domain: &str, task: &str, version: &str| {
        call(task).scope(project, domain).version(version)
    };
    World::new().different(&[
        ("a-b c", one("a-b", "c", "t", "1")),
        ("a b-c", one("a", "b-c", "t", "1")),
        ("a/b c", one("a/b", "c", "t", "1")),
        ("a b/c", one("a", "b/c", "t", "1")),
        ("t1 2", one("a", "b", "t1", "2")),
        ("t 12", one("a", "b", "t", "12")),
        ("ab t", one("ab", "t", "x", "1")),
        ("a bt", one("a", "bt", "x", "1")),
        ("a b tx", one("a", "b", "tx", "1")),
        ("a bt x", one("a", "bt", "x", "12")),
    ]);
}

#[test]
fn s12_a_default_left_out_is_the_same_value_given_once_it_is_bound() {
    // What an SDK does before it asks: values that the caller leaves out become the defaults.
    let bind = |given: &[(&str, i64)]| {
        let mut bound = BTreeMap::from([("a", 0), ("threshold", 5)]);
        bound.extend(given.iter().copied());
        let one = call("t").bare().output("o0", "string");
        bound
            .into_iter()
            .fold(one, |one, (name, value)| one.input(name, "integer", Literal::Integer(value)))
    };
    let mut world = World::new();
    world.same(&[("left out", bind(&[("a", 1)])), ("given", bind(&[("threshold", 5), ("a", 1)]))]);
    let unbound = || {
        let one = call("t").bare().output("o0", "string");
        one.input("a", "integer", Literal::Integer(1)).declare("threshold", "integer")
    };
    world.different(&[
        ("bound", bind(&[("a", 1)])),
        ("another value", bind(&[("a", 1), ("threshold", 6)])),
        ("not bound", unbound()),
    ]);
}

#[test]
fn s13_a_file_counts_by_its_content() {
    let mut world = World::new();
    world.different(&[
        ("one", with("file", file("one"))),
        ("two", with("file", file("two"))),
        ("empty", with("file", file(""))),
        ("hashed", with("file", hashed("one", Some(file("one"))))),
    ]);
    world.same(&[
        ("content", with("file", hashed("mine", Some(file("one"))))),
        ("other content, the same hash", with("file", hashed("mine", Some(file("two"))))),
    ]);

    let folder = world.daemon.folder().to_owned();
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let daemon = &world.daemon;
    let memo = |command: &str, path: &str, output: &str| {
        let call = ["--task", "count", "--cache-version", "1", "--input-file"];
        let mut memo = daemon.memo();
        memo.arg(command).args(call).arg(format!("f={path}")).arg("--output").arg(output);
        memo.output().unwrap().status.code()
    };
    let here = write("here", "the same words");
    assert_eq!(memo("put", &here, "o:string=x"), Some(0));
    assert_eq!(memo("lookup", &write("there", "the same words"), "o:string"), Some(0));
    assert_eq!(memo("lookup", &write("here", "other words"), "o:string"), Some(1));
}

#[test]
fn an_unknown_call_is_told_its_key() {
    let mut world = World::new();
    let one = call("unknown");
    let miss = world.raw.lookup(&one).expect_err("nothing is stored");
    assert_eq!((miss.key, miss.reason), (one.0.key().unwrap(), MissReason::NeverSeen));
}
