//! Random numbers that can be had again: every test prints its seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// A sequence of random numbers (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for every run, or that of `$MEMOD_TEST_SEED`. The seed is printed, so
    /// that a failed test shows it.
    ///
    /// # Panics
    /// If `$MEMOD_TEST_SEED` is no number.
    #[must_use]
    pub fn seeded() -> Self {
        let given = std::env::var("MEMOD_TEST_SEED").ok();
        let given = given.map(|seed| seed.parse().expect("MEMOD_TEST_SEED is a number"));
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            (now.as_secs() << 20) | u64::from(now.subsec_micros())
        });
        println!("again with the same numbers: MEMOD_TEST_SEED={seed}");
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    ///
    /// # Panics
    /// If there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let number = self.number() % u64::try_from(end).expect("fits");
        usize::try_from(number).expect("it is below a usize")
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// So many bytes that do not compress.
    #[must_use]
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
