//! Semantics 20, 22, 23 and 34 through the client library: what a program that memoizes gets.

use std::cell::Cell;
use std::convert::Infallible;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Daemon, Fake, Random, call};
use memod_client::{
    CacheStatus, Call, Client, Lookup, LookupOptions, Memoized, MemoizeError, MemoizeOptions, Mode,
    PutOutput, Source,
};
use memod_protocol::{
    Delivery, Digest, ErrorCode, Hit, LiteralType, Miss, MissReason, Output, Provenance,
    PutOutcome, Request, Response, RunClaim, WireError,
};
use nix::sys::signal::Signal;

/// How long the clients of these tests give the daemon.
const DEADLINE: Duration = Duration::from_millis(300);
/// What a busy machine may add to any delay.
const SLACK: Duration = Duration::from_secs(5);

fn client(socket: impl Into<PathBuf>) -> Client {
    Client::builder().socket(socket).deadline(DEADLINE).stall(DEADLINE).build()
}

fn to_daemon(daemon: &Daemon) -> Client {
    Client::builder().socket(daemon.socket()).build()
}

fn output(content: &str) -> PutOutput {
    PutOutput {
        name: "o0".to_owned(),
        literal_type: LiteralType::String,
        source: Source::Bytes(Bytes::copy_from_slice(content.as_bytes())),
    }
}

/// A task that counts how often it runs.
#[derive(Default)]
struct Task {
    runs: Cell<u32>,
}

impl Task {
    /// Memoizes a run that gives this content.
    fn run(&self, client: &Client, of: &Call, mode: Option<Mode>, content: &str) -> Memoized {
        let compute = || {
            self.runs.set(self.runs.get() + 1);
            Ok::<_, Infallible>(vec![output(content)])
        };
        let options = MemoizeOptions { mode, ..MemoizeOptions::default() };
        client.memoize(of, &options, compute).expect("the task does not fail")
    }
}

fn content(of: &Memoized) -> String {
    assert_eq!(of.outputs.len(), 1, "{of:?}");
    let bytes = of.outputs[0].content.to_bytes().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn s15_a_hit_tells_of_the_run_that_made_it() {
    let daemon = Daemon::new();
    let (of, task) = (call("told").0, Task::default());
    let run = RunClaim { task_version: Some("v1".to_owned()), ..RunClaim::default() };
    let options = MemoizeOptions { run, ..MemoizeOptions::default() };
    let compute = || Ok::<_, Infallible>(vec![output("made")]);
    let made = to_daemon(&daemon).memoize(&of, &options, compute).unwrap();
    assert_eq!((made.status, made.store), (CacheStatus::Miss, CacheStatus::Populated));
    assert_eq!(made.miss.as_ref().map(|miss| miss.reason), Some(MissReason::NeverSeen));
    let hit = task.run(&to_daemon(&daemon), &of, None, "other");
    assert_eq!((hit.status, hit.store, task.runs.get()), (CacheStatus::Hit, CacheStatus::Skipped, 0));
    assert_eq!(content(&hit), "made");
    assert_eq!((hit.key, hit.compute_time), (of.key().ok(), made.compute_time));
    let provenance = hit.provenance.expect("a hit has one");
    assert_eq!(provenance.writer_pid, Some(std::process::id()));
    assert_eq!(provenance.run.task_version.as_deref(), Some("v1"));
    assert!(provenance.run.compute_ns.is_some(), "the run was timed");
}

#[test]
fn s17_of_two_that_compute_at_once_the_first_is_kept() {
    let daemon = Daemon::new();
    let (of, task) = (call("raced").0, Task::default());
    let first = to_daemon(&daemon);
    let compute = || {
        let second = task.run(&to_daemon(&daemon), &of, None, "second");
        assert_eq!(second.put, Some(PutOutcome::Populated));
        Ok::<_, Infallible>(vec![output("first")])
    };
    let late = first.memoize(&of, &MemoizeOptions::default(), compute).unwrap();
    assert_eq!((late.status, late.store), (CacheStatus::Miss, CacheStatus::Populated));
    assert!(matches!(late.put, Some(PutOutcome::Exists(_))), "{:?}", late.put);
    assert_eq!(content(&late), "first", "who computes gets what it computed");
    assert_eq!(content(&task.run(&first, &of, None, "third")), "second");
}

#[test]
fn s18_s23_overwriting_replaces_unless_the_run_fails() {
    let daemon = Daemon::new();
    let (of, task, client) = (call("overwritten").0, Task::default(), to_daemon(&daemon));
    let overwrite = Some(Mode::Overwrite);
    for content in ["one", "two"] {
        let made = task.run(&client, &of, overwrite, content);
        assert_eq!((made.status, made.store), (CacheStatus::Skipped, CacheStatus::Populated));
    }
    let options = MemoizeOptions { mode: overwrite, ..MemoizeOptions::default() };
    let failed = client.memoize(&of, &options, || Err("broken"));
    assert!(matches!(failed, Err(MemoizeError::Compute("broken"))), "{failed:?}");
    let hit = task.run(&client, &of, None, "three");
    assert_eq!((content(&hit).as_str(), task.runs.get()), ("two", 2));
    let stats = client.stats().unwrap();
    assert_eq!((stats.hits, stats.misses, stats.puts), (1, 0, 2), "overwriting does not look up");
}

#[test]
fn s20_a_task_that_fails_stores_nothing() {
    let daemon = Daemon::new();
    let (of, task, client) = (call("failing").0, Task::default(), to_daemon(&daemon));
    let runs = Cell::new(0);
    let compute = || {
        runs.set(runs.get() + 1);
        Err::<Vec<PutOutput>, _>("broken")
    };
    for run in 1..=2 {
        let failed = client.memoize(&of, &MemoizeOptions::default(), compute);
        assert!(matches!(failed, Err(MemoizeError::Compute("broken"))), "{failed:?}");
        assert_eq!(runs.get(), run, "it runs each time");
    }
    assert_eq!(client.stats().unwrap().entries, 0);
    assert_eq!(task.run(&client, &of, None, "mended").status, CacheStatus::Miss);
    assert_eq!(content(&task.run(&client, &of, None, "again")), "mended");
}

#[test]
fn s20_a_map_that_fails_in_part_stores_its_successes() {
    let daemon = Daemon::new();
    let client = to_daemon(&daemon);
    let item = |number: usize| call("mapped").version(&number.to_string()).0;
    let map = |bad: Option<usize>, runs: &Cell<u32>| {
        (0..6).map(|number| {
            let compute = || {
                runs.set(runs.get() + 1);
                let done = vec![output(&format!("item {number}"))];
                if bad == Some(number) { Err("bad item") } else { Ok(done) }
            };
            client.memoize(&item(number), &MemoizeOptions::default(), compute)
        })
        .filter_map(Result::ok)
        .map(|done| content(&done))
        .collect::<Vec<_>>()
    };
    let runs = Cell::new(0);
    assert_eq!(map(Some(3), &runs).len(), 5);
    assert_eq!((runs.get(), client.stats().unwrap().entries), (6, 5));
    let whole: Vec<_> = (0..6).map(|number| format!("item {number}")).collect();
    assert_eq!(map(None, &runs), whole);
    assert_eq!(runs.get(), 7, "only the one that failed runs again");
}

#[test]
fn s23_modes_of_a_call() {
    let daemon = Daemon::new();
    let (of, task, client) = (call("modes").0, Task::default(), to_daemon(&daemon));
    let run = |mode, content| task.run(&client, &of, Some(mode), content);
    let statuses = |of: &Memoized| (of.status, of.store);
    let requests = || {
        let stats = client.stats().unwrap();
        (stats.hits, stats.misses, stats.puts)
    };

    assert_eq!(
        statuses(&run(Mode::Disabled, "a")),
        (CacheStatus::Disabled, CacheStatus::Disabled)
    );
    assert_eq!(requests(), (0, 0, 0), "disabled: neither read nor written");
    assert_eq!(statuses(&run(Mode::ReadOnly, "b")), (CacheStatus::Miss, CacheStatus::Disabled));
    assert_eq!(requests(), (0, 1, 0), "read-only: not written");
    assert_eq!(statuses(&run(Mode::Enabled, "c")), (CacheStatus::Miss, CacheStatus::Populated));
    assert_eq!(requests(), (0, 2, 1));
    assert_eq!(task.runs.get(), 3);

    let hit = run(Mode::ReadOnly, "d");
    assert_eq!((statuses(&hit), content(&hit).as_str()), ((CacheStatus::Hit, CacheStatus::Skipped), "c"));
    let disabled = run(Mode::Disabled, "e");
    assert_eq!((content(&disabled).as_str(), task.runs.get()), ("e", 4));
    assert_eq!(content(&run(Mode::Enabled, "f")), "c");
    assert_eq!(requests(), (2, 2, 1));
}

#[test]
fn s23_modes_of_a_client() {
    let daemon = Daemon::new();
    let (of, task) = (call("modes").0, Task::default());
    let with = |mode| Client::builder().socket(daemon.socket()).mode(mode).build();
    let (reading, disabled) = (with(Mode::ReadOnly), with(Mode::Disabled));
    assert_eq!(task.run(&reading, &of, None, "a").store, CacheStatus::Disabled);
    assert_eq!(task.run(&disabled, &of, None, "b").status, CacheStatus::Disabled);
    let put = reading.put(&of, vec![output("c")], &memod_client::PutOptions::default());
    assert!(put.is_err(), "a read-only client does not write");
    assert_eq!(reading.stats().unwrap().entries, 0);
    let by_call = task.run(&reading, &of, Some(Mode::Enabled), "d");
    assert_eq!(by_call.store, CacheStatus::Populated, "a call's mode goes before its client's");
    assert_eq!(content(&task.run(&reading, &of, None, "e")), "d");
    let Ok(Lookup::Miss(miss)) = disabled.lookup(&of, &LookupOptions::default()) else {
        panic!("a disabled client does not read");
    };
    assert_eq!(miss.reason, MissReason::Disabled);
    assert_eq!(content(&task.run(&with(Mode::Overwrite), &of, None, "f")), "f");
    assert_eq!(content(&task.run(&with(Mode::Enabled), &of, None, "g")), "f");
}

/// A hit for whatever is asked, with these outputs and this payload.
fn hit(outputs: Vec<Output>, payload: &'static str) -> Fake {
    Fake::answering(move |request| match request {
        Request::Lookup(lookup) => {
            let provenance = Provenance {
                writer_uid: 0,
                writer_pid: None,
                program: None,
                host: None,
                created_at_ms: 1,
                run: RunClaim::default(),
            };
            let (key, outputs) = (lookup.call.key(), outputs.clone());
            let hit = Hit { key, age_ms: 0, outputs, provenance };
            Some((Response::Hit(Box::new(hit)), payload.into()))
        }
        Request::Put(_) => Some((Response::Put(PutOutcome::Populated), Bytes::new())),
        _ => None,
    })
}

fn served(name: &str, literal_type: &str, content: &str, delivery: Delivery) -> Output {
    Output {
        name: name.to_owned(),
        literal_type: literal_type.to_owned(),
        digest: Digest::of(content.as_bytes()),
        bytes: content.len() as u64,
        delivery,
    }
}

#[test]
fn s22_outputs_that_do_not_match_are_never_used() {
    let inline = |name, of, content| served(name, of, content, Delivery::Inline);
    let (of, task) = (call("spoilt").0, Task::default());
    let good = hit(vec![inline("o0", "string", "served")], "served");
    assert_eq!(content(&task.run(&client(good.socket()), &of, None, "computed")), "served");
    assert_eq!(task.runs.get(), 0);

    let cases = [
        ("another type", vec![inline("o0", "bytes", "served")], "served"),
        ("another name", vec![inline("o1", "string", "served")], "served"),
        ("no output", vec![], ""),
        (
            "one too many",
            vec![inline("o0", "string", "served"), inline("o1", "string", "")],
            "served",
        ),
        ("too few bytes", vec![inline("o0", "string", "served")], "serve"),
        ("too many bytes", vec![inline("o0", "string", "served")], "served!"),
        ("a claim beyond all bounds", {
            vec![Output { bytes: u64::MAX, ..inline("o0", "string", "served") }]
        }, "served"),
        ("withheld", vec![served("o0", "string", "served", Delivery::Withheld)], ""),
        ("a stream that does not come", vec![served("o0", "string", "served", Delivery::Stream)], ""),
    ];
    for (number, (name, outputs, payload)) in (1..).zip(cases) {
        let fake = hit(outputs, payload);
        let made = task.run(&client(fake.socket()), &of, None, "computed");
        assert_eq!((content(&made).as_str(), task.runs.get()), ("computed", number), "{name}");
        assert!(
            matches!(made.status, CacheStatus::Miss | CacheStatus::LookupFailure),
            "{name}: {made:?}"
        );
    }
}

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
        Some((never_seen(&request).unwrap_or_else(full), Bytes::new()))
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
    let mid_lookup = Fake::answering(|_| panic!("killed"));
    check_failure("in mid-lookup", &mid_lookup.socket());
    // It answers the lookup and goes when it is to store.
    let mid_put = Fake::answering(|request| {
        Some((never_seen(&request).expect("killed"), Bytes::new()))
    });
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
    daemon.signal(Signal::SIGSTOP);
    // One client has a connection already, the other has to make one.
    for client in [connected, client(daemon.socket())] {
        let (task, begun) = (Task::default(), Instant::now());
        for number in 1..=6 {
            let made = task.run(&client, &of, None, "computed");
            assert_eq!((content(&made).as_str(), task.runs.get()), ("computed", number));
            assert_eq!((made.status, made.store), FAILED);
        }
        let delay = begun.elapsed();
        assert!(delay >= DEADLINE, "it was waited for: {delay:?}");
        assert!(delay < 3 * DEADLINE + SLACK, "{delay:?}");
    }
    daemon.signal(Signal::SIGCONT);
    let made = task.run(&to_daemon(&daemon), &of, None, "after");
    assert_eq!(content(&made), "before", "nothing was lost meanwhile");
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
