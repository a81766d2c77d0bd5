//! The board against a model, against hostile words, and in every order of its accesses.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use loom::sync::atomic::AtomicU64 as Checked;
use proptest::prelude::*;

use super::layout::{BOARD_BYTES_MIN, HEAD_WORDS, Layout, SLOT_HEAD_WORDS, WAYS};
use super::*;
use crate::key::Key;

impl Word for Checked {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    fn fence(order: Ordering) {
        loom::sync::atomic::fence(order);
    }
}

fn words(bytes: u64) -> Vec<AtomicU64> {
    (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
}

fn key(number: u64) -> Key {
    // The first word decides the set: these are spread over all of them.
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    bytes[24..].copy_from_slice(&number.to_le_bytes());
    Key::from_bytes(bytes)
}

/// Content that says to which entry it belongs, and to which version of it.
fn content(number: u64, version: u64, bytes: usize) -> Vec<u8> {
    let pattern = number.wrapping_mul(31).wrapping_add(version).to_le_bytes();
    pattern.iter().copied().cycle().take(bytes).collect()
}

fn publish(
    writer: &mut Writer,
    words: &[AtomicU64],
    number: u64,
    version: u64,
    bytes: usize,
) -> Placed {
    let content = content(number, version, bytes);
    let (header, payload) = content.split_at(bytes / 3);
    let halves = payload.split_at(payload.len() / 2);
    let notice =
        Notice { key: key(number), created_at_ms: version, header, payload: &[halves.0, halves.1] };
    writer.publish(words, &notice)
}

fn read(words: &[AtomicU64], number: u64) -> Option<(u64, Vec<u8>)> {
    let board = Board::open(words).unwrap();
    let mut buffer = Vec::new();
    let posted = board.read(&key(number), &mut buffer)?;
    Some((posted.created_at_ms, [posted.header, posted.payload].concat()))
}

fn begin(bytes: u64) -> (Vec<AtomicU64>, Writer) {
    let words = words(bytes);
    let writer = Writer::begin(&words, Layout::of_bytes(bytes).unwrap(), 7, 60_000);
    (words, writer)
}

#[test]
fn what_is_published_is_read_until_it_is_cleared() {
    let (words, mut writer) = begin(BOARD_BYTES_MIN);
    let longest = Layout::of_bytes(BOARD_BYTES_MIN).unwrap().content_bytes_max();
    for bytes in [0, 1, 8, 300, 960, 961, 4096, longest] {
        assert_eq!(publish(&mut writer, &words, 1, bytes as u64, bytes), Placed::Yes);
        let found = read(&words, 1);
        assert_eq!(found, Some((bytes as u64, content(1, bytes as u64, bytes))), "{bytes}");
        assert_eq!(writer.held(), 1, "it stands there once, whatever its size");
    }
    assert_eq!(publish(&mut writer, &words, 1, 9, longest + 1), Placed::No);
    assert!(writer.clear(&words, &key(1)) && !writer.clear(&words, &key(1)));
    assert_eq!((read(&words, 1), writer.held()), (None, 0));
    let left = words[HEAD_WORDS..].iter().filter(|word| word.load(Ordering::Relaxed) != 0);
    assert!(left.count() <= 2, "nothing is left but sequence numbers");
}

#[test]
fn the_head_says_what_the_board_is() {
    let (words, mut writer) = begin(BOARD_BYTES_MIN);
    let board = Board::open(&words).unwrap();
    assert_eq!((board.id(), board.max_age_ms(), board.is_closed()), (7, 60_000, false));
    writer.set_max_age(&words, 5);
    publish(&mut writer, &words, 1, 1, 10);
    writer.close(&words);
    assert_eq!((board.max_age_ms(), board.is_closed()), (5, true));
    assert_eq!((read(&words, 1), writer.held()), (None, 0));
    assert_eq!(publish(&mut writer, &words, 1, 2, 10), Placed::No, "it is closed for good");
}

#[test]
fn an_entry_that_was_used_stays_longer_than_one_that_was_not() {
    let (words, mut writer) = begin(BOARD_BYTES_MIN);
    let layout = Layout::of_bytes(BOARD_BYTES_MIN).unwrap();
    let set = |number| {
        layout.classes[0].set(u64::from_le_bytes(key(number).as_bytes()[..8].try_into().unwrap()))
    };
    let same: Vec<u64> = (1..).filter(|n| set(*n) == set(1)).take(WAYS + 4).collect();
    for number in &same[..WAYS] {
        assert_eq!(publish(&mut writer, &words, *number, 0, 10), Placed::Yes);
    }
    assert!(writer.mark(&key(same[0])) && !writer.mark(&key(same[WAYS])));
    for number in &same[WAYS..WAYS + 3] {
        assert_eq!(publish(&mut writer, &words, *number, 0, 10), Placed::Instead);
    }
    let there: Vec<bool> = same.iter().map(|n| read(&words, *n).is_some()).collect();
    assert_eq!(there, [true, false, false, false, true, true, true, false]);
    assert_eq!(writer.held(), WAYS);
}

#[test]
fn no_board_is_made_of_other_words() {
    let (words, _) = begin(BOARD_BYTES_MIN);
    for index in [0, 1, 3, 6, 8, 11] {
        let before = words[index].swap(u64::MAX / 3, Ordering::Relaxed);
        assert_eq!(Board::open(&words).unwrap_err(), BoardError::Head, "word {index}");
        words[index].store(before, Ordering::Relaxed);
    }
    assert!(Board::open(&words).is_ok());
    let shorter = words.len() - 1;
    assert!(matches!(Board::open(&words[..shorter]), Err(BoardError::Size(_))));
    assert!(matches!(Board::open(&words[..0]), Err(BoardError::Size(0))));
    for bytes in [0, 8, BOARD_BYTES_MIN - 8, BOARD_BYTES_MIN + 1, u64::MAX, u64::MAX - 7] {
        assert_eq!(Layout::of_bytes(bytes), None, "{bytes}");
    }
}

/// The first word of the slot in which an entry stands.
fn slot_of(words: &[AtomicU64], number: u64) -> usize {
    let first = u64::from_le_bytes(key(number).as_bytes()[..8].try_into().unwrap());
    let at = (HEAD_WORDS..words.len()).find(|i| words[*i].load(Ordering::Relaxed) == first);
    at.unwrap() - 2
}

#[test]
fn a_slot_in_which_any_word_is_not_the_writers_is_not_believed() {
    let (words, mut writer) = begin(BOARD_BYTES_MIN);
    publish(&mut writer, &words, 1, 5, 300);
    let slot = slot_of(&words, 1);
    for at in slot..slot + SLOT_HEAD_WORDS + 300 / 8 {
        for wrong in [0, 1, u64::MAX, 1 << 63, 0xffff_ffff, 0x1000_0000_0000] {
            let before = words[at].load(Ordering::Relaxed);
            if wrong != before {
                words[at].store(wrong, Ordering::Relaxed);
                assert_eq!(read(&words, 1), None, "word {} is {wrong:x}", at - slot);
                words[at].store(before, Ordering::Relaxed);
            }
        }
    }
    assert!(read(&words, 1).is_some());
    // As if the writer had died in the middle.
    words[slot].fetch_add(1, Ordering::Relaxed);
    assert_eq!(read(&words, 1), None);
}

#[test]
fn an_entry_copied_to_another_slot_or_time_is_not_believed() {
    let (words, mut writer) = begin(BOARD_BYTES_MIN);
    publish(&mut writer, &words, 1, 5, 300);
    let slot = slot_of(&words, 1);
    let old: Vec<u64> = words[slot..slot + 128].iter().map(|w| w.load(Ordering::Relaxed)).collect();
    publish(&mut writer, &words, 1, 6, 300);
    // The old content under the new number.
    for (word, old) in words[slot + 1..slot + 128].iter().zip(&old[1..]) {
        word.store(*old, Ordering::Relaxed);
    }
    assert_eq!(read(&words, 1), None);
}

#[derive(Debug, Clone)]
enum Step {
    Publish(u64, usize),
    Clear(u64),
    Mark(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..60_u64;
    prop_oneof![
        4 => (number.clone(), 0..9000_usize).prop_map(|(n, bytes)| Step::Publish(n, bytes)),
        2 => number.clone().prop_map(Step::Clear),
        1 => number.prop_map(Step::Mark),
    ]
}

proptest! {
    /// What is read is what was published last and not cleared since; only room may be lacking.
    #[test]
    fn a_board_is_a_map_that_may_forget(steps in proptest::collection::vec(step(), 1..200)) {
        let (words, mut writer) = begin(BOARD_BYTES_MIN);
        let longest = Layout::of_bytes(BOARD_BYTES_MIN).unwrap().content_bytes_max();
        let mut model: HashMap<u64, (u64, Vec<u8>)> = HashMap::new();
        for (version, step) in (0..).zip(steps) {
            match step {
                Step::Publish(number, bytes) => {
                    let placed = publish(&mut writer, &words, number, version, bytes);
                    prop_assert_eq!(placed == Placed::No, bytes > longest);
                    if placed != Placed::No {
                        model.insert(number, (version, content(number, version, bytes)));
                    }
                }
                Step::Clear(number) => {
                    writer.clear(&words, &key(number));
                    prop_assert_eq!(read(&words, number), None);
                    model.remove(&number);
                }
                Step::Mark(number) => {
                    prop_assert_eq!(writer.mark(&key(number)), read(&words, number).is_some());
                }
            }
            if let Step::Publish(number, bytes) = step && bytes <= longest {
                prop_assert_eq!(read(&words, number), model.get(&number).cloned());
            }
        }
        let mut held = 0;
        for number in 0..60 {
            if let Some(found) = read(&words, number) {
                prop_assert_eq!(Some(&found), model.get(&number));
                held += 1;
            }
        }
        prop_assert_eq!(held, writer.held());
    }

    /// Whatever stands in the words, a reader ends, and gives nothing that no writer wrote.
    #[test]
    fn noise_is_not_believed(noise: [u64; 16], at in 0..200_usize) {
        let (words, mut writer) = begin(BOARD_BYTES_MIN);
        publish(&mut writer, &words, 1, 5, 300);
        let whole = read(&words, 1);
        let from = slot_of(&words, 1) - at.min(100) + 50;
        for (word, value) in words[from..].iter().zip(noise) {
            word.store(value, Ordering::Relaxed);
        }
        let found = read(&words, 1);
        prop_assert!(found.is_none() || found == whole);
    }
}

/// Readers on other processors while one slot changes as fast as it can.
#[test]
fn readers_see_whole_entries_only() {
    let (words, mut writer) = begin(BOARD_BYTES_MIN);
    let words = Arc::new(words);
    let ended = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (words, ended) = (Arc::clone(&words), Arc::clone(&ended));
            thread::spawn(move || {
                let (mut latest, mut hits) = (0, 0_u64);
                while !ended.load(Ordering::Relaxed) {
                    let Some((version, found)) = read(&words, 1) else { continue };
                    assert!(version >= latest, "{latest} was read before {version}");
                    assert!(found == content(1, version, found.len()), "torn at {version}");
                    latest = version;
                    hits += 1;
                }
                hits
            })
        })
        .collect();
    for version in 1..60_000 {
        publish(&mut writer, &words, 1, version, 100 + (version % 700) as usize);
        if version % 5 == 0 {
            writer.clear(&words, &key(1));
        }
    }
    ended.store(true, Ordering::Relaxed);
    let hits: Vec<u64> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(hits.iter().sum::<u64>() > 0, "{hits:?}");
}

/// One slot with a word of content, in all orders of its accesses and with all values that memory
/// may show. Finding a slot touches nothing that changes but its key, which is part of it.
mod checked {
    use loom::sync::Arc;
    use loom::thread;

    use super::super::layout::key_words;
    use super::super::read::{Tried, copy};
    use super::super::write::{wipe, write};
    use super::*;

    fn put(slot: &[Checked], number: u64, version: u64) {
        let header = &version.to_le_bytes();
        let notice = Notice { key: key(number), created_at_ms: version, header, payload: &[] };
        write(slot, &key_words(&key(number)), &notice, 0);
    }

    fn get(slot: &[Checked], number: u64) -> Option<u64> {
        let mut buffer = Vec::new();
        let tried = copy(slot, &key_words(&key(number)), &mut buffer);
        // Without the checksum, which would hide it if the numbers alone did not do.
        let Tried::Taken(copied) = tried else { return None };
        let found = copied.posted(&buffer).unwrap();
        assert_eq!(found.header, found.created_at_ms.to_le_bytes(), "torn");
        Some(found.created_at_ms)
    }

    /// Plays all orders in which the threads are interrupted at most so many times.
    fn play(interruptions: usize, threads: impl Fn(Arc<Vec<Checked>>) + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(interruptions);
        model.max_branches = 100_000;
        model.check(move || {
            let slot = (0..=SLOT_HEAD_WORDS).map(|_| Checked::new(0)).collect();
            threads(Arc::new(slot));
        });
    }

    #[test]
    fn no_order_of_accesses_shows_a_torn_entry() {
        play(2, |slot| {
            put(&slot, 1, 10);
            let shared = Arc::clone(&slot);
            let reader = thread::spawn(move || get(&shared, 1));
            put(&slot, 1, 20);
            let found = reader.join().unwrap();
            assert!(matches!(found, None | Some(10 | 20)), "{found:?}");
        });
    }

    /// Another's in between, and then the key's again: the number goes on, so that a reader that
    /// was interrupted meanwhile does not take it for the same.
    #[test]
    fn a_slot_that_is_used_again_is_not_taken_for_the_same() {
        play(1, |slot| {
            put(&slot, 1, 10);
            let shared = Arc::clone(&slot);
            let reader = thread::spawn(move || get(&shared, 1));
            put(&slot, 2, 30);
            put(&slot, 1, 20);
            let found = reader.join().unwrap();
            assert!(matches!(found, None | Some(10 | 20)), "{found:?}");
        });
    }

    /// Who was told that an entry is gone does not find it (semantics 24).
    #[test]
    fn what_was_cleared_before_a_word_was_given_is_not_read_after_it() {
        play(2, |slot| {
            put(&slot, 1, 10);
            let told = Arc::new(Checked::new(0));
            let (shared, hears) = (Arc::clone(&slot), Arc::clone(&told));
            let reader = thread::spawn(move || {
                let was_told = hears.load(Ordering::Acquire) == 1;
                let found = get(&shared, 1);
                assert!(!was_told || found.is_none(), "a lost invalidation: {found:?}");
            });
            wipe(&slot);
            told.store(1, Ordering::Release);
            reader.join().unwrap();
        });
    }
}
