//! The breaker: after three failures in a row the daemon is left alone for 30 s, then probed once.
//!
//! One that is not there costs nobody any time, and may be back at once: it is left alone for a
//! tenth of a second, and for longer each time that it is still not there.
//!
//! **Invariants.** A pure state machine over (event, now). At most one probe is under way in any
//! 30 s; one whose outcome is never told (its thread died) does not keep the breaker open longer.
//! While it is open and nobody probes, failures of those who asked before it opened, or past it,
//! change nothing.
//!
//! **Does not** read the clock or sleep.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 3;
/// How long it stays open before one request may probe.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// The same if nobody is there, at first and at the most.
const ABSENT_MIN: Duration = Duration::from_millis(100);
const ABSENT_MAX: Duration = Duration::from_secs(3);

/// How the daemon has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody is there: the kernel said so at once.
    Absent,
    /// In any other way.
    Other,
}

/// Whether the daemon is worth asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// It is; so many requests have failed since one succeeded.
    Closed { failures: u32 },
    /// It is not, until then.
    Open { until: Instant, pause: Duration, is_probed: bool },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Whether a request may be made now. The first that may after a pause is the probe; its
    /// success ends the pause that follows early, and its failure says how long that is.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { until, .. } if now < *until => false,
            Self::Open { until, is_probed, .. } => {
                (*until, *is_probed) = (now + OPEN_FOR, true);
                true
            }
        }
    }

    /// A request was answered.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request failed.
    pub(crate) fn failed(&mut self, failure: Failure, now: Instant) {
        let before = match *self {
            Self::Closed { failures } if failures + 1 < FAILURES_MAX => {
                *self = Self::Closed { failures: failures + 1 };
                return;
            }
            Self::Open { is_probed: false, .. } => return,
            Self::Closed { .. } => None,
            Self::Open { pause, .. } => Some(pause).filter(|pause| *pause < OPEN_FOR),
        };
        let pause = match (failure, before) {
            (Failure::Other, _) => OPEN_FOR,
            (Failure::Absent, None) => ABSENT_MIN,
            (Failure::Absent, Some(before)) => (2 * before).min(ABSENT_MAX),
        };
        *self = Self::Open { until: now + pause, pause, is_probed: false };
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
            breaker.failed(Failure::Other, now);
        }
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it() {
        let now = Instant::now();
        assert!(!opened(now).admit(now));
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(Failure::Other, now);
            breaker.failed(Failure::Other, now);
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
        breaker.failed(Failure::Other, later);
        assert!(!breaker.admit(later + ALMOST));
        assert!(breaker.admit(later + OPEN_FOR));
        breaker.succeeded();
        assert!(breaker.admit(later + OPEN_FOR));
        breaker.failed(Failure::Other, later);
        assert!(breaker.admit(later), "one failure after a success is forgiven");
    }

    #[test]
    fn a_probe_that_never_reports_does_not_close_the_way_for_ever() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.admit(now + OPEN_FOR));
        assert!(breaker.admit(now + OPEN_FOR + OPEN_FOR));
    }

    #[test]
    fn one_that_is_not_there_is_looked_for_soon_and_then_less_often() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.admit(now));
            breaker.failed(Failure::Absent, now);
        }
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let Breaker::Open { until, .. } = breaker else { panic!("{breaker:?}") };
            pauses.push((until - now).as_millis());
            assert!(!breaker.admit(until.checked_sub(Duration::from_nanos(1)).unwrap()));
            assert!(breaker.admit(until), "it is probed");
            assert!(!breaker.admit(until), "once");
            breaker.failed(Failure::Absent, until);
            now = until;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000]);
        // One that is there and fails is left alone for as long as ever, and one that is restarted
        // after that is looked for soon.
        let Breaker::Open { until, .. } = breaker else { panic!("{breaker:?}") };
        assert!(breaker.admit(until));
        breaker.failed(Failure::Other, until);
        assert!(!breaker.admit(until + ALMOST));
        assert!(breaker.admit(until + OPEN_FOR));
        breaker.failed(Failure::Absent, until + OPEN_FOR);
        assert!(breaker.admit(until + OPEN_FOR + ABSENT_MIN));
    }

    #[test]
    fn those_who_asked_before_it_opened_do_not_make_the_pause_longer() {
        let now = Instant::now();
        for (failure, pause) in [(Failure::Absent, ABSENT_MIN), (Failure::Other, OPEN_FOR)] {
            let mut breaker = Breaker::default();
            for failed in 0..100 {
                breaker.failed(failure, now + failed * Duration::from_millis(1));
            }
            assert!(breaker.admit(now + 2 * Duration::from_millis(1) + pause), "{failure:?}");
        }
    }
}
