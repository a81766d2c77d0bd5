//! Tells, of what the database says while it is opened, what is wrong with a store.

use std::io;
use std::path::Path;

use crate::error::{OpenError, advice};
use crate::rocks::RocksError;

/// A store with this fault.
pub(crate) fn damaged(path: &Path, detail: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), detail: detail.to_owned() }
}

/// What an error says of the machine, if it does not say that what is stored is bad.
fn kind(detail: &str) -> Option<io::ErrorKind> {
    let kinds = [
        ("Permission denied", io::ErrorKind::PermissionDenied),
        ("Read-only file system", io::ErrorKind::ReadOnlyFilesystem),
        ("No space left", io::ErrorKind::StorageFull),
        ("Disk quota exceeded", io::ErrorKind::QuotaExceeded),
        ("While lock file", io::ErrorKind::ResourceBusy),
        ("Too many open files", io::ErrorKind::Other),
        ("Cannot allocate memory", io::ErrorKind::OutOfMemory),
        ("Input/output error", io::ErrorKind::Other),
    ];
    kinds.into_iter().find(|(text, _)| detail.contains(text)).map(|(_, kind)| kind)
}

/// Whether an error says that what is stored is bad.
pub(crate) fn is_damage(error: &RocksError) -> bool {
    kind(error.as_ref()).is_none()
}

/// A store that the database does not open, or not let be read, for this reason.
pub(crate) fn cannot_open(path: &Path, error: &RocksError) -> OpenError {
    let detail = error.as_ref();
    match kind(detail) {
        Some(kind) => {
            let source = io::Error::new(kind, detail.to_owned());
            OpenError::Io { path: path.to_owned(), advice: advice(&source), source }
        }
        None => damaged(path, &blame(detail)),
    }
}

/// What is damaged, without the list of files where that is only said to be: `RocksDB` adds that to
/// whatever it meets while it opens.
fn blame(detail: &str) -> String {
    let Some((cause, of)) = detail.split_once("The file ") else { return detail.to_owned() };
    if !of.contains("MANIFEST-") {
        return detail.to_owned();
    }
    let cause = cause.trim();
    if cause.contains("No such file or directory") {
        format!("{cause} (or MANIFEST, the list of files, is damaged and names one that is gone)")
    } else if cause.contains(".sst") || cause.contains(".blob") || cause.contains(".log") {
        cause.to_owned()
    } else if cause.contains("properties") {
        format!("{cause} in one of its .sst files")
    } else {
        detail.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_files_is_blamed_only_where_nothing_else_is() {
        let behind = "  The file /d/rocksdb/MANIFEST-000005 may be corrupted.";
        let told = |cause: &str| blame(&format!("{cause}{behind}"));
        assert_eq!(
            told("Corruption: properties unsorted"),
            "Corruption: properties unsorted in one of its .sst files"
        );
        assert_eq!(
            told("Corruption: bad block in /d/000012.sst"),
            "Corruption: bad block in /d/000012.sst"
        );
        assert!(told("Corruption: checksum mismatch").contains("MANIFEST-000005"));
        assert_eq!(blame("Corruption: it is bad"), "Corruption: it is bad");
    }
}
