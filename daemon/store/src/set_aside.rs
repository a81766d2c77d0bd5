//! Sets a damaged database aside, and remembers that one has to be.
//!
//! A database that refuses changes, because it met damage when it compacted, works when it is
//! opened again, until it meets the damage again. So the writer leaves a mark, `damaged`, beside
//! it. The next opening writes anew what is damaged, and removes the mark ([`crate::renew`]); if it
//! cannot, the database is set aside. What is set aside stands in `damaged-<date>/rocksdb`: that
//! folder can be opened as a store of its own, if it can be opened at all.
//!
//! **Invariants.** Nothing that was stored is deleted. A mark is about the database beside it: one
//! without a database goes where that was moved.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use memod_protocol::shell::quoted;

use crate::disk;
use crate::failpoint::{Failpoint, reach};
use crate::shared::now_ms;

/// The name of the mark.
pub(crate) const MARK: &str = "damaged";
/// The name of one that is being written.
const NEW_MARK: &str = "damaged-mark";
/// What the names of the folders begin with into which databases, or single files, are moved.
pub(crate) const FOLDER: &str = "damaged-";
/// Databases that may be set aside on one day.
const SAME_DAY_MAX: u32 = 1000;
/// What is kept of a reason.
const REASON_CHARS_MAX: usize = 500;

/// Marks the database of a store as one that takes no changes.
pub(crate) fn mark(store: &Path, reason: &str) {
    let path = store.join(MARK);
    if path.exists() {
        return;
    }
    let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
    if let Err(error) = fs::write(&path, format!("{reason}\n")) {
        tracing::warn!(%error, "that the store is damaged cannot be written down");
    }
}

/// Puts another mark in the place of the one that is there, if any; it outlives a power cut.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn mark_anew(store: &Path, reason: &str) -> io::Result<()> {
    let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
    let new = store.join(NEW_MARK);
    let mut file = fs::File::create(&new)?;
    writeln!(file, "{reason}")?;
    file.sync_all()?;
    fs::rename(&new, store.join(MARK))?;
    disk::sync_names(store)
}

/// Moves files of a database out of the way, as far as they are there; says where to.
///
/// # Errors
/// If they cannot be moved.
pub(crate) fn move_files(store: &Path, database: &Path, names: &[&str]) -> io::Result<PathBuf> {
    let folder = make_folder(store)?;
    for name in names {
        match fs::rename(database.join(name), folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    disk::sync_names(&folder)?;
    disk::sync_names(store)?;
    Ok(folder)
}

/// Removes the mark: what it was about is whole.
pub(crate) fn unmark(store: &Path) {
    let removed = fs::remove_file(store.join(MARK)).and_then(|()| disk::sync_names(store));
    if let Err(error) = removed {
        tracing::warn!(%error, "the mark of a damaged store stays, though it is whole");
    }
}

/// Why the database of a store took no changes when it was open last, if so.
pub(crate) fn marked(store: &Path) -> Option<String> {
    let reason = fs::read(store.join(MARK)).ok()?;
    let text: String = String::from_utf8_lossy(&reason).trim().to_owned();
    Some(if text.is_empty() { "it is marked as damaged".to_owned() } else { text })
}

/// Moves the database, and the mark, out of the way; says where to.
///
/// # Errors
/// If it cannot be moved.
pub(crate) fn set_aside(store: &Path, database: &Path, reason: &str) -> io::Result<PathBuf> {
    let folder = make_folder(store)?;
    reach(Failpoint::SetAsideFolder);
    let name = database.file_name().unwrap_or_default();
    fs::rename(database, folder.join(name))?;
    reach(Failpoint::SetAsideMoved);
    match fs::rename(store.join(MARK), folder.join(MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // So that a power cut neither loses it nor brings it back beside the new one.
    disk::sync_names(&folder)?;
    disk::sync_names(store)?;
    tracing::error!(
        "THE STORE {} WAS DAMAGED: {reason}. It has been moved to {}, and a new, empty one is \
         begun. If `memod serve --data {}` can still open it, `memo export` saves what is good; \
         else remove it",
        store.display(),
        folder.display(),
        quoted(&folder),
    );
    Ok(folder)
}

/// Ends what a crash has cut off: if the database that a mark is about has been moved away, the
/// mark follows it; if it has been removed, the mark goes.
///
/// # Errors
/// If it cannot be moved.
pub(crate) fn follow(store: &Path, database: &Path) -> io::Result<()> {
    if database.exists() || !store.join(MARK).exists() {
        return Ok(());
    }
    let name = database.file_name().unwrap_or_default();
    let is_its = |folder: &PathBuf| {
        let is_one = |of: &OsStr| of.as_encoded_bytes().starts_with(FOLDER.as_bytes());
        folder.file_name().is_some_and(is_one)
            && folder.join(name).exists()
            && !folder.join(MARK).exists()
    };
    let mut folders = Vec::new();
    for entry in fs::read_dir(store)? {
        folders.push(entry?.path());
    }
    let changed = |folder: &PathBuf| fs::metadata(folder).and_then(|of| of.modified()).ok();
    match folders.into_iter().filter(is_its).max_by_key(changed) {
        Some(folder) => fs::rename(store.join(MARK), folder.join(MARK)),
        None => fs::remove_file(store.join(MARK)),
    }
}

fn make_folder(store: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;

    let date = date(now_ms() / 1000);
    for number in 1..=SAME_DAY_MAX {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let folder = store.join(format!("{FOLDER}{date}{suffix}"));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{SAME_DAY_MAX} have been set aside today; remove some")))
}

/// The day, in UTC, of an instant in seconds since 1970-01-01 (H. Hinnant, `civil_from_days`).
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
#[path = "set_aside_tests.rs"]
mod tests;
