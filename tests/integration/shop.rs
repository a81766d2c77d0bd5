//! A directory in which `memo run` is tried.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use harness::{Daemon, Ran, run};
use tempfile::TempDir;

/// A directory in which commands run, and count how often they do.
pub(crate) struct Shop {
    pub(crate) folder: TempDir,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    /// How often a command has said here that it runs.
    pub(crate) fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count()
    }

    /// `memo run` of a script that says that it runs.
    pub(crate) fn command(&self, mut memo: Command, flags: &[&str], script: &str) -> Command {
        memo.current_dir(self.folder.path()).args(["run", "--cache-version", "1"]).args(flags);
        memo.args(["--", "sh", "-c", &format!("echo run >> runs; {script}")]);
        memo
    }

    #[track_caller]
    pub(crate) fn run(&self, daemon: &Daemon, flags: &[&str], script: &str) -> Ran {
        run(&mut self.command(daemon.memo(), flags, script))
    }
}

#[track_caller]
pub(crate) fn assert_last_line(ran: &Ran, beginning: &str) -> String {
    let line = ran.errors().lines().last().unwrap_or_default().to_owned();
    assert!(line.starts_with(beginning), "`{line}` does not begin with `{beginning}`");
    line
}
