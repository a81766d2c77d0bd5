//! Tests of puts on their way out.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use memod_protocol::{LiteralType, ResponseHeader, wire};

use super::*;
use crate::testing::call_with_outputs;

fn exchange(sizes: &[Option<u64>], limits: PeerLimits) -> Result<PutExchange, Error> {
    let names: Vec<String> = (0..sizes.len()).map(|index| format!("o{index:04}")).collect();
    let offers: Vec<Offer> = names
        .iter()
        .zip(sizes)
        .map(|(name, bytes)| Offer {
            name: name.clone(),
            bytes: *bytes,
            expected_bytes: bytes.unwrap_or(0),
            digest: None,
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let call = call_with_outputs(&names, &LiteralType::Bytes);
    let identity = call.identity().unwrap();
    let interface = InterfaceText::from(&call.interface);
    PutExchange::new(&identity, interface, &PutOptions::default(), &offers, limits)
}

fn limits(inline_bytes_max: u64) -> PeerLimits {
    PeerLimits { inline_bytes_max, ..PeerLimits::default() }
}

#[test]
fn the_smallest_travel_inline_as_long_as_they_fit_together() {
    let put = exchange(&[Some(60), Some(50), None, Some(0), Some(40)], limits(100)).unwrap();
    assert_eq!(put.inline().collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(put.uploads(), [0, 2]);
    let put = exchange(&[Some(INLINE_BYTES_MAX), Some(0)], limits(u64::MAX)).unwrap();
    assert!(put.uploads().is_empty(), "exactly the bound fits");
    let put = exchange(&[Some(INLINE_BYTES_MAX), Some(1)], limits(u64::MAX)).unwrap();
    assert_eq!(put.uploads(), [0], "whatever a daemon says, a frame has a bound");
}

#[test]
fn more_uploads_than_the_daemon_takes_are_refused_before_anything_is_sent() {
    let most = UPLOADS_OPEN_MAX as usize;
    assert!(exchange(&vec![None; most], limits(0)).is_ok());
    let refused = exchange(&vec![None; most + 1], limits(0));
    assert!(matches!(refused, Err(Error::Invalid(_))));
}

#[test]
fn an_upload_is_confirmed_with_length_and_digest() {
    let confirmed = |put: &mut PutExchange, bytes| {
        let response = Response::Uploaded { digest: Digest::of(b"abc"), bytes };
        put.uploaded(1, 0, 3, &wire::encode(&ResponseHeader { id: 1, response }))
    };
    let mut put = exchange(&[None], limits(0)).unwrap();
    assert!(matches!(confirmed(&mut put, 4), Err(Error::Protocol(_))));
    confirmed(&mut put, 3).unwrap();
    let output = put.put.outputs.first().unwrap();
    assert_eq!((output.bytes, output.digest), (3, Some(Digest::of(b"abc"))));
    put.put.outputs.first_mut().unwrap().digest = Some(Digest::of(b"other"));
    assert!(matches!(confirmed(&mut put, 3), Err(Error::Protocol(_))));
}

#[test]
fn an_output_over_the_daemons_bound_is_refused_while_it_is_read() {
    let limits = PeerLimits { blob_bytes_max: 10, ..limits(0) };
    let put = exchange(&[None], limits).unwrap();
    assert!(put.upload_data(1, 0, 0, 10).is_ok());
    assert!(matches!(put.upload_data(1, 0, 10, 1), Err(Error::Invalid(_))));
    assert!(matches!(put.upload_data(1, 0, u64::MAX, 1), Err(Error::Invalid(_))));
}
