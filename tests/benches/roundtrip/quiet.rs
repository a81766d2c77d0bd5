//! A quiet client beside one that floods the daemon: what its hits take then, and without.
//!
//! The flood is a process of its own, this program again, of another user if this one is root's,
//! with one connection or with many, on each of which it has as much under way as it may. It is
//! stopped and continued in turns. The same is done to an echo, whose ratio is what the machine
//! alone makes of a third process that is always busy.

use std::io::{BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{CallBuilder, Raw, Setup};
use memod_client::{Lookup, LookupOptions};
use memod_protocol::frame::{PREFIX_BYTES, Prefix};
use memod_protocol::{Frame, Request, RequestHeader};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, setsid, setuid};

use crate::echo::Echo;
use crate::latency::{client, noise, store, task, wire_bytes};
use crate::measure::{Report, Target, microseconds, quantile};

/// When set, this program floods the server on that socket.
pub(crate) const FLOOD_VARIABLE: &str = "MEMOD_BENCH_FLOOD";
/// Rounds without and with the flood, in turns.
const ROUNDS: usize = 10;
/// How long each of them is: many of the turns that the scheduler gives to processes.
const ROUND: Duration = Duration::from_millis(400);
/// Requests that the flood has under way on each connection.
const AHEAD: u64 = 64;
/// Connections of a flood that has many.
const CONNECTIONS: usize = 64;
/// Connections of a flood that comes in waves, each with [`AHEAD`] requests.
const WAVES: usize = 8;
/// How long the quiet client rests after each of its hits.
const REST: Duration = Duration::from_millis(2);
/// Who floods, where this program may be another user.
const OTHER: u32 = 20_001;

/// The call whose hits are measured, and flood.
fn stored() -> CallBuilder {
    task("quiet")
}

/// Floods until it is killed: `kind` of what is on the command line, as are the lengths of an echo.
pub(crate) fn flood(socket: &Path) {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if Uid::effective().is_root() {
        setuid(Uid::from_raw(OTHER)).expect("root may be anybody");
    }
    // As another user's would be: the kernel shares its processors between sessions first.
    setsid().expect("it leads no group");
    println!("ready");
    let connections = words[0].parse().expect("how many");
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| flood_one(socket, &words[1..]));
        }
    });
}

/// One connection of a flood.
fn flood_one(socket: &Path, words: &[String]) {
    match words[0].as_str() {
        "echo" => echo(socket, words[1].parse().expect("a length"), words[2].parse().expect("one")),
        "hits" => requests(socket, AHEAD, |raw, _| {
            raw.send(stored().lookup(), Bytes::new());
        }),
        "waves" => waves(socket),
        "puts" => requests(socket, AHEAD, |raw, number| {
            let call = task(&format!("flood {} {number}", nix::unistd::gettid()));
            let (put, payload) = call.put(&[("o0", &noise(4096, number << 8))]);
            raw.send(Request::Put(Box::new(put)), payload);
        }),
        "uploads" => {
            let chunk = noise(1 << 20, 9);
            requests(socket, 2, move |raw, number| {
                let upload = u32::try_from(number).expect("few");
                for _ in 0..16 {
                    raw.send(Request::UploadData { upload }, chunk.clone());
                }
                raw.send(Request::UploadEnd { upload, digest: None }, Bytes::new());
                raw.send(Request::UploadAbort { upload }, Bytes::new());
            });
        }
        other => panic!("{other} is no flood"),
    }
}

/// Keeps so many requests under way.
fn requests(socket: &Path, ahead: u64, mut send: impl FnMut(&mut Raw, u64)) {
    let mut raw = Raw::greeted(socket);
    (0..ahead).for_each(|number| send(&mut raw, number));
    for number in ahead.. {
        let reply = raw.read_reply().expect("the daemon lives");
        let refused = matches!(reply.response, memod_protocol::Response::Error(_));
        assert!(!refused, "the flood is taken: {:?}", reply.response);
        send(&mut raw, number);
    }
}

/// Asks for as many hits as may be under way at once, takes all answers, and asks again: it costs
/// the flood next to nothing, and the daemon has as much before it as one connection may.
fn waves(socket: &Path) {
    let raw = Raw::greeted(socket);
    let mut request = Vec::new();
    for id in 1..=AHEAD {
        let header = RequestHeader { id, request: stored().lookup() };
        request.extend_from_slice(&Frame::bare(&header).expect("fits").head());
    }
    let mut sent = raw.stream();
    let mut replies = BufReader::with_capacity(1 << 16, raw.stream());
    let (mut prefix, mut rest) = ([0; PREFIX_BYTES], Vec::new());
    loop {
        sent.write_all(&request).expect("the daemon lives");
        for _ in 0..AHEAD {
            replies.read_exact(&mut prefix).expect("the daemon lives");
            let lengths = Prefix::parse(prefix).expect("a frame");
            rest.resize(lengths.body_bytes(), 0);
            replies.read_exact(&mut rest).expect("the daemon lives");
        }
    }
}

fn echo(socket: &Path, request_bytes: u64, reply_bytes: u64) {
    let mut stream = UnixStream::connect(socket).expect("connected");
    for bytes in [request_bytes, reply_bytes] {
        stream.write_all(&bytes.to_le_bytes()).expect("sent");
    }
    let length = |bytes: u64| usize::try_from(bytes).expect("small");
    let (request, mut reply) = (vec![7; length(request_bytes)], vec![0; length(reply_bytes)]);
    for _ in 0..AHEAD {
        stream.write_all(&request).expect("sent");
    }
    loop {
        stream.read_exact(&mut reply).expect("echoed");
        stream.write_all(&request).expect("sent");
    }
}

/// A flood that is stopped.
struct Flood(Child);

impl Flood {
    fn begin(socket: &Path, words: &[String]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(words)
            .env(FLOOD_VARIABLE, socket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a flood begins");
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("ready");
        let mut flood = Self(child);
        flood.signal(Signal::SIGSTOP);
        flood
    }

    /// Signals it, which must still be there.
    fn signal(&mut self, signal: Signal) {
        let ended = self.0.try_wait().expect("it is a child of this process");
        assert!(ended.is_none(), "the flood has ended: {ended:?}");
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a process's number"));
        kill(pid, signal).expect("the flood goes on");
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures work beside a flood and without, in turns.
fn beside(
    report: &mut Report,
    name: &str,
    flood: &mut Flood,
    target: Target,
    (rest, work): (Duration, &mut dyn FnMut()),
) {
    let mut round = || -> Vec<f64> {
        let (until, mut samples) = (Instant::now() + ROUND, Vec::new());
        while Instant::now() < until {
            let began = Instant::now();
            work();
            samples.push(microseconds(began.elapsed()));
            // tidy: sleeps because a client that rests is what is measured.
            std::thread::sleep(rest);
        }
        samples
    };
    let (mut alone, mut flooded, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..=ROUNDS {
        let without = round();
        flood.signal(Signal::SIGCONT);
        let with = round();
        flood.signal(Signal::SIGSTOP);
        // The first round warms both up.
        if number > 0 {
            ratios.push(quantile(&with, 0.5) / quantile(&without, 0.5));
            alone.extend(without);
            flooded.extend(with);
        }
    }
    report.row(&format!("{name}: without"), "us", &alone, &[], Target::None);
    report.row(name, "us", &flooded, &ratios, target);
}

/// A hit beside each kind of flood on one connection.
pub(crate) fn quiet(report: &mut Report) {
    beside_floods(report, 1, Duration::ZERO, &["hits", "puts", "uploads"]);
    beside_floods(report, WAVES, REST, &["waves"]);
}

/// The same on many connections of one process, each with a thread of its own.
pub(crate) fn crowd(report: &mut Report) {
    beside_floods(report, CONNECTIONS, Duration::ZERO, &["hits", "puts"]);
    beside_floods(report, CONNECTIONS, REST, &["waves"]);
}

fn beside_floods(report: &mut Report, connections: usize, rest: Duration, kinds: &[&str]) {
    let daemon = Setup::new().config("socket_mode = \"0666\"\n").start();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(daemon.folder(), open).expect("it is ours");
    let asks = client(&daemon);
    let (call, options) = (stored(), LookupOptions::default());
    store(&asks, &call, noise(256, 1));
    let mut hit = || match asks.lookup(&call.0, &options).expect("an answer") {
        Lookup::Hit(hit) => assert_eq!(hit.outputs[0].bytes, 256),
        Lookup::Miss(miss) => panic!("a hit was due, not {miss:?}"),
    };
    let (request, reply) = wire_bytes(&daemon, &call);
    let server = Echo::start(daemon.folder());
    let everybody = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(server.socket(), everybody).expect("it is ours");
    let mut raw = server.connect(request, reply);
    let by = if connections == 1 { String::new() } else { format!(" on {connections}") };
    let connected = connections.to_string();
    let words = [connected.clone(), "echo".into(), request.to_string(), reply.to_string()];
    let mut flood = Flood::begin(server.socket(), &words);
    let name = format!("echo beside a flood of echoes{by}");
    beside(report, &name, &mut flood, Target::None, (rest, &mut || raw.ask()));
    // What the processors alone make of it: the flood is none of the daemon's.
    let name = format!("hit 256 B beside a flood of echoes{by}");
    beside(report, &name, &mut flood, Target::None, (rest, &mut hit));
    drop((flood, raw, server));
    for kind in kinds {
        let words = [connected.clone(), (*kind).to_owned()];
        let mut flood = Flood::begin(&daemon.socket(), &words);
        let name = format!("hit 256 B beside a flood of {kind}{by}");
        beside(report, &name, &mut flood, Target::AtMost(2.0), (rest, &mut hit));
    }
}
