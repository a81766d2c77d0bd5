//! A file that the command reads: hashed before the run, checked after it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memod_protocol::Digest;

use crate::describe::hash_file;
use crate::exit::Failure;

/// A change may leave a file's times as they are if it follows another within a tick of the
/// file system's clock; the coarsest in use ticks every two seconds.
const TICK: Duration = Duration::from_secs(2);

/// A file and the content it had.
#[derive(Debug)]
pub(super) struct InputFile {
    /// Its path, as it is written.
    pub(super) path: PathBuf,
    /// The digest of its content.
    pub(super) digest: Digest,
    /// Its length in bytes.
    pub(super) bytes: u64,
    stamp: Option<Stamp>,
}

impl InputFile {
    /// Reads the file.
    ///
    /// # Errors
    /// If it is not a regular file, or cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let stamp = std::fs::metadata(path).ok().map(|of| Stamp::of(&of));
        let stamp = stamp.filter(|stamp| stamp.is_settled(SystemTime::now()));
        let (digest, bytes) = hash_file(path)?;
        Ok(Self { path: path.to_owned(), digest, bytes, stamp })
    }

    /// Whether the file has the same content still. Reads it again only if its times leave room
    /// for doubt.
    pub(super) fn is_unchanged(&self) -> bool {
        let now = std::fs::metadata(&self.path).ok().map(|of| Stamp::of(&of));
        (self.stamp.is_some() && self.stamp == now)
            || hash_file(&self.path).is_ok_and(|now| now == (self.digest, self.bytes))
    }
}

/// What of a file changes when its content does. The change time cannot be set at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the last change is long enough ago that another one would show.
    fn is_settled(&self, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or(0);
        let changed = UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + TICK);
        changed.is_some_and(|changed| changed < now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        std::fs::write(&path, "one").expect("written");
        let file = InputFile::read(&path).expect("it is there");
        assert!(file.is_unchanged());
        std::fs::write(&path, "two").expect("written");
        assert!(!file.is_unchanged());
        std::fs::write(&path, "one").expect("written");
        assert!(file.is_unchanged());
        std::fs::remove_file(&path).expect("removed");
        assert!(!file.is_unchanged());
    }

    #[test]
    fn times_are_trusted_only_when_they_are_old() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        std::fs::write(&path, "one").expect("written");
        let stamp = Stamp::of(&std::fs::metadata(&path).expect("it is there"));
        let now = SystemTime::now();
        assert!(!stamp.is_settled(now));
        assert!(stamp.is_settled(now + TICK * 2));
    }
}
