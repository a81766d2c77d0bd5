//! Many connections: what they leave behind when they are gone is nothing.

use bytes::Bytes;
use harness::{
    CallBuilder, Daemon, Raw, Setup, call, descriptors, eventually, resident_bytes, run, threads,
};
use memod_protocol::{ErrorCode, PutOutcome, Request, Response};
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

/// Connects and greets, to be answered later.
fn comes(daemon: &Daemon) -> Raw {
    let mut raw = Raw::connect(&daemon.socket());
    raw.greet();
    raw
}

#[test]
fn who_comes_beyond_the_limit_is_told_that_the_daemon_is_busy() {
    let daemon = Setup::new().config("connections_max = 10\n").start();
    let mut served: Vec<Raw> = (0..10).map(|_| daemon.connect()).collect();
    // At first the daemon waits for one to end, and then no longer.
    for mut raw in [comes(&daemon), comes(&daemon), comes(&daemon)] {
        let error = raw.is_refused();
        assert_eq!(error.code, ErrorCode::Busy);
        assert_eq!(error.message, "all 10 connections that there may be are open");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("connections_max")));
        assert!(raw.read_frame().is_none(), "the connection is over");
    }
    let ran = run(daemon.memo().args(["--format", "json", "ls"]));
    assert_eq!((ran.code, &ran.json_error()["code"]), (Some(5), &"busy".into()), "{ran:?}");
    // More than are told at a time, none of which says anything: nobody is kept waiting by them.
    let silent: Vec<Raw> = (0..100).map(|_| Raw::connect(&daemon.socket())).collect();
    assert!(served[0].ping());
    for mut raw in silent {
        // Those beyond are left at once, with the same word.
        assert_eq!(raw.is_refused().code, ErrorCode::Busy);
    }
    assert_eq!(served[0].stats().connections, 10, "who is refused is not counted");
    served.pop();
    eventually("the other has left", || served[0].stats().connections == 9);
    assert!(daemon.connect().ping(), "there is room again");
}

#[test]
fn who_comes_when_one_is_about_to_leave_is_served() {
    let daemon = Setup::new().config("connections_max = 4\n").start();
    let mut served: Vec<Raw> = (0..4).map(|_| daemon.connect()).collect();
    for _ in 0..20 {
        let mut next = comes(&daemon);
        drop(served.remove(0));
        next.is_welcome();
        served.push(next);
    }
    assert_eq!(served[0].stats().connections, 4);
}

#[test]
fn a_daemon_with_few_descriptors_keeps_some_and_refuses_those_beyond() {
    let daemon = Setup::new().descriptors_max(128).start();
    assert!(daemon.log().contains("may open 128 files"), "{}", daemon.log());
    let mut served: Vec<Raw> = (0..48).map(|_| daemon.connect()).collect();
    for round in 0..3 {
        let refused: Vec<Raw> = (0..100).map(|_| Raw::connect(&daemon.socket())).collect();
        assert!(served[0].ping(), "who is connected is served");
        drop(refused);
        let error = comes(&daemon).is_refused();
        assert_eq!(error.message, "all 48 connections that there may be are open");
        // The database can still open files.
        let put = call("among many").version(&round.to_string()).put(&[("o0", b"x")]);
        assert_eq!(served[0].put(put), PutOutcome::Populated);
        let collected = served[0].try_ask(Request::Collect, b"").unwrap().response;
        assert!(matches!(collected, Response::Collected(_)), "{collected:?}");
        assert!(descriptors(daemon.pid()) < 128);
    }
    served.truncate(1);
    eventually("the others have left", || served[0].stats().connections == 1);
    assert!(daemon.connect().ping());
}

/// What an idle connection may cost, all of it counted: the kernel's part is not the process's.
const IDLE_BYTES_MAX: u64 = 16 * 1024;
/// What the daemon may have in memory beside them.
const CROWD_BYTES_MAX: u64 = 160 << 20;
const IDLE: usize = 10_000;
const BUSY: usize = 1000;
/// What the daemon needs for them: one for each, an eighth as many to wait for room to write, and
/// its own.
const CROWD_DESCRIPTORS: usize = (IDLE + BUSY) / 8 * 9 + 720;
/// What a daemon with an empty store has open besides connections, at the most.
const OWN_DESCRIPTORS_MAX: usize = 64;

/// Raises this process's limit, which the daemon inherits; whether that is enough for the crowd.
fn allows_the_crowd() -> bool {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let is_enough = hard >= CROWD_DESCRIPTORS as u64;
    if !is_enough {
        eprintln!("NOT TESTED: {CROWD_DESCRIPTORS} open files are needed, and {hard} are allowed");
    }
    is_enough
}

/// Each asks for the same five times, all of them before any is answered.
fn all_work(working: &mut [Raw], stored: &CallBuilder) {
    for _ in 0..5 {
        for raw in &mut *working {
            raw.send(stored.lookup(), Bytes::new());
        }
        for raw in &mut *working {
            let reply = raw.read_reply().expect("a reply");
            assert!(matches!(reply.response, Response::Hit(_)), "{:?}", reply.response);
        }
    }
}

#[test]
fn ten_thousand_idle_connections_and_a_thousand_busy_ones_take_what_is_stated() {
    if !allows_the_crowd() {
        return;
    }
    let daemon = Setup::new().config(format!("connections_max = {}\n", IDLE + BUSY)).start();
    assert!(!daemon.log().contains("connections at a time, not"), "{}", daemon.log());
    let base = descriptors(daemon.pid());
    assert!(base <= OWN_DESCRIPTORS_MAX, "the daemon alone has {base} open files");
    let mut working: Vec<Raw> = (0..BUSY).map(|_| daemon.connect()).collect();
    let stored = call("crowd");
    assert_eq!(working[0].put(stored.put(&[("o0", &[b'c'; 1000])])), PutOutcome::Populated);
    all_work(&mut working, &stored);
    let before = resident_bytes(daemon.pid());
    let open = descriptors(daemon.pid());
    let waiting: Vec<Raw> = (0..IDLE).map(|_| daemon.connect()).collect();
    all_work(&mut working, &stored);
    let resident = resident_bytes(daemon.pid());
    let each = resident.saturating_sub(before) / IDLE as u64;
    let files = descriptors(daemon.pid());
    println!("{} MiB resident, {each} bytes an idle connection, {files} files", resident >> 20);
    assert!(resident <= CROWD_BYTES_MAX, "{} MiB are resident", resident >> 20);
    assert!(each < IDLE_BYTES_MAX, "an idle connection takes {each} bytes");
    assert_eq!(files - open, IDLE, "an idle connection is one descriptor");
    assert!(files <= IDLE + BUSY + OWN_DESCRIPTORS_MAX, "{files} files are open");
    for mut beyond in [comes(&daemon), comes(&daemon)] {
        let error = beyond.is_refused();
        assert_eq!(error.code, ErrorCode::Busy);
        assert_eq!(error.message, "all 11000 connections that there may be are open");
    }
    assert!(threads(daemon.pid()) < THREADS_MAX);
    all_work(&mut working, &stored);
    drop(waiting);
    let mut observer = working.swap_remove(0);
    drop(working);
    all_are_gone(&mut observer, &daemon, base + 1);
    assert_bounded(&daemon);
    assert!(daemon.connect().ping());
}
