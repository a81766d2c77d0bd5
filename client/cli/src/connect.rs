//! How commands reach the daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use memod_client::address::{Address, Origin};
use memod_client::{Client, Error, Start, Wait, address};
use memod_protocol::shell::quoted;

use crate::args::Settings;
use crate::exit::Failure;

/// The program's name in greetings and in the provenance of entries.
const PROGRAM: &str = concat!("memo ", env!("CARGO_PKG_VERSION"));

/// The name of the failure for want of a daemon.
const NO_DAEMON: &str = "no_daemon";

/// A client for commands that ask: it only says so when there is no daemon.
pub(crate) fn asking(settings: &Settings) -> Client {
    client(settings, Start::Never)
}

/// A client for commands that work: it starts the user's own daemon when there is none.
pub(crate) fn working(settings: &Settings) -> Client {
    client(settings, if settings.no_start { Start::Never } else { Start::Own })
}

fn client(settings: &Settings, start: Start) -> Client {
    let builder = Client::builder().program(PROGRAM).start(start).board(false);
    match &settings.socket {
        Some(path) => builder.socket(path).build(),
        None => builder.build(),
    }
}

/// The socket that somebody named, on the command line or in the environment.
fn named(settings: &Settings) -> Option<PathBuf> {
    let first = address::candidates(settings.socket.clone()).into_iter().next()?;
    matches!(first.origin, Origin::Given | Origin::Environment).then_some(first.path)
}

/// A failure for want of a daemon, with a word on how to get one.
pub(crate) fn with_hint(failure: Failure, settings: &Settings) -> Failure {
    if failure.code != NO_DAEMON {
        return failure;
    }
    let mut hint = hint(named(settings), settings.no_start);
    if let Some(own) = &failure.hint {
        hint += "\n";
        hint += own;
        return failure.with_hint(hint);
    }
    let candidates = address::candidates(settings.socket.clone());
    let failure = match unanswered(&candidates, &address::own()) {
        Some(message) => Failure { message, ..failure },
        None => failure,
    };
    failure.with_hint(hint)
}

/// Where no daemon was found; nothing if that was at one place only, which the failure names.
fn unanswered(candidates: &[Address], own: &Path) -> Option<String> {
    let paths: Vec<_> = candidates.iter().map(|at| at.path.display().to_string()).collect();
    match paths.as_slice() {
        [] => Some(format!(
            "no daemon runs: there is no socket at {} nor at /run/memod/memod.sock",
            own.display()
        )),
        [_] => None,
        several => Some(format!("no daemon answers at {}", several.join(" nor at "))),
    }
}

fn hint(named: Option<PathBuf>, no_start: bool) -> String {
    match named {
        Some(path) => format!("start it with `memod --socket {}`", quoted(&path)),
        None if no_start => "start one with `memod serve`; --socket or $MEMOD_SOCKET names \
                             another place"
            .to_owned(),
        None => "start one with `memod serve`, or let `memo run` start one of your own; \
                 --socket or $MEMOD_SOCKET names another place"
            .to_owned(),
    }
}

/// Says so if somebody named a socket and the user's own daemon stands in for whoever was to be
/// there. To be called once the client has asked something.
pub(crate) fn warn_of_substitute(client: &Client, settings: &Settings) {
    let Some((own, named)) = client.started().zip(named(settings)) else { return };
    if own != named {
        let (own, named) = (own.display(), named.display());
        settings.screen.warn(&format!("no daemon answers at {named}; using your own at {own}"));
    }
}

/// As it is meant on the command line: to wait for no time is not to wait, and what is too long to
/// be counted has no bound.
pub(crate) fn wait(at_most: Duration) -> Wait {
    match at_most {
        Duration::ZERO => Wait::No,
        Duration::MAX => Wait::Forever,
        bound => Wait::AtMost(bound),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Daemon(error) | Error::Version(error) => error.into(),
            // The one sink that writes for others is standard output.
            Error::Local { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe => {
                source.into()
            }
            // How to start one depends on the settings: see `with_hint`.
            Error::NoDaemon { ref path, ref source } => {
                let problem = format!("no daemon answers at {}: {source}", path.display());
                Self::new(error.code(), NO_DAEMON, problem)
            }
            error => Self {
                exit: error.code(),
                code: error.name(),
                message: error.to_string(),
                hint: error.hint().map(str::to_owned),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_wait_is_none_bounded_or_for_ever() {
        assert_eq!(wait(Duration::ZERO), Wait::No);
        assert_eq!(wait(Duration::from_secs(1)), Wait::AtMost(Duration::from_secs(1)));
        assert_eq!(wait(Duration::MAX), Wait::Forever);
    }

    #[test]
    fn all_places_are_named_where_no_daemon_was_found() {
        let at = |path: &str, origin| Address { path: path.into(), origin };
        let (own, system) = (at("/own", Origin::Own), at("/system", Origin::System));
        let told = |candidates: &[Address]| unanswered(candidates, Path::new("/own"));
        let none = "no daemon runs: there is no socket at /own nor at /run/memod/memod.sock";
        assert_eq!(told(&[]).as_deref(), Some(none));
        assert_eq!(told(std::slice::from_ref(&own)), None);
        let both = "no daemon answers at /own nor at /system";
        assert_eq!(told(&[own, system]).as_deref(), Some(both));
    }

    #[test]
    fn hints_do_not_go_in_a_circle() {
        let at_named = hint(Some("/tmp/m.sock".into()), false);
        assert_eq!(at_named, "start it with `memod --socket /tmp/m.sock`");
        let spaced = hint(Some("/tmp/my socket".into()), false);
        assert_eq!(spaced, "start it with `memod --socket '/tmp/my socket'`");
        assert!(hint(None, false).contains("`memo run`"));
        assert!(!hint(None, true).contains("`memo run`"), "which starts none");
    }

    #[test]
    fn only_want_of_a_daemon_gets_the_hint() {
        let settings = Settings::new(&crate::args::Globals {
            socket: Some("/tmp/m.sock".into()),
            ..Default::default()
        });
        let settings = settings.expect("valid");
        let absent =
            Error::NoDaemon { path: "/tmp/m.sock".into(), source: io::Error::other("gone") };
        assert_eq!(absent.name(), NO_DAEMON);
        let failure = with_hint(absent.into(), &settings);
        assert_eq!(failure.message, "no daemon answers at /tmp/m.sock: gone");
        assert_eq!(failure.hint.as_deref(), Some("start it with `memod --socket /tmp/m.sock`"));
        assert_eq!(with_hint(Failure::usage("no"), &settings).hint, None);
        let failure = Failure::new(3, NO_DAEMON, "gone").with_hint("go on");
        let both = "start it with `memod --socket /tmp/m.sock`\ngo on";
        assert_eq!(with_hint(failure, &settings).hint.as_deref(), Some(both));
    }
}
