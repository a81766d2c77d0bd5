//! The ledger: hits, misses and compute time spared, by task.
//!
//! **Invariants.** Bounded: beyond [`TASKS_MAX`] tasks only the totals grow. A hit costs one short
//! lock and no allocation once its task is known. The ledger is written down from time to time, so
//! a crash loses at most that much of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use memod_protocol::{CallIdentity, MissReason, Scope, Stats, TaskStats, wire};

/// Tasks that have counters of their own.
const TASKS_MAX: usize = 10_000;
/// Tasks in an answer: those with the most time saved, then lookups.
const TASKS_TOLD_MAX: usize = 256;

/// The ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    total: Counters,
    reasons: BTreeMap<MissReason, u64>,
    tasks: HashMap<Scope, HashMap<String, Counters>>,
    task_count: usize,
    changed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    hits: u64,
    misses: u64,
    time_saved_ns: u64,
}

impl Ledger {
    /// The ledger that was written down; an empty one if there is none or it cannot be read.
    pub(crate) fn restore(note: Option<&[u8]>) -> Self {
        let Some(note) = note else { return Self::default() };
        let stats: Stats = match wire::decode_record(note) {
            Ok(stats) => stats,
            Err(error) => {
                tracing::warn!("the counters are lost and begin at zero: {error}");
                return Self::default();
            }
        };
        let mut pages = Pages {
            total: Counters {
                hits: stats.hits,
                misses: stats.misses,
                time_saved_ns: stats.time_saved_ns,
            },
            reasons: stats.misses_by_reason.into_iter().collect(),
            ..Pages::default()
        };
        for row in stats.by_task {
            let counters =
                Counters { hits: row.hits, misses: row.misses, time_saved_ns: row.time_saved_ns };
            pages.update(&row.scope, &row.task, |task| *task = counters);
        }
        Self { pages: Mutex::new(pages) }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a hit that spared this much compute time.
    pub(crate) fn hit(&self, call: &CallIdentity, spared_ns: u64) {
        let count = |counters: &mut Counters| {
            counters.hits += 1;
            counters.time_saved_ns = counters.time_saved_ns.saturating_add(spared_ns);
        };
        let mut pages = self.lock();
        count(&mut pages.total);
        pages.update(&call.scope, &call.task, count);
        pages.changed = true;
    }

    /// Counts a miss.
    pub(crate) fn miss(&self, call: &CallIdentity, reason: MissReason) {
        let mut pages = self.lock();
        pages.total.misses += 1;
        *pages.reasons.entry(reason).or_default() += 1;
        pages.update(&call.scope, &call.task, |counters| counters.misses += 1);
        pages.changed = true;
    }

    /// The counters as an answer; what the ledger does not know is zero.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.lock().stats();
        stats.by_task.sort_by(|a, b| {
            (b.time_saved_ns, b.hits + b.misses).cmp(&(a.time_saved_ns, a.hits + a.misses))
        });
        stats.by_task.truncate(TASKS_TOLD_MAX);
        stats
    }

    /// The ledger in bytes, if it has changed since this was last asked.
    pub(crate) fn changed_note(&self) -> Option<Vec<u8>> {
        let mut pages = self.lock();
        std::mem::take(&mut pages.changed).then(|| wire::encode(&pages.stats()))
    }
}

impl Pages {
    fn update(&mut self, scope: &Scope, task: &str, change: impl FnOnce(&mut Counters)) {
        if let Some(counters) = self.tasks.get_mut(scope).and_then(|tasks| tasks.get_mut(task)) {
            return change(counters);
        }
        if self.task_count >= TASKS_MAX {
            return;
        }
        self.task_count += 1;
        change(self.tasks.entry(scope.clone()).or_default().entry(task.to_owned()).or_default());
    }

    fn stats(&self) -> Stats {
        let by_task = self.tasks.iter().flat_map(|(scope, tasks)| {
            tasks.iter().map(|(task, counters)| TaskStats {
                scope: scope.clone(),
                task: task.clone(),
                hits: counters.hits,
                misses: counters.misses,
                time_saved_ns: counters.time_saved_ns,
            })
        });
        Stats {
            hits: self.total.hits,
            misses: self.total.misses,
            time_saved_ns: self.total.time_saved_ns,
            by_task: by_task.collect(),
            misses_by_reason: self
                .reasons
                .iter()
                .map(|(reason, count)| (*reason, *count))
                .collect(),
            ..Stats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memod_protocol::Digest;

    fn call(task: &str) -> CallIdentity {
        CallIdentity {
            scope: Scope::new("p", "d"),
            task: task.to_owned(),
            cache_version: "1".to_owned(),
            signature: Digest::of(b""),
            inputs: Vec::new(),
        }
    }

    #[test]
    fn what_was_written_down_comes_back() {
        let ledger = Ledger::default();
        ledger.hit(&call("a"), 5);
        ledger.hit(&call("a"), 7);
        ledger.miss(&call("b"), MissReason::Corrupt);
        let note = ledger.changed_note().expect("changed");
        assert!(ledger.changed_note().is_none(), "nothing has changed since");
        let restored = Ledger::restore(Some(&note)).stats();
        assert_eq!((restored.hits, restored.misses, restored.time_saved_ns), (2, 1, 12));
        assert_eq!(restored.by_task.len(), 2);
        assert_eq!(restored.misses_by_reason, vec![(MissReason::Corrupt, 1)]);
    }

    #[test]
    fn unreadable_counters_begin_at_zero() {
        assert_eq!(Ledger::restore(Some(&[0xff; 3])).stats(), Stats::default());
    }

    #[test]
    fn tasks_are_bounded_and_totals_are_not() {
        let ledger = Ledger::default();
        for number in 0..TASKS_MAX + 10 {
            ledger.miss(&call(&number.to_string()), MissReason::NeverSeen);
        }
        assert_eq!(ledger.lock().task_count, TASKS_MAX);
        assert_eq!(ledger.stats().misses, (TASKS_MAX + 10) as u64);
        assert_eq!(ledger.stats().by_task.len(), TASKS_TOLD_MAX);
    }
}
