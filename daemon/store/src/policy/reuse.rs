//! How soon entries are used again: learned from the uses that there were.
//!
//! Entries are sorted into classes by hits (0, 1, 2 to 3, 4 to 7, .. 64 and more) and by worth
//! (below, about or above what is usual). After each use an entry waits for the next one. Each
//! class counts its waits, and at which ages they ended with a use, in buckets of half an octave.
//! What ended in a bucket, by what was still waiting at its beginning, is the hazard: the chance
//! that an entry of this class and age is used before it leaves the bucket.
//!
//! The density of an entry is the best rate of uses that one can have of it, whatever the time x
//! for which one keeps it on: the maximum over x of the chance of a use within x, by the expected
//! time until then or until x. This is Gittins's index (Journal of the Royal Statistical Society
//! B 41, 1979), here of a project that ends with the next use. LHD (Beckmann, Chen and Cidon, NSDI
//! 2018) ranks by a density of hits by class and age too.
//!
//! A wait is counted when it ends or when its entry is evicted, not when it begins: else a cohort
//! that enters a class together would look as if it were never used. Keys that are put again
//! after an eviction tell of waits that the cache cut short, so what is learned hardly
//! depends on what was evicted.
//!
//! Where little is known of a class, a weak prior speaks (of Beta's distribution, with the weight
//! of [`PRIOR_WEIGHT`] waits): the hazards of all classes together, and for these the same chance
//! [`PRIOR_HAZARD`] in each bucket. Before anything is known the density is thus about one over the
//! age, which is LRU, times worth. And one wait in [`LAST_WAITS`] is taken to be an entry's last,
//! though none such was seen: nothing is used for ever.
//!
//! **Invariants.** Bounded in memory; every number in it is finite. The same events lead to the
//! same densities.
//!
//! **Does not** know keys, or when anything happened: only ages.

use std::array;
use std::iter;
use std::time::Duration;

use super::worth::{Worth, float};

/// Classes by hits: none, and one for each power of two.
const HIT_CLASSES: usize = 8;
/// Classes by worth: below, about and above the usual.
const WORTH_CLASSES: usize = 3;
const CLASSES: usize = HIT_CLASSES * WORTH_CLASSES;
/// Buckets of age: two an octave, from a millisecond to more than two years.
const BUCKETS: usize = 72;
/// The prior is worth as much as so many waits that were seen.
const PRIOR_WEIGHT: f64 = 2.0;
/// The chance of a use in one bucket, before anything is known.
const PRIOR_HAZARD: f64 = 0.1;
/// One wait in so many is the last, besides those that are seen to be.
const LAST_WAITS: f64 = 50.0;
/// After so many events all counts fade by [`FADE`], so that the past is forgotten.
const FADE_EVENTS: u64 = 8192;
const FADE: f64 = 0.9;
/// Densities are computed anew after so many events; at first, whenever there are twice as many.
const COMPUTE_EVENTS: u64 = 256;
/// The usual worth is an average over about so many events.
const USUAL_EVENTS: f64 = 4096.0;
/// Worth within this many mean deviations of the usual is about the usual.
const USUAL_WIDTH: f64 = 0.5;
/// The same, as a logarithm, if there is next to no deviation: a factor of 1.3.
const USUAL_WIDTH_MIN: f64 = 0.25;
/// No count comes near, since they fade.
const COUNT_MAX: f64 = 1e9;

/// What is known of entries that are alike.
#[derive(Debug, Clone, PartialEq)]
struct Class {
    /// Waits for a next use that are over, or were when the entry was evicted.
    waits: f64,
    /// Waits that ended with a use, by age.
    ended: [f64; BUCKETS],
    /// Computed from the above: uses per millisecond at the beginning of each bucket.
    density: [f64; BUCKETS],
}

/// How soon entries are used again.
#[derive(Debug, Clone, PartialEq)]
pub struct Reuse {
    classes: Vec<Class>,
    /// The mean logarithm of the worths that were seen, and its mean deviation.
    usual: f64,
    deviation: f64,
    seen: u64,
    events: u64,
    /// How many there were when densities were computed.
    computed: u64,
    /// Where buckets begin, in milliseconds, and where the last one ends.
    edges: [f64; BUCKETS + 1],
}

impl Default for Reuse {
    fn default() -> Self {
        Self::new()
    }
}

impl Reuse {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        let class = Class { waits: 0.0, ended: [0.0; BUCKETS], density: [0.0; BUCKETS] };
        let mut reuse = Self {
            classes: vec![class; CLASSES],
            usual: 0.0,
            deviation: 0.0,
            seen: 0,
            events: 0,
            computed: 0,
            edges: edges(),
        };
        reuse.compute();
        reuse
    }

    /// An entry was put under a key of which no earlier use is known.
    pub fn put(&mut self, worth: Worth) {
        self.see(worth);
        self.count();
    }

    /// An entry was hit so long after the use before; `hits` are those that it had before.
    pub fn hit(&mut self, hits: u32, age: Duration, worth: Worth) {
        self.see(worth);
        let class = self.class_mut(hits, worth);
        class.waits += 1.0;
        class.end(age);
        self.count();
    }

    /// An entry of so many hits was evicted.
    pub fn evicted(&mut self, hits: u32, worth: Worth) {
        self.class_mut(hits, worth).waits += 1.0;
        self.count();
    }

    /// An entry of so many hits was evicted and is now put again, so long after its last use: it
    /// would have been hit. It begins with one hit more than it had.
    pub fn put_again(&mut self, hits: u32, age: Duration, worth: Worth) {
        self.see(worth);
        self.class_mut(hits, worth).end(age);
        self.count();
    }

    /// Brings densities up to date, if enough has happened since that was done: some 60,000 steps.
    /// To be called before candidates are valued. The events themselves cost next to nothing.
    pub fn refresh(&mut self) {
        let since = self.events.wrapping_sub(self.computed);
        if since >= COMPUTE_EVENTS.min(self.computed).max(1) {
            self.compute();
        }
    }

    /// The uses per second that one has of such an entry at the best. Positive and finite.
    #[must_use]
    pub fn density(&self, hits: u32, age: Duration, worth: Worth) -> f64 {
        let at = |numbers: &[f64], index| numbers.get(index).copied().unwrap_or_default();
        let bucket = bucket(age).min(BUCKETS - 2);
        let (start, end) = (at(&self.edges, bucket), at(&self.edges, bucket + 1));
        let part = ((age.as_secs_f64() * 1000.0 - start) / (end - start)).clamp(0.0, 1.0);
        let class = self.classes.get(self.class(hits, worth));
        let densities = class.map_or(&[][..], |class| &class.density);
        let (here, next) = (at(densities, bucket), at(densities, bucket + 1));
        (here * (1.0 - part) + next * part) * 1000.0
    }

    /// As bytes, to be kept: some 14 kB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.classes.iter().flat_map(|class| {
            let ended = class.ended.iter().copied();
            iter::once(class.waits).chain(ended)
        });
        let numbers = [self.usual, self.deviation].into_iter().chain(numbers);
        let bytes = numbers.flat_map(f64::to_le_bytes);
        let counters = [self.events, self.seen].into_iter().flat_map(u64::to_le_bytes);
        counters.chain(bytes).collect()
    }

    /// From the bytes of [`Reuse::to_bytes`]; nothing if they are not.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let ([events, seen], words) = words.split_first_chunk()?;
        let mut numbers = words.iter().map(|word| f64::from_le_bytes(*word));
        let mut reuse = Self::new();
        reuse.events = u64::from_le_bytes(*events);
        reuse.seen = u64::from_le_bytes(*seen);
        reuse.usual = numbers.next().filter(|number| number.abs() < COUNT_MAX)?;
        let mut count = || numbers.next().filter(|number| (0.0..COUNT_MAX).contains(number));
        reuse.deviation = count()?;
        for class in &mut reuse.classes {
            class.waits = count()?;
            for ended in &mut class.ended {
                *ended = count()?;
            }
        }
        if numbers.next().is_some() {
            return None;
        }
        reuse.compute();
        Some(reuse)
    }

    /// The index of a class.
    fn class(&self, hits: u32, worth: Worth) -> usize {
        let by_hits = (u32::BITS - hits.leading_zeros()) as usize;
        let beyond = worth.logarithm() - self.usual;
        let width = (self.deviation * USUAL_WIDTH).max(USUAL_WIDTH_MIN);
        let by_worth = if beyond < -width { 0 } else { 1 + usize::from(beyond > width) };
        by_hits.min(HIT_CLASSES - 1) * WORTH_CLASSES + by_worth
    }

    fn class_mut(&mut self, hits: u32, worth: Worth) -> &mut Class {
        let index = self.class(hits, worth);
        self.classes.get_mut(index).expect("there is one for each number of hits and each worth")
    }

    /// Learns what worth is usual.
    fn see(&mut self, worth: Worth) {
        self.seen = self.seen.saturating_add(1);
        let weight = 1.0 / float(self.seen).min(USUAL_EVENTS);
        let beyond = worth.logarithm() - self.usual;
        self.usual += beyond * weight;
        if self.seen > 1 {
            self.deviation += (beyond.abs() - self.deviation) * weight;
        }
    }

    fn count(&mut self) {
        self.events = self.events.wrapping_add(1);
        if self.events.is_multiple_of(FADE_EVENTS) {
            for class in &mut self.classes {
                class.waits *= FADE;
                class.ended.iter_mut().for_each(|ended| *ended *= FADE);
            }
        }
    }

    fn compute(&mut self) {
        self.computed = self.events;
        let mut all = [0.0; BUCKETS];
        for class in &self.classes {
            all.iter_mut().zip(&class.ended).for_each(|(sum, ended)| *sum += ended);
        }
        let waits = self.classes.iter().map(|class| class.waits).sum();
        let all = hazards(waits, &all, &[PRIOR_HAZARD; BUCKETS]);
        let ends = self.edges.iter().skip(1);
        let widths: Vec<f64> =
            self.edges.iter().zip(ends).map(|(start, end)| end - start).collect();
        for class in &mut self.classes {
            let hazards = hazards(class.waits, &class.ended, &all);
            let mut from = hazards.iter().zip(&widths);
            for density in &mut class.density {
                *density = best_rate(from.clone());
                from.next();
            }
        }
    }
}

impl Class {
    /// A wait ends with a use at this age.
    fn end(&mut self, age: Duration) {
        let ended = self.ended.get_mut(bucket(age));
        *ended.expect("a bucket is below their number") += 1.0;
    }
}

/// The chance of a use in each bucket, for what is still waiting at its beginning.
fn hazards(waits: f64, ended: &[f64; BUCKETS], prior: &[f64; BUCKETS]) -> [f64; BUCKETS] {
    let mut waiting = waits * (1.0 + 1.0 / LAST_WAITS);
    let mut both = ended.iter().zip(prior);
    array::from_fn(|_| {
        let (ended, prior) = both.next().expect("there are as many");
        // More may have ended than there were waits: what is about the usual worth changes.
        let hazard = (ended + PRIOR_WEIGHT * prior) / (waiting.max(*ended) + PRIOR_WEIGHT);
        waiting = (waiting - ended).max(0.0);
        hazard
    })
}

/// The best rate of uses, by the hazards and widths of the buckets to come.
fn best_rate<'a>(buckets: impl Iterator<Item = (&'a f64, &'a f64)>) -> f64 {
    let (mut best, mut uses, mut held, mut left) = (0.0_f64, 0.0, 0.0, 1.0);
    for (hazard, width) in buckets {
        uses += left * hazard;
        // A use comes in the middle of its bucket.
        held += left * (1.0 - hazard / 2.0) * width;
        left *= 1.0 - hazard;
        best = best.max(uses / held);
    }
    best
}

/// The bucket of an age.
fn bucket(age: Duration) -> usize {
    let ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX).max(1);
    let octave = ms.ilog2();
    let second_half = octave > 0 && (ms >> (octave - 1)) & 1 == 1;
    (octave as usize * 2 + usize::from(second_half)).min(BUCKETS - 1)
}

/// 0, 1.5, 2, 3, 4, 6, .. milliseconds.
fn edges() -> [f64; BUCKETS + 1] {
    let mut octave = 0.5;
    array::from_fn(|edge| {
        if edge.is_multiple_of(2) {
            octave *= 2.0;
        }
        match edge {
            0 => 0.0,
            _ if edge.is_multiple_of(2) => octave,
            _ => octave * 1.5,
        }
    })
}

#[cfg(test)]
#[path = "reuse_tests.rs"]
mod tests;
