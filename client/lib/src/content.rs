//! A hit's outputs: in memory if they are small enough, else in an unnamed temporary file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::Bytes;
use memod_protocol::{Digest, Key, Literal, LiteralType, Provenance};

use crate::error::Error;

/// A hit with all its outputs.
#[derive(Debug)]
pub struct Hit {
    /// The entry's key.
    pub key: Key,
    /// How long ago the entry was written.
    pub age: Duration,
    /// Who made the outputs.
    pub provenance: Provenance,
    /// The outputs, in ascending order of their names.
    pub outputs: Vec<HitOutput>,
}

/// One output.
#[derive(Debug)]
pub struct HitOutput {
    /// Its name.
    pub name: String,
    /// Its type.
    pub literal_type: LiteralType,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its bytes.
    pub content: Content,
}

impl HitOutput {
    /// The output's value. That of a file is its digest and length.
    ///
    /// # Errors
    /// If the bytes are not those of a value of the output's type, or cannot be read.
    pub fn literal(&self) -> Result<Literal, Error> {
        if self.literal_type == LiteralType::File {
            return Ok(Literal::File { digest: self.digest, bytes: self.bytes });
        }
        let bytes = self.content.to_bytes().map_err(|source| Error::Local {
            what: format!("output `{}` cannot be read back", self.name),
            source,
        })?;
        Ok(Literal::from_blob(&self.literal_type, &bytes)?)
    }
}

/// An output's bytes.
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a file without a name, at offset 0.
    File(File),
}

impl Content {
    /// Reads the bytes from the beginning, however far others have read.
    #[must_use]
    pub const fn reader(&self) -> ContentReader<'_> {
        ContentReader { content: self, offset: 0 }
    }

    /// The bytes in memory.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub fn into_bytes(self) -> io::Result<Bytes> {
        self.to_bytes()
    }

    /// The bytes in memory; copies them only if they are in a file.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub fn to_bytes(&self) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::File(file) => {
                let length = usize::try_from(file.metadata()?.len());
                let mut bytes = vec![0; length.map_err(io::Error::other)?];
                file.read_exact_at(&mut bytes, 0)?;
                Ok(bytes.into())
            }
        }
    }

    /// Writes the bytes there; gives how many they are.
    ///
    /// # Errors
    /// If they cannot be written, or the temporary file cannot be read.
    pub fn copy_to(&self, writer: &mut impl Write) -> io::Result<u64> {
        match self {
            Self::Memory(bytes) => {
                writer.write_all(bytes)?;
                Ok(bytes.len() as u64)
            }
            Self::File(_) => {
                let mut buffered = io::BufReader::with_capacity(256 * 1024, self.reader());
                io::copy(&mut buffered, writer)
            }
        }
    }

    /// Reads from a place without moving the file's own offset.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let mut rest = bytes.get(from..).unwrap_or_default();
                rest.read(buffer)
            }
            Self::File(file) => file.read_at(buffer, offset),
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(bytes) => write!(formatter, "Memory({} bytes)", bytes.len()),
            Self::File(_) => formatter.write_str("File"),
        }
    }
}

/// Reads an output's bytes.
#[derive(Debug)]
pub struct ContentReader<'a> {
    content: &'a Content,
    offset: u64,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    fn both(bytes: &'static [u8]) -> [Content; 2] {
        let file = crate::spool::file().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        [Content::Memory(Bytes::from_static(bytes)), Content::File(file)]
    }

    #[test]
    fn every_way_to_the_bytes_gives_all_of_them_however_often() {
        for content in both(b"some bytes") {
            for _ in 0..2 {
                let (mut read, mut copied) = (Vec::new(), Vec::new());
                content.reader().read_to_end(&mut read).unwrap();
                assert_eq!(content.copy_to(&mut copied).unwrap(), 10);
                assert_eq!(
                    (read.as_slice(), copied.as_slice()),
                    (&b"some bytes"[..], &b"some bytes"[..])
                );
            }
            if let Content::File(mut file) = content {
                let mut read = String::new();
                file.read_to_string(&mut read).unwrap();
                assert_eq!(read, "some bytes", "the file itself still stands at offset 0");
            } else {
                assert_eq!(content.into_bytes().unwrap(), &b"some bytes"[..]);
            }
        }
    }

    #[test]
    fn bytes_in_memory_take_no_more_than_they_are() {
        let file = crate::spool::file().unwrap();
        let wanted = b"content ".repeat((3 << 20) / 8);
        file.write_all_at(&wanted, 0).unwrap();
        let bytes = Content::File(file).to_bytes().unwrap();
        assert!(bytes == wanted);
        assert_eq!(bytes.try_into_mut().unwrap().capacity(), wanted.len());
    }

    #[test]
    fn an_output_is_read_back_as_a_value_of_its_type() {
        for content in both(b"text") {
            let output = HitOutput {
                name: "o0".into(),
                literal_type: LiteralType::String,
                digest: Digest::of(b"text"),
                bytes: 4,
                content,
            };
            assert_eq!(output.literal().unwrap(), Literal::String("text".into()));
            let output = HitOutput { literal_type: LiteralType::Integer, ..output };
            assert!(matches!(output.literal(), Err(Error::Invalid(_))));
            let output = HitOutput { literal_type: LiteralType::File, ..output };
            let file = Literal::File { digest: Digest::of(b"text"), bytes: 4 };
            assert_eq!(output.literal().unwrap(), file);
        }
    }
}
