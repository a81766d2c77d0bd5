//! The values of the database.
//!
//! **Invariants.** Their bytes are format 1 and pinned by the tests below: a change of layout, here
//! or in a protocol type that stands in a record, needs a new number in [`crate::schema::FORMAT`]
//! and a reader for the old one.

use memod_protocol::wire::{self, Decode, DecodeError, Encode};
use memod_protocol::{Digest, InterfaceText, Provenance, Scope};

use crate::hashing::{ChainingValue, chunk_count, merge};

/// A row of `entries`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct EntryRecord {
    pub(crate) scope: Scope,
    pub(crate) task: String,
    pub(crate) cache_version: String,
    pub(crate) signature: Digest,
    pub(crate) outputs: Vec<OutputRecord>,
    pub(crate) provenance: Provenance,
}

/// An output in a row of `entries`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct OutputRecord {
    pub(crate) name: String,
    pub(crate) literal_type: String,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

impl EntryRecord {
    /// Lengths of all outputs together.
    pub(crate) fn logical_bytes(&self) -> u64 {
        self.outputs.iter().map(|output| output.bytes).sum()
    }
}

/// A row of `tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TaskRecord {
    pub(crate) created_at_ms: u64,
    pub(crate) compute_ns: Option<u64>,
    pub(crate) writer_uid: u32,
    pub(crate) outputs: u32,
    pub(crate) bytes: u64,
    pub(crate) interface: InterfaceText,
    pub(crate) inputs: Vec<(String, Digest)>,
}

/// That and why an entry was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Grave {
    /// Why.
    pub cause: GraveCause,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// The user who did it.
    pub by_uid: Option<u32>,
}

/// Why an entry was removed. Variants are appended, never reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum GraveCause {
    /// To make room.
    Evicted,
    /// It was too old.
    Expired,
    /// A user asked for it.
    Invalidated,
    /// It did not verify.
    Corrupt,
    /// Its content was gone.
    BlobMissing,
}

/// What the store holds. Exact: changed in the same batch as what is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counters {
    /// Entries.
    pub entries: u64,
    /// Distinct blobs.
    pub blobs: u64,
    /// Bytes of the distinct blobs.
    pub stored_bytes: u64,
    /// Bytes of all entries' outputs, counted once for each output.
    pub logical_bytes: u64,
    /// Puts that stored something, since the store was made.
    pub puts: u64,
}

/// A row of `blobs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlobRecord<'a> {
    /// The content itself.
    Whole(&'a [u8]),
    /// Where the content is.
    Chunked(ChunkedRecord),
    /// Content of this length was here, was found damaged, and has not been put again.
    Dropped { bytes: u64 },
}

/// Where the content of a blob is that is too long for its row.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ChunkedRecord {
    /// Length of the content.
    pub(crate) bytes: u64,
    /// Under which storage id its chunks are.
    pub(crate) storage: u64,
    /// The chunks' chaining values; none if there is one chunk, which the digest verifies.
    pub(crate) chaining: Vec<ChainingValue>,
}

impl ChunkedRecord {
    pub(crate) fn chunk_count(&self) -> u32 {
        chunk_count(self.bytes)
    }

    /// Whether the chaining values are those of content with this digest.
    pub(crate) fn verifies(&self, digest: &Digest) -> bool {
        match self.chunk_count() {
            1 => self.chaining.is_empty(),
            count => {
                u32::try_from(self.chaining.len()) == Ok(count) && merge(&self.chaining) == *digest
            }
        }
    }
}

const WHOLE: u8 = 0;
const CHUNKED: u8 = 1;
const DROPPED: u8 = 2;

impl<'a> BlobRecord<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Whole(content) => [&[WHOLE], *content].concat(),
            Self::Chunked(record) => [[CHUNKED].as_slice(), &wire::encode(record)].concat(),
            Self::Dropped { bytes } => [[DROPPED].as_slice(), &bytes.to_le_bytes()].concat(),
        }
    }

    pub(crate) fn decode(row: &'a [u8]) -> Result<Self, DecodeError> {
        let malformed = |what: &str| DecodeError::Malformed(what.to_owned());
        match row.split_first() {
            Some((&WHOLE, content)) => Ok(Self::Whole(content)),
            Some((&CHUNKED, rest)) => wire::decode_record(rest).map(Self::Chunked),
            Some((&DROPPED, rest)) => rest
                .try_into()
                .map(|bytes| Self::Dropped { bytes: u64::from_le_bytes(bytes) })
                .map_err(|_| malformed("a length is not eight bytes")),
            Some((tag, _)) => Err(malformed(&format!("{tag} is no kind of blob"))),
            None => Err(malformed("an empty row")),
        }
    }
}

#[cfg(test)]
mod tests {
    use memod_protocol::RunClaim;

    use super::*;

    fn provenance() -> Provenance {
        Provenance {
            writer_uid: 1000,
            writer_pid: Some(7),
            program: Some("p".to_owned()),
            host: None,
            created_at_ms: 1_700_000_000_000,
            run: RunClaim { compute_ns: Some(5), attempt: Some(2), ..RunClaim::default() },
        }
    }

    fn entry() -> EntryRecord {
        EntryRecord {
            scope: Scope::new("a", "b"),
            task: "t".to_owned(),
            cache_version: "1".to_owned(),
            signature: Digest::from_bytes([0x11; 32]),
            outputs: vec![OutputRecord {
                name: "o".to_owned(),
                literal_type: "string".to_owned(),
                digest: Digest::from_bytes([0x22; 32]),
                bytes: 300,
            }],
            provenance: provenance(),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn the_bytes_of_format_1_stay() {
        let (ones, twos) = ("11".repeat(32), "22".repeat(32));
        let task = TaskRecord {
            created_at_ms: 1,
            compute_ns: Some(2),
            writer_uid: 3,
            outputs: 4,
            bytes: 5,
            interface: InterfaceText {
                inputs: vec![("i".to_owned(), "integer".to_owned())],
                outputs: vec![("o".to_owned(), "string".to_owned())],
            },
            inputs: vec![("i".to_owned(), Digest::from_bytes([0x11; 32]))],
        };
        let grave = Grave { cause: GraveCause::Invalidated, at_ms: 9, by_uid: Some(1) };
        let counters =
            Counters { entries: 1, blobs: 2, stored_bytes: 3, logical_bytes: 4, puts: 5 };
        let chunked =
            ChunkedRecord { bytes: 9, storage: 8, chaining: vec![[0x11; 32], [0x22; 32]] };
        let provenance = "fbe803 0107 010170 00 fd0068e5cf8b010000 0105 000000 0102";
        let pinned = [
            (
                wire::encode(&entry()),
                format!("016101620174 0131 {ones} 01016f06737472696e67 {twos} fb2c01 {provenance}"),
            ),
            (
                wire::encode(&task),
                format!(
                    "01 0102 03 04 05 01016907696e7465676572 01016f06737472696e67 010169 {ones}"
                ),
            ),
            (wire::encode(&grave), "02090101".to_owned()),
            (wire::encode(&counters), "0102030405".to_owned()),
            (BlobRecord::Whole(b"xyz").encode(), "0078797a".to_owned()),
            (BlobRecord::Chunked(chunked).encode(), format!("01 09 08 02 {ones} {twos}")),
            (BlobRecord::Dropped { bytes: 258 }.encode(), "020201000000000000".to_owned()),
        ];
        for (bytes, expected) in pinned {
            assert_eq!(hex(&bytes), expected.replace(' ', ""));
        }
    }

    #[test]
    fn records_read_back() {
        assert_eq!(wire::decode_record::<EntryRecord>(&wire::encode(&entry())), Ok(entry()));
        let chunked = ChunkedRecord { bytes: 9, storage: 8, chaining: vec![[1; 32]; 2] };
        for record in [
            BlobRecord::Whole(b""),
            BlobRecord::Whole(b"xyz"),
            BlobRecord::Chunked(chunked),
            BlobRecord::Dropped { bytes: u64::MAX },
        ] {
            let row = record.encode();
            assert_eq!(BlobRecord::decode(&row), Ok(record));
        }
        for broken in [b"".as_slice(), b"\x01", b"\x02\x00", b"\x03"] {
            assert!(BlobRecord::decode(broken).is_err(), "{broken:?}");
        }
    }
}
