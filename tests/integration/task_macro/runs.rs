//! Semantics 15 to 20, 23, 24, 35 and 36 through the macro.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{Daemon, run};
use memod_client as memod;
use memod_client::{CacheStatus, LookupOptions, MissReason, Mode, RunClaim, Selector, TaskOptions};

use super::{DISABLED, HIT, MADE, statuses, to};
use crate::client::to_daemon;

/// Doubles, and counts.
#[memod::task(cache_version = "1.0", project = "p", domain = "d")]
fn double(n: i64, runs: &Counter) -> i64 {
    runs.0.fetch_add(1, Ordering::SeqCst);
    n * 2
}

/// A counter is no part of a call: all are one to memod.
#[derive(Default)]
struct Counter(AtomicU32);

impl Counter {
    fn runs(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl memod::Typed for Counter {
    fn literal_type() -> Result<memod::LiteralType, memod::InvalidArgument> {
        Ok(memod::LiteralType::None)
    }
}

impl memod::ToLiteral for Counter {
    fn to_literal(&self) -> Result<memod::Literal, memod::InvalidArgument> {
        Ok(memod::Literal::None)
    }
}

#[test]
fn s15_the_second_call_is_not_run_and_says_whose_work_it_is() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    let run = RunClaim {
        task_version: Some("abc123".to_owned()),
        execution: Some("e1".to_owned()),
        node: Some("n0".to_owned()),
        attempt: Some(2),
        ..RunClaim::default()
    };
    let made = double::memoize(&to(&daemon).run(run), 21, &runs);
    assert_eq!(statuses(&made), MADE);
    let hit = double::memoize(&to(&daemon), 21, &runs).unwrap();
    assert_eq!((hit.outputs, hit.status, runs.runs()), (42, CacheStatus::Hit, 1));
    assert_eq!(hit.key, double::describe(21, &runs).unwrap().key().ok());
    let provenance = hit.provenance.unwrap();
    assert_eq!(provenance.writer_pid, Some(std::process::id()));
    assert_eq!(provenance.run.task_version.as_deref(), Some("abc123"));
    assert_eq!(provenance.run.execution.as_deref(), Some("e1"));
    assert_eq!((provenance.run.node.as_deref(), provenance.run.attempt), (Some("n0"), Some(2)));
    assert_eq!(double::with(&to(&daemon), 21, &runs), 42);
    assert_eq!(double::with(&to(&daemon), 22, &runs), 44, "another input");
    assert_eq!(runs.runs(), 2);
}

#[test]
fn s07_s18_versions_and_overwriting() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    let version = |version: &str| to(&daemon).cache_version(version);
    for (options, runs_wanted) in [
        (version("1.0"), 1),
        (version("1.1"), 2),
        (version(" 1.0 "), 2),
        (version("1.0").mode(Mode::Overwrite), 3),
        (version("1.0"), 3),
        (to(&daemon).project("other"), 4),
        (to(&daemon).domain("other"), 5),
        (to(&daemon), 5),
    ] {
        assert_eq!(double::with(&options, 1, &runs), 2);
        assert_eq!(runs.runs(), runs_wanted, "{options:?}");
    }
    let overwritten = double::memoize(&version("1.0").mode(Mode::Overwrite), 1, &runs);
    assert_eq!(statuses(&overwritten), (CacheStatus::Skipped, CacheStatus::Populated));
}

#[memod::task(cache_version = "1", max_age = AGE, name = "aging")]
fn aging(runs: &Counter) -> u32 {
    runs.0.fetch_add(1, Ordering::SeqCst)
}

const AGE: Duration = Duration::from_nanos(1);

#[test]
fn s19_what_is_too_old_is_computed_again_and_replaced() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    let forever = to(&daemon).max_age(Duration::ZERO);
    assert_eq!(statuses(&aging::memoize(&forever, &runs)), MADE);
    assert_eq!(statuses(&aging::memoize(&forever, &runs)), HIT);
    // Ages are whole milliseconds on the wire, so the entry is too old as soon as one has passed.
    let mut again = None;
    harness::eventually("the entry is a millisecond old", || {
        let made = aging::memoize(&to(&daemon), &runs).unwrap();
        let expired = made.miss.as_ref().is_some_and(|miss| miss.reason == MissReason::Expired);
        again = Some(made);
        expired
    });
    assert_eq!(again.unwrap().put, Some(memod::PutOutcome::Populated));
    assert_eq!(aging::memoize(&forever, &runs).unwrap().outputs, 1, "the entry was replaced");
}

#[derive(Debug, PartialEq)]
struct Broken(&'static str);

#[memod::task(cache_version = "1", name = "failing")]
fn failing(n: i64, runs: &Counter) -> Result<String, Broken> {
    runs.0.fetch_add(1, Ordering::SeqCst);
    if n < 0 {
        return Err(Broken("negative"));
    }
    let text = u32::try_from(n).map_err(|_| Broken("large"))?;
    Ok(text.to_string())
}

#[test]
fn s18_s20_an_error_is_passed_on_and_never_stored() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    for (n, wanted) in [(-1, "negative"), (-1, "negative"), (i64::MAX, "large")] {
        assert_eq!(failing::with(&to(&daemon), n, &runs), Err(Broken(wanted)));
    }
    assert_eq!(runs.runs(), 3);
    assert_eq!(to_daemon(&daemon).stats().unwrap().whole.unwrap().entries, 0);
    assert_eq!(failing::with(&to(&daemon), 1, &runs), Ok("1".to_owned()));
    let overwrite = to(&daemon).mode(Mode::Overwrite);
    assert_eq!(failing::with(&overwrite, -1, &runs), Err(Broken("negative")));
    assert_eq!(
        statuses(&failing::memoize(&to(&daemon), 1, &runs)),
        HIT,
        "the entry is still there"
    );
}

#[memod::task(cache_version = "1", name = "silent")]
fn silent(runs: &Counter) {
    runs.0.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn s16_a_task_without_outputs_is_spared_too() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    silent::with(&to(&daemon), &runs);
    silent::with(&to(&daemon), &runs);
    assert_eq!(runs.runs(), 1);
}

#[memod::task(cache_version = "1", enabled = false, name = "off")]
fn off(runs: &Counter) -> u32 {
    runs.0.fetch_add(1, Ordering::SeqCst)
}

#[memod::task(cache_version = "1", read_only, name = "reading")]
fn reading(runs: &Counter) -> u32 {
    runs.0.fetch_add(1, Ordering::SeqCst)
}

fn refresh() -> bool {
    true
}

#[memod::task(cache_version = "1", overwrite = refresh(), name = "anew")]
fn anew(runs: &Counter) -> u32 {
    runs.0.fetch_add(1, Ordering::SeqCst)
}

#[test]
fn s23_modes_of_tasks_calls_and_clients() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    let plain = to(&daemon);
    assert_eq!(statuses(&off::memoize(&plain, &runs)), DISABLED);
    assert_eq!(statuses(&off::memoize(&plain.clone().mode(Mode::Enabled), &runs)), MADE);
    assert_eq!(statuses(&off::memoize(&plain, &runs)), DISABLED, "it does not read either");
    let not_stored = (CacheStatus::Miss, CacheStatus::Disabled);
    assert_eq!(statuses(&reading::memoize(&plain, &runs)), not_stored);
    assert_eq!(statuses(&reading::memoize(&plain.clone().mode(Mode::Enabled), &runs)), MADE);
    assert_eq!(statuses(&reading::memoize(&plain, &runs)), HIT);
    for _ in 0..2 {
        let made = anew::memoize(&plain, &runs);
        assert_eq!(statuses(&made), (CacheStatus::Skipped, CacheStatus::Populated));
    }
    let client = memod::Client::builder().socket(daemon.socket()).mode(Mode::Disabled).build();
    let disabled = TaskOptions::new().client(client);
    for made in [anew::memoize(&disabled, &runs), reading::memoize(&disabled, &runs)] {
        assert_eq!(statuses(&made), DISABLED, "a task does not turn on what its client turns off");
    }
}

#[test]
fn s24_s35_the_call_can_be_asked_about_and_forgotten() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    let client = to_daemon(&daemon);
    double::with(&to(&daemon), 1, &runs);
    let why = client.why(&double::describe(2, &runs).unwrap(), &LookupOptions::default(), 1);
    let nearest = why.unwrap().nearest;
    let differs: Vec<_> = nearest[0].differs.iter().map(|of| of.name.as_deref()).collect();
    assert_eq!(differs, [Some("n")]);
    let key = double::describe(1, &runs).unwrap().key().unwrap();
    let forgotten = client.invalidate(&Selector::Keys(vec![key]), false, &mut |_| {});
    assert_eq!(forgotten.unwrap(), 1);
    let again = double::memoize(&to(&daemon), 1, &runs).unwrap();
    assert_eq!(again.miss.map(|miss| miss.reason), Some(MissReason::Invalidated));
}

#[test]
fn s36_the_time_of_the_spared_run_is_saved() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    let hour = RunClaim { compute_ns: Some(3_600_000_000_000), ..RunClaim::default() };
    double::with(&to(&daemon).run(hour), 1, &runs);
    let hit = double::memoize(&to(&daemon), 1, &runs).unwrap();
    assert!(hit.saved().unwrap() > Duration::from_secs(3500));
    let stats = to_daemon(&daemon).stats().unwrap();
    assert!(stats.time_saved_ns > 3_500_000_000_000, "{stats:?}");
}

#[memod::task(cache_version = "1", project = "p", domain = "d", name = "shared")]
fn shared(text: &str) -> (String, Vec<i64>) {
    (text.to_uppercase(), vec![1, 2, 3])
}

/// What the macro stores `memo` reads, and the other way round.
#[test]
fn s03_results_are_shared_with_memo() {
    let daemon = Daemon::new();
    shared::with(&to(&daemon), "mine");
    let memo = |arguments: &[&str]| {
        let mut memo = daemon.memo();
        memo.args(["--project", "p", "--domain", "d", "--format", "json"]);
        run(memo.args(arguments))
    };
    let call = |input| ["--task", "shared", "--cache-version", "1", "--input", input];
    let outputs = ["--output", "o0:string", "--output", "o1:list<integer>"];
    let arguments = [&["lookup"], &call("text:string=mine")[..], &outputs].concat();
    let hit = memo(&arguments).json();
    assert_eq!((&hit["status"], &hit["outputs"]["o0"]["value"]), (&"HIT".into(), &"MINE".into()));
    assert_eq!(hit["outputs"]["o1"]["value"], serde_json::json!([1, 2, 3]));
    let outputs = ["--output", "o0:string=by hand", "--output", "o1:list<integer>=[4]"];
    let arguments = [&["put"], &call("text:string=theirs")[..], &outputs].concat();
    assert_eq!(memo(&arguments).code, Some(0));
    assert_eq!(shared::with(&to(&daemon), "theirs"), ("by hand".to_owned(), vec![4]));
}

/// A hit that costs no question is reported like any other, and no option is forgotten for it.
#[test]
fn s23_hits_in_shared_memory_are_as_all_others() {
    let (daemon, runs) = (Daemon::new(), Counter::default());
    let client = to_daemon(&daemon);
    let options = TaskOptions::new().client(client.clone());
    let asked = double::memoize(&options, 21, &runs);
    assert_eq!(statuses(&asked), MADE);
    let asked = double::memoize(&options, 21, &runs).unwrap();
    while client.board_hits() == 0 {
        assert_eq!(double::with(&options, 21, &runs), 42);
    }
    let before = client.board_hits();
    let hit = double::memoize(&options, 21, &runs).unwrap();
    assert_eq!(client.board_hits(), before + 1);
    assert_eq!((hit.outputs, hit.status, hit.store), (42, asked.status, asked.store));
    assert_eq!((hit.reservation, hit.key), (asked.reservation, asked.key));
    assert_eq!((hit.compute_time, hit.provenance), (asked.compute_time, asked.provenance));
    assert!(hit.age >= asked.age && hit.lookup_error.is_none());
    assert_eq!(runs.runs(), 1);
    for other in [
        options.clone().project("q"),
        options.clone().cache_version("2.0"),
        options.clone().mode(Mode::Overwrite),
    ] {
        assert_ne!(double::memoize(&other, 21, &runs).unwrap().status, CacheStatus::Hit);
    }
    assert_eq!(
        statuses(&double::memoize(&options.clone().mode(Mode::Disabled), 21, &runs)),
        DISABLED
    );
    assert_eq!(runs.runs(), 5);
    let key = hit.key.unwrap();
    assert_eq!(client.invalidate(&Selector::Keys(vec![key]), false, &mut |_| {}).unwrap(), 1);
    let gone = double::memoize(&options, 21, &runs).unwrap();
    assert_eq!(gone.miss.unwrap().reason, MissReason::Invalidated);
}
