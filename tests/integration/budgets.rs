//! A store that is full: what makes room, what is refused, and what is told of it.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Setup, call};
use memod_protocol::{
    BudgetOf, BudgetReport, ErrorCode, Literal, MissReason, PutOutcome, Request, Response, Scope,
    WireError,
};

use crate::memo::{ends, json_of};
use crate::semantics_lookup::noise;

fn small(rest: &str) -> Daemon {
    Setup::new().config(format!("store_bytes_max = 1000000\n{rest}")).start()
}

fn numbered(number: u64) -> CallBuilder {
    let number = Literal::String(number.to_string());
    call("full").bare().input("number", "string", number).output("o0", "bytes")
}

fn try_put(raw: &mut harness::Raw, number: u64, bytes: usize) -> Result<PutOutcome, WireError> {
    let content = noise(number, bytes);
    let (put, payload) = numbered(number).put(&[("o0", &content)]);
    match raw.ask(Request::Put(Box::new(put)), payload).response {
        Response::Put(outcome) => Ok(outcome),
        Response::Error(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn budgets(raw: &mut harness::Raw) -> BudgetReport {
    match raw.ask(Request::Budgets, Bytes::new()).response {
        Response::Budgets(report) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_store_makes_room_and_says_what_that_cost() {
    let mut daemon = small("eviction = \"lru\"");
    let mut raw = daemon.connect();
    for number in 0..100 {
        assert_eq!(try_put(&mut raw, number, 50_000), Ok(PutOutcome::Populated));
    }
    let stats = raw.stats();
    assert!(stats.evicted_entries >= 80, "{stats:?}");
    assert_eq!(stats.entries + stats.evicted_entries, 100);
    let before = budgets(&mut raw);
    assert_eq!(before.budgets.len(), 1, "{before:?}");
    assert_eq!(before.budgets[0].of, BudgetOf::Store);
    assert_eq!(before.budgets[0].limit_bytes, Some(1_000_000));
    assert!((700_000..=1_000_000).contains(&before.budgets[0].bytes), "{before:?}");
    assert_eq!((before.high_bytes, before.low_bytes), (Some(900_000), Some(800_000)));
    assert_eq!((before.policy.as_str(), before.regretted_entries), ("lru", 0));
    assert!(before.disk_used_bytes > 0 && before.disk_free_bytes > 0);
    for _ in 0..2 {
        let miss = raw.lookup(&numbered(0)).expect_err("it was evicted");
        assert_eq!(miss.reason, MissReason::Evicted);
        assert!(miss.at_ms.is_some() && miss.by_uid.is_none());
    }
    // Regret is counted by the writer: a put behind it shows that it has been.
    assert_eq!(try_put(&mut raw, 100, 10), Ok(PutOutcome::Populated));
    let after = budgets(&mut raw);
    assert_eq!((after.regretted_entries, after.regret_ns), (1, 2_000_000_000));
    assert!(raw.lookup(&numbered(99)).is_ok(), "what was put last is there");
    daemon.stop();
    daemon.start().unwrap();
    assert!(daemon.connect().stats().evicted_entries >= stats.evicted_entries);
}

/// Semantics 14 and 35.
#[test]
fn why_says_that_an_entry_was_evicted_and_when() {
    let daemon = small("eviction = \"lru\"");
    let mut raw = daemon.connect();
    for number in 0..40 {
        try_put(&mut raw, number, 50_000).unwrap();
    }
    let first = [
        "why",
        "--project",
        "flytesnacks",
        "--domain",
        "development",
        "--task",
        "full",
        "--cache-version",
        "1.0.0",
        "--input",
        "number:string=0",
        "--output",
        "o0:bytes",
    ];
    let told = json_of(&daemon, 1, &first);
    assert_eq!((&told["status"], &told["reason"]), (&"MISS".into(), &"evicted".into()), "{told}");
    assert!(told["at"].is_string() && told["nearest"][0]["differs"][0]["name"] == "number");
    let text = ends(&daemon, 1, &first);
    assert!(text.text().contains("s ago to make room"), "{text:?}");
}

#[test]
fn what_is_larger_than_the_budget_is_refused_at_once() {
    let daemon = small("");
    let mut raw = daemon.connect();
    try_put(&mut raw, 1, 1000).unwrap();
    let error = try_put(&mut raw, 2, 1_000_001).unwrap_err();
    assert_eq!(error.code, ErrorCode::OverBudget);
    assert!(error.message.contains("entries of up to 800000"), "{error}");
    assert!(error.hint.unwrap().contains("store_bytes_max"));
    let missing = raw.lookup(&numbered(2)).expect_err("nothing was stored");
    assert_eq!(missing.reason, MissReason::NeverSeen);
    assert!(raw.lookup(&numbered(1)).is_ok());
    let file = daemon.folder().join("large");
    std::fs::write(&file, noise(3, 5 << 20)).unwrap();
    let output = format!("o0:bytes=@{}", file.display());
    let put = ["put", "--task", "t", "--cache-version", "1", "--output", &output];
    let refused = ends(&daemon, 4, &put);
    assert!(refused.errors().contains("store_bytes_max"), "{refused:?}");
}

#[test]
fn a_scope_has_its_own_budget() {
    let daemon = small("scope_bytes = { flytesnacks = { development = 100000 } }");
    let mut raw = daemon.connect();
    for number in 0..10 {
        try_put(&mut raw, number, 30_000).unwrap();
    }
    let report = budgets(&mut raw);
    let scope = BudgetOf::Scope(Scope::new("flytesnacks", "development"));
    let row = report.budgets.iter().find(|row| row.of == scope).expect("a row");
    assert_eq!(row.limit_bytes, Some(100_000));
    assert!((30_000..=100_000).contains(&row.bytes), "{row:?}");
    let error = try_put(&mut raw, 20, 100_000).unwrap_err();
    assert_eq!(error.code, ErrorCode::OverBudget);
    assert!(error.message.contains("project flytesnacks, domain development"), "{error}");
}

#[test]
fn a_full_disk_takes_nothing_and_serves_on() {
    let mut roomy = small("");
    try_put(&mut roomy.connect(), 1, 1000).unwrap();
    roomy.stop();
    let mut full = Setup::new().config("disk_reserve_bytes = 1000000000000000").prepare();
    full.store_in(&roomy.data());
    full.start().unwrap();
    let mut raw = full.connect();
    let error = try_put(&mut raw, 2, 1000).unwrap_err();
    assert_eq!(error.code, ErrorCode::OverBudget);
    assert!(error.message.contains("1000000000000000 are kept in reserve"), "{error}");
    assert!(raw.lookup(&numbered(1)).is_ok());
}

#[test]
fn gc_evicts_to_the_low_mark_and_tells_what_it_gave_back() {
    let daemon = small("store_bytes_low = 100000");
    let mut raw = daemon.connect();
    for number in 0..16 {
        try_put(&mut raw, number, 50_000).unwrap();
    }
    let told = json_of(&daemon, 0, &["gc"]);
    assert!(told["evicted_entries"].as_u64().unwrap() >= 14, "{told}");
    let bytes = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name}: {told}"));
    assert!(bytes("disk_bytes_after") < bytes("disk_bytes_before"), "{told}");
    assert!(budgets(&mut raw).budgets[0].bytes <= 100_000);
}
