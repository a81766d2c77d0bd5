//! Tests of hits on their way in.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use memod_protocol::{LiteralType, ResponseHeader, WireError, wire};

use super::*;
use crate::testing::{call_with_outputs, hit};

const ID: u64 = 7;

fn call() -> Call {
    call_with_outputs(&["a", "b", "c"], &LiteralType::Bytes)
}

fn encoded(response: Response) -> Vec<u8> {
    wire::encode(&ResponseHeader { id: ID, response })
}

fn read_first(call: &Call, response: Response, payload_bytes: usize) -> Result<First, Error> {
    let identity = call.identity().unwrap();
    first(
        ID,
        Wanted::Call { call, identity: &identity }.expect(),
        &encoded(response),
        payload_bytes,
    )
}

fn transfer(contents: &[(&str, &[u8], Delivery)]) -> Transfer {
    let inline = contents.iter().filter(|c| c.2 == Delivery::Inline).map(|c| c.1.len()).sum();
    match read_first(&call(), hit(&call(), contents), inline).unwrap() {
        First::Hit(transfer) => *transfer,
        First::Miss { miss, .. } => panic!("{miss:?}"),
    }
}

fn chunk(output: u32, offset: u64) -> Vec<u8> {
    encoded(Response::Chunk { output, offset })
}

#[test]
fn inline_outputs_come_first_then_streamed_ones_and_empty_ones_too() {
    let mut transfer = transfer(&[
        ("a", b"12345", Delivery::Stream),
        ("b", b"678", Delivery::Inline),
        ("c", b"", Delivery::Stream),
    ]);
    assert_eq!(transfer.step(), Step::Begin(1));
    assert_eq!(transfer.step(), Step::Move(3));
    assert_eq!(transfer.step(), Step::Begin(0));
    assert_eq!(transfer.step(), Step::Receive);
    transfer.chunk(&chunk(0, 0), 4).unwrap();
    assert_eq!(transfer.step(), Step::Move(4));
    assert_eq!(transfer.step(), Step::Receive);
    transfer.chunk(&chunk(0, 4), 1).unwrap();
    assert_eq!(transfer.step(), Step::Move(1));
    assert_eq!(transfer.step(), Step::Begin(2));
    assert_eq!(transfer.step(), Step::Done);
    assert_eq!(transfer.step(), Step::Done);
}

#[test]
fn outputs_in_files_come_behind_inline_ones_each_with_one_descriptor() {
    let mut transfer = transfer(&[
        ("a", b"12345", Delivery::Stream),
        ("b", b"", Delivery::Sealed),
        ("c", b"678", Delivery::Sealed),
    ]);
    assert_eq!(transfer.descriptors(), 2);
    for index in [1, 2] {
        assert_eq!(transfer.step(), Step::Begin(index));
        assert_eq!(transfer.step(), Step::Map(index));
    }
    assert_eq!(transfer.step(), Step::Begin(0));
    assert_eq!(transfer.step(), Step::Receive);
    transfer.chunk(&chunk(0, 0), 5).unwrap();
    assert_eq!(transfer.step(), Step::Move(5));
    assert_eq!(transfer.step(), Step::Done);
}

#[test]
fn a_chunk_out_of_order_or_too_long_ends_the_transfer() {
    let contents: [(&str, &[u8], Delivery); 3] = [
        ("a", b"12345", Delivery::Stream),
        ("b", b"67", Delivery::Stream),
        ("c", b"", Delivery::Inline),
    ];
    let begun = || {
        let mut transfer = transfer(&contents);
        while transfer.step() != Step::Receive {}
        transfer
    };
    for (output, offset, bytes) in [(1, 0, 2), (0, 1, 4), (0, 0, 6), (0, 0, 0), (9, 0, 1)] {
        let refused = begun().chunk(&chunk(output, offset), bytes);
        assert!(matches!(refused, Err(Error::Protocol(_))), "{output} {offset} {bytes}");
    }
    begun().chunk(&chunk(0, 0), 5).unwrap();
}

#[test]
fn an_error_in_mid_stream_voids_the_hit() {
    let mut transfer = transfer(&[
        ("a", b"12345", Delivery::Stream),
        ("b", b"", Delivery::Inline),
        ("c", b"", Delivery::Inline),
    ]);
    let error = |code| Response::Error(WireError::new(code, "the disk is gone"));
    let miss = transfer.chunk(&encoded(error(ErrorCode::Internal)), 0).unwrap().unwrap();
    assert_eq!((miss.key, miss.reason), (call().key().unwrap(), MissReason::Corrupt));
    assert_eq!(miss.detail.as_deref(), Some("the disk is gone"));
    let stopping = transfer.chunk(&encoded(error(ErrorCode::ShuttingDown)), 0);
    assert!(matches!(stopping, Err(Error::Daemon(_))));
    assert!(matches!(transfer.chunk(&encoded(Response::Pong), 0), Err(Error::Protocol(_))));
}

#[test]
fn outputs_other_than_the_declared_ones_are_a_corrupt_miss() {
    let corrupt = |response| match read_first(&call(), response, 0).unwrap() {
        First::Miss { miss, settled } => {
            assert!(!settled, "a stream may follow");
            assert_eq!(miss.key, call().key().unwrap());
            miss.reason == MissReason::Corrupt
        }
        First::Hit(_) => false,
    };
    let good: Vec<_> = ["a", "b", "c"].iter().map(|n| (*n, &b""[..], Delivery::Inline)).collect();
    assert!(!corrupt(hit(&call(), &good)));
    assert!(corrupt(hit(&call(), &good[..2])), "one is missing");
    let mut renamed = good.clone();
    renamed[2].0 = "d";
    assert!(corrupt(hit(&call(), &renamed)));
    for text in ["string", "no type at all", ""] {
        let Response::Hit(mut retyped) = hit(&call(), &good) else { panic!() };
        retyped.outputs[1].literal_type = text.into();
        assert!(corrupt(Response::Hit(retyped)), "{text}");
    }
}

#[test]
fn numbers_that_cannot_be_meant_are_refused() {
    let good: [(&str, &[u8], Delivery); 3] = [
        ("a", b"12", Delivery::Inline),
        ("b", b"3", Delivery::Inline),
        ("c", b"", Delivery::Inline),
    ];
    let refused = |response, payload_bytes| {
        matches!(read_first(&call(), response, payload_bytes), Err(Error::Protocol(_)))
    };
    assert!(!refused(hit(&call(), &good), 3));
    assert!(refused(hit(&call(), &good), 2));
    assert!(refused(hit(&call(), &good), 4));
    let altered = |alter: &dyn Fn(&mut Hit)| {
        let Response::Hit(mut response) = hit(&call(), &good) else { panic!() };
        alter(&mut response);
        refused(Response::Hit(response), 3)
    };
    assert!(altered(&|hit| hit.outputs[0].bytes = u64::MAX));
    assert!(altered(&|hit| {
        hit.outputs[0].bytes = BLOB_BYTES_MAX + 1;
        hit.outputs[0].delivery = Delivery::Stream;
    }));
    assert!(altered(&|hit| hit.outputs[2].delivery = Delivery::Withheld));
    assert!(altered(&|hit| hit.key = Key::from_bytes([9; 32])));
    let many = |hit: &mut Hit| hit.outputs = vec![hit.outputs[2].clone(); OUTPUTS_MAX + 1];
    assert!(altered(&many));
}

#[test]
fn a_miss_is_of_the_key_that_was_asked_for() {
    let answer =
        |key| read_first(&call(), Response::Miss(miss(key, MissReason::NeverSeen, None)), 0);
    let First::Miss { miss, settled } = answer(call().key().unwrap()).unwrap() else { panic!() };
    assert_eq!((miss.reason, settled), (MissReason::NeverSeen, true));
    assert!(matches!(answer(Key::from_bytes([1; 32])), Err(Error::Protocol(_))));
    assert!(matches!(read_first(&call(), Response::Pong, 0), Err(Error::Protocol(_))));
}

#[test]
fn a_read_gives_the_one_output_that_was_asked_for() {
    let call = call_with_outputs(&["a", "b"], &LiteralType::Bytes);
    let key = call.key().unwrap();
    let answer = |contents: &[(&str, &[u8], Delivery)]| {
        let wanted = Wanted::Output { key, name: "b" };
        first(ID, wanted.expect(), &encoded(hit(&call, contents)), 0).unwrap()
    };
    assert!(matches!(answer(&[("b", b"", Delivery::Inline)]), First::Hit(_)));
    assert!(matches!(answer(&[("a", b"", Delivery::Inline)]), First::Miss { .. }));
    assert!(matches!(answer(&[]), First::Miss { .. }));
}
