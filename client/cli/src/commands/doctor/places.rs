//! The socket and the data directory: who owns them, who may write to them, how full the disk is.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use memod_client::address::{Step, route};
use memod_protocol::shell::quoted;
use nix::sys::statvfs::statvfs;

use super::{Check, database};
use crate::output::units;

/// Below this much free space, whatever its share, the disk is nearly full.
const FREE_BYTES_LOW: u64 = 1024 * 1024 * 1024;
/// Below this much free space it is full, for all purposes.
const FREE_BYTES_NONE: u64 = 64 * 1024 * 1024;

/// What to do about what this user may not see.
pub(super) const AS_WHOM: &str = "run `memo doctor` as the daemon's user, or as root";

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
        // Of a bare name.
        let is_here = directory.as_os_str().is_empty();
        let directory = if is_here { Path::new(".") } else { directory };
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
        let advice = format!("others can put their own daemon there: chmod o-w {}", quoted(path));
        return Check::failed(NAME, found, advice);
    }
    exposed(NAME, path).unwrap_or_else(|| Check::good(NAME, found))
}

/// A check that fails if others can put something else in the place of a directory: because they
/// can write to one above it, or to one in which a link to it stands, or because the link is
/// theirs.
pub(super) fn exposed(name: &'static str, path: &Path) -> Option<Check> {
    let there = path.ancestors().find(|above| above.exists())?;
    let mut steps = route(there).ok()?;
    if there == path {
        // It has been looked at for itself.
        steps.pop();
    }
    let own = nix::unistd::geteuid().as_raw();
    let mut holder = 0;
    for step in &steps {
        let Step { path: on_the_way, metadata } = step;
        let (shown, path) = (on_the_way.display(), path.display());
        let (uid, mode) = (metadata.uid(), metadata.mode());
        if step.is_link() {
            // Whose directory it is can replace the link in any case.
            if ![0, own, holder].contains(&uid) {
                let found = format!("{path} leads through {shown}, a link of user {uid}");
                let advice =
                    format!("that user can have it lead elsewhere: rm {}", quoted(on_the_way));
                return Some(Check::failed(name, found, advice));
            }
            continue;
        }
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            let found = format!("{path} is below {shown}, to which everybody can write");
            let advice =
                format!("others can put their own in its place: chmod o-w {}", quoted(on_the_way));
            return Some(Check::failed(name, found, advice));
        }
        holder = uid;
    }
    None
}

/// Who should own a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// This user.
    Ours,
    /// The user of the daemon.
    User(u32),
    /// Whoever it is: nobody says.
    Any,
    /// Whoever it is, though this user asks.
    Named,
}

/// The checks of a data directory; `reserve`: bytes that its daemon keeps free on the disk.
pub(super) fn data(path: &Path, whose: Owner, reserve: Option<u64>) -> Vec<Check> {
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
            let own = nix::unistd::geteuid().as_raw();
            let owner = match whose {
                Owner::Ours => own,
                Owner::User(uid) => uid,
                Owner::Any | Owner::Named => metadata.uid(),
            };
            checks.push(if metadata.uid() != owner {
                Check::failed(
                    NAME,
                    found,
                    format!("let user {owner} own it: chown -R {owner} {}", quoted(path)),
                )
            } else if metadata.mode() & 0o022 != 0 {
                let advice =
                    format!("others can change what is stored: chmod go= {}", quoted(path));
                Check::failed(NAME, found, advice)
            } else if let Some(exposed) = exposed(NAME, path) {
                exposed
            } else if owner != own && whose == Owner::Named {
                let advice = format!("only a daemon of user {owner} opens it, none of user {own}");
                Check::warning(NAME, found, advice)
            } else if metadata.mode() & 0o077 != 0 {
                let advice = format!("others may see what is stored: chmod go= {}", quoted(path));
                Check::warning(NAME, found, advice)
            } else {
                Check::good(NAME, found)
            });
            checks.extend(database::damage(path));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = || Check::good(NAME, format!("{shown} will be made"));
            checks.push(exposed(NAME, path).unwrap_or_else(made));
        }
        Err(error) => checks.push(unseen(NAME, path, &error)),
    }
    checks.push(disk(path, reserve));
    checks
}

fn disk(path: &Path, reserve: Option<u64>) -> Check {
    const NAME: &str = "disk";
    let there = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    match statvfs(there) {
        Ok(of) => {
            let unit = of.fragment_size();
            let free = of.blocks_available().saturating_mul(unit);
            space(free, of.blocks().saturating_mul(unit), reserve)
        }
        Err(error) => unseen(NAME, there, &error.into()),
    }
}

fn space(free: u64, total: u64, reserve: Option<u64>) -> Check {
    const NAME: &str = "disk";
    let found = format!("{} of {} are free", units::bytes(free), units::bytes(total));
    let advice = "make room, or name a data directory on another disk";
    if let Some(reserve) = reserve {
        let found = format!("{found}, {} are kept in reserve", units::bytes(reserve));
        let advice = "make room, or set a smaller disk_reserve_bytes";
        return if free < reserve {
            Check::failed(NAME, format!("{found}, so nothing is stored"), advice)
        } else if free / 2 < reserve {
            Check::warning(NAME, found, advice)
        } else {
            Check::good(NAME, found)
        };
    }
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

/// Something that cannot be looked at: if that is forbidden, others may be able to.
pub(super) fn unseen(name: &'static str, path: &Path, error: &io::Error) -> Check {
    let found = format!("{} cannot be looked at: {error}", path.display());
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Check::warning(name, found, AS_WHOM);
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
    fn a_link_that_others_can_replace_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let (open, safe) = (folder.path().join("open"), folder.path().join("safe"));
        for directory in [&open, &safe] {
            fs::create_dir(directory).expect("a folder");
            set_mode(directory, 0o700);
        }
        let link = open.join("link");
        std::os::unix::fs::symlink(&safe, &link).expect("a link");
        let verdict = || data(&link, Owner::Ours, None)[0].verdict;
        assert_eq!(verdict(), Verdict::Good);
        set_mode(&open, 0o777);
        assert_eq!(verdict(), Verdict::Failed, "the link can be replaced");
        set_mode(&open, 0o1777);
        assert_eq!(verdict(), Verdict::Good, "only by its owner");
        // Only root can make a link that is another's.
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(12_345), None).expect("another owner");
            let check = exposed("x", &link).expect("its owner can replace it");
            assert!(check.found.contains("a link of user 12345"), "{}", check.found);
        }
    }

    #[test]
    fn a_directory_that_everybody_can_replace_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("below");
        let verdict = || data(&path, Owner::Ours, None)[0].verdict;
        for mode in [0o700, 0o777, 0o1777] {
            set_mode(folder.path(), mode);
            let expected = if mode == 0o777 { Verdict::Failed } else { Verdict::Good };
            assert_eq!(verdict(), expected, "mode {mode:o}, and it will be made");
            fs::create_dir(&path).expect("a folder");
            set_mode(&path, 0o700);
            assert_eq!(verdict(), expected, "mode {mode:o}");
            fs::remove_dir(&path).expect("it is empty");
        }
    }

    #[test]
    fn a_socket_without_a_directory_is_looked_for_here() {
        let checks = socket(Path::new("memod-of-nobody.sock"));
        assert_eq!(checks[1].name, "socket directory");
        assert!(checks[1].found.starts_with("., of user"), "{}", checks[1].found);
    }

    #[test]
    fn what_is_forbidden_to_look_at_is_a_warning() {
        let forbidden = io::Error::from(io::ErrorKind::PermissionDenied);
        let check = unseen("x", Path::new("/x"), &forbidden);
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.advice.is_some());
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
        assert_eq!(data(folder.path(), Owner::User(uid), None)[0].verdict, Verdict::Good);
        set_mode(folder.path(), 0o755);
        assert_eq!(data(folder.path(), Owner::User(uid), None)[0].verdict, Verdict::Warning);
        assert_eq!(data(folder.path(), Owner::User(uid + 1), None)[0].verdict, Verdict::Failed);
        assert_eq!(data(folder.path(), Owner::Any, None)[0].verdict, Verdict::Warning);
        assert_eq!(
            data(&folder.path().join("new/one"), Owner::Ours, None)[0].verdict,
            Verdict::Good
        );
        set_mode(folder.path(), 0o777);
        assert_eq!(data(folder.path(), Owner::User(uid), None)[0].verdict, Verdict::Failed);
    }

    #[test]
    fn a_full_disk_is_told_before_it_is_full() {
        const GIB: u64 = 1 << 30;
        assert_eq!(space(500 * GIB, 1000 * GIB, None).verdict, Verdict::Good);
        assert_eq!(space(2 * GIB, 1000 * GIB, None).verdict, Verdict::Good);
        assert_eq!(space(GIB - 1, 1000 * GIB, None).verdict, Verdict::Warning);
        assert_eq!(space(GIB / 4, 4 * GIB, None).verdict, Verdict::Good, "a small disk");
        assert_eq!(space(1 << 20, 1000 * GIB, None).verdict, Verdict::Failed);
    }

    #[test]
    fn a_daemons_reserve_says_whether_its_disk_is_full() {
        let verdict = |free, reserve| space(free, 100 << 20, Some(reserve)).verdict;
        assert_eq!(verdict(40 << 20, 5 << 20), Verdict::Good);
        assert_eq!(verdict(9 << 20, 5 << 20), Verdict::Warning);
        assert_eq!(verdict(4 << 20, 5 << 20), Verdict::Failed);
        assert_eq!(verdict(0, 0), Verdict::Good, "which keeps nothing free");
    }
}
