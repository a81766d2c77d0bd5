//! The framed canonical encoding that keys, signatures and stored values are made of.
//!
//! **Invariants.** Every component carries a tag and a length or count, so no two different
//! structures have the same bytes (semantics 11). Numbers are little-endian and of fixed width.
//! `WIRE.md` lists every tag.

use blake3::Hasher;

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

impl Sink for Hasher {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
