//! The daemon with its allocator, beside one without (`memod-libc`, which `make bench` builds), and
//! that with others preloaded, as far as this machine has them.

use std::process::Command;
use std::time::Duration;

use harness::{Daemon, Setup, binary};
use memod_client::LookupOptions;
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::latency::patient;
use crate::many::{calls, is_hit, run};
use crate::measure::{Figure, Report, Target, ratios, resident};
use crate::workers::{Kind, Workers};

/// What is preloaded, by the names that the loader finds them by.
const LIBRARIES: [(&str, &str); 3] = [
    ("jemalloc preloaded", "libjemalloc.so.2"),
    ("mimalloc preloaded", "libmimalloc.so.2"),
    ("tcmalloc preloaded", "libtcmalloc_minimal.so.4"),
];
const ROUNDS: usize = 8;
const CLIENTS: usize = 8;
const PUTS_EACH: u64 = 1000;
const BATCHES: usize = 100;
const BYTES: usize = 256;

/// A daemon, those who put there, and what it came to in each round.
struct Side {
    name: &'static str,
    daemon: Daemon,
    workers: Workers,
    hit_us: Vec<f64>,
    put_us: Vec<f64>,
    rates: Vec<f64>,
}

impl Side {
    fn start(name: &'static str, setup: Setup) -> Self {
        let daemon = setup.start();
        let workers = Workers::start(Kind::Put, &daemon.socket(), CLIENTS);
        Self { name, daemon, workers, hit_us: vec![], put_us: vec![], rates: vec![] }
    }

    fn round(&mut self) {
        let client = patient(&self.daemon.socket());
        let calls = calls("allocators");
        let stored = client.put_many(calls.iter().map(|call| run(call, BYTES)).collect());
        assert!(stored.iter().all(Result::is_ok));
        let before = self.processor_us();
        for _ in 0..BATCHES {
            for found in client.lookup_many(&calls, &LookupOptions::default()) {
                is_hit(&found.expect("an answer"));
            }
        }
        self.hit_us.push((self.processor_us() - before) / (BATCHES * calls.len()) as f64);
        let before = self.processor_us();
        self.rates.push(self.workers.rate(CLIENTS, PUTS_EACH));
        let puts = CLIENTS as u64 * PUTS_EACH;
        self.put_us.push((self.processor_us() - before) / puts as f64);
    }

    /// The processor time of the daemon's threads until now.
    fn processor_us(&self) -> f64 {
        let pid = Pid::from_raw(self.daemon.pid().cast_signed());
        let clock = ClockId::pid_cpu_clock_id(pid).expect("the daemon runs");
        Duration::from(clock.now().expect("it runs")).as_secs_f64() * 1e6
    }
}

/// Whether the loader finds it: it says so if not, and goes on.
fn is_there(library: &str) -> bool {
    let tried = Command::new("true").env("LD_PRELOAD", library).output().expect("a program");
    tried.stderr.is_empty()
}

/// What a hit in a batch and a put cost the daemon, and its memory in the end.
pub(crate) fn allocators(report: &mut Report) {
    let libc = || Setup::new().program(binary("memod-libc"));
    let mut sides = vec![Side::start("as it is", Setup::new()), Side::start("libc's", libc())];
    for (name, library) in LIBRARIES.into_iter().filter(|(_, library)| is_there(library)) {
        sides.push(Side::start(name, libc().variable("LD_PRELOAD", library)));
    }
    let idle: Vec<f64> = sides.iter().map(|side| resident(&side.daemon)).collect();
    for _ in 0..ROUNDS {
        sides.iter_mut().for_each(Side::round);
    }
    let columns: [Figure<Side>; 3] = [
        ("hit 256 B in batches, daemon", "us", |side| &side.hit_us),
        ("put 4 KiB, 8 clients, daemon", "us", |side| &side.put_us),
        ("put 4 KiB, 8 clients", "/s", |side| &side.rates),
    ];
    for (what, unit, of) in columns {
        let own = of(&sides[0]).clone();
        for (place, side) in sides.iter().enumerate() {
            let ratios = if place == 0 { Vec::new() } else { ratios(of(side), &own) };
            report.row(&format!("{what}, {}", side.name), unit, of(side), &ratios, Target::None);
        }
    }
    for (side, idle) in sides.iter().zip(idle) {
        let row = |report: &mut Report, what: &str, bytes| {
            report.row(&format!("{what}, {}", side.name), "MiB", &[bytes], &[], Target::None);
        };
        row(report, "daemon that has just started", idle);
        row(report, "daemon in the end", resident(&side.daemon));
    }
}
