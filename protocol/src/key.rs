//! The key: 32 bytes of BLAKE3 over a framed encoding of scope, task, cache version, signature
//! and input digests.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

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

/// A key whose inputs are given one by one, in ascending order of their names.
pub(crate) struct UnfinishedKey<'a>(Hash<'a>);

/// What the keys of a task's calls begin with, hashed.
#[derive(Debug, Clone)]
pub(crate) struct BegunKey(Hasher);

impl BegunKey {
    /// That of these, which are good; the cache version is trimmed.
    pub(crate) fn new(scope: &Scope, task: &str, cache_version: &str, signature: &Digest) -> Self {
        let mut head = Vec::new();
        write_head(&mut head, scope, task, cache_version, signature);
        let mut hasher = Hasher::new_from_context_key(&KEY_CONTEXT);
        hasher.update(&head);
        Self(hasher)
    }

    /// One of them, with so many inputs that count.
    pub(crate) fn counting(&self, inputs: usize) -> UnfinishedKey<'_> {
        UnfinishedKey::counting(Hash::behind(&self.0), inputs)
    }
}

impl<'a> UnfinishedKey<'a> {
    fn counting(mut hasher: Hash<'a>, inputs: usize) -> Self {
        hasher.tag(0x95);
        hasher.length(inputs);
        Self(hasher)
    }

    /// The next input that counts.
    pub(crate) fn input(&mut self, name: &str, digest: &Digest) {
        self.0.framed(name.as_bytes());
        self.0.put(digest.as_bytes());
    }

    /// The key.
    pub(crate) fn finish(mut self) -> Key {
        Key(self.0.finish())
    }
}

impl Key {
    /// The key of a call. Every component is framed by tag and length (semantics 11).
    pub(crate) fn of(identity: &CallIdentity) -> Self {
        let CallIdentity { scope, task, cache_version, signature, inputs } = identity;
        let mut hasher = Hash::new(&KEY_CONTEXT);
        write_head(&mut hasher, scope, task, cache_version, signature);
        let mut key = UnfinishedKey::counting(hasher, inputs.len());
        for (name, digest) in inputs {
            key.input(name, digest);
        }
        key.finish()
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
fn write_head(
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
