//! How the daemon leaves: it drains, it hurries when told twice, and it ends when nobody needs it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, Setup, call, eventually, wait};
use memod_protocol::{Frame, LogQuery, PutOutcome, Request, RequestHeader, Response};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// Far less than the drain timeout in the tests that use it, far more than an end takes.
const PROMPTLY: Duration = Duration::from_secs(5);

/// A put of which the daemon has read one half; the other half is still to be sent.
struct HalfPut {
    raw: Raw,
    call: CallBuilder,
    rest: Bytes,
}

impl HalfPut {
    fn begin(daemon: &Daemon) -> Self {
        let call = call("half");
        let (put, payload) = call.put(&[("o0", &[b'h'; 3000])]);
        let request = RequestHeader { id: 100, request: Request::Put(Box::new(put)) };
        let frame = Frame::new(&request, vec![payload]).unwrap();
        let whole: Bytes = [frame.head(), frame.payload[0].clone()].concat().into();
        let ping = RequestHeader { id: 99, request: Request::Ping };
        let first = [Frame::bare(&ping).unwrap().head(), whole.slice(..whole.len() / 2)].concat();
        let mut raw = daemon.connect();
        // Both came in one piece, so whoever answers the first has read the second.
        raw.send_bytes(&first).unwrap();
        assert!(matches!(raw.read_reply().unwrap().response, Response::Pong));
        Self { raw, call, rest: whole.slice(whole.len() / 2..) }
    }

    /// Sends the rest; it must be answered, and then the connection ends.
    fn drain(mut self) {
        self.raw.send_bytes(&self.rest).unwrap();
        let reply = self.raw.read_reply().expect("what has begun is answered");
        assert!(matches!((reply.id, reply.response), (100, Response::Put(PutOutcome::Populated))));
        assert!(self.raw.read_frame().is_none(), "the connection goes on");
    }
}

/// Waits until nobody can connect any more.
fn refuses_connections(daemon: &Daemon) {
    eventually("nobody listens", || {
        let refusals = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
        UnixStream::connect(daemon.socket()).is_err_and(|error| refusals.contains(&error.kind()))
    });
}

#[test]
fn a_put_in_flight_is_answered_before_the_daemon_ends() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::new();
        let half = HalfPut::begin(&daemon);
        let stored = half.call.clone();
        daemon.signal(signal);
        refuses_connections(&daemon);
        half.drain();
        assert_eq!(daemon.wait().code(), Some(0), "{signal}");
        daemon.start().unwrap();
        let (_, contents) = daemon.connect().lookup(&stored).expect("it was acknowledged");
        assert_eq!(contents, [vec![b'h'; 3000]]);
    }
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    for second in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Setup::new().config("drain_timeout = \"50s\"\n").start();
        let half = HalfPut::begin(&daemon);
        daemon.signal(Signal::SIGTERM);
        refuses_connections(&daemon);
        let began = Instant::now();
        daemon.signal(second);
        daemon.wait();
        assert!(began.elapsed() < PROMPTLY, "it took {:?}", began.elapsed());
        // What had not been acknowledged is not there, and the store is whole.
        daemon.start().unwrap();
        assert!(daemon.connect().lookup(&half.call).is_err());
    }
}

#[test]
fn a_request_that_never_becomes_whole_holds_the_end_up_for_the_drain_timeout_only() {
    let mut daemon = Setup::new().config("drain_timeout = \"1s\"\n").start();
    let half = HalfPut::begin(&daemon);
    let began = Instant::now();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1), "it did not wait");
    assert!(began.elapsed() < Duration::from_secs(1) + PROMPTLY, "{:?}", began.elapsed());
    drop(half);
}

#[test]
fn idle_clients_do_not_hold_the_end_up() {
    let mut daemon = Setup::new().config("drain_timeout = \"50s\"\n").start();
    let mut idle: Vec<Raw> = (0..50).map(|_| daemon.connect()).collect();
    idle.push(Raw::connect(&daemon.socket()));
    for raw in &mut idle[..10] {
        raw.send(Request::UploadData { upload: 1 }, Bytes::from_static(b"begun"));
        assert!(raw.ping());
    }
    let began = Instant::now();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(began.elapsed() < PROMPTLY, "it took {:?}", began.elapsed());
    for raw in &mut idle {
        assert!(raw.read_frame().is_none(), "they are told by the end of the stream");
    }
}

#[test]
fn a_daemon_that_nobody_uses_ends_by_itself_and_not_before() {
    let mut daemon = Setup::new().argument("--idle-exit=1s").start();
    // Only the first client of all shows that the daemon waits for the last one to leave.
    let (mut first, began) = (daemon.connect(), Instant::now());
    let mut second = daemon.connect();
    while began.elapsed() < Duration::from_millis(1500) {
        assert!(first.ping(), "a daemon in use does not end");
    }
    drop(first);
    assert!(second.ping());
    let left = Instant::now();
    drop(second);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(left.elapsed() >= Duration::from_millis(900), "{:?}", left.elapsed());
    assert!(!daemon.socket().exists());
    // Nobody at all is nobody too.
    daemon.start().unwrap();
    assert_eq!(daemon.wait().code(), Some(0));
}

/// Who waits for the log's next row, and who has died while it did, keeps nobody from ending.
#[test]
fn who_follows_the_log_does_not_keep_the_daemon_from_ending() {
    let mut daemon = Daemon::new();
    let follow = |raw: &mut Raw| {
        let query = LogQuery { from: Some(1_000_000), wait_ms: 60_000, ..LogQuery::default() };
        raw.send(Request::Log(Box::new(query)), Bytes::new());
        assert!(raw.ping(), "so the query before it has been begun");
    };
    let [mut living, mut dead] = [daemon.connect(), daemon.connect()];
    follow(&mut living);
    follow(&mut dead);
    drop(dead);
    let began = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let reply = living.read_reply().expect("it is answered");
    assert!(matches!(reply.response, Response::Logged(page) if page.rows.is_empty()));
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(began.elapsed() < PROMPTLY, "{:?}", began.elapsed());
    assert!(!daemon.log().contains("still in flight"), "{}", daemon.log());
}

/// Whatever of it the daemon has come to when the signal does.
#[test]
fn a_signal_while_the_daemon_starts_ends_it_in_order() {
    let daemon = Setup::new().prepare();
    let config = daemon.folder().join("slow.toml");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        mkfifo(&config, Mode::S_IRWXU).unwrap();
        let mut command = daemon.command();
        command
            .env("MEMOD_CONFIG", &config)
            .stderr(File::create(daemon.folder().join("log")).unwrap());
        let mut started = command.spawn().unwrap();
        // Opened as soon as the daemon reads it, which then waits for the rest.
        let mut writer = File::options().write(true).open(&config).unwrap();
        kill(Pid::from_raw(started.id().cast_signed()), signal).unwrap();
        writer.write_all(b"max_age = \"1h\"\n").unwrap();
        drop(writer);
        let ended = wait(&mut started).expect("it ends");
        assert_eq!((ended.code(), ended.signal()), (Some(0), None), "{signal}: {}", daemon.log());
        assert!(daemon.log().contains("before anything has been opened"), "{}", daemon.log());
        fs::remove_file(&config).unwrap();
    }
}
