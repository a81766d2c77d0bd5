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

memo exits as the command did. It exits with 5 if the command succeeded but what it wrote, then or \
now, cannot be written to memo's own output.

Only a run that exits with 0 and makes every --out file is remembered. A file is remembered with \
its content and its permissions.

With --serialize, of several that ask at the same time one runs the command and the others wait \
for it. Who runs it holds a lease, which ends when the run is remembered, fails or is killed; the \
one that has waited longest then runs the command. With --read-only the lease is not taken but \
waited for; --overwrite runs at once and neither takes it nor waits. Who holds the lease and is \
stopped (SIGSTOP) or stuck keeps the others waiting for as long as its process lives; --wait \
bounds that. If the daemon ends while they wait, they look for another for two seconds \
and wait there; after that each runs the command.

If memo is killed, with SIGKILL too, its command is killed with it; what the command has started \
in turn is not reached and may live on. Other signals are passed on to the command.

The line of --verbose begins with HIT, MISS, SKIPPED (--overwrite), LOOKUP_FAILURE (the daemon \
was of no help, or what is remembered cannot be put back) or DISABLED (--disabled). If the \
command ran, store= says whether the run is remembered: POPULATED, EXISTS (another run of the \
same was remembered first, and stays), PUT_FAILURE, SKIPPED (it failed, or there is no daemon to \
ask) or DISABLED (--read-only). With --serialize the line ends \
with the reservation: ACQUIRED (the command ran under the lease), EXISTS (another had the lease), \
FAILURE (the daemon was of no help) or DISABLED (no lease was needed).

$MEMOD_MODE, one of enabled, disabled, read-only and overwrite, says what --disabled, --read-only \
and --overwrite do if none of them is given.

Without a daemon that answers, memo starts the user's own, and warns if a socket was named; if \
none can be had, the command simply runs.

In a duration, such as 1h 30m, a bare number means seconds.";

/// Arguments of `memo run`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = DETAILS)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
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
    /// Just runs the command: asks nothing and remembers nothing.
    #[arg(long, conflicts_with_all = ["read_only", "overwrite"])]
    pub(crate) disabled: bool,
    /// Does not run the command, but says why it would be run and what the nearest runs differ in,
    /// as `memo why` does; with --disabled or --overwrite, that these have it run. Exit codes: 0 it
    /// would be replayed, 1 it would be run.
    #[arg(long)]
    pub(crate) why: bool,
    /// Takes what is remembered only if it is at most this old, such as 90s or 7days; 0 for any
    /// age [default: the daemon's].
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::parse,
        allow_hyphen_values = true
    )]
    pub(crate) max_age: Option<Duration>,
    /// Waits while somebody else runs the command, instead of running it a second time.
    #[arg(long)]
    pub(crate) serialize: bool,
    /// Waits only this long, such as 90s, and then runs the command [default: as long as it takes].
    #[arg(
        long,
        value_name = "DURATION",
        requires = "serialize",
        value_parser = duration::wait,
        allow_hyphen_values = true
    )]
    pub(crate) wait: Option<Duration>,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
