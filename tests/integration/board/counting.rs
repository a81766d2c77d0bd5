//! Hits by the board count like others (semantics 36), and only those that there were.

use bytes::Bytes;
use harness::{Daemon, call, eventually};
use memod_client::{Lookup, LookupOptions};
use memod_protocol::{BoardHit, BoardHits, Key, LogQuery, Outcome, Request, Response, Scope, Verb};

use super::{hit, warm, warmed};

#[test]
fn s36_every_hit_by_the_board_is_counted_once() {
    let (daemon, client, one) = warmed("counted", "content");
    let other = call("other");
    daemon.connect().put(other.put(&[("o0", b"x")]));
    warm(&client, &other);
    for _ in 0..1000 {
        assert!(hit(&client, &one).1);
    }
    let stats = client.stats().unwrap();
    let of = |task: &str| stats.by_task.iter().find(|row| row.task == task).unwrap().clone();
    // Whoever asks by the client that had the hits finds all of them.
    assert_eq!(stats.hits, of("counted").hits + of("other").hits);
    let by_board = client.board_hits();
    assert!(by_board >= 1002);
    let mut raw = daemon.connect();
    let rows = raw.log(LogQuery { limit: 1000, ..LogQuery::default() }).rows;
    let counted: u64 = rows
        .iter()
        .map(|row| match row.outcome {
            Outcome::Hits(count) => u64::from(count),
            _ => 0,
        })
        .sum();
    assert_eq!(counted, by_board);
    let direct = rows.iter().filter(|row| row.outcome == Outcome::Hit).count() as u64;
    assert_eq!(stats.hits, counted + direct);
    let row = rows.iter().find(|row| matches!(row.outcome, Outcome::Hits(_))).unwrap();
    assert_eq!((row.verb, row.pid), (Verb::Lookup, Some(std::process::id())));
    assert_eq!(row.key, Some(one.0.key().unwrap()));
    let any = LogQuery { outcome: Some(Outcome::Hits(0)), limit: 1000, ..LogQuery::default() };
    assert!(raw.log(any).rows.len() >= 2, "the number in a query does not matter");

    // Each spared two seconds of computing, net of what it took.
    let saved_s = stats.time_saved_ns / 1_000_000_000;
    assert!((2 * stats.hits - 2..=2 * stats.hits).contains(&saved_s), "{saved_s} s");
    let savings = client.savings().unwrap();
    assert_eq!(savings.by_uid.iter().map(|row| row.hits).sum::<u64>(), stats.hits);
    assert_eq!(savings.by_scope.iter().map(|row| row.hits).sum::<u64>(), stats.hits);
}

#[test]
fn s36_what_was_not_reported_yet_is_when_the_client_goes() {
    let (daemon, client, one) = warmed("dropped", "content");
    for _ in 0..77 {
        assert!(hit(&client, &one).1);
    }
    let by_board = client.board_hits();
    let copy = client.clone();
    drop(client);
    assert!(hit(&copy, &one).1, "a copy keeps the board");
    drop(copy);
    let mut raw = daemon.connect();
    eventually("all hits are counted", || {
        let rows = raw.log(LogQuery { limit: 1000, ..LogQuery::default() }).rows;
        let counted = rows.iter().map(|row| match row.outcome {
            Outcome::Hits(count) => u64::from(count),
            _ => 0,
        });
        counted.sum::<u64>() == by_board + 1
    });
}

#[test]
fn s34_no_report_harms() {
    let (daemon, one) = (Daemon::new(), call("reported"));
    let mut raw = daemon.connect();
    raw.put(one.put(&[("o0", b"x")]));
    let key = one.0.key().unwrap();
    let scope = one.0.scope.clone();
    let hit = |key, count| BoardHit { key, count, last_ms: u64::MAX, took_us: u64::MAX };
    let mut report = |scope: &Scope, hits| {
        let hits = BoardHits { scope: scope.clone(), hits };
        raw.send(Request::BoardHits(Box::new(hits)), Bytes::new());
        assert!(raw.ping(), "the connection goes on");
        raw.stats()
    };
    let unknown = Key::from_bytes([9; 32]);
    assert_eq!(report(&scope, vec![hit(unknown, 5)]).hits, 0);
    assert_eq!(report(&Scope::new("other", "scope"), vec![hit(key, 5)]).hits, 0);
    assert_eq!(report(&Scope::new("", ""), vec![hit(key, 5)]).hits, 0);
    assert_eq!(report(&scope, vec![hit(key, 0)]).hits, 0);
    let stats = report(&scope, vec![hit(key, 5)]);
    assert_eq!((stats.hits, stats.time_saved_ns), (5, 0), "they took longer than they spared");
    // Far more keys than are taken, and then more hits than anybody can have had.
    let stats = report(&scope, vec![hit(key, 1); 10_000]);
    assert_eq!(stats.hits, 5 + 1024);
    let stats = report(&scope, vec![hit(key, u32::MAX); 1000]);
    assert!(stats.hits < 60_000_000_000, "{}", stats.hits);
    assert_eq!(raw.stats().entries, 1);
}

#[test]
fn s15_hits_by_the_board_come_to_many_threads() {
    let (daemon, client, one) = warmed("threads", "content");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    assert_eq!(hit(&client, &one).0, "content");
                }
            });
        }
    });
    let hits = client.stats().unwrap().hits;
    assert!(client.board_hits() > 1000 && hits >= 2002, "{hits}");
    drop(daemon);
}

#[tokio::test]
async fn s15_the_async_client_reads_the_board_too() {
    let (daemon, one) = (Daemon::new(), call("async"));
    daemon.connect().put(one.put(&[("o0", b"x")]));
    let client = memod_client::Client::builder().socket(daemon.socket()).build_async();
    for _ in 0..300 {
        let found = client.lookup(&one.0, &LookupOptions::default()).await.unwrap();
        let Lookup::Hit(hit) = found else { panic!("a hit was due, not {found:?}") };
        assert_eq!(super::text(&hit), "x");
    }
    assert!(client.board_hits() > 290, "{}", client.board_hits());
    assert_eq!(client.stats().await.unwrap().hits, 300);
    let mut raw = daemon.connect();
    let key = one.0.key().unwrap();
    assert_eq!(raw.invalidate(memod_protocol::Selector::Keys(vec![key]), false), 1);
    let found = client.lookup(&one.0, &LookupOptions::default()).await.unwrap();
    assert!(matches!(found, Lookup::Miss(_)), "{found:?}");
    assert!(matches!(raw.ask(Request::Ping, Bytes::new()).response, Response::Pong));
}

#[test]
fn s26_a_claim_of_what_stands_there_is_a_hit() {
    let (daemon, client, one) = warmed("claimed", "content");
    let before = client.board_hits();
    let claimed = client.claim(&one.0, &memod_client::ClaimOptions::default()).unwrap();
    assert!(matches!(claimed, memod_client::Claimed::Hit(_)), "{claimed:?}");
    assert_eq!(client.board_hits(), before + 1);
    drop(daemon);
}

/// Clients of every kind at once, some of which go before all is over: what they had is what is
/// counted, by task, by scope and by user, in the log and in time saved.
#[test]
fn s36_what_many_clients_had_is_what_is_counted() {
    const CLIENTS: usize = 6;
    let daemon = Daemon::new();
    let calls: Vec<_> = (0..40)
        .map(|number| call(&format!("task {number}")).scope("p", &(number % 3).to_string()))
        .collect();
    let mut raw = daemon.connect();
    for one in calls.iter().step_by(2) {
        raw.put(one.put(&[("o0", b"content")]));
    }
    let all: Vec<_> = calls.iter().map(|one| one.0.clone()).collect();
    let options = LookupOptions::default();
    // Each looks up in its own way, and says how many hits and misses it had, and by a board.
    let had = |number: usize| {
        let board = number != 0;
        let client = memod_client::Client::builder().socket(daemon.socket()).board(board).build();
        let (mut hits, mut misses) = (0_u64, 0_u64);
        for round in 0..50 {
            let found: Vec<_> = if (round + number).is_multiple_of(4) {
                client.lookup_many(&all, &options)
            } else {
                all.iter().map(|one| client.lookup(one, &options)).collect()
            };
            for found in found {
                match found.unwrap() {
                    Lookup::Hit(_) => hits += 1,
                    Lookup::Miss(_) => misses += 1,
                }
            }
        }
        (hits, misses, client.board_hits())
    };
    let had: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || had(n))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let sum = |of: fn(&(u64, u64, u64)) -> u64| had.iter().map(of).sum::<u64>();
    let (hits, misses, by_board) = (sum(|had| had.0), sum(|had| had.1), sum(|had| had.2));
    assert_eq!((hits, misses), (CLIENTS as u64 * 50 * 20, CLIENTS as u64 * 50 * 20));
    assert!(by_board > hits / 4, "only {by_board} of {hits} came by boards");
    // The last reports of clients that have gone are on their way.
    eventually("all are counted", || raw.stats().hits >= hits);
    let (stats, savings) = (raw.stats(), raw.savings());
    assert_eq!((stats.hits, stats.misses), (hits, misses));
    assert_eq!(stats.by_task.iter().map(|row| row.hits).sum::<u64>(), hits);
    assert!(stats.by_task.iter().all(|row| row.hits == 0 || row.hits == CLIENTS as u64 * 50));
    assert_eq!(savings.by_scope.iter().map(|row| row.hits).sum::<u64>(), hits);
    assert_eq!(
        savings.by_uid.iter().map(|row| (row.hits, row.misses)).next(),
        Some((hits, misses))
    );
    let saved_s = stats.time_saved_ns / 1_000_000_000;
    assert!((2 * hits - 60..=2 * hits).contains(&saved_s), "{saved_s} s of {hits} hits");
}
