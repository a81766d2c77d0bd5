//! Content in chunks, each of which verifies by itself.
//!
//! A chunk is a whole subtree of the BLAKE3 hash, because [`CHUNK_BYTES`] is a power of two, and
//! its name is that subtree's chaining value. Merging the chaining values gives the plain BLAKE3
//! digest of all content, so a list of them verifies against the digest, and nothing is hashed
//! twice (section 2.1 of the BLAKE3 paper).

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use memod_protocol::Digest;
use memod_protocol::limits::CHUNK_BYTES;

/// What a chunk hashes to inside longer content.
pub(crate) type ChainingValue = [u8; 32];

/// How many chunks content of this length has; empty content has one, which is empty.
pub(crate) fn chunk_count(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(u64::from(CHUNK_BYTES)).max(1)).unwrap_or(u32::MAX)
}

/// The length of a chunk of content of this length.
pub(crate) fn chunk_bytes(bytes: u64, index: u32) -> u64 {
    let start = u64::from(index) * u64::from(CHUNK_BYTES);
    bytes.saturating_sub(start).min(u64::from(CHUNK_BYTES))
}

/// The chaining value of a chunk that is not all of the content; it must not be empty.
pub(crate) fn chaining_value(index: u32, chunk: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(u64::from(index) * u64::from(CHUNK_BYTES));
    hasher.update(chunk);
    hasher.finalize_non_root()
}

/// The digest of content whose chunks have these chaining values; there must be two at least.
pub(crate) fn merge(values: &[ChainingValue]) -> Digest {
    let (left, right) = values.split_at(left_chunks(values.len()));
    merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).into()
}

fn subtree(values: &[ChainingValue]) -> ChainingValue {
    if let [value] = values {
        return *value;
    }
    let (left, right) = values.split_at(left_chunks(values.len()));
    merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

/// How many chunks stand left of the root of a tree over so many: the largest power of two that
/// is less.
fn left_chunks(count: usize) -> usize {
    count.div_ceil(2).next_power_of_two()
}

/// Digest and chaining values of content: none if it is no longer than one chunk.
pub(crate) fn hash(content: &[u8]) -> (Digest, Vec<ChainingValue>) {
    if content.len() <= CHUNK_BYTES as usize {
        return (Digest::of(content), Vec::new());
    }
    let values: Vec<_> = content
        .chunks(CHUNK_BYTES as usize)
        .zip(0u32..)
        .map(|(chunk, index)| chaining_value(index, chunk))
        .collect();
    (merge(&values), values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = CHUNK_BYTES as usize;

    #[test]
    fn merged_chunks_have_the_plain_digest() {
        let content: Vec<u8> = (0..9 * CHUNK + 7).map(|i| (i % 251) as u8).collect();
        let mut lengths = vec![0, 1, 1023, 1024, 1025];
        for chunks in 1..=9 {
            lengths.extend([chunks * CHUNK - 1, chunks * CHUNK, chunks * CHUNK + 1]);
        }
        for length in lengths {
            let (digest, values) = hash(&content[..length]);
            assert_eq!(digest, Digest::of(&content[..length]), "{length} bytes");
            let expected = if length <= CHUNK { 0 } else { length.div_ceil(CHUNK) };
            assert_eq!(values.len(), expected, "{length} bytes");
        }
    }

    #[test]
    fn chunks_cover_the_content() {
        for bytes in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
            let bytes = bytes as u64;
            let lengths: Vec<_> =
                (0..chunk_count(bytes)).map(|index| chunk_bytes(bytes, index)).collect();
            assert_eq!(lengths.iter().sum::<u64>(), bytes);
            assert!(lengths.iter().all(|length| *length > 0) || bytes == 0);
            assert_eq!(chunk_bytes(bytes, chunk_count(bytes)), 0);
        }
    }
}
