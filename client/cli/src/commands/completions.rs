//! `memo completions`: what a shell needs to complete our flags.

use std::io::Write;

use clap::CommandFactory;

use crate::args::{CompletionsArgs, Line, Screen};
use crate::exit::{self, Outcome};

/// Prints the completions.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn run(args: &CompletionsArgs) -> Outcome {
    // Generated in memory first: the generator panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Line::command(), "memo", &mut script);
    let mut out = Screen::out();
    out.write_all(&script)?;
    out.flush()?;
    Ok(exit::DONE)
}
