//! Peers that do not read, as many as their user has places to write: they keep up nobody of
//! another user, and those of their own user only until somebody waits for a place (issue 6).

use bytes::Bytes;
use harness::{Raw, call, connected_as, eventually, sockets};
use memod_protocol::PutOutcome;
use memod_protocol::limits::REQUESTS_IN_FLIGHT_MAX;

use super::house::{ALICE, BOB, House};

/// Sixteen places to write, of which one user has twelve; and nobody is cut off for stalling.
const CONFIG: &str = "socket_mode = \"0666\"\nconnections_max = 64\nstall_timeout = \"1h\"\n";
const PLACES_OF_USER: usize = 12;

/// A connection of somebody who takes no descriptors, so that all bytes are written to it.
fn connect(house: &House, uid: u32) -> Raw {
    let mut raw = Raw::over(connected_as(&house.daemon.socket(), uid, uid));
    raw.greet();
    raw.is_welcome();
    raw
}

#[test]
fn peers_that_never_read_keep_no_places_from_others_nor_for_long_from_their_own() {
    let Some(house) = House::new(CONFIG) else { return };
    let daemon = &house.daemon;
    let mut observer = daemon.connect();
    let (small, large) = (call("unread"), call("unread.large"));
    let content = vec![7; 2 << 20];
    assert_eq!(observer.put(small.put(&[("o0", &[b's'; 10_000])])), PutOutcome::Populated);
    assert_eq!(observer.put(large.put(&[("o0", &content)])), PutOutcome::Populated);
    let mut deaf: Vec<Raw> = (0..PLACES_OF_USER).map(|_| connect(&house, ALICE)).collect();
    let [mut bob, mut alice] = [BOB, ALICE].map(|uid| connect(&house, uid));
    let open = sockets(daemon.pid());
    for raw in &mut deaf {
        (0..REQUESTS_IN_FLIGHT_MAX).for_each(|_| _ = raw.send(small.lookup(), Bytes::new()));
    }
    eventually("they have all their places", || sockets(daemon.pid()) == open + PLACES_OF_USER);

    // Another user's answer does not fit into the socket either, and has a place at once.
    bob.send(large.lookup(), Bytes::new());
    eventually("he has a place", || sockets(daemon.pid()) == open + PLACES_OF_USER + 1);
    let reply = bob.read_reply().expect("an answer");
    let memod_protocol::Response::Hit(hit) = reply.response else { panic!("{:?}", reply.response) };
    assert!(bob.contents(&hit, reply.payload)[0] == content);
    eventually("it is free again", || sockets(daemon.pid()) == open + PLACES_OF_USER);
    assert_eq!(observer.stats().connections, 3 + PLACES_OF_USER as u64, "nobody was cut off");

    // Their own user's waits for one of theirs, and that is the end of whoever has it.
    let (_, contents) = alice.lookup(&large).expect("it is stored");
    assert!(contents[0] == content);
    eventually("one is cut off", || observer.stats().connections < 3 + PLACES_OF_USER as u64);
    let why = "while others were waiting for a place to write";
    assert!(daemon.log().contains(why), "{}", daemon.log());
    assert!(alice.ping() && bob.ping());
    drop(deaf);
    eventually("nothing is left of them", || sockets(daemon.pid()) == open - PLACES_OF_USER);
}
