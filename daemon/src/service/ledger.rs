//! The ledger: hits, misses and compute time spared, by task, scope and user (semantics 36).
//!
//! **Invariants.** Bounded: beyond [`TASKS_MAX`] tasks only the totals grow. A hit costs one short
//! lock and no allocation once its task is known. The ledger is written down from time to time, so
//! a crash loses at most that much of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use memod_protocol::{MissReason, Savings, Scope, ScopeStats, Stats, TaskStats, UserStats, wire};

/// Tasks that have counters of their own.
const TASKS_MAX: usize = 10_000;
/// Users who have counters of their own.
const USERS_MAX: usize = 10_000;
/// Tasks, scopes or users in an answer: those with the most time saved, then lookups.
const ROWS_TOLD_MAX: usize = 256;

/// The ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
}

/// What is written down.
type Note = (Stats, Savings);

#[derive(Debug, Default)]
struct Pages {
    total: Counters,
    reasons: BTreeMap<MissReason, u64>,
    scopes: HashMap<Scope, ScopePage>,
    users: HashMap<u32, Counters>,
    task_count: usize,
    changed: bool,
}

#[derive(Debug, Default)]
struct ScopePage {
    total: Counters,
    tasks: HashMap<String, Counters>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    hits: u64,
    misses: u64,
    time_saved_ns: u64,
}

/// What came of lookups.
#[derive(Debug, Clone, Copy)]
enum Came {
    Hits { count: u32, spared_ns: u64 },
    Miss,
}

impl Counters {
    /// Counts so many hits that together spared this much, or a miss.
    fn count(&mut self, came: Came) {
        match came {
            Came::Hits { count, spared_ns } => {
                self.hits = self.hits.saturating_add(u64::from(count));
                self.time_saved_ns = self.time_saved_ns.saturating_add(spared_ns);
            }
            Came::Miss => self.misses += 1,
        }
    }

    /// What comes first in an answer has saved the most, then was looked up the most.
    fn rank(hits: u64, misses: u64, time_saved_ns: u64) -> std::cmp::Reverse<(u64, u64)> {
        std::cmp::Reverse((time_saved_ns, hits.saturating_add(misses)))
    }
}

impl Ledger {
    /// The ledger that was written down; an empty one if there is none or it cannot be read.
    pub(crate) fn restore(note: Option<&[u8]>) -> Self {
        let Some(note) = note else { return Self::default() };
        let (stats, savings): Note = match wire::decode_record(note) {
            Ok(note) => note,
            Err(error) => {
                tracing::warn!("the counters are lost and begin at zero: {error}");
                return Self::default();
            }
        };
        let total =
            Counters { hits: stats.hits, misses: stats.misses, time_saved_ns: stats.time_saved_ns };
        let reasons = stats.misses_by_reason.into_iter().collect();
        let mut pages = Pages { total, reasons, ..Pages::default() };
        for TaskStats { scope, task, hits, misses, time_saved_ns } in stats.by_task {
            let counters = Counters { hits, misses, time_saved_ns };
            pages.update_task(&scope, &task, |task| *task = counters);
        }
        for ScopeStats { scope, hits, misses, time_saved_ns } in savings.by_scope {
            let counters = Counters { hits, misses, time_saved_ns };
            pages.scopes.entry(scope).or_default().total = counters;
        }
        for UserStats { uid, hits, misses, time_saved_ns } in savings.by_uid {
            pages.users.insert(uid, Counters { hits, misses, time_saved_ns });
        }
        Self { pages: Mutex::new(pages) }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a hit that spared this much compute time.
    pub(crate) fn hit(&self, scope: &Scope, task: &str, uid: u32, spared_ns: u64) {
        self.hits(scope, task, uid, 1, spared_ns);
    }

    /// Counts so many hits that together spared this much compute time.
    pub(crate) fn hits(&self, scope: &Scope, task: &str, uid: u32, count: u32, spared_ns: u64) {
        self.lock().count(scope, task, uid, Came::Hits { count, spared_ns });
    }

    /// Counts a miss.
    pub(crate) fn miss(&self, scope: &Scope, task: &str, uid: u32, reason: MissReason) {
        let mut pages = self.lock();
        *pages.reasons.entry(reason).or_default() += 1;
        pages.count(scope, task, uid, Came::Miss);
    }

    /// Counts a miss where the peer may not read: of no task, so that nobody's counters change by
    /// what strangers ask.
    pub(crate) fn refused(&self, uid: u32, reason: MissReason) {
        let mut pages = self.lock();
        *pages.reasons.entry(reason).or_default() += 1;
        pages.changed = true;
        pages.total.count(Came::Miss);
        pages.count_user(uid, Came::Miss);
    }

    /// The counters as an answer; what the ledger does not know is zero.
    pub(crate) fn stats(&self) -> Stats {
        Self::told(self.lock().stats())
    }

    /// The counters of the tasks of some scopes, and their sums.
    pub(crate) fn stats_within(&self, tells: &dyn Fn(&Scope) -> bool) -> Stats {
        let mut all = self.lock().stats();
        all.by_task.retain(|row| tells(&row.scope));
        let mut stats = Stats { by_task: all.by_task, ..Stats::default() };
        for row in &stats.by_task {
            stats.hits = stats.hits.saturating_add(row.hits);
            stats.misses = stats.misses.saturating_add(row.misses);
            stats.time_saved_ns = stats.time_saved_ns.saturating_add(row.time_saved_ns);
        }
        Self::told(stats)
    }

    fn told(mut stats: Stats) -> Stats {
        stats.by_task.sort_by_key(|row| Counters::rank(row.hits, row.misses, row.time_saved_ns));
        stats.by_task.truncate(ROWS_TOLD_MAX);
        stats
    }

    /// The counters by scope and by user as an answer, of these scopes and users.
    pub(crate) fn savings(
        &self,
        scopes: &dyn Fn(&Scope) -> bool,
        users: &dyn Fn(u32) -> bool,
    ) -> Savings {
        let mut savings = self.lock().savings();
        let Savings { by_scope, by_uid } = &mut savings;
        by_scope.retain(|row| scopes(&row.scope));
        by_uid.retain(|row| users(row.uid));
        by_scope.sort_by_key(|row| Counters::rank(row.hits, row.misses, row.time_saved_ns));
        by_scope.truncate(ROWS_TOLD_MAX);
        by_uid.sort_by_key(|row| Counters::rank(row.hits, row.misses, row.time_saved_ns));
        by_uid.truncate(ROWS_TOLD_MAX);
        savings
    }

    /// The ledger in bytes, if it has changed since this was last asked.
    pub(crate) fn changed_note(&self) -> Option<Vec<u8>> {
        let mut pages = self.lock();
        let note: Note =
            std::mem::take(&mut pages.changed).then(|| (pages.stats(), pages.savings()))?;
        Some(wire::encode(&note))
    }
}

impl Pages {
    fn count(&mut self, scope: &Scope, task: &str, uid: u32, came: Came) {
        self.changed = true;
        self.total.count(came);
        self.count_user(uid, came);
        self.update_task(scope, task, |counters| counters.count(came));
        // A scope has a page as soon as one of its tasks has.
        if let Some(page) = self.scopes.get_mut(scope) {
            page.total.count(came);
        }
    }

    fn count_user(&mut self, uid: u32, came: Came) {
        if let Some(user) = self.users.get_mut(&uid) {
            user.count(came);
        } else if self.users.len() < USERS_MAX {
            self.users.entry(uid).or_default().count(came);
        }
    }

    fn update_task(&mut self, scope: &Scope, task: &str, change: impl FnOnce(&mut Counters)) {
        let page = self.scopes.get_mut(scope);
        if let Some(counters) = page.and_then(|page| page.tasks.get_mut(task)) {
            return change(counters);
        }
        if self.task_count >= TASKS_MAX {
            return;
        }
        self.task_count += 1;
        let page = self.scopes.entry(scope.clone()).or_default();
        change(page.tasks.entry(task.to_owned()).or_default());
    }

    fn stats(&self) -> Stats {
        let by_task = self.scopes.iter().flat_map(|(scope, page)| {
            page.tasks.iter().map(|(task, counters)| TaskStats {
                scope: scope.clone(),
                task: task.clone(),
                hits: counters.hits,
                misses: counters.misses,
                time_saved_ns: counters.time_saved_ns,
            })
        });
        let reasons = self.reasons.iter().map(|(reason, count)| (*reason, *count));
        Stats {
            hits: self.total.hits,
            misses: self.total.misses,
            time_saved_ns: self.total.time_saved_ns,
            by_task: by_task.collect(),
            misses_by_reason: reasons.collect(),
            ..Stats::default()
        }
    }

    fn savings(&self) -> Savings {
        let by_scope = self.scopes.iter().map(|(scope, page)| {
            let Counters { hits, misses, time_saved_ns } = page.total;
            ScopeStats { scope: scope.clone(), hits, misses, time_saved_ns }
        });
        let by_uid = self.users.iter().map(|(uid, counters)| {
            let Counters { hits, misses, time_saved_ns } = *counters;
            UserStats { uid: *uid, hits, misses, time_saved_ns }
        });
        Savings { by_scope: by_scope.collect(), by_uid: by_uid.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new("p", "d")
    }

    #[test]
    fn what_was_written_down_comes_back() {
        let ledger = Ledger::default();
        ledger.hit(&scope(), "a", 1000, 5);
        ledger.hits(&scope(), "a", 1001, 3, 7);
        ledger.miss(&Scope::new("q", "d"), "b", 1000, MissReason::Corrupt);
        let note = ledger.changed_note().expect("changed");
        assert!(ledger.changed_note().is_none(), "nothing has changed since");
        let restored = Ledger::restore(Some(&note));
        let stats = restored.stats();
        assert_eq!((stats.hits, stats.misses, stats.time_saved_ns), (4, 1, 12));
        assert_eq!(stats.by_task.len(), 2);
        assert_eq!(stats.misses_by_reason, vec![(MissReason::Corrupt, 1)]);
        let all = |ledger: &Ledger| ledger.savings(&|_| true, &|_| true);
        let savings = all(&restored);
        assert_eq!(savings, all(&ledger));
        let by_uid: Vec<_> =
            savings.by_uid.iter().map(|row| (row.uid, row.hits, row.misses)).collect();
        assert_eq!(by_uid, [(1001, 3, 0), (1000, 1, 1)]);
        let by_scope: Vec<_> =
            savings.by_scope.iter().map(|row| (&*row.scope.project, row.time_saved_ns)).collect();
        assert_eq!(by_scope, [("p", 12), ("q", 0)]);
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let ledger = Ledger::default();
        let other = Scope::new("q", "d");
        for _ in 0..3 {
            ledger.hit(&other, "b", 1001, 7);
        }
        ledger.hit(&scope(), "a", 1000, 5);
        ledger.refused(1002, MissReason::Forbidden);
        let stats = ledger.stats_within(&|of| *of == scope());
        assert_eq!((stats.hits, stats.misses, stats.time_saved_ns), (1, 0, 5));
        assert_eq!((stats.by_task.len(), stats.misses_by_reason.len()), (1, 0));
        let savings = ledger.savings(&|of| *of == scope(), &|uid| uid == 1002);
        assert_eq!((savings.by_scope.len(), savings.by_uid.len()), (1, 1));
        assert_eq!((ledger.stats().misses, ledger.stats().by_task.len()), (1, 2));
    }

    #[test]
    fn unreadable_counters_begin_at_zero() {
        assert_eq!(Ledger::restore(Some(&[0xff; 3])).stats(), Stats::default());
    }

    #[test]
    fn tasks_are_bounded_and_totals_are_not() {
        let ledger = Ledger::default();
        for number in 0..TASKS_MAX + 10 {
            ledger.miss(&scope(), &number.to_string(), 0, MissReason::NeverSeen);
        }
        assert_eq!(ledger.lock().task_count, TASKS_MAX);
        assert_eq!(ledger.stats().misses, (TASKS_MAX + 10) as u64);
        assert_eq!(ledger.stats().by_task.len(), ROWS_TOLD_MAX);
    }
}
