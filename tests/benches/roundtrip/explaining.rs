//! Explanations on a store of a million entries of one task.

use std::time::Instant;

use harness::{CallBuilder, Daemon};
use memod_client::LookupOptions;
use memod_protocol::Literal;

use crate::latency::{client, noise, store, task};
use crate::measure::{Report, Target};

const ENTRIES: u64 = 1_000_000;
const WRITERS: u64 = 8;
const ROUNDS: usize = 20;

/// A call with three inputs, of which the entries have every combination of a thousand, a thousand
/// and one values.
fn numbered(first: u64, second: u64, third: u64) -> CallBuilder {
    let integer = |value: u64| Literal::Integer(i64::try_from(value).expect("small"));
    task("explained")
        .input("first", "integer", integer(first))
        .input("second", "integer", integer(second))
        .input("third", "integer", integer(third))
}

/// Why a call misses that differs in one input, in two, and in the cache version.
pub(crate) fn explanations(report: &mut Report) {
    let daemon = Daemon::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = client(&daemon);
            scope.spawn(move || {
                let mine = (0..ENTRIES).filter(|number| number % WRITERS == writer);
                for number in mine {
                    store(&client, &numbered(number % 1000, number / 1000, 0), noise(16, number));
                }
            });
        }
    });
    let client = client(&daemon);
    assert_eq!(client.stats().expect("answered").whole.expect("all is told").entries, ENTRIES);
    for (what, call, differences_max) in [
        ("why, 10^6 entries, one input differs", numbered(7, 7, 1), 1),
        // What differs in several is found by sampling: it need not be the very nearest.
        ("why, 10^6 entries, two inputs differ", numbered(7, 2000, 1), 3),
        ("why, 10^6 entries, the version differs", numbered(7, 7, 0).version("2"), 1),
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let explained = client.why(&call.0, &LookupOptions::default(), 5).expect("answered");
            times.push(began.elapsed().as_secs_f64() * 1e3);
            let nearest = explained.nearest.first().expect("something is near");
            assert!(nearest.differs.len() <= differences_max, "{what}: {nearest:?}");
        }
        report.row(what, "ms", &times, &[], Target::Under(50.0));
    }
}
