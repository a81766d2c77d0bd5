//! `memo doctor` where something is wrong: with programs, with directories, with a store that no
//! daemon serves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Daemon, Ran, binary, run};
use nix::unistd::Uid;
use serde_json::Value;

use crate::memo::json_of;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The checks of this name.
fn checks<'a>(told: &'a Value, name: &str) -> Vec<&'a Value> {
    told["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name).collect()
}

fn doctor(command: &mut Command) -> Ran {
    run(command.args(["--format", "json", "doctor"]))
}

#[test]
fn a_memod_that_does_not_answer_is_not_waited_for() {
    let daemon = Daemon::new();
    let program = daemon.folder().join("memod");
    fs::write(&program, "#!/bin/sh\nsleep 1000 & wait\n").unwrap();
    set_mode(&program, 0o755);
    let begun = Instant::now();
    let ran = doctor(daemon.memo().env("MEMOD_DAEMON", &program));
    assert!(begun.elapsed() < Duration::from_secs(40), "it was waited for");
    assert_eq!(ran.code, Some(5), "{ran:?}");
    let told = ran.json();
    let [check] = checks(&told, "program")[..] else { panic!("one check is due: {told}") };
    assert_eq!(check["status"], "fail");
    assert!(check["found"].as_str().unwrap().contains("no answer in 5s"), "{check}");
}

#[test]
fn a_store_that_will_not_open_is_told_where_no_daemon_runs() {
    let mut daemon = Daemon::new();
    assert!(daemon.stop().success());
    let data = daemon.data().display().to_string();
    let damage = || {
        let told = json_of(&daemon, 5, &["doctor", "--data", &data]);
        checks(&told, "damage").iter().map(|check| check["found"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(damage(), [] as [&str; 0]);
    let current = daemon.data().join("rocksdb/CURRENT");
    let sound = fs::read(&current).unwrap();
    fs::write(&current, "garbage").unwrap();
    assert!(damage()[0].contains("does not say what it should"));
    fs::write(&current, sound).unwrap();
    assert_eq!(damage(), [] as [&str; 0]);
    fs::remove_file(&current).unwrap();
    assert!(damage()[0].contains("CURRENT is missing"));
    // Which list of files it named is seen as long as there is one.
    daemon.start().expect("a daemon writes it anew");
    assert!(daemon.stop().success());
    let list = fs::read_to_string(&current).unwrap();
    fs::remove_file(&current).unwrap();
    fs::remove_file(current.with_file_name(list.trim())).unwrap();
    assert!(daemon.start().is_err(), "nor does a daemon open it");
}

#[test]
fn directories_that_everybody_can_write_fail() {
    let daemon = Daemon::new();
    let runtime = daemon.folder().join("runtime");
    fs::create_dir(&runtime).unwrap();
    let own = || {
        let mut memo = daemon.memo();
        doctor(memo.env("XDG_RUNTIME_DIR", &runtime).env_remove("MEMOD_NO_START")).json()
    };
    let status = |told: &Value, name| checks(told, name)[0]["status"].as_str().unwrap().to_owned();
    for (mode, expected) in [(0o700, "ok"), (0o777, "fail"), (0o1777, "ok")] {
        set_mode(&runtime, mode);
        assert_eq!(status(&own(), "own socket's directory"), expected, "{mode:o}");
    }
    for (mode, expected) in [(0o700, "ok"), (0o755, "warn"), (0o777, "fail")] {
        set_mode(&daemon.data(), mode);
        let told = doctor(&mut daemon.memo()).json();
        assert_eq!(status(&told, "data directory"), expected, "{mode:o}");
    }
}

#[test]
fn what_a_user_may_not_look_at_is_a_warning() {
    if !Uid::effective().is_root() {
        eprintln!("only root can run a program as another user: this is not tested");
        return;
    }
    let daemon = Daemon::new();
    set_mode(daemon.folder(), 0o755);
    let memo = daemon.folder().join("memo");
    fs::copy(binary("memo"), &memo).unwrap();
    let closed = daemon.folder().join("closed");
    fs::create_dir(&closed).unwrap();
    set_mode(&closed, 0o700);
    let mut command = Command::new(&memo);
    command.env_clear().env("MEMOD_NO_START", "1").env("XDG_CACHE_HOME", "/nowhere");
    command.env("MEMOD_SOCKET", closed.join("memod.sock")).current_dir("/");
    let told = doctor(command.uid(12_345).gid(12_345)).json();
    let [socket] = checks(&told, "socket")[..] else { panic!("one check is due: {told}") };
    assert_eq!(socket["status"], "warn", "{told}");
    assert!(socket["found"].as_str().unwrap().contains("Permission denied"), "{told}");
    assert!(socket["advice"].as_str().unwrap().contains("as root"), "{told}");
}
