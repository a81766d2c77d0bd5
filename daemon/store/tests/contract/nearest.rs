//! The entries that differ least from a call, in a store of many.

use std::sync::mpsc;
use std::time::Instant;

use memod_protocol::{
    CallIdentity, Difference, DifferenceKind, Digest, Interface, InterfaceText, Key, LiteralType,
    Nearest, Scope,
};
use memod_store::{GraveCause, NewEntry, Replace, Store};

use crate::harness::*;

/// What a call is made of, to be changed here and there.
#[derive(Clone)]
struct Call {
    domain: &'static str,
    cache_version: &'static str,
    inputs: Vec<(&'static str, LiteralType, u64)>,
    outputs: Vec<(&'static str, LiteralType)>,
}

impl Call {
    fn new(values: [u64; 3]) -> Self {
        let inputs = ["a", "b", "c"].into_iter().zip(values);
        Self {
            domain: "development",
            cache_version: "1.1",
            inputs: inputs.map(|(name, value)| (name, LiteralType::Integer, value)).collect(),
            outputs: vec![("o0", LiteralType::String)],
        }
    }

    fn interface(&self) -> Interface {
        let inputs = self.inputs.iter().map(|(name, of, _)| ((*name).to_owned(), of.clone()));
        let outputs = self.outputs.iter().map(|(name, of)| ((*name).to_owned(), of.clone()));
        Interface { inputs: inputs.collect(), outputs: outputs.collect() }
    }

    fn identity(&self) -> CallIdentity {
        let mut inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|(name, _, value)| ((*name).to_owned(), digest(*value)))
            .collect();
        inputs.sort_unstable();
        CallIdentity {
            scope: Scope::new("project", self.domain),
            task: "task".to_owned(),
            cache_version: self.cache_version.to_owned(),
            signature: self.interface().signature("task"),
            inputs,
        }
    }

    fn entry(&self, created_at_ms: u64) -> NewEntry {
        let identity = self.identity();
        NewEntry {
            key: identity.key(),
            identity,
            interface: InterfaceText::from(&self.interface()),
            outputs: Vec::new(),
            provenance: provenance(created_at_ms),
            replace: Replace::Always,
            apart: false,
        }
    }

    fn put(&self, store: &Store, created_at_ms: u64) -> Key {
        try_put(store, self.entry(created_at_ms)).unwrap();
        self.identity().key()
    }

    fn nearest(&self, store: &Store, limit: usize) -> Vec<Nearest> {
        let interface = InterfaceText::from(&self.interface());
        store.nearest(&self.identity(), &interface, limit).unwrap()
    }

    /// In what the nearest entry differs, a line each.
    fn told(&self, store: &Store) -> Vec<String> {
        let found = self.nearest(store, 1);
        found.into_iter().flat_map(|nearest| nearest.differs).map(line).collect()
    }
}

fn digest(value: u64) -> Digest {
    Digest::of(&value.to_le_bytes())
}

/// What, name, here, stored; of digests no more than that they are there.
fn line(difference: Difference) -> String {
    let Difference { what, name, here, stored } = difference;
    let text = |text: Option<String>| match text {
        Some(text) if what == DifferenceKind::Input && text.len() == 64 => "digest".to_owned(),
        Some(text) => text,
        None => "-".to_owned(),
    };
    format!("{} {} {} {}", what.name(), text(name), text(here), text(stored))
}

/// Puts entries without waiting for each.
fn put_all(store: &Store, calls: impl Iterator<Item = (Call, u64)>) {
    for (call, created_at_ms) in calls {
        store.put(call.entry(created_at_ms), |outcome| drop(outcome.unwrap()));
    }
    store.settle().unwrap();
}

#[test]
fn one_difference_is_found_in_each_place_among_twenty_thousand_entries() {
    let store = open();
    // No two of these share more than one value, so that each differs from any other in two.
    let crowd = (0..20_000u64).map(|n| (Call::new([n % 200, n / 200 + 1000, n + 5000]), n));
    put_all(&store, crowd);
    let wanted = Call::new([777, 778, 779]);
    for place in 0..3 {
        let mut near = Call::new([777, 778, 779]);
        near.inputs[place].2 = 99_999;
        let at = near.put(&store, 50_000);
        let begun = Instant::now();
        let found = wanted.nearest(&store, 3);
        let took = begun.elapsed();
        let expected = Difference {
            what: DifferenceKind::Input,
            name: Some(["a", "b", "c"][place].to_owned()),
            here: Some(digest([777, 778, 779][place]).to_string()),
            stored: Some(digest(99_999).to_string()),
        };
        let nearest = Nearest { key: at, created_at_ms: 50_000, differs: vec![expected] };
        assert_eq!(found[0], nearest);
        assert!(found.len() == 3 && found[1].differs.len() > 1);
        assert!(took.as_secs() < 2, "looking through all is not needed: {took:?}");
        wait(|done| store.remove(vec![at], GraveCause::Evicted, 1, None, done)).unwrap();
        assert!(wanted.nearest(&store, 3).iter().all(|of| of.key != at), "it has been removed");
    }
    assert_sound(&store);
    // An entry of the crowd, as it is and with one change, after the log has become files.
    let store = store.reopen();
    let mut call = Call::new([123, 1061, 17_323]);
    assert!(matches!(call.nearest(&store, 2).as_slice(), [first, _] if first.differs.len() == 2));
    call.inputs[1].2 = 3;
    let [nearest] = call.nearest(&store, 1).try_into().unwrap();
    assert_eq!(nearest.key, Call::new([123, 1061, 17_323]).identity().key());
    assert_eq!((nearest.created_at_ms, nearest.differs.len()), (12_323, 1));
}

#[test]
fn every_kind_of_difference_is_told_by_name() {
    let call = Call::new([1, 2, 3]);
    let changed = |change: &dyn Fn(&mut Call)| {
        let (store, mut stored) = (open(), call.clone());
        change(&mut stored);
        stored.put(&store, 5);
        call.told(&store)
    };
    assert_eq!(
        changed(&|stored| stored.cache_version = "1.0"),
        ["cache_version - 1.1 1.0"],
        "and nothing else"
    );
    assert_eq!(
        changed(&|stored| stored.domain = "production"),
        ["scope - project/development project/production"]
    );
    assert_eq!(
        changed(&|stored| stored.outputs[0].1 = LiteralType::Integer),
        ["signature output `o0` string integer"]
    );
    assert_eq!(
        changed(&|stored| stored.outputs.push(("o1", LiteralType::Bytes))),
        ["signature output `o1` - bytes"]
    );
    assert_eq!(changed(&|stored| stored.inputs[2].2 = 9), ["input c digest digest"]);
    assert_eq!(changed(&|stored| drop(stored.inputs.pop())), ["signature input `c` integer -"]);
    assert_eq!(
        changed(&|stored| stored.inputs.push(("d", LiteralType::Float, 4))),
        ["signature input `d` - float"]
    );
    assert_eq!(
        changed(&|stored| stored.inputs[1].0 = "z"),
        ["signature input `b` integer -", "signature input `z` - integer"]
    );
    assert_eq!(
        changed(&|stored| {
            stored.inputs[0] = ("a", LiteralType::String, 9);
            stored.cache_version = "0";
        }),
        ["cache_version - 1.1 0", "signature input `a` integer string"]
    );
}

#[test]
fn an_input_that_does_not_count_on_one_side_is_told() {
    for (counts_here, expected) in [(true, "input c digest -"), (false, "input c - digest")] {
        let (store, call) = (open(), Call::new([1, 2, 3]));
        let mut ignoring = call.entry(5);
        ignoring.identity.inputs.pop();
        ignoring.key = ignoring.identity.key();
        let interface = ignoring.interface.clone();
        let here = if counts_here {
            try_put(&store, ignoring).unwrap();
            call.identity()
        } else {
            call.put(&store, 5);
            ignoring.identity
        };
        let found = store.nearest(&here, &interface, 1).unwrap();
        let told: Vec<_> = found.into_iter().flat_map(|of| of.differs).map(line).collect();
        assert_eq!(told, [expected]);
    }
}

#[test]
fn fewest_differences_come_first_then_the_newest_and_never_the_call_itself() {
    let store = open();
    let call = Call::new([1, 2, 3]);
    let mut expected = Vec::new();
    for (values, version, at) in [
        ([1, 2, 9], "1.1", 40),
        ([1, 2, 8], "1.1", 30),
        ([1, 2, 3], "1.0", 20),
        ([7, 2, 3], "1.1", 10),
        ([1, 6, 3], "1.0", 50),
        ([7, 6, 3], "1.1", 45),
        ([7, 6, 5], "1.1", 60),
    ] {
        let stored = Call { cache_version: version, ..Call::new(values) };
        expected.push((stored.put(&store, at), at));
    }
    call.put(&store, 99);
    let mut other_task = call.entry(98);
    other_task.identity.task = "task2".to_owned();
    other_task.key = other_task.identity.key();
    try_put(&store, other_task).unwrap();
    let found = call.nearest(&store, 64);
    let found: Vec<_> = found.into_iter().map(|of| (of.key, of.created_at_ms)).collect();
    assert_eq!(found, expected);
    // Written anew, an entry is new.
    Call::new([7, 2, 3]).put(&store, 41);
    let first = &call.nearest(&store, 1)[0];
    assert_eq!((first.key, first.created_at_ms), (expected[3].0, 41));
    assert_sound(&store);
}

#[test]
fn versions_scopes_and_signatures_beyond_count_are_no_hindrance() {
    let store = open();
    let names: Vec<&'static str> =
        (0..400).map(|number: u32| &*Box::leak(format!("{number:04}").into_boxed_str())).collect();
    let entries = names.iter().zip(0u64..).flat_map(|(name, at)| {
        let call = Call::new([1, 2, at + 10]);
        [
            (Call { domain: name, ..call.clone() }, at),
            (Call { cache_version: name, ..call.clone() }, at),
            (Call { outputs: vec![(name, LiteralType::Integer)], ..call }, at),
        ]
    });
    put_all(&store, entries);
    let begun = Instant::now();
    let call = Call { cache_version: "0200", ..Call::new([1, 2, 210]) };
    let stored = Call { cache_version: "0201", ..Call::new([1, 2, 210]) }.put(&store, 1000);
    let found = call.nearest(&store, 5);
    assert!(begun.elapsed().as_secs() < 2, "the work is bounded");
    assert_eq!(found.len(), 5);
    assert_eq!(found[0].key, stored, "the versions next to the call's are looked at");
    assert_eq!(found[0].differs.len(), 1);
}

#[test]
fn what_has_been_removed_is_no_hindrance_either() {
    let store = open();
    let call = Call::new([1, 2, 3]);
    let old = Call::new([1, 2, 4]).put(&store, 1);
    let keys: Vec<Key> = (0..1500).map(|at| Call::new([1, 2, at + 10]).identity().key()).collect();
    put_all(&store, (0..1500).map(|at| (Call::new([1, 2, at + 10]), at + 100)));
    assert_eq!(call.nearest(&store, 1)[0].created_at_ms, 1599);
    let (sender, receiver) = mpsc::sync_channel(1);
    store.remove(keys, GraveCause::Invalidated, 1, None, move |removed| {
        sender.send(removed.unwrap()).unwrap();
    });
    assert_eq!(receiver.recv().unwrap(), 1500);
    let found = call.nearest(&store, 9);
    assert_eq!(found.iter().map(|of| of.key).collect::<Vec<_>>(), [old]);
    assert_sound(&store);
    assert_eq!(store.recount().unwrap().near_rows, 3);
}

#[test]
fn calls_of_very_many_inputs_are_compared_too() {
    let store = open();
    let names: Vec<&'static str> = (0..4000)
        .map(|number: u32| &*Box::leak(format!("{number:0>900}").into_boxed_str()))
        .collect();
    let with = |value: u64| Call {
        inputs: names.iter().map(|name| (*name, LiteralType::Integer, value)).collect(),
        ..Call::new([0; 3])
    };
    with(1).put(&store, 1);
    let mut near = with(3);
    near.inputs[1234].2 = 0;
    near.put(&store, 2);
    let found = with(3).nearest(&store, 2);
    let found: Vec<_> = found.iter().map(|of| (of.created_at_ms, of.differs.len())).collect();
    assert_eq!(found[0], (2, 1));
    assert!(found.len() == 1 || found[1] == (1, 4000));
    assert_sound(&store);
}
