//! Semantics 26 to 28 and 34 through the macro: many ask for one slow task at once.

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::{Daemon, PATIENCE, eventually, output};
use memod_client as memod;
use memod_client::{CacheStatus, Client, ReservationStatus, TaskOptions};

use super::to;
use crate::client::to_daemon;

/// Set in a worker process: a folder to leave traces in.
const FOLDER: &str = "MEMOD_TEST_SLOW_FOLDER";
/// Set in a worker process if the daemon is to be killed while it computes.
const DOOMED: &str = "MEMOD_TEST_SLOW_DOOMED";

const WORKERS: u64 = 8;

/// Takes until all others wait for it, or until the daemon has gone.
#[memod::task(cache_version = "1", serialize, ignore(folder, socket))]
fn slow(n: i64, folder: &Place, socket: &Place) -> String {
    let folder = Path::new(&folder.0);
    let mut runs =
        fs::OpenOptions::new().create(true).append(true).open(folder.join("runs")).unwrap();
    writeln!(runs, "{}", std::process::id()).unwrap();
    let doomed = env::var_os(DOOMED).is_some();
    eventually("all others wait, or the daemon is gone", || {
        // A client of its own: the breaker of another may be open.
        let stats = Client::builder().socket(&socket.0).build().stats();
        let Ok(stats) = stats else { return true };
        let all_wait = stats.whole.unwrap().waiters == WORKERS - 1;
        if all_wait && doomed {
            fs::write(folder.join("all wait"), "").unwrap();
        }
        all_wait && !doomed
    });
    format!("made of {n}")
}

/// A path, which is text to memod.
#[derive(memod::Literal)]
struct Place(String);

fn text(path: &Path) -> Place {
    Place(path.to_str().unwrap().to_owned())
}

fn runs(folder: &Path) -> usize {
    fs::read_to_string(folder.join("runs")).unwrap().lines().count()
}

#[test]
fn s26_s27_eight_threads_run_it_once() {
    let (daemon, folder) = (Daemon::new(), tempfile::tempdir().unwrap());
    let (place, socket) = (text(folder.path()), text(&daemon.socket()));
    let options = to(&daemon);
    let reports: Vec<_> = std::thread::scope(|scope| {
        let call = || slow::memoize(&options, 1, &place, &socket).unwrap();
        let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(runs(folder.path()), 1);
    assert!(reports.iter().all(|report| report.outputs == "made of 1"));
    let count = |status| reports.iter().filter(|report| report.reservation == status).count();
    assert_eq!(count(ReservationStatus::Released), 1, "one owned");
    assert_eq!(count(ReservationStatus::Exists), 7, "the others waited");
    assert_eq!(reports.iter().filter(|report| report.status == CacheStatus::Hit).count(), 7);
    assert_eq!(to_daemon(&daemon).stats().unwrap().whole.unwrap().puts, 1);
}

/// Starts this very test in a process of its own, as one of eight.
fn worker(test: &str, daemon: &Daemon, folder: &Path, doomed: bool) -> Child {
    let mut worker = Command::new(env::current_exe().unwrap());
    worker.args(["--exact", "--nocapture", "--test-threads=1"]);
    worker.arg(format!("task_macro::serialized::{test}"));
    worker.env(FOLDER, folder).env("MEMOD_SOCKET", daemon.socket()).env("MEMOD_NO_START", "1");
    if doomed {
        worker.env(DOOMED, "1");
    }
    worker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a worker does: it calls the task as any program would.
fn work(folder: &str) {
    let socket = Place(env::var("MEMOD_SOCKET").unwrap());
    println!("result {}", slow(2, &Place(folder.to_owned()), &socket));
}

/// The standard errors of workers that have all got the result.
fn results(workers: Vec<Child>) -> Vec<String> {
    let mut warnings = Vec::new();
    for worker in workers {
        let ran = output(worker);
        let said = String::from_utf8(ran.stdout).unwrap();
        let warned = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.success() && said.contains("result made of 2"), "{said}{warned}");
        warnings.push(warned);
    }
    warnings
}

#[test]
fn s27_eight_processes_run_it_once() {
    if let Ok(folder) = env::var(FOLDER) {
        return work(&folder);
    }
    let (daemon, folder) = (Daemon::new(), tempfile::tempdir().unwrap());
    let name = "s27_eight_processes_run_it_once";
    let start = |_| worker(name, &daemon, folder.path(), false);
    let warnings = results((0..WORKERS).map(start).collect());
    assert_eq!(runs(folder.path()), 1);
    assert!(warnings.iter().all(|warned| !warned.contains("memod: warning")), "{warnings:?}");
    assert_eq!(to_daemon(&daemon).stats().unwrap().hits, WORKERS - 1);
}

#[test]
fn s34_the_daemon_is_killed_while_one_computes_and_seven_wait() {
    if let Ok(folder) = env::var(FOLDER) {
        return work(&folder);
    }
    let (mut daemon, folder) = (Daemon::new(), tempfile::tempdir().unwrap());
    let name = "s34_the_daemon_is_killed_while_one_computes_and_seven_wait";
    let start = |_| worker(name, &daemon, folder.path(), true);
    let workers: Vec<Child> = (0..WORKERS).map(start).collect();
    eventually("all wait", || folder.path().join("all wait").exists());
    assert_eq!(runs(folder.path()), 1);
    daemon.kill();
    let begun = std::time::Instant::now();
    let warnings = results(workers);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    let warning = "memod: warning: task `integration.task_macro.serialized.slow`";
    assert!(warnings.iter().all(|warned| warned.contains(warning)), "{warnings:?}");
    assert_eq!(runs(folder.path()), 8, "each has computed for itself");
}

/// The lease does not outlive a call that fails, so nobody waits for it.
#[memod::task(cache_version = "1", serialize)]
fn failing(n: i64) -> Result<i64, String> {
    if n == 0 { Err("zero".to_owned()) } else { Ok(n) }
}

#[test]
fn s28_an_error_gives_the_lease_back() {
    let daemon = Daemon::new();
    let options: TaskOptions = to(&daemon);
    for _ in 0..2 {
        assert_eq!(failing::with(&options, 0), Err("zero".to_owned()));
        assert_eq!(to_daemon(&daemon).stats().unwrap().whole.unwrap().leases, 0);
    }
}
