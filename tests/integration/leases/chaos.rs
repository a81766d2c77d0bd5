//! Semantics 26 to 28 under everything at once: no second owner, no lost wake-up, no stuck key.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Random, Raw, call};
use memod_protocol::{Claim, PutOutcome, Release, Request, Response, Selector};

use super::hold::all_is_quiet;

const WORKERS: usize = 24;
const KEYS: usize = 3;
const TURNS: usize = 150;

/// A key, and whether somebody thinks to own it.
struct Place {
    call: CallBuilder,
    is_owned: AtomicBool,
}

/// What the workers have seen, so that the test shows that it tested something.
#[derive(Default)]
struct Seen {
    leases: AtomicU64,
    hits: AtomicU64,
    waits: AtomicU64,
    timeouts: AtomicU64,
}

struct Worker<'a> {
    socket: &'a Path,
    places: &'a [Place],
    seen: &'a Seen,
    random: Random,
    raw: Raw,
}

impl Worker<'_> {
    fn turn(&mut self) {
        let place = &self.places[self.random.below(KEYS)];
        let wait_ms = [None, None, Some(u64::MAX), Some(1), Some(0)][self.random.below(5)];
        let claim = Claim { wait_ms, take: self.random.below(6) > 0, ..place.call.claim() };
        if self.random.below(8) == 0 {
            // It asks and dies, wherever its question is by then.
            self.raw.send(Request::Claim(Box::new(claim)), Bytes::new());
            self.raw = Raw::greeted(self.socket);
            return;
        }
        let count = |of: &AtomicU64| {
            of.fetch_add(1, Ordering::Relaxed);
        };
        let mut reply = self.raw.ask(Request::Claim(Box::new(claim)), Bytes::new());
        if matches!(&reply.response, Response::Pending(pending) if pending.waiting) {
            count(&self.seen.waits);
            reply = self.raw.read_reply().expect("every wait ends");
        }
        match reply.response {
            Response::Hit(_) => {
                count(&self.seen.hits);
                if self.random.below(2) == 0 {
                    let keys = vec![place.call.0.key().unwrap()];
                    self.raw.invalidate(Selector::Keys(keys), false);
                }
            }
            Response::Leased(_) => {
                count(&self.seen.leases);
                self.own(place);
            }
            Response::Pending(_) => count(&self.seen.timeouts),
            Response::Miss(_) => {}
            other => panic!("no answer to a claim: {other:?}"),
        }
    }

    /// Owns for a while, then gives it up in any of the ways there are.
    fn own(&mut self, place: &Place) {
        assert!(!place.is_owned.swap(true, Ordering::SeqCst), "there are two owners");
        for _ in 0..self.random.below(3) {
            assert!(self.raw.ping());
        }
        // From here on another may own, and only from here on.
        assert!(place.is_owned.swap(false, Ordering::SeqCst), "another has given it up");
        match self.random.below(4) {
            0 => {
                let release = Release { call: place.call.identity(), owner: None };
                let reply = self.raw.ask(Request::Release(Box::new(release)), Bytes::new());
                assert!(matches!(reply.response, Response::Released { released: true }));
            }
            1 => self.raw = Raw::greeted(self.socket),
            _ => {
                let put = self.raw.put(place.call.put(&[("o0", b"made")]));
                assert_eq!(put, PutOutcome::Populated, "the owner is the first to commit");
            }
        }
    }
}

#[test]
fn s26_s28_no_second_owner_no_lost_wake_up_and_no_stuck_key() {
    let daemon = Daemon::new();
    let mut random = Random::seeded();
    let place = |number: usize| Place {
        call: call("chaos").version(&number.to_string()),
        is_owned: AtomicBool::new(false),
    };
    let (places, seen) = ((0..KEYS).map(place).collect::<Vec<_>>(), Seen::default());
    let socket = daemon.socket();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let raw = daemon.connect();
            let random = Random::new(random.number());
            let (socket, places, seen) = (&socket, &places, &seen);
            let mut worker = Worker { socket, places, seen, random, raw };
            scope.spawn(move || (0..TURNS).for_each(|_| worker.turn()));
        }
    });
    for (what, count) in [
        ("leases", &seen.leases),
        ("hits", &seen.hits),
        ("waits", &seen.waits),
        ("timeouts", &seen.timeouts),
    ] {
        let count = count.load(Ordering::Relaxed);
        println!("{what}: {count}");
        assert!(count > 10, "too few {what}");
    }
    all_is_quiet(&daemon);
}

#[test]
fn s31_a_put_at_the_very_moment_of_a_claim_leaves_no_lease_behind() {
    let daemon = Daemon::new();
    let mut claimants: Vec<Raw> = (0..4).map(|_| daemon.connect()).collect();
    let mut writer = daemon.connect();
    let (mut before, mut after) = (0, 0);
    for round in 0..1000_usize {
        let one = call("collision").version(&round.to_string());
        let (put, payload) = one.put(&[("o0", b"made")]);
        let mut put = Some((Request::Put(Box::new(put)), payload));
        // Now before, now among, now behind the claims.
        for (number, raw) in claimants.iter_mut().enumerate() {
            if number == round % 5 {
                put.take().into_iter().for_each(|(put, payload)| {
                    writer.send(put, payload);
                });
            }
            raw.send(Request::Claim(Box::new(one.claim())), Bytes::new());
        }
        put.take().into_iter().for_each(|(put, payload)| {
            writer.send(put, payload);
        });
        let stored = writer.read_reply().expect("an answer").response;
        assert!(matches!(stored, Response::Put(PutOutcome::Populated)), "{stored:?}");
        for raw in &mut claimants {
            let mut answer = raw.read_reply().expect("an answer").response;
            if matches!(&answer, Response::Pending(pending) if pending.waiting) {
                answer = raw.read_reply().expect("every wait ends").response;
            }
            match answer {
                Response::Hit(_) => after += 1,
                Response::Leased(_) => before += 1,
                other => panic!("neither a hit nor the lease: {other:?}"),
            }
        }
    }
    println!("{before} owned before the put, {after} had its hit");
    assert!(before > 0 && after > 0);
    // The connections are open, so whatever they still held would be seen.
    assert_eq!(writer.leases_and_waiters(), (0, 0));
    drop(claimants);
}
