//! Entries that change between being drawn, to be evicted some time, and being evicted.

use memod_store::Replace;

use crate::budgets::{MIB, fill, fold, limited, open_with, present};
use crate::harness::*;

/// A store that has evicted, and what is there of the next numbers whenever it is asked.
fn evicting() -> (TestStore, impl Fn(&TestStore, u64) -> Vec<u64>) {
    let store = open_with(limited(MIB));
    let more = |store: &TestStore, round: u64| {
        let evicted = store.counters().evicted_entries;
        fill(store, 300 * round..300 * (round + 1), 6000);
        assert!(store.counters().evicted_entries > evicted, "some were drawn that are still there");
        present(store, 300 * round..300 * (round + 1))
    };
    more(&store, 0);
    (store, more)
}

#[test]
fn what_was_drawn_and_then_replaced_is_evicted_as_it_stands() {
    let (store, more) = evicting();
    for round in 1..6 {
        let there = more(&store, round);
        for number in &there {
            // Nothing but the content tells them apart.
            let outputs = [content(10_000 + number, 6500), content(number + 1, 10)];
            put_as(&store, *number, &outputs, number * 1000, Replace::Always);
        }
        assert_sound(&store);
        // Those that came last: all that came first may have been evicted for them.
        assert!(remove(&store, &there[there.len() - 20..]) > 0);
    }
    more(&store, 6);
    assert_sound(&store);
}

#[test]
fn uses_that_were_written_down_since_it_was_drawn_go_with_it() {
    let (store, more) = evicting();
    for round in 1..4 {
        let there = more(&store, round);
        for number in there {
            store.touch(&hit(&store, number), 1_000_000 + round, 1);
        }
        fold(&store);
        assert!(store.recount().unwrap().heat_rows > 0);
        assert_sound(&store);
    }
    more(&store, 4);
    assert_sound(&store);
}
