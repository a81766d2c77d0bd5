//! Outputs that peers send as memory files.
//!
//! **Invariants.** What is hashed is what is stored: every piece is copied out of the file once,
//! and the copy is hashed and stored. So a peer that goes on writing to a file that it has not
//! sealed changes nothing but what it had stored under a digest that is true of it. The file itself
//! is handed on to readers only if it was sealed before its first byte was read. Nothing of a
//! peer's is mapped here.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memod_descriptors::{ForeignFile, MemoryError};
use memod_protocol::limits::{BLOB_BYTES_MAX, CHUNK_BYTES};
use memod_protocol::{ErrorCode, InvalidArgument, WireError};
use memod_store::{Prepared, Upload};

use super::{Service, pool};
use crate::server::Peer;

impl Service {
    /// Stores the content of a file by an upload that has been opened.
    ///
    /// # Errors
    /// If it is no memory file, is too long, has holes or gets shorter, or if the store cannot take
    /// it.
    pub(crate) async fn upload_file(
        &self,
        peer: &Peer,
        mut upload: Upload,
        descriptor: OwnedFd,
    ) -> Result<Prepared, WireError> {
        let file = Arc::new(ForeignFile::new(descriptor).map_err(unfit)?);
        let bytes = file.bytes();
        if bytes > BLOB_BYTES_MAX {
            let problem = format!("has {bytes} bytes, {BLOB_BYTES_MAX} are allowed");
            return Err(invalid(problem));
        }
        // A file of holes costs its sender nothing, and would cost the store as much as any other.
        if !file.is_solid().map_err(|error| unfit(error.into()))? {
            return Err(invalid("has holes, or is not in ordinary memory"));
        }
        let mut offset = 0;
        while offset < bytes {
            let length = (bytes - offset).min(u64::from(CHUNK_BYTES));
            let file = Arc::clone(&file);
            let piece = pool::run(move || read(&file, offset, length)).await??;
            upload = self.append_upload(peer, upload, piece).await?;
            offset += length;
        }
        let prepared = self.finish_upload(peer, upload).await?;
        if let Some(sealed) = Arc::into_inner(file).and_then(|file| file.into_sealed().ok()) {
            self.sealed.adopt(prepared.digest(), sealed);
        }
        Ok(prepared)
    }
}

/// Copies one piece out of the file.
fn read(file: &ForeignFile, offset: u64, length: u64) -> Result<Bytes, WireError> {
    let length = usize::try_from(length).expect("no longer than a chunk");
    let mut piece = BytesMut::zeroed(length);
    file.read_at(&mut piece, offset).map_err(|error| unfit(error.into()))?;
    Ok(piece.freeze())
}

fn invalid(problem: impl Into<String>) -> WireError {
    InvalidArgument::new("file", problem).into()
}

/// The error for a descriptor that is not that of a good file.
fn unfit(error: MemoryError) -> WireError {
    match error {
        MemoryError::Io(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            invalid("got shorter while it was read")
        }
        MemoryError::Io(source) => {
            WireError::new(ErrorCode::InvalidArgument, format!("file: cannot be read: {source}"))
        }
        other => invalid(other.to_string()),
    }
}
