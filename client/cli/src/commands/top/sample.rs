//! What the daemon says at one moment, and how much that is since the moment before.
//!
//! **Invariants.** Pure: neither a clock nor a socket. Counters that have become less, because the
//! daemon was started anew, count as no change.

use std::collections::VecDeque;
use std::time::Duration;

use memod_client::{Stats, WholeStats};
use memod_protocol::{BudgetReport, LeaseRow, LogRow, Verb};

/// Moments that are remembered: the width of a sparkline.
pub(super) const MOMENTS_MAX: usize = 30;
/// Latencies that are remembered.
const LATENCIES_MAX: usize = 2000;

/// What the daemon says.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// When it was asked, from when we began.
    pub(super) at: Duration,
    pub(super) stats: Stats,
    pub(super) budgets: BudgetReport,
    pub(super) leases: Vec<Lease>,
    /// Requests since the last time, as far as we are told of them.
    pub(super) rows: Vec<LogRow>,
}

/// A lease, and the name of its holder's user.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) row: LeaseRow,
    pub(super) user: String,
}

/// How much has happened between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) hits: f64,
    pub(super) misses: f64,
    pub(super) puts: f64,
    pub(super) evicted: f64,
    /// Seconds of compute time spared in a second.
    pub(super) saved: f64,
}

impl Rates {
    pub(super) fn lookups(&self) -> f64 {
        self.hits + self.misses
    }

    /// Hits among lookups, from 0 to 1, if there were any.
    pub(super) fn hit_rate(&self) -> Option<f64> {
        (self.lookups() > 0.0).then(|| self.hits / self.lookups())
    }
}

/// The last moments.
#[derive(Debug, Default)]
pub(super) struct History {
    last: Option<Sample>,
    rates: VecDeque<Rates>,
    /// Of lookups, in microseconds.
    latencies: VecDeque<u64>,
}

impl History {
    /// Takes what the daemon says now.
    pub(super) fn add(&mut self, sample: Sample) {
        if let Some(last) = &self.last {
            let rates = rates(last, &sample);
            self.rates.push_back(rates);
            if self.rates.len() > MOMENTS_MAX {
                self.rates.pop_front();
            }
        }
        let lookups = sample.rows.iter().filter(|row| row.verb == Verb::Lookup);
        self.latencies.extend(lookups.map(|row| row.took_us));
        while self.latencies.len() > LATENCIES_MAX {
            self.latencies.pop_front();
        }
        self.last = Some(sample);
    }

    /// The last moment.
    pub(super) fn last(&self) -> Option<&Sample> {
        self.last.as_ref()
    }

    /// What happened up to the last moment; none while there was only one.
    pub(super) fn now(&self) -> Option<Rates> {
        self.rates.back().copied()
    }

    /// One value of each moment, the oldest first.
    pub(super) fn each(&self, of: impl Fn(&Rates) -> f64) -> Vec<f64> {
        self.rates.iter().map(of).collect()
    }

    /// The latency that so many lookups in a hundred did not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted: Vec<u64> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let index = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
        sorted.get(index).map(|us| Duration::from_micros(*us))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
fn rates(before: &Sample, now: &Sample) -> Rates {
    let seconds = now.at.saturating_sub(before.at).as_secs_f64().max(0.001);
    let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
    let of_whole = |count: fn(&WholeStats) -> u64| {
        let [now, before] = [now, before].map(|of| of.stats.whole.as_ref().map_or(0, count));
        per_second(now, before)
    };
    Rates {
        hits: per_second(now.stats.hits, before.stats.hits),
        misses: per_second(now.stats.misses, before.stats.misses),
        puts: of_whole(|of| of.puts),
        evicted: of_whole(|of| of.evicted_entries),
        saved: per_second(now.stats.time_saved_ns, before.stats.time_saved_ns) / 1e9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, hits: u64, misses: u64) -> Sample {
        let stats = Stats { hits, misses, time_saved_ns: hits * 1_000_000_000, ..Stats::default() };
        Sample { at: Duration::from_secs(seconds), stats, ..Sample::default() }
    }

    #[test]
    fn rates_are_per_second_and_never_negative() {
        let mut history = History::default();
        history.add(at(0, 10, 10));
        assert_eq!(history.now(), None);
        history.add(at(2, 16, 12));
        let now = history.now().expect("two moments");
        assert_eq!((now.hits, now.misses, now.saved), (3.0, 1.0, 3.0));
        assert_eq!(now.hit_rate(), Some(0.75));
        history.add(at(3, 0, 0));
        assert_eq!(history.now(), Some(Rates::default()), "a daemon that began anew");
        assert_eq!(Rates::default().hit_rate(), None);
        for second in 4..100 {
            history.add(at(second, second, 0));
        }
        assert_eq!(history.each(|of| of.hits), [1.0; MOMENTS_MAX]);
    }

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let mut history = History::default();
        assert_eq!(history.percentile(50), None);
        history.latencies.extend([40, 10, 30, 20]);
        let us = |percent| history.percentile(percent).map(|of| of.as_micros());
        assert_eq!((us(50), us(99), us(100), us(1)), (Some(20), Some(40), Some(40), Some(10)));
    }
}
