//! Semantics 27 and 31 across a restart of the daemon: the leases are forgotten, and of those who
//! waited one computes beside the old owner, who goes on.

use std::convert::Infallible;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use harness::{Daemon, Ran, call, eventually, output};
use memod_client::{Client, Error, MemoizeOptions, Memoized};
use memod_protocol::PutOutcome;

use super::hold::all_is_quiet;
use crate::client::{content, output as made};
use crate::shop::{Shop, assert_last_line};

const WAITERS: u32 = 20;
/// How long a claim looks for the daemon, however long that takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// How a daemon comes to its end.
type End = fn(&mut Daemon);

const ENDS: [(&str, End); 2] = [("SIGTERM", end), ("SIGKILL", Daemon::kill)];

fn end(daemon: &mut Daemon) {
    assert!(daemon.stop().success());
}

fn they_wait(daemon: &Daemon) {
    let mut raw = daemon.connect();
    let all = (1, u64::from(WAITERS));
    eventually("the others wait", || raw.leases_and_waiters() == all);
}

fn words(of: &Memoized) -> [&'static str; 3] {
    [of.status.name(), of.store.name(), of.reservation.name()]
}

#[test]
fn s27_of_the_threads_that_wait_while_the_daemon_is_restarted_one_computes() {
    for (way, end) in ENDS {
        let mut daemon = Daemon::new();
        let client = Client::builder().socket(daemon.socket()).deadline(LONG).build();
        let (of, runs) = (call("restart").0, AtomicU32::new(0));
        let options = MemoizeOptions { serialize: true, ..MemoizeOptions::default() };
        let memoize = |before: &dyn Fn()| {
            let compute = || {
                runs.fetch_add(1, Ordering::SeqCst);
                before();
                Ok::<_, Infallible>(vec![made("made")])
            };
            client.memoize(&of, &options, compute).unwrap()
        };
        let (go_on, gate) = sync_channel::<()>(0);
        std::thread::scope(|scope| {
            let gate = std::sync::Mutex::new(gate);
            let owner = scope.spawn(move || memoize(&|| gate.lock().unwrap().recv().unwrap()));
            eventually("the owner computes", || runs.load(Ordering::SeqCst) == 1);
            let spawn = |_| scope.spawn(move || memoize(&|| {}));
            let waiters: Vec<_> = (0..WAITERS).map(spawn).collect();
            they_wait(&daemon);
            end(&mut daemon);
            daemon.start().expect("it starts again");
            let all: Vec<Memoized> = waiters.into_iter().map(|one| one.join().unwrap()).collect();
            assert!(all.iter().all(|one| content(one) == "made"), "{way}");
            let of = |wanted| all.iter().filter(|one| words(one) == wanted).count();
            let counted = (of(["MISS", "POPULATED", "RELEASED"]), of(["HIT", "SKIPPED", "EXISTS"]));
            assert_eq!(counted, (1, 19), "{way}: {:?}", all.iter().map(words).collect::<Vec<_>>());
            assert_eq!(runs.load(Ordering::SeqCst), 2, "{way}");
            go_on.send(()).unwrap();
            let owner = owner.join().unwrap();
            assert_eq!(words(&owner), ["MISS", "POPULATED", "FAILURE"], "{way}");
            assert_eq!(owner.lease_error.as_ref().map(Error::name), Some("lease_lost"), "{way}");
            assert!(matches!(owner.put, Some(PutOutcome::Exists(_))), "{way}: {:?}", owner.put);
        });
        all_is_quiet(&daemon);
    }
}

/// The first run waits at a gate, any other goes on at once.
const FIRST_WAITS: &str = "if [ $(wc -l < runs) = 1 ]; then read word < gate; fi; echo done";

fn started(shop: &Shop, daemon: &Daemon) -> Child {
    let mut command = shop.command(daemon.memo(), &["--serialize", "-v"], FIRST_WAITS);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn s27_of_the_commands_that_wait_while_the_daemon_is_restarted_one_runs() {
    for (way, end) in ENDS {
        let (mut daemon, shop) = (Daemon::new(), Shop::new());
        let gate = shop.path("gate");
        assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
        let first = started(&shop, &daemon);
        eventually("the first runs", || shop.runs() == 1);
        let others: Vec<Child> = (0..WAITERS).map(|_| started(&shop, &daemon)).collect();
        they_wait(&daemon);
        end(&mut daemon);
        daemon.start().expect("it starts again");
        let mut lines = Vec::new();
        for other in others {
            let ran = Ran::from(output(other));
            assert_eq!((ran.code, ran.text()), (Some(0), "done\n"), "{way}: {ran:?}");
            lines.push(assert_last_line(&ran, "memo: "));
        }
        let of = |words: &str| lines.iter().filter(|line| line.ends_with(words)).count();
        let counted = (of(" reservation=ACQUIRED"), of(" reservation=EXISTS"), shop.runs());
        assert_eq!(counted, (1, 19, 2), "{way}: {lines:?}");
        std::fs::write(&gate, "gate\n").unwrap();
        let first = Ran::from(output(first));
        assert_eq!((first.code, first.text()), (Some(0), "done\n"), "{way}: {first:?}");
        all_is_quiet(&daemon);
    }
}
