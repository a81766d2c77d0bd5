//! `memo run`, `lookup` and `put` in every mode (semantics 23), and what `run --why` says instead.

use std::process::Stdio;

use harness::{Daemon, Ran, eventually, run};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::memo::{ends, json_of, square, stored};
use crate::shop::{Shop, assert_last_line};

/// Says how often it has run.
const COUNT: &str = "cat runs | wc -l";

/// `memo run -v` of the script with the mode in the environment.
#[track_caller]
fn run_in(shop: &Shop, daemon: &Daemon, mode: &str, flags: &[&str], script: &str) -> Ran {
    let flags = [&["-v"], flags].concat();
    run(shop.command(daemon.memo(), &flags, script).env("MEMOD_MODE", mode))
}

#[test]
fn s23_disabled_neither_reads_nor_writes() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let asked = || {
        let stats = daemon.connect().stats();
        (stats.hits, stats.misses, stats.puts)
    };
    shop.run(&daemon, &[], COUNT);
    let before = asked();
    for (mode, flags) in
        [("", &["--disabled"][..]), ("disabled", &[]), ("overwrite", &["--disabled"])]
    {
        let runs = shop.runs() + 1;
        let ran = run_in(&shop, &daemon, mode, flags, COUNT);
        assert_eq!((ran.code, ran.text().trim()), (Some(0), runs.to_string().as_str()));
        let line = assert_last_line(&ran, "memo: DISABLED took=");
        assert_eq!(line.split(' ').count(), 3, "{line}");
        let failed = run_in(&shop, &daemon, mode, flags, "echo out; exit 9");
        assert_eq!((failed.code, failed.text()), (Some(9), "out\n"));
    }
    assert_eq!(asked(), before);
    assert_eq!(shop.run(&daemon, &[], COUNT).text().trim(), "1", "what was remembered is still");
    for other in ["--read-only", "--overwrite"] {
        assert_eq!(shop.run(&daemon, &["--disabled", other], COUNT).code, Some(2));
    }
}

#[test]
fn s23_the_environment_says_the_mode_of_a_run_and_flags_override_it() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let ran = |mode, flags: &[&str], begins: &str, ends: &str| {
        let ran = run_in(&shop, &daemon, mode, flags, COUNT);
        let line = assert_last_line(&ran, begins);
        assert!(line.ends_with(ends), "{line}");
        ran.text().trim().to_owned()
    };
    assert_eq!(ran("read-only", &[], "memo: MISS ", " store=DISABLED"), "1");
    assert_eq!(ran("enabled", &[], "memo: MISS ", " store=POPULATED"), "2");
    assert_eq!(ran("", &[], "memo: HIT ", "s"), "2");
    assert_eq!(ran("overwrite", &[], "memo: SKIPPED ", " store=POPULATED"), "3");
    assert_eq!(ran("overwrite", &["--read-only"], "memo: HIT ", "s"), "3");
    assert_eq!(ran("disabled", &["--overwrite"], "memo: SKIPPED ", " store=POPULATED"), "4");
    assert_eq!(ran("overwrite", &["--max-age", "1h"], "memo: SKIPPED ", " store=POPULATED"), "5");
    let failed = run_in(&shop, &daemon, "", &[], "exit 3");
    assert!(assert_last_line(&failed, "memo: MISS ").ends_with(" store=SKIPPED"), "{failed:?}");
    let lost = run_in(&shop, &daemon, "", &["--out", "never"], "true");
    assert!(assert_last_line(&lost, "memo: MISS ").ends_with(" store=PUT_FAILURE"), "{lost:?}");
}

#[test]
fn s23_the_environment_says_the_mode_of_lookup_and_put() {
    let daemon = Daemon::new();
    let key = stored(&daemon);
    let asked = |mode: &str, arguments: &[&str]| {
        let ran =
            run(daemon.memo().env("MEMOD_MODE", mode).args(["--format", "json"]).args(arguments));
        (ran.code.unwrap(), ran.json())
    };
    let lookup = square("lookup", &["--output", "o0:integer"]);
    let put = |value| square("put", &["--output", value]);
    let told = |status: &str| json!({"status": status, "key": key});
    let before = daemon.connect().stats();
    assert_eq!(asked("disabled", &lookup), (1, told("DISABLED")));
    assert_eq!(asked("overwrite", &lookup), (1, told("SKIPPED")));
    assert_eq!(asked("disabled", &put("o0:integer=1")), (0, told("DISABLED")));
    assert_eq!(asked("read-only", &put("o0:integer=1")), (0, told("DISABLED")));
    let after = daemon.connect().stats();
    assert_eq!((before.hits, before.misses, before.puts), (after.hits, after.misses, after.puts));
    for (mode, value) in [("read-only", 144), ("enabled", 144)] {
        assert_eq!(asked(mode, &lookup).1["outputs"]["o0"]["value"], json!(value), "{mode}");
    }
    assert_eq!(asked("overwrite", &put("o0:integer=2")), (0, told("POPULATED")));
    assert_eq!(asked("", &lookup).1["outputs"]["o0"]["value"], json!(2));
    let over = square("put", &["--output", "o0:integer=3", "--overwrite"]);
    assert_eq!(asked("read-only", &over), (0, told("POPULATED")));
    let text = run(daemon.memo().env("MEMOD_MODE", "disabled").args(&lookup));
    assert_eq!(text.text(), format!("status\tDISABLED\nkey\t{key}\n"));
}

#[test]
fn s23_a_mode_that_is_none_is_refused() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let refused = |ran: Ran| {
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.errors().contains("`readonly`"), "{ran:?}");
        assert!(ran.errors().contains("enabled, disabled, read-only or overwrite"), "{ran:?}");
    };
    refused(run_in(&shop, &daemon, "readonly", &[], COUNT));
    assert_eq!(shop.runs(), 0);
    for command in ["lookup", "put"] {
        let arguments = square(command, &[]);
        refused(run(daemon.memo().env("MEMOD_MODE", "readonly").args(arguments)));
    }
    let others = run(daemon.memo().env("MEMOD_MODE", "readonly").arg("stats"));
    assert_eq!(others.code, Some(0), "it is no concern of theirs");
}

#[test]
fn s35_run_why_explains_instead_of_running() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    shop.write("input", "one");
    let flags = ["--in", "input"];
    let why = |flags: &[&str]| shop.run(&daemon, &[&["--why"], flags].concat(), COUNT);
    let first = why(&flags);
    assert_eq!((first.code, shop.runs()), (Some(1), 0), "{first:?}");
    assert!(first.text().contains("reason\tnever_seen\n"), "{first:?}");
    shop.run(&daemon, &flags, COUNT);
    let hit = why(&flags);
    assert_eq!((hit.code, hit.text().starts_with("status\tHIT\n")), (Some(0), true), "{hit:?}");
    shop.write("input", "two");
    let miss = why(&flags);
    assert_eq!((miss.code, shop.runs()), (Some(1), 1));
    assert!(miss.text().contains("input `file:input` differs"), "{miss:?}");
    let json = shop.run(&daemon, &["--why", "--in", "input", "--format", "json"], COUNT).json();
    assert_eq!(json["nearest"][0]["differs"][0]["name"], json!("file:input"));
    let listed = json_of(&daemon, 0, &["ls"]);
    assert_eq!(listed["entries"].as_array().map(Vec::len), Some(1));
    ends(&daemon, 2, &["run", "--why", "--cache-version", "1", "--in", "/none", "--", "true"]);
}

#[test]
fn s23_run_why_says_that_the_mode_has_it_run() {
    let (mut daemon, shop) = (Daemon::new(), Shop::new());
    shop.run(&daemon, &[], COUNT);
    let why = |daemon: &Daemon, mode: &str, flags: &[&str]| {
        let flags = [&["--why", "--format", "json"], flags].concat();
        run(shop.command(daemon.memo(), &flags, COUNT).env("MEMOD_MODE", mode))
    };
    for (mode, flags) in [("enabled", &[][..]), ("read-only", &[]), ("disabled", &["--read-only"])]
    {
        let hit = why(&daemon, mode, flags);
        assert_eq!((hit.code, &hit.json()["status"]), (Some(0), &json!("HIT")), "{mode}: {hit:?}");
    }
    let key = why(&daemon, "", &[]).json()["key"].clone();
    daemon.kill();
    for (mode, flags, status, reason) in [
        ("overwrite", &[][..], "SKIPPED", "overwrite"),
        ("", &["--overwrite"], "SKIPPED", "overwrite"),
        ("disabled", &[], "DISABLED", "disabled"),
        ("overwrite", &["--disabled"], "DISABLED", "disabled"),
    ] {
        let told = why(&daemon, mode, flags);
        let expected = json!({"status": status, "key": key, "reason": reason, "nearest": []});
        assert_eq!((told.code, told.json()), (Some(1), expected), "{mode} {flags:?}");
        let flags = [&["--why"], flags].concat();
        let text = run(shop.command(daemon.memo(), &flags, COUNT).env("MEMOD_MODE", mode));
        assert!(text.text().starts_with(&format!("status\t{status}\nkey\t")), "{text:?}");
        assert!(text.text().contains(&format!("\nreason\t{reason}\nwhy\tit ")), "{text:?}");
    }
    assert_eq!(shop.runs(), 1);
}

#[test]
fn s17_who_comes_second_is_told_that_anothers_run_stays() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    mkfifo(&shop.path("go"), Mode::S_IRWXU).unwrap();
    let script = "if mkdir early; then echo early; read x < go; else echo late; fi";
    let mut slow = shop.command(daemon.memo(), &["-v"], script);
    let slow = slow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the first one runs", || shop.path("early").exists());
    let quick = shop.run(&daemon, &["-v"], script);
    assert_eq!(quick.text(), "late\n");
    assert!(assert_last_line(&quick, "memo: MISS ").ends_with(" store=POPULATED"), "{quick:?}");
    shop.write("go", "\n");
    let slow = slow.wait_with_output().unwrap();
    assert_eq!(slow.stdout, b"early\n", "his own");
    let told = String::from_utf8(slow.stderr).unwrap();
    assert!(told.trim_end().ends_with(" store=EXISTS"), "{told}");
    assert_eq!(shop.run(&daemon, &[], script).text(), "late\n", "what was first stays");
}
