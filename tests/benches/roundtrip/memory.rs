//! What an idle daemon has in memory, alone and with many connections that say nothing.

use harness::{Daemon, Raw, Setup, eventually, resident_bytes};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::measure::{Report, Target};

const CONNECTIONS: usize = 10_000;

/// Resident memory, in MiB.
fn resident(daemon: &Daemon) -> f64 {
    resident_bytes(daemon.pid()) as f64 / f64::from(1 << 20)
}

/// Resident memory, without and with connections.
pub(crate) fn memory(report: &mut Report) {
    // The daemon keeps two for each connection, and some for the database.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the kernel says");
    let wanted = hard.max(5 * CONNECTIONS as u64 / 2);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_err() {
        return println!("memory: {wanted} descriptors are needed, {hard} are allowed");
    }
    let daemon = Setup::new().config(format!("connections_max = {}", CONNECTIONS + 10)).start();
    let mut raw = daemon.connect();
    assert!(raw.ping());
    report.row("idle daemon", "MiB", &[resident(&daemon)], &[], Target::Under(32.0));
    let others: Vec<_> = (0..CONNECTIONS).map(|_| Raw::greeted(&daemon.socket())).collect();
    let open = others.len() as u64 + 1;
    eventually("all are there", || raw.stats().connections == open);
    let name = format!("with {CONNECTIONS} idle connections");
    report.row(&name, "MiB", &[resident(&daemon)], &[], Target::Under(160.0));
    // Each has asked something, and waits again.
    let mut others = others;
    assert!(others.iter_mut().all(Raw::ping));
    let name = format!("with {CONNECTIONS} that have asked");
    report.row(&name, "MiB", &[resident(&daemon)], &[], Target::Under(160.0));
}
