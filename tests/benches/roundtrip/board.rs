//! Hits by the board, beside the same hits through the socket and what computing the key takes.

use std::hint::black_box;
use std::time::Instant;

use harness::Daemon;
use memod_client::{Client, Lookup, LookupOptions};

use crate::echo::Echo;
use crate::latency::{noise, patient, store, task, wire_bytes};
use crate::measure::{Report, Target, anywhere, apart, microseconds, ratios};

const ROUNDS: usize = 200;
/// Operations that are timed together: one alone is not much longer than a look at the clock.
const BATCH: u32 = 50;

/// How long one operation of a batch takes, in microseconds.
fn each(operations: u32, mut work: impl FnMut()) -> f64 {
    let began = Instant::now();
    (0..operations).for_each(|_| work());
    microseconds(began.elapsed()) / f64::from(operations)
}

/// A warm hit of a small output.
pub(crate) fn board(report: &mut Report) {
    let (daemon, echo) = apart(|| {
        let daemon = Daemon::new();
        let echo = Echo::start(daemon.folder());
        (daemon, echo)
    });
    let asks = patient(&daemon.socket());
    let reads = Client::builder().socket(daemon.socket()).build();
    for (name, bytes, target) in [("256 B", 256, Target::Under(1.5)), ("4 KiB", 4096, Target::None)]
    {
        let call = task(&format!("board {name}"));
        store(&asks, &call, noise(bytes, 5));
        let options = LookupOptions::default();
        let hit = |client: &Client| match client.lookup(&call.0, &options).expect("an answer") {
            Lookup::Hit(hit) => assert_eq!(black_box(&hit).outputs[0].bytes, bytes as u64),
            Lookup::Miss(miss) => panic!("a hit was due, not {miss:?}"),
        };
        (0..1000).for_each(|_| hit(&reads));
        let (request, reply) = wire_bytes(&daemon, &call);
        let mut raw = echo.connect(request, reply);
        let (mut echoes, mut asked) = (Vec::new(), Vec::new());
        let (mut keys, mut read) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            echoes.push(each(BATCH, || raw.ask()));
            asked.push(each(BATCH, || hit(&asks)));
            keys.push(each(BATCH, || drop(black_box(call.0.key()))));
            let before = reads.board_hits();
            read.push(each(BATCH, || hit(&reads)));
            assert_eq!(reads.board_hits(), before + u64::from(BATCH), "all came by the board");
        }
        report.row(&format!("{name}: echo of the same bytes"), "us", &echoes, &[], Target::None);
        let of = ratios(&asked, &echoes);
        report.row(&format!("hit {name}, board off"), "us", &asked, &of, Target::None);
        report.row(&format!("{name}: key of the call"), "us", &keys, &[], Target::None);
        let of = ratios(&read, &asked);
        report.row(&format!("hit {name} by board, with key"), "us", &read, &of, target);
    }
    anywhere();
}
