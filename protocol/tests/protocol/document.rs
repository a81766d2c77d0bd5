//! WIRE.md against the code: constants, tags, contexts, examples.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use memod_protocol::wire::{Encode, encode};
use memod_protocol::{Call, Digest, Interface, Literal, LiteralType, Outcome, Verb, limits};

use crate::golden_wire::recorded;
use crate::samples::{ERROR_CODES, MISS_REASONS};
use crate::samples_reports::DIFFERENCE_KINDS;
use crate::support::{call, from_hex, hex, read};

/// The cells of the rows of the table behind a comment, without their back-quotes.
pub(crate) fn table(document: &str, comment: &str) -> Vec<Vec<String>> {
    let mark = format!("<!-- {comment} -->\n");
    let (_, behind) = document.split_once(&mark).unwrap_or_else(|| panic!("WIRE.md has no {mark}"));
    rows(behind)
}

/// The cells of the rows of the table that begins here.
pub(crate) fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let inner = line.trim_matches('|').replace("\\|", "\u{1}");
        let cell = |cell: &str| cell.trim().replace('`', "").replace('\u{1}', "|");
        inner.split(" | ").map(cell).collect()
    };
    lines.skip(2).map(cells).collect()
}

/// The one fenced block of that title.
fn block(document: &str, title: &str) -> String {
    let (_, behind) = document
        .split_once(&format!("```{title}\n"))
        .unwrap_or_else(|| panic!("WIRE.md has no block {title}"));
    behind.split_once("\n```").unwrap().0.to_owned()
}

/// All bytes of a table that walks through them.
fn walked(document: &str, name: &str) -> Vec<u8> {
    let rows = table(document, &format!("walked: {name}"));
    assert!(rows.len() > 1 || name == "example value", "{rows:?}");
    rows.iter().flat_map(|row| from_hex(&row[0])).collect()
}

fn document() -> String {
    read("WIRE.md")
}

#[test]
fn limits_are_those_of_the_code() {
    macro_rules! values {
        ($($name:ident),* $(,)?) => {
            [$((stringify!($name), limits::$name.to_string())),*]
        };
    }
    let values: BTreeMap<&str, String> = values![
        FRAME_BYTES_MAX,
        HEADER_BYTES_MAX,
        PAYLOAD_BYTES_MAX,
        INLINE_BYTES_MAX,
        CHUNK_BYTES,
        BLOB_BYTES_MAX,
        NAME_BYTES_MAX,
        USER_HASH_BYTES_MAX,
        INPUTS_MAX,
        OUTPUTS_MAX,
        NESTING_MAX,
        JSON_NESTING_MAX,
        TYPE_BYTES_MAX,
        VERSIONS_MAX,
        LIST_ROWS_MAX,
        REQUESTS_IN_FLIGHT_MAX,
        LOG_ROWS_MAX,
        LEASE_ROWS_MAX,
        NEAREST_MAX,
        LOOKUPS_MAX,
        BOARD_HITS_MAX,
        UPLOADS_OPEN_MAX,
        DESCRIPTORS_MAX,
    ]
    .into();
    let source = include_str!("../../src/limits.rs");
    let declared: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .collect();
    assert_eq!(declared, values.keys().copied().collect(), "a limit is missing in this test");
    let rows = table(&document(), "checked: limits");
    let told: BTreeMap<&str, String> =
        rows.iter().map(|row| (row[0].as_str(), row[1].clone())).collect();
    assert_eq!(told, values);
}

fn literal_of(name: &str) -> Literal {
    let bytes = bytes::Bytes::from_static(b"b");
    let hash = "h".to_owned();
    match name {
        "none" => Literal::None,
        "boolean" => Literal::Boolean(true),
        "integer" => Literal::Integer(1),
        "float" => Literal::Float(1.0),
        "string" => Literal::String("s".into()),
        "bytes" => Literal::Bytes(bytes),
        "datetime" => Literal::Datetime(1),
        "duration" => Literal::Duration(1),
        "file" => Literal::File { digest: Digest::of(b""), bytes: 0 },
        "list" => Literal::List(vec![Literal::None]),
        "map" => Literal::Map(BTreeMap::from([("m".into(), Literal::None)])),
        "struct" => Literal::Struct(BTreeMap::from([("m".into(), Literal::None)])),
        "enum" => Literal::Enum("e".into()),
        "opaque" => Literal::Opaque { format: "f".into(), bytes },
        "hash" => Literal::Hashed { hash, value: None },
        "hash and value" => Literal::Hashed { hash, value: Some(Box::new(Literal::Integer(1))) },
        other => panic!("{other} is no value"),
    }
}

#[test]
fn tags_of_values_are_those_of_the_code() {
    let rows = table(&document(), "checked: value tags");
    assert_eq!(rows.len(), 16);
    for row in rows {
        let encoding = match row[1].as_str() {
            "hash and value" => {
                literal_of(&row[1]).to_blob(&LiteralType::Integer).unwrap().to_vec()
            }
            name => literal_of(name).key_encoding(),
        };
        assert_eq!(hex(&encoding[..1]), row[0], "{row:?}");
    }
}

fn type_of(name: &str) -> LiteralType {
    let text = match name {
        "list" => "list<none>",
        "map" => "map<none>",
        "struct" => "struct{a:none}",
        "enum" => "enum(a)",
        "optional" => "optional<integer>",
        "union" => "union<none>",
        "opaque" => "opaque(a)",
        simple => simple,
    };
    text.parse().unwrap()
}

/// The digest of bytes with the context that WIRE.md gives for that kind of digest.
fn derived(document: &str, kind: &str, bytes: &[u8]) -> String {
    let rows = table(document, "checked: contexts");
    let context = &rows.iter().find(|row| row[0] == kind).unwrap()[1];
    hex(blake3::Hasher::new_derive_key(context).update(bytes).finalize().as_bytes())
}

fn count(number: usize) -> [u8; 8] {
    (number as u64).to_le_bytes()
}

/// Types are seen only in signatures: each must come out of the documented bytes.
#[test]
fn tags_of_types_are_those_of_the_code() {
    let document = document();
    let rows = table(&document, "checked: type tags");
    assert_eq!(rows.len(), 16);
    let tags: BTreeMap<&str, Vec<u8>> =
        rows.iter().map(|row| (row[1].as_str(), from_hex(&row[0]))).collect();
    for (name, tag) in &tags {
        let inner = match *name {
            "list" | "map" => tags["none"].clone(),
            "optional" => tags["integer"].clone(),
            "struct" => [&count(1)[..], &count(1), b"a", &tags["none"]].concat(),
            "enum" => [&count(1)[..], &count(1), b"a"].concat(),
            "union" => [&count(1)[..], &tags["none"]].concat(),
            "opaque" => [&count(1)[..], b"a"].concat(),
            _ => Vec::new(),
        };
        let head = [&[0x80][..], &count(1), b"t", &[0x81], &count(1), &count(1), b"x"].concat();
        let bytes = [&head[..], tag, &inner, &[0x82], &count(0)].concat();
        let interface = Interface {
            inputs: BTreeMap::from([("x".into(), type_of(name))]),
            outputs: BTreeMap::new(),
        };
        let signature = interface.signature("t").to_string();
        assert_eq!(signature, derived(&document, "signature", &bytes), "{name}");
    }
}

fn example(document: &str) -> Call {
    call(&serde_json::from_str(&block(document, "json example")).unwrap())
}

#[test]
fn the_example_of_a_key_is_right() {
    let document = document();
    let identity = example(&document).identity().unwrap();
    let value = walked(&document, "example value");
    assert_eq!(derived(&document, "input", &value), identity.inputs[0].1.to_string());
    assert_eq!(block(&document, "hex example digest"), identity.inputs[0].1.to_string());
    let signature = walked(&document, "example signature");
    assert_eq!(derived(&document, "signature", &signature), identity.signature.to_string());
    assert_eq!(block(&document, "hex example signature"), identity.signature.to_string());
    let key = walked(&document, "example key");
    assert_eq!(derived(&document, "key", &key), identity.key().to_string());
    assert_eq!(block(&document, "hex example key"), identity.key().to_string());
}

/// The example shows every tag of a call once, in the order of the table.
#[test]
fn tags_of_calls_are_those_of_the_example() {
    let document = document();
    let tags: Vec<(String, String)> = table(&document, "checked: call tags")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].replace("' types", "")))
        .collect();
    let shown: Vec<(String, String)> = ["example signature", "example key"]
        .iter()
        .flat_map(|name| table(&document, &format!("walked: {name}")))
        .filter(|row| row[0].len() == 2 && row[0].starts_with(['8', '9']))
        .map(|row| (row[0].clone(), row[1].split(" that ").next().unwrap().to_owned()))
        .collect();
    assert_eq!(tags, shown);
}

#[test]
fn walked_messages_are_golden() {
    let document = document();
    let recorded = recorded();
    let names: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("<!-- walked: ")?.strip_suffix(" -->"))
        .filter(|name| !name.starts_with("example"))
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert_eq!(hex(walked(&document, name)), hex(&recorded[name]), "{name}");
    }
}

#[test]
fn varints_are_those_of_the_code() {
    let rows = table(&document(), "checked: varints");
    assert!(rows.len() >= 8);
    for row in rows {
        assert_eq!(hex(encode(&row[0].parse::<u64>().unwrap())), row[1], "{row:?}");
    }
    let rows = table(&document(), "checked: signed varints");
    assert!(rows.len() >= 8);
    for row in rows {
        assert_eq!(hex(encode(&row[0].parse::<i64>().unwrap())), row[1], "{row:?}");
    }
}

/// The rows of an enum's table, without what they mean, as the code gives them.
fn named<T: Encode + Debug>(values: &[T], name: fn(&T) -> &'static str) -> Vec<Vec<String>> {
    let row = |value: &T| {
        let (number, shown) = (encode(value), format!("{value:?}"));
        let variant = shown.split('(').next().unwrap().to_owned();
        // The number of hits stands behind that of the outcome.
        assert_eq!(number.len(), if variant == shown { 1 } else { 2 });
        vec![number[0].to_string(), variant, name(value).to_owned()]
    };
    values.iter().map(row).collect()
}

#[test]
fn names_in_json_are_those_of_the_code() {
    let document = document();
    let told = |comment| -> Vec<Vec<String>> {
        table(&document, comment).into_iter().map(|row| row[..3].to_vec()).collect()
    };
    let codes = named(&ERROR_CODES, |code| code.name());
    assert_eq!(told("checked: error codes"), codes);
    let reasons = named(&MISS_REASONS, |reason| reason.name());
    assert_eq!(told("checked: miss reasons"), reasons);
    let kinds = named(&DIFFERENCE_KINDS, |kind| kind.name());
    assert_eq!(told("checked: kinds of difference"), kinds);
    assert_eq!(told("checked: verbs"), named(&Verb::ALL, |verb| verb.name()));
    assert_eq!(told("checked: outcomes"), named(&Outcome::ALL, |outcome| outcome.name()));
}
