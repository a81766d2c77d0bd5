//! Arbitrary messages about upkeep and boards.

use memod_protocol::{
    Announcement, BoardHit, BoardHits, BoardOffer, BudgetOf, BudgetReport, BudgetRow,
    CollectReport, Import, Problem, Request, Response, VerifyReport,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategies::{digest, name, perhaps, scope};
use crate::strategies_messages::{key, provenance, put};

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let hit = (key(), any::<u32>(), any::<[u64; 2]>())
        .prop_map(|(key, count, [last_ms, took_us])| BoardHit { key, count, last_ms, took_us });
    let hits = (scope(), vec(hit, 0..4)).prop_map(|(scope, hits)| BoardHits { scope, hits });
    prop_oneof![
        scope().prop_map(|scope| Request::Board { scope }),
        hits.prop_map(|hits| Request::BoardHits(Box::new(hits))),
        Just(Request::Budgets),
        any::<bool>().prop_map(|repair| Request::Verify { repair }),
        Just(Request::Collect),
        Just(Request::Metrics),
        (put(), provenance())
            .prop_map(|(put, provenance)| Request::Import(Box::new(Import { put, provenance }))),
        (put(), perhaps(any::<u32>())).prop_map(|(put, writer_uid)| {
            Request::Announce(Box::new(Announcement { put, writer_uid }))
        }),
    ]
}

fn row() -> impl Strategy<Value = BudgetRow> {
    let of = prop_oneof![
        Just(BudgetOf::Store),
        scope().prop_map(BudgetOf::Scope),
        any::<u32>().prop_map(BudgetOf::User),
    ];
    (of, any::<[u64; 2]>(), perhaps(any::<u64>())).prop_map(
        |(of, [entries, bytes], limit_bytes)| BudgetRow { of, entries, bytes, limit_bytes },
    )
}

fn budgets() -> impl Strategy<Value = BudgetReport> {
    let marks = [perhaps(any::<u64>()), perhaps(any::<u64>()), perhaps(any::<u64>())];
    (vec(row(), 0..3), marks, any::<[u64; 7]>(), name()).prop_map(
        |(budgets, [high_bytes, low_bytes, last_evicted_age_ms], numbers, policy)| {
            let [disk_free_bytes, disk_reserve_bytes, disk_used_bytes, rest @ ..] = numbers;
            let [evicted_entries, evicted_bytes, regretted_entries, regret_ns] = rest;
            BudgetReport {
                budgets,
                high_bytes,
                low_bytes,
                disk_free_bytes,
                disk_reserve_bytes,
                disk_used_bytes,
                policy,
                evicted_entries,
                evicted_bytes,
                regretted_entries,
                regret_ns,
                last_evicted_age_ms,
            }
        },
    )
}

fn verified() -> impl Strategy<Value = VerifyReport> {
    let problem = (perhaps(key()), perhaps(digest()), name())
        .prop_map(|(key, digest, what)| Problem { key, digest, what });
    (vec(problem, 0..3), any::<[u64; 5]>()).prop_map(|(named, numbers)| {
        let [entries, blobs, bytes, problems, buried] = numbers;
        VerifyReport { entries, blobs, bytes, problems, named, buried }
    })
}

pub(crate) fn response() -> impl Strategy<Value = Response> {
    let collected = any::<[u64; 3]>().prop_map(|numbers| {
        let [evicted_entries, disk_bytes_before, disk_bytes_after] = numbers;
        CollectReport { evicted_entries, disk_bytes_before, disk_bytes_after }
    });
    let offer = any::<[u64; 2]>().prop_map(|[id, bytes]| BoardOffer { id, bytes });
    prop_oneof![
        perhaps(offer).prop_map(Response::Board),
        budgets().prop_map(|report| Response::Budgets(Box::new(report))),
        verified().prop_map(|report| Response::Verified(Box::new(report))),
        collected.prop_map(Response::Collected),
        name().prop_map(Response::Metrics),
        Just(Response::Awaited),
    ]
}
