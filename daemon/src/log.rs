//! Logging: events to standard error.
//!
//! **Invariants.** Texts that a peer controls are logged as escaped fields, so that none can forge
//! a line; values of tasks are never logged, only digests.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::Settings;

/// Begins to log as the settings say; `$MEMOD_LOG` wins over them.
pub(crate) fn start(settings: &Settings) {
    let filter = std::env::var("MEMOD_LOG")
        .ok()
        .and_then(|given| EnvFilter::try_new(given).ok())
        .unwrap_or_else(|| EnvFilter::new(&settings.log));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
