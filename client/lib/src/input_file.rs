//! A file that a run reads: hashed before the run, checked after it.
//!
//! **Does not** follow what becomes of the file in between: a change that was undone by the end of
//! the run goes unnoticed.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memod_protocol::Digest;

/// A change may leave a file's times as they are if it follows another within a tick of the
/// file system's clock; the coarsest in use ticks every two seconds.
const TICK: Duration = Duration::from_secs(2);

/// A file and the content it had.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Its path, as it is written.
    pub path: PathBuf,
    /// The digest of its content.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
    stamp: Option<Stamp>,
}

impl InputFile {
    /// Reads the file, with bounded memory.
    ///
    /// # Errors
    /// If it is not a regular file, or cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let stamp = std::fs::metadata(path).ok().map(|of| Stamp::of(&of));
        let stamp = stamp.filter(|stamp| stamp.is_settled(SystemTime::now()));
        let (digest, bytes) = hash(path)?;
        Ok(Self { path: path.to_owned(), digest, bytes, stamp })
    }

    /// Whether the file has the same content still. Reads it again only if its times leave room
    /// for doubt.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let now = std::fs::metadata(&self.path).ok().map(|of| Stamp::of(&of));
        (self.stamp.is_some() && self.stamp == now)
            || hash(&self.path).is_ok_and(|now| now == (self.digest, self.bytes))
    }
}

fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() {
        // To open a pipe would wait for its other end.
        let what = if kind.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(io::Error::other(what));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok((hasher.finalize().into(), hasher.count()))
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
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let refused = InputFile::read(directory.path()).expect_err("a directory");
        assert_eq!(refused.to_string(), "it is a directory");
        let refused = InputFile::read(Path::new("/dev/null")).expect_err("a device");
        assert_eq!(refused.to_string(), "it is not a regular file");
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
