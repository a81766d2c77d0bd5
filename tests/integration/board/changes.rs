//! What another process changes is seen by the next lookup (semantics 18, 19 and 24).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, Setup, call, eventually};
use memod_client::{Lookup, LookupOptions, MissReason};
use memod_protocol::{Filter, Put, PutOutcome, Request, Response, RunClaim, Selector};

use super::{client, hit, look, miss, text, warm, warmed};

fn overwrite(raw: &mut Raw, one: &CallBuilder, content: &str) {
    let (put, payload) = one.put(&[("o0", content.as_bytes())]);
    assert_eq!(raw.put((Put { overwrite: true, ..put }, payload)), PutOutcome::Populated);
}

#[test]
fn s15_a_hit_by_the_board_is_the_hit_that_the_daemon_gives() {
    let (daemon, with, one) = warmed("same", "content");
    let without = memod_client::Client::builder().socket(daemon.socket()).board(false).build();
    let (Lookup::Hit(by_board), Lookup::Hit(asked)) = (look(&with, &one), look(&without, &one))
    else {
        panic!("hits were due");
    };
    assert_eq!(without.board_hits(), 0);
    assert_eq!(by_board.provenance, asked.provenance);
    assert_eq!((by_board.key, text(&by_board)), (asked.key, text(&asked)));
    let described = |of: &memod_client::Hit| {
        let output = &of.outputs[0];
        (output.name.clone(), output.literal_type.clone(), output.digest, output.bytes)
    };
    assert_eq!(described(&by_board), described(&asked));
    assert!(by_board.age <= asked.age && by_board.age + Duration::from_secs(60) > asked.age);
}

#[test]
fn s24_what_is_invalidated_elsewhere_misses_at_once() {
    let (daemon, client, one) = warmed("invalidated", "content");
    let mut raw = daemon.connect();
    let key = one.0.key().unwrap();
    let of_task = Filter { task: Some("invalidated".into()), ..Filter::default() };
    for selector in [
        Selector::Keys(vec![key]),
        Selector::Matching(of_task),
        Selector::Matching(Filter::default()),
    ] {
        assert_eq!(raw.invalidate(selector.clone(), false), 1);
        assert_eq!(miss(&client, &one), MissReason::Invalidated, "{selector:?}");
        raw.put(one.put(&[("o0", b"again")]));
        assert_eq!(hit(&client, &one), ("again".to_owned(), false), "it is not there any more");
        warm(&client, &one);
    }
}

#[test]
fn s18_what_is_overwritten_elsewhere_is_seen_at_once() {
    let (daemon, client, one) = warmed("overwritten", "0");
    let mut raw = daemon.connect();
    for round in 1..50 {
        let content = round.to_string();
        overwrite(&mut raw, &one, &content);
        assert_eq!(hit(&client, &one).0, content);
        warm(&client, &one);
    }
}

#[test]
fn s19_an_entry_that_is_too_old_is_a_miss_though_it_stands_there() {
    let (daemon, client, one) = warmed("old", "content");
    let (mut raw, key) = (daemon.connect(), one.0.key().unwrap());
    eventually("it is old enough", || raw.show(key).is_ok_and(|shown| shown.age_ms > 1));
    let of = |ms| LookupOptions { max_age: Some(Duration::from_millis(ms)) };
    let before = client.board_hits();
    let Ok(Lookup::Miss(old)) = client.lookup(&one.0, &of(1)) else { panic!("it is too old") };
    assert_eq!(old.reason, MissReason::Expired);
    for young_enough in [0, 3_600_000] {
        let found = client.lookup(&one.0, &of(young_enough));
        assert!(matches!(found, Ok(Lookup::Hit(_))), "{found:?}");
    }
    assert_eq!(client.board_hits(), before + 2);
}

#[test]
fn s19_the_daemons_own_bound_holds_on_the_board() {
    let daemon = Setup::new().config("max_age = \"2s\"").start();
    let (mut raw, one, client) = (daemon.connect(), call("bounded"), client(&daemon));
    raw.put(one.put(&[("o0", b"x")]));
    warm(&client, &one);
    let mut by_board = 0;
    eventually("it expires", || match look(&client, &one) {
        Lookup::Hit(hit) => {
            assert!(hit.age <= Duration::from_secs(2), "{:?}", hit.age);
            by_board += 1;
            false
        }
        Lookup::Miss(miss) => miss.reason == MissReason::Expired,
    });
    assert_eq!(client.board_hits(), by_board + 1, "until then every hit came by the board");
}

#[test]
fn s14_what_is_evicted_misses_at_once() {
    let setup = Setup::new().config("store_bytes_max = 400000\nstore_bytes_low = 100000");
    let (daemon, one) = (setup.start(), call("evicted"));
    let (mut raw, client) = (daemon.connect(), client(&daemon));
    let (put, payload) = one.put(&[("o0", &[b'x'; 4000])]);
    // Nothing is lost with it, so it goes first.
    raw.put((Put { run: RunClaim::default(), ..put }, payload));
    warm(&client, &one);
    let key = one.0.key().unwrap();
    let mut number = 0;
    loop {
        for _ in 0..10 {
            number += 1;
            raw.put(call(&format!("other {number}")).put(&[("o0", &[0; 2000])]));
        }
        assert!(number < 1000, "it is never evicted");
        raw.ask(Request::Collect, Bytes::new());
        while !matches!(raw.read_reply().expect("an end").response, Response::Collected(_)) {}
        let is_there = raw.show(key).is_ok();
        let found = look(&client, &one);
        assert_eq!(matches!(found, Lookup::Hit(_)), is_there, "{found:?}");
        if let Lookup::Miss(miss) = found {
            assert_eq!(miss.reason, MissReason::Evicted);
            return;
        }
    }
}

/// While one process overwrites an entry as fast as it can, no other ever sees an older version
/// than one of which it could know.
#[test]
fn s18_nobody_sees_an_older_entry_than_was_acknowledged() {
    let (daemon, one) = (Daemon::new(), call("raced"));
    daemon.connect().put(one.put(&[("o0", b"0")]));
    let (acknowledged, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    // What anybody has seen, which everybody else must see from then on.
    let seen = AtomicU64::new(0);
    let by_board: u64 = thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let client = client(&daemon);
                    while !ended.load(Ordering::SeqCst) {
                        let least = acknowledged.load(Ordering::SeqCst);
                        let least = least.max(seen.load(Ordering::SeqCst));
                        let version: u64 = hit(&client, &one).0.parse().unwrap();
                        assert!(version >= least, "{version} was seen after {least}");
                        seen.fetch_max(version, Ordering::SeqCst);
                    }
                    client.board_hits()
                })
            })
            .collect();
        let mut raw = daemon.connect();
        for version in 1..1500_u64 {
            overwrite(&mut raw, &one, &version.to_string());
            acknowledged.store(version, Ordering::SeqCst);
            // A pause now and then lets the entry come onto the board.
            for _ in 0..version % 50 {
                raw.ping();
            }
        }
        ended.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert!(by_board > 100, "only {by_board} hits came by the board");
}
