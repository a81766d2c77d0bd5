//! `memo`: the commands that look into the cache by hand, as scripts rely on them.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use harness::{Daemon, Ran, Random, call, output, run};
use memod_protocol::{Digest, PutOutcome};
use serde_json::{Value, json};

use crate::memo::{assert_fields, ends, json_of, memo, square, stored, with_input};

#[test]
fn s14_lookup_in_json_tells_a_miss_with_its_reason() {
    let daemon = Daemon::new();
    let miss = json_of(&daemon, 1, &square("lookup", &["--output", "o0:integer"]));
    assert_fields(&miss, &["status", "key", "reason"]);
    assert_eq!((&miss["status"], &miss["reason"]), (&json!("MISS"), &json!("never_seen")));
    let key = stored(&daemon);
    assert_eq!(miss["key"], json!(key));
    ends(&daemon, 0, &["rm", &key]);
    let miss = json_of(&daemon, 1, &square("lookup", &["--output", "o0:integer"]));
    assert_fields(&miss, &["status", "key", "reason", "at", "by_uid"]);
    assert_eq!(miss["reason"], json!("invalidated"));
    assert_eq!(miss["by_uid"], json!(nix::unistd::getuid().as_raw()));
    let at = miss["at"].as_str().and_then(|at| at.strip_suffix('Z')?.split_once('.'));
    assert_eq!(at.map(|(_, decimals)| decimals.len()), Some(3), "{miss}");
}

#[test]
fn s15_lookup_in_json_tells_a_hit_with_outputs_and_provenance() {
    let daemon = Daemon::new();
    let outputs = ["--output", "o0:integer=144", "--output", "text:string=twelve squared"];
    let claims = [
        &["--compute-time", "2.5s", "--task-version", "v7"][..],
        &["--execution", "f1", "--node", "n0", "--attempt", "2"],
    ];
    let put = json_of(&daemon, 0, &square("put", &[&outputs[..], &claims.concat()].concat()));
    assert_fields(&put, &["status", "key"]);
    assert_eq!(put["status"], json!("POPULATED"));
    assert_eq!(put["key"].as_str().map(str::len), Some(64));

    let declared = ["--output", "o0:integer", "--output", "text:string"];
    let hit = json_of(&daemon, 0, &square("lookup", &declared));
    assert_fields(&hit, &["status", "key", "age_seconds", "outputs", "provenance"]);
    assert_eq!((&hit["status"], &hit["key"]), (&json!("HIT"), &put["key"]));
    assert!(hit["age_seconds"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)));
    assert_eq!(
        hit["outputs"]["text"],
        json!({
            "type": "string", "bytes": 14, "value": "twelve squared",
            "digest": Digest::of(b"twelve squared").to_string()
        })
    );
    assert_eq!(hit["outputs"]["o0"]["value"], json!(144));
    let of = &hit["provenance"];
    let fields = [
        &["writer_uid", "writer_pid", "program", "host", "created_at", "compute_seconds"][..],
        &["task_version", "execution", "node", "attempt"],
    ];
    assert_fields(of, &fields.concat());
    assert_eq!((&of["program"], &of["compute_seconds"]), (&json!("memo"), &json!(2.5)));
    assert_eq!((&of["task_version"], &of["attempt"]), (&json!("v7"), &json!(2)));
    assert_eq!((&of["execution"], &of["node"]), (&json!("f1"), &json!("n0")));
    assert_eq!(of["writer_uid"], json!(nix::unistd::getuid().as_raw()));
}

#[test]
fn s15_what_is_unknown_is_absent_from_json() {
    let daemon = Daemon::new();
    stored(&daemon);
    let hit = json_of(&daemon, 0, &square("lookup", &["--output", "o0:integer"]));
    assert_fields(
        &hit["provenance"],
        &["writer_uid", "writer_pid", "program", "host", "created_at"],
    );
}

#[test]
fn s15_large_values_are_told_without_their_bytes() {
    let daemon = Daemon::new();
    let path = daemon.folder().join("large");
    let content = Random::new(1).bytes(3 << 20);
    std::fs::write(&path, &content).unwrap();
    let given = format!("o:bytes=@{}", path.display());
    let put = json_of(&daemon, 0, &square("put", &["--output", &given]));
    let hit = json_of(&daemon, 0, &square("lookup", &["--output", "o:bytes"]));
    let digest = Digest::of(&content).to_string();
    assert_eq!(hit["outputs"]["o"], json!({"type": "bytes", "bytes": 3 << 20, "digest": digest}));
    let cat = ends(&daemon, 0, &["cat", put["key"].as_str().unwrap(), "o"]);
    assert!(cat.stdout == content, "cat writes the raw bytes");
}

#[test]
fn s17_a_second_put_says_that_it_exists() {
    let daemon = Daemon::new();
    let key = stored(&daemon);
    let again = json_of(&daemon, 0, &square("put", &["--output", "o0:integer=145"]));
    assert_fields(&again, &["status", "key", "provenance"]);
    assert_eq!((&again["status"], &again["key"]), (&json!("EXISTS"), &json!(key)));
    assert_eq!(again["provenance"]["program"], json!("memo"));
    let value = |daemon: &Daemon| {
        let hit = json_of(daemon, 0, &square("lookup", &["--output", "o0:integer"]));
        hit["outputs"]["o0"]["value"].clone()
    };
    assert_eq!(value(&daemon), json!(144));
    let over = square("put", &["--output", "o0:integer=145", "--overwrite"]);
    assert_eq!(json_of(&daemon, 0, &over)["status"], json!("POPULATED"));
    assert_eq!(value(&daemon), json!(145));
}

#[test]
fn s19_lookup_takes_an_age() {
    let daemon = Daemon::new();
    stored(&daemon);
    let age = |given: &str| {
        square("lookup", &["--output", "o0:integer", "--max-age", given])
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let aged = |code, given| {
        let arguments = age(given);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        json_of(&daemon, code, &arguments)
    };
    assert_eq!(aged(0, "1h")["status"], json!("HIT"));
    assert_eq!(aged(0, "0")["status"], json!("HIT"));
    harness::eventually("the entry is older than a millisecond", || {
        aged(0, "0")["age_seconds"].as_f64().is_some_and(|age| age > 0.001)
    });
    let expired = aged(1, "1ms");
    assert_eq!((&expired["status"], &expired["reason"]), (&json!("MISS"), &json!("expired")));
    assert_fields(&expired, &["status", "key", "reason", "at", "detail"]);
}

#[test]
fn text_is_for_people_and_has_no_padding_in_a_pipe() {
    let daemon = Daemon::new();
    let key = stored(&daemon);
    let hit = ends(&daemon, 0, &square("lookup", &["--output", "o0:integer"]));
    let lines: Vec<&str> = hit.text().lines().collect();
    assert_eq!(lines[..2], ["status\tHIT", &format!("key\t{key}")]);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("output o0\tinteger, ") && line.ends_with(": 144"))
    );
    assert!(hit.stderr.is_empty());
    let miss = ends(&daemon, 1, &square("lookup", &["--output", "o0:string"]));
    assert!(miss.text().contains("status\tMISS\n") && miss.text().contains("reason\tnever_seen\n"));
    let put = ends(&daemon, 0, &square("put", &["--output", "o0:integer=144"]));
    assert_eq!(put.text(), format!("status\tEXISTS\nkey\t{key}\n"));
    let coloured = ends(&daemon, 1, &["--color", "always", "rm", "--task", "none"]);
    let told = "nothing matched: there is no entry of task `none` in project `default`, domain \
                `development`; with --all it is looked in all\n";
    assert_eq!(coloured.text(), told);
}

#[test]
fn key_needs_no_daemon() {
    let daemon = Daemon::new();
    let key = stored(&daemon);
    let folder = tempfile::tempdir().unwrap();
    let alone = |arguments: &[&str]| {
        let nowhere = folder.path().join("none.sock");
        let ran = run(daemon.memo().env("MEMOD_SOCKET", &nowhere).args(arguments));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    };
    let declared = square("key", &["--output", "o0:integer"]);
    assert_eq!(alone(&declared).text(), format!("{key}\n"));
    let told = alone(&[&["--format", "json"][..], &declared].concat()).json();
    assert_fields(&told, &["key", "signature", "inputs"]);
    assert_eq!(told["key"], json!(key));
    assert_fields(&told["inputs"], &["n"]);
    assert_eq!(told["inputs"]["n"].as_str().map(str::len), Some(64));
    let verbose = alone(&[&["-v"][..], &declared].concat());
    assert!(
        verbose.text().contains(&format!("signature\t{}\n", told["signature"].as_str().unwrap()))
    );
}

#[test]
fn scopes_come_from_flags_or_the_environment() {
    let daemon = Daemon::new();
    let looks = |project: Option<&str>, flags: &[&str]| {
        let mut command = daemon.memo();
        if let Some(project) = project {
            command.env("MEMOD_PROJECT", project).env("MEMOD_DOMAIN", "production");
        }
        run(command.args(flags).args(square("lookup", &["--output", "o0:integer"]))).code
    };
    stored(&daemon);
    assert_eq!(looks(None, &[]), Some(0));
    assert_eq!(looks(None, &["--project", "default", "--domain", "development"]), Some(0));
    assert_eq!(looks(Some("p"), &[]), Some(1));
    assert_eq!(looks(Some("p"), &["--project", "default", "--domain", "development"]), Some(0));
    let other = ["--project", "p", "--domain", "production"];
    ends(&daemon, 0, &[&other[..], &square("put", &["--output", "o0:integer=1"])].concat());
    assert_eq!(looks(Some("p"), &[]), Some(0));
}

#[test]
fn show_tells_everything_but_the_bytes() {
    let daemon = Daemon::new();
    let key = stored(&daemon);
    let shown = json_of(&daemon, 0, &["show", &key]);
    let fields = [
        &["key", "project", "domain", "task", "cache_version", "signature", "interface"][..],
        &["inputs", "outputs", "age_seconds", "provenance"],
    ];
    assert_fields(&shown, &fields.concat());
    assert_eq!(
        shown["interface"],
        json!({"inputs": {"n": "integer"}, "outputs": {"o0": "integer"}})
    );
    assert_eq!((&shown["project"], &shown["domain"]), (&json!("default"), &json!("development")));
    assert_fields(&shown["outputs"]["o0"], &["type", "digest", "bytes"]);
    let text = ends(&daemon, 0, &["show", &key]);
    assert!(text.text().contains("cache version\t1.0\n"), "{text:?}");
    let unknown = ends(&daemon, 1, &["show", &"0".repeat(64)]);
    assert!(unknown.errors().contains("no entry has the key 0000"), "{unknown:?}");
    let unknown = ends(&daemon, 1, &["cat", &key, "o1"]);
    assert!(unknown.errors().contains("no output `o1`"), "{unknown:?}");
    ends(&daemon, 2, &["show", "not-a-key"]);
}

#[test]
fn ls_lists_what_is_stored() {
    let daemon = Daemon::new();
    ends(&daemon, 1, &["ls"]);
    assert_eq!(json_of(&daemon, 1, &["ls"]), json!({"entries": []}));
    let key = stored(&daemon);
    let other = ["--project", "p", "put", "--task", "cube", "--cache-version", "2"];
    ends(&daemon, 0, &[&other[..], &["--output", "o:string=x"]].concat());
    let listed = json_of(&daemon, 0, &["ls"]);
    let entries = listed["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    let fields = [
        &["key", "project", "domain", "task", "cache_version", "created_at"][..],
        &["writer_uid", "outputs", "bytes"],
    ];
    assert_fields(&entries[0], &fields.concat());
    let found = |arguments: &[&str]| {
        let ran = memo(&daemon, &[&["ls"][..], arguments].concat());
        (ran.code.unwrap(), ran.text().lines().count())
    };
    assert_eq!(found(&[]), (0, 2));
    assert_eq!(found(&["--limit", "1"]), (0, 1));
    assert_eq!(found(&["--task", "cube"]), (0, 1));
    assert_eq!(found(&["--task", "square", "--cache-version", "1.0"]), (0, 1));
    assert_eq!(found(&["--task", "square", "--cache-version", "2"]), (1, 0));
    assert_eq!(found(&["--project", "p"]), (0, 1));
    assert_eq!(found(&["--writer", &nix::unistd::getuid().to_string()]), (0, 2));
    assert_eq!(found(&["--writer", "12345"]), (1, 0));
    let row = ends(&daemon, 0, &["ls", "--task", "square"]);
    let columns: Vec<&str> = row.text().trim_end().split('\t').collect();
    assert_eq!(columns[..5], [&key, "default", "development", "square", "1.0"]);
}

#[test]
fn ls_pages_through_all_and_ends_with_its_reader() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    for number in 0..1200 {
        let one = call("many").version(&number.to_string());
        assert_eq!(raw.put(one.put(&[("o0", b"x")])), PutOutcome::Populated);
    }
    assert_eq!(ends(&daemon, 0, &["ls"]).text().lines().count(), 1200);
    assert_eq!(ends(&daemon, 0, &["ls", "--limit", "1100"]).text().lines().count(), 1100);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = daemon.memo();
    let child = command.arg("ls").stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let ran = Ran::from(output(child));
    assert_eq!((ran.code, ran.errors()), (Some(0), ""), "a reader that has gone is no failure");
}

#[test]
fn what_others_named_cannot_command_a_terminal() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("\u{1b}[31mred\nline\ttab");
    raw.put(one.put(&[("o0", b"x")]));
    let listed = ends(&daemon, 0, &["ls"]);
    assert_eq!(listed.text().lines().count(), 1, "{listed:?}");
    assert!(!listed.stdout.contains(&0x1b) && listed.text().contains(r"\u{1b}[31mred\nline\ttab"));
    let told = json_of(&daemon, 0, &["ls"]);
    assert_eq!(told["entries"][0]["task"], json!(one.0.task), "JSON has the name as it is");
}

#[test]
fn stats_count_hits_misses_and_time_saved() {
    let daemon = Daemon::new();
    ends(&daemon, 1, &square("lookup", &["--output", "o0:integer"]));
    ends(&daemon, 0, &square("put", &["--output", "o0:integer=144", "--compute-time", "100s"]));
    ends(&daemon, 0, &square("lookup", &["--output", "o0:integer"]));
    let stats = json_of(&daemon, 0, &["stats"]);
    let fields = [
        &["hits", "misses", "puts", "entries", "blobs", "stored_bytes", "logical_bytes"][..],
        &["evicted_entries", "leases", "waiters", "connections", "time_saved_seconds"],
        &["uptime_seconds", "by_task", "by_scope", "by_uid", "misses_by_reason", "eviction"],
    ];
    assert_fields(&stats, &fields.concat());
    for (field, wanted) in [("hits", 1), ("misses", 1), ("puts", 1), ("entries", 1), ("blobs", 1)] {
        assert_eq!(stats[field], json!(wanted), "{field}: {stats}");
    }
    let saved = |of: &Value| of["time_saved_seconds"].as_f64().unwrap();
    assert!((99.0..=100.0).contains(&saved(&stats)), "{stats}");
    let task = &stats["by_task"][0];
    assert_fields(task, &["project", "domain", "task", "hits", "misses", "time_saved_seconds"]);
    assert_eq!(
        (&task["task"], &task["hits"], &task["misses"]),
        (&json!("square"), &json!(1), &json!(1))
    );
    assert!(saved(task) > 99.0);
    let scope = &stats["by_scope"][0];
    assert_fields(scope, &["project", "domain", "hits", "misses", "time_saved_seconds"]);
    let user = &stats["by_uid"][0];
    assert_fields(user, &["uid", "hits", "misses", "time_saved_seconds"]);
    assert!(saved(scope) > 99.0 && saved(user) > 99.0, "{stats}");
    let text = ends(&daemon, 0, &["stats"]);
    for name in ["disk reserve", "eviction", "evicts above", "evicts down to"] {
        let is_its = |line: &str| line.split('\t').next() == Some(name);
        assert!(text.text().lines().any(is_its), "{name} is missing: {text:?}");
    }
    assert!(text.text().contains("hits\t1\n") && text.text().contains("hit rate\t50.0 %\n"));
    let headers: Vec<&str> =
        text.text().split("\n\n").skip(1).filter_map(|table| table.lines().next()).collect();
    let counted = "hits\tmisses\thit rate\ttime saved";
    assert_eq!(
        headers,
        [
            &format!("project\tdomain\ttask\t{counted}"),
            &format!("project\tdomain\t{counted}"),
            &format!("uid\t{counted}"),
            "budget\tof\tentries\tused\tlimit",
        ],
        "each table can be told from the others in a pipe"
    );
}

#[test]
fn status_says_who_and_where() {
    let daemon = Daemon::new();
    let status = json_of(&daemon, 0, &["status"]);
    assert_eq!(status["alive"], json!(true));
    assert_eq!((&status["pid"], &status["protocol"]), (&json!(daemon.pid()), &json!(1)));
    assert_eq!(status["socket"], json!(daemon.socket().display().to_string()));
    assert_eq!(status["data"], json!(daemon.data().display().to_string()));
    let text = ends(&daemon, 0, &["status"]);
    assert!(text.text().starts_with("status\talive\n"), "{text:?}");
    let flag = daemon.socket().display().to_string();
    let by_flag = run(daemon.memo().env_remove("MEMOD_SOCKET").args(["--socket", &flag, "status"]));
    assert_eq!(by_flag.code, Some(0));
}

#[test]
fn help_version_completions_and_manual_pages() {
    let daemon = Daemon::new();
    let help = ends(&daemon, 0, &["--help"]);
    assert!(help.text().contains("Examples:") && help.text().contains("Exit codes:"));
    assert!(ends(&daemon, 0, &["--version"]).text().starts_with("memo "));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ends(&daemon, 0, &["completions", shell]);
        assert!(script.text().contains("cache-version"), "{shell}");
    }
    let bash = ends(&daemon, 0, &["completions", "bash"]);
    let mut check = Command::new("bash");
    assert_eq!(
        with_input(
            {
                check.arg("-n");
                check
            },
            &bash.stdout
        )
        .code,
        Some(0)
    );
    let page = ends(&daemon, 0, &["man"]);
    assert!(page.text().contains(".TH") && page.text().contains("\n.SH DETAILS\n"), "{page:?}");
    assert!(ends(&daemon, 0, &["man", "run"]).text().contains("cache\\-version"));
    ends(&daemon, 2, &["man", "nonsense"]);
    let by_words = ends(&daemon, 0, &["man", "lease", "acquire"]);
    assert_eq!(ends(&daemon, 0, &["man", "lease acquire"]), by_words);
    for command in ["lookup", "why", "rm", "verify", "export", "import", "doctor"] {
        assert!(ends(&daemon, 0, &[command, "--help"]).text().contains("Exit codes: 0"));
    }
    let pages = daemon.folder().join("man");
    ends(&daemon, 0, &["man", "--dir", &pages.display().to_string()]);
    let names: BTreeSet<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let pages = ["memo.1", "memo-run.1", "memo-lookup.1", "memo-rm.1", "memo-status.1"];
    for page in pages.into_iter().chain(["memod.1", "memod.toml.5"]) {
        assert!(names.contains(page), "{page} is missing: {names:?}");
    }
}
