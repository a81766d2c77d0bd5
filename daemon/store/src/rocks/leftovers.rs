//! Blob files that were never finished: what a flush or a compaction leaves that ended with its
//! process, or because the disk was full.
//!
//! `RocksDB` deletes files that belong to no version of the database, but not such ones: without
//! their last 32 bytes they might be in use by a feature that memod does not use. Each would take
//! its room, of up to 64 MiB, for ever. So they are given those bytes, and `RocksDB` deletes them.
//!
//! **Invariants.** Nothing is deleted here: whether a file is wanted is for the database to judge,
//! which cannot read a file without those bytes anyway. They are appended, so that whoever may be
//! writing the file writes over them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file begins with so many bytes, and ends with a footer.
const HEADER_BYTES: u64 = 30;
const FOOTER_BYTES: usize = 32;
/// How a footer begins.
const MAGIC: [u8; 4] = 2_395_959_u32.to_le_bytes();
/// The masked CRC-32C of a footer that counts no blob.
const CHECKSUM: [u8; 4] = 0x635d_de94_u32.to_le_bytes();
/// No more files are looked at than this, the newest. What a process leaves is among them.
const LOOKS_MAX: usize = 512;

/// Finishes what is unfinished among the newest blob files of this folder. Says how many that were.
pub(crate) fn seal_leftovers(folder: &Path) -> io::Result<usize> {
    let mut numbers: Vec<u64> = fs::read_dir(folder)?
        .flatten()
        .filter_map(|file| file.file_name().to_str()?.strip_suffix(".blob")?.parse().ok())
        .collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    let mut sealed = 0;
    for number in numbers.into_iter().take(LOOKS_MAX) {
        match seal(&folder.join(format!("{number:06}.blob"))) {
            Ok(is_new) => sealed += usize::from(is_new),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sealed)
}

/// Finishes a file unless it is finished. Whether it was not.
fn seal(path: &Path) -> io::Result<bool> {
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    let mut last = [0; FOOTER_BYTES];
    if let Some(at) = bytes.checked_sub(FOOTER_BYTES as u64) {
        file.read_exact_at(&mut last, at)?;
    }
    if bytes >= HEADER_BYTES + FOOTER_BYTES as u64 && last.starts_with(&MAGIC) {
        return Ok(false);
    }
    let missing = usize::try_from(HEADER_BYTES.saturating_sub(bytes)).unwrap_or(0);
    let mut end = vec![0; missing];
    end.extend_from_slice(&MAGIC);
    end.extend_from_slice(&[0; FOOTER_BYTES - MAGIC.len() - CHECKSUM.len()]);
    end.extend_from_slice(&CHECKSUM);
    file.write_all(&end)?;
    Ok(true)
}
