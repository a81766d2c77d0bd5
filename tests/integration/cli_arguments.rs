//! `memo`: how a call is described on the command line, and what is said of one that cannot be.

use std::collections::BTreeSet;

use harness::Daemon;
use memod_protocol::Digest;
use serde_json::{Value, json};

use crate::memo::{ends, json_of, square, with_input};

/// What stands in the file that is an input.
const CONTENT: &str = "the content";

/// Flags that describe the input `x`, and the same input in JSON.
fn spellings(by_path: &str, by_digest: &str) -> Vec<(Vec<String>, Value)> {
    let digest = Digest::of(CONTENT.as_bytes()).to_string();
    let cases: &[(&[&str], Value)] = &[
        (&["--input", "x=12"], json!({"value": 12})),
        (&["--input", "x=-12"], json!({"type": "integer", "value": -12})),
        (&["--input", "x:integer=9007199254740993"], json!({"value": 9_007_199_254_740_993_i64})),
        (&["--input", "x=1.5"], json!({"type": "float", "value": 1.5})),
        (&["--input", "x:float=1"], json!({"type": "float", "value": 1.0})),
        (&["--input", "x:float=-inf"], json!({"type": "float", "value": "-inf"})),
        (&["--input", "x=\"12\""], json!({"type": "string", "value": "12"})),
        (&["--input", "x:string=12"], json!({"type": "string", "value": "12"})),
        (&["--input", "x:string="], json!({"type": "string", "value": ""})),
        (&["--input", "x:string=a=b:c"], json!({"type": "string", "value": "a=b:c"})),
        (&["--input", "x:string=--help"], json!({"type": "string", "value": "--help"})),
        (&["--input", "x=true"], json!({"type": "boolean", "value": true})),
        (&["--input", "x=null"], json!({"type": "none", "value": null})),
        (
            &["--input", "x:optional<integer>=null"],
            json!({"type": "optional<integer>", "value": null}),
        ),
        (&["--input", "x:bytes=abc"], json!({"type": "bytes", "value": "YWJj"})),
        (
            &["--input", "x:datetime=2026-11-22T08:00:00+01:00"],
            json!({"type": "datetime", "value": "2026-11-22T07:00:00Z"}),
        ),
        (&["--input", "x:duration=1h 30m"], json!({"type": "duration", "value": 5400})),
        (&["--input", "x:enum(red|blue)=red"], json!({"type": "enum(red|blue)", "value": "red"})),
        (&["--input", "x=[1,2]"], json!({"type": "list<integer>", "value": [1, 2]})),
        (
            &["--input", r#"x:map<list<integer>>={"a":[1]}"#],
            json!({"type": "map<list<integer>>", "value": {"a": [1]}}),
        ),
        (
            &["--input", r#"x:struct{a:string,b:integer}={"b":1,"a":"="}"#],
            json!({"type": "struct{b:integer,a:string}", "value": {"a": "=", "b": 1}}),
        ),
        (&["--input", r#"x={"a":"="}"#], json!({"type": "struct{a:string}", "value": {"a": "="}})),
        (
            &["--input", "x:union<integer|string>=\"3\""],
            json!({"type": "union<string|integer>", "value": {"$type": "string", "value": "3"}}),
        ),
        (&["--input", "x:opaque(csv)=\"YWJj\""], json!({"type": "opaque(csv)", "value": "YWJj"})),
        (
            &["--input-file", by_path],
            json!({"type": "file", "value": {"digest": digest, "bytes": 11}}),
        ),
        (
            &["--input", by_digest],
            json!({"type": "file", "value": {"digest": digest, "bytes": 11}}),
        ),
        (&["--input-hash", "x=h"], json!({"type": "string", "hash": "h"})),
        (&["--input-hash", "x:list<float>=h=:"], json!({"type": "list<float>", "hash": "h=:"})),
        (&["--input", "x:integer", "--ignore", "x"], json!({"type": "integer"})),
    ];
    let owned = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect();
    cases.iter().map(|(flags, input)| (owned(flags), input.clone())).collect()
}

#[test]
fn inputs_are_read_by_their_types() {
    let daemon = Daemon::new();
    let file = daemon.folder().join("input");
    std::fs::write(&file, CONTENT).unwrap();
    let digest = Digest::of(CONTENT.as_bytes()).to_string();
    let by_digest = format!("x:file={}", json!({"digest": digest, "bytes": CONTENT.len()}));
    let cases = spellings(&format!("x={}", file.display()), &by_digest);
    let mut keys = BTreeSet::new();
    for (flags, input) in &cases {
        let common = ["key", "--task", "t", "--cache-version", "1", "--output", "o:string"];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let by_flags = ends(&daemon, 0, &[&common[..], &flags].concat());
        let ignore = if flags.contains(&"--ignore") { json!(["x"]) } else { json!([]) };
        let whole = json!({
            "task": "t", "cache_version": "1", "inputs": {"x": input}, "outputs": {"o": "string"},
            "ignore": ignore
        });
        let mut command = daemon.memo();
        command.args(["key", "--call", "-"]);
        let by_json = with_input(command, whole.to_string().as_bytes());
        assert_eq!(by_json.code, Some(0), "{whole}: {by_json:?}");
        assert_eq!(by_flags.text(), by_json.text(), "{flags:?} is not {input}");
        keys.insert(by_flags.stdout);
    }
    // Two of the values stand twice, each in two spellings.
    assert_eq!(keys.len(), cases.len() - 2, "values are told apart");
}

#[test]
fn a_call_as_json_is_looked_up_and_put() {
    let daemon = Daemon::new();
    let path = daemon.folder().join("call.json");
    let whole = json!({
        "project": "p", "domain": "d", "task": "square", "cache_version": "1.0",
        "inputs": {"n": {"value": 12}}, "outputs": {"o0": "integer"}
    });
    std::fs::write(&path, whole.to_string()).unwrap();
    let path = path.display().to_string();
    ends(&daemon, 1, &["lookup", "--call", &path]);
    ends(&daemon, 0, &["put", "--call", &path, "--output", "o0=144"]);
    ends(&daemon, 0, &["lookup", "--call", &path]);
    let by_flags = square("lookup", &["--output", "o0:integer", "--project", "p", "--domain", "d"]);
    ends(&daemon, 0, &by_flags);
    let missing = ends(&daemon, 2, &["put", "--call", &path]);
    assert!(missing.errors().contains("`o0`"), "{missing:?}");
}

#[test]
fn values_of_outputs_come_from_the_line_files_or_standard_input() {
    let daemon = Daemon::new();
    let path = daemon.folder().join("values");
    std::fs::write(&path, "[1, 2]").unwrap();
    let from_file = format!("list:list<integer>=@{}", path.display());
    let mut command = daemon.memo();
    command.args(["put", "--task", "t", "--cache-version", "1", "--output", &from_file]);
    command.args(["--output", "at:string=@@home", "--output", "in:bytes=@-"]);
    assert_eq!(with_input(command, b"\0\xff from elsewhere").code, Some(0));
    let outputs =
        ["--output", "list:list<integer>", "--output", "at:string", "--output", "in:bytes"];
    let lookup = [&["lookup", "--task", "t", "--cache-version", "1"][..], &outputs].concat();
    let hit = json_of(&daemon, 0, &lookup);
    assert_eq!(hit["outputs"]["list"]["value"], json!([1, 2]));
    assert_eq!(hit["outputs"]["at"]["value"], json!("@home"));
    let cat = ends(&daemon, 0, &["cat", hit["key"].as_str().unwrap(), "in"]);
    assert_eq!(cat.stdout, b"\0\xff from elsewhere");
}

/// The key of nothing.
const KEY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn exit_code_2_names_the_argument() {
    let long = "x".repeat(1025);
    let cases: &[(&[&str], &str)] = &[
        (&["lookup"], "--task"),
        (&["lookup", "--task", "t"], "--cache-version"),
        (&["lookup", "--task", "t", "--cache-version", " "], "cache_version: must not be blank"),
        (&["lookup", "--task", "", "--cache-version", "1"], "task: must not be empty"),
        (&["lookup", "--task", &long, "--cache-version", "1"], "task: is 1025 bytes long"),
        (&["--project", "", "lookup", "--task", "t", "--cache-version", "1"], "project: must not"),
        (&["--domain", &long, "ls"], "domain: is 1025 bytes long"),
        (
            &["lookup", "--task", "t", "--cache-version", "1", "--input", "a=1", "--input", "a=2"],
            "`a`",
        ),
        (&["lookup", "--task", "t", "--cache-version", "1", "--input", "a=word"], "`a`"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--input", "a:integer=x"], "`a` of"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--input", "a:strin=x"], "`a`"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--input", "=1"], "name"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--input", "a:integer"], "`a`"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--input-file", "a=/none"], "/none"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--output", "o"], "`o`"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--max-age", "soon"], "--max-age"),
        (&["put", "--task", "t", "--cache-version", "1", "--output", "o:string"], "`o`"),
        (
            &["put", "--task", "t", "--cache-version", "1", "--output", "o:list<integer>=x"],
            "output `o` of type list<integer>, ",
        ),
        (&["put", "--task", "t", "--cache-version", "1", "--output", "o:file=@/none"], "/none"),
        (&["put", "--task", "t", "--cache-version", "1", "--node", ""], "node: must not be empty"),
        (&["lookup", "--call", "/none"], "/none"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--wait", "-1s"], "less than zero"),
        (&["lookup", "--task", "t", "--cache-version", "1", "--max-age", "-1"], "less than zero"),
        (&["rm", "--older-than", "-1s"], "less than zero"),
        (&["lookup", "--disabled"], "MEMOD_MODE=disabled"),
        (&["put", "--read-only"], "MEMOD_MODE=read-only"),
        (&["lookup", "--wait", "always"], "`forever`"),
        (&["rm", "--writer", "root"], "a number is wanted"),
        (&["ls", "--writer", "root"], "a number is wanted"),
        (&["log", "--uid", "root"], "a number is wanted"),
        (&["ls", "--limit", "-1"], "number is wanted, zero or more"),
        (&["log", "--limit", "-1"], "-1 is not in 1..=1000"),
        (&["why", "--limit", "-1"], "-1 is not in 0..="),
        (&["run", "--cache-version", "1", "--serialize", "--wait", "-1s", "--", "true"], "zero"),
        (&["show", "xyz"], "xyz"),
        (&["ls", "--limit", "many"], "many"),
        (&["ls", "--nonsense"], "--nonsense"),
        (&["nonsense"], "nonsense"),
        (&["run", "--cache-version", "1"], "CMD"),
        (&["run", "--", "true"], "--cache-version"),
    ];
    are_refused(cases);
}

#[test]
fn s7_s21_a_selector_that_is_blank_is_an_error_and_not_a_condition_that_nothing_meets() {
    are_refused(&[
        (&["rm", "--task", ""], "task: must not be empty"),
        (&["log", "--task", ""], "task: must not be empty"),
        (&["ls", "--task", ""], "task: must not be empty"),
        (&["export", "--task", "", "/none/archive"], "task: must not be empty"),
        (&["run", "--task", "", "--cache-version", "1", "--", "true"], "task: must not be empty"),
        (&["run", "--cache-version", " ", "--", "true"], "cache_version: must not be blank"),
        (&["rm", "--task", "t", "--cache-version", ""], "cache_version: must not be blank"),
        (&["rm", "--task", "t", "--cache-version", " "], "cache_version: must not be blank"),
        (&["ls", "--cache-version", ""], "cache_version: must not be blank"),
        (&["ls", "--project", ""], "project: must not be empty"),
        (&["rm", "--scope", "--domain", ""], "domain: must not be empty"),
        (&["log", "--project", ""], "project: must not be empty"),
        (&["cat", KEY, ""], "output: must not be empty"),
    ]);
}

/// Each of these lines ends with 2 and names this, in words and in JSON, and asks no daemon.
#[track_caller]
fn are_refused(cases: &[(&[&str], &str)]) {
    let daemon = Daemon::new();
    for (arguments, named) in cases {
        let ran = ends(&daemon, 2, arguments);
        assert!(ran.errors().starts_with("memo: error: "), "{arguments:?}: {ran:?}");
        assert!(ran.errors().contains(named), "{arguments:?} does not name {named}: {ran:?}");
        assert!(ran.stdout.is_empty());
        let ran = ends(&daemon, 2, &[&["--format", "json"][..], arguments].concat());
        let error = ran.json_error();
        assert_eq!(error["code"], json!("invalid_argument"), "{error}");
        assert!(
            error["message"].as_str().is_some_and(|message| !message.contains('\n')),
            "{error}"
        );
    }
    assert_eq!(daemon.connect().stats().misses, 0, "none of them has asked");
}
