//! What tells of the daemon and its use: `Stats`, `Savings`, `Budgets`, `Metrics`, `Log`, `Status`,
//! `Ping`, `BoardHits`.

use bytes::Bytes;
use harness::{Raw, named, run};
use memod_protocol::{
    BoardHit, BoardHits, BudgetOf, BudgetReport, Filter, LogQuery, Outcome, Request, Response,
    Scope, Stats, Verb,
};

use super::{ALICE, BOB, GRANTS, House, STRANGER, Two, elsewhere, key};
use crate::grants::house::KEEPER;

/// Alice does something of each kind.
fn busy(two: &mut Two) {
    two.alice.lookup(&two.there).expect("it is hers");
    two.alice.lookup(&two.absent).expect_err("not stored");
    two.alice.owns(two.absent.claim());
    assert!(two.alice.release(&two.absent, None));
    assert!(two.alice.reserve(&two.absent, named("hers", 10_000)).acquired);
}

/// What is told holds neither her scope, nor her task, nor her name.
#[track_caller]
fn is_blind(told: &impl std::fmt::Debug) {
    let told = format!("{told:?}");
    for word in ["alpha", "there", "absent", "20001"] {
        assert!(!told.contains(word), "{word} is told: {told}");
    }
}

#[test]
fn stats_count_ones_own() {
    let Some(mut two) = Two::meet() else { return };
    busy(&mut two);
    for raw in [&mut two.bob, &mut two.stranger] {
        let Response::Stats(told) = raw.ask(Request::Stats, Bytes::new()).response else {
            panic!("counters were due")
        };
        is_blind(&told);
        let uptime_ns = told.uptime_ns;
        assert_eq!(*told, Stats { uptime_ns, ..Stats::default() });
    }
}

#[test]
fn savings_count_ones_own() {
    let Some(mut two) = Two::meet() else { return };
    busy(&mut two);
    for raw in [&mut two.bob, &mut two.stranger] {
        let told = raw.ask(Request::Savings, Bytes::new()).response;
        assert_eq!(told, Response::Savings(Box::default()));
    }
    two.bob.lookup(&elsewhere("his")).expect_err("not stored");
    let told = two.bob.savings();
    is_blind(&told);
    assert_eq!((told.by_scope.len(), told.by_uid.len()), (1, 1), "{told:?}");
}

#[test]
fn budgets_tell_of_ones_own() {
    let Some(mut two) = Two::meet() else { return };
    two.bob.put(elsewhere("his").put(&[("o0", b"x")]));
    let told = two.bob.ask(Request::Budgets, Bytes::new()).response;
    let Response::Budgets(told) = told else { panic!("{told:?}") };
    is_blind(&told);
    let of: Vec<&BudgetOf> = told.budgets.iter().map(|row| &row.of).collect();
    let his = BudgetOf::Scope(Scope::new("beta", "development"));
    assert_eq!(of, [&his, &BudgetOf::User(BOB)]);
    let told = two.stranger.ask(Request::Budgets, Bytes::new()).response;
    let Response::Budgets(told) = told else { panic!("{told:?}") };
    let policy = told.policy.clone();
    assert_eq!(*told, BudgetReport { policy, ..BudgetReport::default() });
}

/// A page of metrics without what the peer's own asking changes.
fn metrics(raw: &mut Raw) -> String {
    match raw.ask(Request::Metrics, Bytes::new()).response {
        Response::Metrics(page) => page,
        other => panic!("a page was due, not {other:?}"),
    }
}

#[test]
fn metrics_are_the_same_whatever_others_do() {
    let Some(mut two) = Two::meet() else { return };
    let before = [metrics(&mut two.bob), metrics(&mut two.stranger)];
    busy(&mut two);
    let behind = [metrics(&mut two.bob), metrics(&mut two.stranger)];
    assert_eq!(before, behind, "what Alice did shows");
    behind.iter().for_each(is_blind);
}

#[test]
fn log_tells_ones_own_requests() {
    let Some(mut two) = Two::meet() else { return };
    two.bob.lookup(&elsewhere("his")).expect_err("not stored");
    busy(&mut two);
    two.bob.lookup(&elsewhere("his")).expect_err("not stored");
    let of = |query: LogQuery| LogQuery { limit: 1000, ..query };
    let ask = |raw: &mut Raw, query| match raw.ask(Request::Log(Box::new(query)), Bytes::new()) {
        harness::RawReply { response: Response::Logged(page), .. } => page,
        other => panic!("a page was due, not {other:?}"),
    };
    let page = ask(&mut two.bob, of(LogQuery::default()));
    let told: Vec<_> = page.rows.iter().map(|row| (row.sequence, row.uid)).collect();
    assert_eq!((told, page.next, page.lost), (vec![(0, BOB), (1, BOB)], 2, 0));
    for query in [
        LogQuery { uid: Some(ALICE), ..LogQuery::default() },
        LogQuery { scope: Some(Scope::new("alpha", "development")), ..LogQuery::default() },
        LogQuery { task: Some("there".into()), ..LogQuery::default() },
        LogQuery { verb: Some(Verb::Put), ..LogQuery::default() },
        LogQuery { outcome: Some(Outcome::Leased), ..LogQuery::default() },
        LogQuery { from: Some(2), wait_ms: 1, ..LogQuery::default() },
    ] {
        let page = ask(&mut two.bob, of(query.clone()));
        assert_eq!((page.rows.len(), page.lost), (0, 0), "{query:?}: {page:?}");
        let page = ask(&mut two.stranger, of(query));
        assert_eq!((page.rows.len(), page.lost), (0, 0), "{page:?}");
    }
}

#[test]
fn status_names_no_scope_and_no_user() {
    let Some(mut two) = Two::meet() else { return };
    for raw in [&mut two.bob, &mut two.stranger] {
        let Response::Status(told) = raw.ask(Request::Status, Bytes::new()).response else {
            panic!("a status was due")
        };
        is_blind(&told.settings);
        let hidden = ["grants", "quarantined_users", "scope_bytes", "user_bytes"];
        let names: Vec<&str> = told.settings.iter().map(|(name, ..)| name.as_str()).collect();
        assert!(hidden.iter().all(|name| !names.contains(name)), "{names:?}");
    }
}

#[test]
fn ping_says_that_the_daemon_lives_and_nothing_else() {
    let Some(mut two) = Two::meet() else { return };
    for _ in 0..2 {
        for raw in [&mut two.bob, &mut two.stranger] {
            assert_eq!(raw.ask(Request::Ping, Bytes::new()).response, Response::Pong);
        }
        two.alice.lookup(&two.there).expect("it is hers");
    }
}

#[test]
fn board_hits_of_what_is_not_ones_own_count_nothing() {
    let Some(mut two) = Two::meet() else { return };
    let before = two.house.daemon.connect().stats();
    for scope in [Scope::new("alpha", "development"), Scope::new("beta", "development")] {
        for call in [&two.there, &two.absent] {
            let hit = BoardHit { key: key(call), count: 1000, last_ms: u64::MAX, took_us: 0 };
            let hits = BoardHits { scope: scope.clone(), hits: vec![hit] };
            for raw in [&mut two.bob, &mut two.stranger] {
                raw.send(Request::BoardHits(Box::new(hits.clone())), Bytes::new());
                assert!(raw.ping(), "it is never answered");
            }
        }
    }
    let behind = two.house.daemon.connect().stats();
    assert_eq!((behind.hits, behind.misses), (before.hits, before.misses));
    assert_eq!(behind.by_task, before.by_task);
    let rows = two.house.daemon.connect().log(LogQuery { limit: 1000, ..LogQuery::default() }).rows;
    let had = rows.iter().find(|row| matches!(row.outcome, Outcome::Hits(_)) || row.uid == BOB);
    assert!(had.is_none(), "{had:?}");
    let puts = rows.iter().filter(|row| (row.uid, row.verb) == (ALICE, Verb::Put));
    assert_eq!(puts.count(), 1, "the log tells what there was");
}

/// Who administers `alpha` is told nothing of what Bob does in `beta`, nor who is quarantined.
#[test]
fn who_administers_a_scope_is_told_of_no_other() {
    let apart = format!("quarantined_users = [{STRANGER}]\n{GRANTS}");
    let Some(house) = House::new(&apart) else { return };
    let (mut bob, mut keeper) = (house.connect(BOB), house.connect(KEEPER));
    let before = metrics(&mut keeper);
    bob.put(elsewhere("hidden").put(&[("o0", b"x")]));
    bob.lookup(&elsewhere("hidden")).expect("it is his");
    bob.owns(elsewhere("hidden-lease").claim());
    assert_eq!(metrics(&mut keeper), before, "what Bob did shows");
    let mut ask = |request| keeper.ask(request, Bytes::new()).response;
    let Response::Stats(stats) = ask(Request::Stats) else { panic!("counters were due") };
    assert_eq!(*stats, Stats { uptime_ns: stats.uptime_ns, ..Stats::default() });
    assert_eq!(ask(Request::Savings), Response::Savings(Box::default()));
    let Response::Budgets(budgets) = ask(Request::Budgets) else { panic!("budgets were due") };
    assert_eq!(budgets.budgets, []);
    assert_eq!(ask(Request::Leases), Response::Leases(Vec::new()));
    let list = Request::List { filter: Filter::default(), limit: 10, cursor: None };
    assert_eq!(ask(list), Response::Listed { rows: Vec::new(), cursor: None });
    let all = LogQuery { limit: 1000, ..LogQuery::default() };
    let Response::Logged(page) = ask(Request::Log(Box::new(all))) else { panic!("rows were due") };
    assert!(page.rows.iter().all(|row| row.uid == KEEPER), "{page:?}");
    let Response::Status(said) = ask(Request::Status) else { panic!("a status was due") };
    for word in ["20001", "20002", &STRANGER.to_string(), "alpha", "beta"] {
        assert!(!format!("{:?}", said.settings).contains(word), "{word}: {:?}", said.settings);
    }
    for command in ["stats", "top", "log", "status", "doctor", "ls"] {
        let ran = run(&mut house.command(KEEPER, "alpha", &[command, "-v", "--format", "text"]));
        for text in [ran.text(), ran.errors()] {
            assert!(!text.contains("beta") && !text.contains("hidden"), "{command}: {text}");
        }
    }
}
