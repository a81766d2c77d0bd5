//! What is encoded decodes to the same: every message, every type's text, every call as JSON.

use memod_protocol::handshake::{
    CAPABILITIES, DESCRIPTORS, Hello, MAGIC, VERSIONS, Welcome, agree,
};
use memod_protocol::wire::{Decode, Encode, decode, encode};
use memod_protocol::{
    CallIdentity, Interface, InterfaceText, LiteralType, PostedHit, RequestHeader, Response,
    ResponseHeader, Scope, json,
};
use proptest::collection::btree_map;
use proptest::prelude::*;

use crate::strategies::{call, literal_type, name};
use crate::strategies_messages::{hello, identity, request, response, welcome};

fn round_trip<T>(message: &T) -> Result<(), TestCaseError>
where
    T: Encode + Decode<()> + PartialEq + std::fmt::Debug,
{
    let mut bytes = encode(message);
    prop_assert_eq!(&decode::<T>(&bytes).unwrap(), message);
    bytes.push(0);
    prop_assert!(decode::<T>(&bytes).is_err(), "a byte left over is accepted");
    bytes.truncate(bytes.len() - 2);
    prop_assert!(decode::<T>(&bytes).is_err(), "a missing byte is accepted");
    Ok(())
}

/// What is read of a board without a copy is what the message says, and of a hit alone.
fn posted(header: &ResponseHeader) -> Result<(), TestCaseError> {
    let bytes = encode(header);
    let Response::Hit(hit) = &header.response else {
        prop_assert!(PostedHit::decode(&bytes).is_err());
        return Ok(());
    };
    let posted = PostedHit::decode(&bytes).unwrap();
    prop_assert_eq!((posted.key, posted.age_ms), (hit.key, hit.age_ms));
    prop_assert_eq!(&posted.provenance, &hit.provenance);
    prop_assert_eq!(posted.outputs.len(), hit.outputs.len());
    for (posted, output) in posted.outputs.iter().zip(&hit.outputs) {
        prop_assert_eq!((posted.name, posted.literal_type), (&*output.name, &*output.literal_type));
        prop_assert_eq!((posted.digest, posted.bytes), (output.digest, output.bytes));
        prop_assert_eq!(posted.delivery, output.delivery);
    }
    for end in 0..bytes.len() {
        prop_assert!(PostedHit::decode(&bytes[..end]).is_err());
    }
    Ok(())
}

proptest! {
    #[test]
    fn requests(id: u64, request in request()) {
        round_trip(&RequestHeader { id, request })?;
    }

    #[test]
    fn responses(id: u64, response in response()) {
        posted(&ResponseHeader { id, response: response.clone() })?;
        round_trip(&ResponseHeader { id, response })?;
    }

    #[test]
    fn greetings(hello in hello(), welcome in welcome()) {
        round_trip::<Hello>(&hello)?;
        round_trip::<Welcome>(&welcome)?;
    }

    #[test]
    fn identities(identity in identity()) {
        round_trip::<CallIdentity>(&identity)?;
    }

    /// Whatever decodes is a message like any other: it encodes, and that decodes to it.
    #[test]
    fn changed_bytes(request in request(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encode(&RequestHeader { id: 1, request });
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = decode::<RequestHeader>(&bytes) {
            prop_assert_eq!(decode(&encode(&message)), Ok(message));
        }
    }

    #[test]
    fn texts_of_types(of in literal_type()) {
        prop_assert_eq!(of.to_string().parse::<LiteralType>(), Ok(of));
    }

    #[test]
    fn interfaces(inputs in btree_map(name(), literal_type(), 0..4),
                  outputs in btree_map(name(), literal_type(), 0..4)) {
        let interface = Interface { inputs, outputs };
        prop_assert_eq!(InterfaceText::from(&interface).parse(), Ok(interface));
    }

    #[test]
    fn calls_as_json(call in call()) {
        let written = json::call_to_json(&call);
        let text = written.to_string();
        let read = json::parse(&text).unwrap();
        prop_assert_eq!(&read, &written);
        let back = json::call(&read, &Scope::new("another", "another")).unwrap();
        prop_assert_eq!(back.identity(), call.identity());
        prop_assert_eq!(json::call_to_json(&back).to_string(), text);
    }

    /// The daemon takes the newest version that both speak, and says so if there is none.
    #[test]
    fn agreements(versions in proptest::collection::vec(0_u16..4, 0..80)) {
        let hello = Hello { magic: MAGIC, versions, capabilities: u64::MAX, client: String::new() };
        let common = VERSIONS.iter().find(|version| hello.versions.contains(version));
        let agreed = agree(&hello, "memod").ok().map(|agreement| agreement.version);
        let is_too_long = hello.versions.len() > memod_protocol::limits::VERSIONS_MAX;
        prop_assert_eq!(agreed, common.copied().filter(|_| !is_too_long));
    }
}

#[test]
fn both_have_the_capabilities_that_are_agreed_on() {
    let agreed = |capabilities| {
        let hello = Hello::new("memo").with_capabilities(capabilities);
        agree(&hello, "memod").unwrap().capabilities
    };
    assert_eq!(agreed(0), 0, "who has none is given none");
    assert_eq!(agreed(u64::MAX), CAPABILITIES, "what nobody here knows is not agreed on");
    assert_eq!(agreed(DESCRIPTORS), DESCRIPTORS);
}

#[test]
fn a_foreign_greeting_is_malformed() {
    let mut hello = Hello::new("memo");
    hello.magic[0] ^= 1;
    let error = agree(&hello, "memod").unwrap_err();
    assert_eq!(error.code, memod_protocol::ErrorCode::Malformed);
}
