//! One function for each target: it must return for all bytes, and panics if an invariant breaks.
//!
//! The raw targets take bytes as a peer or a user would give them; the structured ones build
//! something valid from the bytes, and expect it back after encoding and decoding.

use std::fmt::Debug;

use arbitrary::Unstructured;
use bytes::{Bytes, BytesMut};
use memod_protocol::frame::{FrameError, PREFIX_BYTES};
use memod_protocol::handshake::{Hello, Welcome, agree};
use memod_protocol::limits::{FRAME_BYTES_MAX, NAME_BYTES_MAX, NESTING_MAX, TYPE_BYTES_MAX};
use memod_protocol::wire::{Decode, Encode, decode, encode};
use memod_protocol::{
    Frame, FrameCodec, InterfaceText, Literal, LiteralType, NamedOwner, Outcome, Request,
    RequestHeader, Response, ResponseHeader, Scope, Verb, json,
};
use tokio_util::codec::Decoder;

use super::build;

/// All frames of a stream whose pieces come one after the other, and how it ended.
fn frames(pieces: &[&[u8]]) -> (Vec<Bytes>, Option<FrameError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match Frame::take(&mut buffer) {
                Ok(Ok(frame)) => {
                    let head = frame.head();
                    frames.push([head, frame.into_payload()].concat().into());
                }
                Ok(Err(missing)) => {
                    assert!(missing > 0);
                    assert!(missing <= PREFIX_BYTES + FRAME_BYTES_MAX as usize);
                    break;
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// A stream of frames: however it is cut, the same comes out, and that is what went in.
pub fn frame(data: &[u8]) {
    let whole = frames(&[data]);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(frames(&bytes), whole);
    let (head, tail) = data.split_at(data.len() / 2);
    assert_eq!(frames(&[head, tail]), whole);
    assert!(data.starts_with(&whole.0.concat()));
    let mut buffer = BytesMut::from(data);
    let mut count = 0;
    while let Ok(Some(_)) = FrameCodec.decode(&mut buffer) {
        count += 1;
    }
    assert_eq!(count, whole.0.len());
    assert!(buffer.capacity() <= data.len() + PREFIX_BYTES + 2 * FRAME_BYTES_MAX as usize);
}

/// What decodes must encode, and that decode to the same.
fn decoded<T: Encode + Decode<()> + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let message = decode::<T>(data).ok()?;
    let bytes = encode(&message);
    assert!(bytes.len() <= data.len(), "a shorter spelling than ours was accepted");
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(&message));
    Some(message)
}

/// The header of a request.
pub fn request(data: &[u8]) {
    let Some(header) = decoded::<RequestHeader>(data) else { return };
    match header.request {
        Request::Lookup(lookup) => drop(lookup.call.check()),
        Request::Put(put) => {
            drop(put.call.check());
            drop(put.run.check());
            interface(&put.interface);
        }
        Request::Claim(claim) | Request::Await(claim) => {
            drop(claim.lookup.call.check());
            claim.owner.iter().for_each(owner);
        }
        Request::Reserve(reserve) => {
            drop(reserve.call.check());
            owner(&reserve.owner);
        }
        Request::Release(release) => drop(release.call.check()),
        Request::Why(why) => {
            drop(why.lookup.call.check());
            interface(&why.interface);
        }
        _ => {}
    }
}

/// Types as text: what parses is written as something that parses to the same.
fn interface(text: &InterfaceText) {
    if let Ok(interface) = text.parse() {
        assert_eq!(InterfaceText::from(&interface).parse(), Ok(interface));
    }
}

/// What is let through as an owner has a name and a heartbeat.
fn owner(owner: &NamedOwner) {
    let sound =
        !owner.name.is_empty() && owner.name.len() <= NAME_BYTES_MAX && owner.heartbeat_ms > 0;
    assert_eq!(owner.check().is_ok(), sound, "{owner:?}");
}

/// The header of a response.
pub fn response(data: &[u8]) {
    let Some(header) = decoded::<ResponseHeader>(data) else { return };
    match header.response {
        Response::Error(error) => assert!(!error.code.name().is_empty()),
        Response::Logged(page) => {
            for row in page.rows {
                assert!(Verb::ALL.contains(&row.verb));
                assert!(Outcome::ALL.iter().any(|kind| kind.name() == row.outcome.name()));
            }
        }
        Response::Explained(explanation) => {
            let mut differs = explanation.nearest.iter().flat_map(|nearest| &nearest.differs);
            assert!(differs.all(|difference| !difference.what.name().is_empty()));
        }
        _ => {}
    }
}

/// Both sides of the greeting.
pub fn greeting(data: &[u8]) {
    if let Some(hello) = decoded::<Hello>(data)
        && let Ok(agreement) = agree(&hello, "memod")
    {
        assert!(hello.versions.contains(&agreement.version));
    }
    decoded::<Welcome>(data);
}

/// The text of a type, a line feed, and stored bytes of an output of that type.
pub fn literal_blob(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (text, blob) = data.split_at(end);
    let blob = Bytes::copy_from_slice(blob.get(1..).unwrap_or_default());
    let Some(of) = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) else {
        return;
    };
    let read = Literal::from_blob(&of, &blob);
    assert_eq!(Literal::check_blob(&of, &blob).is_ok(), read.is_ok(), "{of}: {read:?}");
    let Ok(literal) = read else { return };
    drop(json::value(&literal));
    if of != LiteralType::File {
        // A name that is empty can be read where none may be written.
        if let Ok(written) = literal.to_blob(&of) {
            assert_eq!(written, blob, "a second encoding of {literal:?} was accepted");
        }
    }
    assert!(of.admits(&literal), "{of} does not admit {literal:?}");
}

/// The text of a type.
pub fn type_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(of) = text.parse::<LiteralType>() else { return };
    assert!(text.len() <= TYPE_BYTES_MAX);
    let written = of.to_string();
    if written.len() <= TYPE_BYTES_MAX {
        assert_eq!(written.parse(), Ok(of), "{written}");
    }
}

/// A call as JSON text.
pub fn json_call(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(value) = json::parse(text) else { return };
    if let Ok(of) = json::infer(&value)
        && let Ok(literal) = json::literal(&of, &value)
    {
        assert!(of.admits(&literal), "{of} does not admit {literal:?}");
        drop(json::value(&literal));
    }
    let scope = Scope::new("p", "d");
    let Ok(call) = json::call(&value, &scope) else { return };
    let Ok(identity) = call.identity() else { return };
    assert_eq!(identity.check(), Ok(()));
    let written = json::call_to_json(&call);
    match json::call(&written, &scope) {
        Ok(back) => assert_eq!(back.identity(), Ok(identity)),
        // What chooses the members of unions nests the JSON, and writes types out.
        Err(error) => assert!(
            error.problem.contains("nested deeper") || error.problem.contains("bytes long"),
            "{error}"
        ),
    }
}

/// A valid call: its JSON gives it back, and its key depends on what it should.
pub fn call_key(data: &[u8]) {
    let Ok(mut call) = build::call(&mut Unstructured::new(data)) else { return };
    let Ok(identity) = call.identity() else { return };
    assert_eq!(identity.check(), Ok(()));
    assert_eq!(decode(&encode(&identity)), Ok(identity.clone()));
    let text = json::call_to_json(&call).to_string();
    let value = json::parse(&text).expect("what we write is JSON");
    let back = json::call(&value, &call.scope).expect("what we write is a call");
    assert_eq!(back.identity(), Ok(identity.clone()), "{text}");
    for (name, value) in &call.inputs {
        let of = &call.interface.inputs[name];
        if let Ok(blob) = value.to_blob(of) {
            let back = Literal::from_blob(of, &blob).expect("what we write can be read");
            assert_eq!(back.input_digest(), value.input_digest());
        }
    }
    let key = identity.key();
    for value in call.inputs.values_mut() {
        let inner = std::mem::replace(value, Literal::None);
        *value = Literal::Hashed { hash: String::new(), value: Some(Box::new(inner)) };
    }
    if let Ok(hashed) = call.identity() {
        assert_eq!(hashed.key(), key, "an empty hash is no hash");
    }
    call.ignored.extend(call.inputs.keys().cloned());
    if let Ok(ignoring) = call.identity() {
        assert_eq!(ignoring.key() == key, identity.inputs.is_empty());
    }
    const { assert!(build::DEPTH_MAX < NESTING_MAX) }
}

/// A valid put or import, as the largest of the requests: it comes back.
pub fn put_message(data: &[u8]) {
    let Ok(header) = build::put(&mut Unstructured::new(data)) else { return };
    comes_back(&header);
}

/// A valid request about a call, other than a lookup or a put: it comes back, and no check of it
/// fails.
pub fn call_message(data: &[u8]) {
    let Ok(header) = build::about_a_call(&mut Unstructured::new(data)) else { return };
    comes_back(&header);
    let (call, owner) = match header.request {
        Request::Claim(claim) => (claim.lookup.call, claim.owner),
        Request::Reserve(reserve) => (reserve.call, Some(reserve.owner)),
        Request::Release(release) => (release.call, None),
        Request::Why(why) => {
            let parsed = why.interface.parse().expect("what we write of an interface parses");
            assert_eq!(parsed.signature(&why.lookup.call.task), why.lookup.call.signature);
            (why.lookup.call, None)
        }
        other => unreachable!("{other:?} is not built"),
    };
    assert_eq!(call.check(), Ok(()));
    assert_eq!(owner.map_or(Ok(()), |owner| owner.check()), Ok(()));
}

/// A request in a frame is the same behind it.
fn comes_back(header: &RequestHeader) {
    let frame = Frame::bare(header).expect("a small message fits");
    let mut buffer = BytesMut::from(&frame.head()[..]);
    let taken = Frame::take(&mut buffer).expect("what we write is a frame").expect("all is there");
    assert_eq!(decode::<RequestHeader>(&taken.header).as_ref(), Ok(header));
}
