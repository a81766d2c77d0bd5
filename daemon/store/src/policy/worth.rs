//! What an entry is worth as long as it is there: compute time per byte.
//!
//! **Invariants.** A worth is positive and finite, and so is its logarithm.

use std::time::Duration;

/// What is taken for the compute time of an entry if nobody said it.
pub const COST_UNKNOWN: Duration = Duration::from_secs(1);
/// The least compute time that counts: to look up, run and put anything takes about that.
pub const COST_MIN: Duration = Duration::from_millis(1);
/// What an entry takes besides its outputs: its rows, roughly. So an entry whose outputs are
/// empty, or all shared with others, has a size as well.
pub const ENTRY_BYTES: u64 = 512;

/// Compute time per byte that an eviction gives back, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Worth(f64);

impl Worth {
    /// Of an entry that took so long to compute, if that is known, and gives back so many bytes.
    #[must_use]
    pub fn new(cost: Option<Duration>, bytes: u64) -> Self {
        let cost = cost.unwrap_or(COST_UNKNOWN).max(COST_MIN);
        Self(cost.as_secs_f64() / float(bytes.saturating_add(ENTRY_BYTES)))
    }

    /// Seconds per byte.
    #[must_use]
    pub const fn per_byte(self) -> f64 {
        self.0
    }

    /// Its natural logarithm.
    pub(super) fn logarithm(self) -> f64 {
        self.0.ln()
    }
}

/// A number as a float.
#[expect(clippy::cast_precision_loss, reason = "the first 53 bits say enough of a size")]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worth_is_positive_and_finite() {
        for cost in [Duration::ZERO, Duration::MAX] {
            for bytes in [0, 1, u64::MAX] {
                let worth = Worth::new(Some(cost), bytes);
                assert!(worth.per_byte() > 0.0 && worth.per_byte().is_finite());
                assert!(worth.logarithm().is_finite());
            }
        }
    }

    #[test]
    fn twice_the_cost_or_half_the_size_is_twice_the_worth() {
        let worth = |seconds, bytes| {
            Worth::new(Some(Duration::from_secs(seconds)), bytes - ENTRY_BYTES).per_byte()
        };
        assert!((worth(2, 10_000) / worth(1, 10_000) - 2.0).abs() < 1e-9);
        assert!((worth(1, 10_000) / worth(1, 20_000) - 2.0).abs() < 1e-9);
    }
}
