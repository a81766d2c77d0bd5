//! Faults of a daemon's disk: which of its calls fail, and a journal of all that it changes.
//!
//! A library is preloaded into the daemon (`tests/faults`), whose plans and journal these are.
//!
//! **Invariants.** The daemon's data directory stands in a folder of its own, the root, of which
//! the library sees everything. A plan is in force for each call that begins after it was made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::daemon::built;

/// The faults of one daemon's disk.
#[derive(Debug)]
pub struct Faults {
    root: PathBuf,
    plan: PathBuf,
    log: PathBuf,
    journal: PathBuf,
    clock: PathBuf,
    plans: AtomicUsize,
}

impl Faults {
    /// No faults, for a daemon whose temporary directory this is.
    pub(crate) fn new(folder: &Path) -> Self {
        let root = folder.join("disk");
        fs::create_dir(&root).expect("a folder");
        let names = ["plan", "faults", "journal", "clock"];
        let [plan, log, journal, clock] = names.map(|name| folder.join(name));
        Self { root, plan, log, journal, clock, plans: AtomicUsize::new(0) }
    }

    /// The folder below which calls fail and are written down.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the daemon's environment must have.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 6] {
        [
            ("LD_PRELOAD", built("libmemod_faults.so")),
            ("MEMOD_FAULTS_ROOT", self.root.clone()),
            ("MEMOD_FAULTS_PLAN", self.plan.clone()),
            ("MEMOD_FAULTS_LOG", self.log.clone()),
            ("MEMOD_FAULTS_JOURNAL", self.journal.clone()),
            ("MEMOD_FAULTS_CLOCK", self.clock.clone()),
        ]
    }

    /// From now on, calls fail by these rules and by no others.
    ///
    /// # Panics
    /// If the plan cannot be written.
    pub fn plan(&self, rules: &[&str]) {
        // Two plans that follow each other differ in length at least.
        let number = self.plans.fetch_add(1, Ordering::Relaxed) + 1;
        let text = format!("{}\n{}", rules.join("\n"), "\n".repeat(number));
        let new = self.plan.with_extension("new");
        fs::write(&new, text).expect("the plan is written");
        fs::rename(&new, &self.plan).expect("the plan is put in place");
    }

    /// From now on, the daemon's wall clock is so many seconds ahead of this machine's.
    ///
    /// # Panics
    /// If that cannot be written down.
    pub fn set_clock(&self, seconds: i64) {
        let new = self.clock.with_extension("new");
        fs::write(&new, seconds.to_string()).expect("the clock is written");
        fs::rename(&new, &self.clock).expect("the clock is put in place");
    }

    /// From now on, no call fails.
    pub fn heal(&self) {
        self.plan(&[]);
    }

    /// What the library has told: `fail CALL ERROR PATH` for each call that failed by plan.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many calls have failed by plan.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.told().iter().filter(|line| line.starts_with("fail ")).count()
    }

    /// How long the journal is: what has been changed or synced by now stands before that.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        fs::metadata(&self.journal).map_or(0, |journal| journal.len())
    }

    /// The journal.
    ///
    /// # Panics
    /// If there is none: then the library was not preloaded.
    #[must_use]
    pub fn journal(&self) -> Vec<u8> {
        fs::read(&self.journal).expect("the library is preloaded and writes a journal")
    }
}
