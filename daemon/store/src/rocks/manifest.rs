//! `MANIFEST`, the list of files of a database, as far as a repair has to know and to change it.
//!
//! It is a log of edits: records with a checksum, in blocks of 32 KiB, a record that reaches into
//! the next block in parts. An edit says what changes in one family. A file that cannot be opened
//! is taken out of the list by one more edit, as `ldb unsafe_remove_sst_file` does it, for which
//! the interface that is linked has no call.
//!
//! **Invariants.** What is there is not changed, but for a record at the end that was never
//! finished, which `RocksDB` ignores. A list with any other fault is none.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Records do not begin where a block has less room than for their head.
const BLOCK_BYTES: usize = 32 * 1024;
/// Checksum, length, and which part of a record it is.
const HEAD_BYTES: usize = 7;
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// What parts of an edit begin with.
mod tag {
    pub(super) const COMPARATOR: u64 = 1;
    pub(super) const LOG_NUMBER: u64 = 2;
    pub(super) const NEXT_FILE: u64 = 3;
    pub(super) const LAST_SEQUENCE: u64 = 4;
    pub(super) const DELETED_FILE: u64 = 6;
    pub(super) const PREVIOUS_LOG: u64 = 9;
    pub(super) const OLDEST_LOG: u64 = 10;
    pub(super) const FAMILY: u64 = 200;
    pub(super) const FAMILY_ADDED: u64 = 201;
    pub(super) const FAMILY_DROPPED: u64 = 202;
    pub(super) const LAST_FAMILY: u64 = 203;
    pub(super) const IN_GROUP: u64 = 300;
    /// What has this bit stands behind its length, and may be passed over.
    pub(super) const PASSABLE: u64 = 1 << 13;
}

/// The name of the file that names the list.
const CURRENT: &str = "CURRENT";
/// What the names of lists begin with.
const LIST: &str = "MANIFEST-";

/// A list of files.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Its bytes, up to the end of the last whole record.
    bytes: Vec<u8>,
    /// Whether nothing stands behind that.
    is_finished: bool,
    /// The families of the database, by name, and their numbers.
    families: BTreeMap<String, u64>,
}

/// A file that is to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) level: u64,
    pub(crate) number: u64,
}

impl Manifest {
    /// Reads a list; none if it is damaged.
    pub(crate) fn read(mut bytes: Vec<u8>) -> Option<Self> {
        let mut families = BTreeMap::from([("default".to_owned(), 0)]);
        let (mut at, mut end, mut begun) = (0, 0, None::<Vec<u8>>);
        while let Some(part) = Part::at(&bytes, at).ok()? {
            let mut edit = match (part.kind, begun.take()) {
                (WHOLE | FIRST, None) => Vec::new(),
                // What begins at the very end of a block has nothing of its content there.
                (MIDDLE | LAST, Some(edit)) => edit,
                _ => return None,
            };
            edit.extend(part.content);
            at = part.end;
            if matches!(part.kind, WHOLE | LAST) {
                note_family(&edit, &mut families)?;
                end = at;
            } else {
                begun = Some(edit);
            }
        }
        let is_finished = end == bytes.len();
        bytes.truncate(end);
        (end > 0).then_some(Self { bytes, is_finished, families })
    }

    /// The names of the families.
    pub(crate) fn families(&self) -> impl Iterator<Item = &str> {
        self.families.keys().map(String::as_str)
    }

    /// The list without some files of a family; none if there is no such family.
    pub(crate) fn without(&self, family: &str, files: &[Listed]) -> Option<Vec<u8>> {
        let mut bytes = self.bytes.clone();
        if !files.is_empty() {
            bytes.extend(self.removal(family, files)?);
        }
        Some(bytes)
    }

    /// The record that takes files of a family out of the list, to stand at its end.
    fn removal(&self, family: &str, files: &[Listed]) -> Option<Vec<u8>> {
        let mut edit = Vec::new();
        for file in files {
            for number in [tag::DELETED_FILE, file.level, file.number] {
                push_number(&mut edit, number);
            }
        }
        for number in [tag::FAMILY, *self.families.get(family)?] {
            push_number(&mut edit, number);
        }
        Some(record(&edit, self.bytes.len()))
    }
}

/// Writes down that files of families are gone; false if one of the families is not known.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn remove_files(
    path: &Path,
    of_families: &BTreeMap<String, Vec<Listed>>,
) -> io::Result<bool> {
    let Some(mut list) = Manifest::read(fs::read(path)?) else { return Ok(false) };
    let begin = list.bytes.len();
    for (family, files) in of_families {
        let Some(record) = list.removal(family, files) else { return Ok(false) };
        list.bytes.extend(record);
    }
    let file = OpenOptions::new().write(true).open(path)?;
    if !list.is_finished {
        file.set_len(begin as u64)?;
    }
    file.write_all_at(list.bytes.get(begin..).unwrap_or_default(), begin as u64)?;
    file.sync_all()?;
    Ok(true)
}

/// The list that a database uses.
pub(crate) fn current(database: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(database.join(CURRENT)).ok()?;
    let name = text.strip_suffix('\n').filter(|name| is_list(name))?;
    Some(database.join(name))
}

/// Names the list of files anew, if it is not named, or one that is not there, and if there is one
/// only, which is whole. Says what was wrong, if that is over.
///
/// # Errors
/// If the disk fails.
pub(crate) fn mend_current(database: &Path) -> io::Result<Option<String>> {
    if !database.is_dir() || current(database).is_some_and(|list| list.exists()) {
        return Ok(None);
    }
    let path = database.join(CURRENT);
    let mut names = Vec::new();
    for file in fs::read_dir(database)? {
        names.extend(file?.file_name().into_string().ok().filter(|name| is_list(name)));
    }
    let [name] = names.as_slice() else { return Ok(None) };
    let list = Manifest::read(fs::read(database.join(name))?);
    // With no family but the default one, the database was being made.
    if !list.is_some_and(|list| list.is_finished && list.families.len() > 1) {
        return Ok(None);
    }
    let what = if path.exists() { "does not name a list of files" } else { "is missing" };
    let new = database.join("CURRENT.dbtmp");
    let mut file = fs::File::create(&new)?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    crate::disk::sync_names(database)?;
    Ok(Some(format!("the file {} {what}; {name} is the only one", path.display())))
}

fn is_list(name: &str) -> bool {
    let digits = name.strip_prefix(LIST).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A part of a record.
struct Part<'a> {
    kind: u8,
    content: &'a [u8],
    end: usize,
}

/// Something in a list is not what was written.
struct Damaged;

impl<'a> Part<'a> {
    /// The part that begins there; none if the list ends before the part does.
    fn at(bytes: &'a [u8], mut at: usize) -> Result<Option<Self>, Damaged> {
        let left = BLOCK_BYTES - at % BLOCK_BYTES;
        if left < HEAD_BYTES {
            at += left;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [a, b, c, d, low, high, kind] = *head;
        let length = usize::from(u16::from_le_bytes([low, high]));
        let Some(content) = rest.get(..length) else { return Ok(None) };
        if u32::from_le_bytes([a, b, c, d]) != checksum(kind, content) {
            return Err(Damaged);
        }
        Ok(Some(Self { kind, content, end: at + HEAD_BYTES + length }))
    }
}

/// A record that is to stand there, in as many parts as it takes.
fn record(content: &[u8], mut at: usize) -> Vec<u8> {
    let (mut record, mut rest, mut is_first) = (Vec::new(), content, true);
    loop {
        let mut left = BLOCK_BYTES - at % BLOCK_BYTES;
        if left < HEAD_BYTES {
            record.resize(record.len() + left, 0);
            at += left;
            left = BLOCK_BYTES;
        }
        let (part, behind) = rest.split_at(rest.len().min(left - HEAD_BYTES));
        let kind = match (is_first, behind.is_empty()) {
            (true, true) => WHOLE,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        let length = u16::try_from(part.len()).expect("a block is shorter than 64 KiB");
        record.extend_from_slice(&checksum(kind, part).to_le_bytes());
        record.extend_from_slice(&length.to_le_bytes());
        record.push(kind);
        record.extend_from_slice(part);
        at += HEAD_BYTES + part.len();
        if behind.is_empty() {
            return record;
        }
        (rest, is_first) = (behind, false);
    }
}

/// Notes a family that an edit adds or drops; none if the edit cannot be read.
fn note_family(mut edit: &[u8], families: &mut BTreeMap<String, u64>) -> Option<()> {
    let (mut number, mut added, mut is_dropped) = (0, None, false);
    while !edit.is_empty() {
        match take_number(&mut edit)? {
            tag::LOG_NUMBER
            | tag::NEXT_FILE
            | tag::LAST_SEQUENCE
            | tag::PREVIOUS_LOG
            | tag::OLDEST_LOG
            | tag::LAST_FAMILY
            | tag::IN_GROUP => {
                take_number(&mut edit)?;
            }
            tag::COMPARATOR => drop(take_text(&mut edit)?),
            tag::FAMILY => number = take_number(&mut edit)?,
            tag::FAMILY_ADDED => added = Some(String::from_utf8(take_text(&mut edit)?).ok()?),
            tag::FAMILY_DROPPED => is_dropped = true,
            passable if passable & tag::PASSABLE != 0 => drop(take_text(&mut edit)?),
            // It is about files, and so neither adds a family nor drops one.
            _ => return Some(()),
        }
    }
    if is_dropped {
        families.retain(|_, of| *of != number);
    }
    if let Some(name) = added {
        families.insert(name, number);
    }
    Some(())
}

/// A number in as many groups of seven bits as it takes, the lowest first.
fn push_number(to: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("it is seven bits");
        number >>= 7;
        if number == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_text(from: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(take_number(from)?).ok()?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(text.to_vec())
}

/// What stands before a part: the CRC-32C of its kind and its content, turned and shifted so that
/// the checksum of checksums is not a weak one.
fn checksum(kind: u8, content: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    const SHIFT: u32 = 0xa282_ead8;
    // A list is short, and read only where something is wrong.
    let bits = |crc, _| (crc >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(crc & 1));
    let bytes = std::iter::once(&kind).chain(content);
    let crc = bytes.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bits));
    (!crc).rotate_right(15).wrapping_add(SHIFT)
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
