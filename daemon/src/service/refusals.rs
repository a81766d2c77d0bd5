//! Requests and connections that were refused: counted by why, and some of them logged.
//!
//! **Invariants.** However many are refused, no more than [`TOLD_MAX`] of a user are logged in
//! [`TOLD_PERIOD`]; how many were not is said with the next that is. So nobody can fill the log,
//! nor hide what others are refused; beyond [`USERS_MAX`] users at a time, all others count as one.

use std::collections::HashMap;
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
/// Users of whom it is remembered how many were logged.
const USERS_MAX: usize = 256;

/// Counters of what was refused, and how much of that has been logged.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: [AtomicU64; COUNTED.len()],
    told: Mutex<SeldomByUser>,
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

/// As [`Seldom`], for each user by itself.
#[derive(Debug, Default)]
struct SeldomByUser {
    users: HashMap<u32, Period>,
    /// Of those for whom there is no room.
    others: Period,
}

impl Seldom {
    /// Whether this one may be logged; if so, how many have not been since the last.
    pub(crate) fn may_tell(&self, now: Instant) -> Option<u64> {
        self.period.lock().unwrap_or_else(PoisonError::into_inner).may_tell(now)
    }
}

impl Period {
    fn is_over(&self, now: Instant) -> bool {
        self.began.is_none_or(|began| now.duration_since(began) >= TOLD_PERIOD)
    }

    fn may_tell(&mut self, now: Instant) -> Option<u64> {
        if self.is_over(now) {
            self.began = Some(now);
            self.told = 0;
        }
        if self.told < TOLD_MAX {
            self.told += 1;
            return Some(std::mem::take(&mut self.untold));
        }
        self.untold += 1;
        None
    }
}

impl SeldomByUser {
    /// See [`Seldom::may_tell`].
    fn may_tell(&mut self, uid: u32, now: Instant) -> Option<u64> {
        let Self { users, others } = self;
        if users.len() >= USERS_MAX && !users.contains_key(&uid) {
            users.retain(|_, period| {
                let is_kept = !period.is_over(now);
                if !is_kept {
                    // Said with the next that is logged of anybody without a place.
                    others.untold += period.untold;
                }
                is_kept
            });
            if users.len() >= USERS_MAX {
                return others.may_tell(now);
            }
        }
        users.entry(uid).or_default().may_tell(now)
    }
}

impl Service {
    /// Notes that a peer was refused something, if that is what the error says.
    pub(crate) fn note_refusal(&self, peer: &Peer, error: &WireError) {
        self.refused(peer, error.code, &error.message);
    }

    /// Notes that a peer was refused something for this reason, if that is one.
    pub(crate) fn refused(&self, peer: &Peer, code: ErrorCode, why: &str) {
        let Some(index) = COUNTED.iter().position(|counted| *counted == code) else { return };
        if let Some(count) = self.refusals.counts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut told = self.refusals.told.lock().unwrap_or_else(PoisonError::into_inner);
        let may_tell = told.may_tell(peer.uid, Instant::now());
        drop(told);
        if let Some(untold) = may_tell {
            let (uid, pid, code) = (peer.uid, peer.pid, code.name());
            let why = why.escape_debug();
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

    #[test]
    fn who_is_refused_often_does_not_hide_others() {
        let (mut seldom, began) = (SeldomByUser::default(), Instant::now());
        let told = |seldom: &mut SeldomByUser, uid| {
            (0..100).filter(|_| seldom.may_tell(uid, began).is_some()).count()
        };
        for uid in 0..USERS_MAX {
            assert_eq!(told(&mut seldom, u32::try_from(uid).expect("few")), 10, "{uid}");
        }
        // For more users there is one place together, until others' time is over.
        assert_eq!([1000, 1001].map(|uid| told(&mut seldom, uid)), [10, 0]);
        let later = began + TOLD_PERIOD;
        assert_eq!(seldom.may_tell(2000, later), Some(0));
        assert_eq!(seldom.users.len(), 1, "what is over is forgotten");
        let untold = 90 * u64::try_from(USERS_MAX).expect("few") + 190;
        assert_eq!(seldom.others.untold, untold, "and told with others'");
    }
}
