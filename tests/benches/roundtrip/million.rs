//! A store of a million entries with 20 GB of outputs: how soon it is ready, and how much memory
//! it takes, also while another million replaces them.

use std::time::Instant;

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Setup};
use memod_client::{Client, PutOptions};

use crate::latency::{client, noise, store, store_with, task};
use crate::measure::{Report, Target, quantile, resident};

const ENTRIES: u64 = 1_000_000;
const OUTPUT_BYTES: usize = 20_000;
const REPLACED_BYTES: usize = 1000;
/// One output in so many is noise throughout; the others repeat a part, and compress to a tenth.
const NOISE_SHARE: u64 = 4;
const WRITERS: u64 = 8;
const STARTS: u64 = 10;
/// Entries that are put before the daemon is killed.
const LOGGED: u64 = 2000;
/// Memory is looked at after so many puts of a writer.
const LOOK_INTERVAL: u64 = 5000;
const MIB: f64 = 1024.0 * 1024.0;

/// An output of 20 kB.
fn content(number: u64) -> Bytes {
    if number.is_multiple_of(NOISE_SHARE) {
        return noise(OUTPUT_BYTES, number << 8);
    }
    noise(OUTPUT_BYTES / 10, number << 8).repeat(10).into()
}

/// Stores the entry of a number.
type Put = fn(&Client, &CallBuilder, u64);

/// Stores it for the first time.
fn put(client: &Client, call: &CallBuilder, number: u64) {
    store(client, call, content(number));
}

/// Replaces it, by a shorter one.
fn replace(client: &Client, call: &CallBuilder, number: u64) {
    let options = PutOptions { overwrite: true, ..PutOptions::default() };
    store_with(client, call, noise(REPLACED_BYTES, number), &options);
}

/// Puts as many entries, from this number on; gives the daemon's resident memory meanwhile, in MiB.
fn fill(daemon: &Daemon, first: u64, count: u64, put: Put) -> Vec<f64> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let client = client(daemon);
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    let mine = (first..first + count).filter(|number| number % WRITERS == writer);
                    for (done, number) in (1..).zip(mine) {
                        put(&client, &task(&format!("million {number}")), number);
                        if done % LOOK_INTERVAL == 0 {
                            seen.push(resident(daemon));
                        }
                    }
                    seen
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("stored")).collect()
    })
}

/// How long the daemon takes to be ready, in milliseconds.
fn time_to_ready(daemon: &mut Daemon) -> f64 {
    let began = Instant::now();
    daemon.start().expect("the daemon gets ready");
    began.elapsed().as_secs_f64() * 1e3
}

/// Starts, and memory.
pub(crate) fn million(report: &mut Report) {
    let mut daemon = Setup::new().config("store_bytes_max = 0").prepare();
    daemon.start().expect("the daemon gets ready");
    let filling = fill(&daemon, 0, ENTRIES, put);
    let stats = client(&daemon).stats().expect("answered");
    assert_eq!(stats.whole.as_ref().map(|of| of.entries), Some(ENTRIES), "{stats:?}");
    report.row("memory while 10^6 entries come", "MiB", &filling, &[], Target::None);
    let most = [quantile(&filling, 1.0)];
    report.row("the most of it", "MiB", &most, &[], Target::Under(256.0));
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    for start in 0..STARTS {
        fill(&daemon, ENTRIES + start * LOGGED, LOGGED, put);
        daemon.kill();
        killed.push(time_to_ready(&mut daemon));
        assert!(daemon.stop().success());
        stopped.push(time_to_ready(&mut daemon));
    }
    for (how, times) in [("killed", killed), ("stopped", stopped)] {
        let work = format!("ready, 10^6 entries, 20 GB, after it was {how}");
        report.row(&work, "ms", &times, &[], Target::Under(500.0));
    }
    let replacing = fill(&daemon, 0, ENTRIES, replace);
    report.row("memory while 10^6 more replace them", "MiB", &replacing, &[], Target::None);
    let most = [quantile(&replacing, 1.0)];
    report.row("the most of it", "MiB", &most, &[], Target::Under(256.0));
    let budgets = client(&daemon).budgets().expect("answered");
    let bytes = budgets.disk_used_bytes as f64 / MIB;
    report.row("files of the store then", "MiB", &[bytes], &[], Target::None);
}
