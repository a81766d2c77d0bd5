//! What all calls of one task share, checked and hashed once for all of them.
//!
//! **Invariants.** A call has the same key in this way as by itself, see [`Call::key`], and what is
//! wrong with it is wrong here too.

use crate::call::{Call, CallIdentity, Interface, Scope};
use crate::digest::Digest;
use crate::error::InvalidArgument;
use crate::key::{BegunKey, Key};

/// What identifies the calls of a task, but for their inputs. Whoever has many calls of it hashed
/// makes one of these, since per call only the inputs are left.
#[derive(Debug, Clone)]
pub struct TaskIdentity {
    scope: Scope,
    task: String,
    /// Trimmed.
    cache_version: String,
    interface: Interface,
    signature: Digest,
    output_types: Vec<String>,
    key: BegunKey,
}

impl TaskIdentity {
    /// That of the task of this call.
    ///
    /// # Errors
    /// If anything but the values of inputs is wrong with it; the error names the field.
    pub fn of(call: &Call) -> Result<Self, InvalidArgument> {
        let Call { scope, task, interface, .. } = call;
        let cache_version = call.check_task()?;
        let signature = interface.signature(task);
        Ok(Self {
            key: BegunKey::new(scope, task, cache_version, &signature),
            output_types: interface.outputs.values().map(ToString::to_string).collect(),
            scope: scope.clone(),
            task: task.clone(),
            cache_version: cache_version.to_owned(),
            interface: interface.clone(),
            signature,
        })
    }

    /// Whether it is that of this call.
    #[must_use]
    pub fn is_of(&self, call: &Call) -> bool {
        self.scope == call.scope
            && self.cache_version == call.cache_version.trim()
            && self.task == call.task
            && self.interface == call.interface
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

    /// The texts of the outputs' types, in ascending order of their names.
    #[must_use]
    pub fn output_types(&self) -> &[String] {
        &self.output_types
    }

    /// The key of a call of this task.
    ///
    /// # Errors
    /// As [`TaskIdentity::know`].
    pub fn key(&self, call: &Call) -> Result<Key, InvalidArgument> {
        debug_assert!(self.is_of(call));
        let mut key = self.key.counting(call.counting_inputs());
        call.each_input_digest(|name, digest| key.input(name, &digest))?;
        Ok(key.finish())
    }

    /// Makes a call of this task known, which differs from the one that this was made of in the
    /// values of its inputs only.
    ///
    /// # Errors
    /// If a value is not declared, not of its declared type or too deeply nested; the error names
    /// the input.
    pub fn know<'a>(&'a self, call: &'a Call) -> Result<KnownCall<'a>, InvalidArgument> {
        debug_assert!(self.is_of(call));
        let inputs = call.input_digests()?;
        let mut key = self.key.counting(inputs.len());
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

    /// What it shares with the other calls of its task.
    #[must_use]
    pub const fn task(&self) -> &'a TaskIdentity {
        self.task
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
