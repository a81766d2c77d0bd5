//! The flags of `memo top`.

use std::time::Duration;

use clap::Args;

use super::duration;

const TOP_DETAILS: &str = "\
q or Ctrl-C ends it. Where standard output or input is no terminal, one frame is printed as text.";

/// Arguments of `memo top`.
#[derive(Debug, Clone, Copy, Args)]
#[command(after_help = TOP_DETAILS)]
pub(crate) struct TopArgs {
    /// Asks the daemon this often.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::positive)]
    pub(crate) interval: Duration,
}
