//! WIRE.md against the code: every message with its fields, and every enum with its variants.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::rows;
use crate::source::{Declared, Member, all};
use crate::support::read;

/// Enums that stand in tables of their own, with their names in JSON.
const ELSEWHERE: [&str; 5] = ["DifferenceKind", "ErrorCode", "MissReason", "Outcome", "Verb"];

/// The messages as WIRE.md tells them: each under a heading that is its name in back-quotes.
fn told() -> BTreeMap<String, Declared> {
    let document = read("WIRE.md");
    let mut told = BTreeMap::new();
    for section in document.split("\n### ").skip(1) {
        let Some(name) = section.strip_prefix('`').and_then(|rest| rest.split('`').next()) else {
            continue;
        };
        let at = section.find("\n| ").unwrap_or_else(|| panic!("{name} has no table"));
        let text = &section[at + 1..];
        let is_enum = text.starts_with("| number |");
        let members = rows(text)
            .iter()
            .enumerate()
            .map(|(index, row)| if is_enum { variant(index, row) } else { field(row) })
            .collect();
        let before = told.insert(name.to_owned(), Declared { is_enum, members });
        assert_eq!(before, None, "{name} stands twice");
    }
    told
}

fn field(row: &[String]) -> Member {
    assert_eq!(row.len(), 3, "{row:?}");
    Member { name: row[0].clone(), fields: vec![(row[0].clone(), row[1].clone())] }
}

fn variant(index: usize, row: &[String]) -> Member {
    assert_eq!(row.len(), 4, "{row:?}");
    assert_eq!(row[0], index.to_string(), "{row:?}");
    let fields = match row[2].as_str() {
        "" => Vec::new(),
        list if list.contains(": ") => list
            .split(", ")
            .map(|field| field.split_once(": ").expect("every field has a name"))
            .map(|(name, of)| (name.to_owned(), of.to_owned()))
            .collect(),
        of => vec![(String::new(), of.to_owned())],
    };
    Member { name: row[1].clone(), fields }
}

#[test]
fn every_message_is_told_as_it_is() {
    let (told, mut declared) = (told(), all());
    for name in ELSEWHERE {
        assert!(declared.remove(name).is_some(), "{name}");
    }
    let names = |messages: &BTreeMap<String, Declared>| -> BTreeSet<String> {
        messages.keys().cloned().collect()
    };
    assert_eq!(names(&told), names(&declared));
    for (name, message) in declared {
        assert_eq!(told[&name], message, "{name}");
    }
}
