//! What sends content: `UploadData`, `UploadEnd`, `UploadAbort`, `UploadFile`.

use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use harness::Raw;
use memod_descriptors::MemoryFile;
use memod_protocol::{
    Digest, ErrorCode, Frame, NewOutput, OutputSource, PutOutcome, Request, RequestHeader, Response,
};

use super::{BOB, SECRET, STRANGER, Two, elsewhere, is_forbidden, task};

fn end(upload: u32) -> Request {
    Request::UploadEnd { upload, digest: None }
}

/// Sends all of an upload; gives what is said at its end.
fn send(raw: &mut Raw, upload: u32, content: &'static [u8]) -> Response {
    raw.send(Request::UploadData { upload }, Bytes::from_static(content));
    raw.ask(end(upload), Bytes::new()).response
}

/// A put of what this upload has, which everybody knows to be as long as the secret.
fn put_of(call: &harness::CallBuilder, upload: u32) -> Request {
    let (mut put, _) = call.put(&[("o0", b"")]);
    put.outputs = vec![NewOutput {
        name: "o0".into(),
        bytes: SECRET.len() as u64,
        digest: Some(Digest::of(SECRET)),
        source: OutputSource::Upload(upload),
    }];
    Request::Put(Box::new(put))
}

#[test]
fn upload_data_is_refused_to_who_may_put_nowhere() {
    let Some(mut two) = Two::meet() else { return };
    for content in [SECRET, b"what nobody has"] {
        let told = send(&mut two.stranger, 1, content);
        is_forbidden(told, STRANGER, "write anything in this cache");
    }
    two.nothing_has_changed();
}

#[test]
fn upload_end_tells_no_content_apart_and_ends_nobody_elses() {
    let Some(mut two) = Two::meet() else { return };
    two.alice.send(Request::UploadData { upload: 7 }, Bytes::from_static(SECRET));
    // An upload that this connection has not begun is empty, whatever others do.
    let told = two.bob.ask(end(7), Bytes::new()).response;
    assert_eq!(told, Response::Uploaded { digest: Digest::of(b""), bytes: 0 });
    for content in [SECRET, b"what nobody has"] {
        let wanted =
            Response::Uploaded { digest: Digest::of(content), bytes: content.len() as u64 };
        assert_eq!(send(&mut two.bob, 8, content), wanted);
        two.bob.send(Request::UploadAbort { upload: 8 }, Bytes::new());
    }
    // Her upload is not to be had by its number, nor by its digest.
    let told = two.alice.ask(end(7), Bytes::new()).response;
    assert!(matches!(told, Response::Uploaded { .. }), "{told:?}");
    let error = two.bob.ask_error(put_of(&elsewhere("t"), 7), Bytes::new());
    assert_eq!(error.code, ErrorCode::InvalidArgument, "what he ended is empty: {error}");
    is_forbidden(
        two.stranger.ask(end(7), Bytes::new()).response,
        STRANGER,
        "write anything in this cache",
    );
    two.nothing_has_changed();
}

#[test]
fn upload_abort_forgets_nobody_elses() {
    let Some(mut two) = Two::meet() else { return };
    let told = send(&mut two.alice, 7, SECRET);
    assert!(matches!(told, Response::Uploaded { .. }), "{told:?}");
    for raw in [&mut two.bob, &mut two.stranger] {
        raw.send(Request::UploadAbort { upload: 7 }, Bytes::new());
        assert!(raw.ping(), "it is never answered");
    }
    let told = two.alice.ask(put_of(&task("hers"), 7), Bytes::new()).response;
    assert_eq!(told, Response::Put(PutOutcome::Populated));
}

/// Sends an upload by a memory file; gives what is said of it.
fn file(raw: &mut Raw, upload: u32, content: &[u8]) -> Response {
    let memory = MemoryFile::new(content.len() as u64).unwrap();
    memory.write_at(content, 0).unwrap();
    let sealed: OwnedFd = memory.seal().unwrap().into();
    let request = Request::UploadFile { upload, digest: None };
    let frame = Frame::bare(&RequestHeader { id: 900, request }).unwrap();
    raw.send_descriptors(&frame.head(), &[sealed.as_fd()]).unwrap();
    raw.read_reply().expect("it is answered").response
}

#[test]
fn upload_file_is_refused_to_who_may_put_nowhere_and_tells_no_content_apart() {
    let Some(mut two) = Two::meet() else { return };
    for (upload, content) in (1..).zip([SECRET, b"what nobody has"]) {
        let told = file(&mut two.stranger, upload, content);
        is_forbidden(told, STRANGER, "write anything in this cache");
        let wanted =
            Response::Uploaded { digest: Digest::of(content), bytes: content.len() as u64 };
        assert_eq!(file(&mut two.bob, upload, content), wanted);
    }
    // To have the same content gives no right to her entry.
    let told = two.bob.ask(put_of(&task("there"), 1), Bytes::new()).response;
    is_forbidden(told, BOB, "write alpha/development");
    two.nothing_has_changed();
}
