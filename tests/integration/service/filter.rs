//! The system calls that `memod.service` leaves the daemon: it needs no others.
//!
//! A tracer answers every call outside the unit's filter with the error that the unit names, just
//! as systemd's own filter would, and writes down which calls these were.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use harness::{Daemon, Setup, call, eventually, run};
use memod_protocol::PutOutcome;
use nix::sys::signal::Signal;

/// The values of a setting of the unit, in order.
fn unit_setting(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/memod.service");
    let unit = fs::read_to_string(path).unwrap();
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

/// The calls of a set, with those of the sets in it.
fn calls_of(set: &str) -> BTreeSet<String> {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["--no-pager", "syscall-filter", set]).output();
    let output = output.expect("systemd-analyze is installed, as `.ci/setup test` does");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().skip(1).map(str::trim);
    let names = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    names
        .flat_map(|name| {
            if name.starts_with('@') { calls_of(name) } else { BTreeSet::from([name.to_owned()]) }
        })
        .collect()
}

/// What the unit allows.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    let lines = unit_setting("SystemCallFilter");
    assert!(lines.len() >= 2, "the unit filters: {lines:?}");
    for line in lines {
        let (sets, taken) = match line.strip_prefix('~') {
            Some(sets) => (sets, true),
            None => (line.as_str(), false),
        };
        for set in sets.split_whitespace() {
            let calls = calls_of(set);
            if taken {
                allowed.retain(|name| !calls.contains(name));
            } else {
                allowed.extend(calls);
            }
        }
    }
    allowed
}

/// The words that run a program under the filter, and write to this file what it refused.
fn under_filter(refused: &Path) -> Vec<String> {
    let [error] = unit_setting("SystemCallErrorNumber").try_into().expect("one error");
    // What this machine's kernel does not have is passed over.
    let names: Vec<String> = allowed().iter().map(|name| format!("?{name}")).collect();
    let others = format!("!{}", names.join(","));
    // The tracer is no parent, so that signals reach the daemon and its end is seen.
    let words = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "--signal=none", "-o"];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.push(refused.display().to_string());
    words.push(format!("--trace={others}"));
    words.push(format!("--inject={others}:error={error}"));
    words
}

/// Has the daemon do what daemons do.
fn work(daemon: &mut Daemon) {
    let (small, large) = (call("small"), call("large"));
    let content = vec![b'l'; 3 << 20];
    thread::scope(|scope| {
        for number in 0..4 {
            let mut raw = daemon.connect();
            scope.spawn(move || {
                for version in 0..100 {
                    let call = call("many").version(&format!("{number}.{version}"));
                    raw.put(call.put(&[("o0", &vec![b'm'; 20_000])]));
                }
            });
        }
    });
    let mut raw = daemon.connect();
    assert_eq!(raw.put(small.put(&[("o0", b"x")])), PutOutcome::Populated);
    assert_eq!(raw.put(large.put(&[("o0", &content)])), PutOutcome::Populated);
    daemon.signal(Signal::SIGHUP);
    for arguments in [
        &["gc"][..],
        &["verify"],
        &["stats"],
        &["status"],
        &["log"],
        &["rm", "--project", "flytesnacks", "--task", "many", "--yes"],
    ] {
        let ran = run(daemon.memo().args(arguments));
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    }
    daemon.kill();
    daemon.start().unwrap();
    let (_, contents) = daemon.connect().lookup(&large).expect("it is kept");
    assert_eq!(contents, [content]);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn the_daemon_needs_no_system_call_that_its_unit_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let refused = folder.path().join("refused");
    let setup = Setup::new().within(under_filter(&refused)).config("durability = \"power\"\n");
    let mut daemon = setup.prepare();
    daemon.start().unwrap();
    work(&mut daemon);
    let told = fs::read_to_string(&refused).expect("the tracer has written");
    assert_eq!(told, "", "these were refused");
}

#[test]
fn the_filter_refuses_what_the_unit_does_not_allow() {
    let folder = tempfile::tempdir().unwrap();
    let refused = folder.path().join("refused");
    let words = under_filter(&refused);
    let mut command = Command::new(&words[0]);
    let ran = run(command.args(&words[1..]).args(["chroot", "/", "true"]));
    assert_ne!(ran.code, Some(0), "{ran:?}");
    eventually("the tracer has written", || {
        fs::read_to_string(&refused)
            .is_ok_and(|told| told.contains("chroot(") && told.contains("EPERM"))
    });
}
