//! Hits by a board that the daemon has not been told of yet.
//!
//! **Invariants.** Bounded by number of keys; hits of others are not counted until the daemon has
//! taken a report.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use memod_protocol::limits::BOARD_HITS_MAX;
use memod_protocol::{BoardHit, Key};

/// So many hits are reported together,
const HITS_TOLD: u32 = 256;
/// or those of so long.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Takes a key's first bytes: a key is a hash already.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    count: u32,
    last_ms: u64,
    took: Duration,
}

/// Hits by key.
#[derive(Debug, Default)]
pub(super) struct Tally {
    hits: HashMap<Key, Counted, BuildHasherDefault<KeyHasher>>,
    count: u32,
    since: Option<Instant>,
}

impl Tally {
    /// Counts a hit that has just ended.
    pub(super) fn add(&mut self, key: Key, at_ms: u64, took: Duration, now: Instant) {
        if self.hits.len() >= BOARD_HITS_MAX && !self.hits.contains_key(&key) {
            return;
        }
        self.since.get_or_insert(now);
        self.count = self.count.saturating_add(1);
        let none = Counted { count: 0, last_ms: 0, took: Duration::ZERO };
        let counted = self.hits.entry(key).or_insert(none);
        counted.count = counted.count.saturating_add(1);
        counted.last_ms = at_ms;
        counted.took += took;
    }

    /// Whether it is time to report.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.count >= HITS_TOLD
            || self.since.is_some_and(|since| now.duration_since(since) >= TOLD_WITHIN)
    }

    /// Whether there is nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// Takes all hits.
    pub(super) fn take(&mut self) -> Vec<BoardHit> {
        (self.count, self.since) = (0, None);
        let told = |(key, counted): (Key, Counted)| BoardHit {
            key,
            count: counted.count,
            last_ms: counted.last_ms,
            took_us: u64::try_from(counted.took.as_micros()).unwrap_or(u64::MAX),
        };
        self.hits.drain().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a failed test may panic")]

    use super::*;

    fn key(number: u64) -> Key {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Key::from_bytes(bytes)
    }

    #[test]
    fn many_hits_or_a_second_are_reported_with_every_hit_counted() {
        let (mut tally, begun) = (Tally::default(), Instant::now());
        assert!(!tally.is_due(begun + Duration::from_secs(60)), "there is nothing to say");
        for number in 0..u64::from(HITS_TOLD) {
            assert!(!tally.is_due(begun));
            tally.add(key(number % 3), number, Duration::from_nanos(1500), begun);
        }
        assert!(tally.is_due(begun));
        let mut told = tally.take();
        told.sort_by_key(|hit| hit.count);
        let counts: Vec<_> = told.iter().map(|hit| (hit.count, hit.took_us)).collect();
        assert_eq!(counts, [(85, 127), (85, 127), (86, 129)]);
        assert_eq!(told.iter().map(|hit| hit.last_ms).max(), Some(255));
        tally.add(key(1), 1, Duration::ZERO, begun);
        assert!(!tally.is_due(begun + Duration::from_millis(999)));
        assert!(tally.is_due(begun + Duration::from_secs(1)));
    }

    #[test]
    fn keys_are_bounded() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        for number in 0..2 * BOARD_HITS_MAX as u64 {
            tally.add(key(number), 0, Duration::ZERO, now);
        }
        tally.add(key(0), 0, Duration::ZERO, now);
        let told = tally.take();
        assert_eq!(told.len(), BOARD_HITS_MAX);
        assert_eq!(told.iter().map(|hit| hit.count).sum::<u32>() as usize, BOARD_HITS_MAX + 1);
    }
}
