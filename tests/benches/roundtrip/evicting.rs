//! A store at its limit, where each put has another entry evicted, beside one with room.

use std::time::Instant;

use harness::{CallBuilder, Daemon, Setup};
use memod_client::{Client, Lookup, LookupOptions, PutOptions};
use memod_protocol::RunClaim;
use nix::sys::signal::Signal;

use crate::latency::{client, noise, store_with, task};
use crate::measure::{Report, Target, microseconds, quantile, ratios};
use crate::workers::{Kind, Workers};

const CLIENTS: usize = 8;
const OPERATIONS: u64 = 1000;
const PUTS: u64 = CLIENTS as u64 * OPERATIONS;
const ROUNDS: usize = 12;
/// Eviction begins so far below the limit, and goes no further, so that it never rests.
const MARK_BYTES: u64 = 16 << 20;
/// The limit: the least that a daemon takes by itself, some two hundred thousand entries of 4 KiB.
const STORE_BYTES_MAX: u64 = 1 << 30;

/// A daemon with what is asked of it.
struct Side {
    daemon: Daemon,
    client: Client,
    putting: Workers,
    rates: Vec<f64>,
    hits: Vec<f64>,
    medians: Vec<f64>,
}

impl Side {
    fn start(config: &str) -> Self {
        let daemon = Setup::new().config(config).start();
        let client = client(&daemon);
        store_dear(&client, &dear());
        let putting = Workers::start(Kind::Put, &daemon.socket(), CLIENTS);
        let (rates, hits, medians) = Default::default();
        Self { daemon, client, putting, rates, hits, medians }
    }

    fn evicted(&self) -> u64 {
        self.client.stats().expect("answered").whole.expect("all is told").evicted_entries
    }

    /// Has eight clients put while another asks for an entry again and again.
    fn round(&mut self) {
        let options = LookupOptions::default();
        let (client, call) = (&self.client, dear());
        let putting = &mut self.putting;
        let (rate, hits) = std::thread::scope(|scope| {
            let rate = scope.spawn(move || putting.rate(CLIENTS, OPERATIONS));
            let mut hits = Vec::new();
            while !rate.is_finished() {
                let began = Instant::now();
                let found = client.lookup(&call.0, &options).expect("an answer");
                hits.push(microseconds(began.elapsed()));
                assert!(matches!(found, Lookup::Hit(_)), "a hit was due, not {found:?}");
            }
            (rate.join().expect("counted"), hits)
        });
        self.rates.push(rate);
        self.medians.push(quantile(&hits, 0.5));
        self.hits.extend(hits);
    }
}

/// An entry that is worth more than all others.
fn dear() -> CallBuilder {
    task("dear")
}

fn store_dear(client: &Client, call: &CallBuilder) {
    let run = RunClaim { compute_ns: Some(3_600_000_000_000), ..RunClaim::default() };
    store_with(client, call, noise(256, 1), &PutOptions { run, ..PutOptions::default() });
}

/// Puts and hits while the store evicts, beside puts and hits in a store that has room.
pub(crate) fn evicting(report: &mut Report) {
    let mut roomy = Side::start("store_bytes_max = 0");
    let mark = STORE_BYTES_MAX - MARK_BYTES;
    let mut full = Side::start(&format!(
        "store_bytes_max = {STORE_BYTES_MAX}\nstore_bytes_high = {mark}\nstore_bytes_low = {mark}"
    ));
    while full.evicted() == 0 {
        full.round();
        roomy.round();
    }
    for side in [&mut full, &mut roomy] {
        (side.rates, side.hits, side.medians) = Default::default();
    }
    roomy.daemon.freeze();
    for _ in 0..ROUNDS {
        // While nobody put, it has evicted to its mark: it has to be brought to its pace again.
        full.putting.rate(CLIENTS, OPERATIONS);
        let before = full.evicted();
        full.round();
        let evicted = full.evicted() - before;
        assert!(evicted >= PUTS * 3 / 4, "only {evicted} were evicted for {PUTS} puts");
        // What one has still to do in the background is not to slow the other.
        full.daemon.freeze();
        roomy.daemon.signal(Signal::SIGCONT);
        roomy.round();
        roomy.daemon.freeze();
        full.daemon.signal(Signal::SIGCONT);
    }
    roomy.daemon.signal(Signal::SIGCONT);
    assert_eq!(roomy.evicted(), 0, "the other has room");
    report.row("put 4 KiB, 8 clients, with room", "/s", &roomy.rates, &[], Target::None);
    let slower = ratios(&full.rates, &roomy.rates);
    let target = Target::AtLeast(0.5);
    report.row("put 4 KiB, 8 clients, evicting", "/s", &full.rates, &slower, target);
    report.row("hit 256 B during these, with room", "us", &roomy.hits, &[], Target::None);
    let slower = ratios(&full.medians, &roomy.medians);
    report.row("hit 256 B during these, evicting", "us", &full.hits, &slower, Target::AtMost(1.2));
    let log = full.daemon.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
