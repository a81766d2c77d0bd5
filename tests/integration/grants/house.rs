//! A daemon whose users may do different things.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::{Daemon, Ran, Raw, Setup, binary, run};
use nix::unistd::Uid;
use serde_json::Value;

/// Has all of `alpha` but to administer it.
pub(super) const ALICE: u32 = 20_001;
/// Has the same of `beta`, and nothing of `alpha`.
pub(super) const BOB: u32 = 20_002;
/// Administers `alpha`.
pub(super) const KEEPER: u32 = 20_003;
/// Reads all of it, by its group.
pub(super) const READER: u32 = 20_004;
pub(super) const READERS: u32 = 30_000;
/// Was given nothing.
pub(super) const STRANGER: u32 = 20_005;
/// What the kernel calls a user that a namespace does not know.
pub(super) const NOBODY: u32 = 65_534;

pub(super) const GRANTS: &str = "\
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
pub(super) struct House {
    pub(super) daemon: Daemon,
    memo: PathBuf,
}

impl House {
    /// Only root can be other users.
    pub(super) fn new(config: &str) -> Option<Self> {
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
    pub(super) fn command(&self, uid: u32, project: &str, arguments: &[&str]) -> Command {
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
    pub(super) fn ends(&self, code: i32, uid: u32, project: &str, arguments: &[&str]) -> Ran {
        let ran = run(&mut self.command(uid, project, arguments));
        assert_eq!(ran.code, Some(code), "user {uid} in {project}, {arguments:?}: {ran:?}");
        ran
    }

    /// As [`Self::ends`]; gives what it says.
    #[track_caller]
    pub(super) fn json(&self, code: i32, uid: u32, project: &str, arguments: &[&str]) -> Value {
        self.ends(code, uid, project, arguments).json()
    }

    /// It must be refused, by a word on what may not be done.
    #[track_caller]
    pub(super) fn is_forbidden(&self, uid: u32, project: &str, arguments: &[&str]) {
        let error = self.ends(4, uid, project, arguments).json_error();
        assert_eq!(error["code"], "forbidden", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("user {uid} may not ")), "{message}");
    }

    /// Stores an entry of this task; gives its key.
    #[track_caller]
    pub(super) fn stores(&self, uid: u32, project: &str, task: &str) -> String {
        let put = call("put", task, "o0:string=secret");
        let answer = self.json(0, uid, project, &put);
        answer["key"].as_str().expect("a key").to_owned()
    }
}

fn group_of(uid: u32) -> u32 {
    if uid == READER { READERS } else { uid }
}

/// A command about a call of this task.
pub(super) fn call<'a>(command: &'a str, task: &'a str, output: &'a str) -> Vec<&'a str> {
    let rest = ["--cache-version", "1", "--input", "n=1", "--output", output];
    [&[command, "--task", task][..], &rest].concat()
}
