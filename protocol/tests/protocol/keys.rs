//! What is in the key and what is not, for arbitrary calls (semantics 1 to 10).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use memod_protocol::{Call, Interface, Key, Literal, LiteralType, Scope, TaskIdentity, json};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use crate::strategies::{call, literal, literal_type, name, typed};

/// Turns round the members of every object, and the names of every list of ignored inputs.
fn reversed(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let members: Vec<_> = object.into_iter().rev().collect();
            Value::Object(
                members.into_iter().map(|(name, value)| (name, reversed(value))).collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(reversed).collect()),
        other => other,
    }
}

fn key(call: &Call) -> Key {
    let identity = call.identity().unwrap_or_else(|error| panic!("{call:?}: {error}"));
    identity.check().unwrap();
    assert_eq!(identity.key(), call.key().unwrap());
    assert_eq!(TaskIdentity::of(call).unwrap().key(call).unwrap(), identity.key());
    identity.key()
}

/// The call with one more input.
fn with_input(call: &Call, of: &LiteralType, value: Option<&Literal>) -> Call {
    let mut call = call.clone();
    let name = "the one more".to_owned();
    call.interface.inputs.insert(name.clone(), of.clone());
    if let Some(value) = value {
        call.inputs.insert(name, value.clone());
    }
    call
}

fn hashed(hash: &str, value: Option<Literal>) -> Literal {
    Literal::Hashed { hash: hash.to_owned(), value: value.map(Box::new) }
}

/// Replaces the value somewhere inside, chosen by number; says whether there was one.
fn replace(value: &mut Literal, at: &mut usize, by: &impl Fn(Literal) -> Literal) -> bool {
    if *at == 0 {
        *value = by(value.clone());
        return true;
    }
    *at -= 1;
    match value {
        Literal::List(items) => items.iter_mut().any(|item| replace(item, at, by)),
        Literal::Map(items) | Literal::Struct(items) => {
            items.values_mut().any(|item| replace(item, at, by))
        }
        _ => false,
    }
}

fn size(value: &Literal) -> usize {
    1 + match value {
        Literal::List(items) => items.iter().map(size).sum(),
        Literal::Map(items) | Literal::Struct(items) => items.values().map(size).sum(),
        _ => 0,
    }
}

/// Whether two values are the same input, told without any encoding.
fn same_input(left: &Literal, right: &Literal) -> bool {
    match (left, right) {
        (Literal::Hashed { hash, value: Some(value) }, other)
        | (other, Literal::Hashed { hash, value: Some(value) })
            if hash.is_empty() =>
        {
            same_input(value, other)
        }
        (Literal::Hashed { hash: left, .. }, Literal::Hashed { hash: right, .. }) => left == right,
        (Literal::Float(left), Literal::Float(right)) => {
            left.partial_cmp(right) == Some(Ordering::Equal) || (left.is_nan() && right.is_nan())
        }
        (Literal::List(left), Literal::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same_input(l, r))
        }
        (Literal::Map(left), Literal::Map(right))
        | (Literal::Struct(left), Literal::Struct(right)) => {
            left.keys().eq(right.keys())
                && left.values().zip(right.values()).all(|(l, r)| same_input(l, r))
        }
        _ => left == right,
    }
}

proptest! {
    /// Semantics 1.
    #[test]
    fn order_does_not_count(call in call()) {
        let other = reversed(json::call_to_json(&call));
        let other = json::call(&other, &call.scope).unwrap();
        prop_assert_eq!(key(&other), key(&call));
    }

    /// Semantics 2.
    #[test]
    fn absent_is_empty(call in call()) {
        let mut bare = call;
        bare.interface = Interface::default();
        bare.inputs = BTreeMap::new();
        let mut object = json::call_to_json(&bare);
        let empty = json::call(&object, &bare.scope).unwrap();
        for name in ["inputs", "outputs", "ignore"] {
            object.as_object_mut().unwrap().shift_remove(name);
        }
        let absent = json::call(&object, &bare.scope).unwrap();
        prop_assert_eq!(key(&absent), key(&empty));
        prop_assert_eq!(key(&absent), key(&bare));
    }

    /// What the calls of a task share may be prepared without any values: semantics 3.
    #[test]
    fn a_call_is_known_by_its_own_key(call in call(), version in "[ \t]{0,2}") {
        let call = Call { cache_version: format!("{}{version}", call.cache_version), ..call };
        let bare = Call { inputs: BTreeMap::new(), ..call.clone() };
        let task = TaskIdentity::of(&bare).unwrap();
        let known = task.know(&call).unwrap();
        prop_assert_eq!(known.key(), key(&call));
        prop_assert_eq!(known.identity(), call.identity().unwrap());
    }

    /// Semantics 4 and 7.
    #[test]
    fn scope_task_and_version_count(call in call(), other in "[a-z]{1,3}") {
        let before = key(&call);
        for part in 0..4 {
            let mut changed = call.clone();
            let text = match part {
                0 => &mut changed.scope.project,
                1 => &mut changed.scope.domain,
                2 => &mut changed.task,
                _ => &mut changed.cache_version,
            };
            let is_same = text.trim() == other && part == 3 || *text == other;
            text.clone_from(&other);
            prop_assert_eq!(key(&changed) == before, is_same);
        }
        let mut padded = call;
        padded.cache_version = format!("\u{a0}\n {}\t", padded.cache_version);
        prop_assert_eq!(key(&padded), before);
    }

    /// Semantics 5.
    #[test]
    fn the_interface_counts(call in call(), of in literal_type(), other in literal_type()) {
        let before = key(&call);
        let added = key(&with_input(&call, &of, None));
        prop_assert_ne!(added, before);
        prop_assert_eq!(key(&with_input(&call, &other, None)) == added, of == other);
        let mut output = call.clone();
        output.interface.outputs.insert("the one more".into(), of.clone());
        prop_assert_ne!(key(&output), before);
        prop_assert_ne!(key(&output), added);
        let mut renamed = call;
        renamed.interface.inputs.insert("the one more, renamed".into(), of);
        prop_assert_ne!(key(&renamed), added);
    }

    /// Semantics 8.
    #[test]
    fn ignored_values_do_not_count(
        call in call(),
        (of, left, right) in literal_type().prop_flat_map(|of| {
            let (left, right) = (literal(&of), literal(&of));
            (Just(of), left, right)
        }),
        unknown in name(),
    ) {
        let ignoring = |value| {
            let mut call = with_input(&call, &of, value);
            call.ignored.insert("the one more".into());
            key(&call)
        };
        prop_assert_eq!(ignoring(Some(&left)), ignoring(Some(&right)));
        prop_assert_eq!(ignoring(Some(&left)), ignoring(None));
        prop_assert_ne!(ignoring(None), key(&call));
        let mut unknowing = call.clone();
        if !call.interface.inputs.contains_key(&unknown) {
            unknowing.ignored.insert(unknown);
        }
        prop_assert_eq!(key(&unknowing), key(&call));
    }

    /// Semantics 9: at any depth, for any type, whatever the value is.
    #[test]
    fn a_hash_replaces_the_value((of, value) in typed(), at: Index) {
        let call = Call {
            scope: Scope::new("p", "d"),
            task: "t".into(),
            cache_version: "1".into(),
            interface: Interface::default(),
            inputs: BTreeMap::new(),
            ignored: std::collections::BTreeSet::new(),
        };
        let at = at.index(size(&value));
        let replaced = |by: &dyn Fn(Literal) -> Literal| {
            let mut value = value.clone();
            assert!(replace(&mut value, &mut at.clone(), &|inner| by(inner)));
            key(&with_input(&call, &of, Some(&value)))
        };
        let whole = key(&with_input(&call, &of, Some(&value)));
        let alone = replaced(&|_| hashed("its own", None));
        prop_assert_eq!(replaced(&|inner| hashed("its own", Some(inner))), alone);
        prop_assert_ne!(replaced(&|_| hashed("another", None)), alone);
        prop_assert_ne!(whole, alone);
        prop_assert_eq!(replaced(&|inner| hashed("", Some(inner))), whole);
        prop_assert_eq!(
            replaced(&|inner| hashed("", Some(hashed("its own", Some(inner))))),
            alone
        );
    }

    /// Semantics 10 and 11: digests are equal exactly if the values are the same input.
    #[test]
    fn digests_tell_inputs_apart((of, left) in typed(), (_, stranger) in typed(), seed: u64) {
        let digest = left.input_digest();
        prop_assert_eq!(stranger.input_digest() == digest, same_input(&left, &stranger));
        let mut changed = left.clone();
        let at = usize::try_from(seed % 7).unwrap();
        let by = |value: Literal| match value {
            Literal::Float(float) => Literal::Float(-float),
            Literal::Integer(integer) => Literal::Integer(integer ^ 1),
            Literal::List(mut items) => {
                items.reverse();
                Literal::List(items)
            }
            Literal::String(text) => Literal::Enum(text),
            Literal::Map(members) => Literal::Struct(members),
            other => Literal::List(vec![other]),
        };
        replace(&mut changed, &mut at.clone(), &by);
        prop_assert_eq!(
            changed.input_digest() == digest,
            same_input(&left, &changed),
            "{}: {:?} and {:?}",
            of,
            left,
            changed
        );
    }
}

#[test]
fn a_task_makes_the_keys_of_its_own_calls_only() {
    let call = crate::support::call(&serde_json::json!({
        "project": "p", "domain": "d", "task": "t", "cache_version": " 1 ",
        "inputs": {"x": {"value": 1}, "y": {"value": 2}}, "outputs": {"o": "integer"},
    }));
    let task = TaskIdentity::of(&call).unwrap();
    assert_eq!(task.output_types(), ["integer"]);
    let ignoring = Call { ignored: ["x".to_owned()].into(), ..call.clone() };
    for call in [&call, &ignoring] {
        assert!(task.is_of(call));
        assert_eq!(task.key(call).unwrap(), call.key().unwrap());
    }
    assert_ne!(task.key(&call), task.key(&ignoring));
    let changes: [Change; 6] = [
        &|call| call.task.push('x'),
        &|call| call.scope.project.push('x'),
        &|call| call.scope.domain.push('x'),
        &|call| call.cache_version.push('x'),
        &|call| drop(call.interface.outputs.insert("o".into(), LiteralType::None)),
        &|call| drop(call.interface.inputs.insert("z".into(), LiteralType::Integer)),
    ];
    for change in changes {
        let mut other = call.clone();
        change(&mut other);
        assert!(!task.is_of(&other));
    }
}

type Change<'a> = &'a dyn Fn(&mut Call);

#[test]
fn wrong_calls_are_refused_by_name() {
    let valid = crate::support::call(&serde_json::json!({
        "project": "p", "domain": "d", "task": "t", "cache_version": "1",
        "inputs": {"x": {"value": 1}}, "outputs": {"o": "integer"},
    }));
    valid.identity().unwrap();
    let refused = |change: &dyn Fn(&mut Call)| {
        let mut call = valid.clone();
        change(&mut call);
        let error = call.identity().unwrap_err();
        let known = TaskIdentity::of(&call).and_then(|task| task.know(&call).map(|_| ()));
        assert_eq!(known.unwrap_err(), error);
        let key = TaskIdentity::of(&call).and_then(|task| task.key(&call));
        assert_eq!(key.unwrap_err(), error);
        error.to_string()
    };
    let long = "x".repeat(memod_protocol::limits::NAME_BYTES_MAX + 1);
    let cases: [(&str, Change); 12] = [
        ("project: must not be empty", &|call| call.scope.project.clear()),
        ("domain: must not be empty", &|call| call.scope.domain.clear()),
        ("task: must not be empty", &|call| call.task.clear()),
        ("cache_version: must not be blank", &|call| call.cache_version = " \t\n".into()),
        ("cache_version: must not be blank", &|call| call.cache_version.clear()),
        ("task: is 1025 bytes long", &|call| call.task.clone_from(&long)),
        ("cache_version: is 1025 bytes long", &|call| call.cache_version.clone_from(&long)),
        ("input name: must not be empty", &|call| {
            call.interface.inputs.insert(String::new(), LiteralType::None);
        }),
        ("output name: is 1025 bytes long", &|call| {
            call.interface.outputs.insert(long.clone(), LiteralType::None);
        }),
        ("input `y`: is not declared", &|call| {
            call.inputs.insert("y".into(), Literal::None);
        }),
        ("input `x`: is not of type integer", &|call| {
            call.inputs.insert("x".into(), Literal::Float(1.0));
        }),
        ("input `x`: has neither a hash nor a value", &|call| {
            call.inputs.insert("x".into(), hashed("", None));
        }),
    ];
    for (wanted, change) in cases {
        let error = refused(change);
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn identities_of_peers_are_checked() {
    use crate::samples::{digest, identity};
    identity().check().unwrap();
    let refused = |change: &dyn Fn(&mut memod_protocol::CallIdentity)| {
        let mut identity = identity();
        change(&mut identity);
        identity.check().unwrap_err().to_string()
    };
    assert_eq!(refused(&|i| i.cache_version = "1 ".into()), "cache_version: must be trimmed");
    assert!(refused(&|i| i.inputs.reverse()).contains("ascending order"));
    assert_eq!(refused(&|i| i.inputs[1].0 = "n".into()), "input `n`: is given twice");
    assert_eq!(refused(&|i| i.inputs[0].0.clear()), "input name: must not be empty");
    assert_eq!(refused(&|i| i.scope.domain.clear()), "domain: must not be empty");
    let many = (0..=memod_protocol::limits::INPUTS_MAX).map(|n| (format!("{n:08}"), digest(1)));
    let many: Vec<_> = many.collect();
    assert!(refused(&|i| i.inputs.clone_from(&many)).starts_with("inputs: there are 4097"));
}
