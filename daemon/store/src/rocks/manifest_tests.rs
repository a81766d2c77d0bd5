//! Lists of files that are read and changed.

use super::*;

#[test]
fn checksums_are_those_of_the_format() {
    // RFC 3720, B.4: 32 bytes of zeros, whose first is the kind here.
    let crc = checksum(0, &[0; 31]).wrapping_sub(0xa282_ead8).rotate_left(15);
    assert_eq!(crc, 0x8a91_36aa);
}

#[test]
fn records_of_all_lengths_read_back_wherever_they_begin() {
    let family = |name: &str, number| {
        let mut edit = Vec::new();
        push_number(&mut edit, tag::FAMILY_ADDED);
        push_number(&mut edit, name.len() as u64);
        edit.extend_from_slice(name.as_bytes());
        push_number(&mut edit, tag::FAMILY);
        push_number(&mut edit, number);
        edit
    };
    let mut bytes = Vec::new();
    let mut names = vec!["default".to_owned()];
    for (number, length) in
        [1, 32_700, 20, 1, 9, 40_000, 100_000, 7, 23_704, 5].into_iter().enumerate()
    {
        let name = format!("{number}").repeat(length);
        let record = record(&family(&name, number as u64 + 1), bytes.len());
        bytes.extend(record);
        names.push(name);
        for cut in [1, 5, 8] {
            let torn = bytes.len() - cut;
            let list = Manifest::read(bytes[..torn].to_vec());
            let before = list.map_or(1, |list| list.families.len());
            assert!(before < names.len() && before >= names.len() - 1, "{before} at {torn}");
        }
        let list = Manifest::read(bytes.clone()).unwrap();
        assert!(list.is_finished);
        assert_eq!(list.families.len(), names.len());
        assert!(names.iter().all(|name| list.families.contains_key(name)));
    }
    for at in (0..bytes.len()).step_by(997) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        let read = Manifest::read(damaged);
        assert!(read.is_none_or(|list| !list.is_finished), "a flip at {at} goes unnoticed");
    }
}

#[test]
fn a_family_that_is_dropped_is_none_any_more() {
    let mut families = BTreeMap::new();
    let mut edit = Vec::new();
    for number in [tag::LOG_NUMBER, 300_000, tag::FAMILY, 7, tag::FAMILY_ADDED, 1] {
        push_number(&mut edit, number);
    }
    edit.push(b'x');
    note_family(&edit, &mut families).unwrap();
    assert_eq!(families, BTreeMap::from([("x".to_owned(), 7)]));
    assert_eq!(note_family(&edit[..edit.len() - 1], &mut families), None);
    let mut edit = Vec::new();
    for number in [tag::FAMILY_DROPPED, tag::FAMILY, 7] {
        push_number(&mut edit, number);
    }
    note_family(&edit, &mut families).unwrap();
    assert_eq!(families, BTreeMap::new());
}
