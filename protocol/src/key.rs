//! The key: 32 bytes of BLAKE3 over a framed encoding of scope, task, cache version, signature
//! and input digests.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, hash_derive_key_context};

use crate::call::{CallIdentity, Scope};
use crate::canonical::{Hash, Sink};
use crate::digest::{Digest, ParseDigestError};
use crate::wire::{Decode, Encode};

/// The BLAKE3 derive-key context of keys, hashed once.
static KEY_CONTEXT: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("memod 2026-11-22 call key v1"));

/// The name of an entry. Prints as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Key(Digest);

impl Key {
    /// The key of a call. Every component is framed by tag and length (semantics 11).
    pub(crate) fn of(identity: &CallIdentity) -> Self {
        let CallIdentity { scope, task, cache_version, signature, inputs } = identity;
        let mut hasher = Hash::new(&KEY_CONTEXT);
        write_head(&mut hasher, scope, task, cache_version, signature);
        write_inputs(&mut hasher, inputs.iter().map(|(name, digest)| (name.as_str(), digest)));
        Self(hasher.finish())
    }

    /// The key of a call whose encoding begins with these bytes, which [`write_head`] wrote.
    pub(crate) fn behind(head: &[u8], inputs: &[(&str, Digest)]) -> Self {
        let mut hasher = Hash::new(&KEY_CONTEXT);
        hasher.put(head);
        write_inputs(&mut hasher, inputs.iter().map(|(name, digest)| (*name, digest)));
        Self(hasher.finish())
    }

    /// The key whose bytes these are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// What the encodings of a task's keys begin with.
pub(crate) fn write_head(
    sink: &mut impl Sink,
    scope: &Scope,
    task: &str,
    cache_version: &str,
    signature: &Digest,
) {
    for (tag, component) in [
        (0x90, scope.project.as_bytes()),
        (0x91, scope.domain.as_bytes()),
        (0x92, task.as_bytes()),
        (0x93, cache_version.as_bytes()),
        (0x94, signature.as_bytes().as_slice()),
    ] {
        sink.tag(tag);
        sink.framed(component);
    }
}

fn write_inputs<'a>(
    sink: &mut impl Sink,
    inputs: impl ExactSizeIterator<Item = (&'a str, &'a Digest)>,
) {
    sink.tag(0x95);
    sink.length(inputs.len());
    for (name, digest) in inputs {
        sink.framed(name.as_bytes());
        sink.put(digest.as_bytes());
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl FromStr for Key {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
