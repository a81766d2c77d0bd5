//! Writing a board.
//!
//! **Invariants.** There is one writer. It knows what stands where from its own books, not from
//! the board. What it takes off the board it overwrites.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::layout::{CLASSES, Layout, SLOT_HEAD_WORDS, WAYS, WORD_BYTES, key_words};
use super::read::split;
use super::word::Word;
use super::{MAGIC, VERSION, checksum};
use crate::key::Key;

/// An entry that is to stand on the board.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// Its key.
    pub key: Key,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub created_at_ms: u64,
    /// The first part of its content.
    pub header: &'a [u8],
    /// The rest, in pieces.
    pub payload: &'a [&'a [u8]],
}

/// Whether an entry was put on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It stands there.
    Yes,
    /// It stands there in place of another.
    Instead,
    /// It is too long for every slot, or the board is closed.
    No,
}

/// The writer of a board.
#[derive(Debug)]
pub struct Writer {
    layout: Layout,
    classes: [Books; CLASSES],
    closed: bool,
    held: usize,
}

/// What stands in the slots of a class.
#[derive(Debug)]
struct Books {
    /// The first word of each slot's key; 0 if it is empty.
    tags: Vec<u64>,
    /// For each set: which of its slots were used of late, and above these bits its hand.
    sets: Vec<u8>,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    class: usize,
    set: usize,
    way: usize,
}

/// The tag by which the books know a key; only once in 2^64 keys is it another's, too.
fn tag(words: &[u64; 4]) -> u64 {
    words[0].max(1)
}

impl Writer {
    /// Makes a board of words that are all zero.
    pub fn begin<W: Word>(words: &[W], layout: Layout, id: u64, max_age_ms: u64) -> Self {
        let books = layout
            .classes
            .map(|class| Books { tags: vec![0; class.sets * WAYS], sets: vec![0; class.sets] });
        let [_, _, head @ ..] = words else { unreachable!("a layout has a head") };
        let said = [id, layout.bytes(), 0, max_age_ms].into_iter().chain(layout.described());
        for (word, value) in head.iter().zip(said) {
            word.store(value, Relaxed);
        }
        if let [magic, version, ..] = words {
            version.store(VERSION, Relaxed);
            magic.store(MAGIC, Release);
        }
        Self { layout, classes: books, closed: false, held: 0 }
    }

    /// How many entries stand on the board.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Says beyond which age an entry is a miss for those who do not say; 0: never.
    pub fn set_max_age<W: Word>(&self, words: &[W], max_age_ms: u64) {
        if let Some(word) = words.get(5) {
            word.store(max_age_ms, Release);
        }
    }

    /// Puts an entry on the board, in place of one of the same key or of one that was not used of
    /// late.
    pub fn publish<W: Word>(&mut self, words: &[W], notice: &Notice<'_>) -> Placed {
        let payload_bytes: usize = notice.payload.iter().map(|piece| piece.len()).sum();
        let content_bytes = notice.header.len() + payload_bytes;
        let fits = |class: &super::layout::Class| content_bytes <= class.content_bytes_max();
        let class = self.layout.classes.iter().position(fits);
        let (Some(class), false) = (class, self.closed) else { return Placed::No };
        let key = key_words(&notice.key);
        let before = self.find(tag(&key));
        let place = match before {
            Some(place) if place.class == class => place,
            other => {
                if let Some(place) = other {
                    self.vacate(words, place);
                }
                self.make_place(class, &key)
            }
        };
        let instead = before.is_none() && self.tag_at(place) != 0;
        if let Some(slot) = self.slot(words, place) {
            write(slot, &key, notice, payload_bytes);
        }
        self.note(place, tag(&key));
        if instead { Placed::Instead } else { Placed::Yes }
    }

    /// Takes an entry off the board; whether it was there.
    pub fn clear<W: Word>(&mut self, words: &[W], key: &Key) -> bool {
        let place = self.find(tag(&key_words(key)));
        if let Some(place) = place {
            self.vacate(words, place);
        }
        place.is_some()
    }

    /// Notes that an entry was used; whether it is there.
    pub fn mark(&mut self, key: &Key) -> bool {
        let Some(place) = self.find(tag(&key_words(key))) else { return false };
        if let Some(set) = self.set_mut(place) {
            *set |= 1 << place.way;
        }
        true
    }

    /// Takes everything off the board and says on it that nothing will stand there any more.
    pub fn close<W: Word>(&mut self, words: &[W]) {
        self.closed = true;
        if let Some(word) = words.get(4) {
            word.store(1, Release);
        }
        for class in 0..CLASSES {
            let sets = self.classes.get(class).map_or(0, |books| books.sets.len());
            for set in 0..sets {
                for way in 0..WAYS {
                    let place = Place { class, set, way };
                    if self.tag_at(place) != 0 {
                        self.vacate(words, place);
                    }
                }
            }
        }
    }

    fn places(&self, class: usize, tag: u64) -> impl Iterator<Item = Place> + use<> {
        let set = self.layout.classes.get(class).map_or(0, |class| class.set(tag));
        (0..WAYS).map(move |way| Place { class, set, way })
    }

    fn tag_at(&self, place: Place) -> u64 {
        let books = self.classes.get(place.class);
        let tag = books.and_then(|books| books.tags.get(place.set * WAYS + place.way));
        tag.copied().unwrap_or(0)
    }

    fn set_mut(&mut self, place: Place) -> Option<&mut u8> {
        self.classes.get_mut(place.class)?.sets.get_mut(place.set)
    }

    fn find(&self, tag: u64) -> Option<Place> {
        (0..CLASSES)
            .flat_map(|class| self.places(class, tag))
            .find(|place| self.tag_at(*place) == tag)
    }

    /// An empty slot, or the next one in its set that was not used since the hand passed it.
    fn make_place(&mut self, class: usize, key: &[u64; 4]) -> Place {
        let tag = tag(key);
        if let Some(empty) = self.places(class, tag).find(|place| self.tag_at(*place) == 0) {
            return empty;
        }
        let set = self.layout.classes.get(class).map_or(0, |class| class.set(tag));
        let mut place = Place { class, set, way: 0 };
        if let Some(state) = self.set_mut(place) {
            let mut hand = usize::from(*state >> WAYS) % WAYS;
            // At the most once around, and then the first bit has been taken away.
            while *state & (1 << hand) != 0 {
                *state &= !(1 << hand);
                hand = (hand + 1) % WAYS;
            }
            place.way = hand;
            let next = u8::try_from((hand + 1) % WAYS).expect("fewer than four");
            *state = (*state & ((1 << WAYS) - 1)) | (next << WAYS);
        }
        place
    }

    fn note(&mut self, place: Place, tag: u64) {
        let books = self.classes.get_mut(place.class);
        let held = books.and_then(|books| books.tags.get_mut(place.set * WAYS + place.way));
        let before = held.map_or(0, |held| std::mem::replace(held, tag));
        self.held += usize::from(tag != 0);
        self.held -= usize::from(before != 0);
        if let Some(set) = self.set_mut(place).filter(|_| before != tag) {
            *set &= !(1 << place.way);
        }
    }

    fn vacate<W: Word>(&mut self, words: &[W], place: Place) {
        if let Some(slot) = self.slot(words, place) {
            wipe(slot);
        }
        self.note(place, 0);
    }

    fn slot<'w, W: Word>(&self, words: &'w [W], place: Place) -> Option<&'w [W]> {
        let class = self.layout.classes.get(place.class)?;
        let from = class.first + (place.set * WAYS + place.way) * class.slot_words;
        words.get(from..from + class.slot_words)
    }
}

/// Writes an entry into a slot.
pub(super) fn write<W: Word>(
    slot: &[W],
    key: &[u64; 4],
    notice: &Notice<'_>,
    payload_bytes: usize,
) {
    let lengths = notice.header.len() as u64 | ((payload_bytes as u64) << 32);
    let mut covered = Vec::with_capacity(slot.len() * WORD_BYTES);
    for word in key.iter().chain([&notice.created_at_ms, &lengths]) {
        covered.extend_from_slice(&word.to_le_bytes());
    }
    for piece in std::iter::once(&notice.header).chain(notice.payload) {
        covered.extend_from_slice(piece);
    }
    covered.resize(covered.len().next_multiple_of(WORD_BYTES), 0);
    change(slot, |sequence, sum, rest| {
        sum.store(checksum(sequence, &covered), Relaxed);
        for (word, bytes) in rest.iter().zip(covered.chunks_exact(WORD_BYTES)) {
            word.store(u64::from_le_bytes(bytes.try_into().expect("eight bytes")), Relaxed);
        }
    });
}

/// Leaves nothing in a slot.
pub(super) fn wipe<W: Word>(slot: &[W]) {
    change(slot, |_, sum, rest| {
        let lengths = rest.get(5).map_or(0, |word| word.load(Relaxed));
        let (header_bytes, payload_bytes) = split(lengths);
        let words = header_bytes.saturating_add(payload_bytes).div_ceil(WORD_BYTES);
        sum.store(0, Relaxed);
        for word in rest.iter().take(words.saturating_add(SLOT_HEAD_WORDS - 2)) {
            word.store(0, Relaxed);
        }
    });
}

/// Changes a slot while its sequence number is odd. `change` is given the number that the slot
/// will have, the word of the checksum and all words behind it.
fn change<W: Word>(slot: &[W], change: impl FnOnce(u64, &W, &[W])) {
    let [sequence, sum, rest @ ..] = slot else { return };
    let before = sequence.load(Relaxed) & !1;
    sequence.store(before.wrapping_add(1), Relaxed);
    // Whoever sees a word that is stored below sees the odd number, too.
    W::fence(Release);
    let after = before.wrapping_add(2);
    change(after, sum, rest);
    sequence.store(after, Release);
}
