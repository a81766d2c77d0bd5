//! Archives that are being written into a file, and can be gone on with if that was cut off.
//!
//! Until it is whole, the file begins with the four bytes `memp` and eight that say of what it is
//! the archive, instead of `memodarc` and the version. Whoever goes on reads it, keeps the entries
//! that are sound, and cuts off what stands behind the last of them.
//!
//! **Invariants.** Only what has begun so is written to; what is an archive of something else is
//! begun anew, and what is no archive is left alone. The file gets the beginning of an archive when
//! all of it is on the disk, never before.
//!
//! **Does not** know names of files, nor locks: whoever opens the file sees to it that nobody else
//! writes it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use blake3::Hasher;
use memod_protocol::{Filter, Key, wire};

use super::{ArchiveError, ArchiveReader, ArchiveWriter, BEGIN_BYTES, PIECE_BYTES, Totals, begin};

const MAGIC: [u8; 4] = *b"memp";

/// Of what an archive is one: of which store, and which entries of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin([u8; 8]);

impl Origin {
    /// The entries that a filter selects of a store.
    #[must_use]
    pub fn of(store_id: &str, filter: &Filter) -> Self {
        let digest = blake3::hash(&wire::encode(&(store_id.to_owned(), filter.clone())));
        let [o0, o1, o2, o3, o4, o5, o6, o7, ..] = *digest.as_bytes();
        Self([o0, o1, o2, o3, o4, o5, o6, o7])
    }

    fn begin(self) -> [u8; BEGIN_BYTES] {
        let mut all = [0; BEGIN_BYTES];
        let bytes = MAGIC.into_iter().chain(self.0);
        all.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        all
    }
}

/// Whether an unfinished archive begins so.
pub(super) fn is_begin(bytes: &[u8; BEGIN_BYTES]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// What the file was that has been opened to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was empty.
    Empty,
    /// It had begun, and is gone on with.
    Begun,
    /// It had begun as the archive of something else, or was damaged from its beginning on, and is
    /// begun anew.
    Another,
}

/// Why a file cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum UnfinishedError {
    /// It is a whole archive.
    #[error("it is a whole archive, not an unfinished one")]
    Whole,
    /// It is something else.
    #[error("it is no unfinished archive")]
    Foreign,
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file in which an archive is being written.
#[derive(Debug)]
pub struct Unfinished {
    /// Where its entries go.
    pub writer: ArchiveWriter<BufWriter<File>>,
    /// What it was before.
    pub before: Before,
}

impl Unfinished {
    /// Begins an archive in a file, or goes on with it: `found` is told the keys of the entries
    /// that are there.
    ///
    /// # Errors
    /// If the file is something else, which is left as it is, or cannot be read or written.
    pub fn open(
        mut file: File,
        origin: Origin,
        found: &mut dyn FnMut(Key),
    ) -> Result<Self, UnfinishedError> {
        let before = before(&file, origin)?;
        let (bytes, hasher, totals) = match before {
            Before::Begun => whole_entries(&file, found)?,
            Before::Empty | Before::Another => {
                file.set_len(0)?;
                file.write_all_at(&origin.begin(), 0)?;
                let mut hasher = Hasher::new();
                hasher.update(&begin());
                (BEGIN_BYTES as u64, hasher, Totals::default())
            }
        };
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        let out = BufWriter::with_capacity(PIECE_BYTES, file);
        Ok(Self { writer: ArchiveWriter::behind(out, hasher, totals), before })
    }

    /// Makes it a whole archive, and puts it on the disk.
    ///
    /// # Errors
    /// If it cannot be written. It can be gone on with then.
    pub fn finish(self) -> io::Result<()> {
        let mut out = self.writer.finish()?;
        out.flush()?;
        let file = out.get_ref();
        file.sync_all()?;
        file.write_all_at(&begin(), 0)?;
        file.sync_all()
    }
}

/// Looks at how the file begins.
fn before(file: &File, origin: Origin) -> Result<Before, UnfinishedError> {
    let length = file.metadata()?.len();
    let mut found = [0; BEGIN_BYTES];
    let there = usize::try_from(length).unwrap_or(BEGIN_BYTES).min(BEGIN_BYTES);
    file.read_exact_at(found.get_mut(..there).unwrap_or_default(), 0)?;
    let begun = found.get(..there).unwrap_or_default();
    if begun.is_empty() {
        Ok(Before::Empty)
    } else if found == origin.begin() {
        Ok(Before::Begun)
    } else if is_begin(&found) || begun.iter().all(|byte| *byte == 0) || MAGIC.starts_with(begun) {
        // A power cut leaves zeros where nothing had been written yet.
        Ok(Before::Another)
    } else if found == begin() {
        Err(UnfinishedError::Whole)
    } else {
        Err(UnfinishedError::Foreign)
    }
}

/// How far the entries of a file are sound.
fn whole_entries(
    file: &File,
    found: &mut dyn FnMut(Key),
) -> Result<(u64, Hasher, Totals), UnfinishedError> {
    let mut from = file;
    from.seek(SeekFrom::Start(0))?;
    let reader = ArchiveReader::new(BufReader::with_capacity(PIECE_BYTES, from));
    let mut reader = reader.map_err(|_| UnfinishedError::Foreign)?;
    let mut sound = reader.sound();
    loop {
        match reader.check_entry() {
            Ok(Some(key)) => {
                found(key);
                sound = reader.sound();
            }
            Err(ArchiveError::Io(error)) => return Err(error.into()),
            // More entries may have come since an end was written.
            Ok(None) | Err(_) => return Ok((sound.bytes, sound.hasher, sound.totals)),
        }
    }
}

#[cfg(test)]
#[path = "unfinished_tests.rs"]
mod tests;
