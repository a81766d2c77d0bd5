//! What people ask when they look into the cache: explanations, the log, counters. With every
//! optional part once there and once absent.

use memod_protocol::{
    CallIdentity, Difference, DifferenceKind, ErrorCode, Explanation, InterfaceText, LogPage,
    LogQuery, LogRow, Lookup, Miss, MissReason, Nearest, Outcome, Request, Response, Savings,
    ScopeStats, UserStats, Verb, Why,
};

use crate::samples::{identity, interface, key, miss, scope};

/// Every kind of difference, in the order of the wire.
pub(crate) const DIFFERENCE_KINDS: [DifferenceKind; 4] = [
    DifferenceKind::Input,
    DifferenceKind::CacheVersion,
    DifferenceKind::Signature,
    DifferenceKind::Scope,
];

fn query() -> LogQuery {
    LogQuery {
        scope: Some(scope()),
        task: Some("square".into()),
        verb: Some(Verb::Lookup),
        outcome: Some(Outcome::Miss),
        uid: Some(1000),
        from: Some(70_000),
        limit: 1000,
        wait_ms: 30_000,
    }
}

/// Requests by name; the part in front of the first full stop is the variant.
pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let why = |call, max_age_ms, interface, nearest_max| {
        let lookup = Lookup { call, max_age_ms };
        Request::Why(Box::new(Why { lookup, interface, nearest_max }))
    };
    let least = CallIdentity { inputs: Vec::new(), ..identity() };
    vec![
        ("Why", why(identity(), Some(60_000), interface(), 5)),
        ("Why.least", why(least, None, InterfaceText::default(), 0)),
        ("Log", Request::Log(Box::new(query()))),
        ("Log.all", Request::Log(Box::new(LogQuery { limit: 250, ..LogQuery::default() }))),
        ("Savings", Request::Savings),
    ]
}

fn difference(
    what: DifferenceKind,
    name: Option<&str>,
    here: Option<&str>,
    stored: Option<&str>,
) -> Difference {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Difference { what, name: owned(name), here: owned(here), stored: owned(stored) }
}

fn explanation() -> Explanation {
    let (here, stored) = ("1a".repeat(32), "2a".repeat(32));
    let differs = vec![
        difference(DifferenceKind::Input, Some("n"), Some(&here), Some(&stored)),
        difference(DifferenceKind::Input, Some("rate"), None, Some(&stored)),
        difference(DifferenceKind::CacheVersion, None, Some("1.1"), Some("1.0")),
        difference(DifferenceKind::Signature, Some("output `o0`"), Some("string"), None),
        difference(
            DifferenceKind::Scope,
            None,
            Some("flytesnacks/development"),
            Some("flytesnacks/production"),
        ),
    ];
    let told = Miss { at_ms: Some(1_795_335_330_123), ..miss(MissReason::Evicted) };
    Explanation {
        key: key(0x4b),
        miss: Some(told),
        nearest: vec![
            Nearest { key: key(0x4c), created_at_ms: 1_795_335_330_123, differs },
            Nearest { key: key(0x4d), created_at_ms: 0, differs: Vec::new() },
        ],
    }
}

fn row() -> LogRow {
    LogRow {
        sequence: 70_000,
        at_ms: 1_795_335_330_123,
        uid: 1000,
        pid: Some(4242),
        program: Some("python3.13".into()),
        verb: Verb::Lookup,
        key: Some(key(0x4b)),
        scope: Some(scope()),
        task: Some("square".into()),
        outcome: Outcome::Miss,
        reason: Some(MissReason::Invalidated),
        error: Some(ErrorCode::Busy),
        took_us: 251,
        bytes: 65_536,
    }
}

/// A row in which everything that may be absent is.
fn bare_row(verb: Verb, outcome: Outcome) -> LogRow {
    LogRow {
        sequence: 0,
        at_ms: 0,
        uid: 0,
        pid: None,
        program: None,
        verb,
        key: None,
        scope: None,
        task: None,
        outcome,
        reason: None,
        error: None,
        took_us: 0,
        bytes: 0,
    }
}

fn savings() -> Savings {
    let of_scope = ScopeStats { scope: scope(), hits: 250, misses: 251, time_saved_ns: 65_536 };
    let of_user = UserStats { uid: 1000, hits: 1, misses: 2, time_saved_ns: u64::MAX };
    Savings { by_scope: vec![of_scope], by_uid: vec![of_user] }
}

/// Responses by name; the part in front of the first full stop is the variant.
pub(crate) fn responses() -> Vec<(String, Response)> {
    let hits = Explanation { miss: None, nearest: Vec::new(), ..explanation() };
    let page = |rows| Response::Logged(LogPage { rows, next: 70_001, lost: 251 });
    let mut responses: Vec<(String, Response)> = [
        ("Explained", Response::Explained(Box::new(explanation()))),
        ("Explained.hit", Response::Explained(Box::new(hits))),
        ("Logged", page(vec![row(), bare_row(Verb::Stats, Outcome::Done)])),
        ("Logged.nothing", Response::Logged(LogPage::default())),
        ("Savings", Response::Savings(Box::new(savings()))),
        ("Savings.none", Response::Savings(Box::default())),
    ]
    .into_iter()
    .map(|(name, response)| (name.to_owned(), response))
    .collect();
    responses.extend(Verb::ALL.map(|verb| {
        (format!("Logged.verb_{}", verb.name()), page(vec![bare_row(verb, Outcome::Done)]))
    }));
    responses.extend(Outcome::ALL.map(|outcome| {
        let name = format!("Logged.outcome_{}", outcome.name());
        (name, page(vec![bare_row(Verb::Lookup, outcome)]))
    }));
    responses
}
