//! One greedy user beside a quiet one: of everything that is bounded the greedy one is told "busy"
//! at its part, and the other is served (issue 6).

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{CallBuilder, PATIENCE, Raw, eventually};
use memod_protocol::limits::REQUESTS_IN_FLIGHT_MAX;
use memod_protocol::{ErrorCode, LogQuery, PutOutcome, Request, Response};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::house::{ALICE, BOB, House, STRANGER};

/// Whoever can connect may use the cache.
const OPEN: &str = "socket_mode = \"0666\"\n";
/// What a hit may take at the median beside somebody who floods the daemon, on a busy machine. What
/// it takes is measured by `make bench`.
const HIT_MAX: Duration = Duration::from_millis(50);

/// Whether an answer or the end has come.
fn next(raw: &mut Raw) -> Option<Response> {
    raw.read_reply().map(|reply| reply.response)
}

#[test]
fn a_user_with_its_part_of_the_connections_is_refused_and_another_served() {
    let Some(house) = House::new(&format!("{OPEN}connections_max = 12\n")) else { return };
    let socket = house.daemon.socket();
    let mut greedy: Vec<Raw> = (0..9).map(|_| house.connect(ALICE)).collect();
    let mut refused = Raw::over(harness::connected_as(&socket, ALICE, ALICE));
    refused.greet();
    let error = refused.is_refused();
    assert_eq!(error.code, ErrorCode::Busy);
    assert_eq!(error.message, format!("user {ALICE} has 9 connections open, its part of 12"));
    // Whoever it is that comes now has room, the daemon's own user, too.
    let mut others = [house.connect(BOB), house.connect(BOB), house.daemon.connect()];
    assert!(others.iter_mut().all(Raw::ping));
    assert_eq!(others[2].stats().connections, 12);
    greedy.pop();
    eventually("one has left", || others[2].stats().connections == 11);
    assert!(house.connect(ALICE).ping());
}

#[test]
fn what_is_refused_is_counted_and_logged_no_more_than_now_and_then() {
    let Some(house) = House::new(super::house::GRANTS) else { return };
    let mut raw = house.connect(BOB);
    let theirs = harness::call("hers").scope("alpha", "development");
    for _ in 0..100 {
        let (put, payload) = theirs.put(&[("o0", b"x")]);
        let error = raw.ask_error(Request::Put(Box::new(put)), payload);
        assert_eq!(error.code, ErrorCode::Forbidden);
    }
    let page = house.daemon.connect().ask(Request::Metrics, Bytes::new()).response;
    let Response::Metrics(page) = page else { panic!("{page:?}") };
    assert!(page.contains("memod_refusals_total{reason=\"forbidden\"} 100\n"), "{page}");
    assert!(page.contains("memod_refusals_total{reason=\"busy\"} 0\n"), "{page}");
    let log = house.daemon.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("refused")).collect();
    assert!((10..=20).contains(&told.len()), "{log}");
    let why = format!("user {BOB} may not write alpha/development");
    assert!(told[0].contains(&why) && told[0].contains("code=\"forbidden\""), "{}", told[0]);
    // What misses for want of a right is refused, too; another's refusals are not hidden by these.
    for (uid, of) in [(STRANGER, "lookup"), (BOB, "lookup"), (STRANGER, "why")] {
        let verb = super::house::call(of, "hers", "o0:string");
        house.ends(1, uid, "alpha", &verb);
    }
    let page = house.daemon.connect().ask(Request::Metrics, Bytes::new()).response;
    let Response::Metrics(page) = page else { panic!("{page:?}") };
    assert!(page.contains("memod_refusals_total{reason=\"forbidden\"} 103\n"), "{page}");
    let log = house.daemon.log();
    let why = format!("user {STRANGER} may not read alpha/development");
    assert_eq!(log.matches(&why).count(), 2, "{log}");
    // Nor do they who send garbage fill it.
    for _ in 0..50 {
        let mut raw = house.connect(BOB);
        raw.send_bytes(&[0xff; 64]).unwrap();
        while raw.read_frame().is_some() {}
    }
    let ended = |log: &str| log.matches("a connection ended").count();
    eventually("they are told of", || ended(&house.daemon.log()) >= 10);
    assert!(ended(&house.daemon.log()) <= 20);
}

#[test]
fn a_user_with_its_part_of_the_requests_is_told_busy_and_another_served() {
    let Some(house) = House::new(OPEN) else { return };
    let mut quiet = house.connect(BOB);
    // Each waits for what is still to be asked, which is nothing.
    let waits = || {
        let query = LogQuery { limit: 1, wait_ms: 600_000, ..LogQuery::default() };
        Request::Log(Box::new(LogQuery { from: Some(u64::MAX), ..query }))
    };
    let full = 512 / REQUESTS_IN_FLIGHT_MAX;
    let mut greedy: Vec<Raw> = (0..full).map(|_| house.connect(ALICE)).collect();
    for raw in &mut greedy {
        for _ in 0..REQUESTS_IN_FLIGHT_MAX {
            raw.send(waits(), Bytes::new());
        }
    }
    let mut beyond = house.connect(ALICE);
    let told = eventually_busy(&mut beyond, waits);
    assert_eq!(told, format!("user {ALICE} has 512 requests under way, and none of them ends"));
    // What is answered from memory is, also to who has its part.
    assert!(beyond.ping());
    let mine = harness::call("quiet");
    assert_eq!(quiet.put(mine.put(&[("o0", b"x")])), PutOutcome::Populated);
    assert!(beyond.lookup(&mine).is_ok());
    drop(greedy);
    eventually("theirs have ended", || house.daemon.connect().stats().connections == 3);
    assert_eq!(beyond.put(harness::call("own").put(&[("o0", b"x")])), PutOutcome::Populated);
}

/// Asks until it is told that it is busy: those before may still be on their way. Gives the words.
fn eventually_busy(raw: &mut Raw, request: impl Fn() -> Request) -> String {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        raw.send(request(), Bytes::new());
        // The requests before this one hold their places for ever, so this is the first reply.
        if let Some(Response::Error(error)) = next(raw) {
            assert_eq!(error.code, ErrorCode::Busy, "{error}");
            assert!(error.hint.is_some(), "it says what to do: {error}");
            return error.message;
        }
    }
    panic!("it was never told");
}

/// Whether there is something to read.
fn is_told_something(raw: &Raw) -> bool {
    let mut wanted = [PollFd::new(raw.stream().as_fd(), PollFlags::POLLIN)];
    poll(&mut wanted, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[test]
fn a_user_with_its_part_of_the_memory_waits_for_itself_and_another_is_served() {
    let Some(house) = House::new(OPEN) else { return };
    // Frames of 3 MiB that never end, from more connections than there is memory for.
    let beginning = [3_u32 << 20, 100].map(u32::to_le_bytes).concat();
    let mut greedy: Vec<Raw> = (0..16).map(|_| house.connect(ALICE)).collect();
    for raw in &mut greedy {
        raw.send_bytes(&beginning).unwrap();
        raw.send_bytes(&[0; 1000]).unwrap();
    }
    // The greedy user's own frames wait for each other, so some of them are given up.
    let mut told = None;
    eventually("one is cut off", || {
        told = greedy.iter_mut().find(|raw| is_told_something(raw)).and_then(next);
        told.is_some()
    });
    let Some(Response::Error(error)) = told else { panic!("{told:?}") };
    assert!(error.message.contains("while others were waiting for the memory"), "{error}");
    // Bob's large frame finds room at once, and he is not cut off, though he takes his time.
    let large = vec![7; 2 << 20];
    let mut quiet = house.connect(BOB);
    let (put, payload) = harness::call("large").put(&[("o0", &large)]);
    let began = Instant::now();
    assert_eq!(quiet.put((put, payload)), PutOutcome::Populated);
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
}

/// One kind of flood, by one connection with as much under way as there may be.
fn flood(raw: &mut Raw, kind: &str, stored: &CallBuilder, done: &AtomicBool) {
    let mut number = 0_u32;
    let mut send = |raw: &mut Raw| {
        number += 1;
        match kind {
            "hits" => drop(raw.try_send(stored.lookup(), b"")),
            "puts" => {
                let own = harness::call("flood").version(&number.to_string());
                let (put, payload) = own.put(&[("o0", number.to_string().repeat(1000).as_bytes())]);
                drop(raw.try_send(Request::Put(Box::new(put)), &payload));
            }
            "uploads" => {
                for _ in 0..4 {
                    let chunk = number.to_le_bytes().repeat(1 << 18);
                    drop(raw.try_send(Request::UploadData { upload: number }, &chunk));
                }
                let end = Request::UploadEnd { upload: number, digest: None };
                drop(raw.try_send(end, b""));
                drop(raw.try_send(Request::UploadAbort { upload: number }, b""));
            }
            other => panic!("{other} is no flood"),
        }
    };
    let ahead = if kind == "uploads" { 2 } else { REQUESTS_IN_FLIGHT_MAX };
    (0..ahead).for_each(|_| send(raw));
    while !done.load(Ordering::Relaxed) {
        let told = next(raw).expect("it is answered");
        assert!(!matches!(told, Response::Error(_)), "the flood is taken: {told:?}");
        send(raw);
    }
}

/// How long a hit takes at the median.
fn median(raw: &mut Raw, call: &CallBuilder) -> Duration {
    let mut took: Vec<Duration> = (0..200)
        .map(|_| {
            let began = Instant::now();
            raw.lookup(call).expect("it is stored");
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

#[test]
fn a_quiet_users_hits_beside_a_flood_come_in_time() {
    let Some(house) = House::new(OPEN) else { return };
    let stored = harness::call("quiet");
    let mut quiet = house.connect(BOB);
    assert_eq!(quiet.put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    for kind in ["hits", "puts", "uploads"] {
        let done = AtomicBool::new(false);
        let mut greedy: Vec<Raw> = (0..4).map(|_| house.connect(ALICE)).collect();
        let took = thread::scope(|scope| {
            for raw in &mut greedy {
                scope.spawn(|| flood(raw, kind, &stored, &done));
            }
            let took = median(&mut quiet, &stored);
            done.store(true, Ordering::Relaxed);
            took
        });
        println!("beside {kind}: {took:?}");
        assert!(took < HIT_MAX, "beside {kind} a hit takes {took:?}");
    }
}
