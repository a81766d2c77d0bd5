//! Reads archives, whole and damaged ones.

use std::io::{self, Read};

use blake3::Hasher;
use memod_protocol::limits::HEADER_BYTES_MAX;
use memod_protocol::{Digest, EntryDetail, Key, wire};

use super::ahead::Ahead;
use super::{
    ArchiveError, BEGIN_BYTES, END, ENTRY, PIECE_BYTES, TOTALS_BYTES, Totals, begin, unfinished,
};
use crate::collect::Collector;
use crate::exchange::hit::{HitSummary, OutputDescription};
use crate::options::OutputSink;
use crate::upkeep::{ENTRY_MEMORY_BYTES_MAX, ImportedRun, WholeEntry};

/// A record's kind, the length of its head, and the digest of its head.
const PREFIX_BYTES: usize = 1 + 4 + 32;
/// No head of an entry is shorter: its key, its signature and the digests of its scope's names.
const ENTRY_HEAD_BYTES_MIN: u32 = 64;
/// While a head is looked for, so many bytes may be hashed in vain, and so many for each byte that
/// was looked at: what is made to look like heads must not take for ever.
const VAIN_BYTES: u64 = 64 * 1024 * 1024;
const VAIN_BYTES_PER_BYTE: u64 = 16;

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

/// How far an archive has been read, and all of it was sound.
#[derive(Debug, Clone)]
pub(super) struct Sound {
    pub(super) bytes: u64,
    pub(super) hasher: Hasher,
    pub(super) totals: Totals,
}

/// Reads an archive.
#[derive(Debug)]
pub struct ArchiveReader<R> {
    from: Ahead<R>,
    hasher: Hasher,
    totals: Totals,
    /// Something was passed over, so it cannot be verified as a whole.
    has_gaps: bool,
    lost: u64,
    is_at_end: bool,
}

/// What a record's prefix says.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    kind: u8,
    length: u32,
    digest: Digest,
}

impl Prefix {
    /// The prefix in these bytes, if they can be one.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (kind, length) = (*kind, u32::from_le_bytes(*length));
        let is_possible = match kind {
            ENTRY => (ENTRY_HEAD_BYTES_MIN..=HEADER_BYTES_MAX).contains(&length),
            END => usize::try_from(length) == Ok(TOTALS_BYTES),
            _ => false,
        };
        let digest = Digest::from_bytes(*rest.first_chunk::<32>()?);
        is_possible.then_some(Self { kind, length, digest })
    }

    /// The bytes of the prefix and the head.
    fn whole_bytes(self) -> usize {
        PREFIX_BYTES + usize::try_from(self.length).unwrap_or(usize::MAX - PREFIX_BYTES)
    }
}

/// What stands at a place of an archive.
enum Place {
    Head(Prefix),
    Nothing(&'static str),
    CutOff,
}

impl<R: Read> ArchiveReader<R> {
    /// Begins to read an archive, or one that is unfinished.
    ///
    /// # Errors
    /// If it is none, or one of a later version.
    pub fn new(from: R) -> Result<Self, ArchiveError> {
        let mut reader = Self {
            from: Ahead::new(from),
            hasher: Hasher::new(),
            totals: Totals::default(),
            has_gaps: false,
            lost: 0,
            is_at_end: false,
        };
        let found: [u8; BEGIN_BYTES] =
            reader.from.peek(BEGIN_BYTES)?.try_into().map_err(|_| ArchiveError::NotAnArchive)?;
        reader.from.skip(BEGIN_BYTES);
        // As it will begin once it is whole.
        reader.hasher.update(&begin());
        if found == begin() || unfinished::is_begin(&found) {
            return Ok(reader);
        }
        let (magic, version) = found.split_at(super::MAGIC.len());
        match version.try_into().map(u32::from_le_bytes) {
            Ok(later) if magic == super::MAGIC => Err(ArchiveError::Newer(later)),
            _ => Err(ArchiveError::NotAnArchive),
        }
    }

    /// What has been read.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Once the end has been reached: how many entries were passed over.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Everything up to here, which was sound if no error has been told.
    pub(super) fn sound(&self) -> Sound {
        Sound { bytes: self.from.taken(), hasher: self.hasher.clone(), totals: self.totals }
    }

    /// The next entry; none at the end, when everything has been verified.
    ///
    /// # Errors
    /// If the archive is cut off, or damaged so that what is behind cannot be found without
    /// [looking for it](Self::find_next). What was given out before was sound.
    pub fn next_entry(&mut self) -> Result<Option<Archived>, ArchiveError> {
        let Some(detail) = self.next_detail()? else { return Ok(None) };
        let mut collector = Collector::new(ENTRY_MEMORY_BYTES_MAX);
        let outputs = self.outputs(&detail, Some(&mut collector))?;
        self.totals.count(&detail);
        let descriptions = match outputs {
            Ok(descriptions) if is_under_its_key(&detail) => descriptions,
            Ok(_) => return Ok(Some(damaged(&detail, "its key is another's"))),
            Err(what) => return Ok(Some(damaged(&detail, &what))),
        };
        let hit = collector.finish(HitSummary {
            key: detail.key,
            age: std::time::Duration::ZERO,
            provenance: detail.provenance.clone(),
            outputs: descriptions,
        })?;
        Ok(Some(Archived::Whole(Box::new(WholeEntry { detail, outputs: hit.outputs }))))
    }

    /// Passes over the next entry; gives its key if it is sound, and none at the end.
    ///
    /// # Errors
    /// As [`next_entry`](Self::next_entry), and if the entry is not sound.
    pub(super) fn check_entry(&mut self) -> Result<Option<Key>, ArchiveError> {
        let Some(detail) = self.next_detail()? else { return Ok(None) };
        if let Err(what) = self.outputs(&detail, None)? {
            return Err(self.damaged(&what));
        }
        if !is_under_its_key(&detail) {
            return Err(self.damaged("an entry's key is another's"));
        }
        self.totals.count(&detail);
        Ok(Some(detail.key))
    }

    /// After an error: goes on to the next place that is sound, which an entry or the end may be.
    ///
    /// An output that itself holds an archive is not told from the archive: who looks for entries
    /// behind damage must trust everybody whose outputs are in it.
    ///
    /// # Errors
    /// If there is none.
    pub fn find_next(&mut self) -> Result<(), ArchiveError> {
        self.has_gaps = true;
        let (from, mut in_vain) = (self.from.taken(), 0);
        loop {
            self.from.peek_in_pieces(PREFIX_BYTES)?;
            self.from.skip(1);
            let prefix = self.from.peek_in_pieces(PREFIX_BYTES)?;
            if prefix.len() < PREFIX_BYTES {
                return Err(ArchiveError::CutOff(self.totals.entries));
            }
            let Some(possible) = Prefix::read(prefix) else { continue };
            if matches!(self.place()?, Place::Head(_)) {
                return Ok(());
            }
            in_vain += u64::from(possible.length);
            let looked_at = self.from.taken() - from;
            if in_vain > VAIN_BYTES + looked_at.saturating_mul(VAIN_BYTES_PER_BYTE) {
                return Err(self.damaged("too much of it looks like an entry and is none"));
            }
        }
    }

    /// Looks at what stands here, and takes nothing.
    fn place(&mut self) -> Result<Place, ArchiveError> {
        let prefix = self.from.peek(PREFIX_BYTES)?;
        if prefix.len() < PREFIX_BYTES {
            return Ok(Place::CutOff);
        }
        let Some(prefix) = Prefix::read(prefix) else {
            return Ok(Place::Nothing("there is no record where one was due"));
        };
        let whole = self.from.peek(prefix.whole_bytes())?;
        if whole.len() < prefix.whole_bytes() {
            return Ok(Place::CutOff);
        }
        let head = whole.get(PREFIX_BYTES..).unwrap_or_default();
        if Digest::of(head) != prefix.digest {
            return Ok(Place::Nothing("what an entry says of itself does not verify"));
        }
        Ok(Place::Head(prefix))
    }

    /// What the next entry says of itself; none at the end.
    fn next_detail(&mut self) -> Result<Option<EntryDetail>, ArchiveError> {
        if self.is_at_end {
            return Ok(None);
        }
        let prefix = match self.place()? {
            Place::Head(prefix) => prefix,
            Place::Nothing(what) => return Err(self.damaged(what)),
            Place::CutOff => return Err(ArchiveError::CutOff(self.totals.entries)),
        };
        let whole = self.from.peek(prefix.whole_bytes())?;
        self.hasher.update(whole);
        let head = whole.get(PREFIX_BYTES..).unwrap_or_default();
        if prefix.kind == END {
            let told = <[u8; TOTALS_BYTES]>::try_from(head).unwrap_or_default();
            self.from.skip(prefix.whole_bytes());
            return self.end(&told).map(|()| None);
        }
        let detail = wire::decode::<EntryDetail>(head);
        self.from.skip(prefix.whole_bytes());
        detail.map(Some).map_err(|error| self.damaged(&format!("an entry cannot be read: {error}")))
    }

    /// Reads the outputs of an entry to the end, also if one does not verify.
    fn outputs(
        &mut self,
        detail: &EntryDetail,
        mut collector: Option<&mut Collector>,
    ) -> Result<Result<Vec<OutputDescription>, String>, ArchiveError> {
        let mut descriptions = Vec::with_capacity(detail.outputs.len());
        let mut problem = None;
        let mut piece = vec![0; PIECE_BYTES];
        for (index, output) in detail.outputs.iter().enumerate() {
            let literal_type = output.literal_type.parse().map_err(|error| {
                self.damaged(&format!("the type of an output cannot be read: {error}"))
            })?;
            let (name, digest, bytes) = (output.name.clone(), output.digest, output.bytes);
            let description = OutputDescription { name, literal_type, digest, bytes };
            if let Some(collector) = &mut collector {
                collector.begin(&description, index)?;
            }
            let (mut hasher, mut left) = (Hasher::new(), bytes);
            while left > 0 {
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                let part = piece.get_mut(..wanted).unwrap_or_default();
                self.fill(part)?;
                hasher.update(part);
                if let Some(collector) = &mut collector {
                    collector.data(part)?;
                }
                left -= wanted as u64;
            }
            if Digest::from(hasher.finalize()) != digest {
                problem.get_or_insert(format!("output `{}` does not verify", output.name));
            }
            descriptions.push(description);
        }
        Ok(problem.map_or(Ok(descriptions), Err))
    }

    fn end(&mut self, told: &[u8; TOTALS_BYTES]) -> Result<(), ArchiveError> {
        let digest = self.hasher.finalize();
        let mut whole = [0; 32];
        self.from.read_exact(&mut whole).map_err(|error| self.short(error))?;
        if !self.from.peek(1)?.is_empty() {
            return Err(self.damaged("something follows its end"));
        }
        if self.has_gaps {
            self.lost = Totals::entries_of(told).saturating_sub(self.totals.entries);
        } else if *digest.as_bytes() != whole {
            return Err(self.damaged("it does not verify as a whole"));
        } else if *told != self.totals.to_bytes() {
            return Err(self.damaged("it does not hold as much as it says at its end"));
        }
        self.is_at_end = true;
        Ok(())
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

fn damaged(detail: &EntryDetail, what: &str) -> Archived {
    Archived::Damaged { what: format!("entry {}, task `{}`: {what}", detail.key, detail.task) }
}

fn is_under_its_key(detail: &EntryDetail) -> bool {
    ImportedRun::of(detail.clone()).identity.key() == detail.key
}
