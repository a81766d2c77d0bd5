//! Uploads as files: descriptors of other things, files that lie, and files that go on changing.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use harness::{CallBuilder, Daemon, Random, Raw, Setup, call};
use memod_client::{Client, Error, Lookup, LookupOptions, PutOptions, PutOutput, Source};
use memod_descriptors::MemoryFile;
use memod_protocol::handshake::DESCRIPTORS;
use memod_protocol::limits::BLOB_BYTES_MAX;
use memod_protocol::{
    Delivery, Digest, ErrorCode, Frame, LiteralType, NewOutput, OutputSource, PutOutcome, Request,
    RequestHeader, Response,
};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::descriptors::{kinds, none_is_left, open};
use crate::bystander::Bystander;

const MIB: usize = 1 << 20;

fn connect(daemon: &Daemon) -> Raw {
    Raw::capable(&daemon.socket(), DESCRIPTORS)
}

/// A memory file that its maker can go on changing.
fn unsealed(content: &[u8]) -> File {
    let file = File::from(memfd_create("test", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.write_all_at(content, 0).unwrap();
    file
}

fn sealed(content: &[u8]) -> OwnedFd {
    let file = MemoryFile::new(content.len() as u64).unwrap();
    file.write_at(content, 0).unwrap();
    file.seal().unwrap().into()
}

fn request(upload: u32, digest: Option<Digest>) -> Vec<u8> {
    let request = RequestHeader { id: 9, request: Request::UploadFile { upload, digest } };
    Frame::bare(&request).unwrap().head().to_vec()
}

/// Uploads a file; gives the digest and length that were stored, or the code and reason.
fn upload(
    raw: &mut Raw,
    number: u32,
    digest: Option<Digest>,
    file: BorrowedFd<'_>,
) -> Result<(Digest, u64), (ErrorCode, String)> {
    raw.send_descriptors(&request(number, digest), &[file]).unwrap();
    match raw.read_reply().expect("it is answered").response {
        Response::Uploaded { digest, bytes } => Ok((digest, bytes)),
        Response::Error(error) => Err((error.code, error.message)),
        other => panic!("neither stored nor refused: {other:?}"),
    }
}

/// Puts what has been uploaded under that number.
fn put(raw: &mut Raw, of: CallBuilder, number: u32, digest: Digest, bytes: u64) -> CallBuilder {
    let of = of.bare().output("o0", "bytes");
    let (mut put, _) = of.put(&[]);
    let (name, source) = ("o0".to_owned(), OutputSource::Upload(number));
    put.outputs.push(NewOutput { name, bytes, digest: Some(digest), source });
    assert_eq!(raw.put((put, Bytes::new())), PutOutcome::Populated);
    of
}

#[test]
fn what_is_no_memory_file_is_refused_and_the_connection_goes_on() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut raw = connect(&daemon);
    let before = open(&daemon);
    let on_disk = tempfile::tempfile_in(daemon.folder()).unwrap();
    on_disk.set_len(100).unwrap();
    let huge: OwnedFd = MemoryFile::new(1 << 62).unwrap().seal().unwrap().into();
    let longer: OwnedFd = MemoryFile::new(BLOB_BYTES_MAX + 1).unwrap().seal().unwrap().into();
    let holes: OwnedFd = MemoryFile::new(1 << 30).unwrap().seal().unwrap().into();
    let mut bad: Vec<(&str, OwnedFd, &str)> = kinds()
        .into_iter()
        .filter(|(kind, _)| *kind != "a memory file")
        .map(|(kind, file)| (kind, file, "not that of a memory file"))
        .collect();
    bad.push(("a file on a disk", on_disk.into(), "not that of a memory file"));
    bad.push(("2^62 bytes", huge, "bytes, 68719476736 are allowed"));
    bad.push(("a byte too long", longer, "bytes, 68719476736 are allowed"));
    bad.push(("holes", holes, "has holes"));
    for (what, file, reason) in bad {
        let (code, said) = upload(&mut raw, 1, None, file.as_fd()).unwrap_err();
        assert_eq!(code, ErrorCode::InvalidArgument, "{what}: {said}");
        assert!(said.contains(reason), "{what}: {said}");
    }
    none_is_left(&daemon, before);
    let empty = upload(&mut raw, 1, None, sealed(b"").as_fd());
    assert_eq!(empty, Ok((Digest::of(b""), 0)), "nothing is a content too");
    drop(raw);
    bystander.noticed_nothing(&daemon);
}

#[test]
fn a_file_that_gets_shorter_while_it_is_read_is_refused_and_kills_nobody() {
    let daemon = Daemon::new();
    let content = Random::new(1).bytes(24 * MIB);
    let mut raw = connect(&daemon);
    let mut shorter = 0;
    for round in 0..200 {
        let file = unsealed(&content);
        raw.send_descriptors(&request(round, None), &[file.as_fd()]).unwrap();
        for _ in 0..round * 1000 {
            std::hint::spin_loop();
        }
        file.set_len(5).unwrap();
        match raw.read_reply().expect("it is answered").response {
            Response::Error(error) => {
                assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
                shorter += usize::from(error.message.contains("got shorter"));
            }
            Response::Uploaded { digest, bytes } => {
                let whole = (Digest::of(&content), content.len() as u64);
                let short = (Digest::of(&content[..5]), 5);
                assert!([whole, short].contains(&(digest, bytes)), "{bytes} bytes");
                raw.send(Request::UploadAbort { upload: round }, Bytes::new());
            }
            other => panic!("{other:?}"),
        }
        if shorter == 3 {
            break;
        }
    }
    assert!(shorter > 0, "no file was caught in the middle");
}

/// A file on a disk is read by the client, which nothing that becomes of it may kill.
#[test]
fn a_regular_file_that_gets_shorter_while_it_is_put_is_stored_as_it_was_read_or_not_at_all() {
    let daemon = Daemon::new();
    let client = Client::builder().socket(daemon.socket()).build();
    let content = Random::new(8).bytes(24 * MIB);
    let path = daemon.folder().join("shrinking");
    let mut caught = 0;
    for round in 0..200 {
        std::fs::write(&path, &content).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let of = call("shrinking").version(&round.to_string()).bare().output("o0", "bytes");
        let output = PutOutput {
            name: "o0".to_owned(),
            literal_type: LiteralType::Bytes,
            source: Source::File(path.clone()),
        };
        let stored = std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..round * 4000).for_each(|_| std::hint::spin_loop());
                file.set_len(5).unwrap();
            });
            client.put(&of.0, vec![output], &PutOptions::default())
        });
        match stored {
            Ok(_) => {
                let found = client.lookup(&of.0, &LookupOptions::default()).unwrap();
                let Lookup::Hit(hit) = found else { panic!("it is stored") };
                let bytes = hit.outputs[0].content.to_bytes().unwrap();
                assert_eq!(Digest::of(&bytes), hit.outputs[0].digest);
                caught += usize::from((6..content.len()).contains(&bytes.len()));
            }
            Err(Error::Local { .. }) => caught += 1,
            Err(other) => panic!("neither stored nor refused by the client: {other}"),
        }
        if caught == 3 {
            break;
        }
    }
    assert!(caught > 0, "no file was caught in the middle");
}

/// The hole of CVE-2024-27297: who makes a content keeps a descriptor of it that can be written.
#[test]
fn who_keeps_a_writable_descriptor_cannot_change_what_is_stored() {
    let mut daemon = Daemon::new();
    let content = Random::new(2).bytes(5 * MIB);
    let kept = unsealed(&content);
    let mut raw = connect(&daemon);
    let stored = upload(&mut raw, 1, Some(Digest::of(&content)), kept.as_fd());
    assert_eq!(stored, Ok((Digest::of(&content), content.len() as u64)));
    // Before the put, before the first lookup, and before one that finds it in memory.
    let change = |byte: u8| kept.write_all_at(&vec![byte; content.len()], 0).unwrap();
    change(1);
    let of = put(&mut raw, call("leak"), 1, Digest::of(&content), content.len() as u64);
    for byte in 2..5 {
        change(byte);
        assert!(connect(&daemon).lookup(&of).unwrap().1[0] == content);
    }
    daemon.stop();
    daemon.start().unwrap();
    change(5);
    assert!(connect(&daemon).lookup(&of).unwrap().1[0] == content);
}

/// Sets a flag in the end, also in that of a test that fails.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_is_stored_of_a_file_that_is_written_to_is_what_its_digest_says() {
    let daemon = Daemon::new();
    let file = unsealed(&Random::new(3).bytes(16 * MIB));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = Sets(&done);
        scope.spawn(|| {
            let mut random = Random::new(4);
            while !done.load(Ordering::Relaxed) {
                file.write_all_at(&random.bytes(4096), random.below(4000) as u64 * 4096).unwrap();
            }
        });
        let mut raw = connect(&daemon);
        for round in 0..4 {
            let (digest, bytes) = upload(&mut raw, round, None, file.as_fd()).unwrap();
            let of = call("written").version(&round.to_string());
            let of = put(&mut raw, of, round, digest, bytes);
            // It compares what it gets with the digest.
            raw.lookup(&of).unwrap();
        }
    });
}

#[test]
fn a_sealed_file_is_handed_on_to_readers_as_it_is() {
    let daemon = Daemon::new();
    let content = Random::new(5).bytes(3 * MIB);
    let file = sealed(&content);
    let mut raw = connect(&daemon);
    let (digest, bytes) = upload(&mut raw, 1, None, file.as_fd()).unwrap();
    let of = put(&mut raw, call("adopted"), 1, digest, bytes);
    let Response::Hit(hit) = raw.ask(of.lookup(), Bytes::new()).response else { panic!("stored") };
    assert_eq!(hit.outputs[0].delivery, Delivery::Sealed);
    let same = File::from(raw.descriptors(1).remove(0)).metadata().unwrap();
    let sent = File::from(file).metadata().unwrap();
    assert_eq!((same.dev(), same.ino()), (sent.dev(), sent.ino()));
}

#[test]
fn digests_numbers_and_budgets_are_kept_to_as_in_uploads_by_pieces() {
    let config = format!("store_bytes_max = {}\n", 64 * MIB);
    let daemon = Setup::new().config(config).start();
    let mut raw = connect(&daemon);
    let content = Random::new(6).bytes(2 * MIB);
    let file = sealed(&content);
    let wrong = upload(&mut raw, 1, Some(Digest::of(b"other")), file.as_fd()).unwrap_err();
    assert_eq!(wrong.0, ErrorCode::DigestMismatch);
    upload(&mut raw, 1, None, file.as_fd()).unwrap();
    let twice = upload(&mut raw, 1, None, file.as_fd()).unwrap_err();
    assert!(twice.1.contains("has been begun already"), "{twice:?}");
    let large = sealed(&Random::new(7).bytes(80 * MIB));
    let over = upload(&mut raw, 2, None, large.as_fd());
    // What was written ahead is refused at the latest when it is put.
    let over = over.map(|(digest, bytes)| {
        let of = call("over").bare().output("o0", "bytes");
        let (mut put, _) = of.put(&[]);
        let (name, source) = ("o0".to_owned(), OutputSource::Upload(2));
        put.outputs.push(NewOutput { name, bytes, digest: Some(digest), source });
        raw.ask_error(Request::Put(Box::new(put)), Bytes::new()).code
    });
    assert_eq!(over.unwrap_or_else(|(code, _)| code), ErrorCode::OverBudget);
    put(&mut raw, call("fits"), 1, Digest::of(&content), content.len() as u64);
}

#[test]
fn a_file_that_was_announced_must_come_and_be_agreed_on() {
    let daemon = Daemon::new();
    for (capabilities, count) in [(0, 1), (0, 0), (DESCRIPTORS, 0), (DESCRIPTORS, 2)] {
        let mut raw = Raw::capable(&daemon.socket(), capabilities);
        let file = sealed(b"content");
        raw.send_descriptors(&request(1, None), &vec![file.as_fd(); count]).unwrap();
        let reply = raw.read_reply().expect("it is told why");
        let Response::Error(error) = reply.response else { panic!("{:?}", reply.response) };
        assert_eq!((reply.id, error.code), (0, ErrorCode::Malformed));
        assert!(raw.read_frame().is_none(), "the connection goes on");
    }
}

#[test]
fn a_thousand_hostile_rounds_leave_no_descriptor_open() {
    let daemon = Daemon::new();
    let bystander = Bystander::of(&daemon);
    let mut random = Random::seeded();
    let kinds = kinds();
    // Too small to be kept for readers, or to be written before a put.
    let good = sealed(&random.bytes(100_000));
    let before = open(&daemon);
    for _ in 0..1000 {
        let mut raw = connect(&daemon);
        let (_, kind) = &kinds[random.below(kinds.len())];
        let file = if random.below(2) == 0 { kind.as_fd() } else { good.as_fd() };
        let mut bytes = request(1, None);
        match random.below(4) {
            0 => bytes.truncate(random.below(bytes.len() - 1) + 1),
            1 => bytes = [request(1, None), request(2, None)].concat(),
            _ => {}
        }
        let count = [0, 1, 1, 1, 2, 16, 17, 253][random.below(8)];
        let _ = raw.send_descriptors(&bytes, &vec![file; count]);
        if random.below(2) == 0 {
            raw.end_sending();
            while raw.read_frame().is_some() {}
        }
    }
    none_is_left(&daemon, before);
    bystander.noticed_nothing(&daemon);
}
