//! Logging: events to the journal, with their fields, or to standard error.
//!
//! **Invariants.** Texts that a peer controls are logged as escaped fields, so that none can forge
//! a line; values of tasks are never logged, only digests. What happens for a request that leaves
//! its connection's thread, and at the debug level for any, carries their numbers.

use std::fmt;
use std::io::IsTerminal;

use nix::sys::stat::fstat;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::settings::Settings;

/// In what form events are logged, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// To the journal if that is where standard error leads, else as text.
    Auto,
    /// Lines to standard error.
    Text,
    /// An object in each line, to standard error.
    Json,
    /// To the journal, with a field for each of an event's.
    Journal,
}

impl LogFormat {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Auto, "auto"),
        (Self::Text, "text"),
        (Self::Json, "json"),
        (Self::Journal, "journal"),
    ];

    /// How it is written.
    pub(crate) fn name(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(format, _)| *format == self);
        found.expect("all are listed").1
    }

    /// That of this name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(_, of)| *of == name);
        let error = || format!("`{name}` is neither `auto`, `text`, `json` nor `journal`");
        found.map(|(format, _)| format).ok_or_else(error)
    }
}

/// Changes what is logged.
pub(crate) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Log")
    }
}

impl Log {
    /// Logs as these settings say from now on.
    pub(crate) fn set(&self, settings: &Settings) {
        if let Err(error) = self.filter.reload(EnvFilter::new(&settings.log)) {
            tracing::error!("what is logged cannot be changed: {error}");
        }
    }
}

/// Begins to log as the settings say.
pub(crate) fn start(settings: &Settings) -> Log {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&settings.log));
    let format = match settings.log_format {
        LogFormat::Auto if leads_to_journal() => LogFormat::Journal,
        LogFormat::Auto => LogFormat::Text,
        format => format,
    };
    let (layer, problem) = match format {
        LogFormat::Journal => match tracing_journald::layer() {
            Ok(layer) => (layer.with_syslog_identifier("memod".to_owned()).boxed(), None),
            Err(error) => (text(), Some(error)),
        },
        LogFormat::Json => {
            let json = tracing_subscriber::fmt::layer().json().flatten_event(true);
            // The span is told once: those around it have nothing that it has not.
            let json = json.with_span_list(false);
            (json.with_target(false).with_writer(std::io::stderr).boxed(), None)
        }
        LogFormat::Auto | LogFormat::Text => (text(), None),
    };
    tracing_subscriber::registry().with(filter).with(layer).init();
    if let Some(error) = problem {
        tracing::warn!("the journal cannot be reached, so this is logged as text: {error}");
    }
    Log { filter: handle }
}

fn text<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .boxed()
}

/// Whether standard error is the stream to the journal that systemd has made, and not one that
/// has been redirected since.
fn leads_to_journal() -> bool {
    let is_stream = |told: String| {
        let stat = fstat(std::io::stderr()).ok()?;
        let (device, inode) = told.split_once(':')?;
        Some(device.parse() == Ok(stat.st_dev) && inode.parse() == Ok(stat.st_ino))
    };
    std::env::var("JOURNAL_STREAM").ok().and_then(is_stream).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::LogFormat;

    #[test]
    fn formats_are_read_as_they_are_written() {
        for (format, name) in LogFormat::ALL {
            assert_eq!((LogFormat::parse(name), format.name()), (Ok(format), name));
        }
        let error = LogFormat::parse("Text").expect_err("it is none");
        assert!(error.contains("`Text` is neither"), "{error}");
    }
}
