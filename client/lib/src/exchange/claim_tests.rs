//! Tests of what answers to a claim mean.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use memod_protocol::{
    Delivery, ErrorCode, LiteralType, MissReason, ResponseHeader, WireError, wire,
};

use super::*;
use crate::testing::{call_with_outputs, hit, holder, leased, miss, pending};

fn call(name: &str) -> Call {
    call_with_outputs(&[name], &LiteralType::Bytes)
}

/// What this answer to request 5 means, for a claim of the call with the output `a`.
fn answered(id: u64, response: Response, payload_bytes: usize) -> Result<Answer, Error> {
    let (call, options) = (call("a"), ClaimOptions::default());
    let identity = call.identity().unwrap();
    let claim = ClaimExchange::new(&call, &identity, &options).unwrap();
    answer(5, claim.expect(), &wire::encode(&ResponseHeader { id, response }), payload_bytes)
}

#[test]
fn each_answer_means_one_thing() {
    let call = call("a");
    let unseen = miss(&call, MissReason::NeverSeen);
    let Answer::Found(First::Miss { miss: got, settled: true }) =
        answered(5, Response::Miss(unseen.clone()), 0).unwrap()
    else {
        panic!()
    };
    assert_eq!(got, unseen);
    let contents = [("a", &b"12"[..], Delivery::Inline)];
    let found = answered(5, hit(&call, &contents), 2).unwrap();
    assert!(matches!(found, Answer::Found(First::Hit(_))));
    let Answer::Leased(got) = answered(5, leased(&call), 0).unwrap() else { panic!() };
    assert_eq!((got.miss, got.holder), (unseen, holder()));
    let Answer::Pending(got) = answered(5, pending(&call, false), 0).unwrap() else { panic!() };
    assert_eq!(got.holder, holder());
    assert!(matches!(answered(5, pending(&call, true), 0).unwrap(), Answer::Waiting(_)));
    let busy = Response::Error(WireError::new(ErrorCode::Busy, "too many wait"));
    let failed = answered(5, busy, 0).unwrap_err();
    assert!(matches!(failed, Error::Daemon(error) if error.code == ErrorCode::Busy));
}

#[test]
fn what_belongs_to_another_call_or_question_is_no_answer() {
    let other = call("b");
    for (id, response, payload_bytes) in [
        (6, leased(&call("a")), 0),
        (5, leased(&other), 0),
        (5, leased(&call("a")), 1),
        (5, pending(&other, true), 0),
        (5, pending(&other, false), 0),
        (5, pending(&call("a"), true), 1),
        (5, Response::Miss(miss(&other, MissReason::NeverSeen)), 0),
        (5, Response::Pong, 0),
    ] {
        let refused = answered(id, response.clone(), payload_bytes);
        assert!(matches!(refused, Err(Error::Protocol(_))), "{response:?}");
    }
}

#[test]
fn a_claim_says_what_it_wants() {
    let call = call("a");
    let identity = call.identity().unwrap();
    let wait_ms = |wait| {
        let owner = Some(NamedOwner { name: "worker".into(), heartbeat_ms: 10 });
        let max_age = Some(Duration::from_secs(2));
        let options = ClaimOptions { max_age, take: true, owner: owner.clone(), wait };
        let claim = ClaimExchange::new(&call, &identity, &options).unwrap();
        let Request::Claim(claim) = claim.request(Duration::ZERO) else { panic!() };
        assert_eq!((claim.take, &claim.owner), (true, &owner));
        assert_eq!(claim.lookup, Lookup { call: identity.clone(), max_age_ms: Some(2000) });
        claim.wait_ms
    };
    assert_eq!(wait_ms(Wait::No), Some(0));
    assert_eq!(wait_ms(Wait::AtMost(Duration::from_micros(1001))), Some(2));
    assert_eq!(wait_ms(Wait::Forever), None);
}

#[test]
fn a_claim_that_has_waited_wants_what_is_left() {
    let call = call("a");
    let identity = call.identity().unwrap();
    let seconds = Duration::from_secs;
    let asked = |max_age, wait| {
        let options = ClaimOptions { max_age, wait, ..ClaimOptions::default() };
        let claim = ClaimExchange::new(&call, &identity, &options).unwrap();
        let Request::Claim(request) = claim.request(seconds(3)) else { panic!() };
        assert_eq!(request.wait_ms, milliseconds(claim.wait(seconds(3)).bound()));
        (request.lookup.max_age_ms, request.wait_ms)
    };
    assert_eq!(asked(None, Wait::Forever), (None, None));
    assert_eq!(asked(Some(Duration::ZERO), Wait::No), (Some(0), Some(0)));
    assert_eq!(asked(Some(seconds(1)), Wait::AtMost(seconds(5))), (Some(4000), Some(2000)));
    let longest = (Some(Duration::MAX), Wait::AtMost(seconds(2)));
    assert_eq!(asked(longest.0, longest.1), (Some(u64::MAX), Some(0)));
}

#[test]
fn an_owner_that_is_none_is_refused_before_anything_is_sent() {
    let call = call("a");
    let identity = call.identity().unwrap();
    for (name, heartbeat_ms, field) in [
        ("", 1, "owner"),
        (" ", 1, "owner"),
        ("worker", 0, "heartbeat"),
        ("worker", -1, "heartbeat"),
    ] {
        let owner = Some(NamedOwner { name: name.into(), heartbeat_ms });
        let options = ClaimOptions { owner, ..ClaimOptions::default() };
        let refused = ClaimExchange::new(&call, &identity, &options).unwrap_err();
        assert_eq!(refused.field, field);
    }
}

#[test]
fn s19_a_put_under_a_lease_replaces_what_was_too_old_and_nothing_later() {
    let call = call("a");
    let (seconds, later) = (Duration::from_secs, Duration::from_micros(3_000_900));
    let age = |reason, claimed, given| {
        let terms = Terms::new(miss(&call, reason), claimed);
        let given = PutOptions { max_age: given, ..PutOptions::default() };
        terms.put_options(&given, terms.since + later).max_age
    };
    let (expired, second) = (MissReason::Expired, Some(seconds(1)));
    assert_eq!(age(expired, second, None), Some(seconds(4)), "in whole milliseconds");
    assert_eq!(age(expired, Some(Duration::MAX), None), Some(Duration::MAX));
    assert_eq!(age(expired, second, Some(seconds(9))), Some(seconds(9)), "it is said");
    assert_eq!(age(expired, None, None), None, "the daemon's");
    assert_eq!(age(MissReason::NeverSeen, second, None), None, "there is nothing to replace");
}
