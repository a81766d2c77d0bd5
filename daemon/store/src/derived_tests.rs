//! What stands behind an entry, byte by byte, and what follows from it.

use memod_protocol::{Provenance, RunClaim, Scope};

use super::*;
use crate::record::OutputRecord;

fn entry() -> EntryRecord {
    let output = |name: &str, bytes| OutputRecord {
        name: name.to_owned(),
        literal_type: "bytes".to_owned(),
        digest: Digest::of(name.as_bytes()),
        bytes,
    };
    EntryRecord {
        scope: Scope::new("p", "d"),
        task: "t".to_owned(),
        cache_version: "1".to_owned(),
        signature: Digest::of(b"signature"),
        outputs: vec![output("a", 300), output("b", 5)],
        provenance: Provenance {
            writer_uid: 7,
            writer_pid: None,
            program: None,
            host: None,
            created_at_ms: 8,
            run: RunClaim { compute_ns: Some(9), ..RunClaim::default() },
        },
    }
}

fn details() -> Details {
    let member = |name: &str| (name.to_owned(), "integer".to_owned());
    Details {
        apart: true,
        interface: InterfaceText { inputs: vec![member("i")], outputs: vec![member("a")] },
        inputs: vec![("i".to_owned(), Digest::from_bytes([0x11; 32]))],
    }
}

#[test]
fn a_row_is_the_entry_and_behind_it_its_details() {
    let row = entry().encode_with(&details());
    let front = wire::encode(&entry());
    assert!(row.starts_with(&front));
    let mut expected = b"\x01\x01\x01i\x07integer\x01\x01a\x07integer\x01\x01i".to_vec();
    expected.extend([0x11; 32]);
    assert_eq!(row[front.len()..], expected);
    assert_eq!(EntryRecord::decode(&row), Ok(entry()));
    assert_eq!(EntryRecord::decode_whole(&row), Ok((entry(), Some(details()))));
}

#[test]
fn a_row_of_format_2_is_read_and_one_that_is_cut_is_not() {
    let row = entry().encode_with(&details());
    let front = wire::encode(&entry()).len();
    assert_eq!(EntryRecord::decode_whole(&row[..front]), Ok((entry(), None)));
    for length in (0..row.len()).filter(|length| *length != front) {
        assert!(EntryRecord::decode_whole(&row[..length]).is_err(), "cut to {length} bytes");
    }
    assert!(EntryRecord::decode_whole(&[&row[..], &[0]].concat()).is_err());
}

#[test]
fn the_listing_follows_from_the_row() {
    let key = Key::from_bytes([3; 32]);
    let derived = Derived::of(&key, &entry(), Some(&details()));
    let listed: TaskRecord = wire::decode_record(&derived.task).unwrap();
    let expected = TaskRecord {
        created_at_ms: 8,
        compute_ns: Some(9),
        writer_uid: 7,
        outputs: 2,
        bytes: 305,
        interface: details().interface,
        inputs: details().inputs,
    };
    assert_eq!(listed, expected);
    assert_eq!(Details::from(listed), Details { apart: false, ..details() });
    assert_eq!(derived.near, near::rows(&derived.task_key, 8, &details().inputs));
    assert_eq!(derived.near.len(), 1);
    let undescribed = Derived::of(&key, &entry(), None);
    assert_eq!(undescribed.task_key, derived.task_key);
    assert!(undescribed.task.is_empty() && undescribed.near.is_empty());
}
