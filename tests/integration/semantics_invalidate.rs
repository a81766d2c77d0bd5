//! Semantics 24: forgetting entries, by every selector, with a count that is true.

use harness::{CallBuilder, Daemon, Raw, call};
use memod_protocol::limits::LIST_ROWS_MAX;
use memod_protocol::{Filter, Key, MissReason, PutOutcome, Scope, Selector};

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
fn s24_unknown_names_match_nothing() {
    check(&Filter { task: Some("stranger".to_owned()), ..Filter::default() }, |_| false);
    let scope = Some(Scope::new("p", "staging"));
    check(&Filter { scope, ..Filter::default() }, |_| false);
}

#[test]
fn s24_many_entries_are_forgotten_step_by_step() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let many = u64::from(LIST_ROWS_MAX) + 100;
    let numbered = |number: u64| call("many").version(&number.to_string());
    let mut sent = 0;
    let mut answered = 0;
    while answered < many {
        while sent < many && sent - answered < 32 {
            let (put, payload) = numbered(sent).put(&[("o0", b"x")]);
            raw.send(memod_protocol::Request::Put(Box::new(put)), payload);
            sent += 1;
        }
        let reply = raw.read_reply().expect("a reply");
        assert!(
            matches!(reply.response, memod_protocol::Response::Put(PutOutcome::Populated)),
            "{:?}",
            reply.response
        );
        answered += 1;
    }
    raw.put(call("other").put(&[("o0", b"x")]));
    assert_eq!(raw.list().len() as u64, many + 1);
    let task = Filter { task: Some("many".to_owned()), ..Filter::default() };
    assert_eq!(raw.invalidate(Selector::Matching(task.clone()), true), many);
    assert_eq!(raw.invalidate(Selector::Matching(task), false), many);
    assert_eq!(raw.stats().entries, 1);
    let miss = raw.lookup(&numbered(many - 1)).expect_err("the last is gone too");
    assert_eq!(miss.reason, MissReason::Invalidated);
}
