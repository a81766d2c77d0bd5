//! Semantics 19: how old an entry may be, by the configuration and by each call.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, Setup, call, eventually};
use memod_protocol::{Claim, Lookup, Miss, MissReason, Put, PutOutcome, Request, Response};

use crate::memo::{ends, json_of, square, stored};

fn aged(raw: &mut Raw, one: &CallBuilder, max_age_ms: Option<u64>) -> Result<Bytes, Miss> {
    let lookup = Lookup { call: one.identity(), max_age_ms };
    let reply = raw.ask(Request::Lookup(lookup), Bytes::new());
    match reply.response {
        Response::Hit(_) => Ok(reply.payload),
        Response::Miss(miss) => Err(miss),
        other => panic!("neither hit nor miss: {other:?}"),
    }
}

fn put(one: &CallBuilder, content: &[u8], max_age_ms: Option<u64>) -> (Put, Bytes) {
    let (put, payload) = one.put(&[("o0", content)]);
    (Put { max_age_ms, ..put }, payload)
}

fn wait_for_age(raw: &mut Raw, one: &CallBuilder, age_ms: u64) {
    let key = one.0.key().unwrap();
    eventually("it is old enough", || raw.show(key).is_ok_and(|shown| shown.age_ms > age_ms));
}

const HOUR: Option<u64> = Some(3_600_000);

#[test]
fn s19_the_commit_that_follows_replaces_what_has_expired() {
    let daemon = Daemon::new();
    let (mut raw, one) = (daemon.connect(), call("replaced"));
    assert_eq!(raw.put(put(&one, b"old", None)), PutOutcome::Populated);
    wait_for_age(&mut raw, &one, 1);
    let expired = aged(&mut raw, &one, Some(1)).expect_err("it is older than that");
    assert_eq!(expired.reason, MissReason::Expired);
    assert!(expired.detail.is_some_and(|detail| detail.contains("1 ms")), "it says how old");
    // To whom it is young enough it is there, for lookups and for commits.
    for young in [None, Some(0), HOUR] {
        assert_eq!(aged(&mut raw, &one, young).expect("young enough"), "old");
        assert!(matches!(raw.put(put(&one, b"new", young)), PutOutcome::Exists(_)), "{young:?}");
    }
    assert_eq!(raw.put(put(&one, b"new", Some(1))), PutOutcome::Populated);
    assert_eq!(aged(&mut raw, &one, HOUR).expect("refreshed"), "new");
    let stats = raw.stats();
    assert_eq!((stats.entries, stats.blobs, stats.puts), (1, 1, 2), "the old one is gone");
    assert_eq!(stats.misses_by_reason, [(MissReason::Expired, 1)]);
}

#[test]
fn s19_an_age_beyond_all_counting_is_no_error() {
    let daemon = Daemon::new();
    let (mut raw, one) = (daemon.connect(), call("endless"));
    assert_eq!(raw.put(put(&one, b"old", Some(u64::MAX))), PutOutcome::Populated);
    wait_for_age(&mut raw, &one, 1);
    assert_eq!(aged(&mut raw, &one, Some(u64::MAX)).expect("young enough"), "old");
    assert!(matches!(raw.put(put(&one, b"new", Some(u64::MAX))), PutOutcome::Exists(_)));
}

#[test]
fn s19_the_daemon_has_a_default_and_each_call_its_own() {
    let daemon = Setup::new().config("max_age = \"20ms\"").start();
    let (mut raw, one) = (daemon.connect(), call("default"));
    assert_eq!(raw.put(put(&one, b"old", None)), PutOutcome::Populated);
    assert_eq!(aged(&mut raw, &one, HOUR).expect("young enough"), "old");
    wait_for_age(&mut raw, &one, 20);
    assert_eq!(aged(&mut raw, &one, None).expect_err("too old").reason, MissReason::Expired);
    assert_eq!(raw.explain(one.why()).miss.map(|miss| miss.reason), Some(MissReason::Expired));
    let no_wait = Claim { wait_ms: Some(0), ..one.claim() };
    assert_eq!(raw.owns(no_wait).miss.reason, MissReason::Expired);
    for own in [Some(0), HOUR] {
        assert_eq!(aged(&mut raw, &one, own).expect("its own word counts"), "old");
        assert!(matches!(raw.put(put(&one, b"new", own)), PutOutcome::Exists(_)), "{own:?}");
    }
    assert_eq!(raw.put(put(&one, b"new", None)), PutOutcome::Populated);
    assert_eq!(aged(&mut raw, &one, HOUR).expect("refreshed"), "new");
    // The command line leaves it to the daemon, too.
    stored(&daemon);
    let lookup = square("lookup", &["--output", "o0:integer"]);
    eventually("it is too old for the daemon", || {
        harness::run(daemon.memo().args(&lookup)).code == Some(1)
    });
    assert_eq!(json_of(&daemon, 1, &lookup)["reason"], "expired");
    ends(&daemon, 0, &[&lookup[..], &["--max-age", "0"]].concat());
    ends(&daemon, 0, &[&lookup[..], &["--max-age", "1h"]].concat());
}

#[test]
fn s19_memo_put_replaces_what_memo_lookup_calls_expired() {
    let daemon = Daemon::new();
    stored(&daemon);
    let lookup = |age| square("lookup", &["--output", "o0:integer", "--max-age", age]);
    eventually("it is too old", || harness::run(daemon.memo().args(lookup("1ms"))).code == Some(1));
    assert_eq!(json_of(&daemon, 1, &lookup("1ms"))["reason"], "expired");
    let put = |flags: &[&str]| {
        let put = square("put", &["--output", "o0:integer=145"]);
        json_of(&daemon, 0, &[&put[..], flags].concat())["status"].clone()
    };
    for young in [&[][..], &["--max-age", "0"], &["--max-age", "1h"]] {
        assert_eq!(put(young), "EXISTS", "{young:?}");
    }
    assert_eq!(put(&["--max-age", "1ms"]), "POPULATED");
    let hit = json_of(&daemon, 0, &lookup("1h"));
    assert_eq!(hit["outputs"]["o0"]["value"], 145);
    let both = square("put", &["--output", "o0:integer=1", "--overwrite", "--max-age", "1h"]);
    ends(&daemon, 2, &both);
}
