//! Tests of calls that are known: what becomes of them is what becomes of any others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memod_protocol::{Call, Delivery, LiteralType, MissReason, Response, TaskIdentity};

use super::*;
use crate::mode::Mode;
use crate::status::CacheStatus;
use crate::testing::{FakeDaemon, call_with_outputs, hit, miss};

fn call() -> Call {
    call_with_outputs(&["o0"], &LiteralType::Bytes)
}

#[test]
fn a_known_call_hits_and_misses_as_any_other() {
    for is_there in [true, false] {
        let daemon = FakeDaemon::answering(move |_, _| {
            let there = || (hit(&call(), &[("o0", b"abc", Delivery::Inline)]), b"abc".to_vec());
            let absent = || (Response::Miss(miss(&call(), MissReason::NeverSeen)), vec![]);
            Some(if is_there { there() } else { absent() })
        });
        let (client, call, options) = (daemon.client(), call(), MemoizeOptions::default());
        let task = TaskIdentity::of(&call).unwrap();
        let known = task.know(&call).unwrap();
        let recalls = [client.recall(&call, &options), client.recall_known(&known, &options)];
        for recall in &recalls {
            let status = if is_there { CacheStatus::Hit } else { CacheStatus::Miss };
            assert_eq!((recall.status(), recall.key()), (status, Some(call.key().unwrap())));
            let content = recall.outputs().map(|of| of[0].content.to_bytes().unwrap().to_vec());
            assert_eq!(content, is_there.then(|| b"abc".to_vec()));
        }
    }
}

#[test]
fn a_glance_asks_nobody() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let daemon = FakeDaemon::answering(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        None
    });
    let (client, call) = (daemon.client(), call());
    let task = TaskIdentity::of(&call).unwrap();
    assert!(client.glance(&task.know(&call).unwrap(), None).is_none());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn a_mode_that_does_not_read_does_not_ask() {
    let daemon = FakeDaemon::answering(|_, _| None);
    let (client, call) = (daemon.client(), call());
    let task = TaskIdentity::of(&call).unwrap();
    for (mode, status) in
        [(Mode::Disabled, CacheStatus::Disabled), (Mode::Overwrite, CacheStatus::Skipped)]
    {
        let options = MemoizeOptions { mode: Some(mode), ..MemoizeOptions::default() };
        let recall = client.recall_known(&task.know(&call).unwrap(), &options);
        assert_eq!(recall.status(), status);
        assert!(recall.lookup_error().is_none());
    }
}
