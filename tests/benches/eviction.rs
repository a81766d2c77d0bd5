//! Eviction policies on traces, beside a bound that no policy can pass: a simulation in memory.
//!
//! A row is a trace in a cache of a part of its working set, the mean of several seeds. Columns
//! are shares of the compute time that could have been saved at all: of every request but the
//! first one of each key, which no cache can save. `lru`, `cost`, `lfu` and `random` are the
//! policies of the store, each with 32 samples. `static` is what `cost` would be without learning
//! and without anything kept of evicted entries: cost x frequency / (bytes x age). `bound` is no
//! policy, see there. `ratio` is cost / lru, which the target is about; `all` is the same with
//! the first requests on both sides.
//!
//! Targets: at most 0.6 of `lru` where cost and size are heavy-tailed and independent (where they
//! are correlated, even the bound may be above that), and on every other trace at most 1.03 of
//! `lru`, plus a thousandth of what could have been saved: where `lru` next to never misses, a
//! handful of misses would be any multiple of its own.
//!
//! Words after `--` choose traces by a part of their name.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark may end in a panic, and its numbers are small"
)]

#[path = "eviction/bound.rs"]
mod bound;
#[path = "eviction/compare.rs"]
mod compare;
#[path = "eviction/recorded.rs"]
mod recorded;
#[path = "eviction/shapes.rs"]
mod shapes;
#[path = "eviction/simulate.rs"]
mod simulate;
#[path = "eviction/trace.rs"]
mod trace;

use std::process::ExitCode;

use compare::{Comparison, compare};

/// Generated traces have so many keys, and ten times as many requests.
const KEYS: usize = 10_000;
const SEEDS: u64 = 3;

fn main() -> ExitCode {
    // `cargo bench` passes flags of its own; words choose traces by name.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let shapes = shapes::all().into_iter().filter(|shape| {
        wanted.is_empty() || wanted.iter().any(|word| shape.name.contains(word.as_str()))
    });
    let shapes: Vec<_> = shapes.collect();
    if shapes.is_empty() {
        eprintln!("no trace has such a name");
        return ExitCode::from(2);
    }
    println!("Compute time still spent, in % of what could have been saved; {SEEDS} seeds");
    println!("{}", Comparison::head());
    let comparisons = in_parallel(&shapes, |shape| compare(shape, KEYS, SEEDS));
    for comparison in comparisons.iter().flatten() {
        println!("{comparison}");
    }
    println!("{}", compare::summary(comparisons.iter().flatten()));
    ExitCode::SUCCESS
}

/// Does a piece of work for each item on all processors; results are in the items' order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let (next, work) = (&next, &work);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let mut done = Vec::new();
                    loop {
                        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(item) = items.get(at) else { return done };
                        done.push((at, work(item)));
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it does not panic")).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
