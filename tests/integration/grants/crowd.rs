//! Many connections of one user, each with as much under way as it may have, beside one of another
//! user or of the same: who has little to ask waits for a few of the crowd's requests, and not for
//! some of each connection (issue 6).
//!
//! **Invariants.** What is counted is what the daemon has done for the crowd meanwhile, by its own
//! log, so that it hardly matters what else the machine does. What it takes in time is measured by
//! `make bench`, part `crowd`.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use harness::{CallBuilder, Raw, connected_many_as, eventually};
use memod_protocol::frame::{PREFIX_BYTES, Prefix};
use memod_protocol::handshake::CAPABILITIES;
use memod_protocol::limits::REQUESTS_IN_FLIGHT_MAX;
use memod_protocol::{Frame, LogQuery, PutOutcome, RequestHeader, Verb};

use super::house::{ALICE, BOB, House};

/// Whoever can connect may use the cache; and a log that holds all of a part of the test.
const OPEN: &str = "socket_mode = \"0666\"\nlog_requests = 100000\n";
/// The crowd's connections, and the threads of the test that keep them busy.
const CONNECTIONS: usize = 64;
const THREADS: usize = 4;
/// What the quiet client asks, one behind the other, and how often it sends as much as it may.
const HITS: usize = 100;
const WAVES: usize = 10;
/// Requests of the crowd that are answered while one of the quiet client is on its way, at the
/// lowest decile, since more of them are when the machine lets another program go first: fewer
/// than one for each connection. If each connection had its turn of two requests first, it would
/// be twice as many as there are connections.
const MEANWHILE_MAX: u64 = CONNECTIONS as u64;
/// The same for each of as many as another user's one connection may have under way. Were it
/// served as one connection of many, that would be as many as there are connections.
const SHARE_MAX: u64 = CONNECTIONS as u64 * 3 / 8;

/// As many hits as may be under way at once, as bytes.
fn wave(stored: &CallBuilder) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in 1..=u64::from(REQUESTS_IN_FLIGHT_MAX) {
        let header = RequestHeader { id, request: stored.lookup() };
        bytes.extend_from_slice(&Frame::bare(&header).expect("it fits").head());
    }
    bytes
}

/// Reads the answers to a wave.
fn take(replies: &mut BufReader<UnixStream>) {
    let (mut prefix, mut rest) = ([0; PREFIX_BYTES], Vec::new());
    for _ in 0..REQUESTS_IN_FLIGHT_MAX {
        replies.read_exact(&mut prefix).expect("the daemon lives");
        rest.resize(Prefix::parse(prefix).expect("a frame").body_bytes(), 0);
        replies.read_exact(&mut rest).expect("the daemon lives");
    }
}

/// Keeps waves under way on all these connections until it is told to end.
fn crowd(sockets: Vec<UnixStream>, wave: &[u8], done: &AtomicBool) {
    let mut connections: Vec<_> = sockets.into_iter().map(BufReader::new).collect();
    for connection in &mut connections {
        connection.get_mut().write_all(wave).expect("the daemon lives");
    }
    while !done.load(Ordering::Relaxed) {
        for connection in &mut connections {
            take(connection);
            connection.get_mut().write_all(wave).expect("the daemon lives");
        }
    }
    connections.iter_mut().for_each(take);
}

/// The numbers, in the log of all, of the last hits of a quiet client.
fn numbers(house: &House, count: usize) -> Vec<u64> {
    let (task, limit) = (Some("quiet".to_owned()), u32::try_from(count).expect("few"));
    let query = LogQuery { task, verb: Some(Verb::Lookup), limit, ..LogQuery::default() };
    let rows = house.daemon.connect().log(query).rows;
    assert_eq!(rows.len(), count, "the crowd has driven the others out of the log");
    rows.iter().map(|row| row.sequence).collect()
}

/// Ends the crowd, also if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of[of.len() / 2]
}

/// What the crowd is answered while one hit of a quiet client is on its way.
fn meanwhile(house: &House, quiet: &mut Raw, call: &CallBuilder) -> u64 {
    for _ in 0..HITS {
        quiet.lookup(call).expect("it is stored");
    }
    let hits = numbers(house, HITS);
    let mut gaps: Vec<u64> = hits.windows(2).map(|pair| pair[1] - pair[0] - 1).collect();
    gaps.sort_unstable();
    gaps[gaps.len() / 10]
}

/// What the crowd is answered for each hit of a client that has as many under way as it may.
fn share(house: &House, quiet: &Raw, wave: &[u8]) -> u64 {
    let mut connection = BufReader::new(quiet.stream().try_clone().expect("a descriptor more"));
    let shares = (0..WAVES).map(|_| {
        connection.get_mut().write_all(wave).expect("the daemon lives");
        take(&mut connection);
        let numbers = numbers(house, REQUESTS_IN_FLIGHT_MAX as usize);
        (numbers[numbers.len() - 1] - numbers[0]) / u64::from(REQUESTS_IN_FLIGHT_MAX)
    });
    median(shares.collect())
}

#[test]
fn a_quiet_clients_hit_waits_for_few_of_a_crowds_requests() {
    let Some(house) = House::new(OPEN) else { return };
    let (quiet, crowded) = (harness::call("quiet"), harness::call("crowd"));
    let [mut other, mut same] = [house.connect(BOB), house.connect(ALICE)];
    for call in [&quiet, &crowded] {
        assert_eq!(other.put(call.put(&[("o0", b"x")])), PutOutcome::Populated);
    }
    let sockets = connected_many_as(&house.daemon.socket(), ALICE, ALICE, CONNECTIONS);
    let mut sockets = sockets.into_iter().map(|socket| {
        let mut raw = Raw::over(socket);
        raw.greet_with(CAPABILITIES);
        raw.is_welcome();
        raw.stream().try_clone().expect("a descriptor more")
    });
    let (crowds, done) = (&wave(&crowded), &AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let part = sockets.by_ref().take(CONNECTIONS / THREADS).collect();
            scope.spawn(move || crowd(part, crowds, done));
        }
        let _ends = Ends(done);
        let mut observer = house.daemon.connect();
        let all = (CONNECTIONS * REQUESTS_IN_FLIGHT_MAX as usize) as u64;
        eventually("the crowd is busy", || observer.stats().hits > all);
        let share = share(&house, &other, &wave(&quiet));
        let [of_other, of_same] = [&mut other, &mut same].map(|raw| meanwhile(&house, raw, &quiet));
        println!("for each of many: {share}, beside one: {of_other}, of the same user: {of_same}");
        assert!(share > 0, "the crowd was not busy");
        assert!(share < SHARE_MAX, "the crowd has {share} for each of another user");
        assert!(of_other < MEANWHILE_MAX, "{of_other} of the crowd before one of another user");
        assert!(of_same < MEANWHILE_MAX, "{of_same} of the crowd before one of the same user");
    });
}
