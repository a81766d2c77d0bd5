//! Files as inputs: their digests, and whether they have stayed as they were when they were hashed.
//!
//! **Invariants.** A file that changes while it is read, or between then and the end of the run,
//! is noticed by its identity, length and times: what was computed from it is not stored.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memod_client::{Digest, Literal};

/// A file as it was when it was hashed.
#[derive(Debug)]
pub(crate) struct Stamp {
    path: PathBuf,
    mark: Mark,
}

/// What changes when a file does.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Stamp {
    /// What has happened to the file since, if anything has.
    pub(crate) fn change(&self) -> Option<String> {
        let what = match std::fs::metadata(&self.path) {
            Ok(metadata) if Mark::of(&metadata) == self.mark => return None,
            Ok(_) => "has changed".to_owned(),
            Err(error) => format!("cannot be looked at any more: {error}"),
        };
        Some(format!("the file {} {what} since it was hashed", self.path.display()))
    }
}

/// The file's digest and length as a literal, and its state.
///
/// # Errors
/// If it is no regular file, cannot be read, or changes meanwhile.
pub(crate) fn hash(path: &Path) -> io::Result<(Literal, Stamp)> {
    // A pipe would make the open wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = File::open(path)?;
    let before = Mark::of(&file.metadata()?);
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&file)?;
    if Mark::of(&file.metadata()?) != before || hasher.count() != before.bytes {
        return Err(io::Error::other("it changed while it was read"));
    }
    let literal = Literal::File { digest: Digest::from(hasher.finalize()), bytes: before.bytes };
    // The function may go to another directory.
    Ok((literal, Stamp { path: std::path::absolute(path)?, mark: before }))
}
