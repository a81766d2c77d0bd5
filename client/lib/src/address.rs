//! Where a daemon may be listening, and where the user's own one keeps its things.
//!
//! **Invariants.** A socket in the user's own place is trusted only if the user serves it; one that
//! was named, or the system's, may be served by anybody.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use memod_descriptors::{Step, route};

/// The socket of the system's daemon.
const SYSTEM_SOCKET: &str = "/run/memod/memod.sock";

/// A socket, and how it came to be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The socket.
    pub path: PathBuf,
    /// How it came to be chosen.
    pub origin: Origin,
}

/// How a socket came to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The caller named it.
    Given,
    /// `$MEMOD_SOCKET` names it.
    Environment,
    /// It is where the user's own daemon listens.
    Own,
    /// It is where the system's daemon listens.
    System,
}

/// The one socket to use: the given one, else `$MEMOD_SOCKET`, else that of the user's own daemon
/// or of the system's, whichever is there, else where the user's own would be.
#[must_use]
pub fn find(explicit: Option<PathBuf>) -> Address {
    candidates(explicit).into_iter().next().unwrap_or_else(|| Environment::of_process().own())
}

/// All sockets that are worth trying, in order. Empty if none was named and none is there.
#[must_use]
pub fn candidates(explicit: Option<PathBuf>) -> Vec<Address> {
    Environment::of_process().candidates(explicit, Path::new(SYSTEM_SOCKET))
}

/// Where the user's own daemon listens: `$XDG_RUNTIME_DIR/memod/memod.sock`, or
/// `run/memod.sock` beside its data if there is no such directory.
#[must_use]
pub fn own() -> PathBuf {
    Environment::of_process().own().path
}

/// Where the user's own daemon stores: `$XDG_CACHE_HOME/memod`, else `~/.cache/memod`.
#[must_use]
pub fn own_data() -> PathBuf {
    Environment::of_process().own_data()
}

/// The environment variables that matter here, read once, so that tests need not set any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `$MEMOD_SOCKET`.
    pub(crate) socket: Option<PathBuf>,
    /// `$MEMOD_DAEMON`: the daemon's program.
    pub(crate) daemon: Option<PathBuf>,
    /// `$MEMOD_NO_START` is set.
    pub(crate) no_start: bool,
    /// `$MEMOD_BOARD` is `off`.
    pub(crate) board_off: bool,
    /// `$XDG_RUNTIME_DIR`.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// `$XDG_CACHE_HOME`, else `~/.cache`.
    pub(crate) cache_home: Option<PathBuf>,
    /// `$PATH`.
    pub(crate) path: Option<OsString>,
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        // The XDG specification has relative paths ignored.
        let directory =
            |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || {
            directory("HOME").or_else(|| {
                let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
                user.ok().flatten().map(|user| user.dir)
            })
        };
        Self {
            socket: variable("MEMOD_SOCKET").map(PathBuf::from),
            daemon: variable("MEMOD_DAEMON").map(PathBuf::from),
            no_start: variable("MEMOD_NO_START").is_some_and(|value| value != "0"),
            board_off: variable("MEMOD_BOARD").is_some_and(|value| value == "off"),
            runtime_dir: directory("XDG_RUNTIME_DIR"),
            cache_home: directory("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache"))),
            path: variable("PATH"),
        }
    }

    /// See [`own_data`].
    pub(crate) fn own_data(&self) -> PathBuf {
        match &self.cache_home {
            Some(cache) => cache.join("memod"),
            None => std::env::temp_dir().join(format!("memod-{}", nix::unistd::geteuid())),
        }
    }

    /// See [`own`].
    pub(crate) fn own(&self) -> Address {
        let path = match &self.runtime_dir {
            Some(runtime) => runtime.join("memod").join("memod.sock"),
            None => self.own_data().join("run").join("memod.sock"),
        };
        Address { path, origin: Origin::Own }
    }

    /// See [`candidates`].
    pub(crate) fn candidates(&self, explicit: Option<PathBuf>, system: &Path) -> Vec<Address> {
        if let Some(path) = explicit {
            return vec![Address { path, origin: Origin::Given }];
        }
        if let Some(path) = self.socket.clone() {
            return vec![Address { path, origin: Origin::Environment }];
        }
        let system = Address { path: system.to_owned(), origin: Origin::System };
        [self.own(), system].into_iter().filter(|address| address.path.exists()).collect()
    }

    /// See [`candidates`], with the system's own place.
    pub(crate) fn candidates_of_system(&self, explicit: Option<PathBuf>) -> Vec<Address> {
        self.candidates(explicit, Path::new(SYSTEM_SOCKET))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    fn environment(root: &Path) -> Environment {
        Environment {
            runtime_dir: Some(root.join("runtime")),
            cache_home: Some(root.join("cache")),
            ..Environment::default()
        }
    }

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn what_is_named_is_the_only_candidate() {
        let root = tempfile::tempdir().unwrap();
        let mut environment = environment(root.path());
        touch(&environment.own().path);
        environment.socket = Some("/named/by/variable".into());
        let found = environment.candidates(None, Path::new("/none"));
        assert_eq!(
            found,
            [Address { path: "/named/by/variable".into(), origin: Origin::Environment }]
        );
        let found = environment.candidates(Some("/named".into()), Path::new("/none"));
        assert_eq!(found, [Address { path: "/named".into(), origin: Origin::Given }]);
    }

    #[test]
    fn otherwise_those_that_are_there_our_own_first() {
        let root = tempfile::tempdir().unwrap();
        let environment = environment(root.path());
        let system = root.path().join("system.sock");
        assert_eq!(environment.candidates(None, &system), []);
        touch(&system);
        let found = environment.candidates(None, &system);
        assert_eq!(found.iter().map(|a| a.origin).collect::<Vec<_>>(), [Origin::System]);
        touch(&environment.own().path);
        let found = environment.candidates(None, &system);
        assert_eq!(
            found.iter().map(|a| a.origin).collect::<Vec<_>>(),
            [Origin::Own, Origin::System]
        );
    }

    #[test]
    fn our_own_place_without_a_runtime_directory_is_beside_the_data() {
        let mut environment = environment(Path::new("/x"));
        assert_eq!(environment.own().path, Path::new("/x/runtime/memod/memod.sock"));
        environment.runtime_dir = None;
        assert_eq!(environment.own().path, Path::new("/x/cache/memod/run/memod.sock"));
        assert_eq!(environment.own_data(), Path::new("/x/cache/memod"));
    }
}
