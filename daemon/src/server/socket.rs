//! The listening socket's file.
//!
//! **Invariants.** The file has its final mode from the moment it exists. A lock beside it, held
//! for life, says which process owns the path: a left-over file is removed only under that lock.
//! Nobody else can put another in its place.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use memod_descriptors::{Step, route};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{getegid, geteuid};

/// A bound socket; its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    listener: UnixListener,
    /// The path that is ours to remove, with the lock that says so; none if it was inherited.
    owned: Option<(PathBuf, Flock<File>)>,
}

impl BoundSocket {
    /// A socket that another process bound and owns.
    pub(crate) fn inherited(listener: UnixListener) -> Self {
        Self { listener, owned: None }
    }

    /// Binds the path with these permission bits. Must be called before other threads create
    /// files, since the process's umask is narrowed meanwhile. `another` is what to choose if it
    /// cannot be this one.
    ///
    /// # Errors
    /// If its directory cannot be made or others can write it, another daemon
    /// holds it, or it is not a socket; the message says what to do.
    pub(crate) fn bind(path: &Path, mode: u32, another: &str) -> anyhow::Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).with_context(
            || format!("cannot create {}, the directory of the socket", directory.display()),
        )?;
        check_directory(directory, another)?;
        let lock = lock(path, another)?;
        remove_left_over(path, another)?;
        let before = umask(Mode::from_bits_truncate(0o777 & !mode));
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.with_context(|| format!("cannot bind {}", path.display()))?;
        Ok(Self { listener, owned: Some((path.to_owned(), lock)) })
    }

    /// The socket for the async runtime; call within it.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated or registered.
    pub(crate) fn listen(&self) -> std::io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if let Some((path, _lock)) = &self.owned
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

/// Nobody but root and this user may put another socket in place of ours: clients would take it
/// for the daemon. In a sticky directory nobody can; that of one's own group is left to oneself.
/// The same holds for everything that the path leads through, in which another could be put in its
/// place, links too.
fn check_directory(directory: &Path, another: &str) -> anyhow::Result<()> {
    let directory = if directory == Path::new("") { Path::new(".") } else { directory };
    let steps =
        route(directory).with_context(|| format!("cannot look at {}", directory.display()))?;
    let last = steps.len().saturating_sub(1);
    for (number, step) in steps.iter().enumerate().rev() {
        let Step { path, metadata } = step;
        let (mode, own, path) = (metadata.mode(), geteuid().as_raw(), path.display());
        let is_foreign = metadata.uid() != own && metadata.uid() != 0;
        if step.is_link() {
            // Its mode says nothing: who can write where it stands is seen there.
            if is_foreign {
                bail!(
                    "{path}, through which the path of the socket leads, is a link of user {}, \
                     who can have it lead elsewhere: make it anew as user {own}, or choose \
                     {another}",
                    metadata.uid()
                );
            }
            continue;
        }
        let gid = metadata.gid();
        let by_group = mode & 0o020 != 0 && gid != getegid().as_raw() && gid != 0;
        let is_open = (mode & 0o002 != 0 || by_group) && mode & 0o1000 == 0;
        if is_open || is_foreign {
            let what = if number == last { "the directory" } else { "above the directory" };
            bail!(
                "others can write {path}, {what} of the socket, and put theirs in its place: make \
                 it user {own}'s own with `chown` and `chmod go-w`, or choose {another}"
            );
        }
    }
    Ok(())
}

/// Takes the lock that says who owns the socket's path.
fn lock(path: &Path, another: &str) -> anyhow::Result<Flock<File>> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&name)
        .with_context(|| format!("cannot create {}", name.display()))?;
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => bail!(
            "another memod listens on {} already{}: use that one, stop it, or choose {another}",
            path.display(),
            holder(&mut file)
        ),
        Err((_, error)) => bail!("cannot lock {}: {error}", name.display()),
    };
    // For people who look, and for the message to the next daemon that wants the path.
    let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    written.with_context(|| format!("cannot write {}", name.display()))?;
    Ok(lock)
}

/// The process that has left its number in the lock file, for a message.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// Removes the socket file that a killed daemon left; anything else is somebody's file.
fn remove_left_over(path: &Path, another: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the left-over socket {}", path.display())),
        Ok(_) => {
            bail!("{} exists and is not a socket: remove it or choose {another}", path.display())
        }
    }
}
