//! Runs `memo` and looks at what it says.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use harness::{Daemon, Ran, output, run};
use serde_json::Value;

#[track_caller]
pub(crate) fn memo(daemon: &Daemon, arguments: &[&str]) -> Ran {
    run(daemon.memo().args(arguments))
}

/// Runs `memo`, which must end with this code.
#[track_caller]
pub(crate) fn ends(daemon: &Daemon, code: i32, arguments: &[&str]) -> Ran {
    let ran = memo(daemon, arguments);
    assert_eq!(ran.code, Some(code), "memo {arguments:?}: {ran:?}");
    ran
}

#[track_caller]
pub(crate) fn json_of(daemon: &Daemon, code: i32, arguments: &[&str]) -> Value {
    ends(daemon, code, &[&["--format", "json"], arguments].concat()).json()
}

#[track_caller]
pub(crate) fn assert_fields(object: &Value, fields: &[&str]) {
    let found: BTreeSet<&str> =
        object.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(found, fields.iter().copied().collect(), "{object}");
}

/// A call of `square` with the input `n` 12, and these outputs.
pub(crate) fn square<'a>(command: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    let call = ["--task", "square", "--cache-version", "1.0", "--input", "n=12"];
    [&[command][..], &call, rest].concat()
}

pub(crate) fn stored(daemon: &Daemon) -> String {
    let answer = json_of(daemon, 0, &square("put", &["--output", "o0:integer=144"]));
    answer["key"].as_str().expect("a key").to_owned()
}

/// Runs a program with this on its standard input.
pub(crate) fn with_input(mut command: Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    child.stdin.take().expect("it is piped").write_all(input).expect("it reads");
    output(child).into()
}
