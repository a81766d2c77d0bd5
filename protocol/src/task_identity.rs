//! What all calls of one task share, checked and encoded once for all of them.
//!
//! **Invariants.** A call is known by the same key in this way as by itself, see [`Call::key`], and
//! what is wrong with it is wrong here too.

use crate::call::{Call, CallIdentity, Scope};
use crate::declared::Declared;
use crate::digest::Digest;
use crate::error::InvalidArgument;
use crate::key::{self, Key};
use crate::name;

/// What identifies the calls of a task, but for their inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskIdentity {
    scope: Scope,
    task: String,
    cache_version: String,
    signature: Digest,
    /// With what the encoding of each of their keys begins.
    head: Vec<u8>,
}

impl TaskIdentity {
    /// That of the task of this call.
    ///
    /// # Errors
    /// If anything but the values of inputs is wrong with it; the error names the field.
    pub fn of(call: &Call) -> Result<Self, InvalidArgument> {
        call.scope.check()?;
        let signature = Declared::new(&call.task, &call.interface)?.signature();
        let cache_version = name::cache_version(&call.cache_version)?;
        let mut head = Vec::new();
        key::write_head(&mut head, &call.scope, &call.task, &cache_version, &signature);
        let (scope, task) = (call.scope.clone(), call.task.clone());
        Ok(Self { scope, task, cache_version, signature, head })
    }

    /// Project and domain.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The cache version, trimmed.
    #[must_use]
    pub fn cache_version(&self) -> &str {
        &self.cache_version
    }

    /// Makes a call of this task known, which differs from the one that this was made of in the
    /// values of its inputs only.
    ///
    /// # Errors
    /// If a value is not declared, not of its declared type or too deeply nested; the error names
    /// the input.
    pub fn know<'a>(&'a self, call: &'a Call) -> Result<KnownCall<'a>, InvalidArgument> {
        debug_assert!(call.scope == self.scope && call.task == self.task);
        debug_assert!(call.cache_version.trim() == self.cache_version);
        debug_assert!(call.interface.signature(&call.task) == self.signature);
        let inputs = call.input_digests()?;
        let mut key = Key::begin_behind(&self.head, inputs.len());
        for (name, digest) in &inputs {
            key.input(name, digest);
        }
        Ok(KnownCall { task: self, call, inputs, key: key.finish() })
    }
}

/// A call of which the key is known.
#[derive(Debug, Clone)]
pub struct KnownCall<'a> {
    task: &'a TaskIdentity,
    call: &'a Call,
    inputs: Vec<(&'a str, Digest)>,
    key: Key,
}

impl<'a> KnownCall<'a> {
    /// The key.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The call itself.
    #[must_use]
    pub const fn call(&self) -> &'a Call {
        self.call
    }

    /// What identifies the call, for the wire.
    #[must_use]
    pub fn identity(&self) -> CallIdentity {
        let owned = |(name, digest): &(&str, Digest)| ((*name).to_owned(), *digest);
        CallIdentity {
            scope: self.task.scope.clone(),
            task: self.task.task.clone(),
            cache_version: self.task.cache_version.clone(),
            signature: self.task.signature,
            inputs: self.inputs.iter().map(owned).collect(),
        }
    }
}
