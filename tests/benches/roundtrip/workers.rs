//! Clients in processes of their own, as workers are: each is this program, started again.
//!
//! A worker says that it is ready, and then does as many operations as it is told, from which
//! number on, and says so, until nobody tells it more.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::echo::EchoClient;
use crate::latency::{noise, patient, store, task};

/// When set, this program is a worker of that kind.
pub(crate) const KIND_VARIABLE: &str = "MEMOD_BENCH_WORKER";
/// The socket of the server that a worker asks.
const SOCKET_VARIABLE: &str = "MEMOD_BENCH_SOCKET";
/// What a put of 4 KiB is on the wire besides its content.
const AROUND_BYTES: usize = 300;

/// What a worker does again and again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Sends as many bytes as a put of 4 KiB has to an echo.
    Echo,
    /// Stores a new run of 4 KiB.
    Put,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Put => "put",
        }
    }
}

/// Is a worker.
pub(crate) fn serve(kind: &str) {
    let socket = PathBuf::from(std::env::var_os(SOCKET_VARIABLE).expect("a socket to ask"));
    if kind == Kind::Echo.name() {
        let mut echo = EchoClient::connect(&socket, 4096 + AROUND_BYTES, 16);
        obey(|_| echo.ask());
    } else {
        let client = patient(&socket);
        client.ping().expect("a daemon");
        obey(|number| store(&client, &task(&format!("put {number}")), noise(4096, number << 8)));
    }
}

/// Does what is read from standard input: the first number and how many.
fn obey(mut work: impl FnMut(u64)) {
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let (first, count) = line.split_once(' ').expect("two numbers");
        let first: u64 = first.parse().expect("a number");
        let count: u64 = count.parse().expect("a number");
        (first..first + count).for_each(&mut work);
        println!("done");
    }
}

/// Workers that wait to be told.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    /// No worker has had this number yet.
    next: u64,
}

struct Worker {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Workers {
    /// Starts so many.
    pub(crate) fn start(kind: Kind, socket: &Path, count: usize) -> Self {
        let workers = (0..count).map(|_| Worker::start(kind, socket)).collect();
        Self { workers, next: 1 }
    }

    /// Operations a second that so many of them do together, each doing this many.
    pub(crate) fn rate(&mut self, count: usize, operations: u64) -> f64 {
        let began = Instant::now();
        for worker in &mut self.workers[..count] {
            worker.tell(self.next, operations);
            self.next += operations;
        }
        for worker in &mut self.workers[..count] {
            worker.wait_for("done");
        }
        (count as u64 * operations) as f64 / began.elapsed().as_secs_f64()
    }
}

impl Worker {
    fn start(kind: Kind, socket: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .env(KIND_VARIABLE, kind.name())
            .env(SOCKET_VARIABLE, socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a worker starts");
        let says = BufReader::new(child.stdout.take().expect("piped"));
        let mut worker = Self { child, says };
        worker.wait_for("ready");
        worker
    }

    fn tell(&mut self, first: u64, count: u64) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(format!("{first} {count}\n").as_bytes()).expect("told");
    }

    fn wait_for(&mut self, wanted: &str) {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("text");
        assert_eq!(line.trim_end(), wanted, "a worker has ended");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
