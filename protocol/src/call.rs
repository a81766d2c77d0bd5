//! A call of a task, as its caller knows it, and what identifies it on the wire and in the key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, hash_derive_key_context};

use crate::canonical::{Hash, Sink};
use crate::digest::Digest;
use crate::error::InvalidArgument;
use crate::key::Key;
use crate::limits::{INPUTS_MAX, OUTPUTS_MAX};
use crate::literal::Literal;
use crate::literal_type::LiteralType;
use crate::name;
use crate::wire::{Decode, Encode};

/// The BLAKE3 derive-key context of signatures, hashed once.
static SIGNATURE_CONTEXT: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("memod 2026-11-22 task signature v1"));

/// The isolation boundary: nothing is shared across scopes (semantics 4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Scope {
    /// Flyte's project.
    pub project: String,
    /// Flyte's domain, such as `development`.
    pub domain: String,
}

impl Scope {
    /// The scope of this project and domain.
    pub fn new(project: impl Into<String>, domain: impl Into<String>) -> Self {
        Self { project: project.into(), domain: domain.into() }
    }

    /// Checks both names.
    ///
    /// # Errors
    /// If one is empty or too long.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        name::check("project", &self.project)?;
        name::check("domain", &self.domain)
    }
}

/// The declared inputs and outputs of a task, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Types of the inputs.
    pub inputs: BTreeMap<String, LiteralType>,
    /// Types of the outputs.
    pub outputs: BTreeMap<String, LiteralType>,
}

impl Interface {
    /// The digest of task name, input names and types, output names and types.
    #[must_use]
    pub fn signature(&self, task: &str) -> Digest {
        let mut hasher = Hash::new(&SIGNATURE_CONTEXT);
        hasher.tag(0x80);
        hasher.framed(task.as_bytes());
        for (tag, members) in [(0x81, &self.inputs), (0x82, &self.outputs)] {
            hasher.tag(tag);
            hasher.length(members.len());
            for (member, literal_type) in members {
                hasher.framed(member.as_bytes());
                literal_type.write(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Checks names, types and counts.
    ///
    /// # Errors
    /// The first thing that is wrong, named.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        for (kind, members, most) in
            [("input", &self.inputs, INPUTS_MAX), ("output", &self.outputs, OUTPUTS_MAX)]
        {
            check_count(kind, members.len(), most)?;
            for (member, literal_type) in members {
                name::check(" name", member).map_err(|error| error.within(kind))?;
                literal_type.check().map_err(|error| error.within(&name::label(kind, member)))?;
            }
        }
        Ok(())
    }
}

fn check_count(kind: &str, count: usize, most: usize) -> Result<(), InvalidArgument> {
    if count > most {
        return Err(InvalidArgument::new(
            format!("{kind}s"),
            format!("there are {count}, {most} are allowed"),
        ));
    }
    Ok(())
}

/// A call of a task: everything that decides whether it has been run before.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Project and domain.
    pub scope: Scope,
    /// The task's name.
    pub task: String,
    /// The user's statement of what the task does; trimmed, never blank.
    pub cache_version: String,
    /// Declared inputs and outputs.
    pub interface: Interface,
    /// The inputs' values.
    pub inputs: BTreeMap<String, Literal>,
    /// Inputs whose values do not count. They stay in the signature; unknown names are harmless.
    pub ignored: BTreeSet<String>,
}

impl Call {
    /// What identifies the call: digests in place of values.
    ///
    /// # Errors
    /// If a name is empty or too long, the version blank, a value not of its declared type, not
    /// declared or too deeply nested; the error names the field.
    pub fn identity(&self) -> Result<CallIdentity, InvalidArgument> {
        let cache_version = self.check_task()?.to_owned();
        let inputs = self.input_digests()?;
        Ok(CallIdentity {
            scope: self.scope.clone(),
            task: self.task.clone(),
            cache_version,
            signature: self.interface.signature(&self.task),
            inputs: inputs.into_iter().map(|(given, digest)| (given.to_owned(), digest)).collect(),
        })
    }

    /// Checks all but its inputs; gives the cache version, trimmed.
    pub(crate) fn check_task(&self) -> Result<&str, InvalidArgument> {
        self.scope.check()?;
        name::check("task", &self.task)?;
        let cache_version = name::trimmed_version(&self.cache_version)?;
        self.interface.check()?;
        Ok(cache_version)
    }

    fn counts(&self, input: &str) -> bool {
        self.ignored.is_empty() || !self.ignored.contains(input)
    }

    /// How many inputs count.
    pub(crate) fn counting_inputs(&self) -> usize {
        self.inputs.keys().filter(|name| self.counts(name)).count()
    }

    /// Checks all inputs, and hands over those that count with their digests, in ascending order of
    /// their names.
    pub(crate) fn each_input_digest<'a>(
        &'a self,
        mut with: impl FnMut(&'a str, Digest),
    ) -> Result<(), InvalidArgument> {
        check_count("input", self.inputs.len(), INPUTS_MAX)?;
        for (given, value) in &self.inputs {
            self.check_input(given, value)?;
            if self.counts(given) {
                with(given, value.input_digest());
            }
        }
        Ok(())
    }

    /// The digests of the inputs that count, in ascending order of their names.
    pub(crate) fn input_digests(&self) -> Result<Vec<(&str, Digest)>, InvalidArgument> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        self.each_input_digest(|name, digest| inputs.push((name, digest)))?;
        Ok(inputs)
    }

    fn check_input(&self, given: &str, value: &Literal) -> Result<(), InvalidArgument> {
        name::check("input name", given)?;
        let label = || name::label("input", given);
        let Some(declared) = self.interface.inputs.get(given) else {
            return Err(InvalidArgument::new(label(), "is not declared in the interface"));
        };
        value.check(0).map_err(|error| error.within(&label()))?;
        if !declared.admits(value) {
            return Err(InvalidArgument::new(label(), format!("is not of type {declared}")));
        }
        Ok(())
    }

    /// The call's key.
    ///
    /// # Errors
    /// As [`Call::identity`].
    pub fn key(&self) -> Result<Key, InvalidArgument> {
        Ok(self.identity()?.key())
    }
}

/// What identifies a call: the five components of the key, with digests in place of types and
/// values, so that the daemon can check a key without seeing a value (which may be a secret).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CallIdentity {
    /// Project and domain.
    pub scope: Scope,
    /// The task's name.
    pub task: String,
    /// The cache version, trimmed.
    pub cache_version: String,
    /// See [`Interface::signature`].
    pub signature: Digest,
    /// Digests of the inputs that count, in ascending order of their names, each name once.
    pub inputs: Vec<(String, Digest)>,
}

impl CallIdentity {
    /// The key. Meaningful only for an identity that passes [`CallIdentity::check`].
    #[must_use]
    pub fn key(&self) -> Key {
        Key::of(self)
    }

    /// Checks an identity that came from a peer.
    ///
    /// # Errors
    /// If a name is empty or too long, the version blank or not trimmed, or the inputs are too
    /// many, not in order or not unique; the error names the field.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        self.scope.check()?;
        name::check("task", &self.task)?;
        if name::trimmed_version(&self.cache_version)? != self.cache_version {
            return Err(InvalidArgument::new("cache_version", "must be trimmed"));
        }
        check_count("input", self.inputs.len(), INPUTS_MAX)?;
        let mut previous: Option<&str> = None;
        for (given, _) in &self.inputs {
            name::check("input name", given)?;
            match previous {
                Some(before) if before == given => {
                    return Err(InvalidArgument::new(
                        name::label("input", given),
                        "is given twice",
                    ));
                }
                Some(before) if before > given.as_str() => {
                    return Err(InvalidArgument::new(
                        "inputs",
                        "must be in ascending order of name",
                    ));
                }
                _ => previous = Some(given),
            }
        }
        Ok(())
    }
}
