//! The flags that describe a call: of `lookup`, `put`, `key`, `why` and `lease`.
//!
//! **Invariants.** They stand last in each command's arguments, since their heading would hold for
//! what follows them too.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use memod_protocol::limits::NEAREST_MAX;

use crate::args::duration;

const LOOKUP_DETAILS: &str = "\
Exit codes: 0 HIT, 1 MISS, or PENDING: somebody computes the call. With $MEMOD_MODE=disabled or \
=overwrite nothing is looked up: DISABLED or SKIPPED, exit code 1.

In a duration, such as 1h 30m, a bare number means seconds.";

const WHY_DETAILS: &str = "\
Exit codes: 0 HIT, 1 MISS.";

const PUT_DETAILS: &str = "\
Exit codes: 0 POPULATED, or EXISTS: the call has outputs already, and they stay. With \
$MEMOD_MODE=disabled or =read-only nothing is stored: DISABLED, exit code 0; =overwrite replaces, \
as --overwrite does.

What `memo lookup --max-age 1h` calls expired, `memo put --max-age 1h` replaces. Without it the \
old outputs may stay, and whoever waits with `memo lookup --max-age 1h --wait forever` misses then.

In a duration, such as 1h 30m, a bare number means seconds.";

/// With how many entries a call is compared unless a number is given.
pub(crate) const NEAREST: u32 = 3;

/// Describes a call, by flags or as JSON.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "The call")]
pub(crate) struct CallFlags {
    /// The task's name.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) task: Option<String>,
    /// What the task does, in its user's own words: entries of other versions are not seen.
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    pub(crate) cache_version: Option<String>,
    /// An input's value, as JSON, or as plain text if the type is string, bytes, enum, datetime or
    /// duration. Without a type it is inferred from the JSON. A name with `:` or `=` in it needs
    /// --call.
    #[arg(long, value_name = "NAME[:TYPE]=VALUE", allow_hyphen_values = true)]
    pub(crate) input: Vec<OsString>,
    /// An input that is a file; its content counts, its path does not.
    #[arg(long, value_name = "NAME=PATH", allow_hyphen_values = true)]
    pub(crate) input_file: Vec<OsString>,
    /// An input that counts by a hash of your own; its type is string unless given.
    #[arg(long, value_name = "NAME[:TYPE]=HASH", allow_hyphen_values = true)]
    pub(crate) input_hash: Vec<OsString>,
    /// An input whose value does not count; `--input NAME:TYPE` is then enough for it.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) ignore: Vec<String>,
    /// A declared output; for put with its value, from FILE (`-`: standard input) after `@`, in
    /// which `@@` stands for a plain `@`.
    #[arg(long, value_name = "NAME:TYPE[=VALUE|=@FILE]", allow_hyphen_values = true)]
    pub(crate) output: Vec<OsString>,
    /// The whole call as JSON in a file, `-` for standard input, instead of all of the above (put
    /// still takes its values from --output NAME=VALUE).
    #[arg(long, value_name = "FILE|-")]
    pub(crate) call: Option<PathBuf>,
}

/// Arguments of `memo lookup`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = LOOKUP_DETAILS)]
pub(crate) struct LookupArgs {
    /// Takes an entry only if it is at most this old, such as 90s or 7days; 0 for any age
    /// [default: the daemon's].
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::parse,
        allow_hyphen_values = true
    )]
    pub(crate) max_age: Option<Duration>,
    /// Waits this long while somebody computes the call, such as 90s or `forever`, and takes what
    /// comes of it [default: does not wait].
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::wait,
        allow_hyphen_values = true
    )]
    pub(crate) wait: Option<Duration>,
    /// Which call.
    #[command(flatten)]
    pub(crate) call: CallFlags,
}

/// Arguments of `memo why`.
#[derive(Debug, Clone, Args)]
#[command(after_help = WHY_DETAILS)]
pub(crate) struct WhyArgs {
    /// Compares with this many entries at the most: those that differ least.
    #[arg(
        long,
        value_name = "N",
        default_value_t = NEAREST,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(NEAREST_MAX))
    )]
    pub(crate) limit: u32,
    /// Takes an entry for a hit only if it is at most this old, as `memo lookup` does [default: the
    /// daemon's].
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::parse,
        allow_hyphen_values = true
    )]
    pub(crate) max_age: Option<Duration>,
    /// Which call.
    #[command(flatten)]
    pub(crate) call: CallFlags,
}

/// Arguments of `memo put`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = PUT_DETAILS)]
pub(crate) struct PutArgs {
    /// Replaces the entry if there is one already.
    #[arg(long, conflicts_with = "max_age")]
    pub(crate) overwrite: bool,
    /// Replaces the entry if it is older than this, such as 90s or 7days; 0 for never [default: the
    /// daemon's].
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::parse,
        allow_hyphen_values = true
    )]
    pub(crate) max_age: Option<Duration>,
    /// How long the outputs took to compute, such as 2.5s: what a hit saves.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::parse,
        allow_hyphen_values = true
    )]
    pub(crate) compute_time: Option<Duration>,
    /// The version or revision of the task's own code, for the record.
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    pub(crate) task_version: Option<String>,
    /// The execution that computed the outputs, for the record.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) execution: Option<String>,
    /// The node of that execution, for the record.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) node: Option<String>,
    /// Which attempt it was, for the record.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) attempt: Option<u32>,
    /// Which call, and its outputs.
    #[command(flatten)]
    pub(crate) call: CallFlags,
}
