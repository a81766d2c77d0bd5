//! memo: runs commands once, and looks into memod's cache.
//!
//! The line that was typed becomes [`args::Line`], its global flags [`args::Settings`]; one module
//! of [`commands`] does the work and comes to an [`exit::Outcome`].
//!
//! **Invariants.** Answers go to standard output, everything else to standard error. With
//! `--format json` both are JSON, mistakes on the command line included.
//!
//! **Does not** know the protocol: that is the client library's.

mod args;
mod commands;
mod connect;
mod describe;
mod exit;
mod output;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use args::{Line, Screen, Settings};

fn main() -> ExitCode {
    if let Some(code) = commands::become_command() {
        return code.into();
    }
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => return usage::answer(&error).into(),
    };
    let outcome = Settings::new(&line.globals)
        .and_then(|settings| commands::execute(line.command, &settings));
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            Screen::new(&line.globals).fail(&failure);
            failure.exit.into()
        }
    }
}
