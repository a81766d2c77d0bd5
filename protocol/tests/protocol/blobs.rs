//! Stored bytes: every value of every type comes back bit by bit.

use std::collections::BTreeSet;

use bytes::Bytes;
use memod_protocol::{Digest, Literal, LiteralType};
use proptest::prelude::*;

use crate::strategies::typed;

/// Whether two values are the same to the last bit; an empty hash is no hash, and is not stored.
fn same(left: &Literal, right: &Literal) -> bool {
    match (left, right) {
        (Literal::Hashed { hash, value: Some(value) }, _) if hash.is_empty() => same(value, right),
        (Literal::Float(left), Literal::Float(right)) => left.to_bits() == right.to_bits(),
        (Literal::List(left), Literal::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Literal::Map(left), Literal::Map(right))
        | (Literal::Struct(left), Literal::Struct(right)) => {
            left.keys().eq(right.keys())
                && left.values().zip(right.values()).all(|(l, r)| same(l, r))
        }
        (
            Literal::Hashed { hash: left, value: Some(left_value) },
            Literal::Hashed { hash: right, value: Some(right_value) },
        ) => left == right && same(left_value, right_value),
        _ => left == right,
    }
}

/// Files and what stands behind a hash without content have no bytes to store.
fn has_bytes(of: &LiteralType, value: &Literal) -> bool {
    match value {
        Literal::Hashed { .. } => !of.is_plain(),
        _ => *of != LiteralType::File,
    }
}

proptest! {
    #[test]
    fn values_come_back((of, value) in typed()) {
        match value.to_blob(&of) {
            Ok(blob) => {
                prop_assert!(has_bytes(&of, &value));
                let back = Literal::from_blob(&of, &blob).unwrap();
                prop_assert!(same(&value, &back), "{value:?} came back as {back:?}");
                prop_assert_eq!(back.to_blob(&of).unwrap(), blob);
            }
            Err(error) => prop_assert!(!has_bytes(&of, &value), "{}", error),
        }
    }

    /// What is accepted without being read is what can be read, of its own type and of any other,
    /// and so for bytes that somebody changed.
    #[test]
    fn what_passes_the_check_can_be_read(
        (of, value) in typed(),
        (other, _) in typed(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let Ok(blob) = value.to_blob(&of) else { return Ok(()) };
        let mut changed = blob.to_vec();
        if !changed.is_empty() {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        let members: BTreeSet<_> = [of.clone(), other.clone()].into();
        let union = LiteralType::Union(members);
        let list = LiteralType::List(Box::new(of.clone()));
        let optional = LiteralType::Optional(Box::new(of.clone()));
        for bytes in [blob, changed.into()] {
            for of in [&of, &other, &union, &list, &optional] {
                let read = Literal::from_blob(of, &bytes);
                let checked = Literal::check_blob(of, &bytes);
                prop_assert_eq!(read.is_ok(), checked.is_ok(), "{}: {:?}", of, checked);
            }
        }
    }

    /// Bytes that are read are those that would be written: a value has one encoding.
    #[test]
    fn changed_blobs_are_canonical((of, value) in typed(), at: prop::sample::Index, byte: u8) {
        let Ok(blob) = value.to_blob(&of) else { return Ok(()) };
        let mut bytes = blob.to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let bytes = Bytes::from(bytes);
        if let Ok(read) = Literal::from_blob(&of, &bytes) {
            prop_assert_eq!(read.to_blob(&of).unwrap(), bytes);
        }
    }

    #[test]
    fn cut_blobs_are_refused((of, value) in typed(), end: prop::sample::Index) {
        let Ok(blob) = value.to_blob(&of) else { return Ok(()) };
        if blob.is_empty() || of.is_plain() {
            return Ok(());
        }
        let cut = blob.slice(..end.index(blob.len()));
        prop_assert!(Literal::from_blob(&of, &cut).is_err());
    }
}

fn round_trip(of: &str, value: &Literal) {
    let of: LiteralType = of.parse().unwrap();
    let back = Literal::from_blob(&of, &value.to_blob(&of).unwrap()).unwrap();
    assert!(same(value, &back), "{value:?} came back as {back:?}");
}

#[test]
fn floats_keep_their_bits() {
    let odd = [0x7ff8_0000_0000_002a, 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001, u64::MAX, 1];
    for bits in odd.into_iter().chain([(-0.0_f64).to_bits(), f64::INFINITY.to_bits()]) {
        let value = Literal::Float(f64::from_bits(bits));
        round_trip("float", &value);
        round_trip("list<float>", &Literal::List(vec![value.clone()]));
        round_trip("union<float|integer>", &value);
    }
}

#[test]
fn instants_and_durations_keep_all_their_bits() {
    for nanoseconds in [i128::MIN, -1, 0, 1, i128::MAX] {
        round_trip("datetime", &Literal::Datetime(nanoseconds));
        round_trip("duration", &Literal::Duration(nanoseconds));
    }
}

#[test]
fn plain_types_are_stored_as_they_are() {
    let bytes = Bytes::from_static(b"a\0\xff");
    let string = Literal::String("größe".into());
    let opaque = Literal::Opaque { format: "npy".into(), bytes: bytes.clone() };
    assert_eq!(string.to_blob(&LiteralType::String).unwrap(), "größe");
    assert_eq!(Literal::Bytes(bytes.clone()).to_blob(&LiteralType::Bytes).unwrap(), bytes);
    assert_eq!(opaque.to_blob(&LiteralType::Opaque("npy".into())).unwrap(), bytes);
    assert!(opaque.to_blob(&LiteralType::Opaque("pickle".into())).is_err());
    let file = Literal::File { digest: Digest::of(&bytes), bytes: 3 };
    assert_eq!(Literal::from_blob(&LiteralType::File, &bytes).unwrap(), file);
    assert!(file.to_blob(&LiteralType::File).is_err());
    assert!(Literal::from_blob(&LiteralType::String, &bytes).is_err());
}

#[test]
fn blobs_of_another_type_are_refused() {
    let blob = Literal::Integer(1).to_blob(&LiteralType::Integer).unwrap();
    for of in ["float", "boolean", "none", "list<integer>", "union<float|string>", "enum(a)"] {
        let of = of.parse().unwrap();
        assert!(Literal::from_blob(&of, &blob).is_err(), "{of}");
    }
}

/// What no writer writes: each of these bytes would be a second encoding of a value.
#[test]
fn other_spellings_are_refused() {
    let one = 1_u64.to_le_bytes();
    let zero = 0_u64.to_le_bytes();
    let two = 2_u64.to_le_bytes();
    let two_members = |tag: u8, first: &[u8], second: &[u8]| {
        [&[tag][..], &two, &one, first, &[0], &one, second, &[0]].concat()
    };
    let cases: [(&str, &str, Vec<u8>); 9] = [
        ("boolean", "neither 0 nor 1", vec![0x01, 2]),
        ("none", "left over", vec![0x00, 0]),
        ("integer", "too early", vec![0x02, 0]),
        ("none", "no tag", vec![0x10]),
        ("integer", "empty", [&[0x0f][..], &zero, &[0x02], &one].concat()),
        ("integer", "empty", [&[0x0e][..], &zero].concat()),
        ("map<none>", "in order", two_members(0x0a, b"b", b"a")),
        ("map<none>", "in order", two_members(0x0a, b"a", b"a")),
        ("struct{a:none,b:none}", "in order", two_members(0x0b, b"b", b"a")),
    ];
    for (of, wanted, bytes) in cases {
        let (of, bytes) = (of.parse().unwrap(), bytes.into());
        let error = Literal::from_blob(&of, &bytes).unwrap_err();
        assert!(error.problem.contains(wanted), "{of}: {error}");
        assert!(Literal::check_blob(&of, &bytes).is_err(), "{of}: {wanted}");
    }
}
