//! Golden vectors: calls and their keys, values and their stored bytes (semantics 1 to 13).
//!
//! `MEMOD_BLESS=1` writes what is computed into the file; calls and groups are written by hand.
//! `golden/check.py` computes the same without this crate.

use std::collections::{BTreeMap, BTreeSet};

use memod_protocol::{Digest, Literal, LiteralType, TaskIdentity, json};
use serde_json::{Value, json};

use crate::support::{ascii, call, check_file, hex, read};

const PATH: &str = "tests/golden/vectors.json";

/// The behaviours that the vectors show. Of 6, what is no part of a call cannot be told apart by
/// one: `json::what_is_not_in_the_key_has_no_place_in_a_call` shows it.
const SEMANTICS: [u64; 12] = [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13];

fn file() -> Value {
    json::parse(&read(PATH)).unwrap()
}

fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    file[name].as_array().unwrap()
}

fn computed(vector: &Value) -> Value {
    let call = call(&vector["call"]);
    let identity = call.identity().unwrap_or_else(|error| panic!("{}: {error}", vector["name"]));
    identity.check().unwrap();
    let encodings: BTreeMap<&String, String> = identity
        .inputs
        .iter()
        .map(|(name, digest)| {
            let literal = &call.inputs[name];
            assert_eq!(*digest, literal.input_digest());
            (name, hex(literal.key_encoding()))
        })
        .collect();
    let inputs: BTreeMap<&String, String> =
        identity.inputs.iter().map(|(name, digest)| (name, digest.to_string())).collect();
    assert_eq!(identity.key(), call.key().unwrap());
    let task = TaskIdentity::of(&call).unwrap();
    assert_eq!(task.know(&call).unwrap().key(), identity.key());
    assert_eq!(task.key(&call).unwrap(), identity.key());
    json!({
        "name": vector["name"],
        "call": vector["call"],
        "encodings": encodings,
        "inputs": inputs,
        "signature": identity.signature.to_string(),
        "key": identity.key().to_string(),
    })
}

fn computed_blob(given: &Value) -> Value {
    let literal_type: LiteralType = given["type"].as_str().unwrap().parse().unwrap();
    let literal = json::literal(&literal_type, &given["value"]).unwrap();
    let blob = literal.to_blob(&literal_type).unwrap();
    let back = Literal::from_blob(&literal_type, &blob).unwrap();
    assert_eq!(back.to_blob(&literal_type).unwrap(), blob, "{given}");
    json!({
        "type": given["type"],
        "value": given["value"],
        "blob": hex(&blob),
        "digest": Digest::of(&blob).to_string(),
    })
}

fn lines(values: impl IntoIterator<Item = Value>) -> String {
    values.into_iter().map(|value| ascii(&value)).collect::<Vec<_>>().join(",\n")
}

#[test]
fn vectors_and_blobs_are_as_recorded() {
    let file = file();
    let wanted = format!(
        "{{\n\"about\": {},\n\"vectors\": [\n{}\n],\n\"groups\": [\n{}\n],\n\"blobs\": [\n{}\n]\n\
         }}\n",
        file["about"],
        lines(list(&file, "vectors").iter().map(computed)),
        lines(list(&file, "groups").to_vec()),
        lines(list(&file, "blobs").iter().map(computed_blob)),
    );
    check_file(PATH, &wanted);
}

fn keys(file: &Value) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for vector in list(file, "vectors") {
        let name = vector["name"].as_str().unwrap().to_owned();
        let key = call(&vector["call"]).key().unwrap().to_string();
        assert_eq!(keys.insert(name.clone(), key), None, "two vectors are called {name}");
    }
    keys
}

fn members(group: &Value) -> Vec<&str> {
    group["of"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn groups_have_equal_or_different_keys() {
    let file = file();
    let keys = keys(&file);
    let mut shown = BTreeSet::new();
    for group in list(&file, "groups") {
        let members = members(group);
        let distinct: BTreeSet<&String> = members.iter().map(|name| &keys[*name]).collect();
        let wanted = match group["keys"].as_str().unwrap() {
            "equal" => 1,
            "different" => members.len(),
            other => panic!("`{other}` is no relation of keys"),
        };
        assert!(members.len() > 1, "{group}");
        assert_eq!(distinct.len(), wanted, "{group}");
        shown.extend(group["semantics"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()));
    }
    assert_eq!(shown, BTreeSet::from(SEMANTICS));
}

/// The strongest statement about framing: of all vectors, only those have equal keys that are
/// said to.
#[test]
fn no_other_keys_are_equal() {
    let file = file();
    let keys = keys(&file);
    let mut class: BTreeMap<&str, &str> =
        keys.keys().map(|name| (name.as_str(), name.as_str())).collect();
    for group in list(&file, "groups").iter().filter(|group| group["keys"] == "equal") {
        let members = members(group);
        let merged: BTreeSet<&str> = members.iter().map(|name| class[name]).collect();
        for representative in class.values_mut().filter(|name| merged.contains(**name)) {
            *representative = members[0];
        }
        // The first member's own class may have had another representative.
        class.insert(members[0], members[0]);
    }
    let mut by_key: BTreeMap<&String, Vec<&str>> = BTreeMap::new();
    for (name, key) in &keys {
        by_key.entry(key).or_default().push(name);
    }
    for names in by_key.values() {
        let classes: BTreeSet<&str> = names.iter().map(|name| class[name]).collect();
        assert_eq!(classes.len(), 1, "these keys are equal, and no group says so: {names:?}");
    }
}
