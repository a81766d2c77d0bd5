//! Writes archives.

use std::io::{self, Write};

use blake3::Hasher;
use memod_protocol::limits::HEADER_BYTES_MAX;
use memod_protocol::{Digest, wire};

use super::{END, ENTRY, Totals, begin};
use crate::upkeep::WholeEntry;

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
        writer.write_all(&begin())?;
        Ok(writer)
    }

    /// Goes on with an archive that has been written up to here.
    pub(super) fn behind(out: W, hasher: Hasher, totals: Totals) -> Self {
        Self { out, hasher, totals }
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
