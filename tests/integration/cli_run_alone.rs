//! Semantics 34 through `memo run`: the command runs whatever happens to the daemon.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Answer, Daemon, Fake, Ran, Random, output, run};
use memod_protocol::{ErrorCode, Miss, MissReason, Request, Response, WireError};
use nix::sys::signal::Signal;

use crate::shop::{Shop, assert_last_line};

/// What `memo run` gives the daemon at most, for the lookup and again for the put, and what a busy
/// machine may add.
const DELAY_MAX: Duration = Duration::from_secs(2 + 2 + 10);

/// A `memo` that looks only here and starts nothing.
fn memo_at(socket: &Path) -> Command {
    let mut memo = Command::new(harness::binary("memo"));
    memo.env("MEMOD_SOCKET", socket).env("MEMOD_NO_START", "1").stdin(Stdio::null());
    memo
}

/// Runs two commands, one of which fails: both run once, say what they say, and take not long.
#[track_caller]
fn check_unhelped(name: &str, socket: &Path, status: &str) -> Ran {
    let shop = Shop::new();
    let begun = Instant::now();
    let script = "echo out; echo err >&2; echo made > file";
    let ran = run(&mut shop.command(memo_at(socket), &["--out", "file", "-v"], script));
    let delay = begun.elapsed();
    assert_eq!((ran.code, shop.runs()), (Some(0), 1), "{name}: {ran:?}");
    assert_eq!((ran.text(), shop.read("file")), ("out\n", b"made\n".to_vec()), "{name}");
    assert!(ran.errors().contains("err\n"), "{name}: {ran:?}");
    assert!(delay < DELAY_MAX, "{name}: {delay:?}");
    let warnings = ran.errors().lines().filter(|line| line.starts_with("memo: warning: ")).count();
    assert_eq!(warnings, 1, "{name}: one line says so: {ran:?}");
    assert_last_line(&ran, &format!("memo: {status} "));
    let failed = run(&mut shop.command(memo_at(socket), &["-q"], "exit 3"));
    assert_eq!((failed.code, failed.errors(), shop.runs()), (Some(3), "", 2), "{name}");
    ran
}

#[test]
fn s34_the_command_runs_whatever_sits_at_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let nobody = folder.path().join("none.sock");
    let fakes = [
        ("version_mismatch", Fake::of_another_version()),
        ("forbidden", Fake::refusing(ErrorCode::Forbidden)),
        ("shutting_down", Fake::refusing(ErrorCode::ShuttingDown)),
        ("protocol", Fake::saying(Random::new(3).bytes(4096))),
        ("protocol", Fake::saying("HTTP/1.1 400 Bad Request\r\n\r\n")),
        ("timeout", Fake::silent()),
        ("io", Fake::new(|_| {})),
        ("io", Fake::answering(|_| Answer::Leave)),
    ];
    let mut cases = vec![("no_daemon", stale), ("no_daemon", nobody)];
    cases.extend(fakes.iter().map(|(reason, fake)| (*reason, fake.socket())));
    std::thread::scope(|scope| {
        for (reason, socket) in &cases {
            scope.spawn(move || {
                let ran = check_unhelped(reason, socket, "LOOKUP_FAILURE");
                let line = assert_last_line(&ran, "memo: LOOKUP_FAILURE ");
                let wanted = format!(" reason={reason} ");
                assert!(
                    line.contains(&wanted) && line.ends_with(" store=SKIPPED"),
                    "{reason}, {}: {ran:?}",
                    socket.display()
                );
            });
        }
    });
}

#[test]
fn s34_the_command_runs_if_the_daemon_is_full() {
    let fake = Fake::answering(|request| {
        let Request::Lookup(lookup) = request else {
            let full = WireError::new(ErrorCode::OverBudget, "no room is left");
            return Response::Error(full).into();
        };
        let reason = MissReason::NeverSeen;
        let miss = Miss { key: lookup.call.key(), reason, at_ms: None, by_uid: None, detail: None };
        Response::Miss(miss).into()
    });
    let ran = check_unhelped("full", &fake.socket(), "MISS");
    assert!(assert_last_line(&ran, "memo: MISS ").ends_with(" store=PUT_FAILURE"), "{ran:?}");
    assert!(ran.errors().contains("memo: warning: not remembered: no room is left"), "{ran:?}");
}

#[test]
fn s34_the_command_runs_if_the_daemon_is_killed_meanwhile() {
    let (mut daemon, shop) = (Daemon::new(), Shop::new());
    let script = format!("echo out; kill -9 {}; exec cat", daemon.pid());
    let mut command = shop.command(daemon.memo(), &[], &script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    daemon.wait();
    child.stdin.take().unwrap().write_all(b"and in").unwrap();
    let ran = Ran::from(output(child));
    assert_eq!((ran.code, ran.text(), shop.runs()), (Some(0), "out\nand in", 1));
    assert!(ran.errors().starts_with("memo: warning: not remembered: "), "{ran:?}");
}

#[test]
fn s34_the_command_runs_if_the_daemon_hangs() {
    let daemon = Daemon::new();
    daemon.freeze();
    check_unhelped("hanging", &daemon.socket(), "LOOKUP_FAILURE");
    daemon.signal(Signal::SIGCONT);
    assert!(daemon.connect().ping());
}
