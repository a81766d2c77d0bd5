//! Semantics 34 through the client library: the task runs whatever happens to the daemon.

use std::cell::Cell;
use std::convert::Infallible;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Answer, Daemon, Fake, Random, call};
use memod_client::{CacheStatus, MemoizeOptions, Memoized};
use memod_protocol::{Delivery, ErrorCode, Miss, MissReason, Request, Response, WireError};
use nix::sys::signal::Signal;

use crate::client::{DEADLINE, SLACK, Task, client, content, hit, output, served, to_daemon};

/// Memoizes several calls: each runs once and gives what it computes, and none takes long.
#[track_caller]
fn check_unhelped(name: &str, socket: &Path) -> Vec<Memoized> {
    let (task, client) = (Task::default(), client(socket));
    let begun = Instant::now();
    let mut made = Vec::new();
    for number in 0..6 {
        let of = call("unhelped").version(&number.to_string()).0;
        let wanted = format!("computed {number}");
        made.push(task.run(&client, &of, None, &wanted));
        assert_eq!(content(made.last().unwrap()), wanted, "{name}");
        assert_eq!(task.runs.get(), number + 1, "{name}");
    }
    // Three failures open the breaker; from then on nothing is waited for.
    let delay = begun.elapsed();
    assert!(delay < 3 * DEADLINE + SLACK, "{name}: {delay:?}");
    made
}

fn assert_statuses(name: &str, made: &[Memoized], status: CacheStatus, store: CacheStatus) {
    for one in made {
        assert_eq!((one.status, one.store), (status, store), "{name}: {one:?}");
        assert_eq!(one.lookup_error.is_some(), status == CacheStatus::LookupFailure, "{name}");
        assert!(one.store_error.is_some(), "{name}: it says why it could not store");
    }
}

const FAILED: (CacheStatus, CacheStatus) = (CacheStatus::LookupFailure, CacheStatus::PutFailure);

#[track_caller]
fn check_failure(name: &str, socket: &Path) -> Vec<Memoized> {
    let made = check_unhelped(name, socket);
    assert_statuses(name, &made, FAILED.0, FAILED.1);
    made
}

#[test]
fn s34_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    check_failure("nothing is there", &path("none.sock"));
    check_failure("not even the directory", &path("none").join("none.sock"));
    drop(UnixListener::bind(path("stale.sock")).unwrap());
    check_failure("its socket was left behind", &path("stale.sock"));
    std::fs::write(path("file"), "text").unwrap();
    check_failure("a file", &path("file"));
    check_failure("a directory", folder.path());
    check_failure("a path that is too long", &path(&"x".repeat(200)));
}

#[test]
fn s34_something_else_listens() {
    check_failure("garbage", &Fake::saying(Random::new(7).bytes(4096)).socket());
    check_failure("HTTP", &Fake::saying("HTTP/1.1 400 Bad Request\r\n\r\n").socket());
    check_failure("a frame without end", &Fake::saying([0xff; 8]).socket());
    check_failure("empty frames", &Fake::saying([4, 0, 0, 0, 0, 0, 0, 0]).socket());
    check_failure("half a frame", &Fake::saying([200, 0, 0, 0, 100, 0]).socket());
    check_failure("nothing but an end", &Fake::new(|_| {}).socket());
}

#[test]
fn s34_a_listener_that_never_answers() {
    let silent = Fake::silent();
    let made = check_failure("silent", &silent.socket());
    assert!(made[0].lookup_error.as_ref().is_some_and(|error| error.name() == "timeout"));
    let last = made[5].lookup_error.as_ref().map(memod_client::Error::name);
    assert_eq!(last, Some("breaker_open"));
    assert_eq!(silent.connections(), 3, "it is left alone after three failures");

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("deaf.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    check_failure("nobody accepts", &socket);

    // With a queue of one place: those that fill it keep others from connecting at all.
    let rc = nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1).unwrap());
    rc.expect("it listens anew");
    let mut waiting = Vec::new();
    while let Some(stream) = connect_at_once(&socket) {
        waiting.push(stream);
    }
    check_failure("its queue is full", &socket);
}

/// A connection, unless one would have to wait for it.
fn connect_at_once(socket: &Path) -> Option<UnixStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect};
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let made = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None);
    let made = made.expect("a socket");
    connect(made.as_raw_fd(), &UnixAddr::new(socket).unwrap()).ok().map(|()| made.into())
}

#[test]
fn s34_a_daemon_of_another_version() {
    let fake = Fake::of_another_version();
    let made = check_failure("another version", &fake.socket());
    let error = made[0].lookup_error.as_ref().expect("a reason");
    assert_eq!(error.name(), "version_mismatch");
    assert_eq!(error.hint(), Some("install the same release on both sides"));
}

#[test]
fn s34_a_daemon_that_forbids() {
    for (code, name) in [(ErrorCode::Forbidden, "forbidden"), (ErrorCode::Internal, "internal")] {
        let fake = Fake::refusing(code);
        for one in check_failure(name, &fake.socket()) {
            assert_eq!(one.lookup_error.as_ref().map(memod_client::Error::name), Some(name));
            assert_eq!(one.store_error.as_ref().map(memod_client::Error::name), Some(name));
        }
    }
}

fn never_seen(request: &Request) -> Option<Response> {
    let Request::Lookup(lookup) = request else { return None };
    let reason = MissReason::NeverSeen;
    let miss = Miss { key: lookup.call.key(), reason, at_ms: None, by_uid: None, detail: None };
    Some(Response::Miss(miss))
}

#[test]
fn s34_a_daemon_that_is_full() {
    let fake = Fake::answering(|request| {
        let full = || Response::Error(WireError::new(ErrorCode::OverBudget, "no room"));
        never_seen(&request).unwrap_or_else(full).into()
    });
    let made = check_unhelped("full", &fake.socket());
    assert_statuses("full", &made, CacheStatus::Miss, CacheStatus::PutFailure);
    assert_eq!(made[5].store_error.as_ref().map(memod_client::Error::name), Some("over_budget"));
    assert_eq!(made[5].status, CacheStatus::Miss, "an error that is answered opens no breaker");
}

#[test]
fn s34_a_daemon_that_is_killed_while_the_task_runs() {
    let mut daemon = Daemon::new();
    let (of, runs, client) = (call("killed").0, Cell::new(0), client(daemon.socket()));
    let compute = || {
        runs.set(runs.get() + 1);
        daemon.kill();
        Ok::<_, Infallible>(vec![output("computed")])
    };
    let begun = Instant::now();
    let made = client.memoize(&of, &MemoizeOptions::default(), compute).unwrap();
    assert_eq!((content(&made).as_str(), runs.get()), ("computed", 1));
    assert_eq!((made.status, made.store), (CacheStatus::Miss, CacheStatus::PutFailure));
    assert!(begun.elapsed() < DEADLINE + SLACK);

    daemon.start().expect("it starts again");
    let task = Task::default();
    assert_eq!(task.run(&client, &of, None, "again").store, CacheStatus::Populated);
    assert_eq!(content(&task.run(&client, &of, None, "no more")), "again");
}

#[test]
fn s34_a_daemon_that_ends_in_the_middle_of_an_answer() {
    // It reads the request and goes.
    let mid_lookup = Fake::answering(|_| Answer::Leave);
    check_failure("in mid-lookup", &mid_lookup.socket());
    // It answers the lookup and goes when it is to store.
    let mid_put =
        Fake::answering(|request| never_seen(&request).map_or(Answer::Leave, Answer::from));
    let made = check_unhelped("in mid-put", &mid_put.socket());
    assert!(made.iter().all(|one| one.store == CacheStatus::PutFailure));
    // It announces a stream and says no more.
    let streamed = vec![served("o0", "string", "never comes", Delivery::Stream)];
    let mid_stream = hit(streamed, "");
    let (of, task) = (call("streamed").0, Task::default());
    let begun = Instant::now();
    let made = task.run(&client(mid_stream.socket()), &of, None, "computed");
    assert_eq!((content(&made).as_str(), task.runs.get()), ("computed", 1));
    assert_eq!(made.status, CacheStatus::LookupFailure);
    assert!(begun.elapsed() < 3 * DEADLINE + SLACK);
}

#[test]
fn s34_a_daemon_that_hangs() {
    let daemon = Daemon::new();
    let (of, task) = (call("hanging").0, Task::default());
    let connected = client(daemon.socket());
    assert_eq!(task.run(&connected, &of, None, "before").store, CacheStatus::Populated);
    daemon.freeze();
    // One client has a connection already, the other has to make one.
    for client in [connected, client(daemon.socket())] {
        let (task, begun) = (Task::default(), Instant::now());
        let mut told = Vec::new();
        for number in 1..=6 {
            let made = task.run(&client, &of, None, "computed");
            assert_eq!((content(&made).as_str(), task.runs.get()), ("computed", number));
            assert_eq!((made.status, made.store), FAILED);
            let name = |error: Option<memod_client::Error>| error.map_or("", |error| error.name());
            told.push((name(made.lookup_error), name(made.store_error)));
        }
        // It is waited for twice by the first call, once by the second, and not any more then.
        assert_eq!(told[0], ("timeout", "timeout"));
        assert_eq!(told[1], ("timeout", "breaker_open"));
        assert_eq!(told[2..], [("breaker_open", "breaker_open"); 4]);
        let delay = begun.elapsed();
        assert!(delay >= DEADLINE, "it was waited for: {delay:?}");
        assert!(delay < 3 * DEADLINE + SLACK, "{delay:?}");
    }
    daemon.signal(Signal::SIGCONT);
    let made = task.run(&to_daemon(&daemon), &of, None, "after");
    assert_eq!(content(&made), "before", "nothing was lost meanwhile");
}

/// Whoever asks all the time does so while there is no daemon, too (semantics 34).
#[test]
fn s34_a_daemon_that_is_away_for_a_moment_is_found_again_soon() {
    let mut daemon = Daemon::new();
    let (of, task, client) = (call("away").0, Task::default(), client(daemon.socket()));
    task.run(&client, &of, None, "kept");
    let is_hit = || task.run(&client, &of, None, "kept").status == CacheStatus::Hit;
    for orderly in [true, false] {
        if orderly {
            daemon.stop();
        } else {
            daemon.kill();
        }
        let unhelped: Vec<_> = (0..20).map(|_| task.run(&client, &of, None, "kept")).collect();
        assert!(unhelped.iter().all(|one| (one.status, one.store) == FAILED));
        let last = unhelped.last().and_then(|one| one.lookup_error.as_ref());
        assert_eq!(last.map(memod_client::Error::name), Some("breaker_open"));
        // It is not there yet.
        assert_eq!(client.ping().map_err(|error| error.name()), Err("no_daemon"));
        daemon.start().expect("it starts again");
        let begun = Instant::now();
        client.ping().expect("it is there");
        assert!(is_hit(), "whoever saw it there asks it");
        assert!(begun.elapsed() < SLACK);
    }
    daemon.kill();
    harness::eventually("it is left alone", || {
        let made = task.run(&client, &of, None, "kept");
        made.lookup_error.is_some_and(|error| error.name() == "breaker_open")
    });
    daemon.start().expect("it starts again");
    let begun = Instant::now();
    harness::eventually("it is asked again", is_hit);
    // The longest pause, were it away for long.
    assert!(begun.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", begun.elapsed());
}

#[test]
fn s34_a_daemon_that_was_restarted_is_found_again() {
    let mut daemon = Daemon::new();
    let (of, task, client) = (call("restarted").0, Task::default(), client(daemon.socket()));
    task.run(&client, &of, None, "kept");
    for orderly in [true, false] {
        if orderly {
            daemon.stop();
        } else {
            daemon.kill();
        }
        daemon.start().expect("it starts again");
        let hit = task.run(&client, &of, None, "lost");
        assert_eq!((hit.status, content(&hit).as_str()), (CacheStatus::Hit, "kept"));
    }
    assert_eq!(task.runs.get(), 1);
}

#[test]
fn s34_many_threads_and_a_daemon_that_is_killed() {
    let mut daemon = Daemon::new();
    let client = client(daemon.socket());
    let (begun, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (threads, calls) = (8, 40);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (client, begun, runs) = (client.clone(), &begun, &runs);
            scope.spawn(move || {
                for number in 0..calls {
                    let wanted = format!("{thread} {number}");
                    let compute = || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, Infallible>(vec![output(&wanted)])
                    };
                    let of = call("threads").version(&wanted).0;
                    let made = client.memoize(&of, &MemoizeOptions::default(), compute).unwrap();
                    assert_eq!(content(&made), wanted);
                    begun.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        harness::eventually("half of the calls are done", || {
            begun.load(Ordering::SeqCst) > threads * calls / 2
        });
        daemon.kill();
    });
    assert_eq!(runs.load(Ordering::SeqCst), threads * calls, "each exactly once");
}
