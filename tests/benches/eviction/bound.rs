//! A bound that no policy can pass, not even one that knows the future.
//!
//! With sizes and costs the optimum itself is NP-hard, so this is the relaxation PFOO-L of
//! Berger, Beckmann and Harchol-Balter ("Practical Bounds on Optimal Caching with Variable Object
//! Sizes", SIGMETRICS 2018), weighted by cost. To hit a request, a cache must hold
//! its bytes from the request of the same key before until now: bytes x requests between
//! them of its room, which is bytes of the cache x all requests. PFOO-L asks only that
//! the sum is kept, not that the cache holds at each instant, and takes what saves most for its
//! room first, the last one in part: a fractional knapsack, whose greedy optimum is at
//! least what any policy saves. So the time that it leaves is at most what any policy spends, and
//! usually less than the best could.

use super::trace::Trace;

/// A lower bound of the seconds spent to compute again, for any policy whatever.
pub(crate) fn least_spent_again(trace: &Trace, bytes_max: u64) -> f64 {
    let mut before: Vec<Option<usize>> = vec![None; trace.items.len()];
    let mut wants: Vec<(f64, f64)> = Vec::new();
    let mut left = 0.0;
    for (now, request) in trace.requests.iter().enumerate() {
        let item = trace.items[request.item];
        if let Some(before) = before[request.item].replace(now) {
            left += item.cost.as_secs_f64();
            if item.bytes <= bytes_max {
                let room = item.bytes as f64 * (now - before) as f64;
                wants.push((item.cost.as_secs_f64(), room));
            }
        }
    }
    wants.sort_by(|left, right| (right.0 / right.1).total_cmp(&(left.0 / left.1)));
    let mut room = bytes_max as f64 * trace.requests.len() as f64;
    for (seconds, wanted) in wants {
        let part = (room / wanted).min(1.0);
        left -= seconds * part;
        room -= wanted * part;
        if part < 1.0 {
            break;
        }
    }
    // What is saved is summed in another order than what is spent.
    left.max(0.0)
}
