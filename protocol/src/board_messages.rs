//! What is said about a board: see [`crate::board`] for what stands on it.

use crate::call::Scope;
use crate::key::Key;
use crate::wire::{Decode, Encode};

/// A board. Its memory is that of the descriptor that comes with it, which can only be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct BoardOffer {
    /// The number that stands on it.
    pub id: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Hits that a client had by the board of a scope since its last report.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BoardHits {
    /// Which board's.
    pub scope: Scope,
    /// One for each key; what goes beyond `BOARD_HITS_MAX` is not counted.
    pub hits: Vec<BoardHit>,
}

/// Hits of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct BoardHit {
    /// Its key.
    pub key: Key,
    /// How many.
    pub count: u32,
    /// When the last was, in milliseconds since 1970-01-01 UTC.
    pub last_ms: u64,
    /// How long they took together, in microseconds.
    pub took_us: u64,
}
