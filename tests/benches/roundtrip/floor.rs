//! What the rows of puts cost by themselves: no sockets, no checks, no hashes, one process.

use std::path::Path;

use bytes::Bytes;
use memod_store::{BareRows, Packing};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::latency::noise;

/// Puts in a group, about as many as the writer finds together when eight clients put.
const GROUP: u64 = 6;
const GROUPS: u64 = 1400;
const BLOCK_CACHE_BYTES: u64 = 32 << 20;

/// The processor time of all threads, in microseconds, for the rows of one put of 4 KiB, in so many
/// rounds and after one that does not count.
pub(crate) fn rows_of_puts(folder: &Path, rounds: usize) -> Vec<f64> {
    let mut bare =
        BareRows::open(folder, BLOCK_CACHE_BYTES, Packing::default()).expect("a database");
    let mut number = 0;
    let mut round = |_| {
        // Made before it is measured.
        let contents: Vec<Vec<Bytes>> = (0..GROUPS)
            .map(|_| {
                let content = |_| {
                    number += 1;
                    noise(4096, number << 8)
                };
                (0..GROUP).map(content).collect()
            })
            .collect();
        let before = processor_us();
        for group in &contents {
            bare.write(group).expect("written");
        }
        (processor_us() - before) / (GROUPS * GROUP) as f64
    };
    (0..=rounds).map(&mut round).skip(1).collect()
}

/// What all threads of this process have used.
pub(crate) fn processor_us() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel says");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64
}
