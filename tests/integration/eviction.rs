//! The eviction policies on small traces: `cost` stays within the targets of the benchmark.
//!
//! **Does not** start a daemon: policies are pure, and the cache is a simulation in memory.

#![allow(clippy::cast_precision_loss, reason = "the numbers of these traces are small")]

#[path = "../benches/eviction/bound.rs"]
mod bound;
#[path = "../benches/eviction/compare.rs"]
mod compare;
#[path = "../benches/eviction/recorded.rs"]
mod recorded;
#[path = "../benches/eviction/shapes.rs"]
mod shapes;
#[path = "../benches/eviction/simulate.rs"]
mod simulate;
#[path = "../benches/eviction/trace.rs"]
mod trace;

use std::time::Duration;

use compare::{Comparison, compare};
use memod_store::policy::PolicyKind;
use simulate::{Rule, spent_again};
use trace::{Item, Trace};

/// Enough that a cache of 5 % holds a few hundred entries.
const KEYS: usize = 4000;

/// Plays the shape of this name on small caches and large ones.
#[track_caller]
fn assert_met(name: &str) {
    let shape = shapes::all().into_iter().find(|shape| shape.name == name).expect("it is a shape");
    let comparisons: Vec<Comparison> = compare(&shape, KEYS, 1);
    let missed: Vec<String> = comparisons
        .iter()
        .filter(|comparison| comparison.percent > 1 && !comparison.target().1)
        .map(Comparison::to_string)
        .collect();
    assert!(missed.is_empty(), "\n{}\n{}", Comparison::head(), missed.join("\n"));
    println!("{}", compare::summary(comparisons.iter()));
}

#[test]
fn cost_spends_far_less_than_lru_where_costs_are_heavy_tailed() {
    assert_met("zipf 0.7 log-normal");
    assert_met("zipf 0.9 pareto");
}

#[test]
fn cost_spends_no_more_than_lru_where_costs_are_equal() {
    assert_met("zipf 0.9 equal");
    assert_met("recent equal");
}

#[test]
fn cost_spends_no_more_than_lru_when_the_working_set_changes() {
    assert_met("shifts 0.9 10 equal");
    assert_met("drift with nights correlated");
}

#[test]
fn cost_spends_no_more_than_lru_on_loops_and_scans() {
    assert_met("near loop equal");
    assert_met("dear scans equal");
}

#[test]
fn cost_lets_go_of_what_was_dear_and_is_no_longer_used() {
    assert_met("bursts very dear");
}

#[test]
fn cost_spends_no_more_than_lru_on_recorded_builds() {
    assert_met("recorded builds");
}

/// Items of these seconds and bytes, asked for in this order.
fn small(items: &[(u64, u64)], requests: &[usize]) -> Trace {
    let item = |&(seconds, bytes)| Item { cost: Duration::from_secs(seconds), bytes };
    Trace::steady(items.iter().map(item).collect(), requests.iter().copied())
}

#[test]
fn the_bound_takes_what_saves_most_for_its_room() {
    // Six requests of a cache of 10 bytes: a room of 60. The second a wants 10 x 2 = 20 of it and
    // saves 8 s, the second b 10 x 2 = 20 for 6 s, the third a 10 x 3 = 30 for 8 s.
    let trace = small(&[(8, 10), (6, 10)], &[0, 1, 0, 1, 1, 0]);
    // b at once: 10 for 6 s; a: 20 for 8 s; then b for 6 s and 20; 10 left of 30 for 8 s.
    let least = bound::least_spent_again(&trace, 10);
    assert!((least - 8.0 * 2.0 / 3.0).abs() < 1e-9, "{least}");
    // What does not fit at all saves nothing.
    assert!((bound::least_spent_again(&trace, 9) - 28.0).abs() < 1e-9);
}

#[test]
fn the_simulation_counts_what_is_computed_again() {
    let trace = small(&[(8, 10), (6, 10)], &[0, 1, 0, 1, 1, 0]);
    let spent = |bytes_max| spent_again(&trace, bytes_max, Rule::Policy(PolicyKind::Lru), 1);
    assert!((spent(20) - 0.0).abs() < 1e-9, "both fit");
    assert!((spent(10) - 22.0).abs() < 1e-9, "only the last is there: {}", spent(10));
    assert!((spent(0) - 28.0).abs() < 1e-9, "nothing is");
}
