//! Frames and answers that are not as they should be: errors, and nothing worse.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use harness::{Answer, Daemon, Fake, call};
use memod_client::{Client, Error, Lookup};
use memod_protocol::handshake::BATCHES;
use memod_protocol::limits::LOOKUPS_MAX;
use memod_protocol::{
    Delivery, Digest, ErrorCode, Hit, Looked, Lookup as Asked, Miss, MissReason, Output,
    Provenance, Request, Response, RunClaim, WireError,
};

use super::{found, look, numbered, run};

fn asked(task: &str) -> Asked {
    Asked { call: call(task).0.identity().unwrap(), max_age_ms: None }
}

#[test]
fn s21_the_number_of_lookups_in_a_frame_is_bounded() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    for count in [0, LOOKUPS_MAX + 1, 3000] {
        let lookups = vec![asked("t"); count];
        let error = raw.ask_error(Request::LookupMany(lookups), Bytes::new());
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{count}");
    }
    let reply = raw.ask(Request::LookupMany(vec![asked("t"); LOOKUPS_MAX]), Bytes::new());
    let Response::LookedUp(looked) = reply.response else { panic!("{:?}", reply.response) };
    assert_eq!(looked.len(), LOOKUPS_MAX);
}

#[test]
fn s21_a_wrong_lookup_is_an_error_of_its_own() {
    let (daemon, one) = (Daemon::new(), call("there"));
    let mut raw = daemon.connect();
    raw.put(one.put(&[("o0", b"content")]));
    let mut lookups = vec![asked("there"); 7];
    lookups[1].call.task.clear();
    lookups[2].call.cache_version = " 1".into();
    lookups[3].call.task = "x".repeat(900_000);
    lookups[4].call.scope.project = "\u{1}".repeat(1025);
    lookups[5].call.inputs.reverse();
    let last = lookups[5].call.inputs[0].clone();
    lookups[5].call.inputs.push(last);
    let reply = raw.ask(Request::LookupMany(lookups), Bytes::new());
    let Response::LookedUp(looked) = reply.response else { panic!("{:?}", reply.response) };
    assert_eq!(reply.payload, "contentcontent");
    for (number, looked) in looked.iter().enumerate() {
        match (number, looked) {
            (0 | 6, Looked::Hit(hit)) => assert_eq!(hit.outputs[0].delivery, Delivery::Inline),
            (1..=5, Looked::Error(error)) => {
                assert_eq!(error.code, ErrorCode::InvalidArgument, "{number}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(raw.stats().hits, 2);
    assert!(raw.ping());
}

/// Answers that would take more than a header has, each of its own: those that do not fit in are
/// asked for again.
#[test]
fn s14_answers_with_long_texts_fill_frames_and_come_to_an_end() {
    let daemon = Daemon::new();
    let (mut raw, long) = (daemon.connect(), "n".repeat(1024));
    let stored: Vec<_> = (0..LOOKUPS_MAX).map(|n| call(&n.to_string())).collect();
    for one in &stored {
        let (mut put, payload) = one.put(&[("o0", b"x")]);
        let text = Some(long.clone());
        let (task_version, execution, node) = (text.clone(), text.clone(), text);
        put.run = RunClaim { task_version, execution, node, ..RunClaim::default() };
        raw.put((put, payload));
    }
    let mut left: Vec<_> = stored
        .iter()
        .map(|one| Asked { call: one.0.identity().unwrap(), max_age_ms: None })
        .collect();
    let mut frames = 0;
    while !left.is_empty() {
        frames += 1;
        let reply = raw.ask(Request::LookupMany(left.clone()), Bytes::new());
        let Response::LookedUp(looked) = reply.response else { panic!("{:?}", reply.response) };
        let hits = looked.iter().take_while(|one| matches!(one, Looked::Hit(_))).count();
        assert!(hits > 0 && looked[hits..].iter().all(|one| *one == Looked::Full));
        left.drain(..hits);
    }
    assert!(frames > 1, "all of them fit into one frame, so this shows nothing");
    assert_eq!(raw.stats().hits, LOOKUPS_MAX as u64, "what was not told is not counted");
}

fn hit(key: memod_protocol::Key, bytes: u64, delivery: Delivery) -> Looked {
    let output = Output {
        name: "o0".into(),
        literal_type: "string".into(),
        digest: Digest::of(b"x"),
        bytes,
        delivery,
    };
    let provenance = Provenance {
        writer_uid: 0,
        writer_pid: None,
        program: None,
        host: None,
        created_at_ms: 0,
        run: RunClaim::default(),
    };
    Looked::Hit(Box::new(Hit { key, age_ms: 0, outputs: vec![output], provenance }))
}

fn lying(answer: impl Fn(&[Asked]) -> (Response, Bytes) + Send + Sync + 'static) -> Fake {
    Fake::able(BATCHES, move |request| match request {
        Request::LookupMany(lookups) => {
            let (response, payload) = answer(&lookups);
            Answer::Say(response, payload)
        }
        other => panic!("{other:?} was not due"),
    })
}

#[test]
fn s34_a_daemon_that_answers_nonsense_is_an_error_for_each() {
    let key = |of: &Asked| of.call.key();
    let lies: Vec<Fake> = vec![
        lying(|_| (Response::LookedUp(Vec::new()), Bytes::new())),
        lying(|of| (Response::LookedUp(vec![Looked::Full; of.len()]), Bytes::new())),
        lying(|of| (Response::LookedUp(vec![Looked::Apart; of.len() + 1]), Bytes::new())),
        lying(|_| (Response::Pong, Bytes::new())),
        lying(|_| (Response::Error(WireError::new(ErrorCode::Internal, "no")), Bytes::new())),
        // More than comes, less than comes, nothing that comes here, and what is another's.
        lying(move |of| {
            let hits = of.iter().map(|of| hit(key(of), 1, Delivery::Inline));
            (Response::LookedUp(hits.collect()), Bytes::from_static(b"x"))
        }),
        lying(move |of| {
            let hits = of.iter().map(|of| hit(key(of), 1, Delivery::Inline));
            (Response::LookedUp(hits.collect()), vec![b'x'; 300].into())
        }),
        lying(move |of| {
            let hits = of.iter().map(|of| hit(key(of), u64::MAX, Delivery::Inline));
            (Response::LookedUp(hits.collect()), Bytes::from_static(b"x"))
        }),
        lying(move |of| {
            let hits = of.iter().map(|of| hit(key(of), 1, Delivery::Stream));
            (Response::LookedUp(hits.collect()), Bytes::new())
        }),
        lying(move |of| {
            let hits = of.iter().map(|of| hit(key(of), 1, Delivery::Sealed));
            (Response::LookedUp(hits.collect()), Bytes::new())
        }),
        lying(move |of| {
            let other = key(&asked("another"));
            let hits = of.iter().map(|_| hit(other, 1, Delivery::Inline));
            (Response::LookedUp(hits.collect()), vec![b'x'; of.len()].into())
        }),
    ];
    for (number, fake) in lies.iter().enumerate() {
        let client = Client::builder().socket(fake.socket()).board(false).build();
        let outcomes = look(&client, &numbered("lied to", 100));
        for outcome in &outcomes {
            let is_error = matches!(outcome, Err(Error::Protocol(_) | Error::Daemon(_)));
            assert!(is_error, "lie {number}: {outcome:?}");
        }
    }
}

#[test]
fn s22_outputs_that_are_not_those_of_the_call_are_misses() {
    let fake = lying(|of| {
        let mut hits: Vec<_> =
            of.iter().map(|of| hit(of.call.key(), 1, Delivery::Inline)).collect();
        if let Looked::Hit(hit) = &mut hits[1] {
            hit.outputs[0].literal_type = "integer".into();
        }
        (Response::LookedUp(hits), Bytes::from_static(b"abc"))
    });
    let client = Client::builder().socket(fake.socket()).board(false).build();
    let outcomes = look(&client, &numbered("changed", 3));
    assert_eq!(found(&outcomes[0]).unwrap(), "a");
    let Ok(Lookup::Miss(miss)) = &outcomes[1] else { panic!("{:?}", outcomes[1]) };
    assert_eq!(miss.reason, MissReason::Corrupt);
    assert_eq!(found(&outcomes[2]).unwrap(), "c");
}

#[test]
fn s34_a_daemon_without_batches_is_asked_one_by_one() {
    let fake = Fake::answering(|request| {
        let Request::Lookup(lookup) = request else { panic!("{request:?} was not due") };
        let (key, reason) = (lookup.call.key(), MissReason::NeverSeen);
        Response::Miss(Miss { key, reason, at_ms: None, by_uid: None, detail: None }).into()
    });
    let client = Client::builder().socket(fake.socket()).board(false).build();
    let calls = numbered("old", 50);
    for (call, outcome) in calls.iter().zip(look(&client, &calls)) {
        let Ok(Lookup::Miss(miss)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(miss.key, call.key().unwrap());
    }
}

#[test]
fn s34_a_daemon_that_does_not_answer_is_not_waited_for_twice() {
    let fake = Fake::able(BATCHES, |_| Answer::Nothing);
    let client = Client::builder()
        .socket(fake.socket())
        .board(false)
        .deadline(std::time::Duration::from_millis(200))
        .build();
    let began = std::time::Instant::now();
    let outcomes = look(&client, &numbered("silent", 1000));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Timeout { .. }))));
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

/// The daemon does what is under way in any order, so a put waits for one of its key before it.
#[test]
fn s18_no_two_puts_of_one_key_are_under_way() {
    let calls = numbered("again", 3);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&seen);
    let fake = Fake::able(BATCHES, move |request| match request {
        Request::Put(put) => {
            asked.lock().unwrap().push(put.call.key());
            Answer::Nothing
        }
        other => panic!("{other:?} was not due"),
    });
    let deadline = std::time::Duration::from_millis(300);
    let client = Client::builder().socket(fake.socket()).deadline(deadline).build();
    let runs = [0, 1, 2, 1, 0].map(|number: usize| run(&calls[number], b"x"));
    let outcomes = client.put_many(runs.into());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Timeout { .. }))));
    // The first three go at once; the fourth waits for the second, and what is behind it for it.
    let due: Vec<_> = calls.iter().map(|call| call.key().unwrap()).collect();
    assert_eq!(*seen.lock().unwrap(), due);
}
