//! Mistakes on the command line, in our words and in the form that was asked for; and `--help`.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, ValueEnum};

use crate::args::{ColorChoice, Format, Globals, Line, Screen};
use crate::exit::{self, Failure};

/// The flags of `memo run` that are modes.
const MODES: [&str; 3] = ["disabled", "read-only", "overwrite"];

/// Prints what clap has to say and gives the exit code.
pub(crate) fn answer(error: &clap::Error) -> u8 {
    let globals = guess(std::env::args_os().skip(1));
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone away has seen enough of the help.
            let _ = error.print();
            return exit::DONE;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if globals.format == Format::Text => {
            let _ = error.print();
        }
        _ => Screen::new(&globals).fail(&failure(error)),
    }
    exit::USAGE
}

/// The format and the colours that a line asks for which could not be read as a whole.
fn guess(arguments: impl Iterator<Item = OsString>) -> Globals {
    let mut globals = Globals::default();
    let mut flag: Option<String> = None;
    for argument in arguments {
        let Some(text) = argument.to_str() else {
            flag = None;
            continue;
        };
        if text == "--" {
            break;
        }
        let (name, value) = match (flag.take(), text.split_once('=')) {
            (Some(name), _) => (name, text),
            (None, Some((name, value))) => (name.to_owned(), value),
            (None, None) => {
                flag = matches!(text, "--format" | "--color").then(|| text.to_owned());
                continue;
            }
        };
        match name.as_str() {
            "--format" => globals.format = Format::from_str(value, false).unwrap_or_default(),
            "--color" => globals.color = ColorChoice::from_str(value, false).unwrap_or_default(),
            _ => {}
        }
    }
    globals
}

/// Takes clap's text apart: what is wrong, then a tip or how it should be.
fn failure(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("a command is missing").with_hint("`memo --help` lists them");
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(joined);
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    let mut hints: Vec<String> = paragraphs
        .filter_map(|paragraph| match paragraph.strip_prefix("tip: ") {
            Some(tip) => Some(tip.to_owned()),
            None => paragraph.strip_prefix("Usage: ").map(usage),
        })
        .collect();
    hints.extend(mode_hint(error));
    let failure = Failure::usage(message);
    if hints.is_empty() {
        return failure.with_hint("`--help` behind the command explains its options");
    }
    failure.with_hint(hints.join("\n"))
}

/// What says the same as a flag of `memo run`, for commands that do not take it.
fn mode_hint(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let mode = MODES.iter().find(|mode| flag.strip_prefix("--") == Some(mode))?;
    (error.kind() == ErrorKind::UnknownArgument).then(|| {
        format!(
            "MEMOD_MODE={mode} in the environment says so for `lookup`, `put` and `lease`, as \
             {flag} does for `run`"
        )
    })
}

/// How the command of this usage is used. Clap's own words echo the flags that were given.
fn usage(of: &str) -> String {
    let mut line = Line::command();
    line.build();
    let mut command = &mut line;
    for word in of.split_whitespace().skip(1) {
        if command.find_subcommand(word).is_none() {
            break;
        }
        command = command.find_subcommand_mut(word).expect("it has just been found");
    }
    let text = joined(&command.render_usage().to_string());
    format!("usage: {}", text.strip_prefix("Usage: ").unwrap_or(&text))
}

/// A paragraph on one line.
fn joined(paragraph: &str) -> String {
    paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn refused(line: &[&str]) -> Failure {
        failure(&Line::try_parse_from(line).expect_err("the line is wrong"))
    }

    fn guessed(line: &[&str]) -> Format {
        guess(line.iter().map(OsString::from)).format
    }

    #[test]
    fn the_format_is_found_in_a_line_that_cannot_be_read() {
        assert_eq!(guessed(&["ls", "--nonsense", "--format", "json"]), Format::Json);
        assert_eq!(guessed(&["--format=json", "nonsense"]), Format::Json);
        assert_eq!(guessed(&["--format", "xml"]), Format::Text);
        assert_eq!(guessed(&["run", "--", "tool", "--format", "json"]), Format::Text);
    }

    #[test]
    fn mistakes_are_named_with_a_hint() {
        let failure = refused(&["memo", "ls", "--nonsense"]);
        assert_eq!(failure.exit, exit::USAGE);
        assert_eq!(failure.message, "unexpected argument '--nonsense' found");
        assert!(failure.hint.expect("usage").contains("usage: memo ls"));
        let failure = refused(&["memo", "run", "--", "true"]);
        assert!(failure.message.contains("--cache-version <VERSION>"), "{failure}");
        assert!(!failure.message.contains('\n'), "{failure}");
        let failure = refused(&["memo", "ls", "--limit", "many"]);
        assert!(failure.message.contains("'many'"), "{failure}");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn semantics_23_a_mode_that_is_no_flag_here_is_said_by_the_environment() {
        for mode in MODES {
            let flag = format!("--{mode}");
            let hint = refused(&["memo", "lookup", &flag]).hint.expect("there is one");
            assert!(hint.contains(&format!("MEMOD_MODE={mode} ")), "{hint}");
        }
        let hint = refused(&["memo", "lookup", "--enabled"]).hint.expect("usage");
        assert!(!hint.contains("MEMOD_MODE"), "{hint}");
    }

    #[test]
    fn the_usage_is_that_of_the_command_whatever_flags_were_given() {
        for (line, usage) in [
            (&["memo", "-v", "ls", "--nonsense"][..], "usage: memo ls [OPTIONS]"),
            (
                &["memo", "ls", "-vv", "-q", "--project", "p", "--nonsense"],
                "usage: memo ls [OPTIONS]",
            ),
            (
                &["memo", "--verbose", "lease", "release", "--nonsense"],
                "usage: memo lease release [OPTIONS] --owner <NAME>",
            ),
            (&["memo", "-v", "--nonsense"], "usage: memo [OPTIONS] <COMMAND>"),
        ] {
            let hint = refused(line).hint.expect("the usage");
            let last = hint.lines().last().expect("the usage");
            assert_eq!(last, usage, "{line:?}");
        }
        let missing = refused(&["memo", "run", "-v", "--", "true"]).hint.expect("the usage");
        assert!(missing.starts_with("usage: memo run [OPTIONS] --cache-version "), "{missing}");
    }

    #[test]
    fn a_command_without_dashes_gets_a_tip() {
        let failure = refused(&["memo", "run", "--cache-version", "1", "true"]);
        assert!(failure.hint.expect("a tip").contains("-- <CMD>..."));
    }
}
