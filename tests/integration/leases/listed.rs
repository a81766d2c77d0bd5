//! The list of leases: who holds which now, and how many wait.

use harness::{Daemon, Raw, call, eventually, named};
use memod_protocol::limits::LEASE_ROWS_MAX;
use memod_protocol::{LeaseRow, Scope};

/// Tasks and waiters, in order.
fn told(raw: &mut Raw) -> Vec<(String, u64)> {
    raw.leases().into_iter().map(|row| (row.task, row.waiters)).collect()
}

fn row(task: &str, waiters: u64) -> (String, u64) {
    (task.to_owned(), waiters)
}

#[test]
fn those_for_which_most_wait_come_first_and_those_that_have_ended_are_gone() {
    let daemon = Daemon::new();
    let (mut owner, mut other, mut looks) = (daemon.connect(), daemon.connect(), daemon.connect());
    assert_eq!(told(&mut looks), []);
    for task in ["first", "second", "third"] {
        owner.owns(call(task).claim());
    }
    assert_eq!(told(&mut looks), [row("first", 0), row("second", 0), row("third", 0)]);
    let mut third = daemon.connect();
    let waiting = [other.waits(call("third").claim()), third.waits(call("third").watch())];
    let second = other.waits(call("second").claim());
    assert_eq!(told(&mut looks), [row("third", 2), row("second", 1), row("first", 0)]);
    // An entry ends a lease, and so does who gives it back; the next is another's.
    owner.put(call("third").put(&[("o0", b"x")]));
    other.woken_by_hit(&waiting[0]);
    third.woken_by_hit(&waiting[1]);
    assert!(owner.release(&call("second"), None));
    other.woken_as_owner(&second);
    assert_eq!(told(&mut looks), [row("first", 0), row("second", 0)]);
    // The end of a connection does, too.
    owner.hang_up();
    eventually("it is gone", || told(&mut looks) == [row("second", 0)]);
}

#[test]
fn a_row_says_who_holds_it_of_what_and_since_when() {
    let daemon = Daemon::new();
    let (mut raw, mut looks) = (daemon.connect(), daemon.connect());
    let of = call("named").scope("p", "d");
    assert!(raw.reserve(&of, named("nightly", 20_000)).acquired);
    let uid = nix::unistd::getuid().as_raw();
    let [LeaseRow { key, scope, task, holder, waiters }] = looks.leases().try_into().unwrap();
    assert_eq!((key, scope, task), (of.0.key().unwrap(), Scope::new("p", "d"), "named".into()));
    assert_eq!((holder.name.as_deref(), holder.uid, waiters), (Some("nightly"), uid, 0));
    assert!(holder.pid.is_none() && holder.expires_in_ms.is_some_and(|left| left <= 60_000));
    assert!(raw.release(&of, Some("nightly")));
    raw.owns(of.claim());
    let [LeaseRow { holder, .. }] = looks.leases().try_into().unwrap();
    assert_eq!((holder.name, holder.pid), (None, Some(std::process::id())));
    assert!(holder.program.is_some_and(|program| program.starts_with("integration")));
    assert!(holder.held_ms < 60_000);
}

#[test]
fn a_named_lease_that_has_expired_is_gone() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    assert!(raw.reserve(&call("expires"), named("short", 1)).acquired);
    eventually("it has expired", || raw.leases().is_empty());
}

#[test]
fn no_more_are_told_than_fit() {
    let daemon = Daemon::new();
    let (mut owner, mut other) = (daemon.connect(), daemon.connect());
    let long = |number: usize| call(&format!("{number:04}{}", "t".repeat(1000)));
    for number in 0..LEASE_ROWS_MAX + 5 {
        owner.owns(long(number).claim());
    }
    let last = long(LEASE_ROWS_MAX + 4);
    other.waits(last.claim());
    let told = told(&mut other);
    assert_eq!((told.len(), &told[0]), (LEASE_ROWS_MAX, &(last.0.task.clone(), 1)));
    assert_eq!(told[1].0, long(0).0.task, "then the oldest");
}
