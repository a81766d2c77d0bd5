//! A program that has run, and what it said.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::patience::output;

/// What came of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
    }
}

impl Ran {
    /// Its standard output as text.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is text")
    }

    /// Its standard error as text.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn errors(&self) -> &str {
        std::str::from_utf8(&self.stderr).expect("the error output is text")
    }

    /// Its standard output as JSON.
    ///
    /// # Panics
    /// If it is not one line of it.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        parse(self.text(), self)
    }

    /// Its standard error as JSON: the error in it.
    ///
    /// # Panics
    /// If it is not one line of it.
    #[must_use]
    #[track_caller]
    pub fn json_error(&self) -> Value {
        let parsed = parse(self.errors(), self);
        parsed.get("error").unwrap_or_else(|| panic!("no error in {parsed}")).clone()
    }
}

#[track_caller]
fn parse(text: &str, ran: &Ran) -> Value {
    assert_eq!(text.lines().count(), 1, "one line of JSON is due: {ran:?}");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a program to its end.
///
/// # Panics
/// If it cannot be started, or does not end in time.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    output(child.expect("it can be started")).into()
}
