//! How many requests of each kind there were, what came of them, and how long they took.
//!
//! **Invariants.** To note one costs a few additions, without a lock. What is there is bounded by
//! kinds, outcomes and buckets; no name that a peer gives stands in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memod_protocol::{Outcome, Verb};

use super::exposition::{Exposition, Kind, seconds};

/// The upper bounds of the buckets, in microseconds, and in seconds as they are written.
const BUCKETS: [(u64, &str); 14] = [
    (50, "5e-05"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1000, "0.001"),
    (2500, "0.0025"),
    (5000, "0.005"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (10_000_000, "10.0"),
    (60_000_000, "60.0"),
];
/// The kinds: those of the log, and claims, which may wait as long as somebody else computes.
const KINDS: usize = Verb::ALL.len() + 1;

#[derive(Debug, Default)]
struct Row {
    buckets: [AtomicU64; BUCKETS.len()],
    beyond: AtomicU64,
    nanoseconds: AtomicU64,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

/// The latencies of all requests.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    rows: [Row; KINDS],
}

fn kind(verb: Verb, is_claim: bool) -> usize {
    let listed = Verb::ALL.iter().position(|of| *of == verb && !is_claim);
    listed.unwrap_or(Verb::ALL.len())
}

fn kind_name(kind: usize) -> &'static str {
    Verb::ALL.get(kind).map_or("claim", |verb| verb.name())
}

impl Latencies {
    /// Notes a request that has been answered.
    pub(crate) fn note(&self, verb: Verb, is_claim: bool, outcome: Outcome, took: Duration) {
        let Some(row) = self.rows.get(kind(verb, is_claim)) else { return };
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let fits = BUCKETS.iter().position(|(most, _)| us <= *most);
        let bucket = fits.and_then(|index| row.buckets.get(index)).unwrap_or(&row.beyond);
        bucket.fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        row.nanoseconds.fetch_add(ns, Ordering::Relaxed);
        let outcome = Outcome::ALL.iter().position(|of| *of == outcome);
        if let Some(count) = outcome.and_then(|index| row.outcomes.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes them down.
    pub(crate) fn expose(&self, page: &mut Exposition) {
        let mut family = page.family(
            "memod_requests",
            Kind::Counter,
            "Requests answered, by what was asked and what came of it.",
        );
        for (index, row) in self.rows.iter().enumerate() {
            for (outcome, count) in Outcome::ALL.iter().zip(&row.outcomes) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("verb", kind_name(index)), ("outcome", outcome.name())];
                    family.sample(&labels, count);
                }
            }
        }
        let mut family = page.family(
            "memod_request_duration_seconds",
            Kind::Histogram,
            "From a request's coming to its answer; a claim may wait for another's outputs.",
        );
        for (index, row) in self.rows.iter().enumerate() {
            let verb = kind_name(index);
            let mut sum = 0;
            for ((_, bound), count) in BUCKETS.iter().zip(&row.buckets) {
                sum += count.load(Ordering::Relaxed);
                family.part("_bucket", &[("verb", verb), ("le", bound)], sum);
            }
            sum += row.beyond.load(Ordering::Relaxed);
            family.part("_bucket", &[("verb", verb), ("le", "+Inf")], sum);
            family.part("_count", &[("verb", verb)], sum);
            let total = seconds(row.nanoseconds.load(Ordering::Relaxed));
            family.part("_sum", &[("verb", verb)], total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_stands_in_its_bucket_and_in_all_above() {
        let latencies = Latencies::default();
        for us in [50, 51, 61_000_000] {
            let took = Duration::from_micros(us);
            latencies.note(Verb::Lookup, false, Outcome::Hit, took);
        }
        latencies.note(Verb::Lookup, true, Outcome::Leased, Duration::ZERO);
        let mut page = Exposition::default();
        latencies.expose(&mut page);
        let text = page.end();
        for line in [
            "memod_requests_total{verb=\"lookup\",outcome=\"hit\"} 3",
            "memod_requests_total{verb=\"claim\",outcome=\"leased\"} 1",
            "memod_request_duration_seconds_bucket{verb=\"lookup\",le=\"5e-05\"} 1",
            "memod_request_duration_seconds_bucket{verb=\"lookup\",le=\"0.0001\"} 2",
            "memod_request_duration_seconds_bucket{verb=\"lookup\",le=\"60.0\"} 2",
            "memod_request_duration_seconds_bucket{verb=\"lookup\",le=\"+Inf\"} 3",
            "memod_request_duration_seconds_count{verb=\"lookup\"} 3",
            "memod_request_duration_seconds_sum{verb=\"lookup\"} 61.000101000",
            "memod_request_duration_seconds_count{verb=\"claim\"} 1",
            "memod_request_duration_seconds_count{verb=\"put\"} 0",
        ] {
            assert!(text.lines().any(|of| of == line), "`{line}` is not in:\n{text}");
        }
    }
}
