//! Calls of the system that fail: full disks and quotas, errors of reading and writing, syncs that
//! fail once and then succeed, no descriptors. Puts fail and say why, lookups go on; once the cause
//! is gone puts work again, without anybody's doing; nothing acknowledged is lost.

use std::fs;

use harness::{Random, Raw, Setup, call, eventually};
use memod_protocol::{MissReason, OutputSource, Request, Response};

use super::journal::Journal;
use super::patient::{LARGE, Patient, SMALL};
use super::remains::{Left, leave};

const CONFIG: &str = "log = \"warn\"\ndisk_reserve_bytes = 0\n";

fn setup() -> Setup {
    Setup::new().faults().config(CONFIG)
}

/// Bears these faults, which are there until the disk is healed, or go by themselves.
fn bears(setup: Setup, rules: &[&str], says: &[&str]) -> Patient {
    let mut patient = Patient::new(setup);
    patient.daemon.faults().plan(rules);
    let said = patient.fails(SMALL);
    assert!(patient.daemon.faults().struck() > 0, "{rules:?} did not strike");
    for part in says {
        assert!(said.contains(part), "{rules:?}: `{part}` is not in: {said}");
    }
    patient.serves();
    patient.daemon.faults().heal();
    patient.recovers();
    patient.lasts();
    patient
}

const FULL: [&str; 3] = ["the disk is full", "No space left on device", "make room"];

#[test]
fn a_disk_that_is_full_for_the_log_is_borne() {
    bears(setup(), &["fail write * ENOSPC"], &FULL);
}

#[test]
fn a_disk_that_is_full_for_the_logs_sync_is_borne() {
    let power = || setup().argument("--durability=power");
    bears(power(), &["fail sync * ENOSPC"], &FULL);
}

#[test]
fn a_disk_that_is_full_in_a_flush_is_borne() {
    bears(setup(), &["fail write *.sst ENOSPC"], &FULL);
    bears(setup(), &["fail write data/rocksdb/MANIFEST* ENOSPC"], &FULL);
}

#[test]
fn a_disk_that_is_full_in_a_compaction_is_borne() {
    bears(setup(), &["fail write *.blob ENOSPC after=1"], &FULL);
}

/// How many blob files are without an end, which `RocksDB` does not delete.
fn unfinished(patient: &Patient) -> usize {
    let files = fs::read_dir(patient.daemon.data().join("rocksdb")).unwrap().flatten();
    let blobs = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(is_blob));
    let magic = 2_395_959_u32.to_le_bytes();
    let content = blobs.filter_map(|path| fs::read(path).ok());
    content
        .filter(|content| !content[content.len().saturating_sub(32)..].starts_with(&magic))
        .count()
}

fn is_blob(extension: &std::ffi::OsStr) -> bool {
    extension == "blob"
}

#[test]
fn what_a_failed_compaction_leaves_is_deleted() {
    let mut patient = Patient::new(setup());
    patient.daemon.faults().plan(&["fail write *.blob EIO after=1 times=1"]);
    patient.fails(LARGE);
    assert!(unfinished(&patient) > 0, "there is something to delete");
    patient.daemon.faults().heal();
    patient.recovers();
    eventually("it is deleted", || unfinished(&patient) == 0);
    // Nor does a kill leave anything for long.
    let blob = patient.daemon.data().join("rocksdb/999999.blob");
    patient.daemon.kill();
    fs::write(&blob, vec![7; 100_000]).unwrap();
    patient.daemon.start().expect("it starts again");
    eventually("it is deleted", || !blob.exists());
    patient.lasts();
}

#[test]
fn an_exhausted_quota_is_borne() {
    let says = ["the disk is full", "Disk quota exceeded", "make room"];
    bears(setup(), &["fail write * EDQUOT"], &says);
}

const BROKEN: [&str; 2] = ["the database failed", "Input/output error"];

#[test]
fn an_error_in_writing_the_log_is_borne() {
    let patient = bears(setup(), &["fail write *.log EIO times=1"], &BROKEN);
    let log = patient.daemon.log();
    assert!(log.contains("nothing can be stored") && log.contains("starting anew"), "{log}");
}

#[test]
fn an_error_in_writing_files_is_borne() {
    bears(setup(), &["fail write *.sst EIO times=1"], &BROKEN);
    bears(setup(), &["fail write *.blob EIO times=1"], &BROKEN);
}

#[test]
fn an_error_in_syncing_files_and_folders_is_borne() {
    bears(setup(), &["fail sync *.sst EIO times=1"], &BROKEN);
    bears(setup(), &["fail syncdir data/rocksdb EIO times=1"], &BROKEN);
}

#[test]
fn an_error_in_reading_for_a_compaction_is_borne() {
    bears(setup(), &["fail read *.sst EIO times=1"], &BROKEN);
}

#[test]
fn a_disk_that_takes_nothing_for_long_is_borne() {
    let rules = ["fail write * EROFS", "fail create * EROFS", "fail unlink * EROFS"];
    bears(setup(), &rules, &["Read-only file system"]);
}

#[test]
fn a_lack_of_descriptors_is_borne() {
    bears(setup(), &["fail create * EMFILE"], &["Too many open files"]);
    bears(setup(), &["fail open *.sst EMFILE times=1"], &["Too many open files"]);
}

#[test]
fn s22_what_cannot_be_read_for_now_is_an_error_and_neither_wrong_nor_removed() {
    let mut patient = Patient::new(setup());
    assert!(patient.daemon.stop().success());
    patient.daemon.start().expect("it starts with nothing in memory");
    patient.daemon.faults().plan(&["fail read *.blob EIO", "fail read *.sst EIO"]);
    for number in 0..6 {
        let one = call(&format!("number {number}")).bare().output("o0", "bytes");
        let mut raw = patient.daemon.connect();
        match raw.ask(one.lookup(), bytes::Bytes::new()).response {
            Response::Error(error) => assert!(error.to_string().contains(BROKEN[1]), "{error}"),
            // It was found out in the middle of the stream.
            Response::Hit(_) => match raw.read_reply().expect("an answer").response {
                Response::Error(error) => assert!(error.to_string().contains(BROKEN[1]), "{error}"),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    assert!(patient.daemon.faults().struck() > 0);
    patient.daemon.faults().heal();
    patient.serves();
    let stats = patient.daemon.connect().stats();
    let corrupt = stats.misses_by_reason.iter().any(|(of, _)| *of == MissReason::Corrupt);
    assert!(!corrupt, "nothing is damaged: {stats:?}");
    patient.lasts();
}

#[test]
fn a_store_that_cannot_be_opened_now_is_refused_with_the_cause_and_is_not_damaged() {
    let mut patient = Patient::new(setup());
    for (rule, says) in [
        ("fail write * ENOSPC", ["No space left", "make room on the disk"]),
        ("fail sync * EIO", ["Input/output error", "the store"]),
        ("fail read * EIO", ["Input/output error", "the store"]),
        ("fail create * EROFS", ["Read-only file system", "writable file system"]),
        ("fail open * EMFILE", ["Too many open files", "the store"]),
    ] {
        patient.daemon.kill();
        patient.daemon.faults().plan(&[rule]);
        let (code, said) = patient.daemon.refused();
        assert_eq!(code, 1, "{rule}: {said}");
        for part in says {
            assert!(said.contains(part), "{rule}: `{part}` is not in: {said}");
        }
        assert!(!said.contains("is damaged"), "{rule}: {said}");
        patient.daemon.faults().heal();
        patient.daemon.start().expect("it starts when the cause is gone");
        patient.serves();
    }
}

#[test]
fn what_a_failed_sync_has_lost_is_not_taken_for_synced() {
    let power = setup().argument("--durability=power");
    let mut patient = bears(power, &["fail sync *.log EIO times=1"], &BROKEN);
    patient.put(LARGE).expect("stored");
    // What the kernel gave up when the sync failed is gone with the power.
    patient.daemon.kill();
    let journal = Journal::parse(patient.daemon.faults().journal());
    let mut random = Random::seeded();
    for _ in 0..5 {
        let left = patient.daemon.folder().join("left");
        leave(&journal, journal.records.len(), Left::ByChance, &mut random, &left);
        patient.daemon.store_in(&left.join("data"));
        patient.daemon.start().expect("it starts on what is left");
        patient.serves();
        patient.daemon.kill();
        std::fs::remove_dir_all(left).unwrap();
    }
}

/// Sends content as upload 1, but not its end.
fn send(raw: &mut Raw, chunks: usize) -> Vec<u8> {
    let content = Random::new(1).bytes(chunks << 20);
    for chunk in content.chunks(1 << 20) {
        raw.try_send(Request::UploadData { upload: 1 }, chunk).unwrap();
    }
    content
}

fn end(raw: &mut Raw) -> Response {
    raw.try_ask(Request::UploadEnd { upload: 1, digest: None }, b"").unwrap().response
}

#[test]
fn an_upload_that_has_met_a_full_disk_is_refused_at_its_end_and_leaves_nothing() {
    let mut patient = Patient::new(setup());
    let mut raw = patient.daemon.connect();
    patient.daemon.faults().plan(&["fail write * ENOSPC"]);
    send(&mut raw, 5);
    assert!(matches!(raw.try_ask(Request::Ping, b"").unwrap().response, Response::Pong));
    // A put behind the chunks fails: so they have failed before it.
    assert!(patient.fails(SMALL).contains(FULL[0]));
    match end(&mut raw) {
        Response::Error(error) => assert!(error.to_string().contains(FULL[0]), "{error}"),
        other => panic!("{other:?}"),
    }
    patient.serves();
    patient.daemon.faults().heal();
    patient.recovers();
    let mut raw = patient.daemon.connect();
    send(&mut raw, 5);
    assert!(matches!(end(&mut raw), Response::Uploaded { .. }));
    patient.lasts();
    assert_eq!(patient.daemon.connect().stats().blobs, patient.daemon.connect().stats().entries);
}

#[test]
fn a_put_whose_upload_met_a_full_disk_is_refused_also_when_there_is_room_again() {
    let mut patient = Patient::new(setup());
    let mut raw = patient.daemon.connect();
    let one = call("uploaded").bare().output("o0", "bytes");
    patient.daemon.faults().plan(&["fail write * ENOSPC"]);
    let content = send(&mut raw, 2);
    let ended = end(&mut raw);
    // A put behind the chunks fails: so they have failed before it.
    assert!(patient.fails(SMALL).contains(FULL[0]));
    patient.daemon.faults().heal();
    patient.recovers();
    // If the writer had not come to its chunks yet, the end was not refused. A daemon that has had
    // to start itself anew knows of no upload.
    if matches!(ended, Response::Uploaded { .. }) {
        let (mut put, _) = one.put(&[("o0", &content)]);
        put.outputs[0].source = OutputSource::Upload(1);
        match raw.try_ask(Request::Put(Box::new(put)), b"").map(|reply| reply.response) {
            Ok(Response::Error(error)) => assert!(error.to_string().contains(FULL[0]), "{error}"),
            Ok(other) => panic!("{other:?}"),
            Err(_) => patient.serves(),
        }
    }
    let miss = patient.daemon.connect().lookup(&one).unwrap_err();
    assert_eq!(miss.reason, MissReason::NeverSeen);
    patient.lasts();
}
