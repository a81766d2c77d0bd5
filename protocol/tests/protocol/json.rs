//! JSON: what is read, what is refused and in which words, what is written.

use memod_protocol::{Literal, LiteralType, Scope, json};
use serde_json::{Value, json};

fn parsed(text: &str) -> Value {
    json::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn inferred(text: &str) -> String {
    json::infer(&parsed(text)).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

fn read(of: &str, text: &str) -> Literal {
    let of: LiteralType = of.parse().unwrap();
    json::literal(&of, &parsed(text)).unwrap_or_else(|error| panic!("{of} {text}: {error}"))
}

/// Each case: what is given, and how the error begins.
fn refused<T: std::fmt::Debug>(
    cases: &[(&str, &str)],
    attempt: impl Fn(&str) -> Result<T, memod_protocol::InvalidArgument>,
) {
    for (given, wanted) in cases {
        let error = attempt(given).expect_err(given).to_string();
        assert!(error.starts_with(wanted), "{given} is refused with: {error}");
    }
}

#[test]
fn types_are_inferred() {
    for (text, wanted) in [
        ("null", "none"),
        ("true", "boolean"),
        ("1", "integer"),
        ("-9223372036854775808", "integer"),
        ("9223372036854775807", "integer"),
        ("1.0", "float"),
        ("1e3", "float"),
        ("-0.0", "float"),
        ("\"1\"", "string"),
        ("[]", "list<none>"),
        ("[null]", "list<none>"),
        ("[1,2]", "list<integer>"),
        ("[1,2.5]", "list<union<integer|float>>"),
        ("[1,\"a\",true]", "list<union<boolean|integer|string>>"),
        ("[1,null]", "list<optional<integer>>"),
        ("[null,1,\"a\"]", "list<optional<union<integer|string>>>"),
        ("[[],[1]]", "list<union<list<none>|list<integer>>>"),
        ("{}", "struct{}"),
        ("{\"b\":1,\"a\":[true]}", "struct{a:list<boolean>,b:integer}"),
        ("{\"a b\":1}", "struct{\"a b\":integer}"),
        ("{\"$hash\":\"h\",\"value\":1}", "integer"),
        ("[{\"$hash\":\"h\"},1.5]", "list<float>"),
        ("{\"$type\":\"datetime\",\"value\":\"@0\"}", "datetime"),
        ("[{\"$type\":\"optional<integer>\",\"value\":1},null]", "list<optional<integer>>"),
        ("{\"$plain\":{\"$hash\":1}}", "struct{\"$hash\":integer}"),
        ("{\"$bits\":\"7ff8000000000000\"}", "float"),
    ] {
        assert_eq!(inferred(text), wanted, "{text}");
        // What is inferred can be read.
        if text != "[{\"$hash\":\"h\"},1.5]" {
            read(wanted, text);
        }
    }
}

#[test]
fn what_has_no_type_is_refused() {
    refused(
        &[
            ("9223372036854775808", "value: the integer 9223372036854775808 is beyond"),
            ("[1,18446744073709551615]", "value[1]: the integer 18446744073709551615 is beyond"),
            ("{\"$hash\":\"h\"}", "value: is only a hash"),
            ("{\"a\":{\"$hash\":\"h\"}}", "value.a: is only a hash"),
            ("[{\"$hash\":\"h\"}]", "value: has only hashes"),
            ("{\"\":1}", "type, field name: must not be empty"),
            ("{\"$hash\":1}", "value: `$hash` needs a string"),
            ("{\"$hash\":\"h\",\"values\":1}", "value: member `values` cannot stand beside"),
            ("{\"$type\":\"integer\"}", "value: `value` is missing"),
            ("{\"$type\":\"integre\",\"value\":1}", "value.$type: `integre`: not a type"),
            ("{\"$bits\":\"7ff8\"}", "value: `$bits` needs 16"),
            ("{\"$bits\":\"7ff80000000000zz\"}", "value: `$bits` needs 16"),
            ("{\"$bits\":\"7ff8000000000000\",\"a\":1}", "value: member `a` cannot stand beside"),
        ],
        |text| json::infer(&parsed(text)),
    );
    let many: Value = (0..4000).map(|n| json!({ format!("name {n}"): n })).collect();
    let error = json::infer(&many).unwrap_err().to_string();
    assert!(error.contains("declare a simpler one"), "{error}");
}

#[test]
fn text_is_parsed_strictly() {
    refused(
        &[
            ("{\"a\":1,\"b\":2,\"a\":1}", "json: member `a` is named twice"),
            ("[{\"a\":{\"x\":1,\"x\":2}}]", "json: member `x` is named twice"),
            ("{\"a\":1,\"\\u0061\":2}", "json: member `a` is named twice"),
            ("18446744073709551616", "json: the integer 18446744073709551616 is beyond 64 bits"),
            ("[-9223372036854775809]", "json: the integer -9223372036854775809 is beyond"),
            ("{\"a\":[\"\\\"\",36893488147419103232]}", "json: the integer 36893488147419103232"),
            ("1 2", "json: trailing characters"),
            ("", "json: EOF"),
            ("{\"a\":}", "json: expected value"),
            ("NaN", "json: expected"),
            ("1e999", "json: number out of range"),
            ("\"\\ud800\"", "json: "),
        ],
        json::parse,
    );
    assert_eq!(
        parsed("\"18446744073709551616 \\\" 18446744073709551616\"").as_str().map(str::len),
        Some(43)
    );
    assert_eq!(parsed("18446744073709551616.0"), json!(18_446_744_073_709_551_616.0));
    assert_eq!(parsed("1e20"), json!(1e20));
    assert_eq!(parsed("9007199254740993"), json!(9_007_199_254_740_993_i64));
    // Decimals that a parser without full precision reads one step off.
    for hard in ["0.0009590000000000001", "1.08472535164e58"] {
        assert_eq!(parsed(hard).as_f64(), Some(hard.parse().unwrap()));
    }
}

#[test]
fn values_are_read_by_their_type() {
    let second = 1_000_000_000_i128;
    for (of, text, wanted) in [
        ("integer", "\"-5\"", Literal::Integer(-5)),
        ("float", "1", Literal::Float(1.0)),
        ("float", "\"-inf\"", Literal::Float(f64::NEG_INFINITY)),
        ("optional<float>", "null", Literal::None),
        ("bytes", "\"AAE=\"", Literal::Bytes(vec![0, 1].into())),
        ("datetime", "\"1970-01-01T00:00:00.000000001Z\"", Literal::Datetime(1)),
        ("datetime", "\"1970-01-01T01:00:00+01:00\"", Literal::Datetime(0)),
        ("datetime", "\"1970-01-01 00:00:00-00:30\"", Literal::Datetime(1800 * second)),
        ("datetime", "\"@-1.5\"", Literal::Datetime(-1_500_000_000)),
        ("duration", "1.5", Literal::Duration(1_500_000_000)),
        ("duration", "\"1h 30m\"", Literal::Duration(5400 * second)),
        ("duration", "\"PT1.5S\"", Literal::Duration(1_500_000_000)),
        ("duration", "1e-9", Literal::Duration(1)),
        ("duration", "4e-10", Literal::Duration(0)),
        ("duration", "5e-10", Literal::Duration(1)),
        ("duration", "-5e-10", Literal::Duration(-1)),
        ("duration", "0.30000000000000004", Literal::Duration(300_000_000)),
        ("duration", "1e20", Literal::Duration(second * 100_000_000_000_000_000_000)),
        ("duration", "\"2 ms\"", Literal::Duration(2_000_000)),
        ("union<integer|string>", "\"3\"", Literal::String("3".into())),
        ("union<bytes|integer>", "\"3\"", Literal::Integer(3)),
        ("union<datetime|enum(\"@0\")>", "\"@0\"", Literal::Enum("@0".into())),
        (
            "union<file|map<string>>",
            "{\"digest\":\"x\"}",
            Literal::Map([("digest".into(), Literal::String("x".into()))].into()),
        ),
        (
            "union<float|string>",
            "{\"$type\":\"float\",\"value\":\"NaN\"}",
            Literal::Float(f64::NAN),
        ),
        (
            "optional<union<float|string>>",
            "{\"$type\":\"union<float|string>\",\"value\":\"a\"}",
            Literal::String("a".into()),
        ),
    ] {
        // NaN is not itself, so what is compared is what they are as inputs.
        let found = read(of, text);
        assert_eq!(found.input_digest(), wanted.input_digest(), "{of} {text}: {found:?}");
    }
}

#[test]
fn what_is_not_of_the_type_is_refused_with_its_place() {
    let cases = [
        ("integer 1.0", "value: integer is wanted, here stands a number with a fraction"),
        ("integer 1e2", "value: integer is wanted, here stands a number with a fraction"),
        ("integer 9223372036854775808", "value: 9223372036854775808 is beyond 63 bits"),
        ("integer \"9223372036854775808\"", "value: the text is no decimal integer"),
        ("integer \"1.0\"", "value: the text is no decimal integer"),
        ("integer true", "value: integer is wanted, here stands a boolean"),
        ("boolean 1", "value: boolean is wanted, here stands an integer"),
        ("string 1", "value: string is wanted, here stands an integer"),
        ("float \"1.0\"", "value: a float is a number, \"NaN\""),
        ("none 0", "value: none is wanted"),
        ("bytes \"AAE\"", "value: is not base64 with padding"),
        ("bytes \"A_E=\"", "value: is not base64"),
        ("datetime \"1970-01-01T00:00:00\"", "value: cannot be read as RFC 3339 with an offset"),
        ("datetime \"1970-13-01T00:00:00Z\"", "value: cannot be read as RFC 3339"),
        ("datetime 0", "value: datetime is wanted, here stands an integer"),
        ("datetime \"@x\"", "value: `@` needs a decimal number"),
        ("duration \"soon\"", "value: is no duration"),
        ("duration \"1.\"", "value: is no duration"),
        ("duration 1e31", "value: is beyond 128 bits"),
        ("file {\"digest\":\"00\",\"bytes\":1}", "value.digest: `00` is not a digest"),
        ("file {\"bytes\":1}", "value: `digest`, a string"),
        ("file {\"digest\":\"00\"}", "value: `bytes`, the file's length"),
        ("file {\"path\":\"a\"}", "value: member `path` is none of a file's"),
        ("enum(a|b) \"c\"", "value: name `c` is not of enum(a|b)"),
        ("list<integer> [1,[2]]", "value[1]: integer is wanted, here stands a list"),
        ("list<integer> {}", "value: list<integer> is wanted, here stands an object"),
        ("map<list<integer>> {\"k\":[0,\"x\"]}", "value.k[1]: the text is no decimal"),
        ("struct{a:integer} {}", "value: field `a` is missing"),
        ("struct{a:integer} {\"a\":1,\"b\":2}", "value: field `b` is not declared"),
        ("struct{a:integer} {\"a\":null}", "value.a: integer is wanted, here stands null"),
        ("union<integer|string> 1.5", "value: a number with a fraction or exponent is not of"),
        (
            "union<integer|string> {\"$type\":\"float\",\"value\":1}",
            "value: `$type` is float, which",
        ),
        (
            "union<integer|string> {\"$type\":\"integer\",\"value\":\"x\"}",
            "value.value: the text is",
        ),
        ("integer {\"$hash\":\"h\",\"value\":\"x\"}", "value.value: the text is no decimal"),
        ("integer {\"$hash\":\"\"}", "value: has neither a hash nor a value"),
        ("integer {\"$bits\":\"0000000000000000\"}", "value: `$bits` are those of a float"),
    ];
    refused(&cases, |case| {
        let (of, text) = case.split_once(' ').unwrap();
        json::literal(&of.parse().unwrap(), &parsed(text))
    });
    let long = format!("{{\"$hash\":\"{}\"}}", "h".repeat(1025));
    let error = json::literal(&LiteralType::Integer, &parsed(&long)).unwrap_err();
    assert_eq!(error.to_string(), "value: hash of 1025 bytes, 1024 are allowed");
}

#[test]
fn values_are_written() {
    for (literal, wanted) in [
        (Literal::Float(f64::NAN), json!("NaN")),
        (Literal::Float(f64::INFINITY), json!("inf")),
        (Literal::Float(f64::NEG_INFINITY), json!("-inf")),
        (Literal::Float(-0.0), json!(-0.0)),
        (Literal::Integer(i64::MIN), json!(i64::MIN)),
        (Literal::Bytes(vec![0, 1].into()), json!("AAE=")),
        (Literal::Datetime(0), json!("1970-01-01T00:00:00Z")),
        (Literal::Datetime(1_500_000_000), json!("1970-01-01T00:00:01.5Z")),
        (Literal::Datetime(-1), json!("1969-12-31T23:59:59.999999999Z")),
        (Literal::Datetime(i128::MAX), json!("@170141183460469231731687303715.884105727")),
        (Literal::Datetime(-62_167_219_200_000_000_000), json!("0000-01-01T00:00:00Z")),
        (Literal::Datetime(-62_167_219_200_000_000_001), json!("@-62167219200.000000001")),
        (Literal::Duration(2_000_000_000), json!(2)),
        (Literal::Duration(1_500_000_000), json!(1.5)),
        (Literal::Duration(-1), json!(-1e-9)),
        (Literal::Duration(9_007_199_254_740_993_000_000_001), json!("9007199254740993.000000001")),
        (Literal::Duration(i128::MIN), json!("-170141183460469231731687303715.884105728")),
        (Literal::Hashed { hash: "h".into(), value: None }, json!({"$hash": "h"})),
        (Literal::Map([("$a".into(), Literal::None)].into()), json!({"$plain": {"$a": null}})),
    ] {
        let written = json::value(&literal);
        assert_eq!(written.to_string(), wanted.to_string(), "{literal:?}");
    }
}

const CALL: &str = r#"{"task":"t","cache_version":"1","inputs":{"x":{"value":1}}}"#;

fn call(text: &str) -> Result<memod_protocol::Call, memod_protocol::InvalidArgument> {
    json::call(&parsed(text), &Scope::new("default", "development"))
}

#[test]
fn the_scope_may_be_left_out() {
    let with = |member: &str| call(&CALL.replacen('{', &format!("{{{member},"), 1)).unwrap().scope;
    assert_eq!(call(CALL).unwrap().scope, Scope::new("default", "development"));
    assert_eq!(with(r#""project":"p""#), Scope::new("p", "development"));
    assert_eq!(with(r#""domain":"d""#), Scope::new("default", "d"));
}

#[test]
fn wrong_calls_are_refused_with_the_place() {
    let x = |input: &str| CALL.replace(r#"{"value":1}"#, input);
    let cases = [
        ("[]".into(), "call: must be an object, not a list"),
        (r#"{"cache_version":"1"}"#.into(), "task: is missing"),
        (r#"{"task":"t"}"#.into(), "cache_version: is missing"),
        (r#"{"task":"t","cache_version":1.0}"#.into(), "cache_version: must be a string"),
        (
            r#"{"task":"t","cache_version":"1","input":{}}"#.into(),
            "call: member `input` is unknown",
        ),
        (r#"{"task":"t","cache_version":"1","inputs":[]}"#.into(), "inputs: must be an object"),
        (
            r#"{"task":"t","cache_version":"1","outputs":{"o":1}}"#.into(),
            "output `o`, type: must be",
        ),
        (
            r#"{"task":"t","cache_version":"1","outputs":{"o":"int"}}"#.into(),
            "output `o`, type: `int`",
        ),
        (
            r#"{"task":"t","cache_version":"1","ignore":"x"}"#.into(),
            "ignore: must be a list of names",
        ),
        (
            r#"{"task":"t","cache_version":"1","ignore":[1]}"#.into(),
            "ignore: must be a list of names",
        ),
        (x("1"), "input `x`: must be an object, not an integer"),
        (x(r#"{"values":1}"#), "input `x`: member `values` is unknown; known are type"),
        (x(r#"{"type":"integer"}"#), "input `x`: needs a `value` or a `hash`"),
        (x(r#"{"type":"integer","hash":""}"#), "input `x`: needs a `value` or a `hash`"),
        (x(r#"{"hash":"h"}"#), "input `x`: needs a `type`"),
        (x("{}"), "input `x`: needs a `type`"),
        (x(r#"{"type":"integer","hash":1}"#), "input `x`: `hash` must be a string"),
        (x(r#"{"type":"list<integer>","value":[1.5]}"#), "input `x`, value[0]: integer is wanted"),
        (x(r#"{"value":[{"$hash":"h"}]}"#), "input `x`, value: has only hashes"),
        (x(r#"{"type":"integer","value":1,"absent":true}"#), "input `x`: is absent, so"),
        (x(r#"{"type":"integer","absent":1}"#), "input `x`: `absent` must be a boolean"),
    ];
    let cases: Vec<(&str, &str)> =
        cases.iter().map(|(text, error)| (text.as_str(), *error)).collect();
    refused(&cases, call);
}

/// Semantics 6: the task's own version, its documentation and the workflow that calls it are no
/// part of a call, so they cannot get into a key.
#[test]
fn what_is_not_in_the_key_has_no_place_in_a_call() {
    for member in ["task_version", "version", "sha", "docstring", "workflow", "execution"] {
        let text = CALL.replacen('{', &format!("{{\"{member}\":\"a\","), 1);
        let error = call(&text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("call: member `{member}` is unknown")), "{error}");
    }
}

#[test]
fn an_ignored_input_needs_no_value() {
    let text =
        CALL.replace(r#""inputs":{"#, r#""ignore":["y","z"],"inputs":{"y":{"type":"integer"},"#);
    let call = call(&text).unwrap();
    assert_eq!(call.interface.inputs["y"], LiteralType::Integer);
    assert!(!call.inputs.contains_key("y"));
    call.key().unwrap();
}
