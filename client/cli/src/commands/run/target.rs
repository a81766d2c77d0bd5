//! Where a file that the command writes is put back.
//!
//! **Invariants.** The file appears whole, with its permissions, or not at all. Nothing but a
//! regular file is ever replaced; a symbolic link stays, what it points to is replaced.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The permissions that are remembered. Set-user-ID and its kin are not: they would hand the
/// rights of whoever replays to whoever wrote.
const MODE_BITS: u32 = 0o777;

/// The permissions that are remembered of a file.
pub(super) fn mode_of(permissions: &Permissions) -> u32 {
    permissions.mode() & MODE_BITS
}

/// A new file beside the place where it will stand.
#[derive(Debug)]
pub(super) struct Target {
    place: PathBuf,
    temporary: NamedTempFile,
}

impl Target {
    /// Makes the file, and the directories above it if they are missing.
    ///
    /// # Errors
    /// If something other than a regular file stands there, or nothing may be written there.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let place = match path.symlink_metadata() {
            Ok(of) if of.is_symlink() => path.canonicalize()?,
            _ => path.to_owned(),
        };
        if place.symlink_metadata().is_ok_and(|of| !of.is_file()) {
            return Err(io::Error::other("something other than a file stands there"));
        }
        let directory = match place.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(directory)?;
        let temporary = tempfile::Builder::new().prefix(".memo-").tempfile_in(directory)?;
        Ok(Self { place, temporary })
    }

    /// The path of the temporary file.
    pub(super) fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self.temporary.as_file_mut(), bytes)
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// If that is not allowed.
    pub(super) fn finish(self, mode: u32) -> io::Result<()> {
        let permissions = Permissions::from_mode(mode & MODE_BITS);
        self.temporary.as_file().set_permissions(permissions)?;
        self.temporary.persist(self.place)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let mut target = Target::new(path)?;
        target.write(content)?;
        target.finish(mode)
    }

    #[test]
    fn content_and_permissions_are_put_in_place() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("new").join("deep").join("file");
        replace(&path, b"content", 0o4751).expect("it is free");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"content");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o751);
        let beside = path.parent().expect("it has one").read_dir().expect("readable").count();
        assert_eq!(beside, 1);
    }

    #[test]
    fn a_link_stays_and_what_it_points_to_is_replaced() {
        let root = tempfile::tempdir().expect("a directory");
        let (file, link) = (root.path().join("file"), root.path().join("link"));
        std::fs::write(&file, "old").expect("written");
        std::os::unix::fs::symlink("file", &link).expect("linked");
        replace(&link, b"new", 0o644).expect("a file stands there");
        assert!(link.symlink_metadata().expect("it is there").is_symlink());
        assert_eq!(std::fs::read(&file).expect("it is there"), b"new");
    }

    #[test]
    fn only_files_are_replaced() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("directory");
        std::fs::create_dir(&path).expect("made");
        assert!(replace(&path, b"", 0o644).is_err());
        assert!(replace(Path::new("/dev/null"), b"", 0o644).is_err());
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let mut target = Target::new(&root.path().join("file")).expect("it is free");
        target.write(b"half").expect("written");
        drop(target);
        assert_eq!(root.path().read_dir().expect("readable").count(), 0);
    }
}
