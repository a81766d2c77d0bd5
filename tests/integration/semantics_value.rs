//! Semantics 9 to 11: which values of an input are the same value.

use std::collections::BTreeMap;

use harness::call;
use memod_protocol::Literal;

use crate::sameness::{World, each, file, hashed, list, members, text, with};

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
    world.same(&[
        ("empty", nested("a")),
        ("none", with("list<string>", list([text("a"), text("b")]))),
    ]);
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
        [
            0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.1,
            0.1 + f64::EPSILON,
            f64::MIN_POSITIVE,
        ]
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
        let make = |value| {
            if of == "datetime" { Literal::Datetime(value) } else { Literal::Duration(value) }
        };
        world.different(&each(of, values.map(make)));
    }
    // One letter with an accent, and a letter and an accent: strings are taken as given.
    world.different(&each("string", [text("\u{e9}"), text("e\u{301}"), text("e"), text("\0")]));
    world.different(&each("enum(a|b)", ["a", "b"].map(|name| Literal::Enum(name.to_owned()))));
    let opaque = |bytes: &'static str| Literal::Opaque { format: "f".into(), bytes: bytes.into() };
    world.different(&each("opaque(f)", ["a", "b", ""].map(opaque)));
    let structure =
        |a, b| Literal::Struct(members([("a", Literal::Boolean(a)), ("b", Literal::Boolean(b))]));
    let both = [(true, false), (false, true), (true, true)].map(|(a, b)| structure(a, b));
    world.different(&each("struct{a:boolean,b:boolean}", both));
    world.different(&[
        ("a datetime", with("union<datetime|duration>", Literal::Datetime(1))),
        ("a duration", with("union<datetime|duration>", Literal::Duration(1))),
        (
            "a map",
            with("union<map<integer>|struct{a:integer}>", {
                Literal::Map(members([("a", Literal::Integer(1))]))
            }),
        ),
        (
            "a struct",
            with("union<map<integer>|struct{a:integer}>", {
                Literal::Struct(members([("a", Literal::Integer(1))]))
            }),
        ),
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
        [
            strings(&["a", "bc"]),
            strings(&["ab", "c"]),
            strings(&["abc"]),
            strings(&["a", "", "bc"]),
        ],
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
        (
            "a hashed, b absent",
            bare().input("a", "string", hashed("h;b:z", None)).declare("b", "string"),
        ),
        ("swapped", both(hashed("z", None), hashed("h", None))),
        ("plain", both(text("h"), text("z"))),
        ("one hashed", both(hashed("h", None), text("z"))),
    ]);
}
