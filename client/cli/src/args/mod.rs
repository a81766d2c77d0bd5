//! The command line as it is written: what clap reads, and the sentences of `--help`.
//!
//! **Invariants.** Nothing here decides anything: [`Settings`] says what the global flags come to,
//! [`crate::describe`] what the flags of a call come to.

mod call;
pub(crate) mod duration;
mod lease;
mod log;
pub(crate) mod number;
mod remove;
mod run;
mod settings;
mod top;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use memod_protocol::Key;

pub(crate) use call::{CallFlags, LookupArgs, NEAREST, PutArgs, WhyArgs};
pub(crate) use lease::{AcquireArgs, ExtendArgs, LeaseArgs, LeaseCommand, ReleaseArgs};
pub(crate) use log::LogArgs;
pub(crate) use remove::RemoveArgs;
pub(crate) use run::RunArgs;
pub(crate) use settings::{ScopeFrom, Screen, Settings};
pub(crate) use top::TopArgs;
pub(crate) use upkeep::{DoctorArgs, ExportArgs, ImportArgs, VerifyArgs};

const EXAMPLES: &str = "\
Examples:
  Compress a file once, and get the same archive back at once from then on:
    memo run --cache-version 1 --in notes.txt --out notes.xz -- xz -k notes.txt

  Compress it once even if many ask at the same time:
    memo run --serialize --cache-version 1 --in notes.txt --out notes.xz -- xz -k notes.txt

  Ask by hand whether a task has been run, and remember a run:
    memo lookup --task square --cache-version 1.0 --input n=12 --output o0:integer
    memo put    --task square --cache-version 1.0 --input n=12 --output o0:integer=144

  Ask what has changed since the run that is remembered:
    memo why    --task square --cache-version 1.1 --input n=12 --output o0:integer

Durations are written as 90s, 1h 30m or 7days; a bare number means seconds.

Environment:
  MEMOD_MODE  what `run`, `lookup`, `put` and `lease` do unless a flag says it: enabled, disabled
              (neither reads nor writes), read-only or overwrite (runs anew, and replaces)

Exit codes:
  0 done or hit, 1 miss or nothing matched, 2 the arguments are wrong, 3 no daemon,
  4 forbidden or over budget, 5 the daemon answered with an error.
  `memo lease acquire` and `extend` exit with 0 if the lease is the owner's, else with 1: also if
  the call has been run before (HIT).
  `memo run` exits as the command did, or with 5 if what it writes cannot be passed on.";

/// Runs commands once, and looks into memod's cache.
#[derive(Debug, Parser)]
#[command(name = "memo", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(arg_required_else_help = true)]
pub(crate) struct Line {
    /// Flags of all commands.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of all commands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Connects to the daemon at this socket [default: `$MEMOD_SOCKET`, else the user's own daemon,
    /// else the system's].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Works in this project [default: `$MEMOD_PROJECT`, else `default`].
    #[arg(long, global = true, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) project: Option<String>,
    /// Works in this domain of the project [default: `$MEMOD_DOMAIN`, else `development`].
    #[arg(long, global = true, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) domain: Option<String>,
    /// Answers in this form, errors too.
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t)]
    pub(crate) format: Format,
    /// Says when to use colours; `auto` means on a terminal, unless `$NO_COLOR` is set.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: ColorChoice,
    /// Leaves out warnings and progress.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) quiet: u8,
    /// Says more: `run` ends with a line on what came of it, `key` tells the signature and the
    /// inputs' digests, `why` the digests that differ, `status` the daemon's settings.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Never starts a daemon; also if `$MEMOD_NO_START` is set.
    #[arg(long, global = true)]
    pub(crate) no_start: bool,
}

/// The form of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For Prometheus; of `stats` alone.
    #[value(name = "openmetrics")]
    OpenMetrics,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a command once; afterwards replays its output, its error output and its files.
    Run(RunArgs),
    /// Asks whether a call has been run before.
    Lookup(LookupArgs),
    /// Remembers the outputs of a call.
    Put(PutArgs),
    /// Prints the key of a call, without asking a daemon.
    Key(CallFlags),
    /// Shows everything about an entry but its outputs' bytes.
    Show(ShowArgs),
    /// Lists what is stored.
    Ls(ListArgs),
    /// Writes the raw bytes of an output of an entry.
    Cat(CatArgs),
    /// Forgets entries.
    Rm(RemoveArgs),
    /// Says why a call misses, and what the nearest entries differ in.
    Why(WhyArgs),
    /// Takes, extends or gives back the right to compute a call.
    Lease(LeaseArgs),
    /// Prints counters, and the time saved by task, by project and domain, and by user.
    Stats,
    /// Shows what the daemon does, live.
    Top(TopArgs),
    /// Prints the requests that the daemon has answered of late.
    Log(LogArgs),
    /// Says whether a daemon is alive, which version, and where.
    Status,
    /// Makes room in the store and gives free space back to the file system.
    Gc,
    /// Has everything that is stored read, and says what is bad.
    Verify(VerifyArgs),
    /// Writes entries with their outputs into one portable file.
    Export(ExportArgs),
    /// Stores the entries of a file that `memo export` wrote.
    Import(ImportArgs),
    /// Checks what a daemon needs, and says what to do.
    Doctor(DoctorArgs),
    /// Prints the completions of a shell.
    Completions(CompletionsArgs),
    /// Prints a manual page.
    Man(ManArgs),
}

/// Arguments of `memo show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The entry's key, 64 hexadecimal digits.
    pub(crate) key: Key,
}

/// Arguments of `memo ls`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Lists entries of this task only.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) task: Option<String>,
    /// Lists entries of this cache version only.
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    pub(crate) cache_version: Option<String>,
    /// Lists entries that this user wrote only.
    #[arg(
        long,
        value_name = "UID",
        value_parser = number::user,
        allow_negative_numbers = true
    )]
    pub(crate) writer: Option<u32>,
    /// Lists this many entries at the most [default: all].
    #[arg(
        long,
        value_name = "N",
        value_parser = number::count,
        allow_negative_numbers = true
    )]
    pub(crate) limit: Option<u64>,
    /// Lists all projects and domains, whatever the environment says.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Arguments of `memo cat`.
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// The entry's key, 64 hexadecimal digits.
    pub(crate) key: Key,
    /// The output's name.
    #[arg(allow_hyphen_values = true)]
    pub(crate) output: String,
}

/// Arguments of `memo completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `memo man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The page of this command, such as `run` or `lease acquire`; `memod` and `memod.toml` are
    /// about the daemon and its configuration [default: the page of memo itself].
    #[arg(conflicts_with = "dir")]
    pub(crate) command: Vec<String>,
    /// Writes all pages into this directory instead.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn every_option_has_a_help_sentence() {
        let mut line = Line::command();
        line.build();
        says_something(&line);
    }

    fn says_something(command: &clap::Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} says nothing");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name} {} says nothing", argument.get_id());
        }
        command.get_subcommands().for_each(says_something);
    }
}
