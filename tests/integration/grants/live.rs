//! Grants and other settings that change while the daemon runs, and one writer's quarantine.

use std::process::{Child, Stdio};
use std::time::Instant;

use bytes::Bytes;
use harness::{Daemon, PATIENCE, Setup};
use memod_protocol::{Request, Response};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::house::{ALICE, BOB, GRANTS, House, KEEPER, READER, call};

const OUT: &str = "o0:string";

/// Writes another configuration and has the daemon read it; waits until its log says this.
#[track_caller]
fn reload(daemon: &mut Daemon, config: &str, until: &str) -> String {
    let before = daemon.log().len();
    std::fs::write(daemon.folder().join("memod.toml"), config).unwrap();
    daemon.signal(Signal::SIGHUP);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = daemon.log();
        let new = log.get(before..).unwrap_or_default();
        if new.contains(until) {
            return new.to_owned();
        }
        assert!(Instant::now() < deadline, "`{until}` is not in: {new}");
        // Each round waits for an answer of the daemon.
        assert!(daemon.connect().ping());
    }
}

fn setting(daemon: &Daemon, name: &str) -> (String, String) {
    let reply = daemon.connect().ask(Request::Status, Bytes::new());
    let Response::Status(status) = reply.response else { panic!("a status was due") };
    let (_, value, source) = status.settings.iter().find(|row| row.0 == name).unwrap();
    (value.clone(), source.rsplit('/').next().unwrap().to_owned())
}

#[test]
fn grants_change_at_once_for_who_is_connected_and_who_waits() {
    let Some(mut house) = House::new(GRANTS) else { return };
    house.stores(ALICE, "alpha", "hers");
    house.ends(1, BOB, "alpha", &call("lookup", "hers", OUT));
    let swapped = GRANTS.replace("20001", "x").replace("20002", "20001").replace('x', "20002");
    let swapped = swapped.replace("ma20002", "max");
    reload(&mut house.daemon, &swapped, "has been read again");
    house.ends(0, BOB, "alpha", &call("lookup", "hers", OUT));
    house.ends(1, ALICE, "alpha", &call("lookup", "hers", OUT));
    house.is_forbidden(ALICE, "alpha", &call("put", "hers", "o0:string=x"));
}

/// A `memo` that somebody started, whose end is waited for.
fn waits(house: &House, uid: u32, arguments: &[&str]) -> Child {
    let before = house.daemon.connect().stats().waiters;
    let mut command = house.command(uid, "alpha", arguments);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while house.daemon.connect().stats().waiters == before {
        assert!(Instant::now() < deadline, "user {uid} does not wait");
    }
    child
}

fn ended(child: Child) -> (Option<i32>, Value) {
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), serde_json::from_slice(&ended.stdout).expect("an answer"))
}

#[test]
fn who_waits_and_loses_its_right_is_told_so_and_not_when_there_is_an_entry() {
    let Some(mut house) = House::new(GRANTS) else { return };
    let of =
        |verb: &'static str| [&["lease"], &call(verb, "t", OUT)[..], &["--owner", "a"]].concat();
    let acquire = [&of("acquire")[..], &["--heartbeat", "10s"]].concat();
    house.ends(0, ALICE, "alpha", &acquire);
    let wait = [&call("lookup", "t", OUT)[..], &["--wait", "10m"]].concat();
    let (reader, keeper) = (waits(&house, READER, &wait), waits(&house, KEEPER, &wait));
    let closed = GRANTS.replace("groups = [30000]", "groups = [30001]");
    reload(&mut house.daemon, &closed, "has been read again");
    // At once: nothing has been stored.
    let (code, answer) = ended(reader);
    assert_eq!((code, &answer["reason"]), (Some(1), &"forbidden".into()), "{answer}");
    assert_eq!(house.daemon.connect().stats().waiters, 1, "the other goes on to wait");
    house.stores(ALICE, "alpha", "t");
    let (code, answer) = ended(keeper);
    assert_eq!((code, &answer["status"]), (Some(0), &"HIT".into()), "{answer}");
}

#[test]
fn who_loses_its_right_can_still_give_back_what_it_holds() {
    let Some(mut house) = House::new(GRANTS) else { return };
    let of =
        |verb: &'static str| [&["lease"], &call(verb, "t", OUT)[..], &["--owner", "a"]].concat();
    let acquire = [&of("acquire")[..], &["--heartbeat", "10s"]].concat();
    house.ends(0, ALICE, "alpha", &acquire);
    let wait = [&call("lookup", "t", OUT)[..], &["--wait", "10m"]].concat();
    let reader = waits(&house, READER, &wait);
    reload(&mut house.daemon, &GRANTS.replace("[20001]", "[20009]"), "has been read again");
    house.is_forbidden(ALICE, "alpha", &acquire);
    house.is_forbidden(ALICE, "alpha", &of("release"));
    let (code, answer) = ended(reader);
    assert_eq!((code, &answer["status"]), (Some(1), &"MISS".into()), "{answer}");
    assert_eq!(house.daemon.connect().stats().leases, 0);
}

#[test]
fn a_glob_that_matches_nothing_is_a_warning() {
    let Some(mut house) = House::new(GRANTS) else { return };
    house.stores(ALICE, "alpha", "hers");
    let log = reload(&mut house.daemon, GRANTS, "\"nothing/here\" matches no scope");
    assert!(!log.contains("\"alpha/*\" matches"), "{log}");
    assert!(log.contains("\"beta/*\" matches no scope"), "{log}");
}

#[test]
fn what_can_change_does_and_what_cannot_is_told() {
    let mut daemon = Setup::new().config("max_age = \"7d\"\nhot_bytes = \"8 MiB\"\n").start();
    assert_eq!(setting(&daemon, "hot_bytes"), ("8388608".to_owned(), "memod.toml:2".to_owned()));
    let config = "hot_bytes = \"9 MiB\"\n\nmax_age = \"1h\"\nlog = \"debug\"\n\
        store_bytes_max = \"50 MB\"\nscope_bytes_max = \"2 MB\"\n";
    let log = reload(&mut daemon, config, "has been read again");
    let told = "hot_bytes stays \"8388608\" until the daemon is started again";
    assert!(log.contains(told), "{log}");
    assert_eq!(setting(&daemon, "max_age"), ("1h".to_owned(), "memod.toml:3".to_owned()));
    assert_eq!(setting(&daemon, "log"), ("debug".to_owned(), "memod.toml:4".to_owned()));
    assert_eq!(setting(&daemon, "hot_bytes"), ("8388608".to_owned(), "memod.toml:2".to_owned()));
    let Response::Budgets(report) = daemon.connect().ask(Request::Budgets, Bytes::new()).response
    else {
        panic!("budgets were due")
    };
    assert_eq!(report.budgets[0].limit_bytes, Some(50_000_000));
    assert!(daemon.log().contains("connected"), "it logs what `debug` says");
    assert!(daemon.stop().success());
}

#[test]
fn a_smaller_budget_makes_room_at_once() {
    let mut daemon = Setup::new().config("store_bytes_max = \"100 MB\"\n").start();
    let mut raw = daemon.connect();
    for number in 0..20_u64 {
        let content = crate::semantics_lookup::noise(number, 100_000);
        let one = harness::call(&format!("t{number}")).output("o0", "bytes");
        raw.put(one.put(&[("o0", &content)]));
    }
    assert_eq!(raw.stats().entries, 20);
    reload(&mut daemon, "store_bytes_max = \"1 MB\"\n", "has been read again");
    let deadline = Instant::now() + PATIENCE;
    while raw.stats().entries > 8 {
        assert!(Instant::now() < deadline, "{:?}", raw.stats());
    }
}

#[test]
fn a_broken_file_changes_nothing_and_says_so() {
    let Some(mut house) = House::new(GRANTS) else { return };
    house.stores(ALICE, "alpha", "hers");
    let before = setting(&house.daemon, "grants");
    for (broken, said) in [
        ("[[grants]]\neveryone = true\nrights = [\"raed\"]\n", "`raed` is no right"),
        ("max_age = \"1h\"\n[[grants]]\nevery1 = true\n", "did you mean `everyone`?"),
        ("max_age = = 1\n", "memod.toml:1"),
    ] {
        let log = reload(&mut house.daemon, broken, "nothing has changed");
        assert!(log.contains(said), "`{said}` is not in: {log}");
        assert_eq!(setting(&house.daemon, "grants"), before);
        assert_eq!(setting(&house.daemon, "max_age").0, "0s");
        house.ends(1, BOB, "alpha", &call("lookup", "hers", OUT));
    }
    // A file that is gone does not give everybody everything.
    let file = house.daemon.folder().join("memod.toml");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    house.daemon.signal(Signal::SIGHUP);
    let deadline = Instant::now() + PATIENCE;
    while !house.daemon.log().contains("cannot read the configuration") {
        assert!(Instant::now() < deadline && house.daemon.connect().ping());
    }
    house.ends(1, BOB, "alpha", &call("lookup", "hers", OUT));
    assert_eq!(setting(&house.daemon, "grants"), before);
}

#[test]
fn what_a_quarantined_user_wrote_is_not_served_until_it_is_let_out() {
    let Some(mut house) = House::new(GRANTS) else { return };
    let hers = house.stores(ALICE, "alpha", "hers");
    let other = house.stores(KEEPER, "alpha", "other");
    let apart = format!("quarantined_users = [20001]\n{GRANTS}");
    reload(&mut house.daemon, &apart, "has been read again");
    let miss = house.json(1, READER, "alpha", &call("lookup", "hers", OUT));
    assert_eq!(miss["reason"], "forbidden");
    assert!(miss["detail"].to_string().contains("user 20001, is quarantined"), "{miss}");
    // Who administers everything may look at it, and sees what it is.
    let key = miss["key"].as_str().unwrap();
    assert_eq!(house.json(0, 0, "alpha", &["show", key])["quarantined"], true);
    house.ends(0, 0, "alpha", &["cat", key, "o0"]);
    // So does who administers the scope.
    assert_eq!(house.json(0, KEEPER, "alpha", &["show", key])["quarantined"], true);
    assert!(house.json(0, KEEPER, "alpha", &["show", &other]).get("quarantined").is_none());
    // And not who else is quarantined.
    let settings = |uid| house.json(0, uid, "alpha", &["status"])["settings"].clone();
    assert!(settings(KEEPER).get("quarantined_users").is_none(), "{}", settings(KEEPER));
    assert_eq!(settings(0)["quarantined_users"]["value"], "20001");
    // An export by who may not look into it goes on without it.
    let ran = house.ends(0, READER, "alpha", &["export", "-"]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains(&hers) && said.contains("`hers`"), "{said}");
    assert!(said.contains(r#""entries":1,"#) && said.contains(r#""left_out":1,"#), "{said}");
    house.ends(0, READER, "alpha", &call("lookup", "other", OUT));
    let refused = house.ends(4, READER, "alpha", &["cat", &hers, "o0"]).json_error();
    assert!(refused["message"].to_string().contains("quarantined"), "{refused}");
    house.ends(0, READER, "alpha", &["cat", &other, "o0"]);
    // Those who look into it can.
    assert_eq!(house.ends(0, KEEPER, "alpha", &["cat", &hers, "o0"]).text(), "secret");
    let refused = house.ends(4, ALICE, "alpha", &call("put", "new", "o0:string=x")).json_error();
    assert!(refused["message"].to_string().contains("quarantined"), "{refused}");
    reload(&mut house.daemon, GRANTS, "has been read again");
    house.ends(0, READER, "alpha", &call("lookup", "hers", OUT));
    // What another computes meanwhile takes its place.
    reload(&mut house.daemon, &apart, "has been read again");
    let put = house.json(0, KEEPER, "alpha", &call("put", "hers", "o0:string=again"));
    assert_eq!(put["status"], "POPULATED");
    let hit = house.json(0, READER, "alpha", &call("lookup", "hers", OUT));
    assert_eq!(hit["provenance"]["writer_uid"], KEEPER);
    let removed = house.json(1, KEEPER, "alpha", &["rm", "--writer", "20001", "--yes"]);
    assert_eq!(removed["matched"], 0, "nothing of hers is left");
}
