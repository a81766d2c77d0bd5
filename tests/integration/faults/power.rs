//! Power cuts: a store is made anew of what was synced, and of what chance left of the rest, at
//! many moments of a daemon's life under load.
//!
//! `$MEMOD_POWER_CUTS` is how often for each durability (by default [`CUTS`] times);
//! `$MEMOD_TEST_SEED` repeats a run's random numbers, though not its load.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Daemon, Random, Setup, call};
use memod_protocol::PutOutcome;

use super::history::{Moment, Writer, collect};
use super::journal::{Journal, What};
use super::remains::{Left, leave};

/// Of thousands of changes a failed test needs no log.
const QUIET: &str = "log = \"warn\"\n";
const CUTS: usize = 14;
const WRITERS: usize = 2;
/// How long the daemon is kept busy.
const LOAD: Duration = Duration::from_secs(4);
/// Its beginning is cut into parts, at whose ends all is flushed and compacted. After that only the
/// interval has the log synced.
const PARTS: u32 = 16;
const PARTS_FLUSHED: u32 = 5;
/// What the log's sync may take beyond `sync_interval`, besides the sync itself: the writer's group
/// before it, on a machine that has other work.
const SLACK: Duration = Duration::from_millis(700);
/// How soon a daemon is ready, most often.
const READY: Duration = Duration::from_millis(500);

fn cuts() -> usize {
    let given = std::env::var("MEMOD_POWER_CUTS").ok();
    given.map_or(CUTS, |count| count.parse().expect("MEMOD_POWER_CUTS is a number"))
}

/// Keeps a daemon busy, kills it, and gives what it did to its disk.
fn load(daemon: &mut Daemon, writers: &mut [Writer]) -> Journal {
    let socket = daemon.socket();
    thread::scope(|scope| {
        for writer in &mut *writers {
            let (socket, faults) = (&socket, daemon.faults());
            scope.spawn(move || writer.write(socket, faults));
        }
        for part in 0..PARTS {
            // tidy: sleeps because the load is to last so long, and has no end of its own.
            thread::sleep(LOAD / PARTS);
            collect(&socket, usize::from(part < PARTS_FLUSHED));
        }
        daemon.signal(nix::sys::signal::Signal::SIGKILL);
    });
    daemon.kill();
    assert_eq!(daemon.faults().told(), [""; 0], "no file may be written by a mapping");
    Journal::parse(daemon.faults().journal())
}

/// How long a sync took at the most: from the record before it to its end.
fn slowest_sync(journal: &Journal) -> Duration {
    let took = |record: &super::journal::Record| match record.what {
        What::Sync { began, .. } | What::SyncFolder { began, .. } => {
            record.at_us - journal.records[began.max(1) - 1].at_us
        }
        _ => 0,
    };
    Duration::from_micros(journal.records.iter().map(took).max().unwrap_or(0))
}

/// Moments at which a log has content while the end of the one before it is not synced, which is
/// what is lost of all there is.
fn gaps(journal: &Journal, first: usize) -> Vec<(usize, Left)> {
    let (mut now, mut before, mut is_dirty, mut was_dirty) = (None, None, false, false);
    let mut gaps = Vec::new();
    for (number, record) in journal.records.iter().enumerate() {
        match &record.what {
            What::Create { file, path }
                if Path::new(path).extension().is_some_and(|of| of == "log") =>
            {
                (before, was_dirty) = (now, is_dirty);
                (now, is_dirty) = (Some(*file), false);
            }
            What::Write { file, .. } if Some(*file) == now => {
                is_dirty = true;
                if let Some(lost) = before.filter(|_| was_dirty && number >= first) {
                    gaps.push((number + 1, Left::AllBut(lost)));
                }
            }
            What::Sync { file, done: true, .. } if Some(*file) == before => was_dirty = false,
            What::Sync { file, done: true, .. } if Some(*file) == now => is_dirty = false,
            _ => {}
        }
    }
    gaps
}

/// Starts a daemon on what is left after a cut, and gives how long it took.
fn start_on(daemon: &mut Daemon) -> Duration {
    let began = Instant::now();
    daemon.start().expect("the store opens");
    began.elapsed()
}

/// A daemon, not started, on what is left if the power is cut before this record.
fn left_after(
    journal: &Journal,
    cut: usize,
    left: Left,
    random: &mut Random,
    config: &str,
) -> Daemon {
    let mut after = Setup::new().config(config).prepare();
    let folder = after.folder().join("left");
    leave(journal, cut, left, random, &folder);
    after.store_in(&folder.join("data"));
    after
}

fn survives(durability: &str) {
    let mut random = Random::seeded();
    let mut daemon =
        Setup::new().faults().argument(format!("--durability={durability}")).config(QUIET).start();
    let ready = daemon.faults().journal_bytes();
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, random.number())).collect();
    let journal = load(&mut daemon, &mut writers);
    let acknowledged: usize = writers.iter().map(Writer::acknowledged).sum();
    assert!(acknowledged > 100, "only {acknowledged} changes were acknowledged");
    let first = journal.records.iter().position(|record| record.end >= ready).unwrap();
    let bound = match durability {
        "process" => Some(Duration::from_secs(1) + SLACK + slowest_sync(&journal)),
        _ => None,
    };

    let (mut took, mut oldest_lost) = (Vec::new(), Duration::ZERO);
    let gaps = gaps(&journal, first);
    assert!(!gaps.is_empty() || durability == "power", "no log began before the last was synced");
    for number in 0..cuts() {
        let all = journal.records.len() - first;
        let (cut, left) = match number % 3 {
            0 if !gaps.is_empty() => *random.pick(&gaps),
            // Towards the end nothing but the interval has had the log synced.
            1 => (journal.records.len() - random.below(all / 8), Left::ByChance),
            _ => (journal.records.len() - random.below(all), Left::ByChance),
        };
        let at_us = journal.records[cut - 1].at_us;
        let mut after = left_after(&journal, cut, left, &mut random, "");
        took.push(start_on(&mut after));
        let mut raw = after.connect();
        let must = |moment: &Moment| match bound {
            None => moment.journal <= journal.begin(cut),
            Some(bound) => moment.at_us + u64::try_from(bound.as_micros()).unwrap() < at_us,
        };
        let fates: Vec<_> = writers
            .iter()
            .flat_map(|writer| writer.check(&mut raw, journal.begin(cut), must))
            .collect();
        // What is lost is newer than all that is kept.
        let kept = fates.iter().filter_map(|fate| fate.kept).max();
        let lost = fates.iter().filter_map(|fate| fate.lost).min();
        assert!(kept.is_none() || lost.is_none() || kept <= lost, "{kept:?} outlived {lost:?}");
        if let Some(lost) = lost.filter(|lost| lost.journal <= journal.begin(cut)) {
            oldest_lost = oldest_lost.max(Duration::from_micros(at_us.saturating_sub(lost.at_us)));
        }
        drop(raw);
        assert!(after.stop().success());
    }
    took.sort_unstable();
    let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{durability}: {acknowledged} changes, {} records, {} cuts; lost were changes acknowledged \
         at most {oldest_lost:?} before; bound {bound:?}; ready after {median:?}, {slowest:?}",
        journal.records.len(),
        cuts(),
    );
    assert!(median < READY, "it took {median:?} to be ready");
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_at_durability_power() {
    survives("power");
}

#[test]
fn a_power_cut_loses_at_most_the_last_second_at_durability_process() {
    survives("process");
}

#[test]
fn a_power_cut_while_a_store_is_made_leaves_one_that_opens() {
    let mut random = Random::seeded();
    let mut daemon = Setup::new().faults().argument("--durability=power").config(QUIET).start();
    let stored = call("first");
    assert_eq!(daemon.connect().put(stored.put(&[("o0", b"kept")])), PutOutcome::Populated);
    let acknowledged = daemon.faults().journal_bytes();
    daemon.kill();
    let journal = Journal::parse(daemon.faults().journal());
    for _ in 0..cuts() {
        let cut = random.below(journal.records.len() + 1);
        let mut after = left_after(&journal, cut, Left::ByChance, &mut random, QUIET);
        start_on(&mut after);
        let found = after.connect().lookup(&stored);
        match found {
            Ok((_, contents)) => assert_eq!(contents, ["kept"]),
            Err(_) => assert!(journal.begin(cut) < acknowledged, "it was acknowledged"),
        }
        assert!(after.stop().success());
    }
}
