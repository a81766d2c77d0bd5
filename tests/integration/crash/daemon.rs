//! The daemon killed with SIGKILL at random moments under load.
//!
//! `$MEMOD_CRASH_CYCLES` is how often (by default [`CYCLES`] times for each durability);
//! `$MEMOD_TEST_SEED` repeats a run's random numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{Daemon, Random, Raw, Setup, eventually};
use memod_protocol::Key;

use super::load::{Content, Slot, Stored, Writer, distinct};

const CYCLES: usize = 20;
const WRITERS: usize = 4;
/// Acknowledged requests before the daemon is killed: from none to this many.
const LOAD_MAX: usize = 120;
/// How long the daemon may take to be ready again.
const READY_MAX: Duration = Duration::from_secs(2);

fn cycles() -> usize {
    let given = std::env::var("MEMOD_CRASH_CYCLES").ok();
    given.map_or(CYCLES, |count| count.parse().expect("MEMOD_CRASH_CYCLES is a number"))
}

/// Lets the writers write until so much has been acknowledged, then ends the daemon: most often
/// by SIGKILL, else by SIGTERM, which loses nothing either.
fn end_under_load(daemon: &mut Daemon, writers: &mut [Writer], random: &mut Random) {
    let (load, orderly) = (random.below(LOAD_MAX + 1), random.below(5) == 0);
    let acknowledged = AtomicU64::new(0);
    let socket = daemon.socket();
    std::thread::scope(|scope| {
        for writer in writers {
            let (socket, acknowledged) = (&socket, &acknowledged);
            scope.spawn(move || writer.write(socket, acknowledged));
        }
        eventually("the writers have written", || {
            acknowledged.load(Ordering::Relaxed) >= load as u64
        });
        if orderly {
            assert!(daemon.stop().success());
        } else {
            daemon.kill();
        }
    });
    // It may also die while it recovers, again and again.
    while random.below(3) == 0 {
        daemon.start_and_kill(Duration::from_millis(1 + random.number() % 100));
    }
}

/// What is stored under a slot's key: it must be what was acknowledged last, or what was asked
/// for and never answered; and it is byte for byte what was written.
fn settle(raw: &mut Raw, slot: &mut Slot) {
    let found = raw.lookup(&slot.call).ok().map(|(hit, _)| {
        hit.outputs.iter().map(|output| (output.digest, output.bytes)).collect::<Vec<_>>()
    });
    let is_found = |stored: &Stored| {
        found == stored.map(|contents| contents.map(Content::description).to_vec())
    };
    let pending = slot.pending.take();
    let stored = [Some(slot.acknowledged), pending].into_iter().flatten().find(is_found);
    let stored = stored.unwrap_or_else(|| {
        panic!("{found:?} is neither what was acknowledged nor {pending:?}: {slot:?}")
    });
    slot.acknowledged = stored;
}

/// The counters and the listing must say what all slots say together.
fn recount(raw: &mut Raw, writers: &[Writer]) {
    let slots = || writers.iter().flat_map(|writer| &writer.slots);
    let stored = || slots().filter_map(|slot| slot.acknowledged);
    let bytes = |contents: [Content; 2]| contents.iter().map(|c| c.description().1).sum::<u64>();
    let wanted: BTreeMap<Key, u64> =
        slots().filter_map(|slot| Some((slot.key(), bytes(slot.acknowledged?)))).collect();
    let listed: BTreeMap<Key, u64> = raw.list().iter().map(|row| (row.key, row.bytes)).collect();
    assert_eq!(listed, wanted, "the listing shows what the lookups show");
    let stats = raw.stats();
    let blobs = distinct(stored());
    assert_eq!(stats.entries, wanted.len() as u64);
    assert_eq!(stats.blobs, blobs.len() as u64);
    assert_eq!(stats.stored_bytes, blobs.iter().map(|(_, bytes)| bytes).sum::<u64>());
    assert_eq!(stats.logical_bytes, wanted.values().sum::<u64>());
}

fn survives(durability: &str) {
    let mut random = Random::seeded();
    let mut daemon = Setup::new().argument(format!("--durability={durability}")).start();
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, random.number())).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..cycles() {
        end_under_load(&mut daemon, &mut writers, &mut random);
        let began = Instant::now();
        daemon.start().expect("it starts again");
        slowest = slowest.max(began.elapsed());
        let mut raw = daemon.connect();
        for slot in writers.iter_mut().flat_map(|writer| &mut writer.slots) {
            settle(&mut raw, slot);
        }
        recount(&mut raw, &writers);
    }
    println!("{durability}: ready again within {slowest:?} at the most");
    assert!(slowest < READY_MAX, "it took {slowest:?} to be ready");
    assert!(daemon.stop().success());
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged() {
    survives("process");
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged_with_power_durability() {
    survives("power");
}
