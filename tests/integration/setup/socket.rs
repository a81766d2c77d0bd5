//! Socket paths that are too long, taken, or left over.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::Path;

use harness::{Daemon, Setup, call};
use memod_protocol::PutOutcome;
use nix::unistd::Uid;

use super::assert_refused;

#[test]
fn a_socket_path_that_is_too_long_is_refused_and_one_that_just_fits_is_not() {
    let mut daemon = Setup::new().prepare();
    let folder = daemon.folder().as_os_str().len();
    let longest = daemon.folder().join("s".repeat(107 - folder - 1));
    let too_long = daemon.folder().join("s".repeat(108 - folder - 1));
    let path = too_long.display().to_string();
    daemon.listen_on(&too_long);
    assert_refused(daemon.refused(), 2, &[&path, "108 bytes long", "allow 107", "--socket"]);
    daemon.listen_on(&longest);
    daemon.start().unwrap();
    assert!(daemon.connect().ping());
}

#[test]
fn a_dead_daemons_socket_is_taken_over() {
    let mut daemon = Daemon::new();
    let stored = call("before");
    assert_eq!(daemon.connect().put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    daemon.kill();
    let left = fs::symlink_metadata(daemon.socket()).expect("the socket is left over");
    assert!(left.file_type().is_socket());
    daemon.start().unwrap();
    assert!(daemon.connect().lookup(&stored).is_ok());
    assert!(daemon.stop().success());
    assert!(!daemon.socket().exists(), "an orderly end leaves no socket");
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let daemon = Setup::new().prepare();
    let path = daemon.socket().display().to_string();
    let parts = [path.as_str(), "is not a socket", "--socket"];
    fs::write(daemon.socket(), "somebody's").unwrap();
    assert_refused(daemon.refused(), 1, &parts);
    assert_eq!(fs::read_to_string(daemon.socket()).unwrap(), "somebody's");
    fs::remove_file(daemon.socket()).unwrap();
    fs::create_dir(daemon.socket()).unwrap();
    assert_refused(daemon.refused(), 1, &parts);
    assert!(daemon.socket().is_dir());
    fs::remove_dir(daemon.socket()).unwrap();
    std::os::unix::fs::symlink("/nowhere", daemon.socket()).unwrap();
    assert_refused(daemon.refused(), 1, &parts);
}

#[test]
fn a_second_daemon_on_the_same_socket_is_refused_and_the_first_one_stays() {
    let first = Daemon::new();
    let mut raw = first.connect();
    let path = first.socket().display().to_string();
    let mut second = Setup::new().prepare();
    second.listen_on(&first.socket());
    let process = format!("process {}", first.pid());
    assert_refused(second.refused(), 1, &[&path, "another memod", &process, "--socket"]);
    assert!(raw.ping());
    assert!(first.connect().ping(), "the path still leads to the first");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let mut daemon = Setup::new().prepare();
    daemon.listen_on(Path::new("/proc/memod/a.sock"));
    assert_refused(
        daemon.refused(),
        1,
        &["cannot create /proc/memod, the directory of the socket"],
    );
    let mut deep = Setup::new().prepare();
    let path = deep.folder().join("a/b/memod.sock");
    deep.listen_on(&path);
    deep.start().unwrap();
    assert!(deep.connect().ping(), "one that can be made is made");
}

#[test]
fn the_socket_is_its_owners_alone_unless_told_otherwise() {
    let daemon = Daemon::new();
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let mut daemon = Daemon::new();
    assert!(daemon.stop().success());
    let folder = daemon.folder().join("run");
    fs::create_dir(&folder).unwrap();
    daemon.listen_on(&folder.join("memod.sock"));
    let mode = |mode| fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    let is_refused = |daemon: &Daemon| {
        let (code, said) = daemon.refused();
        assert_eq!(code, 1, "{said}");
        let told = format!("others can write {}, the directory of the socket", folder.display());
        assert!(said.contains(&told) && said.contains("chmod go-w"), "{said}");
        assert!(!folder.join("memod.sock").exists());
    };
    for open in [0o777, 0o757, 0o702] {
        mode(open);
        is_refused(&daemon);
    }
    // One's own group is one's own; in a sticky directory nobody replaces another's files.
    for good in [0o700, 0o755, 0o775, 0o1777] {
        mode(good);
        daemon.start().unwrap();
        assert!(daemon.connect().ping());
        assert!(daemon.stop().success());
    }
    // Who can write above it can put another directory in its place.
    let above = folder.join("above");
    let below = above.join("run");
    fs::create_dir_all(&below).unwrap();
    daemon.listen_on(&below.join("memod.sock"));
    for open in [0o777, 0o757] {
        fs::set_permissions(&above, Permissions::from_mode(open)).unwrap();
        let (code, said) = daemon.refused();
        let told = format!("others can write {}, above the directory", above.display());
        assert!(code == 1 && said.contains(&told), "{said}");
    }
    for good in [0o755, 0o1777] {
        fs::set_permissions(&above, Permissions::from_mode(good)).unwrap();
        daemon.start().unwrap();
        assert!(daemon.stop().success());
    }
    daemon.listen_on(&folder.join("memod.sock"));
    if Uid::effective().is_root() {
        // Another's group, and another's directory, are not.
        mode(0o775);
        chown(&folder, None, Some(20_001)).unwrap();
        is_refused(&daemon);
        mode(0o755);
        daemon.start().unwrap();
        assert!(daemon.stop().success());
        chown(&folder, Some(20_001), None).unwrap();
        is_refused(&daemon);
    }
}

#[test]
fn a_link_that_others_can_replace_is_refused() {
    let mut daemon = Setup::new().prepare();
    let (open, safe) = (daemon.folder().join("open"), daemon.folder().join("safe"));
    for directory in [&open, &safe] {
        fs::create_dir(directory).unwrap();
    }
    let link = open.join("link");
    std::os::unix::fs::symlink(&safe, &link).unwrap();
    daemon.listen_on(&link.join("memod.sock"));
    let mode = |mode| fs::set_permissions(&open, Permissions::from_mode(mode)).unwrap();
    for bad in [0o777, 0o757] {
        mode(bad);
        let told = format!("others can write {}, above the directory", open.display());
        assert_refused(daemon.refused(), 1, &[&told, "--socket"]);
        assert!(!safe.join("memod.sock").exists());
    }
    for good in [0o755, 0o1777] {
        mode(good);
        daemon.start().unwrap();
        assert!(daemon.connect().ping());
        assert!(daemon.stop().success());
    }
    if Uid::effective().is_root() {
        std::os::unix::fs::lchown(&link, Some(20_001), None).unwrap();
        let told = format!("{}, through which the path of the socket leads", link.display());
        assert_refused(daemon.refused(), 1, &[&told, "link of user 20001", "--socket"]);
    }
}

#[test]
fn a_metrics_socket_that_others_can_replace_names_its_setting() {
    let setup = Setup::new().prepare();
    let open = setup.folder().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let metrics = format!("metrics = {:?}", open.join("m.sock"));
    let daemon = Setup::new().config(metrics).prepare();
    let (code, said) = daemon.refused();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("choose another `metrics`") && !said.contains("--socket"), "{said}");
}
