//! The framed canonical encoding that keys, signatures and stored values are made of.
//!
//! **Invariants.** Every component carries a tag and a length or count, so no two different
//! structures have the same bytes (semantics 11). Numbers are little-endian and of fixed width.
//! `WIRE.md` lists every tag.

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt};

use crate::digest::Digest;

/// Where encoded bytes go: into a hash or into memory.
pub(crate) trait Sink {
    /// Takes the next bytes.
    fn put(&mut self, bytes: &[u8]);

    /// A tag byte.
    fn tag(&mut self, tag: u8) {
        self.put(&[tag]);
    }

    /// A count or length: eight bytes, little-endian.
    fn length(&mut self, count: usize) {
        self.put(&(count as u64).to_le_bytes());
    }

    /// Bytes behind their length.
    fn framed(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.put(bytes);
    }
}

/// A hash of what it is given, which it gathers: an encoding is many small pieces, and to hash each
/// by itself costs more than the hash.
pub(crate) struct Hash<'a> {
    beginning: Beginning<'a>,
    /// Only of what is longer than can be gathered: it is large, and slow to make and to move.
    begun: Option<Box<Hasher>>,
    gathered: [u8; GATHERED_BYTES],
    filled: usize,
}

const GATHERED_BYTES: usize = 512;

/// What stands before everything that a hash is given.
#[derive(Clone, Copy)]
enum Beginning<'a> {
    Context(&'a ContextKey),
    /// What this has been given already.
    Begun(&'a Hasher),
}

impl Beginning<'_> {
    #[inline]
    fn hasher(self) -> Hasher {
        match self {
            Self::Context(context) => Hasher::new_from_context_key(context),
            Self::Begun(begun) => begun.clone(),
        }
    }
}

impl<'a> Hash<'a> {
    /// A hash with this context.
    #[inline]
    pub(crate) fn new(context: &'a ContextKey) -> Self {
        Self::beginning(Beginning::Context(context))
    }

    /// A hash that goes on where this hasher stands.
    #[inline]
    pub(crate) fn behind(begun: &'a Hasher) -> Self {
        Self::beginning(Beginning::Begun(begun))
    }

    #[inline]
    fn beginning(beginning: Beginning<'a>) -> Self {
        Self { beginning, begun: None, gathered: [0; GATHERED_BYTES], filled: 0 }
    }

    fn gathered(&self) -> &[u8] {
        self.gathered.get(..self.filled).unwrap_or_default()
    }

    /// The hasher, which has been given everything.
    fn begun(&mut self) -> &mut Hasher {
        let begun = self.begun.take();
        let mut hasher = begun.unwrap_or_else(|| Box::new(self.beginning.hasher()));
        hasher.update(self.gathered());
        self.filled = 0;
        self.begun.insert(hasher)
    }

    /// The digest of everything that was given.
    #[inline]
    pub(crate) fn finish(&mut self) -> Digest {
        if self.begun.is_some() {
            return self.begun().finalize().into();
        }
        self.beginning.hasher().update(self.gathered()).finalize().into()
    }
}

impl Sink for Hash<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if bytes.len() > GATHERED_BYTES - self.filled {
            self.begun().update(bytes);
            return;
        }
        let end = self.filled + bytes.len();
        if let Some(room) = self.gathered.get_mut(self.filled..end) {
            room.copy_from_slice(bytes);
            self.filled = end;
        }
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use blake3::hazmat::hash_derive_key_context;
    use proptest::prelude::*;

    use super::*;

    static CONTEXT: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context("a test"));

    proptest! {
        /// However an encoding comes in pieces, its digest is that of the whole.
        #[test]
        fn what_is_gathered_is_hashed_as_a_whole(
            lengths in proptest::collection::vec(0..1200_usize, 0..12),
        ) {
            let (mut gathering, mut whole) = (Hash::new(&CONTEXT), Vec::new());
            for (length, byte) in lengths.into_iter().zip(1..) {
                let piece = vec![byte; length];
                gathering.put(&piece);
                whole.put(&piece);
            }
            let mut hasher = Hasher::new_from_context_key(&CONTEXT);
            let digest = hasher.update(&whole).finalize().into();
            prop_assert_eq!(gathering.finish(), digest);
            let (first, rest) = whole.split_at(whole.len() / 3);
            let mut begun = Hasher::new_from_context_key(&CONTEXT);
            begun.update(first);
            let mut behind = Hash::behind(&begun);
            behind.put(rest);
            prop_assert_eq!(behind.finish(), digest);
        }
    }
}
