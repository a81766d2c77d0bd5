//! Damage as a user meets it: `memo verify`, and stores that are set aside.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{CallBuilder, Daemon, Raw, Setup, call, eventually};
use memod_protocol::{PutOutcome, Request, Response};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::memo::{ends, json_of, memo};
use crate::semantics_lookup::{damage, noise};

fn one(seed: u64) -> CallBuilder {
    call(&format!("task{seed}")).bare().output("o0", "bytes")
}

/// A daemon with three entries, the content of one of which is damaged on the disk.
fn damaged() -> Daemon {
    let mut daemon = Daemon::new();
    let mut raw = daemon.connect();
    for seed in 1..=3 {
        let content = noise(seed, 3000);
        assert_eq!(raw.put(one(seed).put(&[("o0", &content)])), PutOutcome::Populated);
    }
    drop(raw);
    assert!(daemon.stop().success());
    assert!(damage(&daemon.data(), &noise(2, 3000)) > 0, "it stands in the store's files");
    daemon.start().expect("it starts with a damaged blob");
    daemon
}

#[test]
fn verify_finds_what_is_bad_and_repair_keeps_the_rest() {
    let daemon = damaged();
    let bad = one(2).0.key().unwrap().to_string();
    for _ in 0..2 {
        let ran = memo(&daemon, &["--format", "json", "verify"]);
        assert_eq!(ran.code, Some(5), "{ran:?}");
        assert!(ran.errors().contains("memo verify --repair"), "{ran:?}");
        let told = ran.json();
        assert_eq!((&told["entries"], &told["problems"]), (&3.into(), &1.into()), "{told}");
        assert_eq!(told["buried"], 0);
        assert_eq!(told["named"][0]["key"], Value::from(bad.clone()));
    }
    let told = json_of(&daemon, 0, &["verify", "--repair"]);
    assert_eq!((&told["problems"], &told["buried"]), (&1.into(), &1.into()), "{told}");
    let told = json_of(&daemon, 0, &["verify"]);
    assert_eq!((&told["entries"], &told["problems"]), (&2.into(), &0.into()), "{told}");
    let mut raw = daemon.connect();
    for seed in [1, 3] {
        let (_, contents) = raw.lookup(&one(seed)).expect("it is whole");
        assert!(contents[0] == noise(seed, 3000));
    }
    assert!(raw.lookup(&one(2)).is_err(), "it is a miss");
}

#[test]
fn an_export_leaves_out_what_is_damaged_and_says_so() {
    let daemon = damaged();
    let archive = daemon.folder().join("archive").display().to_string();
    let ran = ends(&daemon, 0, &["export", &archive]);
    assert!(ran.errors().contains("is damaged"), "{ran:?}");
    assert!(ran.text().starts_with("2 entries exported"), "{ran:?}");
    let to = Daemon::new();
    assert_eq!(json_of(&to, 0, &["import", &archive])["imported"], 2);
}

/// Damages these bytes in the listing of a store; says in how many tables they were.
fn flip_in_listing(data: &Path, needle: &[u8]) -> usize {
    let mut damaged = 0;
    for entry in fs::read_dir(data.join("rocksdb")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|of| of != "sst") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        // Where the listing stands, two bytes say how long a text is.
        let has = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part);
        if has(b"\0\x06listed").is_none() {
            continue;
        }
        if let Some(at) = has(needle) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    damaged
}

/// A daemon with 20 entries, whose listing is damaged on the disk; and their calls.
fn with_damaged_listing() -> (Daemon, impl Fn(u64) -> CallBuilder) {
    let numbered = |number: u64| {
        let value = memod_protocol::Literal::Integer(i64::try_from(number).unwrap());
        call("listed").bare().input("number", "integer", value).output("o0", "bytes")
    };
    let mut daemon = Daemon::new();
    let mut raw = daemon.connect();
    for number in 0..20 {
        assert_eq!(raw.put(numbered(number).put(&[("o0", b"x")])), PutOutcome::Populated);
    }
    drop(raw);
    assert!(daemon.stop().success());
    let (_, digest) = numbered(7).0.identity().unwrap().inputs.remove(0);
    assert_eq!(flip_in_listing(&daemon.data(), digest.as_bytes()), 1, "it stands in the listing");
    daemon.start().expect("it starts with a damaged listing");
    (daemon, numbered)
}

/// A damaged part of the listing hides no entry and costs none.
#[test]
fn a_damaged_listing_is_told_and_everything_is_served_and_listed() {
    let (daemon, numbered) = with_damaged_listing();
    let listed = ends(&daemon, 0, &["ls", "--format", "json"]);
    assert_eq!(listed.text().matches("\"key\"").count(), 20, "{listed:?}");
    assert_exports(&daemon, "before", 20);
    let ran = ends(&daemon, 5, &["verify"]);
    assert!(ran.text().contains("rows of tasks cannot be read"), "{ran:?}");
    assert!(ran.errors().contains("--repair` writes them anew"), "{ran:?}");
    let ran = ends(&daemon, 0, &["verify", "--repair"]);
    // If a compaction was there first, the daemon starts itself anew to do it.
    assert!(ran.text().contains("written anew of what is whole"), "{ran:?}");
    eventually("nothing is damaged", || memo(&daemon, &["verify"]).code == Some(0));
    ends(&daemon, 0, &["gc"]);
    let mut raw = daemon.connect();
    assert_eq!(raw.put(numbered(20).put(&[("o0", b"x")])), PutOutcome::Populated);
    assert_exports(&daemon, "behind", 21);
    assert!((0..21).all(|number| raw.lookup(&numbered(number)).is_ok()));
}

fn assert_exports(daemon: &Daemon, name: &str, entries: u64) {
    let archive = daemon.folder().join(name).display().to_string();
    let exported = ends(daemon, 0, &["export", &archive]);
    assert!(exported.text().starts_with(&format!("{entries} entries exported")), "{exported:?}");
}

/// A compaction that meets damage ends changes. The daemon starts itself anew, and mends it.
#[test]
fn a_daemon_whose_store_met_damage_mends_it_by_itself() {
    let (mut daemon, numbered) = with_damaged_listing();
    drop(memo(&daemon, &["gc"]));
    let mut refused = 0;
    eventually("it takes changes, and has been started anew", || {
        let Ok(mut raw) = Raw::try_greeted(&daemon.socket()) else { return false };
        let (put, payload) = numbered(20).put(&[("o0", b"x")]);
        let Ok(answer) = raw.try_ask(Request::Put(Box::new(put)), &payload) else { return false };
        let is_stored = matches!(answer.response, Response::Put(_));
        refused += u32::from(!is_stored);
        is_stored && daemon.log().contains("starting anew")
    });
    assert!(refused > 0, "a compaction had met the damage");
    let mut raw = daemon.connect();
    assert!((0..21).all(|number| raw.lookup(&numbered(number)).is_ok()));
    drop(raw);
    assert_exports(&daemon, "archive", 21);
    ends(&daemon, 0, &["gc"]);
    ends(&daemon, 0, &["verify"]);
    assert!(aside(&daemon.data()).is_empty());
    assert!(daemon.stop().success());
}

/// Nobody has to store anything for it.
#[test]
fn a_collection_that_met_damage_has_the_daemon_mend_it() {
    let (daemon, numbered) = with_damaged_listing();
    let ran = memo(&daemon, &["gc"]);
    // If the database has compacted it by itself before, the daemon may be about to leave.
    assert!(ran.code != Some(0), "{ran:?}");
    eventually("it has been mended", || {
        daemon.log().contains("has met damage, which is mended when it is opened again")
            && memo(&daemon, &["verify"]).code == Some(0)
    });
    ends(&daemon, 0, &["gc"]);
    let mut raw = daemon.connect();
    assert!((0..20).all(|number| raw.lookup(&numbered(number)).is_ok()));
}

#[test]
fn a_collection_that_met_damage_says_how_it_is_mended() {
    let (daemon, _) = with_damaged_listing();
    let ran = memo(&daemon, &["gc"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.errors().contains("memo verify --repair"), "{ran:?}");
}

/// A signal is not lost while the daemon becomes another one.
#[test]
fn a_daemon_that_is_ended_while_it_starts_anew_ends_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut daemon, _) = with_damaged_listing();
        drop(memo(&daemon, &["gc"]));
        eventually("it leaves", || daemon.log().contains("opened again: stopping"));
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    }
}

/// The folders into which stores have been moved.
fn aside(data: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_string_lossy().contains("damaged-")).collect()
}

/// The list of files of the database in a data directory.
fn list_of_files(data: &Path) -> PathBuf {
    let name = fs::read_to_string(data.join("rocksdb/CURRENT")).unwrap();
    data.join("rocksdb").join(name.trim())
}

/// The files of rows of the database in a data directory.
fn tables(data: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(data.join("rocksdb")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|of| of == "sst")).collect()
}

/// Each of its files in turn, cut short: what the others have is served, and it is told what is
/// lost.
#[test]
fn a_store_that_lacks_the_end_of_a_file_is_repaired_if_that_is_wanted() {
    let mut daemon = Setup::new().argument("--on-damage").argument("repair").start();
    let stored = call("one");
    assert_eq!(daemon.connect().put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    assert!(daemon.stop().success());
    let (mut repaired, mut served) = (0, 0);
    for _ in 0..10 {
        for table in tables(&daemon.data()) {
            let name = table.file_name().unwrap().to_str().unwrap().to_owned();
            let Ok(bytes) = fs::read(&table) else { continue };
            fs::write(&table, &bytes[..bytes.len() - 20]).unwrap();
            daemon.start().expect("a cache must come up");
            assert!(!table.exists());
            let log = daemon.log();
            assert!(log.contains("WAS DAMAGED") && log.contains(&name), "{log}");
            repaired += 1;
            served += usize::from(daemon.connect().lookup(&stored).is_ok());
            daemon.connect().put(stored.put(&[("o0", b"x")]));
            assert!(daemon.connect().lookup(&stored).is_ok());
            assert!(daemon.stop().success());
        }
        if repaired >= 8 {
            break;
        }
    }
    assert!(repaired >= 8 && served >= 3 && served < repaired, "{served} of {repaired}");
}

#[test]
fn a_store_that_cannot_be_opened_is_set_aside_if_that_is_wanted() {
    for setup in [
        Setup::new().config("on_damage = \"set_aside\"\n"),
        Setup::new().argument("--on-damage").argument("set_aside"),
    ] {
        let mut daemon = setup.start();
        let stored = call("one");
        assert_eq!(daemon.connect().put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
        assert!(daemon.stop().success());
        fs::write(list_of_files(&daemon.data()), "nonsense").unwrap();
        daemon.start().expect("a cache must come up");
        assert!(daemon.connect().lookup(&stored).is_err());
        assert_eq!(daemon.connect().put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
        let moved = aside(&daemon.data());
        assert_eq!(moved.len(), 1);
        assert_eq!(fs::read(list_of_files(&moved[0])).unwrap(), b"nonsense");
        let (log, data) = (daemon.log(), daemon.data());
        for part in ["WAS DAMAGED", &data.display().to_string(), &moved[0].display().to_string()] {
            assert!(log.contains(part), "{part} is not in {log}");
        }
        let told = json_of(&daemon, 0, &["doctor"]);
        assert!(told.to_string().contains("set aside in"), "{told}");
        assert!(daemon.stop().success());
        daemon.start().expect("it starts again");
        assert!(daemon.connect().lookup(&stored).is_ok());
        assert_eq!(aside(&daemon.data()).len(), 1);
    }
}
