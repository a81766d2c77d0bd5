//! A daemon whose users may do different things.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::{Daemon, Ran, Raw, Setup, binary, run};
use nix::unistd::Uid;
use serde_json::Value;

/// Has all of `alpha` but to administer it.
pub(crate) const ALICE: u32 = 20_001;
/// Has the same of `beta`, and nothing of `alpha`.
pub(crate) const BOB: u32 = 20_002;
/// Administers `alpha`.
pub(crate) const KEEPER: u32 = 20_003;
/// Reads all of it, by its group.
pub(crate) const READER: u32 = 20_004;
pub(crate) const READERS: u32 = 30_000;
/// Was given nothing.
pub(crate) const STRANGER: u32 = 20_005;
/// What the kernel calls a user that a namespace does not know.
pub(crate) const NOBODY: u32 = 65_534;

pub(crate) const GRANTS: &str = "\
socket_mode = \"0666\"
user_bytes_max = \"1 GiB\"
scope_bytes_max = \"1 GiB\"
[[grants]]
users = [20001]
rights = [\"write\", \"lease\"]
scopes = [\"alpha/*\"]
[[grants]]
users = [20002]
rights = [\"write\", \"lease\"]
scopes = [\"beta/*\"]
[[grants]]
users = [20003]
rights = [\"administer\"]
scopes = [\"alpha/*\"]
[[grants]]
groups = [30000]
rights = [\"read\"]
scopes = [\"alpha/*\", \"nothing/here\"]
";

/// A daemon with grants, and a `memo` that everybody may run.
pub(crate) struct House {
    pub(crate) daemon: Daemon,
    memo: PathBuf,
}

impl House {
    /// Only root can be other users.
    pub(crate) fn new(config: &str) -> Option<Self> {
        Self::of(Setup::new().config(config))
    }

    /// A daemon of this set-up.
    pub(super) fn of(setup: Setup) -> Option<Self> {
        if !Uid::effective().is_root() {
            eprintln!("NOT TESTED: only root can run a program as another user");
            return None;
        }
        let daemon = setup.start();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(daemon.folder(), open).unwrap();
        let memo = daemon.folder().join("memo");
        std::fs::copy(binary("memo"), &memo).unwrap();
        Some(Self { daemon, memo })
    }

    /// A connection of somebody.
    pub(super) fn connect(&self, uid: u32) -> Raw {
        Raw::of_user(&self.daemon.socket(), uid, group_of(uid))
    }

    /// `memo` as somebody, in a project.
    pub(crate) fn command(&self, uid: u32, project: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.memo);
        command.env_clear().env("MEMOD_SOCKET", self.daemon.socket()).env("MEMOD_NO_START", "1");
        if !arguments.contains(&"--format") {
            command.args(["--format", "json"]);
        }
        command.args(["--project", project]).args(arguments);
        command.current_dir("/").stdin(Stdio::null()).uid(uid);
        command.gid(group_of(uid));
        command
    }

    /// Runs it; it must end with this code.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, uid: u32, project: &str, arguments: &[&str]) -> Ran {
        let ran = run(&mut self.command(uid, project, arguments));
        assert_eq!(ran.code, Some(code), "user {uid} in {project}, {arguments:?}: {ran:?}");
        ran
    }

    /// Runs a test of this binary as somebody, who is told the daemon's socket by a variable.
    #[track_caller]
    pub(crate) fn plays(&self, uid: u32, test: &str, variable: &str) {
        let program = self.daemon.folder().join("tests");
        if !program.exists() {
            std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        }
        let mut command = Command::new(program);
        command.env_clear().env(variable, self.daemon.socket()).env("MEMOD_NO_START", "1");
        command.args(["--exact", "--nocapture", "--test-threads=1", test]);
        command.current_dir("/").stdin(Stdio::null()).uid(uid);
        let ran = run(command.gid(if uid == READER { READERS } else { uid }));
        assert_eq!(ran.code, Some(0), "user {uid}: {ran:?}");
        assert!(ran.text().contains("1 passed"), "{test} is no test: {ran:?}");
    }

    /// As [`Self::ends`]; gives what it says.
    #[track_caller]
    pub(crate) fn json(&self, code: i32, uid: u32, project: &str, arguments: &[&str]) -> Value {
        self.ends(code, uid, project, arguments).json()
    }

    /// It must be refused, by a word on what may not be done.
    #[track_caller]
    pub(crate) fn is_forbidden(&self, uid: u32, project: &str, arguments: &[&str]) {
        let error = self.ends(4, uid, project, arguments).json_error();
        assert_eq!(error["code"], "forbidden", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("user {uid} may not ")), "{message}");
    }

    /// Stores an entry of this task; gives its key.
    #[track_caller]
    pub(crate) fn stores(&self, uid: u32, project: &str, task: &str) -> String {
        let put = call("put", task, "o0:string=secret");
        let answer = self.json(0, uid, project, &put);
        answer["key"].as_str().expect("a key").to_owned()
    }
}

fn group_of(uid: u32) -> u32 {
    if uid == READER { READERS } else { uid }
}

/// A command about a call of this task.
pub(crate) fn call<'a>(command: &'a str, task: &'a str, output: &'a str) -> Vec<&'a str> {
    let rest = ["--cache-version", "1", "--input", "n=1", "--output", output];
    [&[command, "--task", task][..], &rest].concat()
}
