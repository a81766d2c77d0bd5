//! How commands reach the daemon.

use std::time::Duration;

use memod_client::{Client, Error, Start, Wait};

use crate::args::Settings;
use crate::exit::Failure;

/// The program's name in greetings and in the provenance of entries.
const PROGRAM: &str = concat!("memo ", env!("CARGO_PKG_VERSION"));

/// A client for commands that ask: it only says so when there is no daemon.
pub(crate) fn asking(settings: &Settings) -> Client {
    client(settings, Start::Never)
}

/// A client for commands that work: it starts the user's own daemon when there is none.
pub(crate) fn working(settings: &Settings) -> Client {
    client(settings, if settings.no_start { Start::Never } else { Start::Own })
}

fn client(settings: &Settings, start: Start) -> Client {
    let builder = Client::builder().program(PROGRAM).start(start);
    match &settings.socket {
        Some(path) => builder.socket(path).build(),
        None => builder.build(),
    }
}

/// As it is meant on the command line: to wait for no time is not to wait.
pub(crate) fn wait(at_most: Duration) -> Wait {
    if at_most.is_zero() { Wait::No } else { Wait::AtMost(at_most) }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Daemon(error) | Error::Version(error) => error.into(),
            // The one sink that writes for others is standard output.
            Error::Local { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe => {
                source.into()
            }
            Error::NoDaemon { .. } => Self::new(error.code(), error.name(), error.to_string())
                .with_hint(
                    "`memo run` starts one of your own; `memo status` shows where it looked",
                ),
            error => Self {
                exit: error.code(),
                code: error.name(),
                message: error.to_string(),
                hint: error.hint().map(str::to_owned),
            },
        }
    }
}
