//! What reads entries: `Lookup`, `LookupMany`, `Show`, `Read`, `List`, `Why`, `Board`.

use bytes::Bytes;
use harness::{CallBuilder, Raw};
use memod_protocol::{
    ErrorCode, Filter, Looked, Lookup, MissReason, Request, Response, Scope, WireError,
};

use super::{ALICE, BOB, Duration, Two, elsewhere, key, timed};

#[test]
fn lookup_misses_alike() {
    let Some(mut two) = Two::meet() else { return };
    for told in two.same(|call| (call.lookup(), Bytes::new())) {
        let Response::Miss(miss) = told else { panic!("{told:?}") };
        assert_eq!((miss.reason, miss.at_ms, miss.by_uid), (MissReason::Forbidden, None, None));
        assert!(matches!(two.there.lookup(), Request::Lookup(_)));
    }
    // The same call of one's own is another key.
    two.bob.lookup(&elsewhere("there")).expect_err("it is not his");
    two.nothing_has_changed();
}

#[test]
fn lookup_many_misses_alike_beside_what_may_be_read() {
    let Some(mut two) = Two::meet() else { return };
    let asked = |call: &CallBuilder| Lookup { call: call.0.identity().unwrap(), max_age_ms: None };
    let own = elsewhere("own");
    // What he may ask for beside it does not help.
    let both = |call: &CallBuilder| {
        (Request::LookupMany(vec![asked(call), asked(&own), asked(call)]), Bytes::new())
    };
    for (told, is_bob) in two.same(both).into_iter().zip([true, false]) {
        let Response::LookedUp(looked) = told else { panic!("{told:?}") };
        let [Looked::Miss(first), Looked::Miss(his), Looked::Miss(last)] = &looked[..] else {
            panic!("{looked:?}")
        };
        assert_eq!([first.reason, last.reason], [MissReason::Forbidden; 2]);
        let reason = if is_bob { MissReason::NeverSeen } else { MissReason::Forbidden };
        assert_eq!(his.reason, reason);
    }
    two.alice.lookup(&two.there).expect("it is still there");
}

/// By key there is nothing, and that is said no earlier than any entry could have been read.
fn by_key(two: &mut Two, ask: impl Fn(memod_protocol::Key) -> Request) {
    for call in [&two.there, &two.absent] {
        for raw in [&mut two.bob, &mut two.stranger] {
            let (told, took) = timed(raw, ask(key(call)));
            let Response::Error(WireError { code, message, .. }) = told else { panic!("{told:?}") };
            assert_eq!(code, ErrorCode::NotFound);
            assert_eq!(message.replace(&key(call).to_string(), "KEY"), "no entry has the key KEY");
            assert!(took >= Duration::from_millis(20), "{took:?}");
        }
    }
}

#[test]
fn show_finds_nothing_and_as_late() {
    let Some(mut two) = Two::meet() else { return };
    by_key(&mut two, |key| Request::Show { key });
    two.alice.show(key(&two.there)).expect("it is hers");
}

#[test]
fn read_finds_nothing_and_as_late() {
    let Some(mut two) = Two::meet() else { return };
    by_key(&mut two, |key| Request::Read { key, output: "o0".into() });
    by_key(&mut two, |key| Request::Read { key, output: "o1".into() });
}

fn list(raw: &mut Raw, filter: Filter, cursor: Option<Vec<u8>>) -> Response {
    raw.ask(Request::List { filter, limit: 1, cursor }, Bytes::new()).response
}

#[test]
fn list_leaves_out_what_is_not_ones_own() {
    let Some(mut two) = Two::meet() else { return };
    two.alice.put(two.absent.put(&[("o0", b"x")]));
    let everything = list(&mut two.alice, Filter::default(), None);
    let Response::Listed { rows, cursor: Some(cursor) } = everything else {
        panic!("two entries, one at a time: {everything:?}")
    };
    assert_eq!(rows.len(), 1);
    let nothing = Response::Listed { rows: Vec::new(), cursor: None };
    let of_alice = Filter { writer_uid: Some(ALICE), ..Filter::default() };
    let of_task = Filter { task: Some("there".into()), ..Filter::default() };
    for raw in [&mut two.bob, &mut two.stranger] {
        for filter in [Filter::default(), of_alice.clone(), of_task.clone()] {
            assert_eq!(list(raw, filter.clone(), None), nothing);
            // Nor is anything told to who has got hold of where her listing went on.
            assert_eq!(list(raw, filter, Some(cursor.clone())), nothing);
        }
        for project in ["alpha", "absent"] {
            let scope = Some(Scope::new(project, "development"));
            let told = list(raw, Filter { scope, ..Filter::default() }, None);
            let Response::Error(error) = told else { panic!("{told:?}") };
            assert_eq!(error.code, ErrorCode::Forbidden);
        }
    }
}

#[test]
fn why_explains_nothing() {
    let Some(mut two) = Two::meet() else { return };
    for told in two.same(|call| (Request::Why(Box::new(call.why())), Bytes::new())) {
        let Response::Explained(told) = told else { panic!("{told:?}") };
        assert_eq!(told.miss.unwrap().reason, MissReason::Forbidden);
        assert_eq!(told.nearest, []);
    }
    let own = two.bob.explain(elsewhere("there").why());
    assert_eq!((own.miss.unwrap().reason, own.nearest), (MissReason::NeverSeen, Vec::new()));
}

#[test]
fn board_is_given_to_who_may_read_all_of_it() {
    let Some(mut two) = Two::meet() else { return };
    for _ in 0..3 {
        two.alice.lookup(&two.there).expect("warm");
    }
    for raw in [&mut two.bob, &mut two.stranger] {
        let told = ["alpha", "absent"].map(|project| {
            let scope = Scope::new(project, "development");
            let told = raw.ask(Request::Board { scope }, Bytes::new()).response;
            let Response::Error(error) = told else { panic!("{told:?}") };
            assert_eq!(error.code, ErrorCode::Forbidden);
            error.message
        });
        assert_eq!(told[0], told[1]);
        assert!(raw.descriptors(0).is_empty());
    }
    let scope = Scope::new("beta", "development");
    let told = two.bob.ask(Request::Board { scope }, Bytes::new()).response;
    assert!(matches!(told, Response::Board(Some(_))), "user {BOB}'s own: {told:?}");
}
