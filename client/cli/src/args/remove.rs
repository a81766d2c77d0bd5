//! The flags of `memo rm`.

use std::time::Duration;

use clap::Args;
use memod_protocol::Key;

use crate::args::{duration, number};

const DETAILS: &str = "\
An entry is forgotten if it meets all conditions. --task, --cache-version and --scope apply within \
one project and domain: those of --project and --domain, else the default ones. --writer and \
--older-than apply everywhere, unless a project or domain is given. With --all all of them apply \
everywhere.

On a terminal, rm asks before it acts. Elsewhere it cannot, and wants --yes for all but keys and \
--task within one project and domain.

In a duration, such as 1h 30m, a bare number means seconds.

Exit codes: 0 entries matched, 1 nothing matched, or nobody agreed.";

/// Arguments of `memo rm`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = DETAILS)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct RemoveArgs {
    /// Entries by key, 64 hexadecimal digits each.
    #[arg(
        value_name = "KEY",
        conflicts_with_all = ["task", "cache_version", "scope", "writer", "older_than", "all"]
    )]
    pub(crate) keys: Vec<Key>,
    /// Entries of this task.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) task: Option<String>,
    /// Entries of this cache version of the task.
    #[arg(long, value_name = "VERSION", requires = "task", allow_hyphen_values = true)]
    pub(crate) cache_version: Option<String>,
    /// Entries of the project and domain.
    #[arg(long)]
    pub(crate) scope: bool,
    /// Entries that this user wrote.
    #[arg(
        long,
        value_name = "UID",
        value_parser = number::user,
        allow_negative_numbers = true
    )]
    pub(crate) writer: Option<u32>,
    /// Entries written longer ago than this, such as 12h or 30days.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::parse,
        allow_hyphen_values = true
    )]
    pub(crate) older_than: Option<Duration>,
    /// Entries of all projects and domains that meet the other conditions, or simply all.
    #[arg(long, conflicts_with = "scope")]
    pub(crate) all: bool,
    /// Does not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only counts.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}
