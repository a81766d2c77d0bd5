//! The commands, one file each: flags and settings in, an exit code or a failure out.

mod budgets;
mod cat;
mod completions;
mod doctor;
mod export;
mod gc;
mod import;
mod key;
mod lease;
mod log;
mod lookup;
mod ls;
mod man;
mod put;
mod rm;
mod run;
mod show;
mod stats;
mod status;
mod top;
mod verify;
mod why;

pub(crate) use run::become_command;

use crate::args::{Command, Format, Settings};
use crate::connect;
use crate::exit::{Failure, Outcome};

/// Does what the line says.
///
/// # Errors
/// Whatever the command comes to.
pub(crate) fn execute(command: Command, settings: &Settings) -> Outcome {
    if settings.screen.format == Format::OpenMetrics && !matches!(command, Command::Stats) {
        let failure = Failure::usage("only `memo stats` answers in the form of openmetrics");
        return Err(failure.with_hint("leave --format out, or ask for json"));
    }
    let outcome = dispatch(command, settings);
    outcome.map_err(|failure| connect::with_hint(failure, settings))
}

fn dispatch(command: Command, settings: &Settings) -> Outcome {
    match command {
        Command::Run(args) => run::run(&args, settings),
        Command::Lookup(args) => lookup::run(&args, settings),
        Command::Put(args) => put::run(args, settings),
        Command::Key(flags) => key::run(&flags, settings),
        Command::Show(args) => show::run(&args, settings),
        Command::Ls(args) => ls::run(&args, settings),
        Command::Cat(args) => cat::run(&args, settings),
        Command::Rm(args) => rm::run(args, settings),
        Command::Why(args) => why::run(&args, settings),
        Command::Lease(args) => lease::run(args, settings),
        Command::Log(args) => log::run(args, settings),
        Command::Stats => stats::run(settings),
        Command::Top(args) => top::run(args, settings),
        Command::Status => status::run(settings),
        Command::Gc => gc::run(settings),
        Command::Verify(args) => verify::run(args, settings),
        Command::Export(args) => export::run(&args, settings),
        Command::Import(args) => import::run(&args, settings),
        Command::Doctor(args) => doctor::run(&args, settings),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
