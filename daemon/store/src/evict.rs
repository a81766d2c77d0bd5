//! Eviction: which entries go, and when.
//!
//! Above the high water mark entries are evicted between groups of changes, until the store is
//! down to the low one. How much goes after each group follows from how near the limit is: at the
//! high water mark about as much as came, at the limit twice that. Only a put that would go beyond
//! the limit has entries evicted for it first.
//!
//! While there is too little room on the disk, a fifth of the store goes at a time, and no more
//! than half of it: if that does not help, it is not the store that fills the disk.
//!
//! **Invariants.** An entry that is evicted leaves a grave that says so, in the batch in which it
//! goes. What is evicted for a scope or a user that has used up its budget is its own. What the
//! last group has stored does not go between that and the next, as long as something else can:
//! nobody is told that an entry is stored which is evicted at once.
//!
//! **Does not** know how much may be stored ([`crate::budgets`]), nor what an entry is worth
//! ([`crate::policy`]).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memod_protocol::{Key, Scope};

use crate::budgets::Budgets;
use crate::error::StoreError;
use crate::failpoint::{Failpoint, reach};
use crate::group::Group;
use crate::heat::{Learned, SHARDS};
use crate::limits::{
    EVICT_FOR_PUT_MAX, EVICT_OF_SAMPLE, EVICT_POOL, EVICT_SAMPLES_MAX, FOLD_INTERVAL,
    REUSE_INTERVAL, SAMPLE_SKIPS_MAX,
};
use crate::policy::{ENTRY_BYTES, Reuse};
use crate::rocks::{Database, Read, Reads, Rows, Tier};
use crate::room::Full;
use crate::sample::{Drawn, Sampler};
use crate::schema::{Account, Column, META_REUSE};
use crate::shared::{Shared, now_ms};
use crate::usage;
use crate::writer::Writer;

/// While there is too little room on the disk, one part in so many is evicted at a time.
const DISK_SHARE: u64 = 5;
/// After so long it is seen whether that has helped.
const DISK_INTERVAL: Duration = Duration::from_secs(30);
/// Entries are evicted for no longer than this between two groups.
const TURN_MAX: Duration = Duration::from_millis(50);

/// There is too little room on the disk.
struct Shortage {
    /// When something was last done about it.
    acted: Instant,
    /// The store is not made smaller than this.
    floor: u64,
}

/// What only eviction knows.
pub(crate) struct Evictor {
    sampler: Sampler,
    /// What was drawn from all entries and was worth least.
    pool: Vec<Drawn>,
    /// So many may be chosen from the pool before others are drawn.
    credit: usize,
    pub(crate) reuse: Reuse,
    /// What the last group that stored anything has stored.
    fresh: HashSet<Key>,
    /// Scopes and users over their budgets, and down to how much of it they are to come.
    over: Vec<(Account, u64)>,
    /// The budgets by which it was last looked who is.
    judged: Option<Arc<Budgets>>,
    /// Evict until the store has no more bytes than this.
    goal: Option<u64>,
    /// While there is too little room on the disk.
    shortage: Option<Shortage>,
    pub(crate) folded: Instant,
    reuse_written: Instant,
}

impl Evictor {
    pub(crate) fn new(db: &Database) -> Self {
        let read = db.read(Column::Meta, META_REUSE, Tier::Disk, Reuse::from_bytes);
        let reuse = match read {
            Ok(Read::Row(Some(reuse))) => reuse,
            Ok(Read::Absent | Read::WouldBlock) => Reuse::new(),
            Ok(Read::Row(None)) | Err(_) => {
                tracing::warn!("what was learned of uses cannot be read and is learned anew");
                Reuse::new()
            }
        };
        Self {
            sampler: Sampler::new(),
            pool: Vec::new(),
            credit: 0,
            reuse,
            fresh: HashSet::new(),
            over: Vec::new(),
            judged: None,
            goal: None,
            shortage: None,
            folded: Instant::now(),
            reuse_written: Instant::now(),
        }
    }

    /// Whether there is something to evict.
    pub(crate) fn is_at_work(&self) -> bool {
        self.goal.is_some() || !self.over.is_empty()
    }

    pub(crate) fn forget_drawn(&mut self) {
        (self.pool, self.credit) = (Vec::new(), 0);
    }

    /// Entries have been stored, which are not to go at once.
    pub(crate) fn shield(&mut self, fresh: Vec<Key>) {
        if !fresh.is_empty() {
            self.fresh = fresh.into_iter().collect();
        }
    }

    /// Entries have been replaced or removed. What stays in the pool is as it was drawn.
    pub(crate) fn forget(&mut self, replaced: &[Key]) {
        if !replaced.is_empty() && !self.pool.is_empty() {
            let replaced: HashSet<&Key> = replaced.iter().collect();
            self.pool.retain(|drawn| !replaced.contains(&drawn.key));
        }
    }

    pub(crate) fn learn(&mut self, learned: Vec<Learned>) {
        for event in learned {
            event.teach(&mut self.reuse);
        }
    }

    /// Chooses those that are worth least: of one account from a sample of its own, of all from
    /// what has been drawn so far. No more than give about so many bytes back. `refs` is a walk
    /// over that column by prefixes, as it is now.
    fn choose(
        &mut self,
        shared: &Shared,
        of: Option<&Account>,
        bytes: u64,
        refs: &mut Rows<'_>,
    ) -> Result<Vec<Drawn>, StoreError> {
        if of.is_some() {
            let mut drawn = self.sampler.draw(shared, of)?;
            return self.take_lowest(shared, &mut drawn, (EVICT_OF_SAMPLE, bytes), refs);
        }
        let mut pool = std::mem::take(&mut self.pool);
        if self.credit == 0 || pool.is_empty() {
            let known: HashSet<Key> = pool.iter().map(|drawn| drawn.key).collect();
            let drawn = self.sampler.draw(shared, None)?;
            pool.extend(drawn.into_iter().filter(|drawn| !known.contains(&drawn.key)));
            self.credit = EVICT_OF_SAMPLE;
        }
        let chosen = self.take_lowest(shared, &mut pool, (self.credit, bytes), refs)?;
        self.credit = if chosen.is_empty() { 0 } else { self.credit - chosen.len() };
        pool.truncate(EVICT_POOL + self.credit);
        self.pool = pool;
        Ok(chosen)
    }

    /// Takes those that are worth least, and leaves the others in their order.
    fn take_lowest(
        &mut self,
        shared: &Shared,
        pool: &mut Vec<Drawn>,
        (count, bytes): (usize, u64),
        refs: &mut Rows<'_>,
    ) -> Result<Vec<Drawn>, StoreError> {
        self.reuse.refresh();
        let (policy, now_ms) = (shared.budgets().policy, now_ms());
        let value = |drawn: &Drawn| policy.value(&drawn.candidate(shared, now_ms), &self.reuse);
        let fresh = &self.fresh;
        let drawn = pool.drain(..).filter(|drawn| !fresh.contains(&drawn.key));
        let mut valued: VecDeque<(f64, Drawn)> =
            drawn.map(|drawn| (value(&drawn), drawn)).collect();
        valued.make_contiguous().sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let (mut chosen, mut freed) = (Vec::new(), 0);
        while chosen.len() < count && freed < bytes {
            let Some((_, mut lowest)) = valued.pop_front() else { break };
            // It is worth more than it seemed if it shares its content with others. That it does
            // not is true for this batch only.
            if lowest.look(refs)? {
                let value = value(&lowest);
                let at = valued.partition_point(|(other, _)| *other < value);
                valued.insert(at, (value, lowest));
                continue;
            }
            freed += lowest.freed_bytes().saturating_add(ENTRY_BYTES);
            chosen.push(lowest);
        }
        pool.extend(valued.into_iter().map(|(_, drawn)| drawn));
        Ok(chosen)
    }
}

impl Writer {
    /// Evicts what there is to evict after a group that has added so many bytes. Does no more than
    /// a little if there was no group, so that the next one need not wait.
    pub(crate) fn evict_in_turn(&mut self, added: u64) {
        self.set_goal();
        let budgets = self.shared.budgets();
        if !self.evictor.judged.as_ref().is_some_and(|judged| Arc::ptr_eq(judged, &budgets)) {
            self.find_over();
            self.evictor.judged = Some(Arc::clone(&budgets));
        }
        self.evict_over();
        let Some(goal) = self.evictor.goal else { return };
        let began = Instant::now();
        let before = self.shared.counters().total_bytes();
        // In thousandths of the way from the goal to the limit; a store without a limit has one as
        // far above its high water mark as that is above the goal.
        let high = budgets.high().unwrap_or(goal).max(goal);
        let limit = budgets.store_bytes_max.unwrap_or(high.saturating_add(high - goal));
        let limit = limit.max(goal.saturating_add(1));
        let way = u128::from(before.saturating_sub(goal)) * 1000 / u128::from(limit - goal);
        let pressure = u64::try_from(way).unwrap_or(u64::MAX).min(1000);
        let wanted = added.saturating_mul(2).saturating_mul(pressure) / 1000;
        loop {
            let used = self.shared.counters().total_bytes();
            let beyond = used.saturating_sub(goal);
            let evicted = self.evict(None, EVICT_SAMPLES_MAX, beyond);
            let now = self.shared.counters().total_bytes();
            if evicted == 0 {
                self.evictor.fresh.clear();
            }
            if evicted == 0 || now <= goal {
                self.evictor.goal = None;
                return;
            }
            if before.saturating_sub(now) >= wanted || began.elapsed() >= TURN_MAX {
                return;
            }
        }
    }

    fn set_goal(&mut self) {
        let used = self.shared.counters().total_bytes();
        let budgets = self.shared.budgets();
        if let (Some(high), Some(low)) = (budgets.high(), budgets.low())
            && used > high
        {
            self.evictor.goal = Some(self.evictor.goal.unwrap_or(low).min(low));
        }
        let Some(short) = self.shared.shortage() else {
            self.evictor.shortage = None;
            return;
        };
        let shortage = &mut self.evictor.shortage;
        if shortage.as_ref().is_some_and(|since| since.acted.elapsed() < DISK_INTERVAL) {
            return;
        }
        let floor = shortage.as_ref().map_or(used / 2, |since| since.floor);
        *shortage = Some(Shortage { acted: Instant::now(), floor });
        let goal = (used - used / DISK_SHARE).max(floor);
        // Less would not be given back to the file system.
        if used.saturating_sub(goal) >= self.shared.garbage_bytes_min() {
            let (free, reserve, unflushed) = (short.free, short.reserve, short.unflushed);
            tracing::warn!(free, reserve, unflushed, "too little room on the disk: evicting");
            self.evictor.goal = Some(self.evictor.goal.unwrap_or(goal).min(goal));
        }
    }

    /// Evicts what is worth least in so many samples, in one batch, but no more than gives about
    /// so many bytes back. Says how many went.
    fn evict(&mut self, of: Option<&Account>, samples: usize, bytes: u64) -> u64 {
        let shared = self.share();
        let mut group = Group::new(&shared, 0, self.loose.bytes());
        let mut refs = shared.db.rows_by_prefix(Column::Refs, SAMPLE_SKIPS_MAX);
        let mut freed: u64 = 0;
        let (mut fruitful, mut in_vain) = (0, false);
        while fruitful < samples && freed < bytes {
            let wanted = bytes - freed;
            let chosen = match self.evictor.choose(&shared, of, wanted, &mut refs) {
                Ok(chosen) => chosen,
                Err(error) => {
                    tracing::warn!(%error, "what is to be evicted cannot be chosen");
                    break;
                }
            };
            if chosen.is_empty() {
                break;
            }
            let before = freed;
            for drawn in chosen {
                match group.evict(&drawn, now_ms()) {
                    Ok(true) => freed += drawn.freed_bytes().saturating_add(ENTRY_BYTES),
                    // It went by itself, or in this batch.
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(key = %drawn.key, %error, "an entry cannot be evicted");
                    }
                }
            }
            if freed > before {
                fruitful += 1;
            } else if std::mem::replace(&mut in_vain, true) {
                break;
            } else {
                // What is in the pool is gone; what is drawn anew is not, but for this batch.
                self.evictor.forget_drawn();
            }
        }
        drop(refs);
        if fruitful == 0 {
            return 0;
        }
        let before = shared.counters().evicted_entries;
        reach(Failpoint::EvictionChosen);
        if let Err(error) = self.write(group) {
            tracing::warn!(%error, "nothing could be evicted");
        }
        reach(Failpoint::Evicted);
        shared.counters().evicted_entries - before
    }

    /// Evicts until there is room for a change that was refused. Whether there is.
    pub(crate) fn make_room(&mut self, full: &Full) -> bool {
        let Full::Budget { of, limit, need, .. } = full else { return false };
        self.evictor.fresh.clear();
        // What uploads hold does not go by eviction.
        let stays = if of.is_none() { self.loose.bytes() } else { 0 };
        if need.saturating_add(stays) > *limit {
            return false;
        }
        // For a scope or a user with some slack, or each of its puts would have to wait.
        let aim = limit - need;
        let aim = if of.is_some() { aim.min(limit - limit / 10) } else { aim };
        let mut evicted = 0;
        loop {
            let used = match of {
                None => self.shared.counters().total_bytes().saturating_add(self.loose.bytes()),
                Some(account) => match self.shared.books.load(&self.shared.db, account) {
                    Ok(usage) => usage.bytes,
                    Err(_) => return false,
                },
            };
            if used <= aim {
                return true;
            }
            let now = self.evict(of.as_ref(), 1, used - aim);
            evicted += now;
            if now == 0 || evicted >= EVICT_FOR_PUT_MAX {
                return used.saturating_add(*need) <= *limit;
            }
        }
    }

    /// Looks which scopes and users have more than they may: a budget that was lowered, or content
    /// that was inherited.
    fn find_over(&mut self) {
        let budgets = self.shared.budgets();
        if !budgets.bounds_accounts() {
            self.evictor.over.clear();
            return;
        }
        let bounds_scope = |scope: &Scope| budgets.of_scope(scope).is_some();
        let bounds_user = |uid: u32| budgets.of_user(uid).is_some();
        let db = &self.shared.db;
        let usages = match usage::usages(db, usize::MAX, &bounds_scope, &bounds_user) {
            Ok(usages) => usages,
            Err(error) => {
                tracing::warn!(%error, "what scopes and users have stored cannot be read");
                return;
            }
        };
        let scopes = usages.scopes.into_iter().map(|(scope, usage)| {
            let limit = budgets.of_scope(&scope);
            (Account::Scope(scope), usage, limit)
        });
        let users = usages.users.into_iter().map(|(uid, usage)| {
            let limit = budgets.of_user(uid);
            (Account::User(uid), usage, limit)
        });
        let over = scopes.chain(users).filter_map(|(account, usage, limit)| {
            let limit = limit.filter(|limit| usage.bytes > *limit)?;
            Some((account, limit - limit / 10))
        });
        self.evictor.over = over.collect();
    }

    /// Evicts some entries of a scope or a user that has more than it may.
    fn evict_over(&mut self) {
        let Some((account, aim)) = self.evictor.over.last().cloned() else { return };
        let used = self.shared.books.load(&self.shared.db, &account).map_or(0, |usage| usage.bytes);
        let beyond = used.saturating_sub(aim);
        if beyond == 0 || self.evict(Some(&account), 1, beyond) == 0 {
            self.evictor.over.pop();
        }
    }

    /// Evicts down to the low water mark, and scopes and users to their budgets, however far above
    /// it the store is. Says how many went.
    pub(crate) fn shrink(&mut self) -> u64 {
        self.evictor.fresh.clear();
        let before = self.shared.counters().evicted_entries;
        self.find_over();
        while !self.evictor.over.is_empty() {
            self.evict_over();
        }
        let low = self.shared.budgets().low().unwrap_or(u64::MAX);
        loop {
            let beyond = self.shared.counters().total_bytes().saturating_sub(low);
            if beyond == 0 || self.evict(None, EVICT_SAMPLES_MAX, beyond) == 0 {
                break;
            }
        }
        self.shared.counters().evicted_entries - before
    }

    /// Writes uses down, if it is time; those of one shard for each batch.
    pub(crate) fn fold_if_due(&mut self) {
        if self.shared.touches.take_full() || self.evictor.folded.elapsed() >= FOLD_INTERVAL {
            self.fold();
        }
    }

    /// Writes all uses down.
    pub(crate) fn fold(&mut self) {
        self.evictor.folded = Instant::now();
        // What is in the pool knows only what was written down when it was drawn.
        self.evictor.forget_drawn();
        let shared = self.share();
        for shard in 0..SHARDS {
            let touched = shared.touches.take(shard);
            if touched.is_empty() {
                continue;
            }
            let mut group = Group::new(&shared, 0, self.loose.bytes());
            for (key, touch) in &touched {
                if let Err(error) = group.fold(key, touch) {
                    tracing::debug!(%key, %error, "a use is not written down");
                }
            }
            if let Err(error) = self.write(group) {
                tracing::warn!(%error, "uses could not be written down");
                break;
            }
            reach(Failpoint::BetweenFolds);
        }
        if self.evictor.reuse_written.elapsed() >= REUSE_INTERVAL {
            self.write_reuse();
        }
    }

    /// Writes down what has been learned of uses.
    pub(crate) fn write_reuse(&mut self) {
        self.evictor.reuse_written = Instant::now();
        let shared = self.share();
        let mut group = Group::new(&shared, 0, self.loose.bytes());
        group.batch.put(&shared.db, Column::Meta, META_REUSE, &self.evictor.reuse.to_bytes());
        if let Err(error) = self.write(group) {
            tracing::warn!(%error, "what was learned of uses could not be written down");
        }
    }
}
