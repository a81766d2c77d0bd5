//! Semantics 14 and 35: why a call misses, and what the nearest entries differ in.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, call, eventually};
use memod_protocol::limits::NEAREST_MAX;
use memod_protocol::{
    Difference, ErrorCode, Explanation, InterfaceText, Literal, Lookup, MissReason, Nearest,
    PutOutcome, Request, Selector, Why,
};
use serde_json::json;

use crate::memo::{ends, json_of};
use crate::semantics_lookup::{damage, noise};

fn base() -> CallBuilder {
    call("train").input("n", "integer", Literal::Integer(1)).version("1.0")
}

#[track_caller]
fn store(raw: &mut Raw, one: &CallBuilder) {
    let outputs: Vec<_> = one.0.interface.outputs.keys().map(String::as_str).collect();
    let outputs: Vec<_> = outputs.iter().map(|name| (*name, &b"x"[..])).collect();
    assert_eq!(raw.put(one.put(&outputs)), PutOutcome::Populated);
}

/// What, name, here, stored; `-` for what is absent.
type Row = (&'static str, String, String, String);

fn rows(of: &[Difference]) -> Vec<Row> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    of.iter().map(|of| (of.what.name(), text(&of.name), text(&of.here), text(&of.stored))).collect()
}

fn row(what: &'static str, name: &str, here: &str, stored: &str) -> Row {
    (what, name.to_owned(), here.to_owned(), stored.to_owned())
}

/// The row of an input that differs, with the digests that stand in the keys.
fn input(name: &str, here: &CallBuilder, stored: &CallBuilder) -> Row {
    let digest = |of: &CallBuilder| {
        let inputs = of.identity().inputs;
        let found = inputs.into_iter().find(|(other, _)| other == name);
        found.map_or_else(|| "-".to_owned(), |(_, digest)| digest.to_string())
    };
    row("input", name, &digest(here), &digest(stored))
}

/// With a base entry alone in the store, a changed call differs from it in exactly these.
#[track_caller]
fn differs(changed: &CallBuilder, wanted: &[Row]) {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    store(&mut raw, &base());
    let Explanation { key, miss, nearest } = raw.explain(changed.why());
    assert_eq!(key, changed.0.key().unwrap());
    assert_eq!(miss.map(|miss| miss.reason), Some(MissReason::NeverSeen));
    assert_eq!(nearest.len(), 1, "{nearest:?}");
    assert_eq!(nearest[0].key, base().0.key().unwrap());
    let (stored, _) = raw.lookup(&base()).expect("stored");
    assert_eq!(nearest[0].created_at_ms, stored.provenance.created_at_ms);
    assert_eq!(rows(&nearest[0].differs), wanted);
}

#[test]
fn s35_an_input_that_differs_is_named() {
    let n = |value| base().input("n", "integer", Literal::Integer(value));
    differs(&n(2), &[input("n", &n(2), &base())]);
    let text = |of: CallBuilder, value: &str| {
        of.input("original", "string", Literal::String(value.to_owned()))
    };
    let other = text(base(), "other");
    differs(&other, &[input("original", &other, &base())]);
    let both = text(n(3), "other");
    differs(&both, &[input("n", &both, &base()), input("original", &both, &base())]);
    let ignored = base().ignore("n");
    assert_eq!(input("n", &ignored, &base()).2, "-", "it does not count");
    differs(&ignored, &[input("n", &ignored, &base())]);
}

#[test]
fn s35_version_and_scope_are_named() {
    differs(&base().version("1.1"), &[row("cache_version", "-", "1.1", "1.0")]);
    let stored = "flytesnacks/development";
    let scope = |project, domain| base().scope(project, domain);
    let named = |here| [row("scope", "-", here, stored)];
    differs(&scope("other", "development"), &named("other/development"));
    differs(&scope("flytesnacks", "production"), &named("flytesnacks/production"));
    differs(&scope("a", "b"), &named("a/b"));
}

#[test]
fn s35_each_change_of_the_signature_is_named() {
    let without_output = || {
        let mut changed = base();
        changed.0.interface.outputs.clear();
        changed
    };
    let without_input = || {
        let mut changed = base();
        changed.0.interface.inputs.remove("n");
        changed.0.inputs.remove("n");
        changed
    };
    let signature = |name, here, stored| row("signature", name, here, stored);
    differs(&base().output("o1", "bytes"), &[signature("output `o1`", "bytes", "-")]);
    differs(&without_output(), &[signature("output `o0`", "-", "string")]);
    differs(&base().output("o0", "integer"), &[signature("output `o0`", "integer", "string")]);
    differs(
        &without_output().output("renamed", "string"),
        &[signature("output `o0`", "-", "string"), signature("output `renamed`", "string", "-")],
    );
    differs(&base().declare("m", "float"), &[signature("input `m`", "float", "-")]);
    let added = base().input("m", "float", Literal::Float(1.0));
    differs(&added, &[signature("input `m`", "float", "-")]);
    differs(&without_input(), &[signature("input `n`", "-", "integer")]);
    differs(
        &without_input().input("renamed", "integer", Literal::Integer(1)),
        &[signature("input `n`", "-", "integer"), signature("input `renamed`", "integer", "-")],
    );
    let retyped = base().input("n", "string", Literal::String("1".to_owned()));
    differs(&retyped, &[signature("input `n`", "string", "integer")]);
    let and_ignored = retyped.ignore("n");
    differs(
        &and_ignored,
        &[signature("input `n`", "string", "integer"), input("n", &and_ignored, &base())],
    );
}

#[test]
fn s35_all_that_differs_is_named_together() {
    let two = base().version("2").input("n", "integer", Literal::Integer(7));
    differs(&two, &[row("cache_version", "-", "2", "1.0"), input("n", &two, &base())]);
    let all = base()
        .scope("p", "d")
        .version("3")
        .output("o1", "none")
        .declare("m", "boolean")
        .input("n", "integer", Literal::Integer(8))
        .input("original", "string", Literal::String("all".to_owned()));
    differs(
        &all,
        &[
            row("scope", "-", "p/d", "flytesnacks/development"),
            row("cache_version", "-", "3", "1.0"),
            row("signature", "input `m`", "boolean", "-"),
            row("signature", "output `o1`", "none", "-"),
            input("n", &all, &base()),
            input("original", &all, &base()),
        ],
    );
}

#[test]
fn s35_the_nearest_come_first_and_of_these_the_newest() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let n = |value| base().input("n", "integer", Literal::Integer(value));
    let far = n(1).version("0.9").scope("p", "d");
    let nearer = [n(1).version("0.9"), n(2), n(3)];
    for one in nearer.iter().chain([&far]) {
        store(&mut raw, one);
        eventually("the next is newer", || raw.lookup(one).is_ok_and(|(hit, _)| hit.age_ms > 1));
    }
    store(&mut raw, &CallBuilder(call("other task").0));
    let keys = |nearest: &[Nearest]| nearest.iter().map(|of| of.key).collect::<Vec<_>>();
    let key = |one: &CallBuilder| one.0.key().unwrap();
    let asked = n(1);
    let wanted = [&nearer[2], &nearer[1], &nearer[0], &far].map(key);
    assert_eq!(keys(&raw.explain(asked.why()).nearest), wanted);
    for limit in [0, 1, 2] {
        let nearest = raw.explain(Why { nearest_max: limit, ..asked.why() }).nearest;
        assert_eq!(keys(&nearest), wanted[..limit as usize], "{limit}");
    }
    let all = raw.explain(Why { nearest_max: u32::MAX, ..asked.why() }).nearest;
    assert_eq!(keys(&all), wanted);
    // What is gone is not told of any more.
    raw.invalidate(Selector::Keys(vec![key(&nearer[2])]), false);
    assert_eq!(keys(&raw.explain(asked.why()).nearest), wanted[1..]);
    let gone = raw.explain(nearer[2].why());
    assert_eq!(gone.miss.map(|miss| miss.reason), Some(MissReason::Invalidated));
    assert_eq!(keys(&gone.nearest)[0], key(&nearer[1]));
    assert_eq!(raw.explain(call("stranger").why()).nearest, []);
}

#[test]
fn s35_among_many_entries_the_answer_is_bounded_and_the_nearest_is_in_it() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let n = |value| base().input("n", "integer", Literal::Integer(value));
    for value in 0..300 {
        store(&mut raw, &n(value).input("original", "string", Literal::String(value.to_string())));
    }
    let near = n(-1).input("original", "string", Literal::String("150".to_owned()));
    let nearest = raw.explain(Why { nearest_max: u32::MAX, ..near.why() }).nearest;
    assert!(nearest.len() <= NEAREST_MAX as usize, "{}", nearest.len());
    let stored = n(150).input("original", "string", Literal::String("150".to_owned()));
    assert_eq!(nearest[0].key, stored.0.key().unwrap());
    assert_eq!(rows(&nearest[0].differs), [input("n", &near, &stored)]);
    assert!(nearest[1..].iter().all(|of| of.differs.len() == 2), "{nearest:?}");
}

#[test]
fn s14_s35_reasons_with_time_and_user_survive_a_restart() {
    let mut daemon = Daemon::new();
    let mut raw = daemon.connect();
    let (gone, old, there) = (call("gone"), call("old"), call("there"));
    for one in [&gone, &old, &there] {
        store(&mut raw, one);
    }
    let created = raw.lookup(&old).expect("stored").0.provenance.created_at_ms;
    eventually("it is old", || raw.lookup(&old).is_ok_and(|(hit, _)| hit.age_ms > 1));
    assert_eq!(raw.invalidate(Selector::Keys(vec![gone.0.key().unwrap()]), false), 1);
    let counted = |raw: &mut Raw| {
        let stats = raw.stats();
        (stats.hits, stats.misses)
    };
    let before = counted(&mut raw);
    let aged = || {
        let lookup = Lookup { call: old.identity(), max_age_ms: Some(1) };
        Why { lookup, ..old.why() }
    };
    let check = |raw: &mut Raw| {
        let miss = raw.explain(gone.why()).miss.expect("it was invalidated");
        assert_eq!(miss.reason, MissReason::Invalidated);
        assert_eq!(miss.by_uid, Some(nix::unistd::getuid().as_raw()));
        let expired = raw.explain(aged()).miss.expect("it is too old");
        assert_eq!((expired.reason, expired.at_ms), (MissReason::Expired, Some(created + 1)));
        let hit = raw.explain(there.why());
        assert_eq!((hit.miss, hit.nearest), (None, vec![]), "there is nothing to explain");
        assert_eq!(raw.explain(old.why()).miss, None, "nobody said that it was too old");
        miss.at_ms.expect("it is known when")
    };
    let at = check(&mut raw);
    assert_eq!(counted(&mut raw), before, "an explanation is no lookup");
    daemon.kill();
    daemon.start().expect("it starts again");
    assert_eq!(check(&mut daemon.connect()), at);
}

#[test]
fn s14_s35_what_was_damaged_is_told_so() {
    let mut daemon = Daemon::new();
    let mut raw = daemon.connect();
    let (bad, content) = (call("damaged").output("o0", "bytes"), noise(5, 300 << 10));
    raw.put(bad.put(&[("o0", &content)]));
    assert!(daemon.stop().success());
    assert!(damage(&daemon.data(), &content) > 0);
    daemon.start().expect("it starts with a damaged blob");
    let mut raw = daemon.connect();
    for _ in 0..2 {
        let miss = raw.explain(bad.why()).miss.expect("it cannot be served");
        assert_eq!(miss.reason, MissReason::Corrupt);
    }
    assert_eq!(raw.lookup(&bad).expect_err("as it was explained").reason, MissReason::Corrupt);
}

/// The beginning of an error, and what is done to a good question to get it.
type Mistake = (&'static str, fn(&mut Why));

#[test]
fn s21_s35_what_is_no_call_is_an_error_that_names_it() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let mistakes: [Mistake; 5] = [
        ("cache_version: must not be blank", |why| why.lookup.call.cache_version = " ".to_owned()),
        ("task: must not be empty", |why| why.lookup.call.task.clear()),
        ("signature", |why| why.interface = InterfaceText::default()),
        ("input `n`, type", |why| why.interface.inputs[0].1 = "list<".to_owned()),
        ("input `n`: is declared twice", |why| {
            let twice = why.interface.inputs[0].clone();
            why.interface.inputs.push(twice);
        }),
    ];
    for (message, mistake) in mistakes {
        let mut why = base().why();
        mistake(&mut why);
        let error = raw.ask_error(Request::Why(Box::new(why)), Bytes::new());
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{message}: {error}");
        assert!(error.message.starts_with(message), "{message}: {error}");
    }
    assert!(raw.ping());
}

/// `memo why` of a task with an input `n` and more.
fn why<'a>(n: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["why", "--task", "square", "--input", n][..], rest].concat()
}

#[test]
fn s35_memo_why_says_it_in_words_and_in_json() {
    let daemon = Daemon::new();
    let put = ["--cache-version", "1.0", "--output", "o0:integer=144"];
    let put = [&["put", "--task", "square", "--input", "n=12"][..], &put].concat();
    let key = json_of(&daemon, 0, &put)["key"].as_str().unwrap().to_owned();
    for (n, version, output, sentence, differs) in [
        ("n=13", "1.0", "o0:integer", "input `n` differs", json!(["input", "n"])),
        (
            "n=12",
            "1.1",
            "o0:integer",
            "cache version 1.1, stored under 1.0",
            json!(["cache_version", null]),
        ),
        (
            "n=12",
            "1.0",
            "o0:string",
            "output `o0` was integer, is string",
            json!(["signature", "output `o0`"]),
        ),
    ] {
        let flags = why(n, &["--cache-version", version, "--output", output]);
        let told = ends(&daemon, 1, &flags);
        assert!(told.text().contains(sentence), "{sentence}: {}", told.text());
        let told = json_of(&daemon, 1, &flags);
        assert_eq!((&told["status"], &told["reason"]), (&json!("MISS"), &json!("never_seen")));
        let first = &told["nearest"][0];
        assert_eq!(first["key"], json!(key));
        assert_eq!(json!([first["differs"][0]["what"], first["differs"][0]["name"]]), differs);
        assert_eq!(first["differs"].as_array().map(Vec::len), Some(1), "{told}");
    }
    let same = why("n=12", &["--cache-version", "1.0", "--output", "o0:integer"]);
    assert_eq!(json_of(&daemon, 0, &same)["status"], json!("HIT"));
    let elsewhere = [&["--domain", "production"][..], &same].concat();
    let told = ends(&daemon, 1, &elsewhere);
    assert!(
        told.text().contains("default/production, stored under default/development"),
        "{}",
        told.text()
    );
    ends(&daemon, 0, &["rm", &key]);
    let told = json_of(&daemon, 1, &same);
    let own = nix::unistd::getuid().as_raw();
    assert_eq!((&told["reason"], &told["by_uid"]), (&json!("invalidated"), &json!(own)));
    assert!(told["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{told}");
    let told = ends(&daemon, 1, &same);
    assert!(told.text().contains(&format!("ago by user {own}")), "{}", told.text());
}

#[test]
fn s14_s35_who_computes_it_now_is_told() {
    let daemon = Daemon::new();
    let (mut raw, one) = (daemon.connect(), base());
    let detail = |raw: &mut Raw| raw.explain(one.why()).miss.expect("a miss").detail;
    assert_eq!(detail(&mut raw), None);
    let mut owner = daemon.connect();
    owner.owns(one.claim());
    let told = detail(&mut raw).expect("somebody computes it");
    let pid = std::process::id();
    assert!(told.starts_with(&format!("pid {pid} (integration")), "{told}");
    assert!(told.contains(") is computing it now, for "), "{told}");
    assert!(owner.release(&one, None));
    assert_eq!(detail(&mut raw), None, "nobody does any more");
    let own = nix::unistd::getuid();
    assert!(raw.reserve(&one, harness::named("nightly", 60_000)).acquired);
    let text = format!("`nightly` of user {own} is computing it now, for ");
    assert!(detail(&mut raw).is_some_and(|told| told.starts_with(&text)));
    assert_eq!(raw.stats().misses, 1, "the claim's; to explain is not to look up");
    // It stands behind what is said of an entry, and not in the way of one that is there.
    store(&mut raw, &one);
    assert!(raw.reserve(&one, harness::named("nightly", 60_000)).acquired);
    assert_eq!(raw.explain(one.why()).miss, None);
    eventually("it is too old", || {
        let mut old = one.why();
        old.lookup.max_age_ms = Some(1);
        let told = raw.explain(old).miss.and_then(|miss| miss.detail);
        told.is_some_and(|told| told.contains(&format!("1 ms are allowed; {text}")))
    });
    let flags = ["why", "--task", "t", "--cache-version", "1", "--output", "o:string"];
    let take = ["--owner", "by hand", "--heartbeat", "1h"];
    ends(&daemon, 0, &[&["lease", "acquire"], &flags[1..], &take].concat());
    let told = ends(&daemon, 1, &flags);
    let why = format!("no run of this call is remembered: `by hand` of user {own} is computing it");
    assert!(told.text().contains(&why), "{told:?}");
}
