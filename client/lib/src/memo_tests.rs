//! Tests of what memoizing a call decides and reports.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use memod_protocol::LiteralType;

use super::*;
use crate::options::Wait;
use crate::testing::call_with_outputs;

fn begin(mode: Mode) -> (Recall, Option<Asking>) {
    begin_with(mode, &MemoizeOptions::default())
}

fn begin_with(mode: Mode, options: &MemoizeOptions) -> (Recall, Option<Asking>) {
    let call = call_with_outputs(&["o0"], &LiteralType::Bytes);
    let max_age = Some(Duration::from_secs(60));
    Recall::begin(&call, &MemoizeOptions { max_age, ..options.clone() }, mode)
}

#[test]
fn a_serialized_call_claims_as_its_mode_allows() {
    let options = MemoizeOptions { serialize: true, wait: Wait::No, ..MemoizeOptions::default() };
    for (mode, takes) in [(Mode::Enabled, true), (Mode::ReadOnly, false)] {
        let (recall, Some(Asking::Claim(claim))) = begin_with(mode, &options) else { panic!() };
        assert_eq!((claim.take, claim.wait, &claim.owner), (takes, Wait::No, &None));
        assert_eq!(claim.max_age, Some(Duration::from_secs(60)));
        assert_eq!(recall.reservation(), ReservationStatus::Failure, "until it is answered");
    }
    for mode in [Mode::Disabled, Mode::Overwrite] {
        let (recall, asking) = begin_with(mode, &options);
        assert!(asking.is_none());
        assert_eq!(recall.reservation(), ReservationStatus::Disabled);
    }
}

fn miss(reason: MissReason) -> Miss {
    Miss { key: Key::from_bytes([0; 32]), reason, at_ms: None, by_uid: None, detail: None }
}

#[test]
fn the_mode_decides_what_is_done() {
    for (mode, status, reads, writes, overwrites) in [
        (Mode::Enabled, CacheStatus::LookupFailure, true, true, false),
        (Mode::ReadOnly, CacheStatus::LookupFailure, true, false, false),
        (Mode::Disabled, CacheStatus::Disabled, false, false, false),
        (Mode::Overwrite, CacheStatus::Skipped, false, true, true),
    ] {
        let (mut recall, lookup) = begin(mode);
        assert_eq!((recall.status(), lookup.is_some()), (status, reads), "{mode:?}");
        let put = recall.computed(Duration::from_secs(1));
        assert_eq!(put.is_some(), writes, "{mode:?}");
        assert_eq!(put.is_some_and(|put| put.overwrite), overwrites, "{mode:?}");
        if !writes {
            assert_eq!(recall.stored(None).store, CacheStatus::Disabled, "{mode:?}");
        }
    }
}

#[test]
fn a_miss_is_stored_with_the_same_age_and_the_measured_time() {
    let (mut recall, _) = begin(Mode::Enabled);
    recall.looked_up(Ok(Lookup::Miss(miss(MissReason::Expired))), Duration::ZERO);
    let put = recall.computed(Duration::from_secs(3)).unwrap();
    assert_eq!(put.max_age, Some(Duration::from_secs(60)));
    assert_eq!(put.run.compute_ns, Some(3_000_000_000));
    assert!(!put.overwrite);
    let report = recall.stored(Some(Ok(PutOutcome::Populated)));
    assert_eq!((report.status, report.store), (CacheStatus::Miss, CacheStatus::Populated));
    assert_eq!(report.saved(), None);
}

#[test]
fn an_entry_that_cannot_be_used_is_replaced() {
    let (mut recall, _) = begin(Mode::Enabled);
    recall.looked_up(Ok(Lookup::Miss(miss(MissReason::Corrupt))), Duration::ZERO);
    assert!(recall.computed(Duration::ZERO).unwrap().overwrite);
}

#[test]
fn a_wrong_call_is_not_looked_up_and_says_why() {
    let mut call = call_with_outputs(&["o0"], &LiteralType::Bytes);
    call.cache_version = " ".into();
    let (recall, asking): (Recall, _) =
        Recall::begin(&call, &MemoizeOptions::default(), Mode::Enabled);
    assert!(asking.is_none());
    assert_eq!(recall.status(), CacheStatus::LookupFailure);
    assert!(matches!(recall.report.lookup_error, Some(Error::Invalid(_))));
}
