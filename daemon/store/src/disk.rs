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
/// And than this before so many bytes are written, or if it was too little the last time.
const LOOK_INTERVAL_CLOSE: Duration = Duration::from_millis(5);
const LARGE_BYTES: u64 = 64 * 1024;
/// No more room is made than this for what was refused: a put as large as half of the disk is not
/// worth half of what is stored.
const WANTED_BYTES_MAX: u64 = 16 * 1024 * 1024;
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

/// A disk with too little room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// What is free.
    pub(crate) free: u64,
    /// What of it is wanted for what stands in memory and in the log only.
    pub(crate) unflushed: u64,
    /// What is to stay free.
    pub(crate) reserve: u64,
}

/// What was seen of the disk.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    free: u64,
    unflushed: u64,
}

/// Watches the free space.
pub(crate) struct Disk {
    path: PathBuf,
    reserve: AtomicU64,
    /// What was refused for want of room, if it is not there yet.
    wanted: AtomicU64,
    seen: Mutex<Option<Seen>>,
}

impl Disk {
    pub(crate) fn new(path: &Path, reserve: u64) -> Self {
        Self {
            path: path.to_owned(),
            reserve: AtomicU64::new(reserve),
            wanted: AtomicU64::new(0),
            seen: Mutex::new(None),
        }
    }

    /// Reserves so much from now on.
    pub(crate) fn set_reserve(&self, reserve: u64) {
        self.reserve.store(reserve, Ordering::Relaxed);
    }

    /// What is missing for what was refused the last time, or to keep the reserve.
    pub(crate) fn shortage(&self, unflushed: impl FnOnce() -> u64) -> Option<Shortage> {
        let wanted = self.wanted.load(Ordering::Relaxed);
        let short = self.missing(wanted, unflushed);
        if short.is_none() {
            self.wanted.store(0, Ordering::Relaxed);
        }
        short
    }

    /// What is missing if so many bytes more are written; they are wanted from then on.
    pub(crate) fn shortage_with(
        &self,
        bytes: u64,
        unflushed: impl FnOnce() -> u64,
    ) -> Option<Shortage> {
        let short = self.missing(bytes, unflushed);
        if short.is_some() {
            self.wanted.fetch_max(bytes.min(WANTED_BYTES_MAX), Ordering::Relaxed);
        }
        short
    }

    /// What is missing if so many bytes more are written. Little is judged by what was free a
    /// moment ago, unless that was too little. `unflushed`: what is still to be written of what is
    /// stored.
    fn missing(&self, bytes: u64, unflushed: impl FnOnce() -> u64) -> Option<Shortage> {
        let reserve = self.reserve.load(Ordering::Relaxed);
        if reserve == 0 {
            return None;
        }
        let short = |seen: &Seen| {
            let Seen { free, unflushed, .. } = *seen;
            let left = free.saturating_sub(unflushed).saturating_sub(bytes);
            (left < reserve).then_some(Shortage { free, unflushed, reserve })
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = *seen {
            let is_close = bytes >= LARGE_BYTES || short(&seen).is_some();
            let interval = if is_close { LOOK_INTERVAL_CLOSE } else { LOOK_INTERVAL };
            if seen.at.elapsed() < interval {
                return short(&seen);
            }
        }
        let free = FileSystem::under(&self.path).map_or(u64::MAX, |of| of.free_bytes);
        short(seen.insert(Seen { at: Instant::now(), free, unflushed: unflushed() }))
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
        assert_eq!(Disk::new(at, 0).shortage_with(0, || 0), None);
        assert_eq!(Disk::new(at, 1).shortage_with(0, || 0), None);
        let short = Disk::new(at, u64::MAX).shortage_with(0, || 7).unwrap();
        assert!(short.free < short.reserve && short.reserve == u64::MAX && short.unflushed == 7);
    }

    #[test]
    fn room_is_wanted_for_what_was_refused_until_it_is_there() {
        let at = Path::new("/tmp");
        let free = FileSystem::under(at).unwrap().free_bytes;
        let disk = Disk::new(at, free / 2);
        assert_eq!(disk.shortage(|| 0), None);
        assert!(disk.shortage_with(free, || 0).is_some());
        disk.set_reserve(free.saturating_sub(WANTED_BYTES_MAX / 2));
        assert!(disk.shortage(|| 0).is_some(), "some of it is wanted");
        disk.set_reserve(free / 2);
        assert_eq!(disk.shortage(|| 0), None);
        disk.set_reserve(free.saturating_sub(WANTED_BYTES_MAX / 2));
        assert_eq!(disk.shortage(|| 0), None, "it was there");
    }

    #[test]
    fn what_is_to_be_written_yet_is_not_free() {
        let at = Path::new("/tmp");
        let free = FileSystem::under(at).unwrap().free_bytes;
        assert_eq!(Disk::new(at, 1).shortage_with(0, || free / 2), None);
        assert!(Disk::new(at, 1).shortage_with(0, || free.saturating_mul(2)).is_some());
        assert!(Disk::new(at, free / 2).shortage_with(free, || 0).is_some());
    }

    #[test]
    fn a_disk_that_was_short_is_looked_at_again_soon() {
        let disk = Disk::new(Path::new("/tmp"), 1);
        let at = Instant::now().checked_sub(LOOK_INTERVAL_CLOSE).unwrap();
        let full = Seen { at, free: 0, unflushed: 0 };
        *disk.seen.lock().unwrap() = Some(full);
        assert_eq!(disk.shortage_with(0, || 0), None);
        let enough = Seen { at, free: 1 << 40, unflushed: 0 };
        *disk.seen.lock().unwrap() = Some(enough);
        assert_eq!(disk.shortage_with(0, || panic!("it need not be looked at")), None);
    }
}
