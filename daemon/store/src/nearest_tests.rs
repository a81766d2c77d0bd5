//! The search for near entries against a model that compares with every entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

use memod_protocol::limits::NEAREST_MAX;
use memod_protocol::{
    CallIdentity, Difference, DifferenceKind, Digest, InterfaceText, Key, Nearest, Provenance,
    RunClaim, Scope,
};
use proptest::prelude::*;

use crate::limits::{NEAR_BUCKETS, NEAREST_SAMPLE_MAX};
use crate::mutation::{NewEntry, Replace};
use crate::nearest::nearest_sampling;
use crate::options::Options;
use crate::record::GraveCause;
use crate::store::Store;

/// An input as a call may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Input {
    declared: Option<&'static str>,
    counts: bool,
    value: u8,
}

/// A call of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    domain: &'static str,
    cache_version: &'static str,
    output: &'static str,
    inputs: Vec<Input>,
}

impl Call {
    /// The call that is looked for: everything is declared and counts.
    fn plain(inputs: usize) -> Self {
        let input = Input { declared: Some("integer"), counts: true, value: 0 };
        Self { domain: "d", cache_version: "1", output: "bytes", inputs: vec![input; inputs] }
    }

    /// A call that differs where a byte is small; `reshape`: also in which inputs there are.
    fn varied(inputs: usize, reshape: bool, by: &[u8]) -> Self {
        let mut call = Self::plain(inputs);
        let mut bytes = by.iter().copied().cycle();
        let mut vary = || bytes.next().filter(|byte| *byte < 64).map(usize::from);
        if let Some(byte) = vary() {
            call.domain = ["e", "f"][byte % 2];
        }
        if let Some(byte) = vary() {
            call.cache_version = ["0", "2"][byte % 2];
        }
        if vary().is_some() {
            call.output = "string";
        }
        for input in &mut call.inputs {
            match vary().map(|byte| (byte % if reshape { 6 } else { 2 }, byte)) {
                Some((0..=2, byte)) => input.value = byte as u8 % 3,
                Some((3, _)) => input.counts = false,
                Some((4, _)) => input.declared = None,
                Some(_) => input.declared = Some("string"),
                None => {}
            }
        }
        call
    }

    fn name(at: usize) -> String {
        format!("i{at:02}")
    }

    fn interface(&self) -> InterfaceText {
        let inputs = self.inputs.iter().enumerate();
        let declared =
            inputs.filter_map(|(at, of)| Some((Self::name(at), of.declared?.to_owned())));
        InterfaceText {
            inputs: declared.collect(),
            outputs: vec![("o".to_owned(), self.output.to_owned())],
        }
    }

    /// The digest of an input, if it is declared and counts.
    fn digest(&self, at: usize) -> Option<Digest> {
        let input = self.inputs[at];
        (input.declared.is_some() && input.counts).then(|| Digest::of(&[input.value]))
    }

    fn identity(&self) -> CallIdentity {
        let inputs = 0..self.inputs.len();
        CallIdentity {
            scope: Scope::new("p", self.domain),
            task: "t".to_owned(),
            cache_version: self.cache_version.to_owned(),
            signature: self.interface().parse().unwrap().signature("t"),
            inputs: inputs.filter_map(|at| Some((Self::name(at), self.digest(at)?))).collect(),
        }
    }

    /// What an entry of another call differs in, and in how many inputs that call and entry count
    /// or that only the entry declares.
    fn compare(&self, stored: &Self) -> (Vec<Difference>, usize) {
        let mut differs = Vec::new();
        let mut tell =
            |what, name: Option<String>, here: Option<String>, stored: Option<String>| {
                if here != stored {
                    differs.push(Difference { what, name, here, stored });
                    return 1;
                }
                0
            };
        let scope = |call: &Self| Some(format!("p/{}", call.domain));
        tell(DifferenceKind::Scope, None, scope(self), scope(stored));
        let version = |call: &Self| Some(call.cache_version.to_owned());
        tell(DifferenceKind::CacheVersion, None, version(self), version(stored));
        let mut values = 0;
        for (at, (here, there)) in self.inputs.iter().zip(&stored.inputs).enumerate() {
            let (name, text) = (Self::name(at), |of: &Input| of.declared.map(str::to_owned));
            let label = Some(format!("input `{name}`"));
            tell(DifferenceKind::Signature, label, text(here), text(there));
            let digest = |call: &Self| call.digest(at).map(|digest| digest.to_string());
            if here.declared.is_some() == there.declared.is_some() {
                values += tell(DifferenceKind::Input, Some(name), digest(self), digest(stored));
            } else if digest(stored).is_some() {
                values += 1;
            }
        }
        let (label, text) = (Some("output `o`".to_owned()), |of: &Self| Some(of.output.to_owned()));
        tell(DifferenceKind::Signature, label, text(self), text(stored));
        (differs, values)
    }
}

struct Model {
    store: Store,
    entries: BTreeMap<Key, (Call, u64)>,
    _folder: tempfile::TempDir,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Options::new(folder.path())).unwrap();
        Self { store, entries: BTreeMap::new(), _folder: folder }
    }

    fn put(&mut self, call: Call, created_at_ms: u64) {
        let identity = call.identity();
        let key = identity.key();
        let provenance = Provenance {
            writer_uid: 1,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms,
            run: RunClaim::default(),
        };
        let entry = NewEntry {
            key,
            identity,
            interface: call.interface(),
            outputs: Vec::new(),
            provenance,
            replace: Replace::Always,
            apart: false,
        };
        self.store.put(entry, |outcome| drop(outcome.unwrap()));
        self.entries.insert(key, (call, created_at_ms));
    }

    fn remove(&mut self, call: &Call) {
        let key = call.identity().key();
        let (sender, receiver) = mpsc::sync_channel(1);
        self.store.remove(vec![key], GraveCause::Evicted, 1, None, move |removed| {
            sender.send(removed.unwrap()).unwrap();
        });
        let was_there = self.entries.remove(&key).is_some();
        assert_eq!(receiver.recv().unwrap(), u64::from(was_there));
    }

    /// All entries but the call's own, the nearest first, each with how many inputs differ.
    fn nearest(&self, call: &Call) -> Vec<(Nearest, usize)> {
        let others = self.entries.iter().filter(|(key, _)| **key != call.identity().key());
        let mut all: Vec<_> = others
            .map(|(key, (stored, created_at_ms))| {
                let (differs, values) = call.compare(stored);
                (Nearest { key: *key, created_at_ms: *created_at_ms, differs }, values)
            })
            .collect();
        all.sort_by_key(|(of, _)| (of.differs.len(), u64::MAX - of.created_at_ms, of.key));
        all
    }

    fn assert_nearest(&self, call: &Call, limit: usize) {
        let find = |sample_max| {
            let (call, interface) = (call.identity(), call.interface());
            let found = nearest_sampling(
                self.store.shared(),
                &call,
                &interface,
                limit,
                (sample_max, &|_| true),
            );
            found.unwrap().into_iter().map(sorted).collect::<Vec<_>>()
        };
        let mut expected = self.nearest(call);
        let all: BTreeMap<Key, Nearest> =
            expected.iter().map(|(of, _)| (of.key, sorted(of.clone()))).collect();
        expected.truncate(limit);
        // A sample of everything misses nothing.
        let whole: Vec<_> = expected.iter().map(|(of, _)| sorted(of.clone())).collect();
        assert_eq!(find(NEAREST_SAMPLE_MAX), whole);
        // Without a sample, what differs in one input at the most is found none the less.
        let found = find(0);
        for nearest in &found {
            assert_eq!(*nearest, all[&nearest.key]);
        }
        let keys: BTreeSet<Key> = found.iter().map(|of| of.key).collect();
        for (missing, values) in expected {
            assert!(values > 1 || keys.contains(&missing.key), "{missing:?} for {call:?}");
        }
        assert!(found.is_sorted_by_key(|of| (of.differs.len(), u64::MAX - of.created_at_ms)));
    }
}

fn sorted(mut nearest: Nearest) -> Nearest {
    nearest.differs.sort_by(|left, right| (left.what, &left.name).cmp(&(right.what, &right.name)));
    nearest
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_nearest_are_those_of_the_model(
        inputs in 0..20usize,
        variations in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..24), 0..80),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut model = Model::new();
        let reshape = inputs < NEAR_BUCKETS;
        let calls: Vec<_> =
            variations.iter().map(|by| Call::varied(inputs, reshape, by)).collect();
        for (call, at) in calls.iter().zip(0..) {
            // Some are written at the same instant, and some of these are the same call.
            model.put(call.clone(), at / 2);
        }
        for index in removed {
            if !calls.is_empty() {
                model.remove(index.get(&calls));
            }
        }
        model.store.settle().unwrap();
        for limit in [NEAREST_MAX as usize, 5, 1] {
            model.assert_nearest(&Call::plain(inputs), limit);
        }
        let recount = model.store.recount().unwrap();
        assert_eq!((recount.problems, recount.entries_without_near), (Vec::new(), 0));
    }
}

#[test]
fn no_more_is_told_than_is_wanted_or_allowed() {
    let mut model = Model::new();
    for value in 0..200 {
        let mut call = Call::plain(1);
        call.inputs[0].value = value;
        model.put(call, u64::from(value));
    }
    model.store.settle().unwrap();
    let mut call = Call::plain(1);
    call.inputs[0].value = 255;
    let (identity, interface) = (call.identity(), call.interface());
    for (limit, expected) in [(0, 0), (1, 1), (64, 64), (usize::MAX, 64)] {
        let found = model.store.nearest(&identity, &interface, limit).unwrap();
        assert_eq!(found.len(), expected);
        let times: Vec<_> = found.iter().map(|of| of.created_at_ms).collect();
        assert_eq!(times, (0..200).rev().take(expected).collect::<Vec<u64>>(), "newest first");
    }
}

#[test]
fn an_entry_that_counts_one_more_input_is_found_among_those_that_do_not() {
    let mut model = Model::new();
    let mut call = Call::plain(3);
    call.inputs[2].counts = false;
    for value in 1..30 {
        let mut other = call.clone();
        (other.inputs[0].value, other.inputs[1].value) = (value, value);
        model.put(other, 1);
    }
    model.put(Call::plain(3), 2);
    model.store.settle().unwrap();
    model.assert_nearest(&call, 1);
}
