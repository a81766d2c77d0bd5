//! Compares a call with entries, name by name.
//!
//! **Invariants.** A pure function of its arguments. What both declare and what both count is
//! compared by name, so that order means nothing. An input that only one of them declares, or that
//! they declare with different types, is told once, as a difference of signature, not again as one
//! of inputs; whether it counts is told in any case.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use memod_protocol::name::label;
use memod_protocol::{
    CallIdentity, Difference, DifferenceKind, Digest, InterfaceText, LiteralType, Scope,
};

use crate::schema::TaskKey;

/// In what all entries of a group differ from a call.
#[derive(Debug, Default)]
pub(crate) struct GroupDifferences {
    /// Scope, cache version, inputs and outputs as they are declared.
    pub(crate) differs: Vec<Difference>,
    /// Inputs that only one side declares.
    one_sided: BTreeSet<String>,
    /// Inputs whose types differ, and so do their values.
    retyped: BTreeSet<String>,
}

impl GroupDifferences {
    /// Compares everything but the values of inputs.
    pub(crate) fn new(
        call: &CallIdentity,
        interface: &InterfaceText,
        group: &TaskKey,
        stored: &InterfaceText,
    ) -> Self {
        let mut found = Self::default();
        let texts = [
            (DifferenceKind::Scope, scope_text(&call.scope), scope_text(&group.scope)),
            (DifferenceKind::CacheVersion, call.cache_version.clone(), group.cache_version.clone()),
        ];
        for (what, here, stored) in texts {
            found.compare(what, None, Some(here), Some(stored));
        }
        if call.signature != group.signature {
            let before = found.differs.len();
            found.compare_members("input", &interface.inputs, &stored.inputs);
            found.compare_members("output", &interface.outputs, &stored.outputs);
            if found.differs.len() == before {
                // What is declared does not say why the signatures differ: that they do stays.
                let (here, stored) = (call.signature.to_string(), group.signature.to_string());
                found.compare(DifferenceKind::Signature, None, Some(here), Some(stored));
            }
        }
        found
    }

    fn compare(
        &mut self,
        what: DifferenceKind,
        name: Option<String>,
        here: Option<String>,
        stored: Option<String>,
    ) {
        if here != stored {
            self.differs.push(Difference { what, name, here, stored });
        }
    }

    fn compare_members(
        &mut self,
        kind: &str,
        here: &[(String, String)],
        stored: &[(String, String)],
    ) {
        let (here, stored) = (by_name(here), by_name(stored));
        let names: BTreeSet<&str> = here.keys().chain(stored.keys()).copied().collect();
        for name in names {
            let (here, stored) = (here.get(name).copied(), stored.get(name).copied());
            if here.zip(stored).is_some_and(|(here, stored)| is_same_type(here, stored)) {
                continue;
            }
            if kind == "input" {
                let is_retyped = here.is_some() && stored.is_some();
                let told = if is_retyped { &mut self.retyped } else { &mut self.one_sided };
                told.insert(name.to_owned());
            }
            let text = |of: Option<&str>| of.map(str::to_owned);
            let label = Some(label(kind, name));
            self.compare(DifferenceKind::Signature, label, text(here), text(stored));
        }
    }

    /// The inputs in which an entry of the group differs; both lists are in order of their names.
    pub(crate) fn inputs<'a>(
        &'a self,
        here: &'a [(String, Digest)],
        stored: &'a [(String, Digest)],
    ) -> impl Iterator<Item = InputDifference<'a>> {
        Merged { here, stored }.filter(|input| {
            let one_sided = input.here.is_none() || input.stored.is_none();
            let told = if one_sided { &self.one_sided } else { &self.retyped };
            input.here != input.stored && !told.contains(input.name)
        })
    }
}

fn scope_text(scope: &Scope) -> String {
    format!("{}/{}", scope.project, scope.domain)
}

fn by_name(members: &[(String, String)]) -> BTreeMap<&str, &str> {
    members.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect()
}

/// Whether two texts are one type; it may be written in more than one way.
fn is_same_type(here: &str, stored: &str) -> bool {
    here == stored
        || match (here.parse::<LiteralType>(), stored.parse::<LiteralType>()) {
            (Ok(here), Ok(stored)) => here == stored,
            _ => false,
        }
}

/// An input as two sides have it; a side that does not count it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InputDifference<'a> {
    name: &'a str,
    here: Option<&'a Digest>,
    stored: Option<&'a Digest>,
}

impl From<InputDifference<'_>> for Difference {
    fn from(input: InputDifference<'_>) -> Self {
        Self {
            what: DifferenceKind::Input,
            name: Some(input.name.to_owned()),
            here: input.here.map(Digest::to_string),
            stored: input.stored.map(Digest::to_string),
        }
    }
}

/// Walks two lists of inputs side by side.
struct Merged<'a> {
    here: &'a [(String, Digest)],
    stored: &'a [(String, Digest)],
}

impl<'a> Iterator for Merged<'a> {
    type Item = InputDifference<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (here, stored) = (self.here.split_first(), self.stored.split_first());
        let first = match (here, stored) {
            (Some(((here, _), _)), Some(((stored, _), _))) => here.cmp(stored),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let here = here.filter(|_| first.is_le());
        let stored = stored.filter(|_| first.is_ge());
        if let Some((_, rest)) = here {
            self.here = rest;
        }
        if let Some((_, rest)) = stored {
            self.stored = rest;
        }
        let (name, _) = here.or(stored)?.0;
        let digest = |side: Option<(&'a (String, Digest), _)>| side.map(|((_, digest), _)| digest);
        Some(InputDifference { name, here: digest(here), stored: digest(stored) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: &str) -> Digest {
        Digest::of(of.as_bytes())
    }

    fn inputs(given: &[(&str, &str)]) -> Vec<(String, Digest)> {
        given.iter().map(|(name, value)| ((*name).to_owned(), digest(value))).collect()
    }

    fn members(given: &[(&str, &str)]) -> Vec<(String, String)> {
        given.iter().map(|(name, of)| ((*name).to_owned(), (*of).to_owned())).collect()
    }

    fn call() -> CallIdentity {
        CallIdentity {
            scope: Scope::new("p", "d"),
            task: "t".to_owned(),
            cache_version: "1.1".to_owned(),
            signature: digest("signature"),
            inputs: inputs(&[("a", "1"), ("b", "2")]),
        }
    }

    fn group(of: &CallIdentity) -> TaskKey {
        TaskKey {
            scope: of.scope.clone(),
            task: of.task.clone(),
            cache_version: of.cache_version.clone(),
            signature: of.signature,
            key: of.key(),
        }
    }

    /// What, name, here, stored.
    fn told(differences: Vec<Difference>) -> Vec<String> {
        let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let line = |of: Difference| {
            format!("{} {} {} {}", of.what.name(), text(of.name), text(of.here), text(of.stored))
        };
        differences.into_iter().map(line).collect()
    }

    fn interface(inputs: &[(&str, &str)], outputs: &[(&str, &str)]) -> InterfaceText {
        InterfaceText { inputs: members(inputs), outputs: members(outputs) }
    }

    #[test]
    fn what_is_alike_does_not_differ() {
        let (call, here) = (call(), interface(&[("a", "integer")], &[]));
        let found = GroupDifferences::new(&call, &here, &group(&call), &interface(&[], &[]));
        assert_eq!(told(found.differs.clone()), Vec::<String>::new(), "the signatures are alike");
        assert_eq!(found.inputs(&call.inputs, &call.inputs).count(), 0);
    }

    #[test]
    fn scope_and_cache_version_are_told() {
        let (call, here) = (call(), InterfaceText::default());
        let mut other = group(&call);
        (other.scope, other.cache_version) = (Scope::new("p", "e"), "1.0".to_owned());
        let found = GroupDifferences::new(&call, &here, &other, &here);
        assert_eq!(told(found.differs), ["scope - p/d p/e", "cache_version - 1.1 1.0"]);
    }

    #[test]
    fn members_are_told_by_name_whatever_their_order_and_spelling() {
        let call = call();
        let mut other = group(&call);
        other.signature = digest("another");
        let here = interface(
            &[("l", "list<integer>"), ("a", "integer"), ("x", "float")],
            &[("o0", "string"), ("new", "bytes")],
        );
        let stored = interface(
            &[("a", "integer"), ("b", "integer"), ("l", "list< integer >"), ("x", "string")],
            &[("o0", "integer")],
        );
        let found = GroupDifferences::new(&call, &here, &other, &stored);
        assert_eq!(
            told(found.differs),
            [
                "signature input `b` - integer",
                "signature input `x` float string",
                "signature output `new` bytes -",
                "signature output `o0` string integer",
            ]
        );
    }

    #[test]
    fn signatures_that_differ_for_no_visible_reason_are_told_as_such() {
        let (call, here) = (call(), interface(&[("a", "integer")], &[]));
        let mut other = group(&call);
        other.signature = digest("another");
        let found = GroupDifferences::new(&call, &here, &other, &here);
        let expected = format!("signature - {} {}", call.signature, other.signature);
        assert_eq!(told(found.differs), [expected]);
    }

    #[test]
    fn inputs_are_told_by_name_with_what_only_one_side_has() {
        let none = GroupDifferences::default();
        let here = inputs(&[("a", "1"), ("b", "2"), ("d", "4")]);
        let stored = inputs(&[("b", "x"), ("c", "3"), ("d", "4")]);
        let found = none.inputs(&here, &stored).map(Difference::from).collect();
        assert_eq!(
            told(found),
            [
                format!("input a {} -", digest("1")),
                format!("input b {} {}", digest("2"), digest("x")),
                format!("input c - {}", digest("3")),
            ]
        );
        assert_eq!(none.inputs(&here, &[]).count(), 3);
        assert_eq!(none.inputs(&[], &stored).count(), 3);
    }

    #[test]
    fn an_input_that_one_side_declares_or_that_is_retyped_is_told_once() {
        let call = call();
        let mut other = group(&call);
        other.signature = digest("another");
        let here = interface(&[("a", "integer"), ("b", "integer")], &[]);
        let stored = interface(&[("a", "string"), ("c", "integer")], &[]);
        let found = GroupDifferences::new(&call, &here, &other, &stored);
        assert_eq!(found.differs.len(), 3, "{:?}", found.differs);
        let values = inputs(&[("a", "x"), ("c", "2")]);
        assert_eq!(found.inputs(&call.inputs, &values).count(), 0);
        // That it does not count there is more than its type says.
        let values = found.inputs(&call.inputs, &[]).map(Difference::from).collect();
        assert_eq!(told(values), [format!("input a {} -", digest("1"))]);
    }
}
