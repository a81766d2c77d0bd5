//! Which entries are worth a place on a board: those that were hit twice within a while.
//!
//! **Invariants.** Bounded: one word for each of so many groups of keys. A key that shares its word
//! with a busier one may have to be hit more often; none gets in by the hits of another but once in
//! some billions.

use memod_protocol::Key;

/// Groups of keys.
const GROUPS: usize = 4096;
/// The longest time between the two hits, in milliseconds.
const WHILE_MS: u64 = 60_000;

/// Remembers who was hit once.
#[derive(Debug)]
pub(super) struct Admission {
    /// A part of the key that was hit last, and when, in seconds.
    seen: Vec<(u32, u32)>,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self { seen: vec![(0, 0); GROUPS] }
    }

    /// Notes a hit; whether it is the second one within a while.
    pub(super) fn hit(&mut self, key: &Key, now_ms: u64) -> bool {
        let last = key.as_bytes().last_chunk().expect("a key has 32 bytes");
        let [mark, group] = halves(u64::from_le_bytes(*last));
        let group = group as usize % GROUPS;
        let Some(seen) = self.seen.get_mut(group) else { return false };
        let now = u32::try_from(now_ms / 1000 % u64::from(u32::MAX)).unwrap_or(0);
        let within = u64::from(now.abs_diff(seen.1)) <= WHILE_MS / 1000;
        let again = seen.0 == mark && within;
        *seen = (mark, now);
        again
    }
}

fn halves(word: u64) -> [u32; 2] {
    let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).expect("32 bits");
    [half(word), half(word >> 32)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_hit_within_a_while_counts() {
        let mut admission = Admission::new();
        let (one, other) = (Key::from_bytes([1; 32]), Key::from_bytes([2; 32]));
        assert!(!admission.hit(&one, 1_000_000));
        assert!(!admission.hit(&other, 1_000_000));
        assert!(admission.hit(&one, 1_059_000));
        assert!(!admission.hit(&other, 1_062_000), "it was too long ago");
        assert!(admission.hit(&other, 1_063_000));
    }

    #[test]
    fn hits_of_many_others_do_not_admit() {
        let mut admission = Admission::new();
        let numbered = |number: u64| {
            let digest = memod_protocol::Digest::of(&number.to_le_bytes());
            Key::from_bytes(*digest.as_bytes())
        };
        assert_eq!((0..100_000).filter(|n| admission.hit(&numbered(*n), 5_000_000)).count(), 0);
    }
}
