//! Waking those who wait for a lease, and handing on a dead owner's.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Instant;

use harness::{CallBuilder, Daemon, eventually};
use memod_client::{ClaimOptions, Claimed, Client, PutOptions, PutOutput, Source};
use memod_protocol::LiteralType;

use crate::latency::{client, noise, task};
use crate::measure::{Report, Target};

/// When set, this program takes a lease from the daemon on that socket and keeps it.
pub(crate) const OWNER_VARIABLE: &str = "MEMOD_BENCH_OWNER";
/// The task whose lease it takes.
const OWNER_TASK: &str = "owned by a process";

const WAITERS: usize = 1000;
const HEIRS: usize = 50;

/// Takes the lease, says so, and computes for ever.
pub(crate) fn own(socket: &std::path::Path, round: &str) {
    let client = Client::builder().socket(socket).build();
    let claimed = client.claim(&owned(round).0, &ClaimOptions::default()).expect("answered");
    assert!(matches!(claimed, Claimed::Leased(_)), "{claimed:?}");
    println!("ready");
    loop {
        std::thread::park();
    }
}

fn owned(round: &str) -> CallBuilder {
    task(&format!("{OWNER_TASK} {round}"))
}

/// Calls `woken` in so many threads, each with a connection of its own, with what a claim of this
/// call came to; gives the threads once all of them wait.
fn wait_in<T: Send + 'static>(
    daemon: &Daemon,
    waiters: usize,
    call: &CallBuilder,
    woken: impl Fn(Claimed) -> T + Clone + Send + 'static,
) -> Vec<std::thread::JoinHandle<T>> {
    let connected = Arc::new(Barrier::new(waiters + 1));
    let threads = (0..waiters).map(|_| {
        let (client, call, woken) = (client(daemon), call.clone(), woken.clone());
        let connected = Arc::clone(&connected);
        let wait = move || {
            client.ping().expect("connected");
            connected.wait();
            woken(client.claim(&call.0, &ClaimOptions::default()).expect("answered"))
        };
        std::thread::Builder::new().stack_size(256 * 1024).spawn(wait).expect("a thread")
    });
    let threads = threads.collect();
    connected.wait();
    let observer = client(daemon);
    eventually("all wait", || {
        observer.stats().expect("answered").whole.expect("all is told").waiters == waiters as u64
    });
    threads
}

/// From the request to commit until the last of a thousand who wait has the outputs.
pub(crate) fn waking(report: &mut Report) {
    let daemon = Daemon::new();
    let owner = client(&daemon);
    let (mut lasts, mut medians) = (Vec::new(), Vec::new());
    for round in 0..8_u64 {
        let call = task(&format!("awaited {round}"));
        let claimed = owner.claim(&call.0, &ClaimOptions::default()).expect("answered");
        let Claimed::Leased(lease) = claimed else { panic!("{claimed:?}") };
        // Who is awake keeps quiet until all are: what is measured is waking, and not a thousand
        // connections that are closed.
        let awake = Arc::new(Barrier::new(WAITERS));
        let threads = wait_in(&daemon, WAITERS, &call, move |claimed| {
            let Claimed::Hit(hit) = claimed else { panic!("{claimed:?}") };
            assert_eq!(hit.outputs[0].bytes, 256);
            let at = Instant::now();
            awake.wait();
            at
        });
        let output = PutOutput {
            name: "o0".to_owned(),
            literal_type: LiteralType::Bytes,
            source: Source::Bytes(noise(256, round + 1)),
        };
        let began = Instant::now();
        lease.put(&call.0, vec![output], &PutOptions::default()).expect("stored");
        let mut woken: Vec<f64> = threads
            .into_iter()
            .map(|thread| {
                let at = thread.join().expect("woken");
                at.saturating_duration_since(began).as_secs_f64() * 1e3
            })
            .collect();
        woken.sort_by(f64::total_cmp);
        medians.push(woken[WAITERS / 2]);
        lasts.push(woken[WAITERS - 1]);
    }
    report.row("1000 waiters, commit to the median awake", "ms", &medians, &[], Target::None);
    report.row("1000 waiters, commit to the last awake", "ms", &lasts, &[], Target::Under(25.0));
}

/// From the death of an owner's process until the first of fifty who wait owns the lease.
pub(crate) fn taking_over(report: &mut Report) {
    let daemon = Daemon::new();
    let mut times = Vec::new();
    for round in 0..10 {
        let name = round.to_string();
        let mut owner = OwnerProcess::start(&daemon, &name);
        let (sender, owners) = mpsc::sync_channel(HEIRS);
        let threads = wait_in(&daemon, HEIRS, &owned(&name), move |claimed| {
            if let Claimed::Leased(lease) = claimed {
                // Kept until all are counted, so that exactly one may own.
                sender.send((Instant::now(), lease)).expect("counted");
            }
        });
        let began = Instant::now();
        owner.kill();
        let (at, lease) = owners.recv().expect("an heir");
        times.push(at.saturating_duration_since(began).as_secs_f64() * 1e3);
        assert!(owners.try_recv().is_err(), "a second owner");
        let output = PutOutput {
            name: "o0".to_owned(),
            literal_type: LiteralType::Bytes,
            source: Source::Bytes(noise(256, 1)),
        };
        lease.put(&owned(&name).0, vec![output], &PutOptions::default()).expect("stored");
        for thread in threads {
            thread.join().expect("answered");
        }
        assert!(owners.try_recv().is_err(), "a second owner");
    }
    report.row("kill -9 of an owner to the next of 50", "ms", &times, &[], Target::None);
}

/// A process that owns a lease.
struct OwnerProcess(Child);

impl OwnerProcess {
    fn start(daemon: &Daemon, round: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .env(OWNER_VARIABLE, daemon.socket())
            .arg(round)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the owner starts");
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("ready");
        Self(child)
    }

    /// Kills it with SIGKILL.
    fn kill(&mut self) {
        self.0.kill().expect("killed");
    }
}

impl Drop for OwnerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
