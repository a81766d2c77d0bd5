//! Descriptors that have come, until the frame that they belong to has been read.
//!
//! **Invariants.** A frame has exactly as many descriptors as its message announces, and they come
//! with its first byte. So what has come with bytes up to the end of a frame belongs to that frame
//! or to one before it, and is an error if nobody took it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use memod_protocol::limits::DESCRIPTORS_MAX;

/// One frame that is being read, and the beginning of the next.
const HELD_MAX: usize = 2 * DESCRIPTORS_MAX;

/// Descriptors that are not as the frames say. The stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// A message announces some that did not come.
    #[error("a message announces {announced} descriptors, {came} came with it")]
    Missing {
        /// How many were announced.
        announced: usize,
        /// How many came.
        came: usize,
    },
    /// Some came that no message announces.
    #[error("a descriptor came that no message announces")]
    Unannounced,
    /// More came than one frame may have, or than this process may open.
    #[error(
        "more descriptors came with a frame than the {DESCRIPTORS_MAX} that are allowed, or this \
         process may open no more"
    )]
    TooMany,
}

/// The descriptors of one connection that belong to frames still to be read.
#[derive(Debug)]
pub struct Inbox {
    /// How many may be held.
    most: usize,
    /// Bytes that have been received in all.
    received: u64,
    /// Each with how many bytes had been received when it came, in that order.
    held: VecDeque<(u64, OwnedFd)>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::holding(HELD_MAX)
    }
}

impl Inbox {
    /// An inbox that holds no more than so many.
    #[must_use]
    pub const fn holding(most: usize) -> Self {
        Self { most, received: 0, held: VecDeque::new() }
    }

    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes up what came with so many bytes.
    ///
    /// # Errors
    /// If too many are held then.
    pub(crate) fn add(
        &mut self,
        bytes: usize,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), DescriptorError> {
        self.received = self.received.saturating_add(bytes as u64);
        if self.held.len() + descriptors.len() > self.most {
            return Err(DescriptorError::TooMany);
        }
        self.held.extend(descriptors.into_iter().map(|descriptor| (self.received, descriptor)));
        Ok(())
    }

    /// Hands out those of a frame that has been read to its end, behind which `unread` bytes have
    /// been received.
    ///
    /// # Errors
    /// If there are more or fewer.
    pub fn take(
        &mut self,
        announced: usize,
        unread: usize,
    ) -> Result<Vec<OwnedFd>, DescriptorError> {
        let came = self.held.len();
        if came < announced {
            return Err(DescriptorError::Missing { announced, came });
        }
        let taken = self.held.drain(..announced).map(|(_, descriptor)| descriptor).collect();
        let end = self.received.saturating_sub(unread as u64);
        match self.held.front() {
            Some((received, _)) if *received <= end => Err(DescriptorError::Unannounced),
            _ => Ok(taken),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use std::fs::File;

    use super::*;

    fn some(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| File::open("/dev/null").unwrap().into()).collect()
    }

    #[test]
    fn a_frame_gets_exactly_what_it_announces() {
        let mut inbox = Inbox::default();
        inbox.add(10, some(2)).unwrap();
        assert_eq!(inbox.take(2, 0).unwrap().len(), 2);
        assert!(inbox.is_empty());
        inbox.add(10, some(1)).unwrap();
        let missing = DescriptorError::Missing { announced: 2, came: 1 };
        assert_eq!(inbox.take(2, 0).unwrap_err(), missing);
        assert_eq!(inbox.take(0, 0).unwrap_err(), DescriptorError::Unannounced);
    }

    #[test]
    fn what_comes_with_the_next_frame_is_left_for_it() {
        let mut inbox = Inbox::default();
        // A frame of 30 bytes that has no descriptor, and 5 bytes of one that has.
        inbox.add(20, some(0)).unwrap();
        inbox.add(15, some(1)).unwrap();
        assert!(inbox.take(0, 5).unwrap().is_empty());
        inbox.add(10, some(0)).unwrap();
        assert_eq!(inbox.take(1, 0).unwrap().len(), 1);
    }

    #[test]
    fn no_more_are_held_than_two_frames_may_have() {
        let mut inbox = Inbox::default();
        inbox.add(1, some(HELD_MAX)).unwrap();
        assert_eq!(inbox.add(1, some(1)).unwrap_err(), DescriptorError::TooMany);
        assert_eq!(inbox.take(HELD_MAX, 0).unwrap().len(), HELD_MAX);
    }
}
