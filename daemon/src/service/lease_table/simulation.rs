//! A million random schedules against the lease table, with two judges at every step.
//!
//! The model does the same as the table in the plainest way and has to agree on every effect. The
//! witness knows no algorithm: it sees events and effects, and holds the promises against them.
//! A schedule that fails is run once more, telling each step; to run only that one, set
//! `MEMOD_SIMULATION_SEED` to its seed.
//!
//! **Invariants.** A schedule follows from its seed alone. It ends with every connection gone and
//! all time over, so that whatever is still in the table has leaked.

mod model;
mod schedule;
mod witness;

use std::fmt::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Effect, LeaseTable};
use model::Model;
use schedule::{Schedule, Step, key};
use witness::Witness;

/// The environment variable that names the only seed to run.
const SEED_VARIABLE: &str = "MEMOD_SIMULATION_SEED";
/// Schedules of one test, of which there are eight that run side by side.
const SCHEDULES: u64 = 125_000;

/// How often each kind of effect was seen.
type Coverage = [u64; 9];

fn kind(effect: &Effect<u64>) -> usize {
    match effect {
        Effect::Granted { .. } => 0,
        Effect::Free { .. } => 1,
        Effect::Waiting { .. } => 2,
        Effect::Held { .. } => 3,
        Effect::Busy { .. } => 4,
        Effect::Recheck { .. } => 5,
        Effect::TimedOut { .. } => 6,
        Effect::GaveUp { .. } => 7,
        Effect::Released { .. } => 8,
    }
}

/// Runs the schedule of a seed, and writes what it does to `trace` if there is one.
fn run(seed: u64, coverage: &mut Coverage, mut trace: Option<&mut String>) {
    let mut schedule = Schedule::new(seed);
    let mut table = LeaseTable::new(schedule.bounds.clone());
    let mut model = Model::new(schedule.bounds.clone());
    let mut witness = Witness::default();
    if let Some(trace) = &mut trace {
        writeln!(trace, "{:?}", schedule.bounds).unwrap();
    }
    while let Some(Step { event, now }) = schedule.next() {
        if let Some(trace) = &mut trace {
            writeln!(trace, "at {}: {event:?}", now.0).unwrap();
        }
        let effects = table.apply(event.clone(), now);
        if let Some(trace) = &mut trace {
            for effect in &effects {
                writeln!(trace, "    {effect:?}").unwrap();
            }
        }
        for effect in &effects {
            coverage[kind(effect)] += 1;
        }
        witness.observe(&event, now, &effects);
        assert_eq!(effects, model.apply(event, now), "table and model disagree on the effects");
        compare(&table, &model, &schedule);
    }
    witness.finish();
    assert_eq!(table.leases(), 0, "a lease leaked");
    assert_eq!(table.waiters(), 0, "a waiter leaked");
    assert_eq!(table.book_sizes(), [0; 4], "places, desks, users or alarms leaked");
}

fn compare(table: &LeaseTable<u64>, model: &Model, schedule: &Schedule) {
    assert_eq!(table.leases(), model.leases(), "leases");
    assert_eq!(table.waiters(), model.waiters(), "waiters");
    assert_eq!(table.next_deadline(), model.next_deadline(), "next deadline");
    assert_eq!(table.book_sizes(), model.book_sizes(), "places, desks, users and alarms");
    for number in 0..schedule.keys {
        let key = key(number);
        let now = schedule.peek;
        assert_eq!(table.holder(&key, now), model.holder(key, now), "holder of {number}");
    }
}

/// Runs one schedule for people to read, and fails as it fails.
fn tell(seed: u64) {
    let mut trace = String::new();
    let mut coverage = Coverage::default();
    let told = catch_unwind(AssertUnwindSafe(|| run(seed, &mut coverage, Some(&mut trace))));
    eprintln!("schedule of seed {seed}:\n{trace}");
    assert!(told.is_ok(), "failed; to run it alone: {SEED_VARIABLE}={seed}");
}

fn run_all(seeds: Range<u64>) {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        return tell(seed.parse().unwrap());
    }
    let mut coverage = Coverage::default();
    for seed in seeds {
        if catch_unwind(AssertUnwindSafe(|| run(seed, &mut coverage, None))).is_err() {
            tell(seed);
            panic!("seed {seed} fails, but not when it is told");
        }
    }
    eprintln!("effects by kind: {coverage:?}");
    let least = coverage.iter().min().unwrap();
    assert!(*least > 10_000, "the schedules hardly reach some effect: {coverage:?}");
}

/// A test for each part of the seeds.
macro_rules! parts {
    ($($name:ident: $part:literal,)*) => {$(
        #[test]
        fn $name() {
            run_all($part * SCHEDULES..($part + 1) * SCHEDULES);
        }
    )*};
}

parts! {
    schedules_of_part_0_keep_every_promise: 0,
    schedules_of_part_1_keep_every_promise: 1,
    schedules_of_part_2_keep_every_promise: 2,
    schedules_of_part_3_keep_every_promise: 3,
    schedules_of_part_4_keep_every_promise: 4,
    schedules_of_part_5_keep_every_promise: 5,
    schedules_of_part_6_keep_every_promise: 6,
    schedules_of_part_7_keep_every_promise: 7,
}

#[test]
fn a_schedule_follows_from_its_seed() {
    let steps = |seed| {
        let mut schedule = Schedule::new(seed);
        let mut text = String::new();
        while let Some(Step { event, now }) = schedule.next() {
            write!(text, "{event:?} {now:?};").unwrap();
        }
        text
    };
    assert_eq!(steps(7), steps(7));
    assert_ne!(steps(7), steps(8));
}
