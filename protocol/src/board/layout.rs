//! Where on a board things stand: a function of its size alone.
//!
//! **Invariants.** A class of slots begins behind the head or the class before it and ends within
//! the board, so a place that is computed here is a place on the board.

use crate::key::Key;

/// Bytes of a word.
pub(super) const WORD_BYTES: usize = 8;
/// Words of the head.
pub(super) const HEAD_WORDS: usize = 64;
/// Words of a slot before its content: sequence, checksum, four of the key, time, lengths.
pub(super) const SLOT_HEAD_WORDS: usize = 8;
/// Slots in a set.
pub const WAYS: usize = 4;
/// Sizes of slots.
pub const CLASSES: usize = 2;
/// Bytes of a slot of each class. Each has half of the board.
const SLOT_BYTES: [usize; CLASSES] = [1024, 8192];
/// Smallest board.
pub const BOARD_BYTES_MIN: u64 = 128 * 1024;
/// Largest board.
pub const BOARD_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Slots of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    /// Where the first begins, in words.
    pub(super) first: usize,
    /// Words of each.
    pub(super) slot_words: usize,
    /// Sets of [`WAYS`] slots.
    pub(super) sets: usize,
}

impl Class {
    /// The set in which a key has its place.
    pub(super) fn set(&self, tag: u64) -> usize {
        // The upper half of the product: a fair share of the tags to each set.
        let set = (u128::from(tag) * self.sets as u128) >> 64;
        usize::try_from(set).expect("less than the number of sets")
    }

    /// Bytes of content that fit into a slot.
    pub(super) const fn content_bytes_max(&self) -> usize {
        (self.slot_words - SLOT_HEAD_WORDS) * WORD_BYTES
    }

    /// Words of all its slots.
    const fn words(&self) -> usize {
        self.sets * WAYS * self.slot_words
    }
}

/// Where things stand on a board of some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub(super) words: usize,
    pub(super) classes: [Class; CLASSES],
}

impl Layout {
    /// The layout of a board of so many bytes; none if no board has that size.
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Option<Self> {
        let whole_words = bytes.is_multiple_of(WORD_BYTES as u64);
        if !(BOARD_BYTES_MIN..=BOARD_BYTES_MAX).contains(&bytes) || !whole_words {
            return None;
        }
        let words = usize::try_from(bytes).ok()? / WORD_BYTES;
        let share = (words - HEAD_WORDS) / CLASSES;
        let class = |first, slot_bytes: usize| {
            let slot_words = slot_bytes / WORD_BYTES;
            Class { first, slot_words, sets: share / (WAYS * slot_words) }
        };
        let [small, large] = SLOT_BYTES;
        let small = class(HEAD_WORDS, small);
        let large = class(HEAD_WORDS + small.words(), large);
        Some(Self { words, classes: [small, large] })
    }

    /// Bytes of the board.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.words * WORD_BYTES) as u64
    }

    /// Bytes of the longest content that has a place.
    #[must_use]
    pub fn content_bytes_max(&self) -> usize {
        self.classes.iter().map(Class::content_bytes_max).max().unwrap_or(0)
    }

    /// What the head says of the classes.
    pub(super) fn described(&self) -> [u64; 3 * CLASSES] {
        let [small, large] = self.classes;
        [small.first, small.slot_words, small.sets, large.first, large.slot_words, large.sets]
            .map(|number| number as u64)
    }
}

/// A key as words.
pub(super) fn key_words(key: &Key) -> [u64; 4] {
    let bytes = key.as_bytes();
    let mut words = [0; 4];
    for (word, piece) in words.iter_mut().zip(bytes.chunks_exact(WORD_BYTES)) {
        *word = u64::from_le_bytes(piece.try_into().expect("eight bytes"));
    }
    words
}
