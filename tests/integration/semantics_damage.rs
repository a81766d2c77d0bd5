//! Semantics 14 and 22 for outputs of several mebibytes: damaged on disk they are a miss, told as
//! corrupt, never served, and stored anew by the next run.

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Raw, call, eventually};
use memod_client::{Lookup, LookupOptions};
use memod_protocol::{
    Delivery, Digest, Miss, MissReason, NewOutput, OutputSource, PutOutcome, Request, Response,
};

use crate::client::to_daemon;
use crate::semantics_lookup::{damage, noise};

const MIB: usize = 1 << 20;

fn upload(raw: &mut Raw, one: &CallBuilder, contents: &[Vec<u8>]) -> PutOutcome {
    let (mut put, _) = one.put(&[]);
    for ((number, name), content) in (0..).zip(one.0.interface.outputs.keys()).zip(contents) {
        put.outputs.push(NewOutput {
            name: name.clone(),
            bytes: content.len() as u64,
            digest: Some(raw.upload(number, content)),
            source: OutputSource::Upload(number),
        });
    }
    raw.put((put, Bytes::new()))
}

/// Looks up; whatever bytes come are those that were stored. Gives how it ended: a hit that is
/// whole, a miss, or a hit that the daemon took back in the middle of its stream.
enum Seen {
    Whole,
    Missed(Miss),
    Void,
}

fn look(raw: &mut Raw, one: &CallBuilder, contents: &[Vec<u8>]) -> Seen {
    let reply = raw.ask(one.lookup(), Bytes::new());
    let hit = match reply.response {
        Response::Hit(hit) => *hit,
        Response::Miss(miss) => return Seen::Missed(miss),
        other => panic!("neither hit nor miss: {other:?}"),
    };
    let streamed: u64 = hit
        .outputs
        .iter()
        .filter(|output| output.delivery == Delivery::Stream)
        .map(|output| output.bytes)
        .sum();
    let mut received = 0;
    while received < streamed {
        let piece = raw.read_reply().expect("a chunk, or why there is none");
        match piece.response {
            Response::Chunk { output, offset } => {
                let (output, offset) = (output as usize, usize::try_from(offset).unwrap());
                let stored = &contents[output][offset..offset + piece.payload.len()];
                assert!(piece.payload == stored, "wrong bytes were served");
                received += piece.payload.len() as u64;
            }
            Response::Error(_) => return Seen::Void,
            other => panic!("neither a chunk nor an error: {other:?}"),
        }
    }
    assert!(hit.outputs.iter().zip(contents).all(|(of, made)| of.digest == Digest::of(made)));
    Seen::Whole
}

#[test]
fn s14_s22_a_large_output_that_is_damaged_is_never_served_and_can_be_stored_anew() {
    // In the middle of a chunk, and with a sound output before or behind the damaged one.
    for (damaged, sizes) in
        [(0, vec![5 * MIB + 77]), (1, vec![3 * MIB, 6 * MIB]), (0, vec![4 * MIB; 2])]
    {
        let mut daemon = Daemon::new();
        let mut raw = daemon.connect();
        let of = |task| {
            let one = call(task).bare();
            let names = ["a", "b"].into_iter().take(sizes.len());
            names.fold(one, |one, name| one.output(name, "bytes"))
        };
        let (bad, sound) = (of("damaged"), of("sound"));
        let made = |seed: u64| -> Vec<Vec<u8>> {
            (seed..).zip(&sizes).map(|(seed, bytes)| noise(seed, *bytes)).collect()
        };
        let (contents, others) = (made(20), made(30));
        assert_eq!(upload(&mut raw, &bad, &contents), PutOutcome::Populated);
        assert_eq!(upload(&mut raw, &sound, &others), PutOutcome::Populated);
        assert!(matches!(look(&mut raw, &bad, &contents), Seen::Whole));
        assert!(daemon.stop().success());
        assert!(damage(&daemon.data(), &contents[damaged]) > 0, "it stands in the store's files");
        daemon.start().expect("it starts with a damaged blob");

        let mut raw = daemon.connect();
        let first = to_daemon(&daemon).lookup(&bad.0, &LookupOptions::default());
        assert!(
            matches!(&first, Ok(Lookup::Miss(miss)) if miss.reason == MissReason::Corrupt),
            "a client is told a miss, however late it was found out: {first:?}"
        );
        // Who comes while the grave is being dug finds the damage for itself.
        eventually("it has a grave that says when", || match look(&mut raw, &bad, &contents) {
            Seen::Whole => panic!("a damaged output was served"),
            Seen::Void => false,
            Seen::Missed(miss) => {
                assert_eq!(miss.reason, MissReason::Corrupt);
                miss.at_ms.is_some()
            }
        });
        assert!(raw.show(bad.0.key().unwrap()).is_err(), "it is listed no more");
        assert!(matches!(look(&mut raw, &sound, &others), Seen::Whole), "the other is whole");
        let stats = raw.stats();
        assert_eq!((stats.entries, stats.hits), (1, 1 + 1), "what was taken back is no hit");
        assert!(
            matches!(stats.misses_by_reason[..], [(MissReason::Corrupt, count)] if count >= 2),
            "{stats:?}"
        );

        assert_eq!(upload(&mut raw, &bad, &contents), PutOutcome::Populated);
        assert!(matches!(look(&mut raw, &bad, &contents), Seen::Whole), "stored anew");
        assert!(daemon.stop().success());
        daemon.start().expect("it starts again");
        let mut raw = daemon.connect();
        assert!(matches!(look(&mut raw, &bad, &contents), Seen::Whole), "and for good");
    }
}

#[test]
fn s22_s26_what_is_damaged_is_computed_anew_by_one() {
    let mut daemon = Daemon::new();
    let (one, content) = (call("serialized").bare().output("a", "bytes"), vec![noise(40, 5 * MIB)]);
    assert_eq!(upload(&mut daemon.connect(), &one, &content), PutOutcome::Populated);
    assert!(daemon.stop().success());
    assert!(damage(&daemon.data(), &content[0]) > 0, "it stands in the store's files");
    daemon.start().expect("it starts with a damaged blob");
    let (mut first, mut second) = (daemon.connect(), daemon.connect());
    // One finds out, and may have begun to receive it.
    first.send(Request::Claim(Box::new(one.claim())), Bytes::new());
    loop {
        match first.read_reply().expect("an answer").response {
            Response::Hit(_) | Response::Chunk { output: 0, .. } => {}
            // It asks again, and does so until the damaged entry is gone.
            Response::Error(_) => {
                first.send(Request::Claim(Box::new(one.claim())), Bytes::new());
            }
            Response::Leased(leased) => {
                assert_eq!(leased.miss.reason, MissReason::Corrupt);
                break;
            }
            other => panic!("neither the lease nor an error: {other:?}"),
        }
    }
    let waiting = second.waits(one.claim());
    assert_eq!(upload(&mut first, &one, &content), PutOutcome::Populated);
    assert!(second.woken_by_hit(&waiting).1[0] == content[0]);
    assert_eq!(second.leases_and_waiters(), (0, 0));
}
