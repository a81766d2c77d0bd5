//! Data directories that are not there, not ours, or not usable.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use harness::{Daemon, Setup, call};
use memod_protocol::{PutOutcome, Request, Response};
use nix::sys::signal::Signal;

use super::assert_refused;

/// What a daemon says that is to store here instead.
fn refused_at(data: &Path) -> (i32, String) {
    let mut daemon = Setup::new().prepare();
    daemon.store_in(data);
    let ended = daemon.refused();
    assert!(!daemon.socket().exists(), "it has no store and listens");
    ended
}

#[test]
fn a_missing_data_directory_is_made_with_its_parents() {
    let mut daemon = Setup::new().prepare();
    let deep = daemon.folder().join("a/b/c");
    daemon.store_in(&deep);
    daemon.start().unwrap();
    let stored = call("deep");
    assert_eq!(daemon.connect().put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    assert!(deep.join("lock").is_file());
    let mode = fs::metadata(&deep).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "what others compute is not for everybody: {mode:o}");
    assert!(daemon.stop().success());
    daemon.start().unwrap();
    assert!(daemon.connect().lookup(&stored).is_ok());
}

#[test]
fn another_users_data_directory_is_refused_also_for_root() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("only root can give a folder away: this is not tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(12_345), None).unwrap();
    let path = folder.path().display().to_string();
    let parts = [path.as_str(), "belongs to user 12345", "this is user 0", "chown -R 0"];
    assert_refused(refused_at(folder.path()), 1, &parts);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written there");
}

#[test]
fn a_data_directory_that_others_can_write_is_warned_of() {
    let mut daemon = Setup::new().prepare();
    let open = daemon.folder().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    daemon.store_in(&open);
    daemon.start().unwrap();
    let log = daemon.log();
    assert!(log.contains("others than its owner can write") && log.contains("go-w"), "{log}");
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, "somebody's").unwrap();
    let path = file.display().to_string();
    let refused = refused_at(&file);
    assert_eq!(refused.1.matches(&path).count(), 1, "it is said once: {}", refused.1);
    assert_refused(refused, 1, &[&path, "is not a directory", "name another"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's");
    let below = file.join("below");
    assert_refused(refused_at(&below), 1, &[&below.display().to_string(), "name another"]);
}

#[test]
fn a_directory_with_something_else_in_it_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    let path = folder.path().display().to_string();
    let parts = [path.as_str(), "is not a memod store", "`thesis.tex`", "an empty or a new"];
    assert_refused(refused_at(folder.path()), 1, &parts);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap()).collect();
    assert_eq!(names.len(), 1, "nothing was added: {names:?}");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    // Neither is writable for anybody, root included.
    for place in ["/proc/memod", "/sys/memod"] {
        let refused = refused_at(Path::new(place));
        for once in [place, "(os error"] {
            assert_eq!(refused.1.matches(once).count(), 1, "it is said once: {}", refused.1);
        }
        assert_refused(refused, 1, &[place, "name a"]);
    }
}

#[test]
fn a_second_daemon_on_the_same_store_is_refused_with_the_first_ones_process() {
    let mut first = Daemon::new();
    let mut raw = first.connect();
    let stored = call("first");
    assert_eq!(raw.put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    let process = format!("process {}", first.pid());
    let path = first.data().display().to_string();
    let parts = [path.as_str(), "in use by", &process, "stop that daemon"];
    assert_refused(refused_at(&first.data()), 1, &parts);
    assert!(raw.lookup(&stored).is_ok(), "the first one notices nothing");
    drop(raw);
    // Nor does a daemon that was killed keep the store.
    first.kill();
    first.start().unwrap();
    assert!(first.connect().lookup(&stored).is_ok());
    first.signal(Signal::SIGTERM);
    assert!(first.wait().success());
}

#[test]
fn a_damaged_store_is_refused_with_advice_and_left_as_it_is() {
    let mut daemon = Daemon::new();
    assert!(daemon.stop().success());
    let database = daemon.data().join("rocksdb");
    let named = fs::read_to_string(database.join("CURRENT")).unwrap();
    let list = database.join(named.trim());
    let damaged = fs::read(&list).unwrap().into_iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
    fs::write(&list, &damaged).unwrap();
    let path = daemon.data().display().to_string();
    let parts = [path.as_str(), "is damaged", "move the directory away"];
    assert_refused(daemon.refused(), 1, &parts);
    assert_eq!(fs::read(&list).unwrap(), damaged);
    assert_eq!(fs::read_to_string(database.join("CURRENT")).unwrap(), named);
}

#[test]
fn a_store_keeps_its_identity_and_its_entries_over_a_restart() {
    let mut daemon = Daemon::new();
    let identity =
        |daemon: &Daemon| match daemon.connect().ask(Request::Status, Bytes::new()).response {
            Response::Status(status) => (status.store_id, status.store_format),
            other => panic!("a status was due, not {other:?}"),
        };
    let before = identity(&daemon);
    let stored = call("kept");
    assert_eq!(daemon.connect().put(stored.put(&[("o0", b"kept")])), PutOutcome::Populated);
    assert!(daemon.stop().success());
    daemon.start().unwrap();
    assert_eq!(identity(&daemon), before);
    let (_, contents) = daemon.connect().lookup(&stored).unwrap();
    assert_eq!(contents, ["kept"]);
    assert_ne!(identity(&Daemon::new()), before, "another store is another");
}
