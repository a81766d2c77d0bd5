#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
#![allow(clippy::needless_pass_by_value, reason = "values read better where they are made")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memod_protocol::{Literal, LiteralType};

use super::{File, Format, FromLiteral, Opaque, ToLiteral, Typed};

fn type_of<T: Typed>() -> String {
    T::literal_type().unwrap().to_string()
}

/// The value's literal is of its type and is read back as the same value.
#[track_caller]
fn comes_back<T: ToLiteral + FromLiteral + PartialEq + Debug>(value: T) -> Literal {
    let literal = value.to_literal().unwrap();
    assert!(T::literal_type().unwrap().admits(&literal), "{literal:?}");
    assert_eq!(T::from_literal(literal.clone()).unwrap(), value);
    // What another has stored may carry its writer's own hashes.
    let hashed = Literal::Hashed { hash: "h".into(), value: Some(Box::new(literal.clone())) };
    assert_eq!(T::from_literal(hashed).unwrap(), value);
    literal
}

#[track_caller]
fn refused<T: FromLiteral + Debug>(literal: Literal, why: &str) {
    let error = T::from_literal(literal).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

#[test]
fn types_are_those_of_the_table() {
    assert_eq!(type_of::<()>(), "none");
    assert_eq!(type_of::<(bool, u8, u64)>(), "struct{0:boolean,1:integer,2:integer}");
    assert_eq!(type_of::<(f32,)>(), "struct{0:float}");
    assert_eq!(type_of::<[char; 2]>(), "list<string>");
    for bytes in [type_of::<Vec<u8>>(), type_of::<&[u8]>(), type_of::<[u8; 3]>()] {
        assert_eq!(bytes, "bytes");
    }
    assert_eq!(type_of::<Box<[u8]>>(), "bytes");
    assert_eq!(type_of::<Vec<Vec<u8>>>(), "list<bytes>");
    assert_eq!(type_of::<BTreeSet<u8>>(), "list<integer>", "a set of bytes is no string of bytes");
    assert_eq!(type_of::<VecDeque<u8>>(), "list<integer>");
    assert_eq!(type_of::<HashMap<&str, Option<SystemTime>>>(), "map<optional<datetime>>");
    assert_eq!(type_of::<Arc<BTreeMap<String, Duration>>>(), "map<duration>");
    assert_eq!(type_of::<std::borrow::Cow<'_, str>>(), "string");
    assert_eq!(type_of::<File>(), "file");
    let outputs = |types: BTreeMap<String, LiteralType>| {
        types.into_iter().map(|(name, of)| format!("{name}:{of}")).collect::<Vec<_>>()
    };
    assert_eq!(outputs(<(i64, String)>::output_types().unwrap()), ["o0:integer", "o1:string"]);
    assert_eq!(outputs(Box::<(i64, String)>::output_types().unwrap()), ["o0:integer", "o1:string"]);
    assert!(outputs(<()>::output_types().unwrap()).is_empty());
    assert_eq!(outputs(Vec::<()>::output_types().unwrap()), ["o0:list<none>"]);
}

#[test]
fn values_come_back() {
    comes_back((i64::MIN, u64::from(u32::MAX), i128::from(i64::MAX), -1_i8, 255_u8));
    comes_back((usize::MAX / 2, isize::MIN, 0.1_f32, f64::MIN_POSITIVE, f32::INFINITY));
    comes_back(("ünï".to_owned(), 'ß', true, ()));
    comes_back((vec![0_u8, 255], [1_u8, 2], Bytes::from_static(b"raw")));
    comes_back((Some(vec![None, Some(1_i64)]), None::<String>));
    comes_back((Box::new(1_i64), Rc::new("a".to_owned()), Arc::<str>::from("b")));
    comes_back((Box::<[i64]>::from([1, 2]), Arc::<[u8]>::from([1, 2])));
    comes_back(HashMap::from([("a".to_owned(), 1_i64), (String::new(), 2)]));
    comes_back(BTreeMap::from([(Box::<str>::from("k"), vec![1.5])]));
    comes_back(VecDeque::from([1_u8, 2]));
    for (nanoseconds, at) in [
        (0, UNIX_EPOCH),
        (-1, UNIX_EPOCH - Duration::from_nanos(1)),
        (1_500_000_000, UNIX_EPOCH + Duration::from_millis(1500)),
    ] {
        assert_eq!(comes_back(at), Literal::Datetime(nanoseconds));
    }
    assert_eq!(comes_back(Duration::MAX), Literal::Duration((1_i128 << 64) * 1_000_000_000 - 1));
    assert!(f32::from_literal(f32::NAN.to_literal().unwrap()).unwrap().is_nan());
}

#[test]
fn a_set_is_the_same_list_whatever_its_order() {
    let numbers: Vec<i64> = (-300..300).collect();
    let sorted: BTreeSet<i64> = numbers.iter().copied().collect();
    let hashed: HashSet<i64> = numbers.iter().copied().collect();
    let other: HashSet<i64> = numbers.into_iter().rev().collect();
    let literal = comes_back(sorted);
    assert_eq!(comes_back(hashed), literal);
    assert_eq!(comes_back(other), literal);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_the_place() {
    let error = (1, vec![1_u64, u64::MAX]).to_literal().unwrap_err();
    assert_eq!(error.field, ".1[1]");
    assert!(error.problem.contains("18446744073709551615"));
    let error = BTreeMap::from([("k".to_owned(), i128::MAX)]).to_literal().unwrap_err();
    assert_eq!(error.field, "[\"k\"]");
    refused::<i8>(Literal::Integer(128), "is 128, which is no i8");
    refused::<u64>(Literal::Integer(-1), "is -1, which is no u64");
    refused::<f32>(Literal::Float(0.1), "which is no f32");
    refused::<char>(Literal::String("ab".into()), "not exactly one character");
    refused::<char>(Literal::String(String::new()), "not exactly one character");
    refused::<Duration>(Literal::Duration(-1), "no std::time::Duration");
    refused::<SystemTime>(Literal::Datetime(i128::MIN), "beyond std::time::SystemTime");
    refused::<SystemTime>(Literal::Datetime(i128::MAX), "beyond std::time::SystemTime");
    refused::<[i64; 2]>(Literal::List(vec![Literal::Integer(1)]), "has 1 items, 2 are wanted");
    refused::<i64>(Literal::Float(1.0), "is a float, an integer is wanted");
    refused::<i64>(Literal::Hashed { hash: "h".into(), value: None }, "a hash only");
    refused::<(i64,)>(Literal::Struct(BTreeMap::new()), ".0: is missing");
    let two = [("0", 1), ("1", 2)].map(|(name, value)| (name.to_owned(), Literal::Integer(value)));
    refused::<(i64,)>(Literal::Struct(two.into()), ".1: is not declared");
    refused::<File>(comes_from(&File::with_content("x")), "a file inside a value");
}

fn comes_from(value: &impl ToLiteral) -> Literal {
    value.to_literal().unwrap()
}

struct Png;

impl Format for Png {
    const NAME: &'static str = "png";
}

#[test]
fn an_opaque_value_is_of_its_format_only() {
    let literal = comes_back(Opaque::<Png>::new(&b"\x89PNG"[..]));
    assert_eq!(type_of::<Opaque<Png>>(), "opaque(png)");
    let Literal::Opaque { bytes, .. } = literal else { panic!("{literal:?}") };
    let other = Literal::Opaque { format: "jpeg".into(), bytes };
    refused::<Opaque<Png>>(other, "is in the format \"jpeg\", \"png\" is wanted");
}

#[test]
fn bytes_are_not_copied() {
    let bytes = Bytes::from(vec![1; 100]);
    let Literal::Bytes(literal) = bytes.to_literal().unwrap() else { panic!("bytes are bytes") };
    assert!(std::ptr::eq(literal.as_ptr(), bytes.as_ptr()));
    let back = Bytes::from_literal(Literal::Bytes(literal)).unwrap();
    assert!(std::ptr::eq(back.as_ptr(), bytes.as_ptr()));
}

#[test]
fn a_file_is_read_anew_outside_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let file = File::at(&path);
    std::fs::write(&path, "one").unwrap();
    let one = file.to_literal().unwrap();
    assert_eq!(one, File::with_content("one").to_literal().unwrap());
    std::fs::write(&path, "two").unwrap();
    assert_ne!(file.to_literal().unwrap(), one);
    std::fs::remove_file(&path).unwrap();
    assert!(file.to_literal().unwrap_err().problem.contains("cannot be read"));
}

/// What a run gives back lies at a path, and what a hit does in memory.
#[test]
fn s15_a_file_is_saved_without_its_mode() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let saved = folder.path().join("saved");
    for file in [File::at(&script), File::with_content("#!/bin/sh\n")] {
        assert_eq!(file.save(&saved).unwrap(), 10);
        let mode = std::fs::metadata(&saved).unwrap().permissions().mode();
        assert_eq!((mode & 0o111, std::fs::read(&saved).unwrap()), (0, b"#!/bin/sh\n".to_vec()));
        std::fs::remove_file(&saved).unwrap();
    }
}
