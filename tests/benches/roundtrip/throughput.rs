//! Many clients at once, each in a process of its own.

use harness::{Daemon, Setup};

use crate::echo::Echo;
use crate::floor;
use crate::measure::{Report, Target, quantile, ratios};
use crate::workers::{Kind, Workers};

const CLIENTS: usize = 8;
const ROUNDS_OF_ROWS: usize = 10;

/// Puts of 4 KiB from eight clients, beside echoes of as many bytes from eight clients; and beside
/// the best that a daemon can reach that does nothing but echo and write the rows of puts.
pub(crate) fn puts(report: &mut Report) {
    const OPERATIONS: u64 = 1000;
    let daemon = Daemon::new();
    let echo = Echo::start(daemon.folder());
    let mut echoing = Workers::start(Kind::Echo, echo.socket(), CLIENTS);
    let mut putting = Workers::start(Kind::Put, &daemon.socket(), CLIENTS);
    let (mut echoes, mut works) = (Vec::new(), Vec::new());
    for round in 0..12 {
        let of_echo = echoing.rate(CLIENTS, OPERATIONS);
        let of_work = putting.rate(CLIENTS, OPERATIONS);
        if round >= 2 {
            echoes.push(of_echo);
            works.push(of_work);
        }
    }
    report.row("echo of 4 KiB, 8 clients", "/s", &echoes, &[], Target::None);
    let rows = floor::rows_of_puts(&daemon.folder().join("bare"), ROUNDS_OF_ROWS);
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let echo_us = cores * 1e6 / quantile(&echoes, 0.5);
    let best: Vec<f64> = rows.iter().map(|rows_us| echo_us / (echo_us + rows_us)).collect();
    report.row("rows of a put 4 KiB, bare, processor time", "us", &rows, &best, Target::None);
    let target = Target::AtLeast(0.5);
    report.row("put 4 KiB, process, 8 clients", "/s", &works, &ratios(&works, &echoes), target);
}

/// What eight clients get at durability `power`, beside what one gets.
pub(crate) fn grouping(report: &mut Report) {
    const OPERATIONS: u64 = 100;
    let daemon = Setup::new().argument("--durability").argument("power").start();
    let mut workers = Workers::start(Kind::Put, &daemon.socket(), CLIENTS);
    let (mut ones, mut eights) = (Vec::new(), Vec::new());
    for round in 0..10 {
        let one = workers.rate(1, OPERATIONS);
        let eight = workers.rate(CLIENTS, OPERATIONS);
        if round >= 2 {
            ones.push(one);
            eights.push(eight);
        }
    }
    report.row("put 4 KiB, power, 1 client", "/s", &ones, &[], Target::None);
    let target = Target::AtLeast(4.0);
    report.row("put 4 KiB, power, 8 clients", "/s", &eights, &ratios(&eights, &ones), target);
}
