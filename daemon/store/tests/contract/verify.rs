//! Verification: what it reads, what it finds, what repair removes and what it keeps.

use std::slice;

use bytes::Bytes;
use memod_protocol::VerifyReport;
use memod_store::{Found, GraveCause, Store, StoreError, WHOLE_BYTES_MAX};

use crate::damage::{damaged, flip};
use crate::harness::*;

/// Verifies to the end.
pub(crate) fn verify(store: &Store, repair: bool) -> Result<VerifyReport, StoreError> {
    let mut verification = store.verification(repair);
    let mut done = 0;
    while verification.step()? {
        assert!(verification.done() >= done, "progress only goes on");
        done = verification.done();
    }
    assert!(!verification.step()?, "the end stays the end");
    Ok(verification.report().clone())
}

#[test]
fn a_sound_store_is_read_as_a_whole() {
    let store = open();
    assert_eq!(verify(&store, true).unwrap(), VerifyReport::default());
    let (shared, large) = (content(1, 2000), content(2, 3 * CHUNK + 5));
    put(&store, 0, &[shared.clone(), content(3, 10), large.clone()]);
    put(&store, 1, &[shared.clone(), Bytes::new()]);
    put(&store, 2, &[]);
    put(&store, 3, slice::from_ref(&large));
    let store = store.reopen();
    let report = verify(&store, false).unwrap();
    assert_eq!((report.entries, report.blobs), (4, 4));
    assert_eq!(report.bytes, 2000 + 10 + 3 * CHUNK as u64 + 5);
    assert_eq!((report.problems, report.buried), (0, 0), "{report:?}");
}

/// More rows than one step looks at, and more bytes than one step reads.
#[test]
fn a_verification_goes_on_where_a_step_ended() {
    let store = open();
    let large = content(1, 40 * CHUNK);
    let prepared = upload(&store, &large, CHUNK);
    try_put(&store, entry(0, vec![prepared], 1, memod_store::Replace::Never)).unwrap();
    for number in 1..1500 {
        put(&store, number, &[content(number, 20)]);
    }
    let mut verification = store.verification(false);
    let mut steps = 1;
    while verification.step().unwrap() {
        steps += 1;
    }
    assert!(steps > 6, "{steps}");
    let report = verification.report();
    assert_eq!((report.entries, report.blobs, report.problems), (1500, 1500, 0), "{report:?}");
    assert_eq!(report.bytes, 40 * CHUNK as u64 + 1499 * 20);
}

#[test]
fn damaged_content_is_found_and_repair_buries_who_has_it_and_nobody_else() {
    for bytes in [3000, WHOLE_BYTES_MAX + 1, 3 * CHUNK] {
        let bad = content(1, bytes);
        let store = damaged(&bad);
        // Looking changes nothing.
        for _ in 0..2 {
            let report = verify(&store, false).unwrap();
            assert_eq!((report.entries, report.blobs, report.buried), (4, 3, 0), "{report:?}");
            let mut keys: Vec<_> = report.named.iter().filter_map(|problem| problem.key).collect();
            keys.sort_unstable();
            let mut expected = vec![key(0), key(9)];
            expected.sort_unstable();
            assert_eq!(keys, expected, "{bytes} bytes: {report:?}");
        }
        let report = verify(&store, true).unwrap();
        assert_eq!((report.problems, report.buried), (2, 2), "{report:?}");
        for number in [0, 9] {
            let Found::Grave(grave) = lookup(&store, number) else { panic!("it is not buried") };
            assert!(matches!(grave.cause, GraveCause::Corrupt | GraveCause::BlobMissing));
        }
        assert_hit(&store, 1, &[content(2, 3 * CHUNK)]);
        assert_hit(&store, 2, &[content(3, 300)]);
        let report = verify(&store, false).unwrap();
        assert_eq!((report.entries, report.problems), (2, 0), "{report:?}");
        assert_eq!(store.counters().entries, 2);
        assert_sound(&store);
    }
}

/// What a reader has in memory is sound; what is on the disk is what is asked about.
#[test]
fn what_is_in_memory_hides_no_damage() {
    let store = open();
    let bad = content(1, 3 * CHUNK);
    put(&store, 0, slice::from_ref(&bad));
    let store = store.reopen();
    assert_hit(&store, 0, slice::from_ref(&bad));
    flip(store.folder.path(), &bad);
    let report = verify(&store, false).unwrap();
    assert_eq!(report.problems, 1, "{report:?}");
}
