//! Reading with a look ahead.
//!
//! **Invariants.** What has been looked at is held until it is taken, and no more than was asked
//! for and one piece.

use std::io::{self, Read};

use super::PIECE_BYTES;

/// A source whose next bytes can be looked at.
#[derive(Debug)]
pub(super) struct Ahead<R> {
    from: R,
    /// What has been read and not been taken stands behind `start`.
    buffer: Vec<u8>,
    start: usize,
    taken: u64,
}

impl<R: Read> Ahead<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), start: 0, taken: 0 }
    }

    /// How many bytes have been taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// So many of the next bytes; fewer at the end.
    pub(super) fn peek(&mut self, bytes: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.start < bytes {
            self.buffer.drain(..self.start);
            self.start = 0;
            let missing = bytes - self.buffer.len();
            (&mut self.from).take(missing as u64).read_to_end(&mut self.buffer)?;
        }
        let held = self.buffer.get(self.start..).unwrap_or_default();
        Ok(held.get(..bytes).unwrap_or(held))
    }

    /// As [`peek`](Self::peek), reading a piece at a time, for who goes on by small steps.
    pub(super) fn peek_in_pieces(&mut self, bytes: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.start < bytes {
            self.peek(bytes.max(PIECE_BYTES))?;
        }
        self.peek(bytes)
    }

    /// Takes bytes that have been looked at.
    pub(super) fn skip(&mut self, bytes: usize) {
        let held = self.buffer.len() - self.start;
        let skipped = bytes.min(held);
        self.start += skipped;
        self.taken += skipped as u64;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Takes as many bytes as there is room for.
    pub(super) fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let held = self.buffer.get(self.start..).unwrap_or_default();
        let now = held.len().min(bytes.len());
        let (from_held, rest) = bytes.split_at_mut(now);
        from_held.copy_from_slice(held.get(..now).unwrap_or_default());
        self.from.read_exact(rest)?;
        let read = rest.len() as u64;
        self.skip(now);
        self.taken += read;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn what_was_looked_at_is_still_there() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut ahead = Ahead::new(bytes.as_slice());
        assert_eq!(ahead.peek(3).unwrap(), [0, 1, 2]);
        ahead.skip(1);
        assert_eq!(ahead.peek_in_pieces(2).unwrap(), [1, 2]);
        let mut some = [0; 4];
        ahead.read_exact(&mut some).unwrap();
        assert_eq!((some, ahead.taken()), ([1, 2, 3, 4], 5));
        let mut rest = vec![0; 250];
        ahead.read_exact(&mut rest).unwrap();
        assert_eq!(ahead.peek(9).unwrap(), [255]);
        assert!(ahead.read_exact(&mut [0; 2]).is_err());
    }
}
