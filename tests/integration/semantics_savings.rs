//! Semantics 36: the time that hits have saved, by task, scope and user, and what of the counters
//! and of the entries a restart leaves.

use std::time::Instant;

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, call, eventually};
use memod_protocol::{
    LogQuery, MissReason, PutOutcome, Request, Response, Savings, Selector, Stats, wire,
};
use serde_json::json;

use crate::memo::json_of;

const SECOND: u64 = 1_000_000_000;

/// Stores a run that took so long.
fn store(raw: &mut Raw, one: &CallBuilder, compute_ns: Option<u64>) {
    let (mut put, payload) = one.put(&[("o0", b"x")]);
    put.run.compute_ns = compute_ns;
    assert_eq!(raw.put((put, payload)), PutOutcome::Populated);
}

/// Less than so many runs of a second each, by no more than the hits may have taken.
#[track_caller]
fn is_net(saved_ns: u64, seconds: u64) {
    let most = seconds * SECOND;
    assert!(saved_ns < most || seconds == 0, "the hits have cost something: {saved_ns}");
    assert!(saved_ns > most / 10 * 9 || seconds == 0, "most of it was saved: {saved_ns}");
}

/// Hits, misses and whole seconds saved of each task and each scope.
fn fill(raw: &mut Raw) -> (Stats, Savings) {
    let tasks = [
        (call("slow"), Some(100 * SECOND), 3),
        (call("slow").scope("p", "d"), Some(10 * SECOND), 2),
        (call("quick").scope("p", "d"), Some(1), 4),
        (call("untimed"), None, 1),
    ];
    for (one, compute_ns, hits) in &tasks {
        raw.lookup(one).expect_err("nothing is stored");
        store(raw, one, *compute_ns);
        for _ in 0..*hits {
            raw.lookup(one).expect("stored");
        }
    }
    (raw.stats(), raw.savings())
}

#[test]
fn s36_time_saved_is_net_and_told_by_task_scope_and_user() {
    let daemon = Daemon::new();
    let (stats, savings) = fill(&mut daemon.connect());
    is_net(stats.time_saved_ns, 320);
    assert_eq!((stats.hits, stats.misses), (10, 4));
    let task = |project: &str, name: &str| {
        let is = |of: &&memod_protocol::TaskStats| of.scope.project == project && of.task == name;
        stats.by_task.iter().find(is).unwrap_or_else(|| panic!("{project} {name}"))
    };
    is_net(task("flytesnacks", "slow").time_saved_ns, 300);
    is_net(task("p", "slow").time_saved_ns, 20);
    assert_eq!(task("p", "quick").time_saved_ns, 0, "its hits took longer than it does");
    assert_eq!(task("flytesnacks", "untimed").time_saved_ns, 0);
    assert_eq!((task("p", "quick").hits, task("p", "quick").misses), (4, 1));
    let tasks: Vec<_> = stats.by_task.iter().map(|of| of.time_saved_ns).collect();
    assert!(tasks.is_sorted_by(|left, right| left >= right), "the most first: {tasks:?}");

    let scopes: Vec<_> = savings
        .by_scope
        .iter()
        .map(|of| (of.scope.project.as_str(), of.scope.domain.as_str(), of.hits, of.misses))
        .collect();
    assert_eq!(scopes, [("flytesnacks", "development", 4, 2), ("p", "d", 6, 2)]);
    is_net(savings.by_scope[0].time_saved_ns, 300);
    is_net(savings.by_scope[1].time_saved_ns, 20);
    let users: Vec<_> = savings.by_uid.iter().map(|of| (of.uid, of.hits, of.misses)).collect();
    assert_eq!(users, [(nix::unistd::getuid().as_raw(), 10, 4)]);
    assert_eq!(savings.by_uid[0].time_saved_ns, stats.time_saved_ns);

    let told = json_of(&daemon, 0, &["stats"]);
    for (field, count) in [("by_task", 4), ("by_scope", 2), ("by_uid", 1)] {
        assert_eq!(told[field].as_array().map(Vec::len), Some(count), "{field}: {told}");
    }
    assert_eq!(told["by_scope"][1]["hits"], json!(6));
    let saved = told["by_uid"][0]["time_saved_seconds"].as_f64().unwrap();
    assert!((300.0..320.0).contains(&saved), "{told}");
}

#[test]
fn s36_what_is_no_lookup_of_a_run_saves_nothing() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let one = call("seen");
    store(&mut raw, &one, Some(100 * SECOND));
    let key = one.0.key().unwrap();
    raw.show(key).expect("stored");
    raw.list();
    raw.explain(one.why());
    let read = Request::Read { key, output: "o0".to_owned() };
    assert!(matches!(raw.ask(read, Bytes::new()).response, Response::Hit(_)));
    let stats = raw.stats();
    assert_eq!((stats.hits, stats.misses, stats.time_saved_ns), (0, 0, 0));
    assert_eq!(raw.savings(), Savings::default());
}

#[test]
fn s36_what_a_waiter_saves_is_net_of_its_wait() {
    let daemon = Daemon::new();
    let (mut owner, mut waiter, one) = (daemon.connect(), daemon.connect(), call("waited"));
    owner.owns(one.claim());
    let waiting = waiter.waits(one.claim());
    let begun = Instant::now();
    eventually("it has waited for some time", || begun.elapsed().as_millis() >= 200);
    let spent = u64::try_from(begun.elapsed().as_nanos()).unwrap();
    store(&mut owner, &one, Some(60 * SECOND));
    waiter.woken_by_hit(&waiting);
    let stats = owner.stats();
    assert_eq!((stats.hits, stats.misses), (1, 1), "the owner's is the only miss");
    let saved = stats.time_saved_ns;
    assert!(saved <= 60 * SECOND - spent, "{saved} after a wait of {spent}");
    assert!(saved > 50 * SECOND, "{saved}");
}

/// What must be as it was when the daemon was ended.
fn memory(raw: &mut Raw) -> (Stats, Savings, Vec<MissReason>) {
    let stats = raw.stats();
    let reasons = stats.misses_by_reason.iter().map(|(reason, _)| *reason).collect();
    // What is of this very moment is left out.
    (Stats { uptime_ns: 0, connections: 0, ..stats }, raw.savings(), reasons)
}

/// Bytes of the store's write-ahead log.
fn logged_bytes(daemon: &Daemon) -> u64 {
    let files = std::fs::read_dir(daemon.data().join("rocksdb")).unwrap();
    let logs = files
        .map(Result::unwrap)
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
    logs.map(|file| file.metadata().map_or(0, |data| data.len())).sum()
}

#[test]
fn s36_counters_provenance_and_reasons_survive_a_restart_and_a_crash() {
    let mut daemon = Daemon::new();
    let mut raw = daemon.connect();
    fill(&mut raw);
    let (there, gone) = (call("slow"), call("untimed"));
    raw.invalidate(Selector::Keys(vec![gone.0.key().unwrap()]), false);
    let invalidated = raw.lookup(&gone).expect_err("it is gone");
    let (hit, _) = raw.lookup(&there).expect("stored");
    let before = memory(&mut raw);
    assert_eq!(before.2, [MissReason::NeverSeen, MissReason::Invalidated]);
    assert!(daemon.stop().success());
    daemon.start().expect("it starts again");

    let mut raw = daemon.connect();
    assert_eq!(memory(&mut raw), before, "after an orderly end");
    assert_eq!(raw.lookup(&there).expect("still there").0.provenance, hit.provenance);
    // They may be written down at any moment: what is written from here on has all of it.
    let logged = logged_bytes(&daemon);
    assert_eq!(raw.lookup(&gone).expect_err("still gone"), invalidated);
    let before = memory(&mut raw);
    // Besides the counters only the one use of an entry is written, which is much shorter.
    let note = wire::encode(&(before.0.clone(), before.1.clone())).len() as u64;
    eventually("the counters are written down", || {
        raw.log(LogQuery { from: Some(1 << 40), wait_ms: 50, ..LogQuery::default() });
        logged_bytes(&daemon) > logged + note / 2
    });
    daemon.kill();
    daemon.start().expect("it starts again");
    let mut raw = daemon.connect();
    assert_eq!(memory(&mut raw), before, "after a crash");
    assert_eq!(raw.lookup(&there).expect("still there").0.provenance, hit.provenance);
    assert_eq!(raw.lookup(&gone).expect_err("still gone"), invalidated);
}
