//! Arbitrary types, values and calls.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use memod_protocol::{Call, Digest, Interface, Literal, LiteralType, Scope};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

/// Names of every kind: words, quotes, marks of JSON, separators, other alphabets.
pub(crate) fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-d]{1,2}",
        1 => "[ -~]{1,8}",
        1 => "\\PC{1,6}",
        1 => Just("$hash".to_owned()),
        1 => Just("größe".to_owned()),
    ]
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

pub(crate) fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

pub(crate) fn scope() -> impl Strategy<Value = Scope> {
    (name(), name()).prop_map(|(project, domain)| Scope { project, domain })
}

/// Whether a type may be declared: its own text must be read.
fn is_allowed(of: &LiteralType) -> bool {
    of.to_string().parse::<LiteralType>().is_ok()
}

/// Types that may be declared.
pub(crate) fn literal_type() -> impl Strategy<Value = LiteralType> {
    let leaf = prop_oneof![
        Just(LiteralType::None),
        Just(LiteralType::Boolean),
        Just(LiteralType::Integer),
        Just(LiteralType::Float),
        Just(LiteralType::String),
        Just(LiteralType::Bytes),
        Just(LiteralType::Datetime),
        Just(LiteralType::Duration),
        Just(LiteralType::File),
        btree_set(name(), 1..4).prop_map(LiteralType::Enum),
        name().prop_map(LiteralType::Opaque),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let boxed = inner.clone().prop_map(Box::new).boxed();
        prop_oneof![
            boxed.clone().prop_map(LiteralType::List),
            boxed.clone().prop_map(LiteralType::Map),
            boxed.prop_map(|inner| {
                let optional = LiteralType::Optional(inner.clone());
                if is_allowed(&optional) { optional } else { *inner }
            }),
            btree_map(name(), inner.clone(), 0..4).prop_map(LiteralType::Struct),
            btree_set(inner, 1..4).prop_map(|members| {
                let union = LiteralType::Union(members.clone());
                let first = || members.first().cloned().expect("a union has a member");
                if is_allowed(&union) { union } else { first() }
            }),
        ]
    })
}

/// Floats among which the odd ones are common.
pub(crate) fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), Just(-f64::NAN), Just(f64::INFINITY)],
        any::<i32>().prop_map(f64::from),
    ]
}

fn nanoseconds() -> impl Strategy<Value = i128> {
    prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from), -3_i128..3]
}

/// Values of a type, some behind hashes, some of them without content.
pub(crate) fn literal(of: &LiteralType) -> BoxedStrategy<Literal> {
    let plain: BoxedStrategy<Literal> = match of {
        LiteralType::None => Just(Literal::None).boxed(),
        LiteralType::Boolean => any::<bool>().prop_map(Literal::Boolean).boxed(),
        LiteralType::Integer => {
            prop_oneof![any::<i64>(), -2_i64..3].prop_map(Literal::Integer).boxed()
        }
        LiteralType::Float => float().prop_map(Literal::Float).boxed(),
        LiteralType::String => "\\PC{0,4}".prop_map(Literal::String).boxed(),
        LiteralType::Bytes => blob().prop_map(Literal::Bytes).boxed(),
        LiteralType::Datetime => nanoseconds().prop_map(Literal::Datetime).boxed(),
        LiteralType::Duration => nanoseconds().prop_map(Literal::Duration).boxed(),
        LiteralType::File => (digest(), any::<u64>())
            .prop_map(|(digest, bytes)| Literal::File { digest, bytes })
            .boxed(),
        LiteralType::List(inner) => vec(literal(inner), 0..4).prop_map(Literal::List).boxed(),
        LiteralType::Map(inner) => {
            btree_map(name(), literal(inner), 0..4).prop_map(Literal::Map).boxed()
        }
        LiteralType::Struct(fields) => structure(fields),
        LiteralType::Enum(names) => {
            proptest::sample::select(names.iter().cloned().collect::<Vec<_>>())
                .prop_map(Literal::Enum)
                .boxed()
        }
        LiteralType::Optional(inner) => {
            prop_oneof![1 => Just(Literal::None), 3 => literal(inner)].boxed()
        }
        LiteralType::Union(members) => {
            proptest::strategy::Union::new(members.iter().map(literal)).boxed()
        }
        LiteralType::Opaque(format) => {
            let format = format.clone();
            blob().prop_map(move |bytes| Literal::Opaque { format: format.clone(), bytes }).boxed()
        }
    };
    let hashed =
        |value: Literal| Literal::Hashed { hash: "h".into(), value: Some(Box::new(value)) };
    prop_oneof![
        12 => plain.clone(),
        1 => plain.prop_map(hashed),
        1 => "[ab]{1,2}".prop_map(|hash| Literal::Hashed { hash, value: None }),
    ]
    .boxed()
}

fn structure(fields: &BTreeMap<String, LiteralType>) -> BoxedStrategy<Literal> {
    let mut whole = Just(BTreeMap::new()).boxed();
    for (name, of) in fields {
        let name = name.clone();
        whole = (whole, literal(of))
            .prop_map(move |(mut members, member)| {
                members.insert(name.clone(), member);
                members
            })
            .boxed();
    }
    whole.prop_map(Literal::Struct).boxed()
}

/// A type and a value of it.
pub(crate) fn typed() -> impl Strategy<Value = (LiteralType, Literal)> {
    literal_type().prop_flat_map(|of| {
        let value = literal(&of);
        (Just(of), value)
    })
}

/// Calls that have a key: values of their types, some absent, some ignored.
pub(crate) fn call() -> impl Strategy<Value = Call> {
    let input = (typed(), any::<bool>(), any::<bool>());
    let version = prop_oneof![Just("1.0.0".to_owned()), "[ \t]{0,2}[a-z][a-z0-9.]{0,4}[ \n]{0,2}"];
    (
        scope(),
        name(),
        version,
        btree_map(name(), input, 0..4),
        btree_map(name(), literal_type(), 0..3),
        btree_set(name(), 0..2),
    )
        .prop_map(
            |(scope, task, cache_version, given, outputs, mut ignored): (
                _,
                _,
                _,
                _,
                _,
                BTreeSet<String>,
            )| {
                let mut interface = Interface { inputs: BTreeMap::new(), outputs };
                let mut inputs = BTreeMap::new();
                for (name, ((of, value), is_given, is_ignored)) in given {
                    interface.inputs.insert(name.clone(), of);
                    if is_given {
                        inputs.insert(name.clone(), value);
                    }
                    if is_ignored {
                        ignored.insert(name);
                    }
                }
                Call { scope, task, cache_version, interface, inputs, ignored }
            },
        )
}

/// Something, or nothing as often.
pub(crate) fn perhaps<S: Strategy>(inner: S) -> impl Strategy<Value = Option<S::Value>> {
    option::of(inner)
}
