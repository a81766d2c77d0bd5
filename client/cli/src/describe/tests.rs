use std::ffi::OsString;
use std::io::Write;

use memod_protocol::Digest;

use super::*;

fn flags(inputs: &[&str], outputs: &[&str]) -> CallFlags {
    let owned = |texts: &[&str]| texts.iter().map(OsString::from).collect();
    CallFlags {
        task: Some("t".into()),
        cache_version: Some("1".into()),
        input: owned(inputs),
        output: owned(outputs),
        ..CallFlags::default()
    }
}

fn scope() -> Scope {
    Scope::new("p", "d")
}

fn described(inputs: &[&str]) -> Call {
    call(&flags(inputs, &[]), &scope()).expect("the flags are valid")
}

fn refused(flags: &CallFlags) -> Failure {
    let failure = call(flags, &scope()).expect_err("the flags are not valid");
    assert_eq!(failure.exit, crate::exit::USAGE);
    failure
}

/// The path of a file in a directory that lasts as long as the value beside it.
fn file_of(content: &[u8]) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(content).expect("it can be written");
    let path = file.path().to_str().expect("its path is text").to_owned();
    (file, path)
}

#[test]
fn values_without_a_type_are_json() {
    let call = described(&["a=1", "b=1.0", r#"c="1""#, "d=true", "e=null", "f=-7"]);
    let expected = [
        ("a", LiteralType::Integer, Literal::Integer(1)),
        ("b", LiteralType::Float, Literal::Float(1.0)),
        ("c", LiteralType::String, Literal::String("1".into())),
        ("d", LiteralType::Boolean, Literal::Boolean(true)),
        ("e", LiteralType::None, Literal::None),
        ("f", LiteralType::Integer, Literal::Integer(-7)),
    ];
    for (name, of, value) in expected {
        assert_eq!(call.interface.inputs.get(name), Some(&of), "{name}");
        assert_eq!(call.inputs.get(name), Some(&value), "{name}");
    }
}

#[test]
fn text_types_take_plain_text() {
    let call = described(&[
        r#"quoted:string="x""#,
        "empty:string=",
        "raw:bytes={1}",
        "choice:enum(a|b)=b",
        "at:datetime=1970-01-01T00:00:01Z",
        "long:duration=1.5s",
        "seconds:duration=2",
        "nan:float=-inf",
    ]);
    let expected = [
        ("quoted", Literal::String(r#""x""#.into())),
        ("empty", Literal::String(String::new())),
        ("raw", Literal::Bytes("{1}".into())),
        ("choice", Literal::Enum("b".into())),
        ("at", Literal::Datetime(1_000_000_000)),
        ("long", Literal::Duration(1_500_000_000)),
        ("seconds", Literal::Duration(2_000_000_000)),
        ("nan", Literal::Float(f64::NEG_INFINITY)),
    ];
    for (name, value) in expected {
        assert_eq!(call.inputs.get(name), Some(&value), "{name}");
    }
}

#[test]
fn other_types_take_json() {
    let call = described(&[
        r#"p:struct{x:integer,y:string}={"x":-1,"y":"="}"#,
        "o:optional<integer>=null",
    ]);
    let fields = [("x", Literal::Integer(-1)), ("y", Literal::String("=".into()))];
    let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(call.inputs.get("p"), Some(&Literal::Struct(fields)));
    assert_eq!(call.inputs.get("o"), Some(&Literal::None));
}

#[test]
fn plain_text_without_a_type_gets_a_hint() {
    let failure = refused(&flags(&["name=hello"], &[]));
    assert!(failure.message.contains("`name`"), "{failure}");
    assert!(failure.hint.expect("there is one").contains("name:string=.."));
}

#[test]
fn files_count_by_content() {
    let (_file, path) = file_of(b"content");
    let mut given = flags(&[], &[]);
    given.input_file = vec![format!("f={path}").into()];
    let call = call(&given, &scope()).expect("the file is there");
    let value = Literal::File { digest: Digest::of(b"content"), bytes: 7 };
    assert_eq!(call.inputs.get("f"), Some(&value));
    assert_eq!(call.interface.inputs.get("f"), Some(&LiteralType::File));
}

#[test]
fn a_file_that_is_none_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let absent = directory.path().join("absent").display().to_string();
    let mut given = flags(&[], &[]);
    given.input_file = vec![format!("f={absent}").into()];
    let failure = refused(&given);
    assert!(failure.message.contains(&absent) && failure.message.contains("No such file"));
    given.input_file = vec!["f=/".into()];
    assert!(refused(&given).message.contains("directory"));
}

#[test]
fn hashes_stand_for_values() {
    let mut given = flags(&[], &[]);
    given.input_hash = vec!["a=h1".into(), "b:list<integer>=h:2=".into()];
    let call = call(&given, &scope()).expect("valid");
    assert_eq!(call.interface.inputs.get("a"), Some(&LiteralType::String));
    let hashed = |hash: &str| Literal::Hashed { hash: hash.into(), value: None };
    assert_eq!(call.inputs.get("a"), Some(&hashed("h1")));
    assert_eq!(call.inputs.get("b"), Some(&hashed("h:2=")));
    given.input_hash = vec!["a=".into()];
    assert!(refused(&given).message.contains("`a`"));
}

#[test]
fn a_name_given_twice_is_an_error() {
    assert!(refused(&flags(&["a=1", "a=1"], &[])).message.contains("twice"));
    assert!(refused(&flags(&[], &["o:string", "o:string"])).message.contains("twice"));
    let mut mixed = flags(&["a=1"], &[]);
    mixed.input_hash = vec!["a=h".into()];
    assert!(refused(&mixed).message.contains("twice"));
    let mut ignored = flags(&["a=1"], &[]);
    ignored.ignore = vec!["a".into(), "a".into()];
    assert!(refused(&ignored).message.contains("twice"));
}

#[test]
fn ignored_inputs_may_lack_a_value() {
    let mut given = flags(&["a:integer", "b=2"], &[]);
    assert!(refused(&given).message.contains("`a` has no value"));
    given.ignore = vec!["a".into(), "stranger".into()];
    let without = call(&given, &scope()).expect("it is ignored");
    assert_eq!(ignored_strangers(&without), ["stranger"]);
    given.input = vec!["a=5".into(), "b=2".into()];
    let with = call(&given, &scope()).expect("valid");
    assert_eq!(with.key(), without.key());
}

#[test]
fn task_and_version_are_required() {
    let mut given = flags(&[], &[]);
    given.cache_version = None;
    assert!(refused(&given).message.contains("--cache-version"));
    given.cache_version = Some("  ".into());
    assert!(refused(&given).message.contains("cache_version"));
    given.task = None;
    assert!(refused(&given).message.contains("--task"));
}

#[test]
fn a_lookup_declares_outputs_without_values() {
    let declared = call(&flags(&[], &["o:list<string>"]), &scope()).expect("valid");
    let list = LiteralType::List(Box::new(LiteralType::String));
    assert_eq!(declared.interface.outputs.get("o"), Some(&list));
    assert!(refused(&flags(&[], &["o:string=x"])).message.contains("only put"));
    assert!(refused(&flags(&[], &["o"])).message.contains("needs a type"));
}

#[test]
fn a_call_as_json_is_the_same_call() {
    let (_file, path) = file_of(
        br#"{"task":"t","cache_version":"1","inputs":{"a":{"value":-3}},
             "outputs":{"o":"string"}}"#,
    );
    let whole = CallFlags { call: Some(path.into()), ..CallFlags::default() };
    let by_json = call(&whole, &scope()).expect("valid");
    let by_flags = call(&flags(&["a=-3"], &["o:string"]), &scope()).expect("valid");
    assert_eq!(by_json, by_flags);
    let both = CallFlags { task: Some("t".into()), ..whole };
    assert!(refused(&both).message.contains("--task"));
}

#[test]
fn put_takes_its_values_from_output() {
    let (call_of_put, given) =
        put(&flags(&["a=1"], &["o:string=x", "n:integer=-1"]), &scope()).expect("valid");
    let declared = flags(&["a=1"], &["n:integer", "o:string"]);
    assert_eq!(call_of_put.key(), call(&declared, &scope()).expect("valid").key());
    assert_eq!(given.len(), 2);
    let refused =
        |outputs: &[&str]| put(&flags(&[], outputs), &scope()).expect_err("not valid").message;
    assert!(refused(&["o:string"]).contains("needs a value"));
    assert!(refused(&["o=1"]).contains("needs a type"));
    assert!(refused(&["o:file=x"]).contains("=@PATH"));
    assert!(refused(&["a:bytes=@-", "b:bytes=@-"]).contains("only once"));
    assert!(refused(&["o:string=1", "o:string=1"]).contains("twice"));
}

#[test]
fn put_of_a_json_call_wants_every_output_of_its_type() {
    let (_file, path) =
        file_of(br#"{"task":"t","cache_version":"1","outputs":{"o":"string","n":"integer"}}"#);
    let with = |outputs: &[&str]| {
        let output = outputs.iter().map(OsString::from).collect();
        let flags = CallFlags { call: Some(path.clone().into()), output, ..CallFlags::default() };
        put(&flags, &scope())
    };
    assert_eq!(with(&["o=x", "n:integer=2"]).expect("valid").1.len(), 2);
    let missing = with(&["o=x"]).expect_err("n is missing");
    assert!(missing.message.contains("`n`"), "{missing}");
    let other = with(&["o:bytes=x", "n=2"]).expect_err("o is a string");
    assert!(other.message.contains("of type string"), "{other}");
    let unknown = with(&["o=x", "n=2", "z=1"]).expect_err("z is not declared");
    assert!(unknown.message.contains("`z`"), "{unknown}");
}
