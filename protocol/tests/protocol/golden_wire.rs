//! Golden bytes: every message, greeting and frame encodes to what is recorded, and what is
//! recorded decodes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use memod_protocol::handshake::{Hello, Welcome};
use memod_protocol::wire::{Decode, Encode, decode, encode};
use memod_protocol::{Frame, Outcome, RequestHeader, ResponseHeader, Verb};
use serde_json::{Map, Value};

use crate::samples;
use crate::samples_reports;
use crate::source;
use crate::support::{ascii, check_file, from_hex, hex, is_blessing, read};

const PATH: &str = "tests/golden/wire.json";
/// The number that all golden requests and responses carry: it takes three bytes.
const ID: u64 = 300;

fn frames() -> Vec<(&'static str, Frame)> {
    let ping = RequestHeader { id: ID, request: memod_protocol::Request::Ping };
    let data = RequestHeader { id: 0, request: memod_protocol::Request::UploadData { upload: 7 } };
    let pieces = vec![Bytes::from_static(b"first"), Bytes::from_static(b" second")];
    vec![
        ("hello", Frame::bare(&samples::hello()).unwrap()),
        ("bare", Frame::bare(&ping).unwrap()),
        ("payload", Frame::new(&data, pieces).unwrap()),
    ]
}

fn whole(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.head().to_vec();
    bytes.extend_from_slice(&frame.clone().into_payload());
    bytes
}

/// All golden bytes by name, as the code gives them.
fn computed() -> BTreeMap<String, Vec<u8>> {
    let mut golden = BTreeMap::new();
    let mut add = |name: String, bytes| {
        assert_eq!(golden.insert(name.clone(), bytes), None, "{name} stands twice");
    };
    for (name, request) in samples::requests() {
        add(format!("request {name}"), encode(&RequestHeader { id: ID, request }));
    }
    for (name, response) in samples::responses() {
        add(format!("response {name}"), encode(&ResponseHeader { id: ID, response }));
    }
    add("hello".into(), encode(&samples::hello()));
    for (name, welcome) in samples::welcomes() {
        add(format!("welcome {name}"), encode(&welcome));
    }
    for (name, frame) in frames() {
        add(format!("frame {name}"), whole(&frame));
    }
    golden
}

/// All golden bytes by name, as they are recorded, or will be when blessing.
pub(crate) fn recorded() -> BTreeMap<String, Vec<u8>> {
    if is_blessing() {
        return computed();
    }
    let file: Map<String, Value> = serde_json::from_str(&read(PATH)).unwrap();
    file.into_iter().map(|(name, bytes)| (name, from_hex(bytes.as_str().unwrap()))).collect()
}

#[test]
fn messages_encode_to_the_recorded_bytes() {
    let lines: Vec<String> = computed()
        .into_iter()
        .map(|(name, bytes)| format!("{}: \"{}\"", ascii(&name.into()), hex(bytes)))
        .collect();
    check_file(PATH, &format!("{{\n{}\n}}\n", lines.join(",\n")));
}

fn decodes_to<T: Encode + Decode<()> + PartialEq + Debug>(bytes: &[u8], wanted: &T) {
    assert_eq!(decode::<T>(bytes).as_ref(), Ok(wanted));
    for used in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..used]).is_err(), "{wanted:?} decodes from {used} bytes");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(decode::<T>(&longer), Err(memod_protocol::wire::DecodeError::Trailing(1)));
}

#[test]
fn recorded_bytes_decode_to_the_messages() {
    let recorded = recorded();
    for (name, request) in samples::requests() {
        decodes_to(&recorded[&format!("request {name}")], &RequestHeader { id: ID, request });
    }
    for (name, response) in samples::responses() {
        decodes_to(&recorded[&format!("response {name}")], &ResponseHeader { id: ID, response });
    }
    decodes_to::<Hello>(&recorded["hello"], &samples::hello());
    for (name, welcome) in samples::welcomes() {
        decodes_to::<Welcome>(&recorded[&format!("welcome {name}")], &welcome);
    }
    for (name, frame) in frames() {
        let mut buffer = BytesMut::from(recorded[&format!("frame {name}")].as_slice());
        let taken = Frame::take(&mut buffer).unwrap().unwrap();
        assert!(buffer.is_empty());
        assert_eq!(taken.header, frame.header);
        assert_eq!(taken.into_payload(), frame.into_payload());
    }
}

/// A variant that is added without golden bytes fails here.
#[test]
fn every_variant_has_golden_bytes() {
    let declared = |name: &str| -> BTreeSet<String> {
        source::all()[name].members.iter().map(|member| member.name.clone()).collect()
    };
    let variant = |name: &str| name.split('.').next().unwrap().to_owned();
    let requests: BTreeSet<_> = samples::requests().iter().map(|(name, _)| variant(name)).collect();
    assert_eq!(requests, declared("Request"));
    let responses: BTreeSet<_> =
        samples::responses().iter().map(|(name, _)| variant(name)).collect();
    assert_eq!(responses, declared("Response"));
    let welcomes: BTreeSet<_> = samples::welcomes().iter().map(|(name, _)| variant(name)).collect();
    assert_eq!(welcomes, declared("Welcome"));
    assert_eq!(declared("MissReason").len(), samples::MISS_REASONS.len());
    assert_eq!(declared("ErrorCode").len(), samples::ERROR_CODES.len());
    assert_eq!(declared("DifferenceKind").len(), samples_reports::DIFFERENCE_KINDS.len());
    assert_eq!(declared("Verb").len(), Verb::ALL.len());
    assert_eq!(declared("Outcome").len(), Outcome::ALL.len());
}
