//! Many lookups by who may not read all of them.

use std::env;
use std::path::PathBuf;

use harness::call;
use memod_client::{Call, Client, Lookup, MissReason};

use super::look;
use crate::grants::house::{ALICE, GRANTS, House};

/// Set in the process of the other user: the daemon's socket.
const SOCKET: &str = "MEMOD_TEST_BATCHES_SOCKET";
const COUNT: usize = 300;

/// Calls in two scopes, one of which is somebody else's.
fn calls() -> Vec<Call> {
    let scope = |number: usize| if number % 3 == 1 { "beta" } else { "alpha" };
    let one = |number| call(&format!("task {number}")).scope(scope(number), "development").0;
    (0..COUNT).map(one).collect()
}

/// What the other user sees.
fn ask(socket: PathBuf) {
    let client = Client::builder().socket(socket).board(false).build();
    for (number, outcome) in look(&client, &calls()).iter().enumerate() {
        match outcome {
            Ok(Lookup::Hit(hit)) if number % 3 != 1 => {
                assert_eq!(super::bytes(hit), number.to_string());
            }
            Ok(Lookup::Miss(miss)) if number % 3 == 1 => {
                assert_eq!(miss.reason, MissReason::Forbidden);
                assert_eq!(miss.key, calls()[number].key().unwrap());
            }
            other => panic!("call {number} came to {other:?}"),
        }
    }
}

#[test]
fn s14_a_forbidden_scope_in_the_middle_is_forbidden_and_no_more() {
    if let Some(socket) = env::var_os(SOCKET) {
        return ask(socket.into());
    }
    let Some(house) = House::new(GRANTS) else { return };
    let mut raw = house.daemon.connect();
    for (number, call) in calls().into_iter().enumerate() {
        let content = number.to_string();
        raw.put(harness::CallBuilder(call).put(&[("o0", content.as_bytes())]));
    }
    let name = "batches::strangers::s14_a_forbidden_scope_in_the_middle_is_forbidden_and_no_more";
    house.plays(ALICE, name, SOCKET);
    // Somebody else's refusals are told apart from misses, and counted by nobody's task.
    let stats = raw.stats();
    assert_eq!((stats.hits, stats.misses), (200, 100));
    assert_eq!(stats.misses_by_reason, [(MissReason::Forbidden, 100)]);
    assert_eq!(stats.by_task.iter().map(|row| row.misses).sum::<u64>(), 0);
}
