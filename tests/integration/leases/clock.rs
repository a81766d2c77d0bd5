//! Semantics 32: a wall clock that is set forward or back.

use harness::{Setup, call, named};
use memod_protocol::{Claim, Lookup, MissReason, PutOutcome, Request, Response};

use bytes::Bytes;

const YEAR: i64 = 365 * 24 * 3600;

#[test]
fn s32_a_clock_that_is_set_neither_frees_nor_prolongs_a_lease() {
    let daemon = Setup::new().faults().start();
    let (mut a, mut b, mut c) = (daemon.connect(), daemon.connect(), daemon.connect());
    let (one, two) = (call("clock"), call("clock of a named owner"));
    let leased = a.owns(one.claim());
    let waiting = b.waits(one.claim());
    let reserved = a.reserve(&two, named("first", 60_000));
    assert!(reserved.acquired);
    for seconds in [YEAR, -YEAR, 100 * YEAR, 0] {
        daemon.faults().set_clock(seconds);
        assert_eq!(c.leases_and_waiters(), (2, 1), "{seconds}");
        assert!(b.ping(), "who waits has been told nothing");
        match c.claim(Claim { wait_ms: Some(0), ..one.claim() }) {
            Response::Pending(pending) => assert_eq!(pending.holder.pid, leased.holder.pid),
            other => panic!("it is held, not {other:?}"),
        }
        // It expires after three heartbeats, of which the longest is ten seconds.
        let other = c.reserve(&two, named("second", 60_000));
        assert!(!other.acquired);
        let left = other.holder.expires_in_ms.expect("it expires");
        assert!((20_000..=30_000).contains(&left), "{seconds}: {left}");
    }
    // What holds a lease is its connection: that has been so all the time.
    daemon.faults().set_clock(-YEAR);
    a.hang_up();
    b.woken_as_owner(&waiting);
}

#[test]
fn s19_s32_an_entry_is_there_whatever_becomes_of_the_clock() {
    let daemon = Setup::new().faults().start();
    let (mut raw, one) = (daemon.connect(), call("put and looked up"));
    let mut aged = |max_age_ms| {
        let lookup = Lookup { call: one.identity(), max_age_ms };
        match raw.ask(Request::Lookup(lookup), Bytes::new()).response {
            Response::Hit(_) => Ok(()),
            Response::Miss(miss) => Err(miss.reason),
            other => panic!("{other:?}"),
        }
    };
    let put = one.put(&[("o0", b"kept")]);
    assert_eq!(daemon.connect().put(put), PutOutcome::Populated);
    let hour = Some(3_600_000);
    assert_eq!((aged(None), aged(hour)), (Ok(()), Ok(())));
    // Put in what is now the future: it is there, and not old.
    daemon.faults().set_clock(-YEAR);
    assert_eq!((aged(None), aged(hour)), (Ok(()), Ok(())));
    // The next day.
    daemon.faults().set_clock(YEAR / 365);
    assert_eq!((aged(None), aged(hour)), (Ok(()), Err(MissReason::Expired)));
    daemon.faults().set_clock(0);
    assert_eq!(aged(hour), Ok(()));
}
