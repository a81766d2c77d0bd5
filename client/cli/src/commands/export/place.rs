//! Where an archive is to be written: as a file of its own, or through to what stands there.
//!
//! **Invariants.** Nothing but a regular file is ever replaced. A symbolic link stays, what it
//! points to is replaced. A link in `/proc`, as `/dev/stdout` is one, stands for an open file,
//! which is written through.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};

use crate::exit::Failure;

/// As many as the kernel follows.
const LINKS_MAX: usize = 40;

/// Where an archive is to be written.
pub(super) enum Place {
    /// To standard output.
    Stdout,
    /// To a device, a pipe, a socket or an open file.
    Through(Box<dyn Write>),
    /// As a regular file of this path, which is no link.
    File(PathBuf),
}

impl Place {
    /// The place that a path names.
    ///
    /// # Errors
    /// If it is a directory, or cannot be written.
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let cannot = |error: io::Error| Failure::file("write", path, &error);
        let found = match fs::metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot(error)),
        };
        let is_directory = found.as_ref().is_some_and(Metadata::is_dir);
        if is_directory || path.as_os_str().as_bytes().ends_with(b"/") {
            let what = if is_directory { "is" } else { "would be" };
            return Err(Failure::usage(format!("`{}` {what} a directory", path.display()))
                .with_hint("name a file in it"));
        }
        if found.as_ref().is_some_and(is_standard_output) {
            return Ok(Self::Stdout);
        }
        let followed = follow(path).map_err(cannot)?;
        match (found, followed) {
            (Some(found), _) if found.file_type().is_socket() => {
                Ok(Self::Through(Box::new(UnixStream::connect(path).map_err(cannot)?)))
            }
            (Some(found), Some(file)) if found.is_file() => Ok(Self::File(file)),
            (None, Some(file)) => Ok(Self::File(file)),
            _ => {
                // A regular file is one here only if it is open already.
                let through = OpenOptions::new().write(true).truncate(true).open(path);
                Ok(Self::Through(Box::new(through.map_err(cannot)?)))
            }
        }
    }
}

/// Whether something regular, or nothing, stands there.
pub(super) fn is_free(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_standard_output(found: &Metadata) -> bool {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    stdout
        .and_then(|stdout| stdout.metadata())
        .is_ok_and(|of| (of.dev(), of.ino()) == (found.dev(), found.ino()))
}

/// The path behind symbolic links; none if one of them stands for an open file.
fn follow(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Ok(Some(path));
        }
        let folder = super::part::folder_of(&path);
        if statfs(folder)?.filesystem_type() == PROC_SUPER_MAGIC {
            return Ok(None);
        }
        path = folder.join(fs::read_link(&path)?);
    }
    Err(nix::errno::Errno::ELOOP.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn file(path: &Path) -> PathBuf {
        match Place::of(path) {
            Ok(Place::File(file)) => file,
            Ok(_) => panic!("{} is written through", path.display()),
            Err(failure) => panic!("{failure}"),
        }
    }

    #[test]
    fn links_are_followed_also_to_where_nothing_is() {
        let root = tempfile::tempdir().expect("a directory");
        let of = |name: &str| root.path().join(name);
        symlink("second", of("first")).expect("linked");
        symlink("file", of("second")).expect("linked");
        assert_eq!(file(&of("first")), of("file"));
        fs::write(of("file"), "old").expect("written");
        assert_eq!(file(&of("first")), of("file"));
        assert_eq!(file(&of("file")), of("file"));
        symlink("round", of("round")).expect("linked");
        assert!(Place::of(&of("round")).is_err());
    }

    #[test]
    fn what_is_open_or_no_file_is_written_through() {
        let open = tempfile::tempfile().expect("a file");
        let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        for path in [Path::new("/dev/full"), Path::new(&name)] {
            assert!(matches!(Place::of(path), Ok(Place::Through(_))), "{}", path.display());
        }
    }

    #[test]
    fn directories_are_refused() {
        let root = tempfile::tempdir().expect("a directory");
        for path in [root.path().to_owned(), root.path().join("new/")] {
            let refused = Place::of(&path).err().expect("refused");
            assert_eq!(refused.exit, crate::exit::USAGE);
            assert!(refused.message.contains("a directory"), "{refused}");
        }
    }
}
