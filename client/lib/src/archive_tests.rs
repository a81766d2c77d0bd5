//! Tests of archives: what is written comes back, and what was changed does not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::collections::BTreeMap;
use std::io::Cursor;

use bytes::Bytes;
use memod_protocol::{
    Call, Delivery, Digest, Interface, InterfaceText, Literal, LiteralType, Output, Provenance,
    RunClaim, Scope,
};

use super::*;
use crate::content::{Content, HitOutput};
use crate::upkeep::WholeEntry;

fn whole_entry(number: i64, contents: &[&[u8]]) -> WholeEntry {
    let names: Vec<String> = (0..contents.len()).map(|index| format!("o{index}")).collect();
    let call = Call {
        scope: Scope::new("p", "d"),
        task: "t".into(),
        cache_version: "1".into(),
        interface: Interface {
            inputs: BTreeMap::from([("n".into(), LiteralType::Integer)]),
            outputs: names.iter().map(|name| (name.clone(), LiteralType::Bytes)).collect(),
        },
        inputs: BTreeMap::from([("n".into(), Literal::Integer(number))]),
        ignored: std::collections::BTreeSet::new(),
    };
    let identity = call.identity().unwrap();
    let described = names.iter().zip(contents).map(|(name, content)| Output {
        name: name.clone(),
        literal_type: "bytes".into(),
        digest: Digest::of(content),
        bytes: content.len() as u64,
        delivery: Delivery::Withheld,
    });
    let outputs = names.iter().zip(contents).map(|(name, content)| HitOutput {
        name: name.clone(),
        literal_type: LiteralType::Bytes,
        digest: Digest::of(content),
        bytes: content.len() as u64,
        content: Content::Memory(Bytes::copy_from_slice(content)),
    });
    let detail = EntryDetail {
        key: identity.key(),
        scope: identity.scope,
        task: identity.task,
        cache_version: identity.cache_version,
        signature: identity.signature,
        interface: InterfaceText::from(&call.interface),
        inputs: identity.inputs,
        outputs: described.collect(),
        provenance: Provenance {
            writer_uid: 7,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms: 1000,
            run: RunClaim::default(),
        },
        age_ms: 0,
    };
    WholeEntry { detail, outputs: outputs.collect() }
}

pub(super) fn entries() -> Vec<WholeEntry> {
    vec![
        whole_entry(1, &[b"first", b""]),
        whole_entry(2, &[]),
        whole_entry(3, &[&[9; 3 * PIECE_BYTES + 1]]),
    ]
}

pub(super) fn archive() -> Vec<u8> {
    let mut writer = ArchiveWriter::new(Vec::new()).unwrap();
    for entry in entries() {
        writer.entry(&entry).unwrap();
    }
    writer.finish().unwrap()
}

/// Everything that can be read, and how it ended.
fn read(bytes: &[u8]) -> (Vec<Archived>, Result<Totals, ArchiveError>) {
    let mut all = Vec::new();
    let mut reader = match ArchiveReader::new(Cursor::new(bytes)) {
        Ok(reader) => reader,
        Err(error) => return (all, Err(error)),
    };
    loop {
        match reader.next_entry() {
            Ok(Some(archived)) => all.push(archived),
            Ok(None) => return (all, Ok(reader.totals())),
            Err(error) => return (all, Err(error)),
        }
    }
}

/// That what was given out as whole is what was written.
fn assert_true(all: &[Archived]) {
    let written = entries();
    for archived in all {
        let Archived::Whole(entry) = archived else { continue };
        let of = written.iter().find(|of| of.detail.key == entry.detail.key).unwrap();
        assert_eq!(entry.detail, of.detail);
        for (output, of) in entry.outputs.iter().zip(&of.outputs) {
            assert!(output.content.to_bytes().unwrap() == of.content.to_bytes().unwrap());
        }
    }
}

#[test]
fn what_is_written_comes_back() {
    let (all, end) = read(&archive());
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|archived| matches!(archived, Archived::Whole(_))));
    assert_true(&all);
    let bytes = 5 + 3 * PIECE_BYTES as u64 + 1;
    assert_eq!(end.unwrap(), Totals { entries: 3, outputs: 3, bytes });
    let (none, end) = read(&ArchiveWriter::new(Vec::new()).unwrap().finish().unwrap());
    assert_eq!((none.len(), end.unwrap()), (0, Totals::default()));
}

#[test]
fn an_archive_that_is_cut_off_anywhere_says_so() {
    let whole = archive();
    for length in (0..2000).chain((2000..whole.len()).step_by(9973)).chain([whole.len() - 1]) {
        let (all, end) = read(&whole[..length]);
        assert_true(&all);
        match end.unwrap_err() {
            ArchiveError::NotAnArchive => assert!(length < 12),
            ArchiveError::CutOff(entries) => assert_eq!(entries, all.len() as u64),
            other => panic!("cut to {length} bytes: {other}"),
        }
    }
    let longer = [whole, vec![0]].concat();
    assert!(matches!(read(&longer).1, Err(ArchiveError::Damaged { .. })));
}

#[test]
fn a_flipped_bit_anywhere_is_told_and_no_false_byte_is_given_out() {
    let whole = archive();
    let last = whole.len() - 200..whole.len();
    for at in (0..2000).chain((2000..whole.len()).step_by(9973)).chain(last) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let (all, end) = read(&flipped);
        assert_true(&all);
        assert!(end.is_err(), "bit {} of byte {at} was flipped", at % 8);
    }
}

/// Where a damaged output ends is known, so the entries behind it are not lost with it.
#[test]
fn what_stands_behind_a_damaged_output_is_read() {
    let mut bytes = archive();
    let at = bytes.windows(5).position(|part| part == b"first").unwrap();
    bytes[at] = b'F';
    let (all, end) = read(&bytes);
    assert!(matches!(&all[0], Archived::Damaged { what } if what.contains("output `o0`")));
    assert!(matches!(all[1..], [Archived::Whole(_), Archived::Whole(_)]));
    assert!(matches!(end, Err(ArchiveError::Damaged { after: 3, .. })));
}

#[test]
fn an_entry_under_a_false_key_is_not_given_out() {
    let mut writer = ArchiveWriter::new(Vec::new()).unwrap();
    let mut entry = whole_entry(1, &[b"x"]);
    entry.detail.task = "another".into();
    writer.entry(&entry).unwrap();
    let (all, end) = read(&writer.finish().unwrap());
    assert!(matches!(&all[..], [Archived::Damaged { what }] if what.contains("another's")));
    assert!(end.is_ok());
}

#[test]
fn what_is_none_or_of_a_later_version_is_told_apart() {
    assert!(matches!(read(b"#!/bin/sh\nexit 0\n").1, Err(ArchiveError::NotAnArchive)));
    let mut later = archive();
    later[8] = 2;
    assert!(matches!(read(&later).1, Err(ArchiveError::Newer(2))));
}

/// Everything that can be read with what stands behind damage, how many were passed over, and how
/// it ended.
fn salvage(bytes: &[u8]) -> (Vec<Archived>, u64, Result<(), ArchiveError>) {
    let mut all = Vec::new();
    let mut reader = ArchiveReader::new(Cursor::new(bytes)).unwrap();
    loop {
        match reader.next_entry() {
            Ok(Some(archived)) => all.push(archived),
            Ok(None) => return (all, reader.lost(), Ok(())),
            Err(ArchiveError::Damaged { .. }) => {
                if let Err(error) = reader.find_next() {
                    return (all, reader.lost(), Err(error));
                }
            }
            Err(error) => return (all, reader.lost(), Err(error)),
        }
    }
}

/// The bytes of an entry's record up to its outputs.
fn head_bytes(entry: &WholeEntry) -> usize {
    37 + memod_protocol::wire::encode(&entry.detail).len()
}

#[test]
fn entries_behind_a_damaged_head_are_found_wherever_its_bit_was_flipped() {
    let whole = archive();
    for at in BEGIN_BYTES..BEGIN_BYTES + head_bytes(&entries()[0]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(read(&flipped).0.is_empty(), "nothing is found without looking for it");
        let (all, lost, end) = salvage(&flipped);
        assert_eq!((all.len(), lost), (2, 1), "bit {} of byte {at}", at % 8);
        assert!(all.iter().all(|archived| matches!(archived, Archived::Whole(_))));
        assert_true(&all);
        end.unwrap();
    }
}

#[test]
fn a_hole_in_an_archive_costs_what_it_hits() {
    let whole = archive();
    let second = BEGIN_BYTES + head_bytes(&entries()[0]) + 5;
    // From the middle of the first entry's head into the second's.
    for hole in [30..second + 9, second..second + 1, second + 5..second + 60] {
        let mut torn = whole.clone();
        torn[hole.clone()].fill(0);
        let (all, lost, end) = salvage(&torn);
        assert_true(&all);
        assert_eq!(all.len() as u64 + lost, 3, "{hole:?}");
        assert!(!all.is_empty(), "{hole:?}");
        end.unwrap();
        // A piece that is missing altogether.
        let missing = [&whole[..hole.start], &whole[hole.end..]].concat();
        let (all, _, end) = salvage(&missing);
        assert_true(&all);
        assert!(!all.is_empty(), "{hole:?}");
        end.unwrap();
    }
    let (all, _, end) = salvage(&[&whole[..20], &whole[21..whole.len() - 1]].concat());
    assert_true(&all);
    assert!(matches!(end, Err(ArchiveError::CutOff(2))), "its end is missing, too");
}

/// What is made to look like heads is given up, not hashed for ever.
#[test]
fn what_looks_like_many_heads_does_not_take_for_ever() {
    let mut writer = ArchiveWriter::new(Vec::new()).unwrap();
    writer.entry(&whole_entry(1, &[b"x"])).unwrap();
    let mut bytes = writer.finish().unwrap();
    bytes[20] ^= 1;
    let like_a_head = [ENTRY, 0, 0, 8, 0];
    bytes.extend(like_a_head.repeat(400_000));
    let (all, _, end) = salvage(&bytes);
    assert!(all.is_empty());
    assert!(matches!(end, Err(ArchiveError::Damaged { what, .. }) if what.contains("looks like")));
}

/// The layout is a promise: an archive of today is read by the memo of tomorrow.
#[test]
fn the_bytes_of_version_1_stay() {
    let mut writer = ArchiveWriter::new(Vec::new()).unwrap();
    writer.entry(&whole_entry(1, &[b"x"])).unwrap();
    let digest = Digest::of(&writer.finish().unwrap()).to_string();
    assert_eq!(digest, "b0aee7f82020f909f1ec8fdc2da1084989a1f8aaa6cd940aa31e6031d5ba750d");
}
