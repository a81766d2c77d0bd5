//! Requests and connections that were refused: counted by why, and some of them logged.
//!
//! **Invariants.** However many are refused, no more than [`TOLD_MAX`] are logged in
//! [`TOLD_PERIOD`]; how many were not is said with the next that is. So nobody can fill the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use memod_protocol::{ErrorCode, WireError};

use super::Service;
use super::exposition::{Exposition, Kind};
use crate::server::Peer;

/// The refusals that are counted.
const COUNTED: [ErrorCode; 3] = [ErrorCode::Forbidden, ErrorCode::OverBudget, ErrorCode::Busy];
/// So many are logged in the period.
const TOLD_MAX: u32 = 10;
const TOLD_PERIOD: Duration = Duration::from_secs(10);

/// Counters of what was refused, and how much of that has been logged.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: [AtomicU64; COUNTED.len()],
    told: Seldom,
}

/// Says what may be logged of something that peers cause as often as they like.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    period: Mutex<Period>,
}

#[derive(Debug, Default)]
struct Period {
    began: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Seldom {
    /// Whether this one may be logged; if so, how many have not been since the last.
    pub(crate) fn may_tell(&self, now: Instant) -> Option<u64> {
        let mut period = self.period.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = period.began.is_none_or(|began| now.duration_since(began) >= TOLD_PERIOD);
        if is_over {
            period.began = Some(now);
            period.told = 0;
        }
        if period.told < TOLD_MAX {
            period.told += 1;
            return Some(std::mem::take(&mut period.untold));
        }
        period.untold += 1;
        None
    }
}

impl Service {
    /// Notes that a peer was refused something, if that is what the error says.
    pub(crate) fn note_refusal(&self, peer: &Peer, error: &WireError) {
        let Some(index) = COUNTED.iter().position(|code| *code == error.code) else { return };
        if let Some(count) = self.refusals.counts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(untold) = self.refusals.told.may_tell(Instant::now()) {
            let (uid, pid, code) = (peer.uid, peer.pid, error.code.name());
            let why = error.message.escape_debug();
            tracing::warn!(uid, pid, code, untold, %why, "refused");
        }
    }
}

impl Refusals {
    /// Writes them down.
    pub(crate) fn expose(&self, page: &mut Exposition) {
        let help = "Requests and connections refused, by why.";
        let mut family = page.family("memod_refusals", Kind::Counter, help);
        for (code, count) in COUNTED.iter().zip(&self.counts) {
            family.sample(&[("reason", code.name())], count.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_seldom_and_how_often_it_was_not() {
        let (seldom, began) = (Seldom::default(), Instant::now());
        let told = (0..1000).filter(|_| seldom.may_tell(began).is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(seldom.may_tell(began + TOLD_PERIOD), Some(990));
        assert_eq!(seldom.may_tell(began + TOLD_PERIOD), Some(0));
    }
}
