//! The torture of crashes: daemons that are killed at random moments and at every failpoint, under
//! a load of readers, writers, eviction, removal and leases; and what each has left is compared
//! with what is known of it (semantics 14 to 18, 20, 24, 26 to 31).
//!
//! Each cycle starts a daemon on the store of the one before, has it work until it dies, and reads
//! all that it has left: every put that was acknowledged is there with every byte, or was evicted,
//! which its grave says; what was removed is gone; nothing is there that was not put; all that is
//! counted is right when counted anew.
//!
//! `$MEMOD_TORTURE_CYCLES` is how many cycles there are; `$MEMOD_TEST_SEED` repeats a run's random
//! numbers. `make torture CYCLES=n` sets the first.

mod asker;
mod at_rest;
pub(crate) mod content;
mod keeper;
mod lease;
mod load;
mod model;
mod plan;
mod worker;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Daemon, Random, Setup, binary};
use memod_protocol::{Request, Response};
use memod_store::Failpoint;
use nix::sys::signal::Signal;

use load::{Shared, Tally};
use model::Model;
use plan::{Budget, End, Plan, Planner};

use crate::memo::ends;

/// What arms a place.
const VARIABLE: &str = "MEMOD_FAILPOINT";
/// With so many cycles for each place, each must be reached.
const CYCLES_PER_PLACE: usize = 2;
/// How long a daemon may take to be ready.
const READY_MAX: Duration = Duration::from_secs(5);

fn cycles(by_default: usize) -> usize {
    let given = std::env::var("MEMOD_TORTURE_CYCLES").ok();
    given.map_or(by_default, |count| count.parse().expect("MEMOD_TORTURE_CYCLES is a number"))
}

/// The daemon that has failpoints.
pub(crate) fn program() -> PathBuf {
    let ordinary = binary("memod");
    let armed = ordinary.with_file_name("memod-failpoints");
    let built = |path: &PathBuf| fs::metadata(path).and_then(|of| of.modified()).ok();
    assert!(
        built(&armed) >= built(&ordinary),
        "memod-failpoints is older than memod, or is not built: run `bash .ci/torture build`"
    );
    armed
}

/// A store under torture.
struct Torture {
    daemon: Daemon,
    planner: Planner,
    shared: Shared,
    random: Random,
    killed: usize,
    stopped: usize,
    /// Entries evicted, in all and as the store counted them last.
    evicted: u64,
    counted: u64,
    slowest: Duration,
}

impl Torture {
    fn new(budget: Budget) -> Self {
        let mut random = Random::seeded();
        let mut daemon = Setup::new().program(program()).start();
        assert!(daemon.stop().success());
        Self {
            shared: Shared::new(daemon.socket(), Model::new(budget == Budget::Small)),
            daemon,
            planner: Planner::new(budget, random.number()),
            random,
            killed: 0,
            stopped: 0,
            evicted: 0,
            counted: 0,
            slowest: Duration::ZERO,
        }
    }

    /// Starts the daemon; says whether it died before it was ready, where it was to.
    fn start(&mut self, armed: Option<String>) -> bool {
        let is_armed = armed.is_some();
        self.daemon.set_variable(VARIABLE, armed);
        let began = Instant::now();
        let ended = self.daemon.start_or_end().expect("it gets ready, or ends");
        self.slowest = self.slowest.max(began.elapsed());
        let Some(status) = ended else { return false };
        let killed = status.signal() == Some(Signal::SIGKILL as i32);
        assert!(is_armed && killed, "memod ended, {status}:\n{}", self.daemon.log());
        true
    }

    /// One cycle.
    fn cycle(&mut self) -> String {
        let plan = self.planner.next();
        self.daemon.set_config(plan.config.clone());
        let died = if plan.sets_aside() { self.set_aside(&plan) } else { self.work(&plan) };
        self.planner.note(&plan, died);
        match plan.end {
            End::Kill => self.killed += 1,
            End::Stop => self.stopped += 1,
            End::At(..) => {}
        }
        // It may also die while it recovers, again and again.
        self.daemon.set_variable(VARIABLE, None);
        while self.random.below(4) == 0 {
            self.daemon.start_and_kill(Duration::from_millis(1 + self.random.number() % 100));
            self.killed += 1;
        }
        let counters = at_rest::check_files(&self.daemon.data(), &mut self.shared.model());
        // A new store counts from none.
        let before = if counters.evicted_entries < self.counted { 0 } else { self.counted };
        self.evicted += counters.evicted_entries - before;
        self.counted = counters.evicted_entries;
        let there = format!("{} entries, {} bytes", counters.entries, counters.total_bytes());
        let how = if died { "died" } else { "ended" };
        format!("{how} {:?} {there}", plan.end)
    }

    /// Starts a daemon and has it work until it ends.
    fn work(&mut self, plan: &Plan) -> bool {
        if plan.renews() {
            // As a verification does that has found all of them damaged.
            let columns = "entries tasks blobs chunks refs graves near heat";
            let mark = format!("columns to be written anew: {columns}\n");
            fs::write(self.daemon.data().join("damaged"), mark).unwrap();
        }
        if self.start(plan.armed()) {
            return true;
        }
        if plan.armed().is_none() {
            at_rest::check_daemon(&self.daemon, &mut self.shared.model());
        }
        load::run(&mut self.daemon, plan, &self.shared, &mut self.random)
    }

    /// Has the daemon die while it sets the database aside and makes a new one. The old one is
    /// whole, wherever it is, and the new one is empty.
    fn set_aside(&mut self, plan: &Plan) -> bool {
        let data = self.daemon.data();
        fs::write(data.join("damaged"), "the torture\n").unwrap();
        let died = self.start(plan.armed());
        assert!(died, "{plan:?}: it was to die before it was ready");
        assert!(!self.start(None), "it is not armed");
        let mut old = self.shared.model().begin_anew();
        at_rest::check_daemon(&self.daemon, &mut self.shared.model());
        assert!(self.daemon.stop().success());
        let mut databases = 0;
        for folder in at_rest::set_aside(&data) {
            if folder.join("rocksdb").exists() {
                databases += 1;
                at_rest::check_files(&folder, &mut old);
            }
            fs::remove_dir_all(folder).unwrap();
        }
        assert_eq!(databases, 1, "one database was set aside");
        assert!(!data.join("damaged").exists(), "the mark goes with the database");
        died
    }

    fn summary(&self) {
        let tally =
            |of: &std::sync::atomic::AtomicU64| of.load(std::sync::atomic::Ordering::Relaxed);
        let Tally { acknowledged, puts, refused, hits, misses, .. } = &self.shared.tally;
        println!(
            "{} requests acknowledged: {} puts ({} for want of room not), {} removals, {} leases \
             ({} claims waited), {} uploads cut off, {} verifications and collections",
            tally(acknowledged),
            tally(puts),
            tally(refused),
            tally(&self.shared.tally.removals),
            tally(&self.shared.tally.leases),
            tally(&self.shared.tally.waits),
            tally(&self.shared.tally.cut_off),
            tally(&self.shared.tally.upkeep),
        );
        println!(
            "{} hits and {} misses were right; {} entries evicted",
            tally(hits),
            tally(misses),
            self.evicted
        );
        println!(
            "{} times killed at random, {} times stopped; ready again within {:?} at the most",
            self.killed, self.stopped, self.slowest
        );
        for (point, deaths) in &self.planner.deaths {
            println!("{deaths:5} times killed at {}", point.name());
        }
    }
}

fn torture(budget: Budget, by_default: usize) {
    let (cycles, mut torture) = (cycles(by_default), Torture::new(budget));
    for cycle in 1..=cycles {
        let told = torture.cycle();
        println!("cycle {cycle} of {cycles}: {told}");
    }
    torture.summary();
    let never = torture.planner.never_reached();
    if !never.is_empty() {
        println!("never reached: {}", never.join(", "));
    }
    assert!(torture.slowest < READY_MAX, "it took {:?} to be ready", torture.slowest);
    let enough = cycles >= CYCLES_PER_PLACE * Failpoint::ALL.len();
    assert!(never.is_empty() || !enough, "{never:?} were never reached");
}

#[test]
fn a_small_store_survives_every_crash() {
    torture(Budget::Small, 40);
}

#[test]
fn an_ample_store_survives_every_crash() {
    torture(Budget::Ample, 12);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A daemon that dies while it takes a store of format 2 over, or while it writes columns anew,
/// goes on with it, as often as it takes.
#[test]
fn a_store_that_is_taken_over_or_mended_survives_every_crash() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store-format-2/rocksdb");
    let mut daemon = Setup::new().program(program()).start();
    assert!(daemon.stop().success());
    fs::remove_dir_all(daemon.data().join("rocksdb")).unwrap();
    copy_folder(&fixture, &daemon.data().join("rocksdb"));
    let mark = "columns to be written anew: tasks refs near entries";
    let places = [(Failpoint::RebuildEntries, None), (Failpoint::Rebuild, None)]
        .into_iter()
        .chain([(Failpoint::Renewed, Some(mark)), (Failpoint::Rebuild, Some(mark))]);
    for (place, mark) in places {
        if let Some(mark) = mark {
            fs::write(daemon.data().join("damaged"), mark).unwrap();
        }
        for _ in 0..3 {
            daemon.set_variable(VARIABLE, Some(format!("{}:1", place.name())));
            let ended = daemon.start_or_end().expect("it gets ready, or ends");
            let killed = ended.and_then(|status| status.signal());
            assert_eq!(killed, Some(Signal::SIGKILL as i32), "{place:?}");
        }
    }
    daemon.set_variable(VARIABLE, None);
    daemon.start().expect("it goes on with all of it");
    assert!(!daemon.data().join("damaged").exists());
    let mut raw = daemon.connect();
    let listed = raw.list();
    assert_eq!(listed.len(), 24, "the fixture has so many");
    assert_eq!(raw.stats().entries, 24);
    for row in listed {
        match raw.ask(Request::Show { key: row.key }, Bytes::new()).response {
            Response::Shown(detail) => assert!(!detail.inputs.is_empty()),
            other => panic!("an entry was shown by {other:?}"),
        }
    }
    ends(&daemon, 0, &["verify"]);
}
