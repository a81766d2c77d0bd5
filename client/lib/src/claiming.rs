//! A claim that outlasts a restart of the daemon: what to do when its wait is cut off.
//!
//! **Invariants.** A pure state machine over (event, now). Only a wait that the daemon's end cut
//! off is begun anew, and only so often; a daemon that is silent is not left for another, since it
//! may still have it in mind that the claim waits. Once an answer has begun, nothing is asked
//! again.
//!
//! **Does not** connect, read the clock or sleep.

use std::time::{Duration, Instant};

use crate::address::Address;
use crate::error::Error;
use crate::exchange::claim::ClaimExchange;
use crate::pause::Pause;

/// Waits of one claim that may be cut off and begun anew: a daemon that keeps crashing must not
/// hold a task for ever.
const CUTS_MAX: u32 = 3;

/// A claim and how far it has come.
#[derive(Debug)]
pub(crate) struct Claiming<'a> {
    exchange: ClaimExchange<'a>,
    /// How long a daemon that has gone is looked for.
    search_max: Duration,
    /// When it was first told that it waits.
    waits_since: Option<Instant>,
    /// Waits that were cut off.
    cuts: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It has been asked, or answered: no error is to be made good.
    Asked,
    /// It was told here that it waits.
    Waiting(Address),
    /// The daemon with which it waited is looked for.
    Searching(Search),
    /// That one does not come back; the last try.
    Last,
}

#[derive(Debug)]
struct Search {
    at: Address,
    until: Instant,
    pause: Pause,
}

/// Where to ask once more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Where it waited, after so long.
    There { after: Duration, at: Address },
    /// Wherever a new request would be asked, with a daemon of one's own if that is wanted.
    Anywhere,
}

impl<'a> Claiming<'a> {
    /// A claim that has not been asked yet. A daemon that goes is looked for this long.
    pub(crate) fn new(exchange: ClaimExchange<'a>, search_max: Duration) -> Self {
        Self { exchange, search_max, waits_since: None, cuts: 0, state: State::Asked }
    }

    /// What is exchanged.
    pub(crate) const fn exchange(&self) -> ClaimExchange<'a> {
        self.exchange
    }

    /// How long it has been waiting, searches included.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        self.waits_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether it has waited at all.
    pub(crate) const fn has_waited(&self) -> bool {
        self.waits_since.is_some()
    }

    /// The daemon at this address says that it waits.
    pub(crate) fn waits(&mut self, at: &Address, now: Instant) {
        self.waits_since.get_or_insert(now);
        self.state = State::Waiting(at.clone());
    }

    /// An answer has begun; the last one, unless it says that the claim waits.
    pub(crate) fn answered(&mut self) {
        self.state = State::Asked;
    }

    /// It was asked in vain, or could not be: where to ask once more.
    ///
    /// # Errors
    /// With the same error, if nowhere.
    pub(crate) fn failed(&mut self, error: Error, now: Instant) -> Result<Next, Error> {
        let is_gone = error.is_leaving() || matches!(error, Error::NoDaemon { .. });
        match std::mem::replace(&mut self.state, State::Asked) {
            State::Waiting(at) if is_gone && self.cuts < CUTS_MAX => {
                self.cuts += 1;
                let until = now.checked_add(self.search_max).unwrap_or(now);
                let search = Search { at: at.clone(), until, pause: Pause::default() };
                self.state = State::Searching(search);
                Ok(Next::There { after: Duration::ZERO, at })
            }
            State::Searching(mut search) if is_gone && now < search.until => {
                let (after, at) = (search.pause.next(), search.at.clone());
                self.state = State::Searching(search);
                Ok(Next::There { after, at })
            }
            State::Searching(_) if is_gone => {
                self.state = State::Last;
                Ok(Next::Anywhere)
            }
            _ => Err(error),
        }
    }
}

#[cfg(test)]
#[path = "claiming_tests.rs"]
mod tests;
