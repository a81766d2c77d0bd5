//! Opening, and refusing to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use memod_store::{Found, OnDamage, OpenError, Options, Store};

use crate::harness::*;

fn refusal(path: impl Into<std::path::PathBuf>) -> OpenError {
    Store::open(&Options::new(path)).unwrap_err()
}

#[test]
fn a_folder_that_is_missing_is_made_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/with parents");
    drop(open_in(&path));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_second_store_in_the_same_folder_is_refused_with_the_process() {
    let store = open();
    let error = refusal(store.folder.path());
    let OpenError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    // The refused one has harmed nothing.
    put(&store, 1, &[content(1, 10)]);
    assert_hit(&store.reopen(), 1, &[content(1, 10)]);
}

/// Who comes next and finds it left behind waits before it changes anything (semantics 24).
#[test]
fn s24_the_lock_says_whether_its_process_ended_in_order() {
    let store = open();
    put(&store, 1, &[content(1, 10)]);
    let TestStore { store, folder } = store;
    let lock = folder.path().join("lock");
    assert_eq!(fs::read_to_string(&lock).unwrap().trim(), std::process::id().to_string());
    drop(store);
    assert_eq!(fs::read(&lock).unwrap(), b"flushed\n");
    fs::write(&lock, "1\n").unwrap();
    let store = TestStore { store: open_in(folder.path()), folder };
    assert_hit(&store, 1, &[content(1, 10)]);
    put(&store, 2, &[content(2, 10)]);
}

#[test]
fn a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(refusal(&file), OpenError::NotADirectory { path } if path == file));
    let below = refusal(file.join("below"));
    assert!(matches!(&below, OpenError::NotADirectory { path } if *path == file), "{below}");
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    let error = refusal(folder.path());
    assert!(matches!(&error, OpenError::NotOurs { example, .. } if example == "thesis.txt"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_folders_of_the_daemon_are_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("run")).unwrap();
    fs::create_dir(folder.path().join("rocksdb")).unwrap();
    drop(open_in(folder.path()));
}

#[test]
fn a_folder_that_cannot_be_made_is_told_with_what_to_do() {
    let error = refusal("/proc/memod/store");
    assert!(matches!(&error, OpenError::CannotCreate { .. }), "{error}");
    assert!(error.to_string().contains("data directory"), "{error}");
}

#[test]
fn a_damaged_database_is_told_and_not_made_anew() {
    let store = open();
    put(&store, 1, &[content(1, 100_000)]);
    let TestStore { store, folder } = store;
    drop(store);
    fs::write(list_of_files(folder.path()), "nonsense").unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    fs::remove_file(folder.path().join("rocksdb/CURRENT")).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

/// The list of files of a store's database.
fn list_of_files(store: &Path) -> PathBuf {
    let files = fs::read_dir(store.join("rocksdb")).unwrap();
    let mut paths = files.map(|entry| entry.unwrap().path());
    let is_list =
        |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST");
    paths.find(is_list).unwrap()
}

/// The folders into which databases of this store have been moved.
fn aside(store: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let is_aside =
        |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("damaged-");
    paths.filter(is_aside).collect()
}

fn setting_aside(path: &Path) -> Options {
    Options { on_damage: OnDamage::SetAside, ..options(path) }
}

#[test]
fn a_damaged_database_is_set_aside_if_that_is_wanted_and_every_time() {
    let TestStore { store, folder } = open();
    let id = store.id().to_owned();
    put(&store, 1, &[content(1, 10)]);
    drop(store);
    for times in 1..=2 {
        fs::write(list_of_files(folder.path()), "nonsense").unwrap();
        let error = refusal(folder.path());
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert_eq!(aside(folder.path()).len(), times - 1, "a refusal leaves it where it is");
        let store = Store::open(&setting_aside(folder.path())).unwrap();
        assert!(matches!(lookup(&store, 1), Found::Unknown));
        assert_ne!(store.id(), id, "it is another store");
        put(&store, 2, &[content(2, 10)]);
        assert_hit(&store, 2, &[content(2, 10)]);
        assert_sound(&store);
        let moved = aside(folder.path());
        assert_eq!(moved.len(), times);
        for moved in &moved {
            assert_eq!(fs::read(list_of_files(moved)).unwrap(), b"nonsense");
        }
    }
    // What has been set aside is no hindrance.
    assert_hit(&open_in(folder.path()), 2, &[content(2, 10)]);
}

#[test]
fn what_is_not_damaged_is_never_set_aside() {
    let store = open();
    let path = store.folder.path();
    let error = Store::open(&setting_aside(path)).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("thesis.txt"), "x").unwrap();
    let error = Store::open(&setting_aside(other.path())).unwrap_err();
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    for path in [path, other.path()] {
        assert_eq!(aside(path), Vec::<PathBuf>::new());
    }
    let TestStore { store, folder } = store;
    put(&store, 1, &[content(1, 10)]);
    drop(store);
    let store = Store::open(&setting_aside(folder.path())).unwrap();
    assert_hit(&store, 1, &[content(1, 10)]);
}

#[test]
fn a_log_without_a_list_of_files_is_damage() {
    // `kill -9` leaves everything in the log.
    let store = open();
    put(&store, 1, &[content(1, 100)]);
    store.settle().unwrap();
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("rocksdb")).unwrap();
    for entry in fs::read_dir(store.folder.path().join("rocksdb")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name != "CURRENT" && !name.to_string_lossy().starts_with("MANIFEST") {
            fs::copy(&path, copy.path().join("rocksdb").join(name)).unwrap();
        }
    }
    let error = refusal(copy.path()).to_string();
    assert!(error.contains("rocksdb/CURRENT is missing"), "{error}");
}

#[test]
fn another_users_folder_is_refused_and_nothing_is_written_there() {
    let folder = tempfile::tempdir().unwrap();
    let own = nix::unistd::Uid::effective();
    let path = if own.is_root() {
        std::os::unix::fs::chown(folder.path(), Some(12_345), None).unwrap();
        folder.path()
    } else {
        Path::new("/")
    };
    let error = refusal(path);
    assert!(matches!(error, OpenError::NotOwned { .. }), "{error}");
    assert!(error.to_string().contains(&format!("this is user {own}")), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    if own.is_root() {
        std::os::unix::fs::chown(folder.path(), Some(0), None).unwrap();
        drop(open_in(folder.path()));
        // Nor is a database of another user's in it opened.
        std::os::unix::fs::chown(folder.path().join("rocksdb"), Some(12_345), None).unwrap();
        assert!(matches!(refusal(folder.path()), OpenError::NotOwned { owner: 12_345, .. }));
    }
}

#[derive(Clone, Copy)]
enum LogFault {
    None,
    Flipped,
    Gone,
}

#[test]
fn a_log_that_is_damaged_or_gone_is_told_of() {
    let store = open();
    for number in 0..20 {
        put(&store, number, &[content(number, 10_000)]);
    }
    let copy = |fault: LogFault| {
        let to = tempfile::tempdir().unwrap();
        fs::create_dir(to.path().join("rocksdb")).unwrap();
        for file in fs::read_dir(store.folder.path().join("rocksdb")).unwrap() {
            let from = file.unwrap().path();
            let mut bytes = fs::read(&from).unwrap();
            if from.extension().is_some_and(|of| of == "log") {
                let middle = bytes.len() / 2;
                match fault {
                    LogFault::None => {}
                    LogFault::Flipped => bytes[middle] ^= 1,
                    LogFault::Gone => continue,
                }
            }
            fs::write(to.path().join("rocksdb").join(from.file_name().unwrap()), bytes).unwrap();
        }
        let store = open_in(to.path());
        TestStore { store, folder: to }
    };
    let whole = copy(LogFault::None);
    assert_eq!(whole.left_out(), Vec::<String>::new());
    assert_eq!(whole.counters().entries, 20);
    let damaged = copy(LogFault::Flipped);
    assert!((5..15).contains(&damaged.counters().entries), "{:?}", damaged.counters());
    let [told, ..] = damaged.left_out() else { panic!("nothing is told") };
    assert!(told.contains(".log") && told.contains(" bytes; Corruption"), "{told}");
    assert_hit(&damaged, 0, &[content(0, 10_000)]);
    let gone = copy(LogFault::Gone);
    assert_eq!(gone.counters().entries, 0, "all stood in the log only");
    let [told] = gone.left_out() else { panic!("nothing is told") };
    assert!(told.contains("there is no log at all"), "{told}");
    put(&gone, 0, &[content(0, 100)]);
}

#[test]
fn a_database_that_is_no_folder_is_set_aside_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rocksdb"), "mine").unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("rocksdb is no directory"), "{error}");
    let store = Store::open(&setting_aside(folder.path())).unwrap();
    assert_eq!(store.counters().entries, 0);
    let [moved] = &aside(folder.path())[..] else { panic!("it is moved once") };
    assert_eq!(fs::read(moved.join("rocksdb")).unwrap(), b"mine", "nothing is lost");
}

#[test]
fn a_file_that_is_gone_is_named_or_costs_nothing() {
    let TestStore { store, folder } = open();
    put(&store, 1, &[content(1, 10)]);
    drop(store);
    let is_sst = |path: &PathBuf| path.extension().is_some_and(|of| of == "sst");
    let files = fs::read_dir(folder.path().join("rocksdb")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).filter(is_sst).collect();
    let (mut refused, mut mended) = (0, 0);
    for gone in files {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("rocksdb")).unwrap();
        for file in fs::read_dir(folder.path().join("rocksdb")).unwrap() {
            let from = file.unwrap().path();
            if from != gone {
                let to = copy.path().join("rocksdb").join(from.file_name().unwrap());
                fs::copy(&from, to).unwrap();
            }
        }
        match Store::open(&options(copy.path())) {
            Ok(store) => {
                assert_hit(&store, 1, &[content(1, 10)]);
                assert_sound(&store);
                mended += 1;
            }
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains(gone.file_name().unwrap().to_str().unwrap()), "{said}");
                assert!(said.contains("--on-damage repair"), "{said}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1 && mended > 1, "{refused}, {mended}");
}

/// A log that nobody needed may go, and a store that was stopped in order needs none.
#[test]
fn a_log_that_goes_after_the_store_was_closed_is_not_missed() {
    for is_killed in [false, true] {
        let TestStore { store, folder } = open();
        put(&store, 1, &[content(1, 10)]);
        drop(store);
        if is_killed {
            // What it leaves: its number in the lock.
            fs::write(folder.path().join("lock"), "1\n").unwrap();
        }
        for file in fs::read_dir(folder.path().join("rocksdb")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|of| of == "log") {
                fs::remove_file(path).unwrap();
            }
        }
        let store = open_in(folder.path());
        assert_eq!(store.left_out().is_empty(), !is_killed, "{:?}", store.left_out());
        assert_hit(&store, 1, &[content(1, 10)]);
    }
}
