//! What changes the store: `Put`, `Announce`, `Import`, `Invalidate`, `Verify`, `Collect`.

use bytes::Bytes;
use harness::CallBuilder;
use memod_protocol::{
    Announcement, Filter, Import, NewOutput, OutputSource, Provenance, Put, PutOutcome, Request,
    Response, RunClaim, Scope, Selector,
};

use super::{ALICE, BOB, SECRET, STRANGER, Two, elsewhere, is_forbidden, key};
use crate::grants::house::KEEPER;

fn put(call: &CallBuilder, overwrite: bool) -> (Put, Bytes) {
    let (put, payload) = call.put(&[("o0", b"forged")]);
    (Put { overwrite, ..put }, payload)
}

#[test]
fn put_is_refused_alike() {
    let Some(mut two) = Two::meet() else { return };
    for overwrite in [false, true] {
        two.forbidden("write alpha/development", |call| {
            let (put, payload) = put(call, overwrite);
            (Request::Put(Box::new(put)), payload)
        });
    }
    two.nothing_has_changed();
}

/// A put whose output is to come in an upload of this digest, if it is told.
fn uploaded(call: &CallBuilder, content: &[u8], tells_digest: bool) -> Put {
    let (mut put, _) = call.put(&[("o0", b"")]);
    put.outputs = vec![NewOutput {
        name: "o0".into(),
        bytes: content.len() as u64,
        digest: tells_digest.then(|| memod_protocol::Digest::of(content)),
        source: OutputSource::Upload(1),
    }];
    put
}

fn announced(call: &CallBuilder, content: &[u8], tells_digest: bool) -> Request {
    let put = uploaded(call, content, tells_digest);
    Request::Announce(Box::new(Announcement { put, writer_uid: None }))
}

#[test]
fn announce_is_refused_alike_and_says_nothing_of_content() {
    let Some(mut two) = Two::meet() else { return };
    for tells_digest in [false, true] {
        two.forbidden("write alpha/development", |call| {
            (announced(call, SECRET, tells_digest), Bytes::new())
        });
    }
    // Where he may write, what Alice has and what nobody has are still to be sent alike.
    for content in [SECRET, b"what nobody has ever seen"] {
        let told = two.bob.ask(announced(&elsewhere("t"), content, true), Bytes::new());
        assert_eq!(told.response, Response::Awaited);
    }
    two.nothing_has_changed();
}

fn import(call: &CallBuilder, writer_uid: u32) -> (Request, Bytes) {
    let (put, payload) = put(call, true);
    let provenance = Provenance {
        writer_uid,
        writer_pid: None,
        program: None,
        host: None,
        created_at_ms: 1,
        run: RunClaim::default(),
    };
    (Request::Import(Box::new(Import { put, provenance })), payload)
}

#[test]
fn import_is_refused_alike() {
    let Some(mut two) = Two::meet() else { return };
    for writer in [ALICE, BOB] {
        two.forbidden("administer alpha/development", |call| import(call, writer));
        // To write somewhere does not give the right to say when, there either.
        let (request, payload) = import(&elsewhere("t"), writer);
        let told = two.bob.ask(request, payload).response;
        is_forbidden(told, BOB, "administer beta/development");
    }
    two.nothing_has_changed();
}

fn invalidate(selector: Selector, dry_run: bool) -> Request {
    Request::Invalidate { selector, dry_run }
}

#[test]
fn invalidate_neither_removes_nor_counts() {
    let Some(mut two) = Two::meet() else { return };
    let matching = |filter| Selector::Matching(filter);
    let of_scope = Filter { scope: Some(Scope::new("alpha", "development")), ..Filter::default() };
    for dry_run in [true, false] {
        for selector in [
            Selector::Keys(vec![key(&two.there), key(&two.absent)]),
            matching(Filter::default()),
            matching(of_scope.clone()),
            matching(Filter { writer_uid: Some(ALICE), ..Filter::default() }),
        ] {
            for (raw, uid) in [(&mut two.bob, BOB), (&mut two.stranger, STRANGER)] {
                let told = raw.ask(invalidate(selector.clone(), dry_run), Bytes::new()).response;
                let Response::Error(error) = told else { panic!("user {uid} was told {told:?}") };
                assert!(error.message.contains("may not administer"), "{error}");
            }
        }
    }
    two.nothing_has_changed();
    // Whoever administers one scope: what is elsewhere is not there.
    assert_eq!(two.bob.put(elsewhere("his").put(&[("o0", b"x")])), PutOutcome::Populated);
    let mut keeper = two.house.connect(KEEPER);
    let his = Selector::Keys(vec![key(&elsewhere("his"))]);
    assert_eq!(keeper.invalidate(his.clone(), true), 0);
    assert_eq!(keeper.invalidate(his, false), 0);
    two.bob.lookup(&elsewhere("his")).expect("it is still there");
}

#[test]
fn verify_is_for_who_administers_all() {
    let Some(mut two) = Two::meet() else { return };
    for repair in [false, true] {
        two.forbidden("administer all of this cache", |_| {
            (Request::Verify { repair }, Bytes::new())
        });
    }
}

#[test]
fn collect_is_for_who_administers_all() {
    let Some(mut two) = Two::meet() else { return };
    two.forbidden("administer all of this cache", |_| (Request::Collect, Bytes::new()));
    two.nothing_has_changed();
}
