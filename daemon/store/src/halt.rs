//! Whether the database takes changes, and what may be done if it does not.
//!
//! `RocksDB` ends all writing when the disk fails it, so that nothing is written behind what may be
//! torn. Reading goes on. From a full disk it recovers by itself, most often, once there is more
//! room than its largest buffer takes; from everything else, such as an error of the disk, an
//! exhausted quota or a lack of descriptors, only by being opened again, whatever has become of the
//! cause. Opening it writes what is in memory only, which needs as much room.
//!
//! While it recovers by itself it cannot be closed: it may wait for a flush that does not begin any
//! more. So a store that is halted when it is closed keeps its database, and its lock, until the
//! process ends, as if it had been killed.
//!
//! It also ends all writing when it meets damage while it compacts, whether somebody asked for that
//! or not; it counts such failures, and tells only of the one to whoever changes something next.
//! That is mended by opening the store again, which writes the damaged columns anew
//! ([`crate::renew`]). A store for which that was tried in vain when it was opened is not halted
//! for it: it would be opened again and again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;

use crate::disk::FileSystem;
use crate::error::StoreError;
use crate::rocks::{Database, seal_leftovers};
use crate::set_aside;
use crate::shared::Shared;

/// The name of the file that is written to see whether the disk takes anything.
pub(crate) const PROBE: &str = "probe";
/// What is wanted beside what is in memory only, which is written when a database is opened.
const PROBE_BYTES: u64 = 4 * 1024 * 1024;

/// How the database tells a lack of space, the one thing from which it may recover.
const NO_SPACE: &str = "No space left on device";

/// What came of an attempt to make a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// The database takes changes.
    Works,
    /// It does not, and the disk does not either.
    DiskRefuses,
    /// It does not, though the disk does: it has to be opened again.
    Stuck {
        /// Whether it may yet recover by itself, within a few seconds, as from a lack of space.
        may_recover: bool,
    },
}

/// Why the database took no change the last time, if so.
#[derive(Default)]
pub(crate) struct Halt {
    error: Mutex<Option<StoreError>>,
    /// Whether it has been told how much room the disk lacks.
    told: AtomicBool,
    /// Whether changes have ended because of damage that the next opening may mend.
    is_damaged: AtomicBool,
    /// Whether damage is there that opening has not mended.
    is_lasting: AtomicBool,
    /// How often the database has failed in the background, as far as that has been looked into.
    failures: AtomicU64,
}

impl Halt {
    fn locked(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a change ended.
    pub(crate) fn note(&self, ended: &Result<(), StoreError>) {
        let mut error = self.locked();
        match ended {
            Ok(()) => {
                *error = None;
                self.told.store(false, Ordering::Relaxed);
            }
            Err(now @ (StoreError::Rocks(_) | StoreError::DiskFull(_))) => {
                if error.is_none() {
                    tracing::error!(
                        "nothing can be stored: {now}. What is stored is served; when the disk can \
                         be written again, so can the store"
                    );
                }
                *error = Some(now.clone());
            }
            Err(_) => {}
        }
    }

    /// Notes that damage has been met that ends changes.
    pub(crate) fn note_damage(&self) {
        if !self.is_lasting.load(Ordering::Relaxed) {
            self.is_damaged.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that damage is there that opening has not mended.
    pub(crate) fn bear_damage(&self) {
        self.is_lasting.store(true, Ordering::Relaxed);
    }

    /// Whether changes have ended because of damage that the next opening may mend.
    pub(crate) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Whether the database has failed in the background, and nobody has looked into it.
    pub(crate) fn has_failed_behind(&self, db: &Database) -> bool {
        // What cannot be asked for is no sign of anything.
        db.background_failures().is_ok_and(|now| now != self.failures.load(Ordering::Relaxed))
    }

    /// The same; from now on somebody has.
    pub(crate) fn take_failed_behind(&self, db: &Database) -> bool {
        db.background_failures().is_ok_and(|now| now != self.failures.swap(now, Ordering::Relaxed))
    }

    /// Why the database takes no changes, if so.
    pub(crate) fn error(&self) -> Option<StoreError> {
        self.locked().clone()
    }
}

/// Notes what has come of work on the database: damage that it met is mended by the next opening.
pub(crate) fn note_met(shared: &Shared, error: &StoreError) {
    if let StoreError::Damaged { what } = error {
        set_aside::mark(&shared.path, what);
        shared.halt.note_damage();
    }
}

/// Has the database delete what was left unfinished, when it next looks for what it may delete:
/// when it is opened, and when it tries to recover.
pub(crate) fn give_back(store: &Path) {
    match seal_leftovers(&store.join("rocksdb")) {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "unfinished files can be deleted"),
        Err(error) => tracing::warn!(%error, "unfinished files cannot be deleted"),
    }
}

/// Judges a database whose attempt at a change has ended so.
pub(crate) fn judge(shared: &Shared, ended: &Result<(), StoreError>) -> Trial {
    match ended {
        Ok(()) => Trial::Works,
        Err(error) => match after_giving_back(shared) {
            Ok(()) => Trial::Stuck { may_recover: error.to_string().contains(NO_SPACE) },
            Err(error) => {
                tell(shared, &error);
                Trial::DiskRefuses
            }
        },
    }
}

/// Tells, once, how much room is missing, or what else the disk has against it.
fn tell(shared: &Shared, error: &io::Error) {
    if shared.halt.told.swap(true, Ordering::Relaxed) {
        tracing::debug!(%error, "the disk cannot be written");
        return;
    }
    let wanted = wanted(shared);
    let free = FileSystem::under(&shared.path).map_or(0, |of| of.free_bytes);
    tracing::error!(
        "the disk cannot be written: {error}. It has {free} free bytes, and to go on the store \
         needs {wanted}"
    );
}

fn after_giving_back(shared: &Shared) -> io::Result<()> {
    give_back(&shared.path);
    probe(&shared.path, wanted(shared))
}

/// How much room opening the database again may need.
fn wanted(shared: &Shared) -> u64 {
    // What cannot be asked for is no more than the log has.
    let unflushed = shared.db.unflushed_bytes().unwrap_or(u64::MAX);
    unflushed.min(log_bytes(&shared.path)).saturating_add(PROBE_BYTES)
}

fn log_bytes(store: &Path) -> u64 {
    let Ok(files) = fs::read_dir(store.join("rocksdb")) else { return 0 };
    let logs = files.flatten().filter(|file| file.path().extension().is_some_and(|of| of == "log"));
    logs.map(|log| log.metadata().map_or(0, |log| log.len())).sum()
}

/// Whether the disk takes so much.
fn probe(store: &Path, bytes: u64) -> io::Result<()> {
    let path = store.join(PROBE);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    // It goes with the last descriptor.
    fs::remove_file(&path)?;
    let wanted = i64::try_from(bytes).unwrap_or(i64::MAX);
    match posix_fallocate(&file, 0, wanted) {
        // A file system that cannot promise room.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EINVAL) => {}
        Err(error) => return Err(error.into()),
    }
    file.write_all(b"memod")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_can_be_written_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let free = FileSystem::under(folder.path()).unwrap().free_bytes;
        assert!(probe(folder.path(), free.saturating_mul(2)).is_err(), "it is not so large");
        probe(folder.path(), 100_000).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(log_bytes(folder.path()), 0, "there is no database");
        fs::create_dir(folder.path().join("rocksdb")).unwrap();
        fs::write(folder.path().join("rocksdb/000001.log"), [1; 1000]).unwrap();
        fs::write(folder.path().join("rocksdb/000002.sst"), [1; 1000]).unwrap();
        assert_eq!(log_bytes(folder.path()), 1000);
    }
}
