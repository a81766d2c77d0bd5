//! Named owners and their heartbeats (semantics 29).

use super::{
    Ask, Claimant, Effect, Event, Holder, KEY, OTHER_KEY, Owner, Table, Ticket, Time, Wait, ask,
    asks, assert_empty, at, gave_up, gone, granted, granted_until, named, recheck, release,
    released, table, watch, withdraw,
};

/// An ask by a name with a heartbeat of five seconds, over a connection of its own.
fn by(ticket: u64, name: &str) -> Ask<&'static str> {
    Ask { claimant: named(name, 5), ..ask(ticket, 10 + ticket) }
}

fn release_by(name: &str) -> Event<&'static str> {
    Event::Release { key: KEY, by: Owner::Named(name.to_owned()) }
}

/// A table in which anna owns from the first moment until 15, by ticket 1.
fn annas() -> Table {
    let mut table = table();
    assert_eq!(asks(&mut table, [by(1, "anna")]), [granted_until(1, 15)]);
    table
}

fn annas_holder(who: &'static str, expires: u64) -> Holder<&'static str> {
    Holder { who, since: at(0), expires: Some(at(expires)) }
}

#[test]
fn semantics_29_a_named_lease_expires_after_three_heartbeats() {
    let mut table = annas();
    assert_eq!(table.next_deadline(), Some(at(15)));
    assert_eq!(table.apply(Event::Tick, Time(at(15).0 - 1)), []);
    assert_eq!(table.leases(), 1);
    assert_eq!(table.holder(&KEY, at(14)), Some(annas_holder("one", 15)));
    assert_eq!(table.holder(&KEY, at(15)), None, "expired, tick or no tick");
    assert_eq!(table.apply(Event::Tick, at(15)), []);
    assert_empty(&table);
}

#[test]
fn semantics_29_a_heartbeat_counts_up_to_the_bound() {
    let long = Ask { claimant: named("anna", 1_000_000), ..ask(1, 1) };
    assert_eq!(asks(&mut table(), [long]), [granted_until(1, 30)]);
}

#[test]
fn semantics_29_the_same_owner_extends() {
    let mut table = annas();
    assert_eq!(table.apply(Event::Ask(by(2, "anna")), at(10)), [granted_until(2, 25)]);
    assert_eq!(table.holder(&KEY, at(16)), Some(annas_holder("two", 25)));
    assert_eq!((table.leases(), table.next_deadline()), (1, Some(at(25))));
    let unwilling = Ask { wait: Wait::No, ..by(3, "anna") };
    assert_eq!(table.apply(Event::Ask(unwilling), at(20)), [granted_until(3, 35)]);
    let shorter = Ask { claimant: named("anna", 1), ..ask(4, 4) };
    assert_eq!(table.apply(Event::Ask(shorter), at(20)), [granted_until(4, 23)], "or shortens");
    assert_eq!(table.apply(Event::Tick, at(23)), []);
    assert_empty(&table);
}

#[test]
fn semantics_29_extending_does_not_disturb_who_waits() {
    let mut table = annas();
    asks(&mut table, [ask(2, 2)]);
    assert_eq!(table.apply(Event::Ask(by(3, "anna")), at(10)), [granted_until(3, 25)]);
    assert_eq!(table.apply(Event::Tick, at(24)), []);
    assert_eq!(table.apply(Event::Tick, at(25)), [granted(2)]);
}

#[test]
fn semantics_29_another_sees_the_first_owner_and_leaves_the_expiry_alone() {
    let mut table = annas();
    let other = Ask { wait: Wait::No, ..by(2, "bert") };
    let held = Effect::Held { ticket: Ticket(2), holder: annas_holder("one", 15) };
    assert_eq!(table.apply(Event::Ask(other), at(10)), [held]);
    assert_eq!(table.next_deadline(), Some(at(15)));
}

#[test]
fn semantics_29_a_connection_is_not_the_name_that_it_speaks_for() {
    let mut table = annas();
    let same = Ask { claimant: Claimant::Connection, wait: Wait::No, ..by(1, "anna") };
    let effects = table.apply(Event::Ask(Ask { ticket: Ticket(2), ..same }), at(1));
    assert!(matches!(effects.as_slice(), [Effect::Held { .. }]), "{effects:?}");
}

#[test]
fn semantics_29_an_expired_lease_is_taken_over() {
    let mut table = annas();
    let effects = table.apply(Event::Ask(by(2, "bert")), at(15));
    assert_eq!(effects, [granted_until(2, 30)], "without a tick before");
    assert_eq!(table.apply(release_by("anna"), at(16)), []);
    let effects = table.apply(Event::Ask(Ask { wait: Wait::No, ..by(3, "anna") }), at(16));
    assert!(matches!(effects.as_slice(), [Effect::Held { .. }]), "{effects:?}");
}

#[test]
fn semantics_29_an_expired_lease_goes_to_whoever_has_waited_longest() {
    let mut table = annas();
    asks(&mut table, [ask(2, 2), ask(3, 3)]);
    let late = Ask { wait: Wait::No, ..ask(4, 4) };
    let holder = Holder { who: "two", since: at(99), expires: None };
    let held = Effect::Held { ticket: Ticket(4), holder };
    assert_eq!(table.apply(Event::Ask(late), at(99)), [granted(2), held]);
}

#[test]
fn semantics_29_the_expiry_of_one_who_waited_counts_from_the_grant() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), by(2, "anna")]);
    assert_eq!(table.next_deadline(), None, "who waits has no expiry");
    assert_eq!(table.apply(release(1), at(100)), [released(1), granted_until(2, 115)]);
    assert_eq!(table.next_deadline(), Some(at(115)));
}

#[test]
fn semantics_29_who_waits_until_the_expiry_gets_the_lease() {
    let mut table = annas();
    asks(&mut table, [Ask { wait: Wait::Until(at(15)), ..ask(2, 2) }]);
    assert_eq!(table.apply(Event::Tick, at(15)), [granted(2)]);
}

#[test]
fn semantics_29_what_is_due_happens_in_the_order_of_time() {
    let mut table = annas();
    let until = |ticket, seconds| Ask { wait: Wait::Until(at(seconds)), ..ask(ticket, 2) };
    asks(&mut table, [until(2, 16), until(3, 14), ask(4, 4), until(5, 20)]);
    let timed_out = |ticket, holder| Effect::TimedOut { ticket: Ticket(ticket), holder };
    let two = Holder { who: "two", since: at(60), expires: None };
    assert_eq!(
        table.apply(Event::Tick, at(60)),
        [timed_out(3, annas_holder("one", 15)), granted(2), timed_out(5, two)]
    );
}

#[test]
fn semantics_29_no_heartbeat_expires_at_once() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), Ask { claimant: named("anna", 0), ..ask(2, 2) }, ask(3, 3)]);
    assert_eq!(table.apply(release(1), at(1)), [released(1), granted_until(2, 1)]);
    assert_eq!((table.holder(&KEY, at(1)), table.next_deadline()), (None, Some(at(1))));
    assert_eq!(table.apply(Event::Tick, at(1)), [granted(3)]);
}

#[test]
fn semantics_29_a_named_lease_outlives_its_connection() {
    let mut table = annas();
    assert_eq!(table.apply(gone(11), at(1)), []);
    assert_eq!(table.holder(&KEY, at(1)), Some(annas_holder("one", 15)));
    assert_eq!(table.apply(withdraw(1), at(1)), [], "nor does it hang on an ask");
    assert_eq!(table.apply(Event::Ask(by(2, "anna")), at(2)), [granted_until(2, 17)]);
}

#[test]
fn semantics_29_a_name_waits_only_as_long_as_its_connection_is_open() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), by(2, "anna")]);
    assert_eq!(table.apply(gone(12), at(1)), [gave_up(2)]);
    assert_eq!(table.apply(release(1), at(2)), [released(1)]);
    assert_empty(&table);
}

#[test]
fn semantics_29_a_name_that_watches_does_not_extend() {
    let mut table = annas();
    let watcher = Ask { claimant: named("anna", 5), ..watch(2, 2) };
    let waiting = Effect::Waiting { ticket: Ticket(2), holder: annas_holder("one", 15) };
    assert_eq!(table.apply(Event::Ask(watcher), at(10)), [waiting]);
    assert_eq!(table.next_deadline(), Some(at(15)));
}

#[test]
fn semantics_30_only_the_name_that_owns_releases() {
    let mut table = annas();
    assert_eq!(table.apply(release_by("bert"), at(1)), []);
    assert_eq!(table.apply(release(11), at(1)), [], "the connection that it asked over");
    assert_eq!(table.apply(release_by("anna"), at(1)), [released(1)]);
    assert_eq!(table.apply(release_by("anna"), at(1)), []);
    assert_empty(&table);
}

#[test]
fn semantics_31_an_entry_ends_a_named_lease() {
    let mut table = annas();
    asks(&mut table, [by(2, "bert")]);
    assert_eq!(table.apply(Event::Commit { key: KEY }, at(1)), [recheck(2)]);
    assert_empty(&table);
}

#[test]
fn an_entry_comes_before_an_expiry_that_is_due() {
    let mut table = annas();
    asks(&mut table, [ask(2, 2)]);
    let effects = table.apply(Event::Commit { key: KEY }, at(15));
    assert_eq!(effects, [recheck(2)], "nobody is told to compute what is there");
    assert_empty(&table);
}

#[test]
fn who_is_gone_or_withdraws_gets_no_lease_that_is_due() {
    let mut table = annas();
    asks(&mut table, [ask(2, 2), ask(3, 3), ask(4, 4)]);
    assert_eq!(table.apply(gone(2), at(15)), [gave_up(2), granted(3)]);
    asks(&mut table, [Ask { key: OTHER_KEY, ..by(5, "anna") }]);
    let expiring = Ask { key: OTHER_KEY, ..ask(6, 6) };
    asks(&mut table, [expiring]);
    assert_eq!(table.apply(withdraw(6), at(99)), []);
    assert_eq!((table.leases(), table.waiters()), (1, 1));
}

#[test]
fn semantics_32_a_clock_that_steps_back_does_not_prolong_a_named_lease() {
    let mut table = annas();
    table.apply(Event::Tick, at(14));
    table.apply(Event::Tick, at(0));
    assert_eq!(table.apply(Event::Ask(by(2, "anna")), at(0)), [granted_until(2, 29)]);
    assert_eq!(table.apply(Event::Tick, at(29)), []);
    assert_empty(&table);
}
