//! Semantics 27: whoever waits much leaves others places to wait.

use std::process::{Child, Stdio};

use harness::{CallBuilder, Raw, eventually};
use memod_protocol::{ErrorCode, Response};

use super::house::{ALICE, BOB, House, call};

const ROOT: u32 = 0;

/// How many claims of a connection wait before one is refused.
fn waits(raw: &mut Raw, one: &CallBuilder) -> usize {
    for number in 0.. {
        match raw.claim(one.claim()) {
            Response::Pending(pending) => assert!(pending.waiting),
            Response::Error(error) => {
                assert_eq!(error.code, ErrorCode::Busy, "{error}");
                assert!(error.hint.is_some(), "it says what to do: {error}");
                return number;
            }
            other => panic!("another has the lease: {other:?}"),
        }
    }
    unreachable!("some claim is refused")
}

#[test]
fn s27_no_connection_and_no_user_takes_all_places_to_wait() {
    let config = "socket_mode = \"0666\"\nwaiters_max = 48\nlease_heartbeat_max = \"1h\"\n";
    let Some(house) = House::new(config) else { return };
    let one = harness::call("crowded");
    let connect = || house.daemon.connect();
    let (mut owner, mut greedy, mut second, mut third) =
        (connect(), connect(), connect(), connect());
    owner.owns(one.claim());
    assert_eq!(waits(&mut greedy, &one), 32, "two thirds for a connection");
    assert_eq!(waits(&mut second, &one), 4, "three quarters for a user");
    assert_eq!(waits(&mut third, &one), 0);

    // Others still wait, also when each of those before has all that it can have.
    let lookup = call("lookup", "slow", "o0:string");
    let lease = ["--owner", "slow", "--heartbeat", "1h"];
    house.json(0, ROOT, "alpha", &[&["lease", "acquire"], &lookup[1..], &lease].concat());
    let waiting: Vec<Child> = [ALICE, BOB, ALICE, BOB]
        .into_iter()
        .map(|uid| {
            let mut memo = house.command(uid, "alpha", &[&lookup[..], &["--wait", "1h"]].concat());
            memo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    eventually("all of them wait", || owner.leases_and_waiters() == (2, 40));
    assert_eq!(waits(&mut second, &one), 0, "who has its part is still refused");
    house.stores(ROOT, "alpha", "slow");
    for child in waiting {
        let ran: harness::Ran = harness::output(child).into();
        assert_eq!((ran.code, &ran.json()["status"]), (Some(0), &"HIT".into()), "{ran:?}");
    }
    drop(greedy);
    eventually("its places are free", || owner.leases_and_waiters() == (1, 4));
    assert_eq!(waits(&mut third, &one), 30);
}
