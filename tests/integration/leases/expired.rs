//! Semantics 19 and 27: a lease that was given because an entry is too old lets its owner replace
//! that entry, and those who wait have what was made for them.

use std::process::Stdio;
use std::time::Duration;

use harness::{CallBuilder, Daemon, Ran, Raw, call, eventually, output};
use memod_client::{
    Call, ClaimOptions, Claimed, Client, Lease, Lookup, LookupOptions, PutOptions, aio,
};
use memod_protocol::{Key, MissReason, PutOutcome, Selector};
use serde_json::json;

use super::hold::all_is_quiet;
use crate::client::{output as made, to_daemon};
use crate::memo::{ends, json_of, square, stored};

/// How old an entry may be for those who ask here.
const AGE: Duration = Duration::from_millis(20);

fn asking() -> ClaimOptions {
    ClaimOptions { max_age: Some(AGE), ..ClaimOptions::default() }
}

/// Stores an entry and lets it become too old.
fn expire(raw: &mut Raw, one: &CallBuilder) {
    raw.put(one.put(&[("o0", b"old")]));
    too_old(raw, one);
}

fn too_old(raw: &mut Raw, one: &CallBuilder) {
    let key = one.0.key().unwrap();
    eventually("it is too old", || raw.show(key).unwrap().age_ms > 20);
}

fn leased(client: &Client, of: &Call) -> Lease {
    match client.claim(of, &asking()).unwrap() {
        Claimed::Leased(lease) => {
            assert_eq!(lease.miss().reason, MissReason::Expired);
            lease
        }
        other => panic!("the lease was due, not {other:?}"),
    }
}

fn content(client: &Client, of: &Call) -> String {
    match client.lookup(of, &LookupOptions { max_age: Some(Duration::ZERO) }).unwrap() {
        Lookup::Hit(hit) => {
            let bytes = hit.outputs[0].content.to_bytes().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        }
        missed @ Lookup::Miss(_) => panic!("something is stored: {missed:?}"),
    }
}

#[test]
fn s19_s27_a_plain_put_under_the_lease_replaces_what_had_expired_and_wakes_who_waits() {
    let daemon = Daemon::new();
    let (mut raw, client, one) = (daemon.connect(), to_daemon(&daemon), call("expired"));
    expire(&mut raw, &one);
    let lease = leased(&client, &one.0);
    let watching = ClaimOptions { take: false, ..asking() };
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| to_daemon(&daemon).claim(&one.0, &watching).unwrap());
        eventually("it waits", || raw.leases_and_waiters() == (1, 1));
        let put = lease.put(&one.0, vec![made("new")], &PutOptions::default());
        assert_eq!(put.unwrap(), PutOutcome::Populated);
        assert!(matches!(waiter.join().unwrap(), Claimed::Hit(_)), "it was made while it waited");
    });
    assert_eq!(content(&client, &one.0), "new");
    all_is_quiet(&daemon);
}

#[test]
fn s19_what_came_after_the_lease_stays_however_long_it_was_held() {
    let daemon = Daemon::new();
    let (mut raw, client, one) = (daemon.connect(), to_daemon(&daemon), call("later"));
    expire(&mut raw, &one);
    let lease = leased(&client, &one.0);
    raw.invalidate(Selector::Keys(vec![one.0.key().unwrap()]), false);
    raw.put(one.put(&[("o0", b"another's")]));
    too_old(&mut raw, &one);
    let put = lease.put(&one.0, vec![made("late")], &PutOptions::default()).unwrap();
    assert!(matches!(put, PutOutcome::Exists(_)), "{put:?}");
    assert_eq!(content(&client, &one.0), "another's");
    // What the options say themselves counts.
    let lease = leased(&client, &one.0);
    let never = PutOptions { max_age: Some(Duration::ZERO), ..PutOptions::default() };
    let put = lease.put(&one.0, vec![made("never")], &never).unwrap();
    assert!(matches!(put, PutOutcome::Exists(_)), "{put:?}");
}

#[test]
fn s19_the_async_client_replaces_what_had_expired_too() {
    let daemon = Daemon::new();
    let (mut raw, one) = (daemon.connect(), call("expired for an async client"));
    expire(&mut raw, &one);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let put = runtime.block_on(async {
        let client = Client::builder().socket(daemon.socket()).build_async();
        let aio::Claimed::Leased(lease) = client.claim(&one.0, &asking()).await.unwrap() else {
            panic!("the lease was due")
        };
        lease.put(&one.0, vec![made("new")], &PutOptions::default()).await
    });
    assert_eq!(put.unwrap(), PutOutcome::Populated);
    assert_eq!(content(&to_daemon(&daemon), &one.0), "new");
}

fn lease<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    let call = square("lease", &["--output", "o0:integer", "--heartbeat", "1h"]);
    [&[call[0], "acquire"], &call[1..], rest].concat()
}

#[test]
fn s19_s27_by_hand_lease_put_and_lookup_take_the_same_age() {
    let daemon = Daemon::new();
    let key: Key = stored(&daemon).parse().unwrap();
    let mut raw = daemon.connect();
    eventually("it is too old", || raw.show(key).unwrap().age_ms > 20);
    assert_eq!(json_of(&daemon, 0, &lease(&["--owner", "a"]))["status"], "ACQUIRED");
    // To whom it is not too old it is there; the other waits, as long as is said.
    let hit = json_of(&daemon, 1, &lease(&["--owner", "b", "--wait", "forever"]));
    assert_eq!(hit["status"], "HIT");
    let waits = ["--owner", "b", "--wait", "20ms", "--max-age", "20ms"];
    assert_eq!(json_of(&daemon, 1, &lease(&waits))["status"], "EXISTS");
    ends(&daemon, 2, &lease(&["--owner", "b", "--max-age", "20ms"]));
    let mut lookup = daemon.memo();
    lookup.args(square("lookup", &["--output", "o0:integer", "--max-age", "20ms"]));
    lookup.args(["--wait", "forever", "--format", "json"]);
    let waiter = lookup.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it waits", || raw.leases_and_waiters() == (1, 1));
    let put = square("put", &["--output", "o0:integer=145", "--max-age", "20ms"]);
    assert_eq!(json_of(&daemon, 0, &put)["status"], "POPULATED");
    let waiter: Ran = output(waiter).into();
    assert_eq!(waiter.json()["outputs"]["o0"]["value"], json!(145), "{waiter:?}");
    all_is_quiet(&daemon);
}
