//! Semantics 1 to 13 through the macro: its keys are those of `memo`, and so of the protocol.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use harness::{Daemon, Setup, run};
use memod_client as memod;
use memod_client::{Bytes, Call, File, Format, InvalidArgument, Opaque};

/// The key that `memo` computes of a call in this scope.
#[track_caller]
pub(super) fn of_memo(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut memo = daemon.memo();
    memo.args(["--project", "p", "--domain", "d", "--format", "json", "key"]);
    let ran = run(memo.args(arguments));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.json()["key"].as_str().unwrap().to_owned()
}

#[track_caller]
pub(super) fn key(described: Result<Call, InvalidArgument>) -> String {
    described.unwrap().key().unwrap().to_string()
}

#[derive(Clone, memod::Literal)]
struct Point {
    x: f64,
    #[literal(rename = "why")]
    y: Option<i64>,
}

#[derive(Clone, memod::Literal)]
struct Meters(f64);

#[derive(Clone, memod::Literal)]
enum Color {
    Red,
    #[literal(rename = "dark green")]
    Green,
}

#[derive(Clone, memod::Literal)]
enum Shape {
    Dot,
    Circle(f64),
    Box { width: i64, height: i64 },
}

#[derive(Clone, memod::Literal)]
#[literal(untagged)]
enum Number {
    Whole(i64),
    Real(f64),
}

struct Npy;

impl Format for Npy {
    const NAME: &'static str = "npy";
}

#[memod::task(cache_version = "1.0", project = "p", domain = "d", name = "scalars")]
fn scalars(
    boolean: bool,
    integer: i64,
    short: u8,
    float: f64,
    text: String,
    character: char,
    nothing: (),
) -> String {
    format!("{boolean}{integer}{short}{float}{text}{character}{nothing:?}")
}

#[test]
fn s03_scalars() {
    let memo = Setup::new().prepare();
    let memo = |integer: &str, float: &str, text: &str| {
        let (integer, float) =
            (format!("integer:integer={integer}"), format!("float:float={float}"));
        let text = format!("text:string={text}");
        of_memo(
            &memo,
            &[
                "--task",
                "scalars",
                "--cache-version",
                "1.0",
                "--input",
                "boolean:boolean=true",
                "--input",
                &integer,
                "--input",
                "short:integer=255",
                "--input",
                &float,
                "--input",
                &text,
                "--input",
                "character:string=é",
                "--input",
                "nothing:none=null",
                "--output",
                "o0:string",
            ],
        )
    };
    for (integer, float, text) in [
        (0, 0.0, "plain"),
        (i64::MIN, f64::INFINITY, "ünï\u{301} 🦀"),
        (i64::MAX, 0.1, ""),
        ((1 << 53) + 1, f64::MIN_POSITIVE, " blanks "),
    ] {
        let float_text =
            if float == f64::INFINITY { "inf".to_owned() } else { format!("{float:?}") };
        assert_eq!(
            key(scalars::describe(true, integer, 255, float, text.to_owned(), 'é', ())),
            memo(&integer.to_string(), &float_text, text),
        );
    }
    let float = |float| key(scalars::describe(true, 0, 255, float, String::new(), 'é', ()));
    assert_eq!(float(-0.0), float(0.0), "semantics 10");
    assert_eq!(float(f64::NAN), float(-f64::NAN), "semantics 10");
    assert_eq!(float(f64::NAN), memo("0", "NaN", ""));
}

#[memod::task(cache_version = "1.0", project = "p", domain = "d", name = "containers")]
fn containers(
    bytes: Bytes,
    raw: Vec<u8>,
    list: Vec<Vec<i64>>,
    map: HashMap<String, Option<bool>>,
    pair: (i64, String),
    set: HashSet<i64>,
) -> (i64, Vec<String>) {
    drop((bytes, raw, list, map, set));
    (pair.0, vec![pair.1])
}

fn containers_key(bytes: &'static [u8], list: &[&[i64]], map: &[(&str, Option<bool>)]) -> String {
    key(containers::describe(
        Bytes::from_static(bytes),
        bytes.to_vec(),
        list.iter().map(|inner| inner.to_vec()).collect(),
        map.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        (7, "seven".to_owned()),
        (0..40).rev().collect(),
    ))
}

#[test]
fn s03_s11_containers() {
    let memo = Setup::new().prepare();
    let set: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let set = format!("set:list<integer>=[{}]", set.join(","));
    let memo = |bytes: &str, list: &str, map: &str| {
        let (raw, bytes) = (format!("raw:bytes={bytes}"), format!("bytes:bytes={bytes}"));
        let (list, map) = (
            format!("list:list<list<integer>>={list}"),
            format!("map:map<optional<boolean>>={map}"),
        );
        of_memo(
            &memo,
            &[
                "--task",
                "containers",
                "--cache-version",
                "1.0",
                "--input",
                &bytes,
                "--input",
                &raw,
                "--input",
                &list,
                "--input",
                &map,
                "--input",
                r#"pair:struct{0:integer,1:string}={"0":7,"1":"seven"}"#,
                "--input",
                &set,
                "--output",
                "o0:integer",
                "--output",
                "o1:list<string>",
            ],
        )
    };
    let made = [
        (
            containers_key(b"ab", &[&[1], &[2]], &[("k", None)]),
            memo("ab", "[[1],[2]]", r#"{"k":null}"#),
        ),
        (containers_key(b"ab", &[&[1, 2]], &[("k", None)]), memo("ab", "[[1,2]]", r#"{"k":null}"#)),
        (containers_key(b"", &[], &[]), memo("", "[]", "{}")),
        (containers_key(b"", &[&[]], &[]), memo("", "[[]]", "{}")),
        (
            containers_key(b"", &[], &[("b", Some(true)), ("a", Some(false))]),
            memo("", "[]", r#"{"a":false,"b":true}"#),
        ),
    ];
    for (here, there) in &made {
        assert_eq!(here, there);
    }
    let distinct: HashSet<_> = made.iter().map(|(here, _)| here).collect();
    assert_eq!(distinct.len(), made.len(), "semantics 11");
}

#[memod::task(cache_version = "1.0", project = "p", domain = "d", name = "derived")]
fn derived(point: Point, length: Meters, color: Color, shape: Shape, number: Number) -> Point {
    let _ = (length, color, shape, number);
    point
}

const DERIVED: [&str; 4] = ["--task", "derived", "--cache-version", "1.0"];
const SHAPE: &str = "union<enum(Dot)|struct{Box:struct{height:integer,width:integer}}\
                     |struct{Circle:float}>";

#[test]
fn s03_derived_structs_and_enums() {
    let memo = Setup::new().prepare();
    let memo = |color: &str, shape: &str, number: &str| {
        let color = format!(r#"color:enum(Red|"dark green")={color}"#);
        let shape = format!("shape:{SHAPE}={shape}");
        let number = format!("number:union<integer|float>={number}");
        let mut arguments = DERIVED.to_vec();
        arguments.extend([
            "--input",
            r#"point:struct{x:float,why:optional<integer>}={"x":1.5,"why":null}"#,
            "--input",
            "length:float=2.5",
            "--input",
            &color,
            "--input",
            &shape,
            "--input",
            &number,
            "--output",
            "o0:struct{why:optional<integer>,x:float}",
        ]);
        of_memo(&memo, &arguments)
    };
    let derived = |color: Color, shape: Shape, number: Number| {
        key(derived::describe(Point { x: 1.5, y: None }, Meters(2.5), color, shape, number))
    };
    assert_eq!(derived(Color::Red, Shape::Dot, Number::Whole(1)), memo("Red", "\"Dot\"", "1"),);
    assert_eq!(
        derived(Color::Green, Shape::Circle(1.0), Number::Real(1.0)),
        memo("dark green", r#"{"Circle":1.0}"#, "1.0"),
    );
    assert_eq!(
        derived(Color::Red, Shape::Box { width: 2, height: 3 }, Number::Whole(1)),
        memo("Red", r#"{"Box":{"width":2,"height":3}}"#, "1"),
    );
}

#[memod::task(cache_version = "1.0", project = "p", domain = "d", name = "times")]
fn times(
    at: std::time::SystemTime,
    span: Duration,
    array: Opaque<Npy>,
    borrowed: &[&str],
) -> Option<f32> {
    drop(array);
    at.elapsed()
        .ok()
        .map(|elapsed| elapsed.as_secs_f32() + span.as_secs_f32())
        .filter(|_| !borrowed.is_empty())
}

#[test]
fn s03_times_and_opaque_values() {
    let memo = Setup::new().prepare();
    let there = of_memo(
        &memo,
        &[
            "--task",
            "times",
            "--cache-version",
            "1.0",
            "--input",
            "at:datetime=1969-12-31T23:59:58.5Z",
            "--input",
            "span:duration=1.000000001",
            "--input",
            r#"array:opaque(npy)="AQI=""#,
            "--input",
            r#"borrowed:list<string>=["a","b"]"#,
            "--output",
            "o0:optional<float>",
        ],
    );
    let here = times::describe(
        UNIX_EPOCH - Duration::from_millis(1500),
        Duration::new(1, 1),
        Opaque::new(vec![1, 2]),
        &["a", "b"],
    );
    assert_eq!(key(here), there);
}

#[memod::task(cache_version = "1.0", project = "p", domain = "d", name = "of_file")]
fn of_file(data: File) -> i64 {
    i64::try_from(data.bytes().unwrap().len()).unwrap()
}

#[test]
fn s13_a_file_counts_by_its_content() {
    let memo = Setup::new().prepare();
    let (one, other) = (memo.folder().join("one"), memo.folder().join("other"));
    fs::write(&one, "content").unwrap();
    fs::write(&other, "content").unwrap();
    let here = key(of_file::describe(File::at(&one)));
    assert_eq!(here, key(of_file::describe(File::at(&other))));
    assert_eq!(here, key(of_file::describe(File::with_content("content"))));
    let named = format!("data={}", one.display());
    let there = ["--task", "of_file", "--cache-version", "1.0", "--input-file", &named];
    assert_eq!(here, of_memo(&memo, &[&there[..], &["--output", "o0:integer"]].concat()));
    fs::write(&one, "changed").unwrap();
    assert_ne!(here, key(of_file::describe(File::at(&one))));
}

fn shape_of(values: &[f64]) -> String {
    match values.len() {
        0 => String::new(),
        length => format!("length {length}"),
    }
}

#[memod::task(
    cache_version = "1.0",
    project = "p",
    domain = "d",
    ignore(verbose, r#type),
    name = "hashed"
)]
fn hashed(#[input(hash = shape_of)] frame: Vec<f64>, verbose: bool, r#type: &str) -> f64 {
    if verbose {
        println!("summing {type}");
    }
    frame.iter().sum()
}

#[test]
fn s08_s09_hashes_and_ignored_inputs() {
    let memo = Setup::new().prepare();
    let here = |frame: &[f64], verbose, of| key(hashed::describe(frame.to_vec(), verbose, of));
    let one = here(&[1.0, 2.0], true, "a");
    assert_eq!(one, here(&[3.0, 4.0], false, "b"), "only the hash counts");
    assert_ne!(one, here(&[1.0], true, "a"), "another hash");
    let common = [
        "--task",
        "hashed",
        "--cache-version",
        "1.0",
        "--ignore",
        "verbose",
        "--ignore",
        "type",
        "--input",
        "verbose:boolean=true",
        "--input",
        "type:string=x",
        "--output",
        "o0:float",
    ];
    let with = |frame: &[&str]| of_memo(&memo, &[&common[..], frame].concat());
    assert_eq!(one, with(&["--input-hash", "frame:list<float>=length 2"]));
    assert_eq!(here(&[], true, "a"), with(&["--input", "frame:list<float>=[]"]), "no hash");
}

#[memod::task(cache_version = "2", name = "base", project = "p", domain = "d")]
fn base(a: i64, b: String) -> i64 {
    a + i64::from(b.is_empty())
}

/// Tasks that differ from `base` in one thing each.
mod one_thing {
    use memod_client as memod;

    #[memod::task(cache_version = "2", name = "base", project = "p", domain = "d")]
    pub(super) fn reordered(b: String, a: i64) -> String {
        format!("{a}{b}")
    }

    #[memod::task(cache_version = "2", name = "base", project = "p", domain = "d")]
    pub(super) fn renamed(first: i64, b: String) -> i64 {
        first + i64::from(b.is_empty())
    }

    #[memod::task(cache_version = "2", name = "base", project = "p", domain = "d")]
    pub(super) fn retyped(a: f64, b: String) -> i64 {
        i64::from(a > 0.0) + i64::from(b.is_empty())
    }

    #[memod::task(cache_version = "2", name = "base", project = "p", domain = "d")]
    pub(super) fn fewer(a: i64) -> i64 {
        a
    }

    #[memod::task(cache_version = "2", name = "base", project = "p", domain = "d")]
    pub(super) fn several(a: i64, b: String) -> (i64, String) {
        (a, b)
    }

    #[memod::task(cache_version = "2", name = "other", project = "p", domain = "d")]
    pub(super) fn named(a: i64, b: String) -> i64 {
        a + i64::from(b.is_empty())
    }

    #[memod::task(cache_version = "2", name = "base", project = "other", domain = "d")]
    pub(super) fn project(a: i64, b: String) -> i64 {
        a + i64::from(b.is_empty())
    }

    #[memod::task(cache_version = "2", name = "base", project = "p", domain = "other")]
    pub(super) fn domain(a: i64, b: String) -> i64 {
        a + i64::from(b.is_empty())
    }

    #[memod::task(cache_version = "2.0", name = "base", project = "p", domain = "d")]
    pub(super) fn version(a: i64, b: String) -> i64 {
        a + i64::from(b.is_empty())
    }
}

#[test]
fn s01_to_s06_what_makes_another_key_and_what_does_not() {
    let text = String::new;
    let keys = [
        key(base::describe(1, text())),
        key(base::describe(2, text())),
        key(base::describe(1, "x".to_owned())),
        key(one_thing::reordered::describe(text(), 1)),
        key(one_thing::renamed::describe(1, text())),
        key(one_thing::retyped::describe(1.0, text())),
        key(one_thing::fewer::describe(1)),
        key(one_thing::several::describe(1, text())),
        key(one_thing::named::describe(1, text())),
        key(one_thing::project::describe(1, text())),
        key(one_thing::domain::describe(1, text())),
        key(one_thing::version::describe(1, text())),
    ];
    let distinct: HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "{keys:?}");
    // The order of arguments counts no more than that of `--input`s does (semantics 1); neither do
    // docstrings, bodies and places in the source, of which memo knows nothing (semantics 6).
    let memo = Setup::new().prepare();
    let (a, b) = (["--input", "a:integer=1"], ["--input", "b:string="]);
    let common = ["--task", "base", "--cache-version", " 2 ", "--output", "o0:integer"];
    for inputs in [[a, b].concat(), [b, a].concat()] {
        assert_eq!(keys[0], of_memo(&memo, &[&common[..], &inputs].concat()));
    }
}

#[memod::task(cache_version = "1", project = "p", domain = "d", name = "nothing")]
fn nothing() {}

#[test]
fn s02_no_inputs_and_no_outputs() {
    let memo = Setup::new().prepare();
    let there = of_memo(&memo, &["--task", "nothing", "--cache-version", "1"]);
    assert_eq!(key(nothing::describe()), there);
}

/// Maps of any kind, and pointers to values, are what they hold.
#[memod::task(cache_version = "1", project = "p", domain = "d", name = "held")]
fn held(map: BTreeMap<String, Box<i64>>, text: &str) -> std::sync::Arc<str> {
    format!("{}{text}", map.len()).into()
}

#[test]
fn s03_pointers_are_what_they_point_to() {
    let memo = Setup::new().prepare();
    let map = BTreeMap::from([("one".to_owned(), Box::new(1))]);
    let there = [
        "--task",
        "held",
        "--cache-version",
        "1",
        "--input",
        r#"map:map<integer>={"one":1}"#,
        "--input",
        "text:string=t",
        "--output",
        "o0:string",
    ];
    assert_eq!(key(held::describe(map, "t")), of_memo(&memo, &there));
}
