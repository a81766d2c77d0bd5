//! `memo`: exit codes 3 to 5, and errors in both forms.

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Answer, Daemon, Fake, Ran, binary, run};
use memod_protocol::ErrorCode;
use serde_json::json;

use crate::memo::{assert_fields, square};

/// Every command that asks the daemon, with good arguments.
fn asking() -> Vec<Vec<&'static str>> {
    const KEY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    vec![
        square("lookup", &["--output", "o0:integer"]),
        square("put", &["--output", "o0:integer=144"]),
        vec!["show", KEY],
        vec!["cat", KEY, "o0"],
        vec!["ls"],
        vec!["rm", KEY],
        vec!["stats"],
        vec!["status"],
    ]
}

fn at(socket: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(binary("memo"));
    command.env("MEMOD_SOCKET", socket).env("MEMOD_NO_START", "1").stdin(Stdio::null());
    run(command.args(arguments))
}

#[test]
fn exit_code_3_says_that_no_daemon_runs_and_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    for arguments in asking() {
        let ran = at(&socket, &arguments);
        assert_eq!(ran.code, Some(3), "{arguments:?}: {ran:?}");
        assert!(ran.errors().starts_with("memo: error: no daemon"), "{ran:?}");
        assert!(ran.errors().contains(&socket.display().to_string()), "{ran:?}");
        assert!(ran.errors().contains("memo"), "it says how to start one: {ran:?}");
        assert!(ran.stdout.is_empty());
        let ran = at(&socket, &[&["--format", "json"][..], &arguments].concat());
        assert_eq!(ran.code, Some(3), "{arguments:?}: {ran:?}");
        let error = ran.json_error();
        assert_fields(&error, &["code", "message", "hint"]);
        assert_eq!(error["code"], json!("no_daemon"));
    }
}

#[test]
fn exit_codes_4_and_5_tell_what_the_daemon_said() {
    let codes = [
        (ErrorCode::Forbidden, 4, "forbidden"),
        (ErrorCode::OverBudget, 4, "over_budget"),
        (ErrorCode::Internal, 5, "internal"),
        (ErrorCode::Busy, 5, "busy"),
        (ErrorCode::ShuttingDown, 5, "shutting_down"),
    ];
    for (code, exit, name) in codes {
        let fake = Fake::refusing(code);
        for arguments in asking() {
            let ran = at(&fake.socket(), &[&["--format", "json"][..], &arguments].concat());
            assert_eq!(ran.code, Some(exit), "{name}, {arguments:?}: {ran:?}");
            assert_eq!(ran.json_error()["code"], json!(name), "{arguments:?}");
        }
    }
    for fake in [Fake::of_another_version(), Fake::saying("HTTP/1.1 400 Bad Request\r\n\r\n")] {
        for arguments in asking() {
            let ran = at(&fake.socket(), &arguments);
            assert_eq!(ran.code, Some(5), "{arguments:?}: {ran:?}");
            assert!(ran.errors().starts_with("memo: error: "), "{ran:?}");
        }
    }
}

#[test]
fn exit_code_3_also_tells_that_the_daemon_has_ended_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let [archive, other] = ["archive", "other"].map(|name| folder.path().join(name));
    let (path, other) = (archive.to_str().unwrap(), other.to_str().unwrap());
    assert_eq!(at(&Daemon::new().socket(), &["export", path]).code, Some(0));
    let leaving = Fake::answering(|_| Answer::Leave);
    let upkeep = [vec!["verify"], vec!["gc"], vec!["import", path], vec!["export", other]];
    for arguments in asking().into_iter().chain(upkeep) {
        let ran = at(&leaving.socket(), &arguments);
        assert_eq!(ran.code, Some(3), "{arguments:?}: {ran:?}");
        assert!(ran.errors().contains("the daemon has ended in the middle"), "{ran:?}");
    }
    let names: Vec<_> = folder.path().read_dir().unwrap().flatten().collect();
    assert_eq!(names.len(), 1, "nothing was begun: {names:?}");
}

#[test]
fn every_command_names_all_places_where_it_found_no_daemon() {
    let system = "/run/memod/memod.sock";
    if Path::new(system).exists() {
        eprintln!("NOT TESTED: this machine has a daemon of its own");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("memod/memod.sock");
    for arguments in asking() {
        let mut memo = Command::new(binary("memo"));
        memo.env_remove("MEMOD_SOCKET").env("XDG_RUNTIME_DIR", folder.path());
        memo.env("MEMOD_NO_START", "1").stdin(Stdio::null());
        let ran = run(memo.args(["--format", "json"]).args(&arguments));
        assert_eq!(ran.code, Some(3), "{arguments:?}: {ran:?}");
        let none =
            format!("no daemon runs: there is no socket at {} nor at {system}", own.display());
        assert_eq!(ran.json_error()["message"], json!(none), "{arguments:?}");
    }
}
