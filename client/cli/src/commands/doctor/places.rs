//! The socket and the data directory: who owns them, who may write to them, how full the disk is.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::Check;
use crate::output::units;

/// Below this much free space, whatever its share, the disk is nearly full.
const FREE_BYTES_LOW: u64 = 1024 * 1024 * 1024;
/// Below this much free space it is full, for all purposes.
const FREE_BYTES_NONE: u64 = 64 * 1024 * 1024;

/// The checks of a socket that is there, and of its directory.
pub(super) fn socket(path: &Path) -> Vec<Check> {
    const NAME: &str = "socket";
    let shown = path.display();
    let mut checks = Vec::new();
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            let found = format!("{shown}, {}", owner_and_mode(&metadata));
            checks.push(Check::good(NAME, found));
        }
        Ok(_) => {
            let advice = "remove it, or name another socket with --socket or $MEMOD_SOCKET";
            checks.push(Check::failed(NAME, format!("{shown} is no socket"), advice));
        }
        Err(error) => checks.push(unseen(NAME, path, &error)),
    }
    if let Some(directory) = path.parent() {
        checks.push(socket_directory(directory));
    }
    checks
}

/// Who can write to the directory of a socket can put another daemon's there.
fn socket_directory(path: &Path) -> Check {
    const NAME: &str = "socket directory";
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return unseen(NAME, path, &error),
    };
    let found = format!("{}, {}", path.display(), owner_and_mode(&metadata));
    let is_sticky = metadata.mode() & 0o1000 != 0;
    if metadata.mode() & 0o002 != 0 && !is_sticky {
        let advice = format!("others can put their own daemon there: chmod o-w {}", path.display());
        return Check::failed(NAME, found, advice);
    }
    Check::good(NAME, found)
}

/// The checks of a data directory, which the daemon's user owns if there is a daemon.
pub(super) fn data(path: &Path, daemon_uid: Option<u32>) -> Vec<Check> {
    const NAME: &str = "data directory";
    let shown = path.display();
    let mut checks = Vec::new();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            let advice = "name another with --data, or move the file away";
            checks.push(Check::failed(NAME, format!("{shown} is no directory"), advice));
        }
        Ok(metadata) => {
            let found = format!("{shown}, {}", owner_and_mode(&metadata));
            let owner = daemon_uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
            checks.push(if metadata.uid() != owner {
                Check::failed(
                    NAME,
                    found,
                    format!("let user {owner} own it: chown -R {owner} {shown}"),
                )
            } else if metadata.mode() & 0o077 != 0 {
                let advice = format!("others may see what is stored: chmod go= {shown}");
                Check::warning(NAME, found, advice)
            } else {
                Check::good(NAME, found)
            });
            checks.extend(damage(path));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            checks.push(Check::good(NAME, format!("{shown} will be made")));
        }
        Err(error) => checks.push(unseen(NAME, path, &error)),
    }
    checks.push(disk(path));
    checks
}

/// What a damaged store has left behind.
fn damage(data: &Path) -> Option<Check> {
    const NAME: &str = "damage";
    if data.join("damaged").exists() {
        let advice = "save what is good with `memo export`, restart the daemon with `--on-damage \
                      set_aside`, then `memo import`";
        return Some(Check::failed(NAME, "the store has refused changes", advice));
    }
    let entries = fs::read_dir(data).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let aside: Vec<String> = names.filter(|name| name.starts_with("damaged-")).collect();
    if aside.is_empty() {
        return None;
    }
    let found = format!("set aside in {}: {}", data.display(), aside.join(", "));
    Some(Check::warning(NAME, found, "remove them when nothing in them is wanted any more"))
}

fn disk(path: &Path) -> Check {
    const NAME: &str = "disk";
    let there = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    match statvfs(there) {
        Ok(of) => {
            let unit = of.fragment_size();
            let free = of.blocks_available().saturating_mul(unit);
            space(free, of.blocks().saturating_mul(unit))
        }
        Err(error) => unseen(NAME, there, &error.into()),
    }
}

fn space(free: u64, total: u64) -> Check {
    const NAME: &str = "disk";
    let found = format!("{} of {} are free", units::bytes(free), units::bytes(total));
    let advice = "make room, or name a data directory on another disk";
    if free < FREE_BYTES_NONE {
        Check::failed(NAME, found, advice)
    } else if free < FREE_BYTES_LOW.min(total / 20) {
        Check::warning(NAME, found, advice)
    } else {
        Check::good(NAME, found)
    }
}

fn owner_and_mode(metadata: &Metadata) -> String {
    format!("of user {}, mode {:04o}", metadata.uid(), metadata.mode() & 0o7777)
}

/// Something that cannot be looked at: if that is forbidden, it is another user's affair.
fn unseen(name: &'static str, path: &Path, error: &io::Error) -> Check {
    let found = format!("{} cannot be looked at: {error}", path.display());
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Check::good(name, found);
    }
    Check::failed(name, found, "see that it is there and that you may reach it")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::commands::doctor::Verdict;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn verdicts(checks: &[Check]) -> Vec<(&'static str, Verdict)> {
        checks.iter().map(|check| (check.name, check.verdict)).collect()
    }

    #[test]
    fn a_socket_in_a_directory_of_everybodys_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("memod.sock");
        let good = [("socket", Verdict::Good), ("socket directory", Verdict::Good)];
        let _listener = UnixListener::bind(&path).expect("a socket");
        assert_eq!(verdicts(&socket(&path)), good);
        set_mode(folder.path(), 0o777);
        let checks = socket(&path);
        assert_eq!(checks[1].verdict, Verdict::Failed);
        assert!(checks[1].advice.as_deref().expect("advice").contains("chmod o-w"));
        set_mode(folder.path(), 0o1777);
        assert_eq!(verdicts(&socket(&path)), good, "nobody can replace it there");
    }

    #[test]
    fn a_file_is_no_socket() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(socket(file.path())[0].verdict, Verdict::Failed);
        assert_eq!(socket(&file.path().with_extension("gone"))[0].verdict, Verdict::Failed);
    }

    #[test]
    fn data_that_others_may_see_or_own_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let uid = nix::unistd::geteuid().as_raw();
        set_mode(folder.path(), 0o700);
        assert_eq!(data(folder.path(), Some(uid))[0].verdict, Verdict::Good);
        set_mode(folder.path(), 0o755);
        assert_eq!(data(folder.path(), Some(uid))[0].verdict, Verdict::Warning);
        assert_eq!(data(folder.path(), Some(uid + 1))[0].verdict, Verdict::Failed);
        assert_eq!(data(&folder.path().join("new/one"), None)[0].verdict, Verdict::Good);
    }

    #[test]
    fn what_a_damaged_store_left_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(damage(folder.path()), None);
        fs::create_dir(folder.path().join("damaged-2026-11-22")).expect("a folder");
        let aside = damage(folder.path()).expect("a check");
        assert_eq!(aside.verdict, Verdict::Warning);
        assert!(aside.found.contains("damaged-2026-11-22"), "{aside:?}");
        fs::write(folder.path().join("damaged"), "why").expect("a file");
        assert_eq!(damage(folder.path()).expect("a check").verdict, Verdict::Failed);
    }

    #[test]
    fn a_full_disk_is_told_before_it_is_full() {
        const GIB: u64 = 1 << 30;
        assert_eq!(space(500 * GIB, 1000 * GIB).verdict, Verdict::Good);
        assert_eq!(space(2 * GIB, 1000 * GIB).verdict, Verdict::Good);
        assert_eq!(space(GIB - 1, 1000 * GIB).verdict, Verdict::Warning);
        assert_eq!(space(GIB / 4, 4 * GIB).verdict, Verdict::Good, "a small disk");
        assert_eq!(space(1 << 20, 1000 * GIB).verdict, Verdict::Failed);
    }
}
