//! The rows of `near`, by which entries are found that differ from a call in one input only.
//!
//! The inputs of an entry, in order of their names, are dealt out to at most [`NEAR_BUCKETS`]
//! buckets, and the entry has a row for each bucket:
//!
//! | bytes | |
//! |---|---|
//! | 8 | group: a hash of what the entry's row in `tasks` begins with, all but the key |
//! | 8 | slot: a hash of the names and digests of all inputs outside the bucket |
//! | 8 | the instant of creation in milliseconds, inverted, so that the newest stands first |
//! | 32 | key |
//!
//! So two entries of a group that differ only inside one bucket meet in the slot of that bucket. A
//! slot does not say which bucket it leaves out: a call of two inputs also meets the entries that
//! have these two and one more.
//!
//! **Invariants.** An entry has its rows exactly as long as it has a row in `tasks`; they follow
//! from its row in `entries`. What has removed an entry that could not be read leaves its rows
//! behind. So a row is a hint: who reads one looks the entry up.

use memod_protocol::{Digest, Key};

use crate::limits::NEAR_BUCKETS;

/// A row's key; the value is empty.
pub(crate) type NearRow = [u8; ROW_BYTES];

/// What the rows of a slot begin with.
pub(crate) type SlotPrefix = [u8; SLOT_BYTES];

const ROW_BYTES: usize = 56;
const SLOT_BYTES: usize = 16;

/// The rows of an entry; none if it has no inputs. `task_row` is its key in `tasks`.
pub(crate) fn rows(
    task_row: &[u8],
    created_at_ms: u64,
    inputs: &[(String, Digest)],
) -> Vec<NearRow> {
    let Some((group, key)) = task_row.split_last_chunk::<32>() else { return Vec::new() };
    let inputs = inputs.iter().map(|(name, digest)| (name.as_str(), Some(digest)));
    let row = |slot: SlotPrefix| {
        let mut row = [0; ROW_BYTES];
        let (prefix, rest) = row.split_at_mut(SLOT_BYTES);
        let (time, to_key) = rest.split_at_mut(8);
        prefix.copy_from_slice(&slot);
        time.copy_from_slice(&(!created_at_ms).to_be_bytes());
        to_key.copy_from_slice(key);
        row
    };
    slots(group, inputs).into_iter().flatten().map(row).collect()
}

/// Slot, instant of creation and key of a row.
pub(crate) fn parse(row: &[u8]) -> Option<(SlotPrefix, u64, Key)> {
    let (slot, rest) = row.split_first_chunk::<SLOT_BYTES>()?;
    let (time, key) = rest.split_first_chunk::<8>()?;
    Some((*slot, !u64::from_be_bytes(*time), Key::from_bytes(key.try_into().ok()?)))
}

/// The slots in which entries with inputs of these names stand, one for each bucket. A digest may
/// be unknown: a slot that it would be part of is left out.
pub(crate) fn slots<'a>(
    group: &[u8],
    inputs: impl Iterator<Item = (&'a str, Option<&'a Digest>)>,
) -> Vec<Option<SlotPrefix>> {
    let buckets = buckets(inputs);
    let group = short_hash(group);
    let slot = |left_out: usize| {
        let mut outside = Vec::with_capacity(32 * NEAR_BUCKETS);
        for (_, hash) in buckets.iter().enumerate().filter(|(bucket, _)| *bucket != left_out) {
            outside.extend_from_slice(hash.as_ref()?.as_bytes());
        }
        Some(slot_prefix(group, &outside))
    };
    (0..buckets.len()).map(slot).collect()
}

/// The slot in which entries stand that have these inputs and one more, if these are so few that
/// each has a bucket of its own.
pub(crate) fn slot_of_all(group: &[u8], inputs: &[(String, Digest)]) -> Option<SlotPrefix> {
    if inputs.len() >= NEAR_BUCKETS {
        return None;
    }
    let mut outside = Vec::with_capacity(32 * NEAR_BUCKETS);
    for hash in buckets(inputs.iter().map(|(name, digest)| (name.as_str(), Some(digest)))) {
        outside.extend_from_slice(hash?.as_bytes());
    }
    Some(slot_prefix(short_hash(group), &outside))
}

/// The hash of each bucket's inputs; none for a bucket with an unknown digest.
fn buckets<'a>(
    inputs: impl Iterator<Item = (&'a str, Option<&'a Digest>)>,
) -> Vec<Option<blake3::Hash>> {
    let mut buckets: Vec<Option<Vec<u8>>> = Vec::with_capacity(NEAR_BUCKETS);
    for (index, (name, digest)) in inputs.enumerate() {
        if index < NEAR_BUCKETS {
            buckets.push(Some(Vec::with_capacity(64)));
        }
        let Some(bucket) = buckets.get_mut(index % NEAR_BUCKETS) else { continue };
        *bucket = bucket.take().zip(digest).map(|(mut bytes, digest)| {
            bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(digest.as_bytes());
            bytes
        });
    }
    buckets.into_iter().map(|bytes| bytes.map(|bytes| blake3::hash(&bytes))).collect()
}

fn slot_prefix(group: [u8; 8], outside: &[u8]) -> SlotPrefix {
    let mut prefix = [0; SLOT_BYTES];
    let (of_group, of_slot) = prefix.split_at_mut(8);
    of_group.copy_from_slice(&group);
    of_slot.copy_from_slice(&short_hash(outside));
    prefix
}

fn short_hash(bytes: &[u8]) -> [u8; 8] {
    let hash = blake3::hash(bytes);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn inputs(count: usize) -> Vec<(String, Digest)> {
        (0..count).map(|at| (format!("i{at:02}"), Digest::of(&at.to_le_bytes()))).collect()
    }

    fn task_row(group: u8, key: u8) -> Vec<u8> {
        [[group; 40].as_slice(), &[key; 32]].concat()
    }

    fn slot_set(rows: &[NearRow]) -> BTreeSet<SlotPrefix> {
        rows.iter().map(|row| parse(row).unwrap().0).collect()
    }

    #[test]
    fn an_entry_has_a_row_for_each_bucket() {
        for (count, expected) in [(0, 0), (1, 1), (3, 3), (8, 8), (9, 8), (100, 8)] {
            let rows = rows(&task_row(1, 2), 77, &inputs(count));
            assert_eq!(slot_set(&rows).len(), expected, "{count} inputs");
            assert_eq!(rows.len(), expected);
            for row in rows {
                assert_eq!(
                    parse(&row).map(|of| (of.1, of.2)),
                    Some((77, Key::from_bytes([2; 32])))
                );
                assert_eq!(parse(&row[..55]), None);
            }
        }
    }

    #[test]
    fn the_bytes_of_format_2_stay() {
        let rows = rows(&task_row(1, 2), 1, &inputs(2));
        let hash = |bytes: &[u8]| blake3::hash(bytes).as_bytes()[..8].to_vec();
        for (row, other) in rows.iter().zip([1usize, 0]) {
            let name = format!("i{other:02}");
            let digest = Digest::of(&other.to_le_bytes());
            let bucket =
                [3u64.to_le_bytes().as_slice(), name.as_bytes(), digest.as_bytes()].concat();
            let slot = hash(blake3::hash(&bucket).as_bytes());
            let time = [255, 255, 255, 255, 255, 255, 255, 254];
            assert_eq!(*row, *[hash(&[1; 40]), slot, time.to_vec(), vec![2; 32]].concat());
        }
    }

    #[test]
    fn the_newest_stands_first() {
        let row = |created_at_ms| rows(&task_row(1, 2), created_at_ms, &inputs(1))[0];
        assert!(row(u64::MAX) < row(1_700_000_000_000));
        assert!(row(1_700_000_000_000) < row(1_699_999_999_999));
        assert!(row(1) < row(0));
    }

    #[test]
    fn entries_that_differ_in_one_input_meet_in_one_slot() {
        for count in [1, 2, 7, 8, 9, 20] {
            let here = inputs(count);
            let slots = slot_set(&rows(&task_row(1, 2), 1, &here));
            for at in 0..count {
                let mut other = here.clone();
                other[at].1 = Digest::of(b"another");
                let others = slot_set(&rows(&task_row(1, 3), 2, &other));
                assert_eq!(slots.intersection(&others).count(), 1, "{count} inputs, {at} differs");
                assert_eq!(
                    slots.intersection(&slot_set(&rows(&task_row(4, 3), 2, &other))).count(),
                    0
                );
                let second = (at + 1) % count;
                if second != at {
                    other[second].1 = Digest::of(b"another");
                    let others = slot_set(&rows(&task_row(1, 3), 2, &other));
                    let one_bucket = at % NEAR_BUCKETS == second % NEAR_BUCKETS;
                    let meet = slots.intersection(&others).count();
                    assert_eq!(meet, usize::from(one_bucket), "{count} inputs, two differ");
                }
            }
        }
    }

    #[test]
    fn the_slot_of_all_is_where_entries_with_one_more_input_stand() {
        for count in [1, 2, 8] {
            let whole = inputs(count);
            let slots = slot_set(&rows(&task_row(1, 2), 1, &whole));
            for at in 0..count {
                let mut fewer = whole.clone();
                fewer.remove(at);
                let group = &task_row(1, 2)[..40];
                assert!(slots.contains(&slot_of_all(group, &fewer).unwrap()));
            }
        }
        assert_eq!(slot_of_all(b"", &inputs(8)), None);
    }

    #[test]
    fn a_slot_that_needs_an_unknown_input_is_left_out() {
        let (group, whole) = ([1; 40], inputs(3));
        let partly = |unknown: usize| {
            let known = move |at: usize| at != unknown;
            let given = whole.iter().enumerate();
            let given = given
                .map(|(at, (name, digest))| (name.as_str(), Some(digest).filter(|_| known(at))));
            slots(&group, given)
        };
        let all = rows(&task_row(1, 2), 1, &whole);
        assert!(partly(9).iter().zip(&all).all(|(slot, row)| *slot == parse(row).map(|of| of.0)));
        for unknown in 0..3 {
            for (bucket, slot) in partly(unknown).into_iter().enumerate() {
                assert_eq!(slot.is_some(), bucket == unknown);
            }
        }
    }
}
