//! The disk under the store: how much room it has, and how much of it the store's files take.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

/// The free space is looked at no more often than this.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// And than this before so many bytes are written.
const LOOK_INTERVAL_LARGE: Duration = Duration::from_millis(5);
const LARGE_BYTES: u64 = 64 * 1024;
/// What `st_blocks` counts.
const STAT_BLOCK_BYTES: u64 = 512;

/// A file system's room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// All of it.
    pub total_bytes: u64,
    /// What users may still write.
    pub free_bytes: u64,
}

impl FileSystem {
    /// The file system that this path is on, or will be: of the nearest folder that is there. None
    /// if it does not say.
    #[must_use]
    pub fn under(path: &Path) -> Option<Self> {
        let said = path.ancestors().find_map(|folder| statvfs(folder).ok())?;
        let bytes = |blocks: u64| blocks.saturating_mul(said.fragment_size());
        Some(Self { total_bytes: bytes(said.blocks()), free_bytes: bytes(said.blocks_available()) })
    }
}

/// Bytes that the files of this folder take on the disk, those of its folders too.
pub(crate) fn used_bytes(folder: &Path) -> u64 {
    let mut folders = vec![folder.to_owned()];
    let mut bytes: u64 = 0;
    while let Some(folder) = folders.pop() {
        let Ok(files) = fs::read_dir(folder) else { continue };
        // What goes away while it is looked at takes nothing any more.
        for file in files.flatten() {
            let Ok(metadata) = file.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(file.path());
            } else {
                bytes = bytes.saturating_add(metadata.blocks().saturating_mul(STAT_BLOCK_BYTES));
            }
        }
    }
    bytes
}

/// Puts the names in a folder on the disk. A folder that this process may not read, and a file
/// system that knows no such thing, are left to what they do by themselves.
pub(crate) fn sync_names(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Watches the free space.
pub(crate) struct Disk {
    path: PathBuf,
    reserve: AtomicU64,
    free: AtomicU64,
    looked: Mutex<Option<Instant>>,
}

impl Disk {
    pub(crate) fn new(path: &Path, reserve: u64) -> Self {
        let free = AtomicU64::new(u64::MAX);
        let reserve = AtomicU64::new(reserve);
        Self { path: path.to_owned(), reserve, free, looked: Mutex::new(None) }
    }

    /// Reserves so much from now on.
    pub(crate) fn set_reserve(&self, reserve: u64) {
        self.reserve.store(reserve, Ordering::Relaxed);
    }

    /// Free and reserved bytes, if there is less free than that.
    pub(crate) fn shortage(&self) -> Option<(u64, u64)> {
        self.shortage_with(0)
    }

    /// The same if so many bytes more are written. Little is judged by what was free a moment ago.
    pub(crate) fn shortage_with(&self, bytes: u64) -> Option<(u64, u64)> {
        let reserve = self.reserve.load(Ordering::Relaxed);
        if reserve == 0 {
            return None;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = if bytes < LARGE_BYTES { LOOK_INTERVAL } else { LOOK_INTERVAL_LARGE };
        if looked.is_none_or(|at| at.elapsed() >= interval) {
            *looked = Some(Instant::now());
            let free = FileSystem::under(&self.path).map_or(u64::MAX, |of| of.free_bytes);
            self.free.store(free, Ordering::Relaxed);
        }
        let free = self.free.load(Ordering::Relaxed);
        (free.saturating_sub(bytes) < reserve).then_some((free, reserve))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_room() {
        let of = FileSystem::under(Path::new("/tmp/not/there/yet")).unwrap();
        assert!(of.total_bytes > of.free_bytes);
    }

    #[test]
    fn files_take_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let before = used_bytes(folder.path());
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), vec![1; 100_000]).unwrap();
        let after = used_bytes(folder.path());
        assert!((100_000..200_000).contains(&(after - before)), "{before} {after}");
    }

    #[test]
    fn a_disk_is_short_below_its_reserve() {
        let at = Path::new("/tmp");
        assert_eq!(Disk::new(at, 0).shortage(), None);
        assert_eq!(Disk::new(at, 1).shortage(), None);
        let (free, reserve) = Disk::new(at, u64::MAX).shortage().unwrap();
        assert!(free < reserve && reserve == u64::MAX);
    }
}
