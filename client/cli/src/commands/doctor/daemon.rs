//! Does a daemon answer, and is it of this version?

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use memod_client::{Error, start};
use memod_protocol::Status;

use super::{Check, ask};
use crate::args::Settings;

const OURS: &str = env!("CARGO_PKG_VERSION");

/// The checks of a daemon that was asked for its status.
pub(super) fn checks(settings: &Settings, asked: &Result<Status, Error>) -> Vec<Check> {
    let mut checks = vec![answers(settings, asked)];
    if let Ok(status) = asked {
        checks.push(versions(&status.version));
    }
    if let Ok(program) = start::daemon_program() {
        checks.push(program_version(&program, ask::PATIENCE));
    }
    checks
}

fn answers(settings: &Settings, asked: &Result<Status, Error>) -> Check {
    const NAME: &str = "daemon";
    match asked {
        Ok(status) => {
            let Status { pid, uid, socket, .. } = status;
            Check::good(NAME, format!("process {pid} of user {uid} answers at {socket}"))
        }
        Err(error @ Error::NoDaemon { .. }) => {
            let named = settings.socket.is_some() || std::env::var_os("MEMOD_SOCKET").is_some();
            if named {
                let advice = "start it with `memod serve --socket PATH`, or name another socket";
                return Check::failed(NAME, error.to_string(), advice);
            }
            let advice = "`memo run` starts one of your own; `memod serve` one for all";
            Check::warning(NAME, "none runs", advice)
        }
        Err(error) => {
            let advice = error.hint().unwrap_or("look at its log, then restart it").to_owned();
            Check::failed(NAME, error.to_string(), advice)
        }
    }
}

fn versions(daemon: &str) -> Check {
    const NAME: &str = "versions";
    let found = format!("memo {OURS}, memod {daemon}");
    if daemon == OURS {
        return Check::good(NAME, found);
    }
    let advice = "they understand each other; restart the daemon to have the same version of both";
    Check::warning(NAME, found, advice)
}

/// The version of the program that a client would start.
fn program_version(program: &Path, patience: Duration) -> Check {
    const NAME: &str = "program";
    let text = match ask::output(Command::new(program).arg("--version"), patience) {
        Ok(text) => text,
        Err(error) => {
            let found = format!("{} cannot be run: {error}", program.display());
            return Check::failed(NAME, found, "install it again, or name it: $MEMOD_DAEMON");
        }
    };
    let found = format!("{} is {text}", program.display());
    if text == format!("memod {OURS}") {
        return Check::good(NAME, found);
    }
    Check::warning(NAME, found, format!("install memod {OURS} beside memo {OURS}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn other_versions_are_told_with_what_to_do() {
        assert_eq!(versions(OURS).verdict, Verdict::Good);
        let other = versions("0.0.1");
        assert_eq!(other.verdict, Verdict::Warning);
        assert!(other.advice.expect("advice").contains("restart the daemon"));
    }

    #[test]
    fn a_program_of_another_version_or_none_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("memod");
        assert_eq!(program_version(&program, ask::PATIENCE).verdict, Verdict::Failed);
        // A program that is there everywhere and is not memod.
        let other = program_version(Path::new("/bin/sh"), ask::PATIENCE);
        assert_eq!(other.verdict, Verdict::Warning);
    }
}
