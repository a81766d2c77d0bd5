//! Semantics 1 to 13: which calls are the same call.
//!
//! Every group of calls is put to the daemon: those that are one call find each other's outputs,
//! those that are not each keep their own.

use std::collections::BTreeMap;

use harness::{CallBuilder, Daemon, Raw, call};
use memod_protocol::{
    Digest, ErrorCode, Literal, Lookup, MissReason, PutOutcome, Request, Scope, Selector, json,
};

/// A daemon, and a connection to it.
struct World {
    daemon: Daemon,
    raw: Raw,
}

impl World {
    fn new() -> Self {
        let daemon = Daemon::new();
        let raw = daemon.connect();
        Self { daemon, raw }
    }

    fn clear(&mut self) {
        let everything = Selector::Matching(memod_protocol::Filter::default());
        self.raw.invalidate(everything, false);
    }

    /// Stores each of the calls in turn: all others find it, and none can store anything beside.
    #[track_caller]
    fn same(&mut self, calls: &[(&str, CallBuilder)]) {
        for (stored, first) in calls {
            self.clear();
            let content = outputs(first, stored);
            assert_eq!(self.raw.put(put(first, &content)), PutOutcome::Populated, "{stored}");
            for (asked, other) in calls {
                let (hit, found) = self.raw.lookup(other).unwrap_or_else(|miss| {
                    panic!("`{asked}` misses what `{stored}` has stored: {miss:?}")
                });
                assert_eq!(Some(hit.key), other.0.key().ok());
                let found: Vec<&[u8]> = found.iter().map(AsRef::as_ref).collect();
                let wanted: Vec<&[u8]> = content.values().map(Vec::as_slice).collect();
                assert_eq!(found, wanted, "`{asked}` after `{stored}`");
                let again = self.raw.put(put(other, &outputs(other, asked)));
                assert!(matches!(again, PutOutcome::Exists(_)), "`{asked}` after `{stored}`");
            }
        }
    }

    /// Stores all of the calls: none finds another's outputs, before or after it has its own.
    #[track_caller]
    fn different(&mut self, calls: &[(&str, CallBuilder)]) {
        self.clear();
        for (number, (name, one)) in calls.iter().enumerate() {
            for (later, other) in &calls[number..] {
                assert!(self.raw.lookup(other).is_err(), "`{later}` hits before it is stored");
            }
            assert_eq!(
                self.raw.put(put(one, &outputs(one, name))),
                PutOutcome::Populated,
                "`{name}` is taken for another"
            );
        }
        for (name, one) in calls {
            let (_, found) = self.raw.lookup(one).expect("it was stored");
            let wanted = outputs(one, name);
            let found: Vec<&[u8]> = found.iter().map(AsRef::as_ref).collect();
            assert_eq!(found, wanted.values().map(Vec::as_slice).collect::<Vec<_>>(), "`{name}`");
        }
    }
}

/// Bytes for each output of the call that only this name has.
fn outputs(of: &CallBuilder, name: &str) -> BTreeMap<String, Vec<u8>> {
    let content = |(output, declared): (&String, &memod_protocol::LiteralType)| {
        let text = format!("{output} of {name}");
        let bytes = match declared {
            memod_protocol::LiteralType::Integer => {
                let number = text.bytes().fold(7_i64, |sum, byte| sum * 31 % 65_521 + i64::from(byte));
                Literal::Integer(number).to_blob(declared).unwrap().to_vec()
            }
            _ => text.into_bytes(),
        };
        (output.clone(), bytes)
    };
    of.0.interface.outputs.iter().map(content).collect()
}

fn put(
    of: &CallBuilder,
    outputs: &BTreeMap<String, Vec<u8>>,
) -> (memod_protocol::Put, bytes::Bytes) {
    let pairs: Vec<(&str, &[u8])> =
        outputs.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    of.put(&pairs)
}

fn text(value: &str) -> Literal {
    Literal::String(value.to_owned())
}

fn list(items: impl IntoIterator<Item = Literal>) -> Literal {
    Literal::List(items.into_iter().collect())
}

fn members<const N: usize>(members: [(&str, Literal); N]) -> BTreeMap<String, Literal> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn hashed(hash: &str, value: Option<Literal>) -> Literal {
    Literal::Hashed { hash: hash.to_owned(), value: value.map(Box::new) }
}

/// A call with one input `x`.
fn with(literal_type: &str, value: Literal) -> CallBuilder {
    call("t").bare().output("o0", "string").input("x", literal_type, value)
}

/// The calls with one input `x` of this type, named by number.
fn each<const N: usize>(literal_type: &str, values: [Literal; N]) -> Vec<(&'static str, CallBuilder)> {
    let names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"];
    assert!(N <= names.len());
    names.into_iter().zip(values.map(|value| with(literal_type, value))).collect()
}

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
    let error = world
        .raw
        .ask_error(Request::Lookup(Lookup { call: identity, max_age_ms: None }), bytes::Bytes::new());
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains("inputs"), "{error}");
}

#[test]
fn s02_absent_and_empty_are_the_same() {
    World::new().same(&[
        ("neither", from_json(r#"{"task":"t","cache_version":"1"}"#)),
        (
            "empty",
            from_json(
                r#"{"task":"t","cache_version":"1","inputs":{},"outputs":{},"ignore":[]}"#,
            ),
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
        ("an output renamed", call("t").bare().input("a", "integer", Literal::Integer(1)).output("p", "string")),
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
fn s09_a_values_own_hash_replaces_it_at_any_depth_and_of_any_type() {
    let mut world = World::new();
    let of_types = [
        ("integer", Literal::Integer(1), Literal::Integer(2)),
        ("string", text("a"), text("b")),
        ("bytes", Literal::Bytes("a".into()), Literal::Bytes("b".into())),
        ("list<integer>", list([]), list([Literal::Integer(1)])),
        (
            "map<boolean>",
            Literal::Map(BTreeMap::new()),
            Literal::Map(members([("a", Literal::Boolean(true))])),
        ),
        ("file", file("a"), file("b")),
        ("optional<float>", Literal::None, Literal::Float(1.0)),
    ];
    for (of, one, other) in of_types {
        world.same(&[
            ("one value", with(of, hashed("h", Some(one.clone())))),
            ("another", with(of, hashed("h", Some(other.clone())))),
            ("none at hand", with(of, hashed("h", None))),
        ]);
        world.different(&[
            ("hashed", with(of, hashed("h", Some(one.clone())))),
            ("by another hash", with(of, hashed("i", Some(one.clone())))),
            ("not hashed", with(of, one)),
            ("not hashed, the other", with(of, other)),
        ]);
    }
    let deep = |value: i64, hash: &str, beside: i64| {
        let inner = hashed(hash, Some(Literal::Integer(value)));
        let fields = members([("p", list([inner, Literal::Integer(beside)])), ("q", text("z"))]);
        with("map<struct{p:list<integer>,q:string}>", {
            Literal::Map(members([("k", Literal::Struct(fields))]))
        })
    };
    world.same(&[("one", deep(1, "h", 5)), ("two", deep(2, "h", 5))]);
    world.different(&[
        ("as it is", deep(1, "h", 5)),
        ("another hash", deep(1, "i", 5)),
        ("another sibling", deep(1, "h", 6)),
    ]);
}

#[test]
fn s09_an_empty_hash_is_no_hash() {
    let mut world = World::new();
    let empty = |value: i64| with("integer", hashed("", Some(Literal::Integer(value))));
    world.same(&[("empty", empty(1)), ("none", with("integer", Literal::Integer(1)))]);
    world.different(&[("one", empty(1)), ("two", empty(2))]);
    let nested = |value| with("list<string>", list([hashed("", Some(text(value))), text("b")]));
    world.same(&[("empty", nested("a")), ("none", with("list<string>", list([text("a"), text("b")])))]);
    world.different(&[("one", nested("a")), ("two", nested("c"))]);
}

#[test]
fn s10_values_of_different_kinds_differ() {
    let any = "optional<union<integer|float|string|boolean|bytes|list<integer>|map<integer>>>";
    let mut values = each(
        any,
        [
            Literal::Integer(1),
            Literal::Float(1.0),
            text("1"),
            Literal::Boolean(true),
            Literal::None,
            Literal::Integer(0),
            Literal::Boolean(false),
            text(""),
            Literal::Bytes("1".into()),
            Literal::Bytes("".into()),
            list([Literal::Integer(1)]),
            Literal::Map(members([("1", Literal::Integer(1))])),
            text("true"),
            list([]),
            Literal::Map(BTreeMap::new()),
        ],
    );
    let absent = call("t").bare().output("o0", "string").declare("x", any);
    values.push(("absent", absent));
    World::new().different(&values);
}

#[test]
fn s10_numbers_and_lists() {
    let mut world = World::new();
    world.same(&each("float", [Literal::Float(0.0), Literal::Float(-0.0)]));
    let quiet = f64::from_bits(0x7ff8_0000_0000_0001);
    let negative = f64::from_bits(0xfff8_0000_0000_0000);
    world.same(&each("float", [f64::NAN, quiet, negative].map(Literal::Float)));
    world.same(&each("list<float>", [0.0, -0.0].map(|zero| list([Literal::Float(zero)]))));
    world.different(&each(
        "float",
        [0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1, 0.1 + f64::EPSILON, f64::MIN_POSITIVE]
            .map(Literal::Float),
    ));
    let beyond = 1_i64 << 53;
    world.different(&each(
        "integer",
        [beyond, beyond + 1, beyond + 2, -beyond - 1, i64::MAX, i64::MAX - 1, i64::MIN]
            .map(Literal::Integer),
    ));
    let ordered = [[1, 2, 3], [1, 3, 2], [3, 2, 1]].map(|items| list(items.map(Literal::Integer)));
    world.different(&each("list<integer>", ordered));
}

#[test]
fn s10_every_other_kind_of_value_counts_exactly() {
    let mut world = World::new();
    for of in ["datetime", "duration"] {
        let values = [0, 1, -1, i128::from(i64::MAX) + 1, i128::MAX];
        let make = |value| if of == "datetime" { Literal::Datetime(value) } else { Literal::Duration(value) };
        world.different(&each(of, values.map(make)));
    }
    // One letter with an accent, and a letter and an accent: strings are taken as given.
    world.different(&each("string", [text("\u{e9}"), text("e\u{301}"), text("e"), text("\0")]));
    world.different(&each("enum(a|b)", ["a", "b"].map(|name| Literal::Enum(name.to_owned()))));
    let opaque = |bytes: &'static str| Literal::Opaque { format: "f".into(), bytes: bytes.into() };
    world.different(&each("opaque(f)", ["a", "b", ""].map(opaque)));
    let structure = |a, b| Literal::Struct(members([("a", Literal::Boolean(a)), ("b", Literal::Boolean(b))]));
    let both = [(true, false), (false, true), (true, true)].map(|(a, b)| structure(a, b));
    world.different(&each("struct{a:boolean,b:boolean}", both));
    world.different(&[
        ("a datetime", with("union<datetime|duration>", Literal::Datetime(1))),
        ("a duration", with("union<datetime|duration>", Literal::Duration(1))),
        ("a map", with("union<map<integer>|struct{a:integer}>", {
            Literal::Map(members([("a", Literal::Integer(1))]))
        })),
        ("a struct", with("union<map<integer>|struct{a:integer}>", {
            Literal::Struct(members([("a", Literal::Integer(1))]))
        })),
        ("an enum", with("union<enum(a)|string>", Literal::Enum("a".to_owned()))),
        ("a string", with("union<enum(a)|string>", text("a"))),
    ]);
}

#[test]
fn s11_containers_are_framed() {
    let integers = |items: &[i64]| list(items.iter().copied().map(Literal::Integer));
    let any = "list<union<integer|list<integer>>>";
    let mut world = World::new();
    world.different(&[
        ("[[1],[2]]", with(any, list([integers(&[1]), integers(&[2])]))),
        ("[[1,2]]", with(any, list([integers(&[1, 2])]))),
        ("[1,2]", with(any, integers(&[1, 2]))),
        ("[[1],2]", with(any, list([integers(&[1]), Literal::Integer(2)]))),
        ("[]", with(any, list([]))),
        ("[[]]", with(any, list([integers(&[])]))),
        ("[[],[]]", with(any, list([integers(&[]), integers(&[])]))),
    ]);
    let one = || list([Literal::Integer(1)]);
    for wrap in [Literal::Map, Literal::Struct] {
        let of = |members: &BTreeMap<String, Literal>| {
            let fields: Vec<_> =
                members.keys().map(|name| format!("{name}:list<integer>")).collect();
            match wrap(BTreeMap::new()) {
                Literal::Map(_) => "map<list<integer>>".to_owned(),
                _ => format!("struct{{{}}}", fields.join(",")),
            }
        };
        let [split, joined, left] = [
            members([("a", list([])), ("b", one())]),
            members([("ab", one())]),
            members([("a", one()), ("b", list([]))]),
        ]
        .map(|members| with(&of(&members), wrap(members)));
        world.different(&[("a:[],b:[1]", split), ("ab:[1]", joined), ("a:[1],b:[]", left)]);
    }
    let strings = |items: &[&str]| list(items.iter().map(|item| text(item)));
    world.different(&each(
        "list<string>",
        [strings(&["a", "bc"]), strings(&["ab", "c"]), strings(&["abc"]), strings(&["a", "", "bc"])],
    ));
}

#[test]
fn s11_hashes_are_framed() {
    let hashes = |hashes: &[&str]| list(hashes.iter().map(|hash| hashed(hash, None)));
    let mut world = World::new();
    world.different(&each(
        "list<string>",
        [hashes(&["a", "bc"]), hashes(&["ab", "c"]), hashes(&["abc"])],
    ));
    let bare = || call("t").bare().output("o0", "string");
    let both = |a: Literal, b: Literal| bare().input("a", "string", a).input("b", "string", b);
    world.different(&[
        ("one hash of a", bare().input("a", "string", hashed("h;b:z", None))),
        ("hashes of a and b", both(hashed("h", None), hashed("z", None))),
        ("a hashed, b absent", bare().input("a", "string", hashed("h;b:z", None)).declare("b", "string")),
        ("swapped", both(hashed("z", None), hashed("h", None))),
        ("plain", both(text("h"), text("z"))),
        ("one hashed", both(hashed("h", None), text("z"))),
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
        bound.into_iter().fold(one, |one, (name, value)| {
            one.input(name, "integer", Literal::Integer(value))
        })
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

fn file(content: &str) -> Literal {
    Literal::File { digest: Digest::of(content.as_bytes()), bytes: content.len() as u64 }
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
