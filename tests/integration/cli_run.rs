//! `memo run`: a command runs once; afterwards all that it did is done again without it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use harness::{Daemon, Ran, Random, eventually, output, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::shop::{Shop, assert_last_line};

/// Checks `name=value` pairs behind a word and gives the values.
#[track_caller]
fn values<const N: usize>(line: &str, word: &str, names: [&str; N]) -> [String; N] {
    let rest = line.strip_prefix(word).unwrap_or_else(|| panic!("`{line}` is no {word}"));
    let pairs: Vec<&str> = rest.split_whitespace().collect();
    assert_eq!(pairs.len(), N, "{line}");
    let mut pairs = pairs.into_iter();
    names.map(|name| {
        let (found, value) = pairs.next().and_then(|pair| pair.split_once('=')).expect("a pair");
        assert_eq!(found, name, "{line}");
        value.to_owned()
    })
}

#[track_caller]
fn assert_seconds(value: &str) {
    let number = value.strip_suffix('s').unwrap_or_else(|| panic!("{value} is not in seconds"));
    assert_eq!(number.split_once('.').map(|(_, places)| places.len()), Some(2), "{value}");
    assert!(number.parse::<f64>().is_ok(), "{value}");
}

#[test]
fn a_hit_replays_both_streams_byte_for_byte() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let script = r"printf 'out\000\377\r\n'; printf 'err\377' >&2";
    let first = shop.run(&daemon, &[], script);
    assert_eq!((first.code, shop.runs()), (Some(0), 1));
    assert_eq!((&first.stdout[..], &first.stderr[..]), (&b"out\0\xff\r\n"[..], &b"err\xff"[..]));
    for _ in 0..2 {
        assert_eq!(shop.run(&daemon, &[], script), first);
    }
    assert_eq!(shop.runs(), 1, "it ran once");
}

#[test]
fn a_hit_puts_files_back_with_content_and_mode() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let script = "mkdir -p deep/er; printf '\\000\\377' > plain; printf '#!' > deep/er/tool; \
                  : > empty; chmod 640 plain; chmod 755 deep/er/tool; chmod 400 empty";
    let flags = ["--out", "plain", "--out", "deep/er/tool", "--out", "empty"];
    let check = || {
        assert_eq!(shop.read("plain"), b"\0\xff");
        assert_eq!(shop.read("deep/er/tool"), b"#!");
        assert_eq!(shop.read("empty"), b"");
        let modes = ["plain", "deep/er/tool", "empty"].map(|name| shop.mode(name));
        assert_eq!(modes, [0o640, 0o755, 0o400]);
    };
    assert_eq!(shop.run(&daemon, &flags, script).code, Some(0));
    check();
    shop.write("plain", "changed");
    std::fs::remove_dir_all(shop.path("deep")).unwrap();
    std::fs::remove_file(shop.path("empty")).unwrap();
    let again = shop.run(&daemon, &flags, script);
    assert_eq!((again.code, again.errors(), shop.runs()), (Some(0), "", 1));
    check();
    let left = std::fs::read_dir(shop.folder.path()).unwrap().count();
    assert_eq!(left, 4, "no temporary file is left: plain, deep, empty and the count of runs");
}

#[test]
fn verbose_ends_with_one_line_on_hit_or_miss() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let flags = ["-v"];
    let miss = shop.run(&daemon, &flags, "echo err >&2");
    let line = assert_last_line(&miss, "memo: MISS ");
    let names = ["key", "reason", "took", "store"];
    let [key, reason, took, store] = values(&line, "memo: MISS", names);
    assert_eq!((key.len(), reason.as_str(), store.as_str()), (64, "never_seen", "POPULATED"));
    assert_seconds(&took);
    let hit = shop.run(&daemon, &flags, "echo err >&2");
    let line = assert_last_line(&hit, "memo: HIT ");
    let [same, saved] = values(&line, "memo: HIT", ["key", "saved"]);
    assert_eq!(same, key);
    assert_seconds(&saved);
    assert_eq!(hit.errors().lines().count(), 2, "the command's line and ours");
    assert_eq!(run(daemon.memo().args(["show", &key])).code, Some(0));
    run(daemon.memo().args(["rm", &key]));
    let line = assert_last_line(&shop.run(&daemon, &flags, "echo err >&2"), "memo: MISS ");
    assert!(line.contains(" reason=invalidated "), "{line}");
}

#[test]
fn arguments_files_and_variables_count() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    shop.write("input", "one");
    let flags = ["--in", "input", "--env", "LEVEL"];
    let run_with = |level: Option<&str>, flags: &[&str], script: &str| {
        let before = shop.runs();
        let mut command = shop.command(daemon.memo(), flags, script);
        match level {
            Some(level) => command.env("LEVEL", level),
            None => command.env_remove("LEVEL"),
        };
        assert_eq!(run(&mut command).code, Some(0));
        shop.runs() > before
    };
    let same = "cat input; echo $LEVEL";
    assert!(run_with(None, &flags, same));
    assert!(!run_with(None, &flags, same));
    assert!(run_with(None, &flags, "cat  input; echo $LEVEL"), "another argument");
    assert!(run_with(Some(""), &flags, same), "empty is not unset");
    assert!(run_with(Some("3"), &flags, same), "another value");
    assert!(!run_with(Some(""), &flags, same));
    assert!(run_with(None, &["--in", "input"], same), "another signature");
    assert!(run_with(None, &[&flags[..], &["--task", "other"]].concat(), same), "another task");
    assert!(run_with(None, &[&flags[..], &["--project", "p"]].concat(), same), "another project");
    shop.write("input", "two");
    assert!(run_with(None, &flags, same), "another content");
    shop.write("input", "one");
    assert!(!run_with(None, &flags, same), "the first content again");
    shop.write("other", "one");
    assert!(run_with(None, &["--in", "other", "--env", "LEVEL"], same), "under another name");
    assert!(!run_with(None, &[&flags[..], &["--in", "input"]].concat(), same), "named twice");
}

#[test]
fn what_is_not_named_does_not_count() {
    let (daemon, shop, other) = (Daemon::new(), Shop::new(), Shop::new());
    shop.run(&daemon, &[], "cat input; echo $LEVEL");
    shop.write("input", "not named");
    let mut command = shop.command(daemon.memo(), &[], "cat input; echo $LEVEL");
    shop.run(&daemon, &[], "cat input || true");
    let before = shop.runs();
    shop.run(&daemon, &[], "cat input || true");
    assert_eq!(shop.runs(), before, "neither a file that is not named");
    run(command.env("LEVEL", "3"));
    let mut level = shop.command(daemon.memo(), &[], "cat input || true");
    run(level.env("LEVEL", "4"));
    other.run(&daemon, &[], "cat input || true");
    assert_eq!(other.runs(), 0, "nor a variable, nor the directory");
}

#[test]
fn s20_a_command_that_fails_is_passed_on_and_not_stored() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    for (number, (script, code)) in [
        ("echo no >&2; exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ]
    .into_iter()
    .enumerate()
    {
        for again in 1..=2 {
            let ran = shop.run(&daemon, &[], script);
            assert_eq!((ran.code, shop.runs()), (Some(code), 2 * number + again), "{script}");
        }
    }
    assert_eq!(daemon.connect().stats().entries, 0);
}

#[test]
fn a_command_that_cannot_be_started_has_a_shells_exit_code() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    shop.write("text", "no program");
    let code = |program: &str| {
        let mut memo = daemon.memo();
        memo.current_dir(shop.folder.path()).args(["run", "--cache-version", "1", "--", program]);
        let ran = run(&mut memo);
        assert!(ran.errors().contains(program), "{ran:?}");
        ran.code
    };
    assert_eq!(code("no-such-program-anywhere"), Some(127));
    assert_eq!(code("./none"), Some(127));
    assert_eq!(code("./text"), Some(126));
}

/// Starts `memo run` and waits for the first line of its output.
fn started(mut command: Command) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "output passes through while the command runs");
    (child, reader)
}

#[test]
fn signals_reach_the_command_and_are_waited_for() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    for (signal, name) in
        [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGHUP, "HUP")]
    {
        // Ends by itself after a minute, so that a signal that is lost fails the test.
        let script = format!(
            "trap 'echo got {name}; exit 7' {name}; echo ready; \
             for second in $(seq 60); do for i in $(seq 50); do sleep 0.02; done; done"
        );
        let (child, mut rest) = started(shop.command(daemon.memo(), &[], &script));
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let mut text = String::new();
        rest.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("got {name}\n"));
        assert_eq!(output(child).status.code(), Some(7));
    }
    let (child, _rest) = started(shop.command(daemon.memo(), &[], "echo ready; exec sleep 60"));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(output(child).status.code(), Some(143), "one that does not catch it ends by it");
    assert_eq!(daemon.connect().stats().entries, 0);
}

#[test]
fn standard_input_reaches_the_command() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let feed = |content: &[u8]| {
        let mut command = shop.command(daemon.memo(), &[], "cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // On a hit nobody reads it.
        let _ = child.stdin.take().unwrap().write_all(content);
        Ran::from(output(child)).stdout
    };
    assert_eq!(feed(b"fed \0\xff"), b"fed \0\xff");
    assert_eq!(feed(b"other"), b"fed \0\xff", "it does not count");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_and_nothing_is_stored() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let (child, rest) =
        started(shop.command(daemon.memo(), &[], "echo ready; exec head -c 2000000000 /dev/zero"));
    drop(rest);
    assert_eq!(output(child).status.code(), Some(128 + 13), "by SIGPIPE, as without us");
    assert_eq!(daemon.connect().stats().entries, 0);
}

#[test]
fn large_output_and_files_come_back() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let (text, file) = (Random::new(1).bytes(20 << 20), Random::new(2).bytes(9 << 20));
    shop.write("text", &text);
    shop.write("file", &file);
    let flags = ["--in", "text", "--in", "file", "--out", "copy"];
    for _ in 0..2 {
        let ran = shop.run(&daemon, &flags, "cat text; cat file >&2; cp file copy");
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout == text && ran.stderr == file && shop.read("copy") == file);
        std::fs::remove_file(shop.path("copy")).unwrap();
    }
    assert_eq!(shop.runs(), 1);
}

#[test]
fn a_file_that_was_not_made_is_told_and_nothing_is_stored() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    for run in 1..=2 {
        let ran = shop.run(&daemon, &["--out", "never"], "echo done");
        assert_eq!((ran.code, ran.text(), shop.runs()), (Some(0), "done\n", run));
        assert_eq!(ran.errors().lines().count(), 1, "{ran:?}");
        assert!(ran.errors().starts_with("memo: warning: ") && ran.errors().contains("`never`"));
    }
    let quiet = shop.run(&daemon, &["-q", "--out", "never"], "echo done");
    assert_eq!((quiet.code, quiet.errors()), (Some(0), ""));
    let directory = shop.run(&daemon, &["--out", "sub"], "mkdir -p sub");
    assert!(directory.errors().contains("`sub`"), "{directory:?}");
    assert_eq!(daemon.connect().stats().entries, 0);
}

#[test]
fn an_input_that_changes_meanwhile_is_told_and_nothing_is_stored() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    for script in ["echo more >> input", "rm input", "echo two > new; mv new input"] {
        shop.write("input", "one\n");
        let ran = shop.run(&daemon, &["--in", "input"], script);
        assert_eq!(ran.code, Some(0));
        assert!(ran.errors().starts_with("memo: warning: "), "{script}: {ran:?}");
        assert!(ran.errors().contains("`input`"), "{script}: {ran:?}");
    }
    assert_eq!(daemon.connect().stats().entries, 0);
    shop.write("input", "one\n");
    assert_eq!(shop.run(&daemon, &["--in", "input"], "cat input").errors(), "");
    assert_eq!(daemon.connect().stats().entries, 1);
}

#[test]
fn a_file_that_cannot_be_put_back_makes_the_command_run() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let script = "[ -d made ] || echo content > made";
    shop.run(&daemon, &["--out", "made"], script);
    std::fs::remove_file(shop.path("made")).unwrap();
    std::fs::create_dir(shop.path("made")).unwrap();
    let ran = shop.run(&daemon, &["--out", "made"], script);
    assert_eq!((ran.code, shop.runs()), (Some(0), 2));
    assert!(
        ran.errors().starts_with("memo: warning: ") && ran.errors().contains("`made`"),
        "{ran:?}"
    );
}

#[test]
fn s23_read_only_and_overwrite() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let entries = || daemon.connect().stats().entries;
    let script = "cat runs | wc -l";
    assert_eq!(shop.run(&daemon, &["--read-only"], script).text().trim(), "1");
    assert_eq!(entries(), 0);
    assert_eq!(shop.run(&daemon, &["--overwrite"], script).text().trim(), "2");
    assert_eq!(entries(), 1);
    assert_eq!(shop.run(&daemon, &["--read-only"], script).text().trim(), "2");
    let over = shop.run(&daemon, &["--overwrite", "-v"], script);
    assert_eq!(over.text().trim(), "3");
    let line = assert_last_line(&over, "memo: SKIPPED ");
    let [_, reason, _, store] = values(&line, "memo: SKIPPED", ["key", "reason", "took", "store"]);
    assert_eq!((reason.as_str(), store.as_str()), ("overwrite", "POPULATED"));
    assert_eq!(shop.run(&daemon, &[], script).text().trim(), "3");
    assert_eq!((entries(), shop.runs()), (1, 3));
    assert_eq!(shop.run(&daemon, &["--overwrite", "--read-only"], script).code, Some(2));
    let failed = shop.run(&daemon, &["--overwrite"], "cat runs | wc -l; exit 1");
    assert_eq!((failed.code, entries()), (Some(1), 1));
}

#[test]
fn s19_max_age() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    let script = "cat runs | wc -l";
    let text = |flags: &[&str]| shop.run(&daemon, flags, script).text().trim().to_owned();
    assert_eq!(text(&["--max-age", "1h"]), "1");
    assert_eq!(text(&["--max-age", "1h"]), "1");
    assert_eq!(text(&["--max-age", "0"]), "1");
    let mut raw = daemon.connect();
    let key = raw.list()[0].key;
    eventually("it is older than a millisecond", || {
        raw.show(key).is_ok_and(|shown| shown.age_ms > 1)
    });
    let expired = shop.run(&daemon, &["--max-age", "1ms", "-v"], script);
    assert_eq!(expired.text().trim(), "2");
    assert!(assert_last_line(&expired, "memo: MISS ").contains(" reason=expired "));
    assert_eq!(text(&["--max-age", "1h"]), "2", "what expired was replaced");
}

#[test]
fn arguments_that_cannot_be_meant_are_refused_before_anything_runs() {
    let (daemon, shop) = (Daemon::new(), Shop::new());
    shop.write("file", "x");
    for (flags, named) in [
        (&["--in", "none"][..], "none"),
        (&["--in", "."], "directory"),
        (&["--in", "file", "--out", "file"], "both"),
        (&["--env", "A=B"], "A=B"),
        (&["--task", ""], "task"),
        (&["--cache-version", " "], "cache_version"),
        (&["--max-age", "soon"], "soon"),
    ] {
        let mut memo = daemon.memo();
        memo.current_dir(shop.folder.path()).arg("run");
        if !flags.contains(&"--cache-version") {
            memo.args(["--cache-version", "1"]);
        }
        let ran = run(memo.args(flags).args(["--", "touch", "ran"]));
        assert_eq!(ran.code, Some(2), "{flags:?}: {ran:?}");
        assert!(ran.errors().contains(named), "{flags:?}: {ran:?}");
        assert!(!shop.path("ran").exists(), "{flags:?}");
    }
}
