//! The board: a table of hot hits in shared memory, which one daemon writes and any number of
//! processes read without asking it.
//!
//! A board is an array of 64-bit words: a head, then two classes of slots of fixed size. A key has
//! its place in one set of each class, and a set has [`layout::WAYS`] slots. A slot is a seqlock:
//! its first word is odd while it is being written, and larger after each time.
//!
//! **Invariants.** A reader never waits and never writes: a slot that is being written is tried a
//! few times, then the entry counts as absent, which is always right, since the daemon can be
//! asked. What a reader takes stood in the slot as a whole at one moment while it read. Nothing in
//! the words is believed: every length is compared with its bounds, and a checksum over key,
//! lengths, bytes and sequence number must fit. When [`Writer::clear`] has returned, no read that
//! begins later gives the entry.
//!
//! **Does not** map memory, read the clock, or know what an entry's bytes mean. The words are those
//! of a [`Word`], so that a model checker can take the processor's place.

pub mod layout;
mod read;
mod word;
mod write;

#[cfg(test)]
#[path = "board/tests.rs"]
mod tests;

pub use read::{Board, BoardError, Posted};
pub use word::Word;
pub use write::{Notice, Placed, Writer};

use std::time::Duration;

use twox_hash::XxHash3_64;

/// How long a daemon that has been seen to live may be taken to live by those who read its boards.
/// A store whose daemon has died is not changed for much longer than that.
pub const TRUST: Duration = Duration::from_millis(1);
/// Beginning of the first word of a board: "memodbrd".
const MAGIC: u64 = u64::from_le_bytes(*b"memodbrd");
/// The version of the layout.
const VERSION: u64 = 1;

/// The checksum of what a slot holds behind its sequence number and the checksum itself.
fn checksum(sequence: u64, held: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(sequence, held)
}
