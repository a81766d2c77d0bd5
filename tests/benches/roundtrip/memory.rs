//! What an idle daemon has in memory, alone and with many connections that say nothing.

use harness::{Daemon, Raw, Setup, eventually};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::measure::{Report, Target, resident};

const CONNECTIONS: u64 = 10_000;
/// Descriptors that are for neither.
const KEPT: u64 = 800;

/// Resident memory, without and with connections: as many as the process may have descriptors for.
pub(crate) fn memory(report: &mut Report) {
    // The daemon keeps one for each connection and an eighth more, and some for the database.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the kernel says");
    let wanted = hard.max(KEPT + CONNECTIONS / 4 * 5);
    let allowed = if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        wanted
    } else {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("no more than is allowed");
        hard
    };
    let count = CONNECTIONS.min(allowed.saturating_sub(KEPT) / 5 * 4);
    let daemon = Setup::new().config(format!("connections_max = {}", count + 10)).start();
    let mut raw = daemon.connect();
    assert!(raw.ping());
    let alone = resident(&daemon);
    report.row("idle daemon", "MiB", &[alone], &[], Target::Under(32.0));
    let mut others: Vec<_> = (0..count).map(|_| Raw::greeted(&daemon.socket())).collect();
    eventually("all are there", || raw.stats().connections == count + 1);
    let mut row = |what: &str, daemon: &Daemon| {
        let all = resident(daemon);
        let name = format!("with {count} connections {what}");
        report.row(&name, "MiB", &[all], &[], Target::Under(160.0));
        let each = (all - alone) * 1024.0 / count as f64;
        report.row(&format!("a connection {what}"), "KiB", &[each], &[], Target::None);
    };
    row("that are idle", &daemon);
    // Each has asked something, and waits again.
    assert!(others.iter_mut().all(Raw::ping));
    row("that have asked", &daemon);
}
