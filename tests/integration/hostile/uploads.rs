//! Uploads that stop, that are too many, or that are not what they were said to be.

use std::path::Path;

use bytes::Bytes;
use harness::{Daemon, Random, Raw, call, eventually};
use memod_protocol::limits::UPLOADS_OPEN_MAX;
use memod_protocol::{
    Digest, ErrorCode, NewOutput, OutputSource, Put, PutOutcome, Request, Response, WireError,
};

use crate::bystander::Bystander;

fn data(raw: &mut Raw, upload: u32, content: &[u8]) {
    raw.send(Request::UploadData { upload }, Bytes::copy_from_slice(content));
}

/// Ends an upload; gives the length it came to.
fn end(raw: &mut Raw, upload: u32, digest: Option<Digest>) -> Result<u64, WireError> {
    match raw.ask(Request::UploadEnd { upload, digest }, Bytes::new()).response {
        Response::Uploaded { bytes, .. } => Ok(bytes),
        Response::Error(error) => Err(error),
        other => panic!("neither the end of an upload nor an error: {other:?}"),
    }
}

/// The put of a task with one output that has been uploaded.
fn put_uploaded(task: &str, upload: u32, bytes: u64) -> (Put, Bytes) {
    let (mut put, payload) = call(task).put(&[]);
    let source = OutputSource::Upload(upload);
    put.outputs = vec![NewOutput { name: "o0".to_owned(), bytes, digest: None, source }];
    (put, payload)
}

/// What the files below a folder take on the disk, in bytes.
fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::io::Result<std::fs::DirEntry>| {
        // The database removes files while they are counted.
        let Some((path, found)) = entry.ok().and_then(|e| Some((e.path(), e.metadata().ok()?)))
        else {
            return 0;
        };
        if found.is_dir() { disk_bytes(&path) } else { found.blocks() * 512 }
    };
    entries.map(of).sum()
}

#[test]
fn uploads_that_stop_leave_nothing_visible_and_no_disk_in_use() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut random = Random::seeded();
    let mib = random.bytes(1 << 20);
    // A gibibyte in all; half of it in uploads that were even ended.
    for round in 0..64 {
        let mut raw = daemon.connect();
        for upload in 0..4 {
            for chunk in 0..4_u8 {
                let content = [&[round, u8::try_from(upload).unwrap(), chunk], &mib[3..]].concat();
                data(&mut raw, upload, &content);
            }
        }
        for upload in 0..2 {
            assert_eq!(end(&mut raw, upload, None), Ok(4 << 20));
        }
        if round % 2 == 0 {
            for upload in 0..4 {
                raw.send(Request::UploadAbort { upload }, Bytes::new());
            }
        }
    }
    bystander.noticed_nothing(&daemon);
    // What is removed goes from the disk in the background.
    eventually("the disk has its space back", || disk_bytes(&daemon.data()) < 300 << 20);
}

#[test]
fn an_upload_of_another_digest_or_length_is_refused_and_gone() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    let content = vec![b'x'; 100_000];
    let claimed = Digest::of(b"another");
    data(&mut raw, 1, &content);
    let error = end(&mut raw, 1, Some(claimed)).expect_err("it is another content");
    assert_eq!(error.code, ErrorCode::DigestMismatch);
    for part in [claimed, Digest::of(&content)] {
        assert!(error.message.contains(&part.to_string()), "{error}");
    }
    let error = raw.put_error(put_uploaded("digest", 1, 100_000));
    assert!(error.message.contains("1 has not been completed"), "{error}");
    for bytes in [0, 99_999, 100_001, u64::MAX] {
        data(&mut raw, 2, &content);
        assert_eq!(end(&mut raw, 2, Some(Digest::of(&content))), Ok(100_000));
        let error = raw.put_error(put_uploaded("digest", 2, bytes));
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        let part = format!("output `o0`: has 100000 bytes, not {bytes}");
        assert!(error.message.contains(&part), "{error}");
        raw.send(Request::UploadAbort { upload: 2 }, Bytes::new());
    }
    assert!(raw.lookup(&call("digest")).is_err());
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn an_upload_goes_on_only_while_it_is_open() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    data(&mut raw, 1, b"abc");
    assert_eq!(end(&mut raw, 1, None), Ok(3));
    let error = end(&mut raw, 1, None).expect_err("it was ended");
    assert!(error.message.contains("has been ended already"), "{error}");
    data(&mut raw, 2, b"abc");
    assert_eq!(end(&mut raw, 2, None), Ok(3));
    data(&mut raw, 2, b"def");
    let error = end(&mut raw, 2, None).expect_err("it was ended before the last bytes came");
    assert!(error.message.contains("has been ended already"), "{error}");
    raw.send(Request::UploadAbort { upload: 2 }, Bytes::new());
    // An aborted number is free for another upload, and an empty one is an upload too.
    assert_eq!(end(&mut raw, 2, Some(Digest::of(b""))), Ok(0));
    assert_eq!(raw.put(put_uploaded("empty", 2, 0)), PutOutcome::Populated);
    let (_, contents) = raw.lookup(&call("empty")).unwrap();
    assert!(contents[0].is_empty());
}

#[test]
fn a_seventeenth_upload_is_told_so_and_spoils_none_of_the_others() {
    let daemon = Daemon::new();
    let mut raw = daemon.connect();
    let content = |upload: u32| vec![u8::try_from(upload).unwrap(); 70_000];
    for upload in 0..UPLOADS_OPEN_MAX {
        data(&mut raw, upload, &content(upload));
    }
    let beyond = UPLOADS_OPEN_MAX;
    data(&mut raw, beyond, b"the first bytes, ");
    let error = end(&mut raw, beyond, None).expect_err("it is one too many");
    assert_eq!(error.code, ErrorCode::Busy);
    assert!(error.message.contains("16 uploads are open"), "{error}");
    for upload in 0..UPLOADS_OPEN_MAX {
        let digest = Digest::of(&content(upload));
        assert_eq!(end(&mut raw, upload, Some(digest)), Ok(70_000));
    }
    // An upload that began when there was no room stays refused when there is room again: its
    // first bytes are lost.
    data(&mut raw, beyond, b"the first bytes, ");
    raw.send(Request::UploadAbort { upload: 0 }, Bytes::new());
    data(&mut raw, beyond, b"the rest");
    let error = end(&mut raw, beyond, None).expect_err("its beginning was refused");
    assert_eq!(error.code, ErrorCode::Busy);
    // Now that this has been told, the number is free.
    data(&mut raw, beyond, b"whole");
    assert_eq!(end(&mut raw, beyond, Some(Digest::of(b"whole"))), Ok(5));
    for upload in 1..UPLOADS_OPEN_MAX {
        let put = put_uploaded(&format!("task {upload}"), upload, 70_000);
        assert_eq!(raw.put(put), PutOutcome::Populated);
        let (_, contents) = raw.lookup(&call(&format!("task {upload}"))).unwrap();
        assert!(contents[0] == content(upload));
    }
    assert_eq!(raw.stats().entries, u64::from(UPLOADS_OPEN_MAX) - 1);
}

#[test]
fn a_flood_of_refused_uploads_is_bounded() {
    let daemon = Daemon::new();
    let mut bystander = Bystander::of(&daemon);
    let mut raw = daemon.connect();
    // Whether the daemon goes on to refuse or ends the connection is its choice.
    for upload in 0..200_000 {
        if raw.try_send(Request::UploadData { upload }, b"x").is_err() {
            break;
        }
    }
    raw.end_sending();
    while raw.read_reply().is_some() {}
    drop(raw);
    bystander.is_served();
    bystander.noticed_nothing(&daemon);
}
