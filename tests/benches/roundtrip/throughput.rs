//! Many clients at once.

use std::sync::Barrier;
use std::time::Instant;

use harness::{Daemon, Setup};
use memod_client::Client;

use crate::echo::Echo;
use crate::latency::{client, noise, store, task};
use crate::measure::{Report, Target, ratios};

/// Operations a second of this many threads that each do the work this often.
fn rate<W: FnMut(usize) + Send>(
    threads: usize,
    operations: usize,
    make: impl Fn(usize) -> W,
) -> f64 {
    let barrier = Barrier::new(threads + 1);
    let works: Vec<W> = (0..threads).map(make).collect();
    std::thread::scope(|scope| {
        let barrier = &barrier;
        for mut work in works {
            scope.spawn(move || {
                barrier.wait();
                (0..operations).for_each(&mut work);
                barrier.wait();
            });
        }
        barrier.wait();
        let began = Instant::now();
        barrier.wait();
        let total = (threads * operations) as f64;
        total / began.elapsed().as_secs_f64()
    })
}

/// Stores `operations` runs of 4 KiB, new ones in every round, from each of these clients.
fn put_rate(clients: &[Client], operations: usize, round: usize) -> f64 {
    rate(clients.len(), operations, |thread| {
        let client = clients.get(thread).cloned().expect("a client a thread");
        move |number| {
            let seed = ((round * 64 + thread) * 100_000 + number) as u64 + 1;
            store(&client, &task(&format!("put {seed}")), noise(4096, seed << 8));
        }
    })
}

/// Puts of 4 KiB from eight clients, beside echoes of as many bytes from eight clients.
pub(crate) fn puts(report: &mut Report) {
    const CLIENTS: usize = 8;
    const OPERATIONS: usize = 500;
    let daemon = Daemon::new();
    let echo = Echo::start(daemon.folder());
    let clients: Vec<Client> = (0..CLIENTS).map(|_| client(&daemon)).collect();
    let (mut echoes, mut works) = (Vec::new(), Vec::new());
    for round in 0..12 {
        let of_echo = rate(CLIENTS, OPERATIONS, |_| {
            let mut raw = echo.connect(4096 + 300, 16);
            move |_| raw.ask()
        });
        let of_work = put_rate(&clients, OPERATIONS, round);
        if round >= 2 {
            echoes.push(of_echo);
            works.push(of_work);
        }
    }
    report.row("echo of 4 KiB, 8 clients", "/s", &echoes, &[], Target::None);
    let target = Target::AtLeast(0.5);
    report.row("put 4 KiB, process, 8 clients", "/s", &works, &ratios(&works, &echoes), target);
}

/// What eight clients get at durability `power`, beside what one gets.
pub(crate) fn grouping(report: &mut Report) {
    let daemon = Setup::new().argument("--durability").argument("power").start();
    let clients: Vec<Client> = (0..8).map(|_| client(&daemon)).collect();
    let (mut ones, mut eights) = (Vec::new(), Vec::new());
    for round in 0..10 {
        let one = put_rate(clients.get(..1).expect("eight"), 100, round);
        let eight = put_rate(&clients, 100, round + 1000);
        if round >= 2 {
            ones.push(one);
            eights.push(eight);
        }
    }
    report.row("put 4 KiB, power, 1 client", "/s", &ones, &[], Target::None);
    let target = Target::AtLeast(4.0);
    report.row("put 4 KiB, power, 8 clients", "/s", &eights, &ratios(&eights, &ones), target);
}
