//! Many connections: what they leave behind when they are gone is nothing.

use bytes::Bytes;
use harness::{Daemon, Raw, Setup, call, descriptors, eventually, resident_bytes, threads};
use memod_protocol::{PutOutcome, Request, Response};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::bystander::assert_bounded;

/// More threads than the daemon may ever have: two for each core, those that wait for the disk,
/// and those of the database.
const THREADS_MAX: usize = 128;

/// Lets this process hold as many connections as it may.
fn allow_many_descriptors() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard >= 4096, "this machine allows {soft} open files, {hard} at the most");
}

/// Waits until one connection is left and the daemon has as few descriptors as it had before.
fn all_are_gone(observer: &mut Raw, daemon: &Daemon, before: usize) {
    eventually("one connection is left", || observer.stats().connections == 1);
    eventually("the descriptors are closed", || descriptors(daemon.pid()) <= before);
}

#[test]
fn ten_thousand_connections_one_after_the_other_leave_nothing_behind() {
    let daemon = Daemon::new();
    let mut observer = daemon.connect();
    let stored = call("ten thousand");
    assert_eq!(observer.put(stored.put(&[("o0", b"content")])), PutOutcome::Populated);
    let visits = |count: u32| {
        for number in 0..count {
            let mut raw = daemon.connect();
            match number % 4 {
                0 => assert!(raw.ping()),
                1 => assert_eq!(raw.lookup(&stored).unwrap().1, ["content"]),
                // Leaves without waiting for the answer.
                2 => drop(raw.send(stored.lookup(), Bytes::new())),
                _ => drop(raw.send(Request::UploadData { upload: 1 }, Bytes::from_static(b"x"))),
            }
        }
    };
    // The first thousand let the daemon grow to its working size.
    visits(1000);
    eventually("they are gone", || observer.stats().connections == 1);
    let (before, resident) = (descriptors(daemon.pid()), resident_bytes(daemon.pid()));
    visits(10_000);
    all_are_gone(&mut observer, &daemon, before);
    let growth = resident_bytes(daemon.pid()).saturating_sub(resident);
    assert!(growth < 16 << 20, "the daemon has grown by {} KiB", growth >> 10);
    assert!(threads(daemon.pid()) < THREADS_MAX);
    assert!(observer.lookup(&stored).is_ok());
}

#[test]
fn five_hundred_connections_at_once_are_all_served_and_leave_nothing_behind() {
    allow_many_descriptors();
    let daemon = Daemon::new();
    let mut observer = daemon.connect();
    let stored = call("five hundred");
    let content = vec![b'c'; 10_000];
    assert_eq!(observer.put(stored.put(&[("o0", &content)])), PutOutcome::Populated);
    let before = descriptors(daemon.pid());
    let mut resident = 0;
    for round in 0..4 {
        let mut all: Vec<Raw> = (0..500).map(|_| daemon.connect()).collect();
        assert_eq!(observer.stats().connections, 501);
        // All ask before any is answered: a lookup each, then a put of its own.
        for (number, raw) in all.iter_mut().enumerate() {
            raw.send(stored.lookup(), Bytes::new());
            let own = call("five hundred").version(&format!("{round}.{number}"));
            let (put, payload) = own.put(&[("o0", number.to_string().as_bytes())]);
            raw.send(Request::Put(Box::new(put)), payload);
        }
        for raw in &mut all {
            let mut answers = [raw.read_reply().unwrap(), raw.read_reply().unwrap()];
            answers.sort_by_key(|reply| reply.id);
            assert!(matches!(answers[0].response, Response::Hit(_)));
            assert_eq!(answers[0].payload, content);
            assert!(matches!(answers[1].response, Response::Put(PutOutcome::Populated)));
        }
        assert!(threads(daemon.pid()) < THREADS_MAX);
        drop(all);
        all_are_gone(&mut observer, &daemon, before);
        if round == 0 {
            resident = resident_bytes(daemon.pid());
        }
    }
    let growth = resident_bytes(daemon.pid()).saturating_sub(resident);
    assert!(growth < 32 << 20, "the daemon has grown by {} KiB", growth >> 10);
    assert_bounded(&daemon);
    assert_eq!(observer.stats().entries, 1 + 4 * 500);
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let daemon = Setup::new().config("connections_max = 10\n").start();
    let mut served: Vec<Raw> = (0..10).map(|_| daemon.connect()).collect();
    // The kernel takes the connection and the greeting; the daemon answers when there is room.
    let mut waiting: Vec<Raw> = (0..10).map(|_| Raw::connect(&daemon.socket())).collect();
    for raw in &mut waiting {
        raw.greet();
    }
    assert_eq!(served[0].stats().connections, 10);
    for raw in &mut waiting {
        served.remove(0);
        raw.is_welcome();
        assert!(raw.ping());
    }
    assert_eq!(waiting[0].stats().connections, 10);
}

#[test]
fn a_daemon_with_few_descriptors_keeps_some_and_serves_others_later() {
    let daemon = Setup::new().descriptors_max(128).start();
    assert!(daemon.log().contains("may open 128 files"), "{}", daemon.log());
    let mut served = vec![daemon.connect()];
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::connect(&daemon.socket());
        raw.greet();
        waiting.push(raw);
    }
    eventually("no more are let in", || served[0].stats().connections == 32);
    assert!(served[0].ping(), "who is connected is served");
    // The database can still open files.
    assert_eq!(served[0].put(call("among many").put(&[("o0", b"x")])), PutOutcome::Populated);
    let collected = served[0].try_ask(Request::Collect, b"").unwrap().response;
    assert!(matches!(collected, Response::Collected(_)), "{collected:?}");
    assert!(descriptors(daemon.pid()) < 128);
    // Each that leaves makes room for another.
    for mut raw in waiting {
        raw.is_welcome();
        assert!(raw.ping());
    }
    assert!(daemon.connect().ping());
    served.clear();
}
