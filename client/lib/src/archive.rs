//! Archives: entries with their outputs in one portable file.
//!
//! An archive is the eight bytes `memodarc`, the number of its version (u32, little-endian), and
//! records. A record is a byte that says its kind, the length of its head (u32, little-endian),
//! the BLAKE3 digest of its head, and its head.
//!
//! | kind | head | behind the head |
//! |---|---|---|
//! | 1 | an entry, as `Shown` has it in WIRE.md | its outputs' bytes, in the same order |
//! | 2 | the end: numbers of entries, outputs, bytes (u64, little-endian) | BLAKE3 of all before |
//!
//! While it is being written into a file it may begin otherwise: see [`unfinished`].
//!
//! **Invariants.** A reader gives out no byte that it has not verified: an output against its
//! digest, an entry against its key. An archive without an end is told from a whole one. Memory is
//! bounded, whatever the archive claims.

mod ahead;
mod reader;
pub mod unfinished;
mod writer;

use std::io;

use memod_protocol::EntryDetail;

pub use reader::{ArchiveReader, Archived};
pub use writer::ArchiveWriter;

const MAGIC: [u8; 8] = *b"memodarc";
const VERSION: u32 = 1;
const ENTRY: u8 = 1;
const END: u8 = 2;
/// The bytes with which an archive begins.
const BEGIN_BYTES: usize = 12;
/// What is read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// The head of an end.
const TOTALS_BYTES: usize = 24;

/// How much an archive holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries.
    pub entries: u64,
    /// Their outputs.
    pub outputs: u64,
    /// The outputs' bytes.
    pub bytes: u64,
}

impl Totals {
    fn count(&mut self, entry: &EntryDetail) {
        self.entries += 1;
        self.outputs += entry.outputs.len() as u64;
        let bytes = entry.outputs.iter().map(|output| output.bytes);
        self.bytes = bytes.fold(self.bytes, u64::saturating_add);
    }

    fn to_bytes(self) -> [u8; TOTALS_BYTES] {
        let mut all = [0; TOTALS_BYTES];
        let numbers = [self.entries, self.outputs, self.bytes];
        for (to, number) in all.chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        all
    }

    /// Its number of entries, which comes first.
    fn entries_of(bytes: &[u8; TOTALS_BYTES]) -> u64 {
        let [e0, e1, e2, e3, e4, e5, e6, e7, ..] = *bytes;
        u64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7])
    }
}

/// How every archive of this version begins.
fn begin() -> [u8; BEGIN_BYTES] {
    let mut all = [0; BEGIN_BYTES];
    let bytes = MAGIC.into_iter().chain(VERSION.to_le_bytes());
    all.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    all
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is something else.
    #[error("it is no archive of memod's")]
    NotAnArchive,
    /// A later memod wrote it.
    #[error("it has version {0}, and this memo knows version {VERSION}: use a later one")]
    Newer(u32),
    /// It ends before its end.
    #[error("it ends in the middle, behind {0} entries: the rest is missing")]
    CutOff(u64),
    /// It is not what was written.
    #[error("it is damaged behind {after} entries: {what}")]
    Damaged {
        /// Entries before the damage.
        after: u64,
        /// What is wrong.
        what: String,
    },
    /// It cannot be read, or a temporary file not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
