//! Puts groups of calls to the daemon: which are the same call, and which are not?

use std::collections::BTreeMap;

use harness::{CallBuilder, Daemon, Raw, call};
use memod_protocol::{Digest, Filter, Literal, LiteralType, PutOutcome, Selector};

/// A daemon, and a connection to it.
pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) raw: Raw,
}

impl World {
    pub(crate) fn new() -> Self {
        let daemon = Daemon::new();
        let raw = daemon.connect();
        Self { daemon, raw }
    }

    pub(crate) fn clear(&mut self) {
        let everything = Selector::Matching(Filter::default());
        self.raw.invalidate(everything, false);
    }

    /// Stores each of the calls in turn: all others find it, and none can store anything beside.
    #[track_caller]
    pub(crate) fn same(&mut self, calls: &[(&str, CallBuilder)]) {
        for (stored, first) in calls {
            self.clear();
            let content = outputs(first, stored);
            assert_eq!(self.raw.put(put(first, &content)), PutOutcome::Populated, "{stored}");
            for (asked, other) in calls {
                let (hit, found) = self.raw.lookup(other).unwrap_or_else(|miss| {
                    panic!("`{asked}` misses what `{stored}` has stored: {miss:?}")
                });
                assert_eq!(Some(hit.key), other.0.key().ok());
                let found: Vec<&[u8]> = found.iter().map(AsRef::as_ref).collect();
                let wanted: Vec<&[u8]> = content.values().map(Vec::as_slice).collect();
                assert_eq!(found, wanted, "`{asked}` after `{stored}`");
                let again = self.raw.put(put(other, &outputs(other, asked)));
                assert!(matches!(again, PutOutcome::Exists(_)), "`{asked}` after `{stored}`");
            }
        }
    }

    /// Stores all of the calls: none finds another's outputs, before or after it has its own.
    #[track_caller]
    pub(crate) fn different(&mut self, calls: &[(&str, CallBuilder)]) {
        self.clear();
        for (number, (name, one)) in calls.iter().enumerate() {
            for (later, other) in &calls[number..] {
                assert!(self.raw.lookup(other).is_err(), "`{later}` hits before it is stored");
            }
            assert_eq!(
                self.raw.put(put(one, &outputs(one, name))),
                PutOutcome::Populated,
                "`{name}` is taken for another"
            );
        }
        for (name, one) in calls {
            let (_, found) = self.raw.lookup(one).expect("it was stored");
            let wanted = outputs(one, name);
            let found: Vec<&[u8]> = found.iter().map(AsRef::as_ref).collect();
            assert_eq!(found, wanted.values().map(Vec::as_slice).collect::<Vec<_>>(), "`{name}`");
        }
    }
}

/// Bytes for each output of the call that only this name has.
pub(crate) fn outputs(of: &CallBuilder, name: &str) -> BTreeMap<String, Vec<u8>> {
    let content = |(output, declared): (&String, &LiteralType)| {
        let text = format!("{output} of {name}");
        let bytes = match declared {
            LiteralType::Integer => {
                let number =
                    text.bytes().fold(7_i64, |sum, byte| sum * 31 % 65_521 + i64::from(byte));
                Literal::Integer(number).to_blob(declared).unwrap().to_vec()
            }
            _ => text.into_bytes(),
        };
        (output.clone(), bytes)
    };
    of.0.interface.outputs.iter().map(content).collect()
}

pub(crate) fn put(
    of: &CallBuilder,
    outputs: &BTreeMap<String, Vec<u8>>,
) -> (memod_protocol::Put, bytes::Bytes) {
    let pairs: Vec<(&str, &[u8])> =
        outputs.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    of.put(&pairs)
}

pub(crate) fn text(value: &str) -> Literal {
    Literal::String(value.to_owned())
}

pub(crate) fn list(items: impl IntoIterator<Item = Literal>) -> Literal {
    Literal::List(items.into_iter().collect())
}

pub(crate) fn members<const N: usize>(members: [(&str, Literal); N]) -> BTreeMap<String, Literal> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn hashed(hash: &str, value: Option<Literal>) -> Literal {
    Literal::Hashed { hash: hash.to_owned(), value: value.map(Box::new) }
}

/// A call with one input `x`.
pub(crate) fn with(literal_type: &str, value: Literal) -> CallBuilder {
    call("t").bare().output("o0", "string").input("x", literal_type, value)
}

/// The calls with one input `x` of this type, named by number.
pub(crate) fn each<const N: usize>(
    literal_type: &str,
    values: [Literal; N],
) -> Vec<(&'static str, CallBuilder)> {
    let names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"];
    assert!(N <= names.len());
    names.into_iter().zip(values.map(|value| with(literal_type, value))).collect()
}

/// A file of this content.
pub(crate) fn file(content: &str) -> Literal {
    Literal::File { digest: Digest::of(content.as_bytes()), bytes: content.len() as u64 }
}
