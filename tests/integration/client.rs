//! Semantics 15 to 23 through the client library: what a program that memoizes gets.

use std::cell::Cell;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use harness::{Answer, Daemon, Fake, call};
use memod_client::{
    CacheStatus, Call, Client, Lookup, LookupOptions, MemoizeError, MemoizeOptions, Memoized, Mode,
    PutOptions, PutOutput, Source,
};
use memod_protocol::{
    Delivery, Digest, Hit, LiteralType, MissReason, Output, Provenance, PutOutcome, Request,
    Response, RunClaim,
};

use crate::semantics_lookup::{damage, noise};

/// How long the clients of these tests give the daemon.
pub(crate) const DEADLINE: Duration = Duration::from_millis(300);
/// What a busy machine may add to any delay.
pub(crate) const SLACK: Duration = Duration::from_secs(5);

pub(crate) fn client(socket: impl Into<PathBuf>) -> Client {
    Client::builder().socket(socket).deadline(DEADLINE).stall(DEADLINE).build()
}

pub(crate) fn to_daemon(daemon: &Daemon) -> Client {
    Client::builder().socket(daemon.socket()).build()
}

pub(crate) fn output(content: &str) -> PutOutput {
    PutOutput {
        name: "o0".to_owned(),
        literal_type: LiteralType::String,
        source: Source::Bytes(Bytes::copy_from_slice(content.as_bytes())),
    }
}

/// A task that counts how often it runs.
#[derive(Default)]
pub(crate) struct Task {
    pub(crate) runs: Cell<u32>,
}

impl Task {
    /// Memoizes a run that gives this content.
    pub(crate) fn run(
        &self,
        client: &Client,
        of: &Call,
        mode: Option<Mode>,
        content: &str,
    ) -> Memoized {
        let compute = || {
            self.runs.set(self.runs.get() + 1);
            Ok::<_, Infallible>(vec![output(content)])
        };
        let options = MemoizeOptions { mode, ..MemoizeOptions::default() };
        client.memoize(of, &options, compute).expect("the task does not fail")
    }
}

pub(crate) fn content(of: &Memoized) -> String {
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
    assert_eq!(
        (hit.status, hit.store, task.runs.get()),
        (CacheStatus::Hit, CacheStatus::Skipped, 0)
    );
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
    assert_eq!(
        (stats.hits, stats.misses, stats.whole.unwrap().puts),
        (1, 0, 2),
        "overwriting does not look up"
    );
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
    assert_eq!(client.stats().unwrap().whole.unwrap().entries, 0);
    assert_eq!(task.run(&client, &of, None, "mended").status, CacheStatus::Miss);
    assert_eq!(content(&task.run(&client, &of, None, "again")), "mended");
}

#[test]
fn s20_a_map_that_fails_in_part_stores_its_successes() {
    let daemon = Daemon::new();
    let client = to_daemon(&daemon);
    let item = |number: usize| call("mapped").version(&number.to_string()).0;
    let map = |bad: Option<usize>, runs: &Cell<u32>| {
        (0..6)
            .map(|number| {
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
    assert_eq!((runs.get(), client.stats().unwrap().whole.unwrap().entries), (6, 5));
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
        (stats.hits, stats.misses, stats.whole.unwrap().puts)
    };

    assert_eq!(statuses(&run(Mode::Disabled, "a")), (CacheStatus::Disabled, CacheStatus::Disabled));
    assert_eq!(requests(), (0, 0, 0), "disabled: neither read nor written");
    assert_eq!(statuses(&run(Mode::ReadOnly, "b")), (CacheStatus::Miss, CacheStatus::Disabled));
    assert_eq!(requests(), (0, 1, 0), "read-only: not written");
    assert_eq!(statuses(&run(Mode::Enabled, "c")), (CacheStatus::Miss, CacheStatus::Populated));
    assert_eq!(requests(), (0, 2, 1));
    assert_eq!(task.runs.get(), 3);

    let hit = run(Mode::ReadOnly, "d");
    assert_eq!(
        (statuses(&hit), content(&hit).as_str()),
        ((CacheStatus::Hit, CacheStatus::Skipped), "c")
    );
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
    let put = reading.put(&of, vec![output("c")], &PutOptions::default());
    assert!(put.is_err(), "a read-only client does not write");
    assert_eq!(reading.stats().unwrap().whole.unwrap().entries, 0);
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
pub(crate) fn hit(outputs: Vec<Output>, payload: &'static str) -> Fake {
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
            Answer::Say(Response::Hit(Box::new(hit)), payload.into())
        }
        Request::Put(_) => Response::Put(PutOutcome::Populated).into(),
        _ => Answer::Nothing,
    })
}

pub(crate) fn served(name: &str, literal_type: &str, content: &str, delivery: Delivery) -> Output {
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
        (
            "a claim beyond all bounds",
            { vec![Output { bytes: u64::MAX, ..inline("o0", "string", "served") }] },
            "served",
        ),
        ("withheld", vec![served("o0", "string", "served", Delivery::Withheld)], ""),
        (
            "a stream that does not come",
            vec![served("o0", "string", "served", Delivery::Stream)],
            "",
        ),
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

#[test]
fn s22_a_large_output_that_is_damaged_is_computed_again_and_stored() {
    let mut daemon = Daemon::new();
    let large = noise(9, 5 << 20);
    let of = call("large").output("o0", "bytes").0;
    let (runs, options) = (Cell::new(0), MemoizeOptions::default());
    let memoize = |client: &Client| {
        let compute = || {
            runs.set(runs.get() + 1);
            let source = Source::Bytes(Bytes::copy_from_slice(&large));
            let (name, literal_type) = ("o0".to_owned(), LiteralType::Bytes);
            Ok::<_, Infallible>(vec![PutOutput { name, literal_type, source }])
        };
        let made = client.memoize(&of, &options, compute).unwrap();
        assert!(made.outputs[0].content.to_bytes().unwrap() == large, "{made:?}");
        made
    };
    assert_eq!(memoize(&to_daemon(&daemon)).store, CacheStatus::Populated);
    assert!(daemon.stop().success());
    assert!(damage(&daemon.data(), &large) > 0, "the content stands in the store's files");
    daemon.start().expect("it starts with a damaged blob");

    let client = to_daemon(&daemon);
    let again = memoize(&client);
    assert_ne!(again.status, CacheStatus::Hit);
    assert_eq!(again.store, CacheStatus::Populated, "{again:?}");
    let healed = memoize(&client);
    assert_eq!((healed.status, runs.get()), (CacheStatus::Hit, 2), "{healed:?}");
}
