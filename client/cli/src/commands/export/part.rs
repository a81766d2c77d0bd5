//! The unfinished file of an export, `FILE.part` beside `FILE`.
//!
//! **Invariants.** One export at a time writes it, which a lock says. It is the user's own regular
//! file under one name, and what is in it is an export's: nothing else is written to or cut off.
//! One that holds no entry does not stay.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memod_client::archive::unfinished::{Origin, Unfinished, UnfinishedError};
use memod_protocol::Key;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::place;
use crate::exit::{self, Failure};

const SUFFIX: &str = ".part";
/// How often a file is opened anew that was renamed or removed before it was locked.
const ATTEMPTS_MAX: usize = 10;

/// An unfinished file that nobody else writes.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Part {
    /// Opens the unfinished file beside a place, and reads what it holds.
    ///
    /// # Errors
    /// If another export writes it, it is something else, or cannot be written.
    pub(super) fn open(
        place: &Path,
        origin: Origin,
        found: &mut dyn FnMut(Key),
    ) -> Result<(Self, Unfinished), Failure> {
        let mut name = place
            .file_name()
            .map(OsString::from)
            .ok_or_else(|| Failure::usage(format!("`{}` does not name a file", place.display())))?;
        name.push(SUFFIX);
        let path = place.with_file_name(name);
        let cannot = |error: io::Error| Failure::file("write", &path, &error);
        let lock = lock(&path)?;
        let file = lock.try_clone().map_err(cannot)?;
        let unfinished = Unfinished::open(file, origin, found).map_err(|error| match error {
            UnfinishedError::Io(error) => cannot(error),
            UnfinishedError::Whole => {
                let what = format!("`{}` is a whole archive", path.display());
                let hint = format!("rename it to `{}`, or remove it", place.display());
                Failure::usage(what).with_hint(hint)
            }
            UnfinishedError::Foreign => foreign(&path, "no unfinished export"),
        })?;
        Ok((Self { path, _lock: lock }, unfinished))
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// If something other than a regular file has come there, or it cannot be renamed.
    pub(super) fn persist(&self, place: &Path) -> io::Result<()> {
        if !place::is_free(place)? {
            return Err(io::Error::other("something other than a file has come there"));
        }
        fs::rename(&self.path, place)?;
        // So that a power cut does not take the name away.
        File::open(folder_of(place))?.sync_all()
    }

    /// The failure that ends an export which has come so far, with a word on how to go on.
    pub(super) fn leave(&self, entries: u64, failure: Failure) -> Failure {
        leave(&self.path, entries, failure)
    }
}

/// Leaves an unfinished file behind if it holds anything, and says how to go on with it.
pub(super) fn leave(path: &Path, entries: u64, failure: Failure) -> Failure {
    if entries == 0 {
        // It is not worth a word if that does not work.
        let _ = fs::remove_file(path);
        return failure;
    }
    let before = failure.hint.clone().map_or_else(String::new, |hint| hint + "\n");
    let there = if entries == 1 { "1 entry is" } else { &format!("{entries} entries are") };
    let path = path.display();
    failure.with_hint(format!("{before}{there} in `{path}`: the same command goes on from there"))
}

/// The folder in which a path stands.
pub(super) fn folder_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

fn foreign(path: &Path, what: &str) -> Failure {
    Failure::usage(format!("`{}`, in which the export would be written, is {what}", path.display()))
        .with_hint("remove it, or export to another name")
}

/// Opens the file, which may be new, and sees to it that nobody else writes it.
fn lock(path: &Path) -> Result<Flock<File>, Failure> {
    let cannot = |error: io::Error| Failure::file("write", path, &error);
    for _ in 0..ATTEMPTS_MAX {
        if !place::is_free(path).map_err(cannot)? {
            return Err(foreign(path, "no regular file"));
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags.bits())
            .open(path)
            .map_err(cannot)?;
        let of = file.metadata().map_err(cannot)?;
        if of.uid() != nix::unistd::geteuid().as_raw() || of.nlink() > 1 || !of.is_file() {
            // Its owner, or who has another name for it, could change it while it is written.
            return Err(foreign(path, "not a file of yours alone"));
        }
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => {
                let what = format!("another export is writing `{}`", path.display());
                let failure = Failure::new(exit::FAILED, "busy", what);
                return Err(failure.with_hint("wait for it, or export to another name"));
            }
            Err((_, error)) => return Err(cannot(error.into())),
        };
        // Who had the lock before may have put the file in its place, or removed it.
        let now = fs::symlink_metadata(path);
        if now.is_ok_and(|now| (now.dev(), now.ino()) == (of.dev(), of.ino())) {
            return Ok(lock);
        }
    }
    Err(cannot(io::Error::other("it is replaced again and again")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use memod_protocol::Filter;

    use super::*;

    fn open(place: &Path) -> Result<Part, Failure> {
        let origin = Origin::of("store", &Filter::default());
        Part::open(place, origin, &mut |_| ()).map(|(part, _)| part)
    }

    #[test]
    fn one_export_at_a_time_writes_it() {
        let root = tempfile::tempdir().expect("a directory");
        let place = root.path().join("archive");
        let first = open(&place).expect("it is free");
        let refused = open(&place).expect_err("it is being written");
        assert_eq!((refused.exit, refused.code), (exit::FAILED, "busy"));
        first.persist(&place).expect("it is free");
        assert!(place.is_file());
        drop(first);
        open(&place).expect("it is free again");
    }

    #[test]
    fn nothing_but_a_file_of_ones_own_is_written() {
        let root = tempfile::tempdir().expect("a directory");
        let (place, part) = (root.path().join("archive"), root.path().join("archive.part"));
        let other = root.path().join("other");
        fs::write(&other, "precious").expect("written");
        symlink(&other, &part).expect("linked");
        assert_eq!(open(&place).expect_err("a link").exit, exit::USAGE);
        fs::remove_file(&part).expect("removed");
        fs::hard_link(&other, &part).expect("linked");
        assert_eq!(open(&place).expect_err("a second name").exit, exit::USAGE);
        fs::remove_file(&part).expect("removed");
        nix::unistd::mkfifo(&part, nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert_eq!(open(&place).expect_err("a pipe").exit, exit::USAGE);
        fs::remove_file(&part).expect("removed");
        fs::write(&part, "a film").expect("written");
        assert_eq!(open(&place).expect_err("not an export's").exit, exit::USAGE);
        assert_eq!(fs::read(&part).expect("it is there"), b"a film");
        assert_eq!(fs::read(&other).expect("it is there"), b"precious");
    }

    #[test]
    fn what_has_come_to_the_place_meanwhile_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let place = root.path().join("archive");
        let part = open(&place).expect("it is free");
        fs::create_dir(&place).expect("made");
        assert!(part.persist(&place).is_err());
        assert!(place.is_dir());
    }

    #[test]
    fn what_holds_an_entry_is_left_and_told() {
        let root = tempfile::tempdir().expect("a directory");
        let place = root.path().join("archive");
        let part = open(&place).expect("it is free");
        let failure = || Failure::new(exit::FAILED, "io", "no").with_hint("make room");
        let hint = part.leave(2, failure()).hint.expect("a hint");
        assert!(hint.starts_with("make room\n2 entries are in "), "{hint}");
        assert!(part.path().exists());
        assert_eq!(part.leave(0, failure()), failure());
        assert!(!part.path().exists());
    }
}
