//! The flags of `memo lease`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::args::{CallFlags, duration};

const ACQUIRE_DETAILS: &str = "\
The lease is taken whether or not the call has been run before. With --wait, outputs that are \
there by the time somebody else turns out to hold the lease end the wait: the status is then HIT, \
and the lease is not taken. With --max-age too, outputs that are older do not; give `memo put` the \
same --max-age, so that it replaces them.

The lease expires after three heartbeats without an extension. The daemon bounds the heartbeat, \
and memo warns if that makes it shorter than was asked.

With $MEMOD_MODE=disabled or =overwrite the daemon is not asked: DISABLED. With =read-only no \
lease is taken: EXISTS if another holds it, HIT if the call has been run before, else DISABLED. \
A HIT counts for nobody, since no outputs are printed.

Exit codes: 0 the lease is NAME's (ACQUIRED), 1 it is not (EXISTS, HIT, DISABLED).";

const EXTEND_DETAILS: &str = "\
$MEMOD_MODE counts as for `memo lease acquire`.

Exit codes: 0 the lease is NAME's, 1 it is not.";

const RELEASE_DETAILS: &str = "\
To release what one does not hold changes nothing and is no error: NOT_HELD. With \
$MEMOD_MODE=disabled the daemon is not asked: DISABLED, exit code 0.";

/// Arguments of `memo lease`.
#[derive(Debug, Args)]
pub(crate) struct LeaseArgs {
    /// What to do with the lease.
    #[command(subcommand)]
    pub(crate) command: LeaseCommand,
}

/// What to do with a lease.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Takes the lease of a call for a named owner, unless another holds it.
    Acquire(AcquireArgs),
    /// Extends the lease of a call, or takes it anew if it has expired.
    Extend(ExtendArgs),
    /// Gives the lease of a call back.
    Release(ReleaseArgs),
}

/// Arguments of `memo lease acquire`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = ACQUIRE_DETAILS)]
pub(crate) struct AcquireArgs {
    /// Waits this long while another holds the lease, such as 90s or `forever` [default: does not
    /// wait].
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::wait,
        allow_hyphen_values = true
    )]
    pub(crate) wait: Option<Duration>,
    /// With --wait, takes outputs for there only if they are at most this old, such as 90s or
    /// 7days; 0 for any age [default: the daemon's].
    #[arg(
        long,
        value_name = "DURATION",
        requires = "wait",
        value_parser = duration::parse,
        allow_hyphen_values = true
    )]
    pub(crate) max_age: Option<Duration>,
    /// Which call, who, and how long.
    #[command(flatten)]
    pub(crate) extend: ExtendArgs,
}

/// Arguments of `memo lease extend`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = EXTEND_DETAILS)]
pub(crate) struct ExtendArgs {
    /// Who holds the lease: a name that is unique among all who may ask for it.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) owner: String,
    /// How often the owner will extend the lease, such as 10s, or a number of seconds; more than
    /// zero.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration::positive,
        allow_hyphen_values = true
    )]
    pub(crate) heartbeat: Duration,
    /// Which call.
    #[command(flatten)]
    pub(crate) call: CallFlags,
}

/// Arguments of `memo lease release`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = RELEASE_DETAILS)]
pub(crate) struct ReleaseArgs {
    /// Who holds the lease.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) owner: String,
    /// Which call.
    #[command(flatten)]
    pub(crate) call: CallFlags,
}
