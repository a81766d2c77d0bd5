//! `memo export`, `memo import` and `memo doctor`: entries on their way from store to store, and
//! what is wrong with a daemon's surroundings.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::Daemon;
use serde_json::{Value, json};

use crate::memo::{ends, json_of, memo, square, stored, with_input};
use crate::semantics_lookup::noise;

/// A daemon with entries of all kinds: in two domains, without outputs, with a small, an empty and
/// a large one.
fn full() -> Daemon {
    let daemon = Daemon::new();
    stored(&daemon);
    let large = daemon.folder().join("large");
    fs::write(&large, noise(1, (5 << 20) + 77)).unwrap();
    let large = format!("a:bytes=@{}", large.display());
    let put = |task, rest: &[&str]| {
        let call = ["put", "--task", task, "--cache-version", "1"];
        ends(&daemon, 0, &[&call[..], rest].concat());
    };
    put("large", &["--output", &large, "--output", "b:string="]);
    put("none", &[]);
    put("elsewhere", &["--domain", "production", "--output", "o:integer=1"]);
    daemon
}

fn path(daemon: &Daemon, name: &str) -> String {
    daemon.folder().join(name).display().to_string()
}

fn counted(imported: u64, existing: u64, damaged: u64) -> Value {
    json!({
        "imported": imported, "existing": existing, "damaged": damaged,
        "evicted": 0, "evicted_again": 0,
    })
}

#[test]
fn what_is_exported_is_imported_with_its_provenance_and_once_only() {
    let (from, to) = (full(), Daemon::new());
    let (archive, again) = (path(&from, "archive"), path(&to, "again"));
    let told = json_of(&from, 0, &["export", &archive]);
    assert_eq!(
        (&told["entries"], &told["outputs"], &told["left_out"]),
        (&4.into(), &4.into(), &0.into())
    );
    assert_eq!(from.connect().stats().hits, 0, "an export is no use of an entry");
    assert_eq!(json_of(&to, 0, &["import", &archive]), counted(4, 0, 0));
    assert_eq!(json_of(&to, 0, &["import", &archive]), counted(0, 4, 0));
    for daemon in [&from, &to] {
        let found = json_of(daemon, 0, &square("lookup", &["--output", "o0:integer"]));
        assert_eq!(found["status"], "HIT");
        assert_eq!(found["outputs"]["o0"]["value"], 144);
    }
    // Who wrote them and when included, the second archive is the first, byte by byte.
    ends(&to, 0, &["export", &again]);
    assert!(fs::read(&archive).unwrap() == fs::read(&again).unwrap());
}

#[test]
fn an_export_selects_and_goes_through_pipes() {
    let (from, to) = (full(), Daemon::new());
    let file = path(&from, "archive");
    for (flags, entries) in [
        (&["--scope"][..], 3),
        (&["--task", "large"], 1),
        (&["--task", "elsewhere"], 0),
        (&["--domain", "production", "--task", "elsewhere"], 1),
    ] {
        let told = json_of(&from, 0, &[&["export", &file][..], flags].concat());
        assert_eq!(told["entries"], entries, "{flags:?}");
    }
    let piped = ends(&from, 0, &["export", "-"]);
    assert!(piped.errors().contains("4 entries exported"), "{piped:?}");
    let mut import = to.memo();
    import.args(["--format", "json", "import", "-"]);
    assert_eq!(with_input(import, &piped.stdout).json(), counted(4, 0, 0));
}

#[test]
fn an_import_that_was_cut_off_goes_on_when_it_is_run_again() {
    let (from, to) = (full(), Daemon::new());
    let (archive, part) = (path(&from, "archive"), path(&from, "part"));
    ends(&from, 0, &["export", &archive]);
    let whole = fs::read(&archive).unwrap();
    fs::write(&part, &whole[..whole.len() - 40]).unwrap();
    let cut = ends(&to, 5, &["import", &part]);
    assert!(cut.errors().contains("ends in the middle"), "{cut:?}");
    assert_eq!(cut.text(), "4 entries imported, 0 were there already\n");
    assert_eq!(json_of(&to, 0, &["import", &archive]), counted(0, 4, 0));
    let wrong = ends(&to, 2, &["import", "/etc/passwd"]);
    assert!(wrong.errors().contains("no archive"), "{wrong:?}");
    ends(&to, 2, &["import", "/nowhere/archive"]);
}

#[test]
fn a_damaged_output_in_an_archive_is_left_out_and_the_rest_is_stored() {
    let (from, to) = (full(), Daemon::new());
    let archive = path(&from, "archive");
    ends(&from, 0, &["export", &archive]);
    let mut bytes = fs::read(&archive).unwrap();
    let large = noise(1, 64);
    let at = bytes.windows(64).position(|part| part == large).unwrap();
    bytes[at] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let ran = memo(&to, &["--format", "json", "import", &archive]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert_eq!(ran.json()["imported"], 3);
    assert_eq!(ran.json()["damaged"], 1);
    ends(
        &to,
        1,
        &[
            "lookup",
            "--task",
            "large",
            "--cache-version",
            "1",
            "--output",
            "a:bytes",
            "--output",
            "b:string",
        ],
    );
}

#[test]
fn an_export_that_fails_leaves_the_file_that_was_there() {
    let (daemon, folder) = (full(), tempfile::tempdir().unwrap());
    let file = folder.path().join("archive");
    let export = |socket: &Path| {
        let mut memo = std::process::Command::new(harness::binary("memo"));
        harness::run(memo.arg("--socket").arg(socket).arg("export").arg(&file))
    };
    assert_eq!(export(&daemon.socket()).code, Some(0));
    let before = fs::read(&file).unwrap();
    assert_eq!(export(Path::new("/nowhere/memod.sock")).code, Some(3));
    assert!(fs::read(&file).unwrap() == before);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let refused = ends(&daemon, 2, &["export", "/proc/memod/archive"]);
    assert!(refused.errors().contains("cannot write"), "{refused:?}");
}

fn verdict(told: &Value, name: &str) -> String {
    let checks = told["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("{name} is not in {told}"))["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn the_doctor_finds_a_healthy_daemon_healthy() {
    let daemon = full();
    let told = json_of(&daemon, 0, &["doctor"]);
    assert_eq!(told["healthy"], true, "{told}");
    for name in ["daemon", "versions", "program", "socket", "socket directory", "data directory"] {
        assert_eq!(verdict(&told, name), "ok", "{told}");
    }
    for check in told["checks"].as_array().unwrap() {
        assert_ne!(check["status"], "fail", "{check}");
        assert_eq!(check["status"] == "ok", check["advice"].is_null(), "{check}");
    }
    let text = ends(&daemon, 0, &["doctor"]);
    assert_eq!(text.text().lines().count(), told["checks"].as_array().unwrap().len());
}

#[test]
fn the_doctor_says_what_to_do() {
    let daemon = full();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let of_socket = daemon.socket().parent().unwrap().to_owned();
    let before = fs::metadata(&of_socket).unwrap().permissions().mode();
    set_mode(&of_socket, 0o777);
    let told = json_of(&daemon, 5, &["doctor"]);
    assert_eq!(
        (&told["healthy"], verdict(&told, "socket directory")),
        (&false.into(), "fail".into())
    );
    assert!(told.to_string().contains("chmod o-w"), "{told}");
    set_mode(&of_socket, before);
    set_mode(&daemon.data(), 0o755);
    let told = json_of(&daemon, 0, &["doctor"]);
    assert_eq!(verdict(&told, "data directory"), "warn");
    fs::write(daemon.data().join("damaged"), "why\n").unwrap();
    let told = json_of(&daemon, 5, &["doctor"]);
    assert_eq!(verdict(&told, "damage"), "fail");
}

#[test]
fn the_doctor_needs_no_daemon() {
    let mut daemon = Daemon::new();
    assert!(daemon.stop().success());
    let told = json_of(&daemon, 5, &["doctor"]);
    assert_eq!(verdict(&told, "daemon"), "fail", "one was named, and does not answer");
}
