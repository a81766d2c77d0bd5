//! Reading a board.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::layout::{CLASSES, HEAD_WORDS, Layout, SLOT_HEAD_WORDS, WAYS, WORD_BYTES, key_words};
use super::word::Word;
use super::{MAGIC, VERSION, checksum};
use crate::key::Key;

/// How often a slot is tried that is being written.
const ATTEMPTS_MAX: usize = 4;
/// Bytes that the checksum covers before the content: key, time, lengths.
const COVERED_HEAD_BYTES: usize = 48;

/// Words that are no board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BoardError {
    /// No board has so many bytes.
    #[error("a board does not have {0} bytes")]
    Size(u64),
    /// The head is none of this version.
    #[error("the head is not that of a board of this version")]
    Head,
}

/// A board that is read.
#[derive(Debug)]
pub struct Board<'a, W> {
    words: &'a [W],
    layout: Layout,
}

/// An entry that was read.
#[derive(Debug)]
pub struct Posted<'b> {
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub created_at_ms: u64,
    /// The first part of its content.
    pub header: &'b [u8],
    /// The rest.
    pub payload: &'b [u8],
}

/// What was copied out of a slot at one moment, and is not verified yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copied {
    sequence: u64,
    sum: u64,
    header_bytes: usize,
    payload_bytes: usize,
}

impl Copied {
    /// Whether these are the bytes that were written under this number.
    fn verifies(&self, buffer: &[u8]) -> bool {
        checksum(self.sequence, buffer) == self.sum
    }

    /// The entry in the buffer.
    pub(super) fn posted<'b>(&self, buffer: &'b [u8]) -> Option<Posted<'b>> {
        let (head, content) = buffer.split_at_checked(COVERED_HEAD_BYTES)?;
        let (header, rest) = content.split_at_checked(self.header_bytes)?;
        let payload = rest.get(..self.payload_bytes)?;
        let (_, time) = head.split_at_checked(4 * WORD_BYTES)?;
        let created_at_ms = u64::from_le_bytes(*time.first_chunk()?);
        Some(Posted { created_at_ms, header, payload })
    }
}

/// What became of trying a slot.
pub(super) enum Tried {
    Taken(Copied),
    /// It is another's, or empty, or not what a daemon writes.
    Other,
    /// It was being written.
    Torn,
}

impl<'a, W: Word> Board<'a, W> {
    /// Looks at the head.
    ///
    /// # Errors
    /// If this is no board, or one of another version.
    pub fn open(words: &'a [W]) -> Result<Self, BoardError> {
        let bytes = (words.len() as u64).saturating_mul(WORD_BYTES as u64);
        let layout = Layout::of_bytes(bytes).ok_or(BoardError::Size(bytes))?;
        let [magic, version, _, said, _, _, classes @ ..] = words else {
            return Err(BoardError::Head);
        };
        let is_ours = magic.load(Acquire) == MAGIC
            && version.load(Relaxed) == VERSION
            && said.load(Relaxed) == bytes
            && layout.described().iter().zip(classes).all(|(is, word)| word.load(Relaxed) == *is);
        if is_ours { Ok(Self { words, layout }) } else { Err(BoardError::Head) }
    }

    /// A board that has been looked at before: its layout is known, and cannot change.
    #[must_use]
    pub const fn of(words: &'a [W], layout: Layout) -> Self {
        Self { words, layout }
    }

    /// Where on it things stand.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The number that the daemon has given it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.head_word(2)
    }

    /// Whether the daemon has given it up: nothing will stand on it any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.head_word(4) != 0
    }

    /// Age in milliseconds beyond which an entry is a miss for those who do not say; 0: never.
    #[must_use]
    pub fn max_age_ms(&self) -> u64 {
        self.head_word(5)
    }

    fn head_word(&self, index: usize) -> u64 {
        debug_assert!(index < HEAD_WORDS);
        self.words.get(index).map_or(0, |word| word.load(Acquire))
    }

    /// The entry of a key, if it stands there now. It is copied into the buffer, at whose end the
    /// payload stands then.
    pub fn read<'b>(&self, key: &Key, buffer: &'b mut Vec<u8>) -> Option<Posted<'b>> {
        let wanted = key_words(key);
        for class in 0..CLASSES {
            for way in 0..WAYS {
                let Some(slot) = self.slot(class, way, wanted[0]) else { continue };
                for _ in 0..ATTEMPTS_MAX {
                    match copy(slot, &wanted, buffer) {
                        Tried::Taken(copied) if copied.verifies(buffer) => {
                            let content = copied.header_bytes + copied.payload_bytes;
                            buffer.truncate(COVERED_HEAD_BYTES + content);
                            return copied.posted(buffer);
                        }
                        Tried::Taken(_) | Tried::Other => break,
                        Tried::Torn => {}
                    }
                }
            }
        }
        None
    }

    fn slot(&self, class: usize, way: usize, tag: u64) -> Option<&'a [W]> {
        let class = self.layout.classes.get(class)?;
        let from = class.first + (class.set(tag) * WAYS + way) * class.slot_words;
        self.words.get(from..from + class.slot_words)
    }
}

/// Copies what the checksum covers into the buffer, if the slot is that of the key.
pub(super) fn copy<W: Word>(slot: &[W], wanted: &[u64; 4], buffer: &mut Vec<u8>) -> Tried {
    let (head, content) = slot.split_at(SLOT_HEAD_WORDS.min(slot.len()));
    let [sequence, sum, covered @ ..] = head else { return Tried::Other };
    let [first, _, _, _, _, lengths] = covered else { return Tried::Other };
    // What is written there now was another's, or will be known when it has been written.
    if first.load(Relaxed) != wanted[0] {
        return Tried::Other;
    }
    let before = sequence.load(Acquire);
    if before % 2 == 1 {
        return Tried::Torn;
    }
    let lengths = lengths.load(Relaxed);
    let (header_bytes, payload_bytes) = split(lengths);
    let content_bytes = header_bytes.saturating_add(payload_bytes);
    let content = content.get(..content_bytes.div_ceil(WORD_BYTES));
    if let Some(content) = content {
        buffer.resize(COVERED_HEAD_BYTES + content.len() * WORD_BYTES, 0);
        let words = covered.iter().chain(content);
        for (bytes, word) in buffer.chunks_exact_mut(WORD_BYTES).zip(words) {
            bytes.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
    }
    let sum = sum.load(Relaxed);
    // No read above may come after the one below.
    W::fence(Acquire);
    if sequence.load(Relaxed) != before {
        return Tried::Torn;
    }
    if content.is_none() || !begins_with(buffer, wanted) {
        return Tried::Other;
    }
    Tried::Taken(Copied { sequence: before, sum, header_bytes, payload_bytes })
}

/// Whether these words stand at the beginning.
fn begins_with(buffer: &[u8], words: &[u64; 4]) -> bool {
    let mut pieces = buffer.chunks_exact(WORD_BYTES).zip(words);
    buffer.len() >= words.len() * WORD_BYTES
        && pieces.all(|(piece, word)| *piece == word.to_le_bytes())
}

/// The lengths of the content's two parts.
pub(super) fn split(lengths: u64) -> (usize, usize) {
    let (header, payload) = (lengths & u64::from(u32::MAX), lengths >> 32);
    let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    (length(header), length(payload))
}
