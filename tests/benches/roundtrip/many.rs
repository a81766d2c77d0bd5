//! How many hits there are in a second: by the board, by batched frames, one by one; and what puts
//! gain by being under way together.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use harness::Daemon;
use memod_client::{Call, Client, Lookup, LookupOptions, NewRun, PutOptions, PutOutput, Source};
use memod_protocol::{Literal, LiteralType};

use crate::latency::{noise, patient, task};
use crate::measure::{Report, Target, ratios};

const ROUNDS: usize = 7;
const CALLS: usize = 1000;
const BYTES: usize = 256;

pub(crate) fn calls(name: &str) -> Vec<Call> {
    let one = |number: usize| {
        task(name).input("original", "string", Literal::String(number.to_string())).0
    };
    (0..CALLS).map(one).collect()
}

pub(crate) fn run(call: &Call, bytes: usize) -> NewRun<'_> {
    let output = PutOutput {
        name: "o0".to_owned(),
        literal_type: LiteralType::Bytes,
        source: Source::Bytes(noise(bytes, 5)),
    };
    NewRun { call, outputs: vec![output], options: PutOptions::default() }
}

/// Hits a second that so many threads have together, each of which does this as often.
fn rate(threads: usize, times: usize, work: impl Fn() -> usize + Sync) -> f64 {
    let began = Instant::now();
    let hits: usize = thread::scope(|scope| {
        let one = || (0..times).map(|_| work()).sum::<usize>();
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().expect("hits")).sum()
    });
    hits as f64 / began.elapsed().as_secs_f64()
}

pub(crate) fn is_hit(lookup: &Lookup) {
    let Lookup::Hit(hit) = black_box(lookup) else { panic!("a hit was due, not {lookup:?}") };
    assert_eq!(hit.outputs[0].bytes, BYTES as u64);
}

/// Hits of small outputs by as many threads as there are processors.
pub(crate) fn many(report: &mut Report) {
    let daemon = Daemon::new();
    let calls = calls("many");
    let asks = patient(&daemon.socket());
    let stored = asks.put_many(calls.iter().map(|call| run(call, BYTES)).collect());
    assert!(stored.iter().all(Result::is_ok));
    let reads = Client::builder().socket(daemon.socket()).build();
    let options = LookupOptions::default();
    let alone = |client: &Client, calls: &[Call]| {
        for call in calls {
            is_hit(&client.lookup(call, &options).expect("an answer"));
        }
        calls.len()
    };
    let together = || {
        let found = asks.lookup_many(&calls, &options);
        for found in &found {
            is_hit(found.as_ref().expect("an answer"));
        }
        found.len()
    };
    // Few enough for all of them to stand on the board.
    let posted = calls.get(..100).expect("a thousand");
    for _ in 0..10 {
        alone(&reads, posted);
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut rows = vec![Vec::new(); 6];
    for _ in 0..ROUNDS {
        for (place, threads) in [(0, 1), (3, cores)] {
            let before = reads.board_hits();
            rows[place].push(rate(threads, 1000, || alone(&reads, posted)));
            let by_board = reads.board_hits() - before;
            assert!(by_board > threads as u64 * 90_000, "{by_board} came by the board");
            rows[place + 1].push(rate(threads, 20, together));
            rows[place + 2].push(rate(threads, 3, || alone(&asks, &calls)));
        }
    }
    for (threads, of) in [1, cores].into_iter().zip(rows.chunks(3)) {
        let [by_board, batched, alone] = of else { unreachable!("three each") };
        let name = |what: &str| format!("hits of 256 B {what}, {threads} threads");
        report.row(&name("one by one"), "/s", alone, &[], Target::None);
        let of = ratios(batched, alone);
        report.row(&name("in batches"), "/s", batched, &of, Target::None);
        let of = ratios(by_board, alone);
        report.row(&name("by board"), "/s", by_board, &of, Target::None);
    }
    puts(report, &daemon);
}

/// Puts of one client, one by one and together.
fn puts(report: &mut Report, daemon: &Daemon) {
    let client = patient(&daemon.socket());
    let (mut single, mut together) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (one, many) = (calls(&format!("one {round}")), calls(&format!("many {round}")));
        let began = Instant::now();
        for call in &one {
            let NewRun { call, outputs, options } = run(call, 4096);
            client.put(call, outputs, &options).expect("stored");
        }
        single.push(CALLS as f64 / began.elapsed().as_secs_f64());
        let began = Instant::now();
        let stored = client.put_many(many.iter().map(|call| run(call, 4096)).collect());
        assert!(stored.iter().all(Result::is_ok));
        together.push(CALLS as f64 / began.elapsed().as_secs_f64());
    }
    report.row("puts of 4 KiB one by one, 1 client", "/s", &single, &[], Target::None);
    let of = ratios(&together, &single);
    report.row("puts of 4 KiB together, 1 client", "/s", &together, &of, Target::None);
}
