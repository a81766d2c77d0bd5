//! Another user at the same socket: counted, logged and waited for under its own number.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::{Daemon, Setup, binary, call, named, run};
use memod_protocol::{LogQuery, PutOutcome, Response};
use nix::unistd::Uid;
use serde_json::{Value, json};

const STRANGER: u32 = 12_345;

/// A daemon that lets everybody in, and a `memo` that everybody may run.
struct OpenHouse {
    daemon: Daemon,
    memo: PathBuf,
}

impl OpenHouse {
    /// Only root can be another user.
    fn new() -> Option<Self> {
        Self::with("")
    }

    /// With more in its configuration.
    fn with(config: &str) -> Option<Self> {
        if !Uid::effective().is_root() {
            eprintln!("only root can run a program as another user: this is not tested");
            return None;
        }
        let daemon = Setup::new().config(format!("socket_mode = \"0666\"\n{config}")).start();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(daemon.folder(), open).unwrap();
        let memo = daemon.folder().join("memo");
        std::fs::copy(binary("memo"), &memo).unwrap();
        Some(Self { daemon, memo })
    }

    /// `memo` as another user.
    fn strangers(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.memo);
        command.env_clear().env("MEMOD_SOCKET", self.daemon.socket()).env("MEMOD_NO_START", "1");
        command.env("MEMOD_PROJECT", "flytesnacks").args(arguments).current_dir("/");
        command.uid(STRANGER).gid(STRANGER).stdin(Stdio::null());
        command
    }
}

/// The flags of a call of the harness.
fn flags<'a>(command: &'a str, task: &'a str) -> Vec<&'a str> {
    let call = ["--cache-version", "1.0.0", "--input", "original=\"value\"", "--output"];
    [&[command, "--task", task][..], &call, &["o0:string"]].concat()
}

#[test]
fn s36_another_users_hits_are_counted_as_its_own() {
    let Some(house) = OpenHouse::new() else { return };
    let mut raw = house.daemon.connect();
    let one = call("shared");
    assert_eq!(raw.put(one.put(&[("o0", b"x")])), PutOutcome::Populated);
    raw.lookup(&one).expect("stored");
    let ran = run(&mut house.strangers(&flags("lookup", "shared")));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(run(&mut house.strangers(&flags("lookup", "unknown"))).code, Some(1));
    let savings = raw.savings();
    let mut users: Vec<_> = savings.by_uid.iter().map(|of| (of.uid, of.hits, of.misses)).collect();
    users.sort_unstable();
    assert_eq!(users, [(0, 1, 0), (STRANGER, 1, 1)]);
    assert!(savings.by_uid.iter().all(|of| of.time_saved_ns > 0));
    let of_all: u64 = savings.by_uid.iter().map(|of| of.time_saved_ns).sum();
    assert_eq!(of_all, raw.stats().time_saved_ns);

    // The log tells others only what they asked themselves.
    let rows = raw.log(LogQuery { uid: Some(STRANGER), limit: 100, ..LogQuery::default() }).rows;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.uid == STRANGER && row.program.as_deref() == Some("memo")));
    let told = run(&mut house.strangers(&["--format", "json", "log"]));
    let uids: Vec<Value> = told
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["uid"].clone())
        .collect();
    assert_eq!(uids, [json!(STRANGER), json!(STRANGER)]);
    let refused = run(&mut house.strangers(&["log", "--uid", "0"]));
    assert!(!refused.text().contains("shared\t0\t"), "{refused:?}");
    let refused = run(&mut house.strangers(&["rm", "--all", "--yes"]));
    assert_eq!(refused.code, Some(4), "{refused:?}");
    raw.lookup(&one).expect("it is still there");
}

#[test]
fn s24_what_another_user_wrote_is_forgotten_by_its_writer() {
    let Some(house) = OpenHouse::new() else { return };
    let mut raw = house.daemon.connect();
    raw.put(call("ours").put(&[("o0", b"x")]));
    let mut put = flags("put", "theirs");
    *put.last_mut().unwrap() = "o0:string=x";
    assert_eq!(run(&mut house.strangers(&put)).code, Some(0));
    let (hit, _) = raw.lookup(&call("theirs")).expect("stored");
    assert_eq!(
        (hit.provenance.writer_uid, hit.provenance.program),
        (STRANGER, Some("memo".into()))
    );
    let writer = STRANGER.to_string();
    let ran = run(house.daemon.memo().args(["rm", "--writer", &writer, "--yes"]));
    assert_eq!((ran.code, ran.text()), (Some(0), "1 entry removed\n"));
    raw.lookup(&call("theirs")).expect_err("it is gone");
    raw.lookup(&call("ours")).expect("it is still there");
}

#[test]
fn s27_who_waits_is_told_of_another_user() {
    let Some(house) = OpenHouse::new() else { return };
    let (mut raw, one) = (house.daemon.connect(), call("theirs to compute"));
    let lease = flags("lease", "theirs to compute");
    let by = ["--owner", "a", "--heartbeat", "10s"];
    let acquire = [&["lease", "acquire"], &lease[1..], &by].concat();
    assert_eq!(run(&mut house.strangers(&acquire)).code, Some(0));
    // The same name of another user is another owner: it neither extends nor releases.
    assert!(!raw.reserve(&one, named("a", 1000)).acquired);
    assert!(!raw.release(&one, Some("a")));
    let holder = raw.waits(one.claim()).pending.holder;
    assert_eq!((holder.name.as_deref(), holder.uid), (Some("a"), STRANGER));
    assert_eq!((holder.pid, holder.program), (None, None), "the lease is no process's");
    let release = [&["lease", "release"], &lease[1..], &by[..2]].concat();
    assert_eq!(run(&mut house.strangers(&release)).code, Some(0));
    let reply = raw.read_reply().expect("the lease");
    assert!(matches!(reply.response, Response::Leased(_)), "{:?}", reply.response);
}

#[test]
fn who_may_not_remove_is_not_told_to() {
    let Some(house) = OpenHouse::with(&format!("user_bytes = {{ {STRANGER} = 1000 }}\n")) else {
        return;
    };
    let value = format!("o0:string={}", "x".repeat(2000));
    let mut put = flags("put", "too much");
    *put.last_mut().unwrap() = &value;
    let ran = run(house.strangers(&["--format", "json"]).args(&put));
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let hint = ran.json_error()["hint"].as_str().unwrap().to_owned();
    assert!(hint.starts_with("who administers it can"), "{hint}");
    assert!(hint.contains("user_bytes"), "{hint}");
}
