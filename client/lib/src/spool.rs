//! Temporary files without a name: what does not fit into memory, and is gone when it is closed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::OFlag;

/// A new empty file that nobody can find, readable and writable.
///
/// # Errors
/// If the directory for temporary files does not allow it.
pub(crate) fn file() -> io::Result<File> {
    let directory = std::env::temp_dir();
    nameless(&directory).or_else(|_| unlinked(&directory))
}

/// A file that never had a name. Not every file system can make one.
fn nameless(directory: &Path) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE.bits();
    OpenOptions::new().read(true).write(true).custom_flags(flags).mode(0o600).open(directory)
}

/// A file whose name is removed at once.
fn unlinked(directory: &Path) -> io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".memod-spool-{}-{count}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn both_kinds_have_no_name_and_keep_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        for mut file in [nameless(directory.path()).unwrap(), unlinked(directory.path()).unwrap()] {
            assert_eq!(file.metadata().unwrap().nlink(), 0);
            file.write_all(b"content").unwrap();
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "content");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
