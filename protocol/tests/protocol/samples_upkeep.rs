//! Messages about upkeep and boards, with every optional part once there and once absent.

use memod_protocol::{
    Announcement, BoardHit, BoardHits, BoardOffer, BudgetOf, BudgetReport, BudgetRow,
    CollectReport, Import, Problem, Provenance, Put, Request, Response, RunClaim, VerifyReport,
};

use crate::samples::{digest, identity, interface, key, provenance, put, scope};

/// Of whom nothing is known but what the kernel always says.
fn bare_provenance() -> Provenance {
    Provenance {
        writer_uid: 0,
        writer_pid: None,
        program: None,
        host: None,
        created_at_ms: 0,
        run: RunClaim::default(),
    }
}

/// A put without outputs.
fn bare_put() -> Put {
    Put {
        call: identity(),
        interface: interface(),
        outputs: Vec::new(),
        overwrite: false,
        max_age_ms: None,
        run: RunClaim::default(),
    }
}

/// Requests by name; the part in front of the first full stop is the variant.
pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let import = |put, provenance| Request::Import(Box::new(Import { put, provenance }));
    let board_hits = |hits| Request::BoardHits(Box::new(BoardHits { scope: scope(), hits }));
    let hit =
        |count, took_us| BoardHit { key: key(0x4b), count, last_ms: 1_700_000_000_000, took_us };
    let announce = |put, writer_uid| Request::Announce(Box::new(Announcement { put, writer_uid }));
    vec![
        ("Budgets", Request::Budgets),
        ("Verify", Request::Verify { repair: false }),
        ("Verify.repair", Request::Verify { repair: true }),
        ("Collect", Request::Collect),
        ("Metrics", Request::Metrics),
        ("Import", import(put(), provenance())),
        ("Import.least", import(bare_put(), bare_provenance())),
        ("Board", Request::Board { scope: scope() }),
        ("BoardHits", board_hits(vec![hit(1, 250), hit(65_536, 251)])),
        ("BoardHits.none", board_hits(Vec::new())),
        ("Announce", announce(put(), Some(1000))),
        ("Announce.least", announce(bare_put(), None)),
    ]
}

fn budgets() -> BudgetReport {
    let row = |of, limit_bytes| BudgetRow { of, entries: 250, bytes: 65_536, limit_bytes };
    BudgetReport {
        budgets: vec![
            row(BudgetOf::Store, Some(u64::MAX)),
            row(BudgetOf::Scope(scope()), Some(251)),
            row(BudgetOf::User(1000), None),
        ],
        high_bytes: Some(90),
        low_bytes: Some(80),
        disk_free_bytes: 250,
        disk_reserve_bytes: 251,
        disk_used_bytes: 65_536,
        policy: "cost".into(),
        evicted_entries: 1,
        evicted_bytes: 2,
        regretted_entries: 3,
        regret_ns: 4_294_967_296,
        last_evicted_age_ms: Some(86_400_000),
    }
}

fn verified() -> VerifyReport {
    let problem = |key, digest| Problem { key, digest, what: "it does not verify".into() };
    VerifyReport {
        entries: 250,
        blobs: 251,
        bytes: 65_536,
        problems: 101,
        named: vec![
            problem(Some(key(0x4b)), Some(digest(0x2a))),
            problem(Some(key(0x4b)), None),
            problem(None, Some(digest(0x2a))),
        ],
        buried: 1,
    }
}

/// Responses by name; the part in front of the first full stop is the variant.
pub(crate) fn responses() -> Vec<(&'static str, Response)> {
    let collected =
        CollectReport { evicted_entries: 250, disk_bytes_before: 65_536, disk_bytes_after: 251 };
    vec![
        ("Budgets", Response::Budgets(Box::new(budgets()))),
        ("Budgets.none", Response::Budgets(Box::default())),
        ("Verified", Response::Verified(Box::new(verified()))),
        ("Verified.sound", Response::Verified(Box::default())),
        ("Collected", Response::Collected(collected)),
        ("Metrics", Response::Metrics("# EOF\n".into())),
        ("Board", Response::Board(Some(BoardOffer { id: 250, bytes: 8 << 20 }))),
        ("Board.none", Response::Board(None)),
        ("Awaited", Response::Awaited),
    ]
}
