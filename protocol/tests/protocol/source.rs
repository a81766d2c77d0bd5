//! The messages as the sources declare them, to be compared with WIRE.md and the golden bytes.
//!
//! Reads the lines that rustfmt writes, nothing else of the language.

use std::collections::BTreeMap;

use crate::support::in_crate;

/// A struct or an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) is_enum: bool,
    pub(crate) members: Vec<Member>,
}

/// A field of a struct or a variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// What follows it on the wire: name (empty in a tuple variant) and type, as in WIRE.md.
    pub(crate) fields: Vec<(String, String)>,
}

const SOURCES: [&str; 12] = [
    include_str!("../../src/batch.rs"),
    include_str!("../../src/board_messages.rs"),
    include_str!("../../src/call.rs"),
    include_str!("../../src/error.rs"),
    include_str!("../../src/explain.rs"),
    include_str!("../../src/handshake.rs"),
    include_str!("../../src/lease.rs"),
    include_str!("../../src/log.rs"),
    include_str!("../../src/request.rs"),
    include_str!("../../src/response.rs"),
    include_str!("../../src/savings.rs"),
    include_str!("../../src/upkeep.rs"),
];

/// All types of the wire by name: those that derive `Encode`.
pub(crate) fn all() -> BTreeMap<String, Declared> {
    let mut all = BTreeMap::new();
    for source in SOURCES {
        let mut lines = source.lines();
        let mut is_of_the_wire = false;
        while let Some(line) = lines.next() {
            if line.starts_with("#[derive(") {
                is_of_the_wire = is_derived_message(line);
            }
            let declaration = line.strip_prefix("pub ").and_then(|rest| rest.strip_suffix(" {"));
            let Some((kind, name)) = declaration.and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            if is_of_the_wire && matches!(kind, "struct" | "enum") {
                let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
                let is_enum = kind == "enum";
                let members = if is_enum { variants(&body) } else { fields(&body, "    pub ") };
                all.insert(name.to_owned(), Declared { is_enum, members });
                is_of_the_wire = false;
            }
        }
    }
    all
}

fn is_derived_message(line: &str) -> bool {
    line.starts_with("#[derive(") && line.contains("Encode")
}

fn fields(body: &[&str], indent: &str) -> Vec<Member> {
    let field = |line: &&str| {
        let (name, of) = line.strip_prefix(indent)?.strip_suffix(',')?.split_once(": ")?;
        let named = !name.contains("//") && !name.starts_with(' ');
        named.then(|| Member {
            name: name.to_owned(),
            fields: vec![(name.to_owned(), wire_type(of))],
        })
    };
    body.iter().filter_map(field).collect()
}

fn variants(body: &[&str]) -> Vec<Member> {
    let mut variants = Vec::new();
    let mut lines = body.iter();
    while let Some(line) = lines.next() {
        let Some(rest) =
            line.strip_prefix("    ").filter(|rest| rest.starts_with(char::is_alphabetic))
        else {
            continue;
        };
        let (name, fields) = if let Some(name) = rest.strip_suffix(" {") {
            let inner: Vec<&str> =
                lines.by_ref().take_while(|l| **l != "    },").copied().collect();
            (name, fields(&inner, "        ").into_iter().flat_map(|field| field.fields).collect())
        } else {
            let rest = rest.strip_suffix(',').expect("rustfmt ends a variant with a comma");
            match rest.split_once('(') {
                Some((name, of)) => {
                    let of = of.strip_suffix(')').expect("rustfmt closes a tuple variant");
                    (name, vec![(String::new(), wire_type(of))])
                }
                None => (rest, Vec::new()),
            }
        };
        variants.push(Member { name: name.to_owned(), fields });
    }
    variants
}

/// A Rust type in the words of WIRE.md.
fn wire_type(of: &str) -> String {
    let inside = |start: &str| of.strip_prefix(start).and_then(|rest| rest.strip_suffix('>'));
    if let Some(inner) = inside("Option<") {
        return format!("optional {}", wire_type(inner));
    }
    if let Some(inner) = inside("Box<") {
        return wire_type(inner);
    }
    if let Some(inner) = inside("Vec<") {
        return match inner {
            "u8" => "bytes".to_owned(),
            _ => format!("list of {}", wire_type(inner)),
        };
    }
    if let Some(inner) = of.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        let parts: Vec<String> = inner.split(", ").map(wire_type).collect();
        return format!("({})", parts.join(", "));
    }
    match of {
        "String" => "string".to_owned(),
        "[u8; 8]" => "8 bytes".to_owned(),
        "Digest" | "Key" => "32 bytes".to_owned(),
        _ => of.to_owned(),
    }
}

#[test]
fn the_sources_are_understood() {
    let all = all();
    assert_eq!(all["Lookup"].members[1].fields[0], ("max_age_ms".into(), "optional u64".into()));
    let request = &all["Request"];
    assert!(request.is_enum);
    assert_eq!(request.members[0].fields, [(String::new(), "Lookup".to_owned())]);
    assert_eq!(request.members[1].fields, [(String::new(), "Put".to_owned())]);
    assert_eq!(request.members[2].fields, [("upload".to_owned(), "u32".to_owned())]);
    let inputs = &all["InterfaceText"].members[0].fields[0].1;
    assert_eq!(inputs, "list of (string, string)");
}

/// A file whose messages nobody compares with anything fails here.
#[test]
fn every_file_with_messages_is_a_source() {
    let mut count = 0;
    for entry in std::fs::read_dir(in_crate("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let is_newtype = ["digest.rs", "key.rs"].iter().any(|name| path.ends_with(name));
            if text.lines().any(is_derived_message) && !is_newtype {
                assert!(SOURCES.contains(&text.as_str()), "{} is missing", path.display());
                count += 1;
            }
        }
    }
    assert_eq!(count, SOURCES.len());
}
