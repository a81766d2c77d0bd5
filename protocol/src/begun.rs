//! What all keys of one declaration, scope and cache version begin with, hashed once.
//!
//! **Invariants.** A key made here is the one that [`Call::key`] makes, and what is wrong with a
//! call is wrong here too.

use crate::call::{Call, Scope, check_count};
use crate::declared::Declared;
use crate::error::InvalidArgument;
use crate::key::{BegunKey, Key, KeyParts};
use crate::limits::INPUTS_MAX;
use crate::name;

/// A declaration in a scope and of a cache version. Whoever has many calls of it hashed makes one
/// of these, since per call only the inputs are left.
#[derive(Debug, Clone)]
pub struct Begun {
    declared: Declared,
    scope: Scope,
    /// As calls give it, not trimmed.
    cache_version: String,
    key: BegunKey,
}

impl Begun {
    /// That of a call.
    ///
    /// # Errors
    /// If anything but its inputs is wrong with the call; the error names the field.
    pub fn of(call: &Call) -> Result<Self, InvalidArgument> {
        let declared = Declared::new(&call.task, &call.interface)?;
        call.scope.check()?;
        let key = Key::begin_many(&KeyParts {
            scope: &call.scope,
            task: &call.task,
            cache_version: name::trimmed_version(&call.cache_version)?,
            signature: &declared.signature(),
            inputs: 0,
        });
        let (scope, cache_version) = (call.scope.clone(), call.cache_version.clone());
        Ok(Self { declared, scope, cache_version, key })
    }

    /// Whether it is this call's.
    #[must_use]
    pub fn is_of(&self, call: &Call) -> bool {
        self.scope == call.scope
            && self.cache_version == call.cache_version
            && self.declared.is_of(call)
    }

    /// The declaration.
    #[must_use]
    pub const fn declared(&self) -> &Declared {
        &self.declared
    }

    /// The key of a call that this is of.
    ///
    /// # Errors
    /// If an input is wrong; the error names it.
    pub fn key(&self, call: &Call) -> Result<Key, InvalidArgument> {
        debug_assert!(self.is_of(call));
        check_count("input", call.inputs.len(), INPUTS_MAX)?;
        let counts = |name: &str| call.ignored.is_empty() || !call.ignored.contains(name);
        let counting = call.inputs.keys().filter(|name| counts(name)).count();
        let mut key = self.key.counting(counting);
        for (given, value) in &call.inputs {
            call.check_input(given, value)?;
            if counts(given) {
                key.input(given, &value.input_digest());
            }
        }
        Ok(key.finish())
    }
}
