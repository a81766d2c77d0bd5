//! Where a file that the command writes is put back.
//!
//! **Invariants.** The file appears whole, with its permissions, or not at all. Nothing but a
//! regular file is ever replaced; a symbolic link stays, what it points to is replaced. Where the
//! file system allows it, the file has no name before it is whole, so that a process that is
//! killed leaves nothing behind.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;
use tempfile::TempPath;

/// The permissions that are remembered. Set-user-ID and its kin are not: they would hand the
/// rights of whoever replays to whoever wrote.
const MODE_BITS: u32 = 0o777;

/// How the names of files begin that are not whole yet.
const PREFIX: &str = ".memo-";

/// The permissions that are remembered of a file.
pub(super) fn mode_of(permissions: &Permissions) -> u32 {
    permissions.mode() & MODE_BITS
}

/// A new file that will stand in its place.
#[derive(Debug)]
pub(super) struct Target {
    place: PathBuf,
    file: File,
    /// The file's name, if it had to have one.
    name: Option<TempPath>,
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
        let directory = directory_of(&place);
        std::fs::create_dir_all(directory)?;
        if let Ok(file) = nameless(directory) {
            return Ok(Self { place, file, name: None });
        }
        let (file, name) =
            tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory)?.into_parts();
        Ok(Self { place, file, name: Some(name) })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.file, bytes)
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// If that is not allowed.
    pub(super) fn finish(self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode & MODE_BITS))?;
        let name = match self.name {
            Some(name) => name,
            None => named(&self.file, directory_of(&self.place))?,
        };
        name.persist(self.place)?;
        Ok(())
    }
}

fn directory_of(place: &Path) -> &Path {
    let parent = place.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

/// A file without a name. Not every file system can make one.
fn nameless(directory: &Path) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE.bits();
    let file = OpenOptions::new().write(true).custom_flags(flags).mode(0o600).open(directory)?;
    // Without this path it could not be given a name in the end.
    link_path(&file).symlink_metadata()?;
    Ok(file)
}

/// Gives the file a name of its own in the directory.
fn named(file: &File, directory: &Path) -> io::Result<TempPath> {
    let link = |name: &Path| {
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        linkat(AT_FDCWD, &link_path(file), AT_FDCWD, name, follow).map_err(io::Error::from)
    };
    let linked = tempfile::Builder::new().prefix(PREFIX).make_in(directory, link)?;
    Ok(linked.into_temp_path())
}

/// A path that stands for an open file.
fn link_path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let mut target = Target::new(path)?;
        target.write(content)?;
        target.finish(mode)
    }

    fn names(directory: &Path) -> Vec<PathBuf> {
        let entries = directory.read_dir().expect("readable");
        entries.map(|entry| entry.expect("readable").path()).collect()
    }

    #[test]
    fn content_and_permissions_are_put_in_place() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("new").join("deep").join("file");
        for content in [&b"content"[..], b"other"] {
            replace(&path, content, 0o4751).expect("it is free, or a file");
            assert_eq!(std::fs::read(&path).expect("it is there"), content);
        }
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o751);
        assert_eq!(names(directory_of(&path)), [path]);
    }

    #[test]
    fn where_files_need_names_it_is_the_same() {
        let root = tempfile::tempdir().expect("a directory");
        let place = root.path().join("file");
        let temporary = tempfile::Builder::new().tempfile_in(root.path()).expect("free");
        let (file, name) = temporary.into_parts();
        let mut target = Target { place: place.clone(), file, name: Some(name) };
        target.write(b"content").expect("written");
        target.finish(0o600).expect("it is free");
        assert_eq!(names(root.path()), [place]);
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
        assert_eq!(names(root.path()), [] as [PathBuf; 0]);
    }
}
