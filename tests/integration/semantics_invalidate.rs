//! Semantics 24: forgetting entries, by every selector, with a count that is true.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, call};
use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{Filter, Key, MissReason, PutOutcome, Request, Response, Scope, Selector};

/// Tasks `a` and `b` in two domains, each in two cache versions: eight entries.
fn calls() -> Vec<CallBuilder> {
    let mut calls = Vec::new();
    for domain in ["development", "production"] {
        for task in ["a", "b"] {
            for version in ["1", "2"] {
                calls.push(call(task).scope("p", domain).version(version));
            }
        }
    }
    calls
}

fn filled() -> (Daemon, Raw) {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    for one in calls() {
        assert_eq!(raw.put(one.put(&[("o0", b"x")])), PutOutcome::Populated);
    }
    (daemon, raw)
}

/// Invalidates after a dry run; those for which `gone` says so miss from then on, no others.
#[track_caller]
fn check(filter: &Filter, gone: impl Fn(&CallBuilder) -> bool) {
    let (daemon, mut raw) = filled();
    let wanted = calls().iter().filter(|one| gone(one)).count() as u64;
    let selector = || Selector::Matching(filter.clone());
    assert_eq!(raw.invalidate(selector(), true), wanted, "the dry run counts");
    assert!(calls().iter().all(|one| raw.lookup(one).is_ok()), "the dry run only counts");
    assert_eq!(raw.invalidate(selector(), false), wanted);
    let mut elsewhere = daemon.connect();
    for one in calls() {
        match elsewhere.lookup(&one) {
            Ok(_) => assert!(!gone(&one), "{:?} is still there", one.0),
            Err(miss) => {
                assert!(gone(&one), "{:?} was not meant", one.0);
                assert_eq!(miss.reason, MissReason::Invalidated);
                assert_eq!(miss.by_uid, Some(nix::unistd::getuid().as_raw()));
            }
        }
    }
    assert_eq!(raw.invalidate(selector(), false), 0, "nothing is left to match");
    assert_eq!(raw.stats().entries, 8 - wanted);
}

#[test]
fn s24_invalidate_by_task() {
    check(&Filter { task: Some("a".to_owned()), ..Filter::default() }, |one| one.0.task == "a");
}

#[test]
fn s24_invalidate_by_task_in_a_scope() {
    let scope = Scope::new("p", "production");
    let filter =
        Filter { scope: Some(scope.clone()), task: Some("b".to_owned()), ..Filter::default() };
    check(&filter, |one| one.0.scope == scope && one.0.task == "b");
}

#[test]
fn s24_invalidate_by_task_and_cache_version() {
    let (task, cache_version) = (Some("a".to_owned()), Some("2".to_owned()));
    check(&Filter { task, cache_version, ..Filter::default() }, |one| {
        one.0.task == "a" && one.0.cache_version == "2"
    });
}

#[test]
fn s24_invalidate_by_scope() {
    let scope = Scope::new("p", "development");
    check(&Filter { scope: Some(scope.clone()), ..Filter::default() }, |one| one.0.scope == scope);
}

#[test]
fn s24_invalidate_by_writer() {
    let own = nix::unistd::getuid().as_raw();
    check(&Filter { writer_uid: Some(own), ..Filter::default() }, |_| true);
    check(&Filter { writer_uid: Some(own + 1), ..Filter::default() }, |_| false);
}

#[test]
fn s24_invalidate_by_age() {
    let (_daemon, mut raw) = filled();
    let older = |older_than_ms| {
        Selector::Matching(Filter { older_than_ms: Some(older_than_ms), ..Filter::default() })
    };
    assert_eq!(raw.invalidate(older(3_600_000), false), 0);
    while calls().iter().any(|one| raw.lookup(one).expect("stored").0.age_ms <= 1) {}
    assert_eq!(raw.invalidate(older(1), true), 8);
    assert_eq!(raw.invalidate(older(1), false), 8);
    assert!(calls().iter().all(|one| raw.lookup(one).is_err()));
}

#[test]
fn s24_invalidate_everything_and_go_on() {
    check(&Filter::default(), |_| true);
    let (_daemon, mut raw) = filled();
    raw.invalidate(Selector::Matching(Filter::default()), false);
    let stats = raw.stats();
    assert_eq!((stats.entries, stats.blobs, stats.stored_bytes, stats.logical_bytes), (0, 0, 0, 0));
    for one in calls() {
        assert_eq!(raw.put(one.put(&[("o0", b"y")])), PutOutcome::Populated);
        assert_eq!(raw.lookup(&one).expect("stored anew").1, ["y"]);
    }
}

#[test]
fn s24_invalidate_by_key() {
    let (daemon, mut raw) = filled();
    let all = calls();
    let keys: Vec<Key> = all[..2].iter().map(|one| one.0.key().unwrap()).collect();
    let unknown = Key::from_bytes([7; 32]);
    let given = [keys.clone(), vec![unknown]].concat();
    assert_eq!(raw.invalidate(Selector::Keys(given.clone()), true), 2);
    assert!(raw.lookup(&all[0]).is_ok(), "the dry run only counts");
    assert_eq!(raw.invalidate(Selector::Keys(given.clone()), false), 2);
    assert_eq!(raw.invalidate(Selector::Keys(given), false), 0);
    assert_eq!(raw.invalidate(Selector::Keys(Vec::new()), false), 0);
    let mut elsewhere = daemon.connect();
    let hits = all.iter().filter(|one| elsewhere.lookup(one).is_ok()).count();
    assert_eq!(hits, 6);
}

#[test]
fn s24_a_key_given_twice_counts_once() {
    let (_daemon, mut raw) = filled();
    let key = calls()[0].0.key().unwrap();
    assert_eq!(raw.invalidate(Selector::Keys(vec![key, key]), true), 1);
    assert_eq!(raw.invalidate(Selector::Keys(vec![key, key]), false), 1);
}

#[test]
fn s24_all_conditions_that_are_given_must_be_met() {
    let own = nix::unistd::getuid().as_raw();
    let scope = Scope::new("p", "production");
    let all = Filter {
        scope: Some(scope.clone()),
        task: Some("b".to_owned()),
        cache_version: Some("2".to_owned()),
        writer_uid: Some(own),
        older_than_ms: None,
    };
    check(&all, |one| one.0.scope == scope && one.0.task == "b" && one.0.cache_version == "2");
    check(&Filter { older_than_ms: Some(3_600_000), ..all.clone() }, |_| false);
    check(&Filter { writer_uid: Some(own + 1), ..all.clone() }, |_| false);
    check(&Filter { task: Some("c".to_owned()), ..all.clone() }, |_| false);
    let by_version = Filter { cache_version: Some("1".to_owned()), ..Filter::default() };
    check(&by_version, |one| one.0.cache_version == "1");
    let in_scope = Filter { scope: Some(scope.clone()), ..by_version };
    check(&in_scope, |one| one.0.scope == scope && one.0.cache_version == "1");
    let by_writer =
        Filter { scope: Some(scope.clone()), writer_uid: Some(own), ..Filter::default() };
    check(&by_writer, |one| one.0.scope == scope);
}

#[test]
fn s24_unknown_names_match_nothing() {
    check(&Filter { task: Some("stranger".to_owned()), ..Filter::default() }, |_| false);
    let scope = Some(Scope::new("p", "staging"));
    check(&Filter { scope, ..Filter::default() }, |_| false);
}

/// What is told of the progress of an invalidation, and in the end of all of it.
fn progress(raw: &mut Raw, selector: Selector) -> Vec<u64> {
    raw.send(Request::Invalidate { selector, dry_run: false }, Bytes::new());
    let mut steps = Vec::new();
    loop {
        match raw.read_reply().expect("a step or the end").response {
            Response::Progress { done } => steps.push(done),
            Response::Invalidated { matched } => {
                steps.push(matched);
                return steps;
            }
            other => panic!("neither a step nor the end: {other:?}"),
        }
    }
}

#[test]
fn s24_many_entries_are_forgotten_step_by_step() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let many = 3 * u64::from(LIST_ROWS_MAX) + 100;
    let numbered = |number: u64| call("many").version(&number.to_string());
    let mut sent = 0;
    let mut answered = 0;
    while answered < many {
        while sent < many && sent - answered < 32 {
            let (put, payload) = numbered(sent).put(&[("o0", b"x")]);
            raw.send(Request::Put(Box::new(put)), payload);
            sent += 1;
        }
        let reply = raw.read_reply().expect("a reply");
        assert!(
            matches!(reply.response, Response::Put(PutOutcome::Populated)),
            "{:?}",
            reply.response
        );
        answered += 1;
    }
    raw.put(call("other").put(&[("o0", b"x")]));
    assert_eq!(raw.list().len() as u64, many + 1);
    let task = Filter { task: Some("many".to_owned()), ..Filter::default() };
    assert_eq!(raw.invalidate(Selector::Matching(task.clone()), true), many);
    let steps = progress(&mut raw, Selector::Matching(task));
    assert!(steps.len() >= 3 && steps.is_sorted(), "{steps:?}");
    assert!(steps.iter().all(|done| *done <= many), "{steps:?}");
    assert_eq!(raw.stats().entries, 1);
    let miss = raw.lookup(&numbered(many - 1)).expect_err("the last is gone too");
    assert_eq!(miss.reason, MissReason::Invalidated);
}
