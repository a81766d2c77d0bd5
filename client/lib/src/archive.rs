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
//! **Invariants.** A reader gives out no byte that it has not verified: an output against its
//! digest, an entry against its key. An archive without an end is told from a whole one. Memory is
//! bounded, whatever the archive claims.

use std::io::{self, Read, Write};

use blake3::Hasher;
use memod_protocol::limits::HEADER_BYTES_MAX;
use memod_protocol::wire;
use memod_protocol::{Digest, EntryDetail};

use crate::collect::Collector;
use crate::content::HitOutput;
use crate::exchange::hit::{HitSummary, OutputDescription};
use crate::options::OutputSink;
use crate::upkeep::{ENTRY_MEMORY_BYTES_MAX, ImportedRun, WholeEntry};

const MAGIC: [u8; 8] = *b"memodarc";
const VERSION: u32 = 1;
const ENTRY: u8 = 1;
const END: u8 = 2;
/// What is read at a time.
const PIECE_BYTES: usize = 256 * 1024;

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

    fn to_bytes(self) -> [u8; 24] {
        let mut all = [0; 24];
        let numbers = [self.entries, self.outputs, self.bytes];
        for (to, number) in all.chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        all
    }
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

/// Writes an archive.
#[derive(Debug)]
pub struct ArchiveWriter<W> {
    out: W,
    hasher: Hasher,
    totals: Totals,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self { out, hasher: Hasher::new(), totals: Totals::default() };
        writer.write_all(&MAGIC)?;
        writer.write_all(&VERSION.to_le_bytes())?;
        Ok(writer)
    }

    /// What has been written.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// If it cannot be written, or an output not be read. The archive is void then.
    pub fn entry(&mut self, entry: &WholeEntry) -> io::Result<()> {
        self.head(ENTRY, &wire::encode(&entry.detail))?;
        for output in &entry.outputs {
            let written = output.content.copy_to(self)?;
            if written != output.bytes {
                return Err(io::Error::other(format!("output `{}` has changed", output.name)));
            }
        }
        self.totals.count(&entry.detail);
        Ok(())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.head(END, &self.totals.to_bytes())?;
        let digest = self.hasher.finalize();
        self.out.write_all(digest.as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn head(&mut self, kind: u8, head: &[u8]) -> io::Result<()> {
        let length = u32::try_from(head.len()).ok().filter(|length| *length <= HEADER_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("an entry is too long to be told"))?;
        self.write_all(&[kind])?;
        self.write_all(&length.to_le_bytes())?;
        self.write_all(Digest::of(head).as_bytes())?;
        self.write_all(head)
    }
}

impl<W: Write> Write for ArchiveWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// An entry of an archive.
#[derive(Debug)]
pub enum Archived {
    /// It is as it was written.
    Whole(Box<WholeEntry>),
    /// It is not; the entries behind it may be.
    Damaged {
        /// Which, as far as can be told, and what is wrong.
        what: String,
    },
}

/// Reads an archive.
#[derive(Debug)]
pub struct ArchiveReader<R> {
    from: R,
    hasher: Hasher,
    totals: Totals,
    is_at_end: bool,
}

impl<R: Read> ArchiveReader<R> {
    /// Begins to read an archive.
    ///
    /// # Errors
    /// If it is none, or one of a later version.
    pub fn new(from: R) -> Result<Self, ArchiveError> {
        let totals = Totals::default();
        let mut reader = Self { from, hasher: Hasher::new(), totals, is_at_end: false };
        let begin = reader.take::<12>().map_err(|error| match error {
            ArchiveError::CutOff(_) => ArchiveError::NotAnArchive,
            other => other,
        })?;
        let [m0, m1, m2, m3, m4, m5, m6, m7, version @ ..] = begin;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
            return Err(ArchiveError::NotAnArchive);
        }
        match u32::from_le_bytes(version) {
            VERSION => Ok(reader),
            later => Err(ArchiveError::Newer(later)),
        }
    }

    /// What has been read.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The next entry; none at the end, when everything has been verified.
    ///
    /// # Errors
    /// If the archive is cut off, or damaged so that what is behind cannot be found. What was
    /// given out before was sound.
    pub fn next_entry(&mut self) -> Result<Option<Archived>, ArchiveError> {
        if self.is_at_end {
            return Ok(None);
        }
        let [kind] = self.take()?;
        let length = u32::from_le_bytes(self.take()?);
        let digest = Digest::from_bytes(self.take()?);
        if !matches!(kind, ENTRY | END) || length > HEADER_BYTES_MAX {
            return Err(self.damaged("there is no record where one was due"));
        }
        let mut head = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.fill(&mut head)?;
        if Digest::of(&head) != digest {
            return Err(self.damaged("what an entry says of itself does not verify"));
        }
        if kind == END {
            return self.end(&head).map(|()| None);
        }
        let detail: EntryDetail = wire::decode(&head)
            .map_err(|error| self.damaged(&format!("an entry cannot be read: {error}")))?;
        let outputs = self.outputs(&detail)?;
        self.totals.count(&detail);
        let of = |what| format!("entry {}, task `{}`: {what}", detail.key, detail.task);
        Ok(Some(match outputs {
            Ok(_) if ImportedRun::of(detail.clone()).identity.key() != detail.key => {
                Archived::Damaged { what: of("its key is another's".to_owned()) }
            }
            Ok(outputs) => Archived::Whole(Box::new(WholeEntry { detail, outputs })),
            Err(what) => Archived::Damaged { what: of(what) },
        }))
    }

    /// Reads the outputs of an entry to the end, also if one does not verify.
    fn outputs(
        &mut self,
        detail: &EntryDetail,
    ) -> Result<Result<Vec<HitOutput>, String>, ArchiveError> {
        let mut collector = Collector::new(ENTRY_MEMORY_BYTES_MAX);
        let mut descriptions = Vec::with_capacity(detail.outputs.len());
        let mut problem = None;
        let mut piece = vec![0; PIECE_BYTES];
        for (index, output) in detail.outputs.iter().enumerate() {
            let literal_type = output.literal_type.parse().map_err(|error| {
                self.damaged(&format!("the type of an output cannot be read: {error}"))
            })?;
            let (name, digest, bytes) = (output.name.clone(), output.digest, output.bytes);
            let description = OutputDescription { name, literal_type, digest, bytes };
            collector.begin(&description, index)?;
            let (mut hasher, mut left) = (Hasher::new(), bytes);
            while left > 0 {
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                let part = piece.get_mut(..wanted).unwrap_or_default();
                self.fill(part)?;
                hasher.update(part);
                collector.data(part)?;
                left -= wanted as u64;
            }
            if Digest::from(hasher.finalize()) != digest {
                problem.get_or_insert(format!("output `{}` does not verify", output.name));
            }
            descriptions.push(description);
        }
        if let Some(problem) = problem {
            return Ok(Err(problem));
        }
        let hit = collector.finish(HitSummary {
            key: detail.key,
            age: std::time::Duration::ZERO,
            provenance: detail.provenance.clone(),
            outputs: descriptions,
        })?;
        Ok(Ok(hit.outputs))
    }

    fn end(&mut self, head: &[u8]) -> Result<(), ArchiveError> {
        let digest = self.hasher.finalize();
        let mut told = [0; 32];
        self.from.read_exact(&mut told).map_err(|error| self.short(error))?;
        if *digest.as_bytes() != told {
            return Err(self.damaged("it does not verify as a whole"));
        }
        if *head != self.totals.to_bytes() {
            return Err(self.damaged("it does not hold as much as it says at its end"));
        }
        if self.from.read(&mut [0])? != 0 {
            return Err(self.damaged("something follows its end"));
        }
        self.is_at_end = true;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        self.from.read_exact(bytes).map_err(|error| self.short(error))?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn short(&self, error: io::Error) -> ArchiveError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::CutOff(self.totals.entries),
            _ => ArchiveError::Io(error),
        }
    }

    fn damaged(&self, what: &str) -> ArchiveError {
        ArchiveError::Damaged { after: self.totals.entries, what: what.to_owned() }
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
