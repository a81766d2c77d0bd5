//! Tests of unfinished archives: what is gone on with becomes what it would have been at once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::io::Read;

use super::super::tests::{archive, entries};
use super::*;

fn origin() -> Origin {
    Origin::of("store", &Filter::default())
}

/// A file with these bytes.
fn file(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Goes on with a file and writes what is missing; gives what it was and how many were there.
fn finish(file: &File) -> Result<(Before, u64), UnfinishedError> {
    let mut keys = Vec::new();
    let mut found = |key| keys.push(key);
    let mut unfinished = Unfinished::open(file.try_clone()?, origin(), &mut found)?;
    let (before, there) = (unfinished.before, unfinished.writer.totals().entries);
    assert_eq!(keys.len() as u64, there);
    for entry in entries().iter().filter(|entry| !keys.contains(&entry.detail.key)) {
        unfinished.writer.entry(entry).unwrap();
    }
    unfinished.finish()?;
    Ok((before, there))
}

/// An archive as it stands before its beginning is written.
fn nearly() -> Vec<u8> {
    let mut bytes = archive();
    bytes[..BEGIN_BYTES].copy_from_slice(&origin().begin());
    bytes
}

#[test]
fn an_archive_cut_off_anywhere_is_gone_on_with() {
    let (whole, nearly) = (archive(), nearly());
    let mut most = 0;
    for length in (0..2000).step_by(7).chain((2000..nearly.len()).step_by(39_973)) {
        let file = file(&nearly[..length]);
        let (before, there) = finish(&file).unwrap();
        match length {
            0 => assert_eq!(before, Before::Empty),
            1..BEGIN_BYTES => assert_eq!(before, Before::Another),
            _ => assert_eq!(before, Before::Begun),
        }
        assert!(there >= most, "{length} bytes hold {there} entries, fewer held {most}");
        most = there;
        assert!(bytes_of(&file) == whole, "cut off after {length} bytes");
    }
    assert_eq!(most, 2);
    let complete = file(&nearly);
    assert_eq!(finish(&complete).unwrap(), (Before::Begun, 3));
    assert!(bytes_of(&complete) == whole);
}

#[test]
fn what_is_damaged_is_written_anew() {
    let (whole, nearly) = (archive(), nearly());
    for at in (0..2000).step_by(13).chain((2000..nearly.len()).step_by(39_973)) {
        let mut bytes = nearly.clone();
        bytes[at] ^= 1 << (at % 8);
        let file = file(&bytes);
        match finish(&file) {
            Ok(_) => assert!(bytes_of(&file) == whole, "byte {at}"),
            // It is not known any more whose it is.
            Err(UnfinishedError::Foreign) => assert!(at < MAGIC.len(), "byte {at}"),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    let zeros = file(&[0; 5000]);
    assert_eq!(finish(&zeros).unwrap(), (Before::Another, 0));
    assert!(bytes_of(&zeros) == whole);
}

#[test]
fn that_of_another_store_or_of_other_entries_is_begun_anew() {
    let of_task = Filter { task: Some("t".to_owned()), ..Filter::default() };
    for other in [Origin::of("another", &Filter::default()), Origin::of("store", &of_task)] {
        let file = file(&nearly());
        file.write_all_at(&other.begin(), 0).unwrap();
        assert_eq!(finish(&file).unwrap(), (Before::Another, 0));
        assert!(bytes_of(&file) == archive());
    }
}

#[test]
fn what_is_somebody_elses_is_left_alone() {
    for (bytes, is_whole) in [(b"a film".to_vec(), false), (archive(), true)] {
        let file = file(&bytes);
        let error = finish(&file).unwrap_err();
        assert_eq!(matches!(error, UnfinishedError::Whole), is_whole, "{error}");
        assert!(bytes_of(&file) == bytes);
    }
}

/// What stands in it can be read like an archive that is cut off.
#[test]
fn an_unfinished_archive_can_be_read() {
    let mut from = file(&nearly()[..600]);
    from.seek(SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    let mut reader = ArchiveReader::new(bytes.as_slice()).unwrap();
    assert!(reader.next_entry().unwrap().is_some());
    while let Ok(Some(_)) = reader.next_entry() {}
    assert!(matches!(reader.next_entry(), Err(ArchiveError::CutOff(_))));
}
