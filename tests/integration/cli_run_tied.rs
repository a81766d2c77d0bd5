//! `memo run`: what becomes of the command when memo is killed, and that it is otherwise the
//! command that it would be without memo.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use harness::{Daemon, Ran, eventually, output, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::shop::Shop;

/// Whether there is such a process, and it has not ended.
fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !status.is_empty() && !matches!(state, Some('Z' | 'X'))
}

#[test]
fn a_command_is_killed_with_its_memo() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    for flags in [&["--serialize"][..], &[], &["--disabled"]] {
        let mut command = shop.command(daemon.memo(), flags, "echo $$; exec sleep 600");
        let mut memo = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(memo.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let pid = pid.trim();
        assert!(lives(pid), "{flags:?}");
        memo.kill().unwrap();
        memo.wait().unwrap();
        eventually("the command is gone", || !lives(pid));
    }
    assert_eq!(daemon.connect().stats().entries, 0);
}

#[test]
fn a_command_whose_memo_has_died_already_is_not_begun() {
    let shop = Shop::new();
    let mut orphan = Command::new(harness::binary("memo"));
    orphan.current_dir(shop.folder.path());
    // As memo starts itself, but named as its parent is a process that is not.
    let ran = run(orphan.args(["__tethered", "2147483647", "9", "touch", "ran"]));
    assert_eq!((ran.code, shop.path("ran").exists()), (Some(5), false), "{ran:?}");
}

#[test]
fn the_command_is_a_child_with_the_files_and_the_group_that_memo_was_given() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    shop.write("third", "from the third\n");
    let script = "cat <&3; ls /proc/self/fd; cut -d' ' -f5 /proc/$$/stat; \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status; echo \"$0 $1 $2\"; echo parent $PPID";
    let started = |program: &str| {
        let mut shell = Command::new("sh");
        let line = format!("exec 3<third; exec {program} sh -c \"$0\" \"$@\"");
        shell.current_dir(shop.folder.path()).args(["-c", &line, script, " a b", "--help", ""]);
        shell.env("MEMOD_SOCKET", daemon.socket()).env("MEMOD_NO_START", "1").stdin(Stdio::null());
        shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let without = Ran::from(output(started("")));
    let (without, _) = without.text().split_once("parent ").unwrap();
    assert!(without.starts_with("from the third\n"), "{without}");
    for flags in ["", "--disabled"] {
        let memo = harness::binary("memo").display().to_string();
        let child = started(&format!("'{memo}' run --cache-version 1 {flags} --"));
        let pid = child.id();
        let ran = Ran::from(output(child));
        let (with, parent) = ran.text().split_once("parent ").unwrap();
        assert_eq!(with, without, "{ran:?}");
        assert_eq!(parent, format!("{pid}\n"), "memo is its parent");
    }
}

#[test]
fn what_cannot_be_run_is_told_by_memo() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    shop.write("text", "no program");
    for (program, code, name) in [
        ("./none", 127, "command_not_found"),
        ("no-such-program-anywhere", 127, "command_not_found"),
        ("./text", 126, "command_not_executable"),
        ("/", 126, "command_not_executable"),
    ] {
        for flags in [&[][..], &["--disabled"]] {
            let mut memo = daemon.memo();
            memo.current_dir(shop.folder.path()).args(["--format", "json", "run"]).args(flags);
            let ran = run(memo.args(["--cache-version", "1", "--", program]));
            assert_eq!(ran.code, Some(code), "{ran:?}");
            let error = ran.json_error();
            assert_eq!(error["code"], name);
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("{program}: ")), "{message}");
            assert!(message.contains("(os error "), "{message}");
        }
    }
    // A script without a first line that names its shell is one for sh, as in every shell.
    shop.write("script", "echo \"$1\"");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(shop.path("script"), executable).unwrap();
    let mut memo = daemon.memo();
    memo.current_dir(shop.folder.path()).args(["run", "--cache-version", "1", "--"]);
    assert_eq!(run(memo.args(["./script", "said"])).text(), "said\n");
}

#[test]
fn a_command_that_succeeds_though_its_output_is_lost_is_a_failure_of_memo() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let into_full = |script: &str| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = shop.command(daemon.memo(), &[], script);
        let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ran = Ran::from(output(child));
        (ran.code.unwrap(), ran.errors().contains("cannot write the output"))
    };
    assert_eq!(into_full("echo lost"), (5, true));
    assert_eq!(daemon.connect().stats().entries, 0);
    assert_eq!(into_full("echo lost; exit 3"), (3, false), "the command's own failure comes first");
    assert_eq!(into_full("true"), (0, false));
    shop.run(&daemon, &[], "echo lost");
    assert_eq!(into_full("echo lost"), (5, true), "a replay that is lost");
}

#[test]
fn a_command_without_its_output_kept_gets_signals_and_ours() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let script = "trap 'echo got it; exit 7' TERM; echo ready; \
                  for second in $(seq 60); do for i in $(seq 50); do sleep 0.02; done; done";
    let mut command = shop.command(daemon.memo(), &["--disabled"], script);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    reader.read_line(&mut text).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ready\ngot it\n");
    assert_eq!(output(child).status.code(), Some(7));
}
