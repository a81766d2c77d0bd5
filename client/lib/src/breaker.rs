//! The breaker: after three failures in a row the daemon is left alone for 30 s, then probed once.
//!
//! **Invariants.** A pure state machine over (event, now). At most one probe is under way in any
//! 30 s; one whose outcome is never told (its thread died) does not keep the breaker open longer.
//!
//! **Does not** read the clock or sleep.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 3;
/// How long it stays open before one request may probe.
const OPEN_FOR: Duration = Duration::from_secs(30);

/// Whether the daemon is worth asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// It is; so many requests have failed since one succeeded.
    Closed { failures: u32 },
    /// It is not, until then.
    Open { until: Instant },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Whether a request may be made now. The first that may after a pause is the probe, and
    /// begins the next pause, which its success ends early.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { until } if now < *until => false,
            Self::Open { until } => {
                *until = now + OPEN_FOR;
                true
            }
        }
    }

    /// A request was answered.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        *self = match *self {
            Self::Closed { failures } if failures + 1 < FAILURES_MAX => {
                Self::Closed { failures: failures + 1 }
            }
            _ => Self::Open { until: now + OPEN_FOR },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pause but for an instant.
    const ALMOST: Duration = Duration::from_nanos(29_999_999_999);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.admit(now));
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it() {
        let now = Instant::now();
        assert!(!opened(now).admit(now));
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(now);
            breaker.failed(now);
            breaker.succeeded();
        }
        assert!(breaker.admit(now));
    }

    #[test]
    fn after_the_pause_exactly_one_request_probes() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.admit(now + ALMOST));
        assert!(breaker.admit(now + OPEN_FOR));
        assert!(!breaker.admit(now + OPEN_FOR));
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_one_that_fails_begins_another_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + OPEN_FOR;
        assert!(breaker.admit(later));
        breaker.failed(later);
        assert!(!breaker.admit(later + ALMOST));
        assert!(breaker.admit(later + OPEN_FOR));
        breaker.succeeded();
        assert!(breaker.admit(later + OPEN_FOR));
        breaker.failed(later);
        assert!(breaker.admit(later), "one failure after a success is forgiven");
    }

    #[test]
    fn a_probe_that_never_reports_does_not_close_the_way_for_ever() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.admit(now + OPEN_FOR));
        assert!(breaker.admit(now + OPEN_FOR + OPEN_FOR));
    }
}
