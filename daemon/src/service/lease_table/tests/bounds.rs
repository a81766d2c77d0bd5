//! Every bound, and what happens when it is met.

use super::{
    Ask, Effect, Effects, Event, KEY, OTHER_KEY, Table, Ticket, Wait, ask, asks, at, bounds, gone,
    granted, granted_until, named, release, released, watch, withdraw,
};
use crate::service::lease_table::{Bound, Bounds, LeaseTable};

fn busy(ticket: u64, bound: Bound) -> Effects {
    vec![Effect::Busy { ticket: Ticket(ticket), bound }]
}

fn other(ask: Ask<&'static str>) -> Ask<&'static str> {
    Ask { key: OTHER_KEY, ..ask }
}

fn apply(table: &mut Table, ask: Ask<&'static str>) -> Effects {
    table.apply(Event::Ask(ask), at(1))
}

#[track_caller]
fn assert_waits(effects: &Effects) {
    assert!(matches!(effects.as_slice(), [Effect::Waiting { .. }]), "{effects:?}");
}

#[test]
fn waiters_of_a_key_are_bounded() {
    let mut table = LeaseTable::new(Bounds { waiters_per_key_max: 1, ..bounds() });
    asks(&mut table, [ask(1, 1), other(ask(2, 2)), ask(3, 3)]);
    assert_eq!(apply(&mut table, watch(4, 4)), busy(4, Bound::WaitersPerKey));
    assert_waits(&apply(&mut table, other(ask(5, 5))));
    table.apply(withdraw(3), at(2));
    assert_waits(&apply(&mut table, ask(6, 6)));
}

#[test]
fn waiters_of_a_connection_are_bounded() {
    let bounds = Bounds { waiters_max: 2, waiters_per_connection_share: 1, ..bounds() };
    let mut table = LeaseTable::new(bounds);
    asks(&mut table, [ask(1, 1), other(ask(2, 2)), ask(3, 3)]);
    assert_eq!(apply(&mut table, other(ask(4, 3))), busy(4, Bound::WaitersPerConnection));
    assert_waits(&apply(&mut table, ask(5, 5)));
    table.apply(release(1), at(2));
    assert_waits(&apply(&mut table, other(ask(6, 3))));
}

/// How many asks of a user wait before the next is refused; each comes over another connection.
fn waiters_of(uid: u32, table: &mut Table, first: u64, bound: Bound) -> u64 {
    let mut number = first;
    loop {
        let effects = apply(table, Ask { uid, ..ask(number, number) });
        if effects == busy(number, bound) {
            return number - first;
        }
        assert_waits(&effects);
        number += 1;
    }
}

#[test]
fn each_user_leaves_room_for_the_next() {
    let bounds = Bounds { waiters_max: 64, waiters_per_user_share: 3, ..bounds() };
    let mut table = LeaseTable::new(bounds);
    asks(&mut table, [ask(1, 1)]);
    assert_eq!(waiters_of(1, &mut table, 100, Bound::WaitersPerUser), 48, "three quarters");
    assert_eq!(waiters_of(2, &mut table, 200, Bound::WaitersPerUser), 12, "of what is left");
    assert_eq!(waiters_of(3, &mut table, 300, Bound::WaitersPerUser), 3);
    assert_eq!(waiters_of(4, &mut table, 400, Bound::Waiters), 1);
    // Who has had its part has it again when others are gone, and not before.
    table.apply(gone(400), at(2));
    assert_eq!(waiters_of(1, &mut table, 500, Bound::WaitersPerUser), 0);
    (100..148).for_each(|connection| drop(table.apply(gone(connection), at(2))));
    assert_eq!(waiters_of(1, &mut table, 600, Bound::WaitersPerUser), 37);
}

#[test]
fn waiters_in_all_are_bounded() {
    let mut table = LeaseTable::new(Bounds { waiters_max: 1, ..bounds() });
    asks(&mut table, [ask(1, 1), other(ask(2, 2)), ask(3, 3)]);
    assert_eq!(apply(&mut table, other(ask(4, 4))), busy(4, Bound::Waiters));
    table.apply(gone(3), at(2));
    assert_waits(&apply(&mut table, other(ask(5, 5))));
}

#[test]
fn who_does_not_wait_meets_no_bound_for_waiting() {
    let mut table = LeaseTable::new(Bounds { waiters_max: 0, ..bounds() });
    asks(&mut table, [ask(1, 1)]);
    let effects = apply(&mut table, Ask { wait: Wait::No, ..ask(2, 2) });
    assert!(matches!(effects.as_slice(), [Effect::Held { .. }]), "{effects:?}");
    assert_eq!(apply(&mut table, ask(3, 3)), busy(3, Bound::Waiters));
}

#[test]
fn leases_are_bounded() {
    let mut table = LeaseTable::new(Bounds { leases_max: 1, ..bounds() });
    let lease = Ask { claimant: named("anna", 5), ..ask(1, 1) };
    assert_eq!(asks(&mut table, [lease.clone()]), [granted_until(1, 15)]);
    assert_eq!(apply(&mut table, other(ask(2, 2))), busy(2, Bound::Leases));
    let extension = Ask { ticket: Ticket(3), ..lease };
    assert_eq!(apply(&mut table, extension), [granted_until(3, 16)], "extending is no new lease");
    table.apply(Event::Commit { key: KEY }, at(2));
    assert_eq!(apply(&mut table, other(ask(4, 4))), [granted(4)]);
}

#[test]
fn leases_of_a_connection_are_bounded_but_not_those_of_names() {
    let mut table = LeaseTable::new(Bounds { leases_per_connection_max: 1, ..bounds() });
    asks(&mut table, [ask(1, 1)]);
    assert_eq!(apply(&mut table, other(ask(2, 1))), busy(2, Bound::LeasesPerConnection));
    let lease = Ask { claimant: named("anna", 5), ..other(ask(3, 1)) };
    assert_eq!(apply(&mut table, lease), [granted_until(3, 16)]);
}

#[test]
fn a_lease_passes_over_a_connection_that_has_enough() {
    let mut table = LeaseTable::new(Bounds { leases_per_connection_max: 1, ..bounds() });
    asks(&mut table, [ask(1, 1), other(ask(2, 2)), ask(3, 2), ask(4, 4)]);
    let mut effects = vec![released(1)];
    effects.extend(busy(3, Bound::LeasesPerConnection));
    effects.push(granted(4));
    assert_eq!(table.apply(release(1), at(1)), effects);
    assert_eq!(table.waiters(), 0);
}
