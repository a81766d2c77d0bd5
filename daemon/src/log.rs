//! Logging: events to standard error.
//!
//! **Invariants.** Texts that a peer controls are logged as escaped fields, so that none can forge
//! a line; values of tasks are never logged, only digests.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::Settings;

/// Changes what is logged.
pub(crate) struct Log {
    set: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Log")
    }
}

impl Log {
    /// Logs as these settings say from now on.
    pub(crate) fn set(&self, settings: &Settings) {
        if let Err(error) = (self.set)(EnvFilter::new(&settings.log)) {
            tracing::error!("what is logged cannot be changed: {error}");
        }
    }
}

/// Begins to log as the settings say.
pub(crate) fn start(settings: &Settings) -> Log {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    builder.init();
    let set = move |filter: EnvFilter| handle.reload(filter).map_err(|error| error.to_string());
    Log { set: Box::new(set) }
}
