//! Finds the way past rows that cannot be read.
//!
//! **Invariants.** What is skipped begins with a row that cannot be read. It ends at the first row
//! that can be, unless there are several damaged places close together; then rows between them
//! may be skipped too.

use crate::rocks::{Read, RocksError, Rows, is_damage};
use crate::schema::prefix_end;

/// Behind every key of every column.
const END: [u8; 8] = [u8::MAX; 8];

/// Puts a walk that met damage, when it had come up to `from`, at a row behind it; at the end if
/// there is none. False if nothing behind it can be read.
///
/// # Errors
/// If the disk cannot be read.
pub(crate) fn damage(rows: &mut Rows<'_>, from: &[u8]) -> Result<bool, RocksError> {
    let mut works = |key: &[u8]| {
        // A seek behind one that failed may report the same failure again, wherever it goes; one
        // that succeeds in between, at the end, ends that.
        rows.seek(&END);
        rows.seek(key);
        match rows.row() {
            Ok(_) => Ok(true),
            Err(error) if is_damage(&error) => Ok(false),
            Err(error) => Err(error),
        }
    };
    // Ever further, to where the damage is over ..
    let mut bad = from.to_vec();
    let mut good = None;
    let ends = (1..=from.len()).rev().filter_map(|length| prefix_end(from.get(..length)?));
    for end in ends.chain([END.to_vec()]) {
        if works(&end)? {
            good = Some(end);
            break;
        }
        bad = end;
    }
    let Some(mut good) = good else { return Ok(false) };
    // .. and back, by halves, to where it just is.
    let common = bad.iter().zip(&good).take_while(|(a, b)| a == b).count();
    let (head, mut low, mut high) = (
        good.get(..common).unwrap_or_default().to_vec(),
        number(&bad, common),
        number(&good, common),
    );
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let key = [head.as_slice(), &middle.to_be_bytes()].concat();
        if works(&key)? {
            (high, good) = (middle, key);
        } else {
            low = middle;
        }
    }
    works(&good)
}

/// Whether the walk, which had come up to `from`, is at a row, if need be past what cannot be read.
///
/// # Errors
/// If the disk cannot be read.
pub(crate) fn is_at_row(rows: &mut Rows<'_>, from: &[u8]) -> Result<bool, RocksError> {
    match rows.row() {
        Ok(row) => Ok(row.is_some()),
        Err(error) if is_damage(&error) => Ok(damage(rows, from)? && rows.row()?.is_some()),
        Err(error) => Err(error),
    }
}

/// The row, if there is one that can be read.
///
/// # Errors
/// If the disk cannot be read.
pub(crate) fn readable<T>(read: Result<Read<T>, RocksError>) -> Result<Option<T>, RocksError> {
    match read {
        Ok(Read::Row(row)) => Ok(Some(row)),
        Ok(Read::Absent | Read::WouldBlock) => Ok(None),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Hands over each row that can be read; whether there were others.
///
/// # Errors
/// If the disk cannot be read, or `with` fails.
pub(crate) fn each_readable<E: From<RocksError>>(
    mut rows: Rows<'_>,
    mut with: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<bool, E> {
    let (mut from, mut is_damaged) = (Vec::new(), false);
    rows.first();
    loop {
        match rows.row() {
            Ok(Some((key, value))) => {
                from.clear();
                from.extend_from_slice(key);
                from.push(0);
                with(key, value)?;
                rows.forward();
            }
            Ok(None) => return Ok(is_damaged),
            Err(error) if is_damage(&error) => {
                tracing::error!(%error, "rows cannot be read and are passed over");
                is_damaged = true;
                if !damage(&mut rows, &from)? {
                    return Ok(true);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The eight bytes from there on, as a number.
fn number(key: &[u8], from: usize) -> u64 {
    let mut bytes = [0; 8];
    for (to, byte) in bytes.iter_mut().zip(key.iter().skip(from)) {
        *to = *byte;
    }
    u64::from_be_bytes(bytes)
}
