//! A cache of so many bytes that evicts the worst of a sample, as the store does.
//!
//! **Invariants.** The same trace, rule and seed give the same result.

use std::collections::VecDeque;
use std::time::Duration;

use harness::Random;
use memod_store::policy::{Candidate, PolicyKind, Reuse, Worth};

use super::trace::Trace;

/// Entries that are drawn together.
const DRAWN: usize = 96;
/// So many are evicted before others are drawn.
const EVICTED: usize = 8;
/// Entries drawn before, those that were worth least, among which is chosen as well.
const POOL: usize = 24;
/// Graves that are kept, for each entry.
const GRAVES_PER_ENTRY: usize = 8;

/// By what is evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A policy of the store.
    Policy(PolicyKind),
    /// The formula cost x frequency / (bytes x age), which learns nothing.
    Static,
}

impl Rule {
    fn value(self, candidate: &Candidate, reuse: &Reuse) -> f64 {
        match self {
            Self::Policy(kind) => kind.value(candidate, reuse),
            Self::Static => {
                let worth = Worth::new(candidate.cost, candidate.bytes).per_byte();
                let age = candidate.age.max(Duration::from_millis(1)).as_secs_f64();
                worth * (f64::from(candidate.hits) + 1.0) / age
            }
        }
    }

    /// Whether it knows what happened to an evicted entry before.
    fn remembers(self) -> bool {
        self == Self::Policy(PolicyKind::Cost)
    }
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    /// Nothing.
    #[default]
    Unknown,
    /// It is stored.
    Stored(Uses),
    /// It was stored, and its grave is still there.
    Buried(Uses),
    /// It was stored; nothing is left of it.
    Forgotten,
}

#[derive(Debug, Clone, Copy)]
struct Uses {
    created: Duration,
    last: Duration,
    hits: u32,
}

struct Cache<'a> {
    trace: &'a Trace,
    rule: Rule,
    places: Vec<Place>,
    stored: Vec<usize>,
    /// Where a key stands in that.
    at: Vec<usize>,
    pool: Vec<usize>,
    credit: usize,
    graves: VecDeque<usize>,
    bytes: u64,
    bytes_max: u64,
    reuse: Reuse,
    random: Random,
}

/// Seconds spent to compute again what had been computed before.
pub(crate) fn spent_again(trace: &Trace, bytes_max: u64, rule: Rule, seed: u64) -> f64 {
    let mut cache = Cache {
        trace,
        rule,
        places: vec![Place::Unknown; trace.items.len()],
        stored: Vec::new(),
        at: vec![0; trace.items.len()],
        pool: Vec::new(),
        credit: 0,
        graves: VecDeque::new(),
        bytes: 0,
        bytes_max,
        reuse: Reuse::new(),
        random: Random::new(seed),
    };
    let requests = trace.requests.iter();
    requests.map(|request| cache.request(request.item, request.at)).sum()
}

impl Cache<'_> {
    /// The seconds that a request spends on what had been computed before.
    fn request(&mut self, key: usize, now: Duration) -> f64 {
        let item = self.trace.items[key];
        let worth = Worth::new(Some(item.cost), item.bytes);
        let place = self.places[key];
        let age = |uses: Uses| now.saturating_sub(uses.last);
        match place {
            Place::Stored(uses) => self.reuse.hit(uses.hits, age(uses), worth),
            Place::Buried(uses) => self.reuse.put_again(uses.hits, age(uses), worth),
            Place::Unknown | Place::Forgotten => self.reuse.put(worth),
        }
        if let Place::Stored(uses) = place {
            let hits = uses.hits.saturating_add(1);
            self.places[key] = Place::Stored(Uses { last: now, hits, ..uses });
            return 0.0;
        }
        let hits = match place {
            Place::Buried(uses) if self.rule.remembers() => uses.hits.saturating_add(1),
            _ => 0,
        };
        self.places[key] = Place::Stored(Uses { created: now, last: now, hits });
        self.at[key] = self.stored.len();
        self.stored.push(key);
        self.bytes += item.bytes;
        while self.bytes > self.bytes_max {
            if self.rule.remembers() {
                self.reuse.refresh();
            }
            self.evict(now);
        }
        if matches!(place, Place::Unknown) { 0.0 } else { item.cost.as_secs_f64() }
    }

    fn evict(&mut self, now: Duration) {
        if self.credit == 0 {
            self.credit = EVICTED;
            for _ in 0..DRAWN {
                let key = self.stored[self.random.below(self.stored.len())];
                if !self.pool.contains(&key) {
                    self.pool.push(key);
                }
            }
        }
        self.credit -= 1;
        let mut valued: Vec<(f64, usize)> = Vec::with_capacity(self.pool.len());
        for key in std::mem::take(&mut self.pool) {
            // Whatever has been drawn may be gone by now.
            if let Place::Stored(_) = self.places[key] {
                let candidate = self.candidate(key, now);
                valued.push((self.rule.value(&candidate, &self.reuse), key));
            }
        }
        valued.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut lowest = valued.into_iter().map(|(_, key)| key);
        let Some(key) = lowest.next() else { return };
        self.pool.extend(lowest.take(POOL + self.credit));
        let at = self.at[key];
        self.stored.swap_remove(at);
        if let Some(moved) = self.stored.get(at) {
            self.at[*moved] = at;
        }
        self.bytes -= self.trace.items[key].bytes;
        let Place::Stored(uses) = self.places[key] else { unreachable!("what is drawn is stored") };
        let item = self.trace.items[key];
        self.reuse.evicted(uses.hits, Worth::new(Some(item.cost), item.bytes));
        self.places[key] = Place::Buried(uses);
        self.graves.push_back(key);
        while self.graves.len() > GRAVES_PER_ENTRY * self.stored.len() {
            let oldest = self.graves.pop_front().expect("there are too many");
            if let Place::Buried(_) = self.places[oldest] {
                self.places[oldest] = Place::Forgotten;
            }
        }
    }

    fn candidate(&mut self, key: usize, now: Duration) -> Candidate {
        let item = self.trace.items[key];
        let Place::Stored(uses) = self.places[key] else { unreachable!("what is drawn is stored") };
        Candidate {
            cost: Some(item.cost),
            bytes: item.bytes,
            age: now.saturating_sub(uses.last),
            life: now.saturating_sub(uses.created),
            hits: uses.hits,
            lot: self.random.number(),
        }
    }
}
