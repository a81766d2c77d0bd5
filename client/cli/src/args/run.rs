//! The flags of `memo run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::args::duration;

const DETAILS: &str = "\
The command counts as run before if its arguments, the contents of the --in files, the values of \
the --env variables and the names of the --out files are all the same, in the same project and \
domain, under the same task and cache version. Its standard input, its working directory and \
files that are not named do not count.

Only a run that exits with 0 and makes every --out file is remembered. A file is remembered with \
its content and its permissions.

With --serialize, of several that ask at the same time one runs the command and the others wait \
for it. Who runs it holds a lease, which ends when the run is remembered, fails or is killed; the \
one that has waited longest then runs the command. With --read-only the lease is not taken but \
waited for; --overwrite runs at once and neither takes it nor waits.

The line of --verbose then ends with the reservation: ACQUIRED (the command ran under the lease), \
EXISTS (another had the lease), FAILURE (the daemon was of no help) or DISABLED (no lease was \
needed).

Without a daemon that answers, memo starts the user's own; if none can be had, the command simply \
runs.";

/// Arguments of `memo run`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct RunArgs {
    /// The task's name [default: the command's name without its directories].
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) task: Option<String>,
    /// What the command does, in your own words: change it to run everything anew.
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    pub(crate) cache_version: String,
    /// A file that the command reads; its content counts, under the path as it is written.
    #[arg(long = "in", value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// An environment variable that the command reads; unset and empty differ.
    #[arg(long = "env", value_name = "NAME")]
    pub(crate) variables: Vec<String>,
    /// A file that the command writes; it is put back on a hit.
    #[arg(long = "out", value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) outputs: Vec<PathBuf>,
    /// Runs the command in any case, and replaces what is remembered of it.
    #[arg(long, conflicts_with_all = ["read_only", "max_age"])]
    pub(crate) overwrite: bool,
    /// Remembers nothing new.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Takes what is remembered only if it is at most this old, such as 90s or 7days; 0 for any
    /// age [default: the daemon's].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) max_age: Option<Duration>,
    /// Waits while somebody else runs the command, instead of running it a second time.
    #[arg(long)]
    pub(crate) serialize: bool,
    /// Waits only this long, and then runs the command [default: as long as it takes].
    #[arg(long, value_name = "DURATION", requires = "serialize", value_parser = duration::parse)]
    pub(crate) wait: Option<Duration>,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
