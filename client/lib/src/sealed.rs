//! Outputs that come and go as sealed memory files.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use memod_descriptors::{MemoryError, MemoryFile, SealedFile};
use memod_protocol::handshake::{Agreement, DESCRIPTORS};

use crate::error::Error;

/// The bytes of a file that came with a hit and must be as long as the hit says: mapped, not
/// copied. Nobody can change or shorten them while they are read.
pub(crate) fn mapped(descriptor: OwnedFd, bytes: u64) -> Result<Bytes, Error> {
    let file = SealedFile::check(descriptor, bytes).map_err(|error| match error {
        MemoryError::Io(source) => local(source),
        other => Error::Protocol(format!("an output that it sent: {other}")),
    })?;
    Ok(Bytes::from_owner(file.map().map_err(local)?))
}

/// Outputs up to this length are sent as a file; longer ones in pieces, so that they need not be in
/// memory twice as a whole.
const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A sealed file with these bytes, to be sent to a daemon; nothing if that is not possible, or the
/// bytes are better sent in pieces.
pub(crate) fn file(agreement: &Agreement, bytes: &[u8]) -> Option<SealedFile> {
    if agreement.capabilities & DESCRIPTORS == 0 || bytes.len() > FILE_BYTES_MAX {
        return None;
    }
    let file = MemoryFile::new(bytes.len() as u64).ok()?;
    file.write_at(bytes, 0).ok()?;
    file.seal().ok()
}

fn local(source: std::io::Error) -> Error {
    Error::Local { what: "cannot map an output".into(), source }
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
