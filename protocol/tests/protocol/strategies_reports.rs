//! Arbitrary explanations, pages of the log, and counters.

use memod_protocol::{
    Difference, Explanation, LogPage, LogQuery, LogRow, Nearest, Outcome, Request, Response,
    Savings, ScopeStats, UserStats, Verb, Why,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::samples::{ERROR_CODES, MISS_REASONS};
use crate::samples_reports::DIFFERENCE_KINDS;
use crate::strategies::{name, perhaps, scope};
use crate::strategies_messages::{interface, key, lookup, miss};

fn query() -> impl Strategy<Value = LogQuery> {
    let kinds = (perhaps(select(Verb::ALL.to_vec())), perhaps(select(Outcome::ALL.to_vec())));
    let numbers = (perhaps(any::<u32>()), perhaps(any::<u64>()), any::<u32>(), any::<u64>());
    (perhaps(scope()), perhaps(name()), kinds, numbers).prop_map(
        |(scope, task, (verb, outcome), (uid, from, limit, wait_ms))| LogQuery {
            scope,
            task,
            verb,
            outcome,
            uid,
            from,
            limit,
            wait_ms,
        },
    )
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let why = (lookup(), interface(), any::<u32>())
        .prop_map(|(lookup, interface, nearest_max)| Why { lookup, interface, nearest_max });
    prop_oneof![
        why.prop_map(|why| Request::Why(Box::new(why))),
        query().prop_map(|query| Request::Log(Box::new(query))),
        Just(Request::Savings),
    ]
}

fn difference() -> impl Strategy<Value = Difference> {
    let text = || perhaps(name());
    (select(DIFFERENCE_KINDS.to_vec()), text(), text(), text())
        .prop_map(|(what, name, here, stored)| Difference { what, name, here, stored })
}

fn explanation() -> impl Strategy<Value = Explanation> {
    let nearest = (key(), any::<u64>(), vec(difference(), 0..3))
        .prop_map(|(key, created_at_ms, differs)| Nearest { key, created_at_ms, differs });
    (key(), perhaps(miss()), vec(nearest, 0..3)).prop_map(|(key, miss, nearest)| Explanation {
        key,
        miss,
        nearest,
    })
}

fn row() -> impl Strategy<Value = LogRow> {
    let who = (any::<u32>(), perhaps(any::<u32>()), perhaps(name()));
    let what = (select(Verb::ALL.to_vec()), perhaps(key()), perhaps(scope()), perhaps(name()));
    let came = (
        select(Outcome::ALL.to_vec()),
        perhaps(select(MISS_REASONS.to_vec())),
        perhaps(select(ERROR_CODES.to_vec())),
    );
    (who, what, came, any::<[u64; 4]>()).prop_map(|(who, what, came, numbers)| {
        let (uid, pid, program) = who;
        let (verb, key, scope, task) = what;
        let (outcome, reason, error) = came;
        let [sequence, at_ms, took_us, bytes] = numbers;
        LogRow {
            sequence,
            at_ms,
            uid,
            pid,
            program,
            verb,
            key,
            scope,
            task,
            outcome,
            reason,
            error,
            took_us,
            bytes,
        }
    })
}

fn savings() -> impl Strategy<Value = Savings> {
    let of_scope = (scope(), any::<[u64; 3]>()).prop_map(|(scope, numbers)| {
        let [hits, misses, time_saved_ns] = numbers;
        ScopeStats { scope, hits, misses, time_saved_ns }
    });
    let of_user = (any::<u32>(), any::<[u64; 3]>()).prop_map(|(uid, numbers)| {
        let [hits, misses, time_saved_ns] = numbers;
        UserStats { uid, hits, misses, time_saved_ns }
    });
    (vec(of_scope, 0..3), vec(of_user, 0..3))
        .prop_map(|(by_scope, by_uid)| Savings { by_scope, by_uid })
}

pub(crate) fn response() -> impl Strategy<Value = Response> {
    let page = (vec(row(), 0..3), any::<u64>(), any::<u64>())
        .prop_map(|(rows, next, lost)| LogPage { rows, next, lost });
    prop_oneof![
        explanation().prop_map(|explanation| Response::Explained(Box::new(explanation))),
        page.prop_map(Response::Logged),
        savings().prop_map(|savings| Response::Savings(Box::new(savings))),
    ]
}
