//! Semantics 34 through the macro: the task runs whatever is wrong with the cache, and says so.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use harness::{Daemon, Fake, run};
use memod_client as memod;
use memod_client::{CacheStatus, Doing, File, Mode, PutOutcome, TaskOptions};

use super::{FAILED, HIT, MADE, at, listen, statuses, to, told_of};
use crate::client::{DEADLINE, SLACK, client, to_daemon};

static RUNS: AtomicU32 = AtomicU32::new(0);

#[memod::task(cache_version = "1", name = "unhelped")]
fn unhelped(n: i64) -> i64 {
    RUNS.fetch_add(1, Ordering::SeqCst);
    n + 1
}

#[test]
fn s34_no_daemon_or_one_that_does_not_answer() {
    listen();
    let folder = tempfile::tempdir().unwrap();
    let silent = Fake::silent();
    let frozen = Daemon::new();
    frozen.freeze();
    let mut runs = 0;
    for socket in [folder.path().join("none.sock"), silent.socket(), frozen.socket()] {
        let options = TaskOptions::new().client(client(socket)).serialize(true);
        let begun = Instant::now();
        for n in 0..6 {
            assert_eq!(unhelped::with(&options, n), n + 1);
            runs += 1;
            assert_eq!(RUNS.load(Ordering::SeqCst), runs);
        }
        assert!(begun.elapsed() < 6 * DEADLINE + SLACK, "{:?}", begun.elapsed());
        let told = told_of("unhelped");
        assert!(told.len() >= 6, "every call says that it went without: {told:?}");
        assert!(told.iter().all(|(doing, _)| *doing == Doing::LookingUp), "once a call: {told:?}");
        assert_eq!(statuses(&unhelped::memoize(&options, 9)), FAILED);
        runs += 1;
        told_of("unhelped");
    }
}

#[memod::task(cache_version = "1", name = "of_number")]
fn of_number(n: u64, file: Option<File>) -> u64 {
    drop(file);
    n / 2
}

/// Integers beyond 64 bits with a sign, and files that are not there.
#[test]
fn s34_inputs_that_have_no_literal() {
    listen();
    let daemon = Daemon::new();
    let options = to(&daemon);
    for (n, file, why) in [
        (
            u64::MAX,
            None,
            "input `n`: is 18446744073709551615, an integer beyond 63 bits and a sign",
        ),
        (1, Some(File::at("/nonexistent")), "input `file`: the file /nonexistent cannot be read"),
        (
            1,
            Some(File::at("/dev")),
            "input `file`: the file /dev cannot be read: it is a directory",
        ),
    ] {
        assert_eq!(
            of_number::describe(n, file.clone()).unwrap_err().to_string().find(why),
            Some(0)
        );
        let made = of_number::memoize(&options, n, file);
        assert_eq!(statuses(&made), FAILED);
        assert_eq!(made.unwrap().outputs, n / 2, "it has been run");
        let told = told_of("of_number");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.contains(why), "{told:?}");
    }
    let fits = i64::MAX.cast_unsigned();
    assert_eq!(statuses(&of_number::memoize(&options, fits, None)), MADE);
    assert_eq!(of_number::with(&options, fits, None), fits / 2);
}

#[memod::task(cache_version = "1", serialize, name = "too_large")]
fn too_large(n: i64) -> u64 {
    u64::MAX - n.cast_unsigned()
}

#[test]
fn s34_outputs_that_have_no_literal() {
    listen();
    let daemon = Daemon::new();
    let made = too_large::memoize(&to(&daemon), 0);
    assert_eq!(statuses(&made), (CacheStatus::Miss, CacheStatus::PutFailure));
    assert_eq!(made.unwrap().outputs, u64::MAX);
    let told = told_of("too_large");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, Doing::Storing);
    assert!(told[0].1.contains("output `o0`: is 18446744073709551615"), "{told:?}");
    let stats = to_daemon(&daemon).stats().unwrap();
    let whole = stats.whole.unwrap();
    assert_eq!((whole.entries, whole.leases), (0, 0), "the lease was given back");
}

#[memod::task(cache_version = "1", project = "p", domain = "d", name = "small")]
fn small(n: i64) -> i8 {
    i8::try_from(n).unwrap_or(0)
}

/// What another stored is of the right type, but this function's own cannot hold it.
#[test]
fn s22_a_hit_that_cannot_be_read_is_computed_again_and_replaced() {
    let daemon = Daemon::new();
    let mut memo = daemon.memo();
    memo.args([
        "--project",
        "p",
        "--domain",
        "d",
        "put",
        "--task",
        "small",
        "--cache-version",
        "1",
    ]);
    let put = run(memo.args(["--input", "n:integer=1", "--output", "o0:integer=300"]));
    assert_eq!(put.code, Some(0), "{put:?}");
    let made = small::memoize(&to(&daemon), 1).unwrap();
    assert_eq!((made.outputs, made.status), (1, CacheStatus::Miss));
    assert!(made.miss.unwrap().detail.unwrap().contains("is 300, which is no i8"));
    assert_eq!(made.put, Some(PutOutcome::Populated));
    assert_eq!(statuses(&small::memoize(&to(&daemon), 1)), HIT);
}

#[memod::task(cache_version = "1", name = "of_file")]
fn of_file(data: File, then: &str) -> Result<String, String> {
    let path = data.path().ok_or("it has no path")?;
    match then {
        "changes" => fs::write(path, "changed").map_err(|error| error.to_string())?,
        "vanishes" => fs::remove_file(path).map_err(|error| error.to_string())?,
        _ => {}
    }
    fs::read_to_string(path).map_err(|error| error.kind().to_string())
}

#[test]
fn s34_files_that_change_or_vanish_between_hashing_and_the_end() {
    listen();
    let (daemon, folder) = (Daemon::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("data");
    let call = |then| {
        fs::write(&path, "content").unwrap();
        of_file::memoize(&to(&daemon), File::at(&path), then)
    };
    let changed = call("changes");
    assert_eq!(statuses(&changed), (CacheStatus::Miss, CacheStatus::PutFailure));
    assert_eq!(changed.unwrap().outputs, "changed");
    assert!(told_of("of_file")[0].1.contains("has changed or gone while the task ran"));
    assert_eq!(call("vanishes").unwrap_err(), "entity not found", "an error of the task's own");
    assert_eq!(statuses(&call("stays")), MADE);
    assert_eq!(statuses(&call("stays")), HIT);
}

#[memod::task(cache_version = "1")]
fn panicking(n: i64) -> i64 {
    assert!(n != 0, "as it should");
    n
}

#[test]
fn s20_a_panic_stores_nothing_and_gives_the_lease_back() {
    let daemon = Daemon::new();
    let options = to(&daemon).serialize(true);
    let call = || panicking::with(&options, 0);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
    let stats = to_daemon(&daemon).stats().unwrap();
    let whole = stats.whole.unwrap();
    assert_eq!((whole.entries, whole.leases), (0, 0));
}

/// Set in a worker process: that it is one.
const WORKER: &str = "MEMOD_TEST_ALONE_WORKER";

/// The client of a process, as its environment says.
#[test]
fn s23_s34_a_process_takes_its_client_from_the_environment() {
    if std::env::var_os(WORKER).is_some() {
        println!("result {} {:?}", unhelped(1), unhelped::memoize(&TaskOptions::new(), 1));
        return;
    }
    let daemon = Daemon::new();
    let worker = |variable: &str, value: &str| {
        let mut worker = std::process::Command::new(std::env::current_exe().unwrap());
        worker.args(["--exact", "--nocapture", "--test-threads=1"]);
        worker.arg("task_macro::alone::s23_s34_a_process_takes_its_client_from_the_environment");
        worker.env(WORKER, "1").env("MEMOD_SOCKET", daemon.socket()).env("MEMOD_NO_START", "1");
        let ran = run(worker.env_remove("MEMOD_MODE").env(variable, value));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.text().contains("result 2 "), "{ran:?}");
        (ran.text().to_owned(), ran.errors().to_owned())
    };
    let (said, warned) = worker("MEMOD_MODE", "disabled");
    assert!(said.contains("status: Disabled") && !warned.contains("memod"), "{said}{warned}");
    let (said, warned) = worker("MEMOD_MODE", "sometimes");
    assert!(said.contains("status: Disabled"), "{said}");
    assert!(warned.contains("memod: warning: ") && warned.contains("`sometimes`"), "{warned}");
    let (said, warned) = worker("MEMOD_MODE", "");
    assert!(said.contains("status: Hit") && !warned.contains("memod: warning"), "{said}{warned}");
    let (said, warned) = worker("MEMOD_SOCKET", "/nonexistent/memod.sock");
    assert!(said.contains("status: LookupFailure"), "{said}");
    let lines = warned.matches("memod: warning: task `unhelped` is run without the cache").count();
    assert_eq!(lines, 1, "the same is not said twice: {warned}");
}

#[test]
fn s34_a_call_without_caching_asks_nobody() {
    listen();
    let made = of_number::memoize(&at("/nonexistent/memod.sock").mode(Mode::Disabled), 2, None);
    assert_eq!(statuses(&made), super::DISABLED);
}
