//! Stores that are not for this daemon: of a newer version, of another user. The refusal says what
//! to do, and leaves the store as it is. (Of two daemons on one store tells `setup::data`.)

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use harness::{Daemon, Setup, binary, call};
use memod_protocol::PutOutcome;
use nix::unistd::Uid;

const STRANGER: u32 = 12_345;
const BLOCK_BYTES: usize = 32 * 1024;

/// Of which polynomial the log's checksums are: CRC-32C, masked.
fn checksum(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    });
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Has the log of a new store say that the store has this format.
fn set_format(log: &Path, format: u32) {
    let mut bytes = fs::read(log).unwrap();
    let name = b"format\x04";
    let at = bytes.windows(name.len()).position(|part| part == name).expect("the row is there");
    assert!(at < BLOCK_BYTES, "it stands in the first record");
    let at = at + name.len();
    assert_eq!(bytes[at..at + 4], 3_u32.to_le_bytes());
    bytes[at..at + 4].copy_from_slice(&format.to_le_bytes());
    // The record: checksum, length, kind, content.
    let length = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    let sum = checksum(&bytes[6..7 + length]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    fs::write(log, bytes).unwrap();
}

fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let files = fs::read_dir(folder).unwrap().flatten();
    let is_data = |path: &PathBuf| {
        path.extension().is_some_and(|name| name == "log" || name == "sst" || name == "blob")
    };
    let mut all: Vec<_> = files.map(|file| file.path()).filter(is_data).collect();
    all.sort();
    all.into_iter().map(|path| (path.clone(), fs::metadata(&path).unwrap().len())).collect()
}

#[test]
fn s37_a_store_of_a_newer_memod_is_refused_and_says_what_to_do() {
    let mut daemon = Daemon::new();
    daemon.kill();
    let found = files(&daemon.data().join("rocksdb"));
    let log = found.iter().find(|(_, bytes)| *bytes > 0).expect("the store is in its log");
    set_format(&log.0, 9);
    for _ in 0..2 {
        let (code, said) = daemon.refused();
        assert_eq!(code, 1, "{said}");
        let path = daemon.data().display().to_string();
        for part in ["has format 9", "up to 3", "at least as new", "name another", &path] {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
    }
}

#[test]
fn a_store_of_another_user_is_refused_and_says_what_to_do() {
    if !Uid::effective().is_root() {
        eprintln!("NOT TESTED: only root can run a daemon as another user");
        return;
    }
    let mut daemon = Setup::new().start();
    let stored = call("ours");
    assert_eq!(daemon.connect().put(stored.put(&[("o0", b"x")])), PutOutcome::Populated);
    assert!(daemon.stop().success());
    let theirs = tempfile::tempdir().unwrap();
    fs::set_permissions(theirs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(daemon.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let memod = theirs.path().join("memod");
    fs::copy(binary("memod"), &memod).unwrap();
    let run = theirs.path().join("run");
    fs::create_dir(&run).unwrap();
    chown(&run, Some(STRANGER), Some(STRANGER)).unwrap();
    // Whether it lets nobody in or everybody.
    for mode in [0o700, 0o755] {
        fs::set_permissions(daemon.data(), fs::Permissions::from_mode(mode)).unwrap();
        let mut command = std::process::Command::new(&memod);
        command.arg("--data").arg(daemon.data()).arg("--socket").arg(run.join("socket"));
        command.uid(STRANGER).gid(STRANGER).current_dir("/");
        let (code, said) = Daemon::run_to_end(&mut command);
        assert_eq!(code, 1, "{said}");
        let path = daemon.data().display().to_string();
        let owners = format!("belongs to user 0, and this is user {STRANGER}");
        for part in [path.as_str(), &owners, "start memod as that user"] {
            assert!(said.contains(part), "{mode:o}: `{part}` is not in: {said}");
        }
        assert!(!said.contains("is damaged"), "{said}");
    }
    daemon.start().expect("its own user may");
    assert!(daemon.connect().lookup(&stored).is_ok());
}
