//! `memo run --serialize` and `memo lease`: of many commands one runs (semantics 26 to 30).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::{Daemon, Ran, eventually, output, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::hold::all_is_quiet;
use crate::memo::{ends, json_of, square, stored};
use crate::shop::{Shop, assert_last_line};

/// The first run waits at a gate, any other goes on at once.
const FIRST_WAITS: &str = r#"if [ $(wc -l < runs) = 1 ]; then
    read word < gate
    printf "$word "
fi
echo done
echo told >&2"#;

fn make_gate(shop: &Shop) {
    let made = Command::new("mkfifo").arg(shop.path("gate")).status().unwrap();
    assert!(made.success());
}

/// Lets who waits at the gate go on. It opens only when somebody is there.
fn open_gate(shop: &Shop) {
    open_fifo(&shop.path("gate")).write_all(b"gate\n").unwrap();
}

fn open_fifo(path: &Path) -> std::fs::File {
    OpenOptions::new().write(true).open(path).unwrap()
}

fn started(shop: &Shop, daemon: &Daemon, flags: &[&str], script: &str) -> Child {
    let flags = [&["--serialize", "-v"], flags].concat();
    let mut command = shop.command(daemon.memo(), &flags, script);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Ran {
    output(child).into()
}

fn wait_for(daemon: &Daemon, leases_and_waiters: (u64, u64)) {
    let mut raw = daemon.connect();
    eventually("they wait", || raw.leases_and_waiters() == leases_and_waiters);
}

#[test]
fn s27_a_hundred_commands_at_once_run_once() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    make_gate(&shop);
    let all: Vec<Child> = (0..100).map(|_| started(&shop, &daemon, &[], FIRST_WAITS)).collect();
    wait_for(&daemon, (1, 99));
    open_gate(&shop);
    let mut lines = Vec::new();
    for child in all {
        let ran = ended(child);
        assert_eq!((ran.code, ran.text()), (Some(0), "gate done\n"), "{ran:?}");
        assert!(ran.errors().contains("told\n"), "{ran:?}");
        lines.push(assert_last_line(&ran, "memo: "));
    }
    assert_eq!(shop.runs(), 1);
    let of = |beginning: &str, end: &str| {
        let is = |line: &&String| line.starts_with(beginning) && line.ends_with(end);
        lines.iter().filter(is).count()
    };
    assert_eq!(of("memo: MISS ", " reservation=ACQUIRED"), 1, "{lines:?}");
    assert_eq!(of("memo: HIT ", " reservation=EXISTS"), 99, "{lines:?}");
    all_is_quiet(&daemon);
    let stats = daemon.connect().stats();
    assert_eq!((stats.hits, stats.misses, stats.puts), (99, 1, 1));
}

#[test]
fn s28_a_command_that_is_killed_hands_over_at_once() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    make_gate(&shop);
    let mut first = started(&shop, &daemon, &[], FIRST_WAITS);
    eventually("the first runs", || shop.runs() == 1);
    let second = started(&shop, &daemon, &[], FIRST_WAITS);
    wait_for(&daemon, (1, 1));
    let third = started(&shop, &daemon, &[], FIRST_WAITS);
    wait_for(&daemon, (1, 2));
    first.kill().unwrap();
    assert_eq!(first.wait().unwrap().code(), None);
    // What it ran is killed with it: nobody waits at the gate any more.
    let (second, third) = (ended(second), ended(third));
    assert_eq!((second.code, second.text()), (Some(0), "done\n"), "{second:?}");
    assert!(assert_last_line(&second, "memo: MISS ").ends_with(" reservation=ACQUIRED"));
    assert_eq!((third.code, third.text()), (Some(0), "done\n"), "{third:?}");
    assert!(assert_last_line(&third, "memo: HIT ").ends_with(" reservation=EXISTS"));
    assert_eq!(shop.runs(), 2);
    all_is_quiet(&daemon);
}

#[test]
fn s28_a_command_that_fails_or_is_interrupted_releases_and_its_code_stays() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    make_gate(&shop);
    let script = "n=$(wc -l < runs); read word < gate; if [ $n = 1 ]; then exit 7; fi; echo $word";
    let first = started(&shop, &daemon, &[], script);
    eventually("the first runs", || shop.runs() == 1);
    let second = started(&shop, &daemon, &[], script);
    wait_for(&daemon, (1, 1));
    open_gate(&shop);
    let first = ended(first);
    assert_eq!(first.code, Some(7), "{first:?}");
    assert!(assert_last_line(&first, "memo: MISS ").ends_with(" reservation=ACQUIRED"));
    eventually("the second runs", || shop.runs() == 2);
    let third = started(&shop, &daemon, &[], script);
    wait_for(&daemon, (1, 1));
    kill(Pid::from_raw(second.id().cast_signed()), Signal::SIGTERM).unwrap();
    let second = ended(second);
    assert_ne!(second.code, Some(0), "{second:?}");
    eventually("the third runs", || shop.runs() == 3);
    open_gate(&shop);
    let third = ended(third);
    assert_eq!((third.code, third.text()), (Some(0), "gate\n"), "{third:?}");
    assert_eq!((shop.runs(), daemon.connect().stats().entries), (3, 1));
    all_is_quiet(&daemon);
}

#[test]
fn s28_a_command_that_has_failed_releases_though_others_hold_its_output_open() {
    for (end, code) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let (daemon, shop) = (Daemon::new(), Shop::new());
        make_gate(&shop);
        let script = format!(
            "if [ $(wc -l < runs) = 1 ]; then
                read word < gate
                (until read word < gate; do :; done; echo late) &
                {end}
            fi
            echo done"
        );
        let first = started(&shop, &daemon, &[], &script);
        eventually("the first runs", || shop.runs() == 1);
        let second = started(&shop, &daemon, &[], &script);
        wait_for(&daemon, (1, 1));
        open_gate(&shop);
        // What the first has left behind waits at the gate, and memo for that.
        let second = ended(second);
        assert_eq!((second.code, second.text()), (Some(0), "done\n"), "{second:?}");
        assert!(assert_last_line(&second, "memo: MISS ").ends_with(" reservation=ACQUIRED"));
        assert_eq!(shop.runs(), 2, "{end}");
        open_gate(&shop);
        let first = ended(first);
        assert_eq!((first.code, first.text()), (Some(code), "late\n"), "{first:?}");
        let line = assert_last_line(&first, "memo: MISS ");
        assert!(line.ends_with(" store=SKIPPED reservation=ACQUIRED"), "{line}");
        all_is_quiet(&daemon);
    }
}

#[test]
fn s23_read_only_waits_overwrite_does_not_and_no_other_is_bothered() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    make_gate(&shop);
    let first = started(&shop, &daemon, &[], FIRST_WAITS);
    eventually("the first runs", || shop.runs() == 1);
    let reader = started(&shop, &daemon, &["--read-only"], FIRST_WAITS);
    wait_for(&daemon, (1, 1));
    let plain = shop.run(&daemon, &["-v", "--read-only"], FIRST_WAITS);
    assert_eq!((plain.text(), shop.runs()), ("done\n", 2), "it did not ask for a lease");
    let impatient =
        shop.run(&daemon, &["-v", "--serialize", "--wait", "10ms", "--read-only"], FIRST_WAITS);
    assert_eq!((impatient.text(), shop.runs()), ("done\n", 3));
    let line = assert_last_line(&impatient, "memo: MISS ");
    assert!(line.contains(" reason=pending ") && line.ends_with(" reservation=EXISTS"), "{line}");
    let over = shop.run(&daemon, &["-v", "--serialize", "--overwrite"], FIRST_WAITS);
    assert!(assert_last_line(&over, "memo: SKIPPED ").ends_with(" reservation=DISABLED"));
    let reader = ended(reader);
    assert_eq!(reader.text(), "done\n", "what was overwritten meanwhile");
    assert!(assert_last_line(&reader, "memo: HIT ").ends_with(" reservation=EXISTS"));
    open_gate(&shop);
    let first = ended(first);
    assert_eq!((first.code, first.text()), (Some(0), "gate done\n"), "{first:?}");
    assert_eq!(shop.run(&daemon, &["--serialize"], FIRST_WAITS).text(), "done\n");
    assert_eq!(shop.runs(), 4);
    all_is_quiet(&daemon);
}

#[test]
fn s34_a_command_that_waits_runs_if_the_daemon_dies() {
    let (mut daemon, shop) = (Daemon::new(), Shop::new());
    make_gate(&shop);
    let first = started(&shop, &daemon, &[], FIRST_WAITS);
    eventually("the first runs", || shop.runs() == 1);
    let second = started(&shop, &daemon, &[], FIRST_WAITS);
    wait_for(&daemon, (1, 1));
    daemon.kill();
    let second = ended(second);
    assert_eq!((second.code, second.text(), shop.runs()), (Some(0), "done\n", 2), "{second:?}");
    let line = assert_last_line(&second, "memo: LOOKUP_FAILURE ");
    assert!(line.ends_with(" reservation=FAILURE"), "{line}");
    open_gate(&shop);
    let first = ended(first);
    assert_eq!((first.code, first.text()), (Some(0), "gate done\n"), "{first:?}");
}

#[test]
fn s29_who_asks_for_longer_than_the_daemon_allows_is_warned() {
    let daemon = Daemon::new();
    let call = square("lease", &["--output", "o0:integer"]);
    for what in ["acquire", "extend"] {
        let told = |heartbeat| {
            let rest = ["--owner", "a", "--heartbeat", heartbeat];
            ends(&daemon, 0, &[&[call[0], what], &call[1..], &rest].concat())
        };
        assert_eq!(told("1s").errors(), "", "{what}");
        let warned = told("1h");
        let begins = "memo: warning: the daemon lets it expire in 30 s: extend it more often";
        assert!(warned.errors().starts_with(begins), "{warned:?}");
    }
}

/// `memo lease` with a call, an owner and more; gives the answer as JSON.
#[track_caller]
fn lease(daemon: &Daemon, code: i32, what: &str, rest: &[&str]) -> Value {
    let call = square("lease", &["--output", "o0:integer"]);
    json_of(daemon, code, &[&[call[0], what], &call[1..], rest].concat())
}

#[test]
fn s29_s30_leases_by_hand() {
    let daemon = Daemon::new();
    let by = |owner| ["--owner", owner, "--heartbeat", "5s"];
    let acquired = lease(&daemon, 0, "acquire", &by("a"));
    assert_eq!(acquired["status"], "ACQUIRED");
    assert_eq!(acquired["holder"]["name"], "a");
    for of_process in ["pid", "program"] {
        assert_eq!(acquired["holder"].get(of_process), None, "the process that asked has ended");
    }
    let expires = acquired["holder"]["expires_in_seconds"].as_f64().unwrap();
    assert!((1.0..=15.0).contains(&expires), "{acquired}");
    let exists = lease(&daemon, 1, "acquire", &by("b"));
    assert_eq!((&exists["status"], &exists["holder"]["name"]), (&"EXISTS".into(), &"a".into()));
    let waited = lease(&daemon, 1, "acquire", &[&by("b")[..], &["--wait", "20ms"]].concat());
    assert_eq!(waited["status"], "EXISTS");
    assert_eq!(lease(&daemon, 0, "extend", &by("a"))["status"], "ACQUIRED");
    assert_eq!(lease(&daemon, 1, "extend", &by("b"))["status"], "EXISTS");
    let pending = json_of(&daemon, 1, &square("lookup", &["--output", "o0:integer"]));
    assert!(["PENDING", "MISS"].contains(&pending["status"].as_str().unwrap()), "{pending}");
    let waited = square("lookup", &["--output", "o0:integer", "--wait", "20ms"]);
    let pending = json_of(&daemon, 1, &waited);
    assert_eq!((&pending["status"], &pending["holder"]["name"]), (&"PENDING".into(), &"a".into()));
    // The process that asked for it has ended, and is not told of.
    let text = ends(&daemon, 1, &waited);
    let holder = format!("\nholder\t`a` of user {}, held for ", nix::unistd::getuid());
    assert!(text.text().contains(&holder), "{text:?}");
    assert!(!text.text().contains("pid"), "{text:?}");
    for (owner, status, released) in
        [("b", "NOT_HELD", false), ("a", "RELEASED", true), ("a", "NOT_HELD", false)]
    {
        let told = lease(&daemon, 0, "release", &["--owner", owner]);
        assert_eq!((&told["status"], &told["released"]), (&status.into(), &released.into()));
    }
    all_is_quiet(&daemon);
}

#[test]
fn s29_s30_leases_that_cannot_be_meant_are_refused() {
    let daemon = Daemon::new();
    for flags in [
        &["--owner", "", "--heartbeat", "1s"][..],
        &["--owner", " ", "--heartbeat", "1s"],
        &["--owner", "a", "--heartbeat", "0s"],
        &["--owner", "a", "--heartbeat", "-1s"],
        &["--owner", "a", "--heartbeat", "soon"],
        &["--owner", "a"],
        &["--heartbeat", "1s"],
    ] {
        let call = square("lease", &["--output", "o0:integer"]);
        ends(&daemon, 2, &[&[call[0], "acquire"], &call[1..], flags].concat());
    }
    let longest = ["--owner", "a", "--heartbeat", "1000000000days"];
    for saturated in ["1000000000000000000ms", "1000000000000000000"] {
        lease(&daemon, 0, "extend", &["--owner", "a", "--heartbeat", saturated]);
    }
    let capped = lease(&daemon, 0, "acquire", &longest);
    let expires = capped["holder"]["expires_in_seconds"].as_f64().unwrap();
    assert!(expires <= 30.0, "three of the ten seconds that the daemon allows: {expires}");
    for none in ["", " "] {
        let release = square("lease", &["--output", "o0:integer", "--owner", none]);
        let refused = ends(&daemon, 2, &[&[release[0], "release"], &release[1..]].concat());
        assert!(refused.errors().starts_with("memo: error: owner: must not be "), "{refused:?}");
    }
    let blank = ["lease", "release", "--task", "t", "--cache-version", " ", "--owner", "a"];
    ends(&daemon, 2, &blank);
}

#[test]
fn s23_a_mode_that_does_not_write_takes_no_lease() {
    let daemon = Daemon::new();
    let asked = |mode: &str, what: &str, rest: &[&str]| {
        let call = square("lease", &["--output", "o0:integer", "--owner", "a"]);
        let line = [&[call[0], what], &call[1..], rest].concat();
        let ran = run(daemon.memo().env("MEMOD_MODE", mode).args(["--format", "json"]).args(line));
        (ran.code.unwrap(), ran.json()["status"].as_str().unwrap().to_owned())
    };
    let told = |code: i32, status: &str| (code, status.to_owned());
    let heartbeat = ["--heartbeat", "1h"];
    for mode in ["disabled", "read-only", "overwrite"] {
        for what in ["acquire", "extend"] {
            assert_eq!(asked(mode, what, &heartbeat), told(1, "DISABLED"), "{mode} {what}");
        }
    }
    assert_eq!(daemon.connect().leases_and_waiters(), (0, 0), "nobody has taken it");
    assert_eq!(asked("disabled", "release", &[]), told(0, "DISABLED"));
    assert_eq!(asked("enabled", "acquire", &heartbeat), told(0, "ACQUIRED"));
    let waits = [&heartbeat[..], &["--wait", "20ms"]].concat();
    for rest in [&heartbeat[..], &waits] {
        assert_eq!(asked("read-only", "acquire", rest), told(1, "EXISTS"), "{rest:?}");
    }
    assert_eq!(asked("disabled", "acquire", &heartbeat), told(1, "DISABLED"));
    assert_eq!(asked("read-only", "release", &[]), told(0, "RELEASED"));
    stored(&daemon);
    assert_eq!(asked("read-only", "acquire", &heartbeat), told(1, "HIT"));
    all_is_quiet(&daemon);
    let wrong = square("lease", &["--owner", "a", "--heartbeat", "1h"]);
    let wrong = [&[wrong[0], "acquire"], &wrong[1..]].concat();
    assert_eq!(run(daemon.memo().env("MEMOD_MODE", "readonly").args(wrong)).code, Some(2));
}

#[test]
fn s23_a_disabled_lease_needs_no_daemon() {
    let mut daemon = Daemon::new();
    daemon.kill();
    for (what, code, rest) in [
        ("acquire", 1, &["--heartbeat", "1h"][..]),
        ("extend", 1, &["--heartbeat", "1h"]),
        ("release", 0, &[]),
    ] {
        let call = square("lease", &["--output", "o0:integer", "--owner", "a"]);
        let line = [&[call[0], what], &call[1..], rest].concat();
        let ran = run(daemon.memo().env("MEMOD_MODE", "disabled").args(line));
        assert_eq!(ran.code, Some(code), "{what}: {ran:?}");
    }
}

#[test]
fn s27_who_waits_is_told_when_it_was_so_and_who_has_the_lease_in_the_end() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    make_gate(&shop);
    let first = started(&shop, &daemon, &[], FIRST_WAITS);
    eventually("it runs", || shop.runs() == 1);
    let second = started(&shop, &daemon, &["--wait", "20ms"], FIRST_WAITS);
    let second = ended(second);
    let lines: Vec<&str> = second.errors().lines().collect();
    let holder = format!("pid {} (memo), held for ", first.id());
    assert!(lines[0].starts_with(&format!("memo: waiting for {holder}")), "{lines:?}");
    assert!(lines[0].ends_with("Z)") && lines[0].contains(" (at 2"), "{lines:?}");
    assert!(
        lines[1].starts_with(&format!("memo: waits no longer, by now for {holder}")),
        "{lines:?}"
    );
    open_gate(&shop);
    assert_eq!(ended(first).code, Some(0));
}

#[test]
fn s36_a_lease_that_turns_out_to_be_a_hit_spares_nobody_anything() {
    let daemon = Daemon::new();
    lease(&daemon, 0, "acquire", &["--owner", "a", "--heartbeat", "10s"]);
    let call = square("lease", &["--output", "o0:integer", "--owner", "b", "--heartbeat", "1h"]);
    let line = |rest| [&["--format", "json", call[0], "acquire"], &call[1..], rest].concat();
    let mut waiter = daemon.memo();
    waiter.args(line(&["--wait", "forever"])).stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiter = waiter.spawn().unwrap();
    wait_for(&daemon, (1, 1));
    let put = square("put", &["--output", "o0:integer=144", "--compute-time", "1h"]);
    ends(&daemon, 0, &put);
    let read_only = run(daemon.memo().env("MEMOD_MODE", "read-only").args(line(&[])));
    for hit in [ended(waiter), read_only] {
        assert_eq!((hit.code, &hit.json()["status"]), (Some(1), &"HIT".into()), "{hit:?}");
    }
    let counted = || {
        let stats = daemon.connect().stats();
        (stats.hits, stats.misses, stats.time_saved_ns > 0)
    };
    assert_eq!(counted(), (0, 0, false));
    ends(&daemon, 0, &square("lookup", &["--output", "o0:integer"]));
    assert_eq!(counted(), (1, 0, true));
    all_is_quiet(&daemon);
}
