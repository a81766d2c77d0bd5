//! The values of the database.
//!
//! **Invariants.** Their bytes are pinned by the tests below: a change of layout, here or in a
//! protocol type that stands in a record, needs a new number in [`crate::schema::FORMAT`] and a
//! reader for the old one. Counters and graves of format 1 are still read, and so are entries
//! without what format 3 has put behind them: see [`crate::derived`].

use memod_protocol::wire::{self, BorrowDecode, Decode, DecodeError, Encode};
use memod_protocol::{Digest, InterfaceText, Provenance, Scope};

use crate::hashing::{ChainingValue, chunk_count, merge};

/// A row of `entries`, up to its details.
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

/// A row of `entries` as far as eviction has to know it, the rest left where it stands. Its layout
/// is that of [`EntryRecord`].
#[derive(Debug, PartialEq, Eq, BorrowDecode)]
pub(crate) struct EntrySketch<'a> {
    _scope: (&'a str, &'a str),
    _task: &'a str,
    _cache_version: &'a str,
    _signature: Digest,
    pub(crate) outputs: Vec<OutputSketch<'a>>,
    pub(crate) provenance: ProvenanceSketch<'a>,
}

/// An [`OutputRecord`].
#[derive(Debug, PartialEq, Eq, BorrowDecode)]
pub(crate) struct OutputSketch<'a> {
    _name: &'a str,
    _literal_type: &'a str,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

/// A [`Provenance`], up to what eviction asks of it.
#[derive(Debug, PartialEq, Eq, BorrowDecode)]
pub(crate) struct ProvenanceSketch<'a> {
    pub(crate) writer_uid: u32,
    _writer_pid: Option<u32>,
    _program: Option<&'a str>,
    _host: Option<&'a str>,
    pub(crate) created_at_ms: u64,
    pub(crate) compute_ns: Option<u64>,
    _run: [Option<&'a str>; 3],
    _attempt: Option<u32>,
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
    /// What went with it, if it was evicted.
    pub lost: Option<Lost>,
}

/// What is remembered of an entry that was evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Lost {
    /// How long its outputs had taken to compute, in nanoseconds.
    pub compute_ns: Option<u64>,
    /// When it was last used, in milliseconds since 1970-01-01 UTC.
    pub last_use_ms: u64,
    /// Hits that it had.
    pub hits: u32,
    /// Whether somebody has asked for it since.
    pub regretted: bool,
}

/// A grave as format 1 wrote it.
#[derive(Decode)]
#[cfg_attr(test, derive(Encode))]
struct GraveOfFormat1 {
    cause: GraveCause,
    at_ms: u64,
    by_uid: Option<u32>,
}

impl Grave {
    pub(crate) fn decode(row: &[u8]) -> Result<Self, DecodeError> {
        // Neither layout can be taken for the other: one is a byte too long, one too short.
        wire::decode_record(row).or_else(|error| {
            let old: GraveOfFormat1 = wire::decode_record(row).map_err(|_| error)?;
            let GraveOfFormat1 { cause, at_ms, by_uid } = old;
            Ok(Self { cause, at_ms, by_uid, lost: None })
        })
    }
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

impl GraveCause {
    /// In a word, for the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Corrupt => "corrupt",
            Self::BlobMissing => "blob_missing",
        }
    }
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
    /// Bytes of the rows of all entries: key and value of each row that an entry has in `entries`,
    /// `tasks`, `refs` and `near`.
    pub row_bytes: u64,
    /// Entries evicted, since the store was made.
    pub evicted_entries: u64,
    /// The bytes that this has freed.
    pub evicted_bytes: u64,
    /// Evicted entries that were asked for again.
    pub regretted_entries: u64,
    /// Compute time of those, in nanoseconds.
    pub regret_ns: u64,
    /// For how long the entry that was evicted last had not been used, in milliseconds.
    pub last_evicted_age_ms: Option<u64>,
}

impl Counters {
    /// What counts against the store's budget: content and rows.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.stored_bytes.saturating_add(self.row_bytes)
    }
}

/// Counters as format 1 wrote them.
#[derive(Decode)]
#[cfg_attr(test, derive(Encode))]
pub(crate) struct CountersOfFormat1 {
    pub(crate) entries: u64,
    pub(crate) blobs: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) logical_bytes: u64,
    pub(crate) puts: u64,
}

impl From<CountersOfFormat1> for Counters {
    fn from(old: CountersOfFormat1) -> Self {
        let CountersOfFormat1 { entries, blobs, stored_bytes, logical_bytes, puts } = old;
        Self { entries, blobs, stored_bytes, logical_bytes, puts, ..Self::default() }
    }
}

/// What a scope or a user has stored: entries with their rows, and the blobs for which they pay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Usage {
    /// Entries.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A row of `heat`: the uses of an entry that has been hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Heat {
    /// When it was last hit, in milliseconds since 1970-01-01 UTC.
    pub(crate) last_use_ms: u64,
    /// Hits, those before an earlier eviction included.
    pub(crate) hits: u32,
}

/// The value of a row of `refs`: whether its entry is the one that pays for the blob.
pub(crate) const fn ref_value(pays: bool) -> [u8; 1] {
    [pays as u8]
}

/// Whether a row of `refs` of this value pays.
pub(crate) fn ref_pays(value: &[u8]) -> bool {
    value == ref_value(true)
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
    /// The length of the content.
    pub(crate) fn content_bytes(&self) -> u64 {
        match self {
            Self::Whole(content) => content.len() as u64,
            Self::Chunked(record) => record.bytes,
            Self::Dropped { bytes } => *bytes,
        }
    }

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
    fn a_sketch_says_what_the_entry_says() {
        let mut entry = entry();
        let run =
            RunClaim { compute_ns: Some(2), node: Some("n".to_owned()), ..entry.provenance.run };
        entry.provenance.run = run;
        let row = wire::encode(&entry);
        let (sketch, _): (EntrySketch<'_>, _) = wire::borrow_front(&row).unwrap();
        let outputs = |of: &EntryRecord| -> Vec<_> {
            of.outputs.iter().map(|output| (output.digest, output.bytes)).collect()
        };
        let sketched: Vec<_> = sketch.outputs.iter().map(|of| (of.digest, of.bytes)).collect();
        assert!(!sketched.is_empty());
        assert_eq!(sketched, outputs(&entry));
        let Provenance { writer_uid, created_at_ms, run, .. } = entry.provenance;
        let told = sketch.provenance;
        assert_eq!((told.writer_uid, told.created_at_ms), (writer_uid, created_at_ms));
        assert_eq!(told.compute_ns, run.compute_ns);
    }

    #[test]
    fn the_bytes_of_the_format_stay() {
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
        let grave = Grave { cause: GraveCause::Invalidated, at_ms: 9, by_uid: Some(1), lost: None };
        let lost = Lost { compute_ns: Some(7), last_use_ms: 8, hits: 2, regretted: true };
        let evicted =
            Grave { cause: GraveCause::Evicted, at_ms: 9, by_uid: None, lost: Some(lost) };
        let counters = Counters {
            entries: 1,
            blobs: 2,
            stored_bytes: 3,
            logical_bytes: 4,
            puts: 5,
            row_bytes: 6,
            evicted_entries: 7,
            evicted_bytes: 8,
            regretted_entries: 9,
            regret_ns: 10,
            last_evicted_age_ms: Some(11),
        };
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
            (wire::encode(&grave), "0209010100".to_owned()),
            (wire::encode(&evicted), "000900 01 0107 08 02 01".to_owned()),
            (wire::encode(&counters), "0102030405060708090a 010b".to_owned()),
            (wire::encode(&Usage { entries: 1, bytes: 2 }), "0102".to_owned()),
            (wire::encode(&Heat { last_use_ms: 1, hits: 2 }), "0102".to_owned()),
            (ref_value(true).to_vec(), "01".to_owned()),
            (BlobRecord::Whole(b"xyz").encode(), "0078797a".to_owned()),
            (BlobRecord::Chunked(chunked).encode(), format!("01 09 08 02 {ones} {twos}")),
            (BlobRecord::Dropped { bytes: 258 }.encode(), "020201000000000000".to_owned()),
        ];
        for (bytes, expected) in pinned {
            assert_eq!(hex(&bytes), expected.replace(' ', ""));
        }
    }

    #[test]
    fn records_of_format_1_are_read() {
        let old = GraveOfFormat1 { cause: GraveCause::Invalidated, at_ms: 9, by_uid: Some(1) };
        let old = wire::encode(&old);
        assert_eq!(hex(&old), "02090101");
        let new = Grave { cause: GraveCause::Invalidated, at_ms: 9, by_uid: Some(1), lost: None };
        assert_eq!(Grave::decode(&old), Ok(new));
        assert_eq!(Grave::decode(&wire::encode(&new)), Ok(new));
        assert!(Grave::decode(b"").is_err() && Grave::decode(b"\x02\x09\x01\x01\x00\x00").is_err());
        let row = wire::encode(&CountersOfFormat1 {
            entries: 1,
            blobs: 2,
            stored_bytes: 3,
            logical_bytes: 4,
            puts: 5,
        });
        assert_eq!(hex(&row), "0102030405");
        assert!(wire::decode_record::<Counters>(&row).is_err());
        let old: CountersOfFormat1 = wire::decode_record(&row).unwrap();
        assert_eq!(Counters::from(old).puts, 5);
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
