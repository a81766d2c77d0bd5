//! The promises about leases, one by one. Moments are seconds; see [`at`].

mod bounds;
mod named;

use std::time::Duration;

use memod_protocol::Key;

use super::{
    Ask, Bounds, Claimant, ConnectionId, Effect, Event, Holder, LeaseTable, Owner, Ticket, Time,
    Wait,
};

type Table = LeaseTable<&'static str>;
type Effects = Vec<Effect<&'static str>>;

const KEY: Key = Key::from_bytes([1; 32]);
const OTHER_KEY: Key = Key::from_bytes([2; 32]);

fn bounds() -> Bounds {
    Bounds {
        waiters_per_key_max: 100_000,
        waiters_max: 100_000,
        waiters_per_connection_share: 100_000,
        waiters_per_user_share: 100_000,
        leases_max: 100_000,
        leases_per_connection_max: 100_000,
        heartbeat_max: Duration::from_secs(10),
    }
}

fn table() -> Table {
    LeaseTable::new(bounds())
}

fn at(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

/// An ask for [`KEY`] as a connection that would compute and waits for ever. What others are told
/// is the ticket as a word. Each connection is another user's.
fn ask(ticket: u64, connection: u64) -> Ask<&'static str> {
    let words = ["zero", "one", "two", "three", "four", "five"];
    Ask {
        ticket: Ticket(ticket),
        connection: ConnectionId(connection),
        uid: u32::try_from(connection).unwrap(),
        key: KEY,
        claimant: Claimant::Connection,
        take: true,
        wait: Wait::Forever,
        who: words.get(usize::try_from(ticket).unwrap()).copied().unwrap_or("many"),
    }
}

fn watch(ticket: u64, connection: u64) -> Ask<&'static str> {
    Ask { take: false, ..ask(ticket, connection) }
}

fn named(name: &str, heartbeat_seconds: u64) -> Claimant {
    Claimant::Named { name: name.to_owned(), heartbeat: Duration::from_secs(heartbeat_seconds) }
}

fn release(connection: u64) -> Event<&'static str> {
    Event::Release { key: KEY, by: Owner::Connection(ConnectionId(connection)) }
}

fn withdraw(ticket: u64) -> Event<&'static str> {
    Event::Withdraw { ticket: Ticket(ticket) }
}

fn gone(connection: u64) -> Event<&'static str> {
    Event::Gone { connection: ConnectionId(connection) }
}

fn granted(ticket: u64) -> Effect<&'static str> {
    Effect::Granted { ticket: Ticket(ticket), expires: None }
}

fn granted_until(ticket: u64, seconds: u64) -> Effect<&'static str> {
    Effect::Granted { ticket: Ticket(ticket), expires: Some(at(seconds)) }
}

fn released(ticket: u64) -> Effect<&'static str> {
    Effect::Released { ticket: Ticket(ticket) }
}

fn recheck(ticket: u64) -> Effect<&'static str> {
    Effect::Recheck { ticket: Ticket(ticket) }
}

fn free(ticket: u64) -> Effect<&'static str> {
    Effect::Free { ticket: Ticket(ticket) }
}

fn gave_up(ticket: u64) -> Effect<&'static str> {
    Effect::GaveUp { ticket: Ticket(ticket) }
}

/// A connection that owns since the first moment.
fn holder(who: &'static str) -> Holder<&'static str> {
    Holder { who, since: at(0), expires: None }
}

/// Applies asks at the first moment; gives the effects of the last.
fn asks<const N: usize>(table: &mut Table, asks: [Ask<&'static str>; N]) -> Effects {
    asks.into_iter().map(|ask| table.apply(Event::Ask(ask), at(0))).last().unwrap()
}

#[track_caller]
fn assert_empty(table: &Table) {
    assert_eq!((table.leases(), table.waiters(), table.book_sizes()), (0, 0, [0; 4]));
    assert_eq!(table.next_deadline(), None);
}

#[test]
fn semantics_26_the_first_asker_owns() {
    let mut table = table();
    assert_eq!(asks(&mut table, [ask(1, 1)]), [granted(1)]);
    assert_eq!(table.holder(&KEY, at(5)), Some(holder("one")));
    assert_eq!((table.leases(), table.waiters()), (1, 0));
}

#[test]
fn semantics_26_of_a_thousand_simultaneous_askers_exactly_one_owns() {
    let mut table = table();
    let effects: Effects =
        (0..1_000).flat_map(|n| table.apply(Event::Ask(ask(n, n)), at(0))).collect();
    assert_eq!(effects.len(), 1_000);
    let owners: Vec<_> = effects.iter().filter(|e| matches!(e, Effect::Granted { .. })).collect();
    assert_eq!(owners, [&granted(0)]);
    assert_eq!(table.waiters(), 999);
}

#[test]
fn semantics_26_a_connection_that_owns_and_asks_again_waits_like_any_other() {
    let mut table = table();
    let effects = asks(&mut table, [ask(1, 1), ask(2, 1)]);
    assert_eq!(effects, [Effect::Waiting { ticket: Ticket(2), holder: holder("one") }]);
    assert_eq!(table.apply(release(1), at(1)), [released(1), granted(2)]);
    assert_eq!(table.apply(withdraw(2), at(2)), [released(2)]);
    assert_empty(&table);
}

#[test]
fn semantics_27_others_are_told_the_owner() {
    let mut table = table();
    asks(&mut table, [ask(1, 1)]);
    let told = |ticket| Effect::Held { ticket: Ticket(ticket), holder: holder("one") };
    let unwilling = Ask { wait: Wait::No, ..ask(2, 2) };
    assert_eq!(table.apply(Event::Ask(unwilling), at(4)), [told(2)]);
    let late = Ask { wait: Wait::Until(at(4)), ..ask(3, 2) };
    assert_eq!(table.apply(Event::Ask(late), at(4)), [told(3)]);
    let patient = Ask { wait: Wait::Until(at(5)), ..ask(4, 2) };
    let waiting = Effect::Waiting { ticket: Ticket(4), holder: holder("one") };
    assert_eq!(table.apply(Event::Ask(patient), at(4)), [waiting]);
    assert_eq!(table.waiters(), 1);
}

#[test]
fn semantics_27_an_entry_wakes_all_who_wait_in_order_and_ends_the_lease() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), ask(2, 2), watch(3, 3), ask(4, 2)]);
    let effects = table.apply(Event::Commit { key: KEY }, at(1));
    assert_eq!(effects, [recheck(2), recheck(3), recheck(4)]);
    assert_empty(&table);
    assert_eq!(table.apply(release(1), at(2)), [], "the lease is over");
    assert_eq!(table.apply(withdraw(1), at(2)), []);
}

#[test]
fn semantics_27_ten_thousand_wake_at_once() {
    let mut table = table();
    for ticket in 0..=10_000 {
        table.apply(Event::Ask(ask(ticket, ticket % 100)), at(0));
    }
    let effects = table.apply(Event::Commit { key: KEY }, at(1));
    assert_eq!(effects, (1..=10_000).map(recheck).collect::<Vec<_>>());
    assert_empty(&table);
}

#[test]
fn semantics_27_a_waiter_waits_until_its_own_deadline() {
    let mut table = table();
    let until = |ticket, seconds| Ask { wait: Wait::Until(at(seconds)), ..ask(ticket, 2) };
    asks(&mut table, [ask(1, 1), until(2, 30), until(3, 20), ask(4, 2)]);
    assert_eq!(table.next_deadline(), Some(at(20)));
    assert_eq!(table.apply(Event::Tick, at(19)), []);
    let timed_out = |ticket| Effect::TimedOut { ticket: Ticket(ticket), holder: holder("one") };
    assert_eq!(table.apply(Event::Tick, at(20)), [timed_out(3)]);
    assert_eq!(table.next_deadline(), Some(at(30)));
    assert_eq!(table.apply(Event::Tick, at(40)), [timed_out(2)]);
    assert_eq!(table.next_deadline(), None);
    assert_eq!(table.apply(release(1), at(41)), [released(1), granted(4)]);
}

#[test]
fn semantics_27_an_entry_reaches_a_waiter_whose_deadline_is_due() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), Ask { wait: Wait::Until(at(5)), ..ask(2, 2) }]);
    assert_eq!(table.apply(Event::Commit { key: KEY }, at(6)), [recheck(2)]);
    assert_empty(&table);
}

#[test]
fn semantics_28_when_the_owner_is_gone_the_longest_waiting_owns_at_once() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), ask(2, 2), ask(3, 3)]);
    assert_eq!(table.apply(gone(1), at(1)), [granted(2)]);
    let since = Holder { who: "two", since: at(1), expires: None };
    assert_eq!(table.holder(&KEY, at(1)), Some(since));
    assert_eq!(table.apply(gone(2), at(2)), [granted(3)]);
    assert_eq!(table.apply(gone(3), at(3)), []);
    assert_empty(&table);
}

#[test]
fn semantics_28_all_that_a_gone_connection_had_passes_on_and_none_of_it_to_itself() {
    let mut table = table();
    let other = |ask| Ask { key: OTHER_KEY, ..ask };
    asks(&mut table, [ask(0, 1), other(ask(1, 1)), ask(2, 1), ask(3, 2), other(ask(4, 3))]);
    assert_eq!(table.apply(gone(1), at(1)), [gave_up(2), granted(3), granted(4)]);
    assert_eq!((table.leases(), table.waiters()), (2, 0));
}

#[test]
fn semantics_28_who_is_gone_waits_no_more() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), ask(2, 2), ask(3, 3), watch(4, 2)]);
    assert_eq!(table.apply(gone(2), at(1)), [gave_up(2), gave_up(4)]);
    assert_eq!(table.apply(release(1), at(2)), [released(1), granted(3)]);
}

#[test]
fn semantics_28_a_released_lease_goes_to_the_next() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), ask(2, 2), ask(3, 3)]);
    assert_eq!(table.apply(release(1), at(1)), [released(1), granted(2)]);
    assert_eq!(table.apply(withdraw(2), at(2)), [released(2), granted(3)]);
    assert_eq!(table.apply(release(3), at(3)), [released(3)]);
    assert_empty(&table);
}

#[test]
fn semantics_28_who_has_withdrawn_is_passed_over() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), ask(2, 2), ask(3, 3)]);
    assert_eq!(table.apply(withdraw(2), at(1)), []);
    assert_eq!(table.apply(withdraw(2), at(1)), []);
    assert_eq!(table.apply(release(1), at(2)), [released(1), granted(3)]);
}

#[test]
fn semantics_30_a_release_by_another_of_nothing_or_twice_does_nothing() {
    let mut table = table();
    assert_eq!(table.apply(release(1), at(0)), [], "of nothing");
    asks(&mut table, [ask(1, 1), ask(2, 2)]);
    assert_eq!(table.apply(release(2), at(1)), [], "by one who waits");
    assert_eq!(table.apply(release(3), at(1)), [], "by a stranger");
    let by = Owner::Named("one".to_owned());
    assert_eq!(table.apply(Event::Release { key: KEY, by }, at(1)), [], "by a name");
    assert_eq!(table.holder(&KEY, at(1)), Some(holder("one")));
    assert_eq!(table.apply(release(1), at(2)), [released(1), granted(2)]);
    assert_eq!(table.apply(release(1), at(2)), [], "twice");
    assert_eq!(table.apply(withdraw(1), at(2)), [], "twice");
    assert_eq!(table.holder(&KEY, at(2)).unwrap().who, "two");
}

#[test]
fn semantics_31_keys_are_independent() {
    let mut table = table();
    let other = Ask { key: OTHER_KEY, ..ask(2, 2) };
    assert_eq!(asks(&mut table, [ask(1, 1), other]), [granted(2)]);
    assert_eq!(table.apply(Event::Commit { key: OTHER_KEY }, at(1)), []);
    assert_eq!(table.holder(&KEY, at(1)), Some(holder("one")));
    assert_eq!(table.holder(&OTHER_KEY, at(1)), None);
}

#[test]
fn semantics_31_an_entry_counts_whoever_made_it() {
    let mut table = table();
    assert_eq!(table.apply(Event::Commit { key: KEY }, at(0)), [], "nobody asked for it");
    asks(&mut table, [ask(1, 1), ask(2, 2), ask(3, 3)]);
    table.apply(release(1), at(1));
    // The first owner has lost the lease and computes on.
    assert_eq!(table.apply(Event::Commit { key: KEY }, at(2)), [recheck(3)]);
    assert_empty(&table);
    assert_eq!(table.apply(Event::Ask(ask(4, 4)), at(3)), [granted(4)], "for instance to replace");
}

#[test]
fn semantics_32_time_neither_frees_nor_prolongs_the_lease_of_a_connection() {
    let mut table = table();
    table.apply(Event::Ask(ask(1, 1)), at(50));
    assert_eq!(table.next_deadline(), None);
    assert_eq!(table.apply(Event::Tick, Time(u64::MAX)), []);
    assert_eq!(table.apply(Event::Tick, at(0)), []);
    let since = Holder { who: "one", since: at(50), expires: None };
    assert_eq!(table.holder(&KEY, at(0)), Some(since));
    assert_eq!(table.apply(gone(1), at(0)), []);
    assert_empty(&table);
}

#[test]
fn semantics_32_a_moment_before_the_last_is_taken_for_the_last() {
    let mut table = table();
    table.apply(Event::Ask(ask(1, 1)), at(50));
    let late = Ask { wait: Wait::Until(at(40)), ..ask(2, 2) };
    let effects = table.apply(Event::Ask(late), at(30));
    assert!(matches!(effects.as_slice(), [Effect::Held { .. }]), "{effects:?}");
    let lease = Ask { claimant: named("anna", 1), key: OTHER_KEY, ..ask(3, 3) };
    assert_eq!(table.apply(Event::Ask(lease), at(30)), [granted_until(3, 53)]);
}

#[test]
fn a_watcher_is_told_at_once_that_nobody_owns() {
    let mut table = table();
    assert_eq!(asks(&mut table, [watch(1, 1)]), [free(1)]);
    assert_empty(&table);
}

#[test]
fn a_watcher_never_owns() {
    let mut table = table();
    asks(&mut table, [ask(1, 1), watch(2, 2), ask(3, 3), watch(4, 4)]);
    assert_eq!(table.apply(gone(1), at(1)), [granted(3)], "the watchers wait on");
    assert_eq!(table.apply(gone(3), at(2)), [free(2), free(4)]);
    assert_empty(&table);
}

#[test]
fn the_ticket_of_nobody_withdraws_nothing() {
    let mut table = table();
    asks(&mut table, [ask(1, 1)]);
    assert_eq!(table.apply(withdraw(7), at(1)), []);
    assert_eq!(table.apply(gone(7), at(1)), []);
    assert_eq!(table.leases(), 1);
}
