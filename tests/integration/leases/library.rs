//! Semantics 23 and 25 to 31 through the client library: calls that are serialized.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{Daemon, Raw, Setup, call, eventually, named};
use memod_client::{
    CacheStatus, Call, ClaimOptions, Claimed, Client, Lease, LookupOptions, MemoizeError,
    MemoizeOptions, Memoized, Mode, PutOptions, ReservationStatus, Wait, aio,
};
use memod_protocol::{Filter, MissReason, PutOutcome, Selector};

use super::hold::all_is_quiet;
use crate::client::{content, output, to_daemon};

fn serialized(mode: Mode) -> MemoizeOptions {
    MemoizeOptions { serialize: true, mode: Some(mode), ..MemoizeOptions::default() }
}

/// Memoizes a run that gives this content after it has done this.
fn memoize(
    client: &Client,
    of: &Call,
    options: &MemoizeOptions,
    made: &str,
    before: impl FnOnce(),
) -> Memoized {
    let compute = || {
        before();
        Ok::<_, Infallible>(vec![output(made)])
    };
    client.memoize(of, options, compute).expect("the task does not fail")
}

fn words(of: &Memoized) -> [&'static str; 3] {
    [of.status.name(), of.store.name(), of.reservation.name()]
}

fn forget_all(raw: &mut Raw) {
    raw.invalidate(Selector::Matching(Filter::default()), false);
}

fn waited_for(raw: &mut Raw, waiters: u64) {
    eventually("the others wait", || raw.leases_and_waiters() == (1, waiters));
}

#[test]
fn s25_s27_of_many_threads_one_computes() {
    let daemon = Daemon::new();
    let (of, client, runs) = (call("threads").0, to_daemon(&daemon), AtomicU32::new(0));
    let run = || {
        memoize(&client, &of, &serialized(Mode::Enabled), "made", || {
            runs.fetch_add(1, Ordering::Relaxed);
            waited_for(&mut daemon.connect(), 31);
        })
    };
    let all: Vec<Memoized> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert!(all.iter().all(|one| content(one) == "made"));
    let computed: Vec<_> = all.iter().filter(|one| words(one)[0] == "MISS").collect();
    assert_eq!(computed.len(), 1);
    assert_eq!(words(computed[0]), ["MISS", "POPULATED", "RELEASED"]);
    let rest = all.iter().filter(|one| words(one) == ["HIT", "SKIPPED", "EXISTS"]).count();
    assert_eq!(rest, 31, "{:?}", all.iter().map(words).collect::<Vec<_>>());
    let after = run();
    assert_eq!(words(&after), ["HIT", "SKIPPED", "DISABLED"], "no lease was needed");
    all_is_quiet(&daemon);
}

#[test]
fn s27_of_many_asynchronous_tasks_one_computes() {
    let daemon = Daemon::new();
    let client = Client::builder().socket(daemon.socket()).build_async();
    let runs = AtomicU32::new(0);
    let (runs, of) = (&*Box::leak(Box::new(runs)), call("tasks").0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..300)
            .map(|_| tokio::spawn(compute_slowly(client.clone(), of.clone(), runs)))
            .collect();
        for task in tasks {
            let made = task.await.unwrap();
            assert!(matches!(made, (CacheStatus::Hit | CacheStatus::Miss, true)), "{made:?}");
        }
    });
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    all_is_quiet(&daemon);
    let stats = daemon.connect().stats();
    assert_eq!((stats.hits, stats.misses, stats.puts), (299, 1, 1));
}

/// Computes once the other 299 wait; gives what came of it, and whether the outputs are right.
async fn compute_slowly(
    client: aio::Client,
    of: Call,
    runs: &'static AtomicU32,
) -> (CacheStatus, bool) {
    let observer = client.clone();
    let compute = || async move {
        runs.fetch_add(1, Ordering::Relaxed);
        while observer.stats().await.is_ok_and(|stats| stats.whole.unwrap().waiters < 299) {}
        Ok::<_, Infallible>(vec![output("made")])
    };
    let made = client.memoize(&of, &serialized(Mode::Enabled), compute).await.unwrap();
    (made.status, content(&made) == "made")
}

#[test]
fn s28_a_task_that_fails_passes_the_lease_on() {
    let daemon = Daemon::new();
    let (of, client) = (call("fails").0, to_daemon(&daemon));
    let options = serialized(Mode::Enabled);
    std::thread::scope(|scope| {
        let (started, fails) = std::sync::mpsc::sync_channel(1);
        let first = scope.spawn({
            let (client, of, options, daemon) = (&client, &of, &options, &daemon);
            move || {
                client.memoize(of, options, || {
                    started.send(()).unwrap();
                    waited_for(&mut daemon.connect(), 1);
                    Err("broken")
                })
            }
        });
        fails.recv().unwrap();
        let second = memoize(&client, &of, &options, "second", || {});
        let first = first.join().unwrap();
        assert!(matches!(first, Err(MemoizeError::Compute("broken"))), "{first:?}");
        assert_eq!(words(&second), ["MISS", "POPULATED", "RELEASED"]);
        assert_eq!(content(&second), "second");
    });
    // So does one that panics.
    let of = call("panics").0;
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        memoize(&client, &of, &options, "never", || {
            assert_eq!(daemon.connect().leases_and_waiters(), (1, 0));
            std::panic::resume_unwind(Box::new("a panic that says nothing"));
        })
    }));
    assert!(caught.is_err());
    all_is_quiet(&daemon);
}

#[test]
fn s23_each_mode_does_with_leases_what_it_may() {
    let daemon = Daemon::new();
    let (client, mut raw) = (to_daemon(&daemon), daemon.connect());
    for (mode, held, wanted) in [
        (Mode::Disabled, 0, ["DISABLED", "DISABLED", "DISABLED"]),
        (Mode::ReadOnly, 0, ["MISS", "DISABLED", "DISABLED"]),
        (Mode::Overwrite, 0, ["SKIPPED", "POPULATED", "DISABLED"]),
        (Mode::Enabled, 1, ["MISS", "POPULATED", "RELEASED"]),
    ] {
        let of = call("modes").version(wanted[0]).0;
        let of = Call { task: format!("{mode:?}"), ..of };
        let of_client = Client::builder().socket(daemon.socket()).mode(mode).build();
        let own = MemoizeOptions { serialize: true, ..MemoizeOptions::default() };
        let check = |made: Memoized| assert_eq!(words(&made), wanted, "{mode:?}");
        let leases = |raw: &mut Raw| assert_eq!(raw.leases_and_waiters(), (held, 0), "{mode:?}");
        check(memoize(&client, &of, &serialized(mode), "a", || leases(&mut raw)));
        forget_all(&mut raw);
        check(memoize(&of_client, &of, &own, "a", || leases(&mut raw)));
        assert_eq!(raw.leases_and_waiters(), (0, 0), "{mode:?}");
        // A claim keeps to the client's mode, too.
        forget_all(&mut raw);
        let claimed = of_client.claim(&of, &ClaimOptions::default()).unwrap();
        let is_leased = matches!(claimed, Claimed::Leased(_));
        assert_eq!(is_leased, mode == Mode::Enabled, "{mode:?}: {claimed:?}");
    }
    all_is_quiet(&daemon);
}

#[test]
fn s23_who_only_reads_waits_and_who_overwrites_does_not() {
    let daemon = Daemon::new();
    let (of, client, mut raw) = (call("modes wait").0, to_daemon(&daemon), daemon.connect());
    std::thread::scope(|scope| {
        let owner = client.recall(&of, &serialized(Mode::Enabled));
        assert_eq!(owner.reservation(), ReservationStatus::Acquired);
        let reader = scope.spawn(|| {
            memoize(&client, &of, &serialized(Mode::ReadOnly), "none", || {
                panic!("the outputs come from the other")
            })
        });
        waited_for(&mut raw, 1);
        let replaced = memoize(&client, &of, &serialized(Mode::Overwrite), "replaced", || {
            assert_eq!(raw.leases_and_waiters(), (1, 1), "it neither waits nor takes the lease");
        });
        assert_eq!(words(&replaced), ["SKIPPED", "POPULATED", "DISABLED"]);
        let reader = reader.join().unwrap();
        assert_eq!(words(&reader), ["HIT", "SKIPPED", "EXISTS"]);
        assert_eq!(content(&reader), "replaced");
        let late = client.store(&of, owner, vec![output("late")], Duration::from_secs(1));
        assert_eq!((late.store.name(), late.reservation.name()), ("POPULATED", "RELEASED"));
        assert!(matches!(late.put, Some(PutOutcome::Exists(_))), "{:?}", late.put);
    });
    all_is_quiet(&daemon);
}

#[test]
fn s27_who_has_waited_long_enough_computes_too() {
    let daemon = Daemon::new();
    let (of, client) = (call("impatient").0, to_daemon(&daemon));
    let Claimed::Leased(lease) = client.claim(&of, &ClaimOptions::default()).unwrap() else {
        panic!("the lease is free")
    };
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(20))] {
        let options = MemoizeOptions { wait, mode: None, ..serialized(Mode::Enabled) };
        let made = memoize(&client, &of, &options, "impatient", || {});
        assert_eq!(words(&made), ["MISS", "POPULATED", "EXISTS"], "{wait:?}");
        let pending = made.pending.expect("it is told who computes");
        // By then a name holds it, and no process is told of.
        let is_named = pending.holder.name.is_some();
        assert_eq!(pending.holder.pid, (!is_named).then(std::process::id));
        let Claimed::Hit(_) = client.claim(&of, &ClaimOptions::default()).unwrap() else {
            panic!("it was stored")
        };
        daemon.connect().invalidate(Selector::Keys(vec![of.key().unwrap()]), false);
        // Its commit has ended the other's lease; that is taken again for the next round.
        assert_eq!(daemon.connect().leases_and_waiters(), (0, 0));
        assert!(daemon.connect().reserve(&call("impatient"), named("again", 60_000)).acquired);
    }
    assert!(client.release(&of, "again").unwrap());
    let options = PutOptions::default();
    assert_eq!(lease.put(&of, vec![output("slow")], &options).unwrap(), PutOutcome::Populated);
}

#[test]
fn s25_what_goes_wrong_has_its_word_and_the_task_runs() {
    let mut daemon = Setup::new().config("waiters_max = 1").start();
    let (of, client) = (call("wrong").0, to_daemon(&daemon));
    let options = serialized(Mode::Enabled);
    let nobody = Client::builder().socket(daemon.folder().join("none.sock")).build();
    let made = memoize(&nobody, &of, &options, "alone", || {});
    assert_eq!(words(&made), ["LOOKUP_FAILURE", "PUT_FAILURE", "FAILURE"]);
    // Too many wait.
    let one = call("wrong");
    let (mut owner, mut waiter) = (daemon.connect(), daemon.connect());
    owner.owns(one.claim());
    waiter.waits(one.claim());
    let made = memoize(&client, &of, &options, "busy", || {});
    assert_eq!(words(&made), ["LOOKUP_FAILURE", "POPULATED", "FAILURE"], "{made:?}");
    // The daemon dies while it is waited for, or while it is computed.
    let (one, of) = (call("killed"), call("killed").0);
    owner.owns(one.claim());
    let made = std::thread::scope(|scope| {
        let waits = scope.spawn(|| memoize(&client, &of, &options, "orphan", || {}));
        waited_for(&mut owner, 1);
        daemon.kill();
        waits.join().unwrap()
    });
    assert_eq!(words(&made), ["LOOKUP_FAILURE", "PUT_FAILURE", "FAILURE"], "{made:?}");
    daemon.start().expect("it starts again");
    let client = to_daemon(&daemon);
    let made = memoize(&client, &of, &options, "orphan", || daemon.kill());
    assert_eq!(words(&made), ["MISS", "PUT_FAILURE", "FAILURE"], "{made:?}");
    assert_eq!(made.lease_error.map(|error| error.name()), Some("lease_lost"));
    assert_eq!(CacheStatus::Evicted.name(), "EVICTED");
}

#[test]
fn s28_a_lease_that_is_dropped_or_released_passes_on() {
    let daemon = Daemon::new();
    let (of, client) = (call("dropped").0, to_daemon(&daemon));
    let claim = || match client.claim(&of, &ClaimOptions::default()).unwrap() {
        Claimed::Leased(lease) => lease,
        other => panic!("the lease was due, not {other:?}"),
    };
    for dropped in [true, false] {
        let lease = claim();
        assert_eq!(lease.key(), of.key().unwrap());
        assert_eq!(lease.miss().reason, MissReason::NeverSeen);
        std::thread::scope(|scope| {
            let next = scope.spawn(claim);
            waited_for(&mut daemon.connect(), 1);
            let end = if dropped { drop } else { Lease::release };
            end(lease);
            next.join().unwrap().release();
        });
        all_is_quiet(&daemon);
    }
    let put = claim().put(&of, vec![output("made")], &PutOptions::default());
    assert_eq!(put.unwrap(), PutOutcome::Populated);
    all_is_quiet(&daemon);
}

#[test]
fn s29_s30_named_owners_through_the_library() {
    let daemon = Daemon::new();
    let (of, client) = (call("named").0, to_daemon(&daemon));
    let (a, b) = (named("a", 60_000), named("b", 60_000));
    assert!(client.reserve(&of, &a).unwrap().acquired);
    let seen = client.reserve(&of, &b).unwrap();
    assert_eq!((seen.acquired, seen.holder.name.as_deref()), (false, Some("a")));
    let options = ClaimOptions { owner: Some(a.clone()), ..ClaimOptions::default() };
    let Claimed::Leased(lease) = client.claim(&of, &options).unwrap() else {
        panic!("it is a's already")
    };
    drop(lease);
    assert_eq!(daemon.connect().leases_and_waiters(), (1, 0), "a name does not drop its lease");
    assert!(!client.release(&of, "b").unwrap());
    assert!(client.release(&of, "a").unwrap());
    assert!(!client.release(&of, "a").unwrap());
    for wrong in [named("", 1), named(" \t", 1), named("a", 0), named("a", -1)] {
        assert!(client.reserve(&of, &wrong).is_err(), "{wrong:?}");
        let options = ClaimOptions { owner: Some(wrong.clone()), ..ClaimOptions::default() };
        assert!(client.claim(&of, &options).is_err(), "{wrong:?}");
    }
    assert!(client.release(&of, "").is_err() && client.release(&of, " ").is_err());
    assert!(client.why(&of, &LookupOptions::default(), 3).unwrap().miss.is_some());
    all_is_quiet(&daemon);
}
