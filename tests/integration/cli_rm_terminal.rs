//! `memo rm` on a terminal: it asks before it acts (semantics 24).

use std::io::Write;
use std::process::{Command, Stdio};

use harness::{Daemon, Ran, call, output};
use memod_protocol::{MissReason, PutOutcome};

/// Runs `memo` on a terminal, which `script` makes, and types this.
fn on_a_terminal(daemon: &Daemon, arguments: &str, typed: &str) -> Ran {
    let memo = daemon.memo();
    let mut command = Command::new("script");
    let line = format!("{} {arguments}", memo.get_program().display());
    command.args(["-q", "-e", "-c", &line, "/dev/null"]);
    for (name, value) in memo.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("`script` is a part of every Debian");
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    output(child).into()
}

#[test]
fn s24_rm_asks_on_a_terminal_and_takes_only_a_yes_for_one() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let calls: Vec<_> = (0..3).map(|number| call("asked").version(&number.to_string())).collect();
    for one in &calls {
        assert_eq!(raw.put(one.put(&[("o0", b"x")])), PutOutcome::Populated);
    }
    for (arguments, typed) in [
        ("rm --all", "n\n"),
        ("rm --all", "\n"),
        ("rm --all", "nonsense\n"),
        ("rm --all", ""),
        ("rm --writer 0", "no\n"),
        ("--project flytesnacks rm --task asked", "n\n"),
    ] {
        let ran = on_a_terminal(&daemon, arguments, typed);
        assert_eq!(ran.code, Some(1), "{arguments} {typed:?}: {ran:?}");
        assert!(ran.text().contains('3'), "it says how many: {ran:?}");
        assert_eq!(raw.stats().entries, 3, "{arguments} {typed:?}: {ran:?}");
    }
    let nothing = on_a_terminal(&daemon, "rm --task stranger", "");
    assert_eq!(nothing.code, Some(1), "where there is nothing it does not ask: {nothing:?}");
    assert!(nothing.text().contains("nothing matched"), "{nothing:?}");
    let ran = on_a_terminal(&daemon, "rm --all", "y\n");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.text().contains("3 entries removed"), "{ran:?}");
    assert_eq!(raw.lookup(&calls[0]).expect_err("gone").reason, MissReason::Invalidated);
}
