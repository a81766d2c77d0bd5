//! Semantics 28: a worker that is killed with SIGKILL while others wait for what it computes.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{CallBuilder, Daemon, Raw, WaitingClaim, call};
use memod_protocol::PutOutcome;

use super::hold::all_is_quiet;
use crate::client::to_daemon;

/// Set in a worker process: the daemon's socket.
const SOCKET: &str = "MEMOD_TEST_OWNER_SOCKET";
/// Set in a worker process: how it takes the lease.
const WAY: &str = "MEMOD_TEST_OWNER_WAY";
/// What a worker says when it has the lease.
const THERE: &str = "the worker owns";
/// How long the next may have to wait for the lease on a busy machine.
const NEXT_MAX: Duration = Duration::from_secs(5);
const WAITERS: usize = 50;

fn task() -> CallBuilder {
    call("killed owner")
}

/// The worker: takes the lease, or waits for it, and computes until it is killed.
fn work(socket: &Path, way: &str) {
    match way {
        "by the protocol" => {
            let mut raw = Raw::greeted(socket);
            raw.owns(task().claim());
            println!("{THERE}");
            // The connection lives as long as the process does.
            loop {
                std::thread::park();
            }
        }
        "by the library" => {
            let client = memod_client::Client::builder().socket(socket).build();
            let claimed = client.claim(&task().0, &memod_client::ClaimOptions::default());
            let Ok(memod_client::Claimed::Leased(lease)) = claimed else {
                panic!("the lease was due, not {claimed:?}")
            };
            println!("{THERE}");
            while lease.key() == task().0.key().unwrap() {
                std::thread::park();
            }
        }
        other => panic!("{other} is no way"),
    }
}

/// Starts this very test in a process of its own, as a worker, and waits until it owns.
fn start(daemon: &Daemon, way: &str) -> Child {
    let mut worker = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("leases::worker::s28_an_owner_that_is_killed_is_followed_by_exactly_one")
        .env(SOCKET, daemon.socket())
        .env(WAY, way)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(worker.stdout.take().unwrap()).lines();
    let there = said.map_while(Result::ok).any(|line| line.ends_with(THERE));
    assert!(there, "the worker ended before it owned");
    worker
}

fn waiters(daemon: &Daemon, owner: u32) -> Vec<(Raw, WaitingClaim)> {
    let wait = |_| {
        let mut raw = daemon.connect();
        let waiting = raw.waits(task().claim());
        assert_eq!(waiting.pending.holder.pid, Some(owner), "it is told who computes");
        (raw, waiting)
    };
    (0..WAITERS).map(wait).collect()
}

#[test]
fn s28_an_owner_that_is_killed_is_followed_by_exactly_one() {
    if let (Some(socket), Ok(way)) = (env::var_os(SOCKET), env::var(WAY)) {
        return work(&PathBuf::from(socket), &way);
    }
    for way in ["by the protocol", "by the library"] {
        let daemon = Daemon::new();
        let mut worker = start(&daemon, way);
        let mut waiters = waiters(&daemon, worker.id());
        worker.kill().unwrap();
        let killed = Instant::now();
        let (mut next, waiting) = waiters.remove(0);
        let leased = next.woken_as_owner(&waiting);
        println!("{way}: the next owned {:?} after the kill", killed.elapsed());
        assert!(killed.elapsed() < NEXT_MAX);
        worker.wait().unwrap();
        assert_eq!(leased.holder.pid, Some(std::process::id()));
        // Whoever came to own beside it would find that in the way of its hit.
        assert_eq!(next.leases_and_waiters(), (1, WAITERS as u64 - 1));
        assert_eq!(next.put(task().put(&[("o0", b"made")])), PutOutcome::Populated);
        for (raw, waiting) in &mut waiters {
            assert_eq!(raw.woken_by_hit(waiting).1, ["made"]);
            assert!(raw.ping(), "that was the last answer");
        }
        all_is_quiet(&daemon);
        assert_eq!(to_daemon(&daemon).stats().unwrap().whole.unwrap().puts, 1);
    }
}
