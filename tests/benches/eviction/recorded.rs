//! A trace that was recorded from real builds: `traces/builds.txt` says how.

use std::collections::HashMap;
use std::time::Duration;

use super::trace::{Item, Trace};

const BUILDS: &str = include_str!("traces/builds.txt");

/// Runs of rustc, request by request. When they were is not known: at even intervals.
pub(crate) fn builds() -> Trace {
    let mut known = HashMap::new();
    let (mut items, mut requests) = (Vec::new(), Vec::new());
    for line in BUILDS.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("four words a line");
        let key = word();
        let milliseconds = word().parse().expect("milliseconds");
        let bytes = word().parse().expect("bytes");
        requests.push(*known.entry(key).or_insert_with(|| {
            items.push(Item { cost: Duration::from_millis(milliseconds), bytes });
            items.len() - 1
        }));
    }
    Trace::steady(items, requests)
}
