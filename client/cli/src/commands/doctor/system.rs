//! Limits, the user's own daemon, and systemd's units.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use memod_client::{address, start};
use memod_protocol::Status;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{AccessFlags, access};

use super::Check;
use super::places::{AS_WHOM, exposed};

/// Files that the daemon opens besides its connections.
const OWN_FILES: u64 = 656;
/// Most connections of a daemon that does not say.
const CONNECTIONS_MAX: u64 = 12_000;
/// One in so many connections takes a second file while its peer does not read, ...
const WRITING_SHARE: u64 = 8;
/// ... or these, if that is more.
const WRITING_LEAST: u64 = 16;
/// Where units for the machine may stand.
const SYSTEM_UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Where units for every user may stand.
const USER_UNITS: [&str; 3] =
    ["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"];

/// How many files a running daemon may open.
pub(super) fn daemon_descriptors(status: &Status) -> Check {
    let connections = status.settings.iter().find(|(name, _, _)| name == "connections_max");
    let connections = connections.and_then(|(_, value, _)| value.parse().ok());
    let limits = fs::read_to_string(format!("/proc/{}/limits", status.pid)).ok();
    match limits.as_deref().and_then(open_files) {
        Some(files) => descriptors(files, connections.unwrap_or(CONNECTIONS_MAX)),
        None => Check::warning("open files", "the daemon's limit cannot be looked at", AS_WHOM),
    }
}

/// How many files a daemon may open that this process starts; it raises its limit as far as it may.
pub(super) fn own_descriptors() -> Check {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) => descriptors(hard, CONNECTIONS_MAX),
        Err(error) => Check::good("open files", format!("the limit cannot be read: {error}")),
    }
}

/// The soft limit of open files that the kernel's table shows.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn descriptors(files: u64, connections: u64) -> Check {
    const NAME: &str = "open files";
    let writing = (connections / WRITING_SHARE).max(WRITING_LEAST.min(connections));
    let wanted = connections.saturating_add(writing).saturating_add(OWN_FILES);
    let found = format!("{files} are allowed, {wanted} may be wanted");
    if files >= wanted {
        return Check::good(NAME, found);
    }
    let advice = format!(
        "raise the limit (`ulimit -Hn {wanted}`, LimitNOFILE={wanted} in a unit), or lower \
         connections_max"
    );
    Check::warning(NAME, found, advice)
}

/// Whether a client can start the user's own daemon.
pub(super) fn own_daemon(no_start: bool) -> Vec<Check> {
    const NAME: &str = "own daemon";
    if no_start {
        return vec![Check::good(NAME, "is not to be started ($MEMOD_NO_START or --no-start)")];
    }
    let program = match start::daemon_program() {
        Ok(program) => Check::good(NAME, format!("{} can be started", program.display())),
        Err(error) => Check::warning(
            NAME,
            error.to_string(),
            "install memod beside memo or on $PATH, or name it with $MEMOD_DAEMON",
        ),
    };
    let mut checks = vec![program];
    let socket = address::own();
    if let Some(directory) = socket.parent() {
        checks.push(private("own socket's directory", directory));
    }
    checks.push(private("own data directory", &address::own_data()));
    checks
}

/// A directory that a client makes for its user, or could.
fn private(name: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let Ok(metadata) = fs::metadata(path) else {
        let above = path.ancestors().skip(1).find(|above| above.exists());
        let above = above.unwrap_or(Path::new("/"));
        if access(above, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() {
            let made = || Check::good(name, format!("{shown} will be made"));
            return exposed(name, path).unwrap_or_else(made);
        }
        let found = format!("{shown} cannot be made: {} is not writable", above.display());
        let advice = "set $XDG_RUNTIME_DIR and $XDG_CACHE_HOME to directories of yours";
        return Check::failed(name, found, advice);
    };
    let (uid, mode) = (nix::unistd::geteuid().as_raw(), metadata.mode() & 0o7777);
    let found = format!("{shown}, of user {}, mode {mode:04o}", metadata.uid());
    if metadata.uid() != uid {
        return Check::failed(name, found, format!("it is not yours (user {uid}): remove it"));
    }
    if mode & 0o022 != 0 {
        return Check::failed(name, found, format!("others can write to it: chmod go-w {shown}"));
    }
    exposed(name, path).unwrap_or_else(|| Check::good(name, found))
}

/// The units that are installed.
pub(super) fn units() -> Vec<Check> {
    let home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".config"))
    });
    let mine = home.map(|config| config.join("systemd/user"));
    let places = SYSTEM_UNITS.iter().chain(&USER_UNITS).map(PathBuf::from).chain(mine);
    units_in(places)
}

fn units_in(places: impl IntoIterator<Item = PathBuf>) -> Vec<Check> {
    let paths = places.into_iter().map(|place| place.join("memod.service"));
    let checks: Vec<_> = paths.filter_map(|path| unit(&path)).collect();
    if checks.is_empty() {
        return vec![Check::good("systemd unit", "none is installed")];
    }
    checks
}

fn unit(path: &Path) -> Option<Check> {
    const NAME: &str = "systemd unit";
    let text = fs::read_to_string(path).ok()?;
    let shown = path.display();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("ExecStart="));
    // Signs in front of a program say how it is run.
    let program = line?.trim_start_matches(['-', '@', ':', '+', '!']).split_whitespace().next()?;
    let is_program =
        fs::metadata(program).is_ok_and(|of| of.is_file() && of.permissions().mode() & 0o111 != 0);
    Some(if is_program {
        Check::good(NAME, format!("{shown} runs {program}"))
    } else {
        let advice = "install memod there (`make install PREFIX=..`), or correct the unit";
        Check::failed(NAME, format!("{shown} runs {program}, which is no program"), advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn the_kernels_table_of_limits_is_read() {
        let table = "Limit            Soft Limit   Hard Limit   Units\n\
                     Max processes    96019        96019        processes\n\
                     Max open files   1024         524288       files\n";
        assert_eq!(open_files(table), Some(1024));
        assert_eq!(open_files("Max open files   unlimited  unlimited  files"), Some(u64::MAX));
        assert_eq!(open_files("nothing"), None);
        let own = fs::read_to_string("/proc/self/limits").expect("the kernel has it");
        assert!(open_files(&own).is_some());
    }

    #[test]
    fn too_few_descriptors_are_told() {
        assert_eq!(descriptors(524_288, 4096).verdict, Verdict::Good);
        let few = descriptors(1024, 4096);
        assert_eq!(few.verdict, Verdict::Warning);
        assert!(few.advice.expect("advice").contains("LimitNOFILE=5264"));
    }

    #[test]
    fn a_directory_that_is_not_ours_alone_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(private("x", folder.path()).verdict, Verdict::Good);
        assert_eq!(private("x", &folder.path().join("a/b")).verdict, Verdict::Good);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o775)).expect("a mode");
        assert_eq!(private("x", folder.path()).verdict, Verdict::Failed);
        assert_eq!(private("x", Path::new("/etc/passwd/x")).verdict, Verdict::Failed);
    }

    #[test]
    fn a_unit_that_runs_nothing_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = || [folder.path().to_owned()];
        assert_eq!(units_in(place())[0].verdict, Verdict::Good, "none is there");
        let write = |line: &str| {
            let text = format!("[Service]\n{line}\n");
            fs::write(folder.path().join("memod.service"), text).expect("a unit");
        };
        write("ExecStart=/nowhere/memod serve");
        assert_eq!(units_in(place())[0].verdict, Verdict::Failed);
        write("ExecStart=-/bin/sh serve");
        assert_eq!(units_in(place())[0].verdict, Verdict::Good);
    }
}
