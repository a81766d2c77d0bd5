//! Lookups of many calls are what as many lookups are (semantics 14 and 15).

use harness::{CallBuilder, Daemon, Setup, call};
use memod_client::{Client, Content, Error, Lookup, LookupOptions, MissReason, Mode, PutOptions};
use memod_protocol::{LogQuery, Outcome};

use super::{asking, bytes, content, found, look, numbered, store};

const CALLS: usize = 1000;

/// A daemon that has every third of these calls.
fn mixed(task: &str) -> (Daemon, Vec<memod_client::Call>) {
    let daemon = Daemon::new();
    let calls = numbered(task, CALLS);
    let mut raw = daemon.connect();
    for (number, call) in calls.iter().enumerate().step_by(3) {
        raw.put(CallBuilder(call.clone()).put(&[("o0", &content(number))]));
    }
    (daemon, calls)
}

fn check(number: usize, call: &memod_client::Call, outcome: &Result<Lookup, Error>) {
    match outcome {
        Ok(Lookup::Hit(hit)) if number.is_multiple_of(3) => {
            assert_eq!(hit.key, call.key().unwrap());
            assert_eq!(bytes(hit), content(number));
            assert_eq!(hit.provenance.writer_pid, Some(std::process::id()));
        }
        Ok(Lookup::Miss(miss)) if !number.is_multiple_of(3) => {
            assert_eq!(miss.key, call.key().unwrap());
            assert_eq!(miss.reason, MissReason::NeverSeen);
        }
        other => panic!("call {number} came to {other:?}"),
    }
}

#[test]
fn s14_a_thousand_calls_are_answered_in_their_order() {
    let (daemon, calls) = mixed("ordered");
    let client = asking(&daemon);
    for _ in 0..2 {
        for (number, (call, outcome)) in calls.iter().zip(look(&client, &calls)).enumerate() {
            check(number, call, &outcome);
        }
    }
    // Each of them is counted, and written down, as if it had come alone.
    let stats = client.stats().unwrap();
    assert_eq!((stats.hits, stats.misses), (2 * 334, 2 * 666));
    let task = stats.by_task.iter().find(|row| row.task == "ordered").unwrap();
    assert_eq!((task.hits, task.misses), (2 * 334, 2 * 666));
    let saved_s = stats.time_saved_ns / 1_000_000_000;
    assert!((4 * 334 - 2..=4 * 334).contains(&saved_s), "{saved_s} s were saved");
    let query = LogQuery { outcome: Some(Outcome::Hit), limit: 1000, ..LogQuery::default() };
    let rows = daemon.connect().log(query).rows;
    assert_eq!(rows.len(), 2 * 334);
    assert_eq!(rows.last().unwrap().key, Some(calls[999].key().unwrap()));
}

#[tokio::test]
async fn s14_the_async_client_has_the_same() {
    let (daemon, calls) = mixed("async");
    let client = Client::builder().socket(daemon.socket()).build_async();
    for _ in 0..5 {
        let outcomes = client.lookup_many(&calls, &LookupOptions::default()).await;
        assert_eq!(outcomes.len(), CALLS);
        for (number, (call, outcome)) in calls.iter().zip(outcomes).enumerate() {
            check(number, call, &outcome);
        }
    }
    assert!(client.board_hits() > 0, "the later ones came by the board");
    assert_eq!(client.stats().await.unwrap().hits, 5 * 334);
}

#[test]
fn s36_what_stands_on_the_board_is_not_asked_for() {
    let (daemon, calls) = mixed("posted");
    let client = Client::builder().socket(daemon.socket()).build();
    for _ in 0..5 {
        for (number, (call, outcome)) in calls.iter().zip(look(&client, &calls)).enumerate() {
            check(number, call, &outcome);
        }
    }
    let by_board = client.board_hits();
    assert!(by_board > 334, "{by_board} came by the board");
    let stats = client.stats().unwrap();
    assert_eq!((stats.hits, stats.misses), (5 * 334, 5 * 666));
}

#[test]
fn s21_a_wrong_call_does_not_spoil_the_others() {
    let (daemon, mut calls) = mixed("spoiled");
    calls[500].cache_version = " ".to_owned();
    calls[502].task.clear();
    let client = asking(&daemon);
    for (number, outcome) in look(&client, &calls).iter().enumerate() {
        match number {
            500 | 502 => assert!(matches!(outcome, Err(Error::Invalid(_))), "{outcome:?}"),
            _ => check(number, &calls[number], outcome),
        }
    }
    assert!(look(&client, &[]).is_empty());
}

#[test]
fn s15_large_and_small_outputs_are_had_together() {
    let (daemon, client) = {
        let daemon = Daemon::new();
        let client = asking(&daemon);
        (daemon, client)
    };
    let calls = numbered("sizes", 60);
    // What fills frames, what is too large for one with others, and what travels in pieces.
    let size = |number: usize| match number % 6 {
        0 => 0,
        1 => 300_000,
        2 => 1 << 20,
        3 => (1 << 20) + 1,
        4 => 17,
        _ if number == 5 => 3_000_000,
        _ => 16 * 1024 + 1,
    };
    let fill = |number: usize| u8::try_from(b'a' as usize + number % 26).unwrap();
    for (number, call) in calls.iter().enumerate() {
        let content = vec![fill(number); size(number)];
        let put = client.put(call, vec![super::output(&content)], &PutOptions::default());
        put.expect("stored");
    }
    let outcomes = look(&client, &calls);
    for (number, outcome) in outcomes.iter().enumerate() {
        let bytes = found(outcome).expect("a hit");
        assert_eq!(bytes.len(), size(number), "call {number}");
        assert!(bytes.iter().all(|byte| *byte == fill(number)), "call {number}");
    }
    assert_eq!(client.stats().unwrap().hits, 60, "each counts once");
    drop(daemon);
}

#[tokio::test]
async fn s15_what_is_too_large_for_the_clients_memory_goes_into_files() {
    let daemon = Daemon::new();
    let (asks, calls) = (asking(&daemon), numbered("spooled", 50));
    let content = |number: usize| vec![b'x'; number * 100];
    let runs = calls.iter().enumerate().map(|(number, call)| super::run(call, &content(number)));
    assert!(asks.put_many(runs.collect()).iter().all(Result::is_ok));
    let builder = || Client::builder().socket(daemon.socket()).memory_bytes_max(1000);
    let (blocking, client) = (builder().build(), builder().build_async());
    // At last by the board, too.
    for _ in 0..5 {
        let async_too = client.lookup_many(&calls, &LookupOptions::default()).await;
        for outcomes in [look(&blocking, &calls), async_too] {
            for (number, outcome) in outcomes.iter().enumerate() {
                let Ok(Lookup::Hit(hit)) = outcome else { panic!("{outcome:?}") };
                let is_file = matches!(hit.outputs[0].content, Content::File(_));
                assert_eq!(is_file, number > 10, "call {number}");
                assert_eq!(bytes(hit), content(number));
            }
        }
    }
    assert!(client.board_hits() > 0 && blocking.board_hits() > 0);
}

#[test]
fn s15_what_has_to_be_read_from_disk_comes_too() {
    let (mut daemon, calls) = mixed("cold");
    for _ in 0..2 {
        assert!(daemon.stop().success());
        daemon.start().unwrap();
        let client = asking(&daemon);
        for (number, (call, outcome)) in calls.iter().zip(look(&client, &calls)).enumerate() {
            check(number, call, &outcome);
        }
    }
}

#[test]
fn s19_and_s23_options_and_modes_hold_for_each() {
    let (daemon, calls) = mixed("modes");
    let client = Client::builder().socket(daemon.socket()).mode(Mode::Disabled).build();
    for outcome in look(&client, &calls[..10]) {
        let Ok(Lookup::Miss(miss)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(miss.reason, MissReason::Disabled);
    }
    let (client, mut raw) = (asking(&daemon), daemon.connect());
    let key = calls[0].key().unwrap();
    harness::eventually("old enough", || raw.show(key).is_ok_and(|shown| shown.age_ms > 1));
    let max_age = Some(std::time::Duration::from_millis(1));
    let outcomes = client.lookup_many(&calls[..1], &LookupOptions { max_age });
    let Ok(Lookup::Miss(miss)) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(miss.reason, MissReason::Expired);
}

#[test]
fn s34_a_daemon_that_is_killed_in_the_middle_fails_what_it_did_not_answer() {
    let (mut daemon, calls) = mixed("killed");
    let client = asking(&daemon);
    look(&client, &calls);
    for round in 0..10 {
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut all = Vec::new();
                loop {
                    let outcomes = look(&client, &calls);
                    let ended = outcomes.iter().any(Result::is_err);
                    all.push(outcomes);
                    if ended {
                        return all;
                    }
                }
            });
            // It dies at some moment of some batch.
            let mut raw = daemon.connect();
            (0..round * 7).for_each(|_| assert!(raw.ping()));
            daemon.kill();
            asking.join().unwrap()
        });
        for outcomes in asked {
            for (number, outcome) in outcomes.iter().enumerate() {
                match outcome {
                    Ok(_) => check(number, &calls[number], outcome),
                    // Which error it is does not matter to who computes then.
                    Err(Error::Io { .. } | Error::NoDaemon { .. } | Error::BreakerOpen) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
        daemon.start().unwrap();
    }
    // A client of its own, whose breaker is closed.
    let client = asking(&daemon);
    for (number, outcome) in look(&client, &calls).iter().enumerate() {
        check(number, &calls[number], outcome);
    }
}

#[test]
fn s34_without_a_daemon_each_is_an_error() {
    let daemon = Setup::new().prepare();
    let client = asking(&daemon);
    let outcomes = look(&client, &numbered("absent", 100));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::NoDaemon { .. }))));
}

#[test]
fn s14_long_names_and_many_inputs_share_frames_as_they_fit() {
    let daemon = Daemon::new();
    let client = asking(&daemon);
    let calls: Vec<_> = (0..300_usize)
        .map(|number| {
            let mut one = call(&format!("{number} {}", "long".repeat(250)));
            for input in 0..number % 40 * 25 {
                let name = format!("input {input}");
                one = one.input(&name, "integer", memod_protocol::Literal::Integer(7));
            }
            one.0
        })
        .collect();
    for (number, call) in calls.iter().enumerate().step_by(7) {
        store(&daemon, call, &content(number));
    }
    for (number, outcome) in look(&client, &calls).iter().enumerate() {
        let due = number.is_multiple_of(7).then(|| content(number));
        assert_eq!(found(outcome).as_deref(), due.as_deref(), "call {number}");
    }
}
