//! A daemon under load that is killed and started again, while its socket stays: nobody is refused
//! and nobody sees an error, only a delay (issue 6).

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{PATIENCE, Setup, binary, call, eventually, run, wait};
use memod_client::{Client, Lookup, LookupOptions, PutOptions, PutOutput, Source};
use memod_protocol::LiteralType;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Clients at work: half of them keep their connection, half open one for each request.
const CLIENTS: u64 = 8;
/// How often the daemon is ended under them.
const RESTARTS: u32 = 6;
/// What each does between two ends.
const BETWEEN: u64 = 20;

fn client(socket: &Path) -> Client {
    Client::builder().socket(socket).deadline(PATIENCE).board(false).build()
}

fn task(number: u64) -> memod_protocol::Call {
    call("load").version(&number.to_string()).0
}

fn content(number: u64) -> Vec<u8> {
    number.to_string().repeat(100).into_bytes()
}

fn put(client: &Client, number: u64) {
    let output = PutOutput {
        name: "o0".into(),
        literal_type: LiteralType::String,
        source: Source::Bytes(content(number).into()),
    };
    client.put(&task(number), vec![output], &PutOptions::default()).expect("stored, if late");
}

fn finds(client: &Client, number: u64) {
    match client.lookup(&task(number), &LookupOptions::default()).expect("answered, if late") {
        Lookup::Hit(hit) => assert_eq!(hit.outputs[0].bytes, content(number).len() as u64),
        Lookup::Miss(miss) => panic!("{number} was acknowledged: {miss:?}"),
    }
}

/// Puts and looks up what it has put, until it is told to stop.
fn work(socket: &Path, of: u64, done: &AtomicBool, count: &AtomicU64) {
    let kept = client(socket);
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let fresh = of.is_multiple_of(2).then(|| client(socket));
        let client = fresh.as_ref().unwrap_or(&kept);
        let number = of * 1_000_000 + number;
        put(client, number);
        finds(client, number);
        finds(client, of * 1_000_000);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_client_sees_an_error_when_a_daemon_under_load_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("given.sock");
    let mut daemon = Setup::new().inherits(UnixListener::bind(&path).unwrap()).prepare();
    daemon.listen_on(&path);
    daemon.start().unwrap();
    let (done, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let all = thread::scope(|scope| {
        for of in 1..=CLIENTS {
            let (path, done, count) = (&path, &done, &count);
            scope.spawn(move || work(path, of, done, count));
        }
        for number in 0..RESTARTS {
            let begun = count.load(Ordering::Relaxed);
            eventually("they work", || count.load(Ordering::Relaxed) >= begun + CLIENTS * BETWEEN);
            if number % 3 == 2 {
                assert_eq!(daemon.stop().code(), Some(0), "it drains under load");
            } else {
                daemon.kill();
            }
            daemon.start().unwrap();
        }
        let begun = count.load(Ordering::Relaxed);
        eventually("they work", || count.load(Ordering::Relaxed) >= begun + CLIENTS * BETWEEN);
        done.store(true, Ordering::Relaxed);
        count.load(Ordering::Relaxed)
    });
    assert!(all >= CLIENTS * BETWEEN * u64::from(RESTARTS + 1));
    let mut raw = daemon.connect();
    assert!(raw.stats().entries >= all, "what was acknowledged is there");
}

#[test]
fn a_daemon_under_load_drains_within_its_deadline_and_loses_nothing_acknowledged() {
    let mut daemon = Setup::new().config("drain_timeout = \"5s\"\n").start();
    let socket = daemon.socket();
    let (count, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let took = thread::scope(|scope| {
        for of in 0..CLIENTS {
            let (socket, count, failed) = (&socket, &count, &failed);
            scope.spawn(move || {
                let client = client(socket);
                for number in 0.. {
                    let output = PutOutput {
                        name: "o0".into(),
                        literal_type: LiteralType::String,
                        source: Source::Bytes(content(number).into()),
                    };
                    let of_client = call("drain").version(&format!("{of}.{number}")).0;
                    let put = client.put(&of_client, vec![output], &PutOptions::default());
                    if put.is_err() {
                        failed.fetch_add(number, Ordering::Relaxed);
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("they work", || count.load(Ordering::Relaxed) >= CLIENTS * BETWEEN);
        let began = Instant::now();
        assert_eq!(daemon.stop().code(), Some(0));
        began.elapsed()
    });
    assert!(took < Duration::from_secs(5) + PATIENCE / 4, "{took:?}");
    let acknowledged = count.load(Ordering::Relaxed);
    assert_eq!(failed.load(Ordering::Relaxed), acknowledged, "each stopped at its first error");
    daemon.start().unwrap();
    let entries = daemon.connect().stats().entries;
    // A put of each may have been stored without its client having been told.
    assert!((acknowledged..=acknowledged + CLIENTS).contains(&entries), "{acknowledged} {entries}");
}

#[test]
fn the_first_client_starts_a_daemon_behind_systemds_own_socket() {
    let daemon = Setup::new().prepare();
    let socket = daemon.folder().join("activated.sock");
    let mut holder = Command::new("systemd-socket-activate");
    holder.arg("--listen").arg(&socket).arg(binary("memod")).arg("--data").arg(daemon.data());
    holder.env("MEMOD_CONFIG", "").stdin(Stdio::null()).stdout(Stdio::null());
    let said = std::fs::File::create(daemon.folder().join("said")).unwrap();
    let mut holder = holder.stderr(said).spawn().expect("systemd is installed");
    eventually("it listens", || socket.exists());
    assert!(!daemon.data().exists(), "nothing runs yet");
    // Many first clients at once.
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let socket = &socket;
            scope.spawn(move || {
                let client = client(socket);
                put(&client, number);
                finds(&client, number);
            });
        }
    });
    let mut status = daemon.memo();
    let told = run(status.env("MEMOD_SOCKET", &socket).args(["--format", "json", "status"]));
    assert_eq!(told.json()["pid"], holder.id(), "it is the process that waited: {told:?}");
    kill(Pid::from_raw(i32::try_from(holder.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut holder).and_then(|status| status.code()), Some(0));
    assert!(socket.exists(), "the socket is not the daemon's to remove");
}
