//! The buffer in which the kernel hands over descriptors beside the bytes of a stream.
//!
//! **Invariants.** Here a received number becomes an owned descriptor, and nowhere else. All that
//! came are owned, also when the kernel says that there was no room for others: nix gives none of
//! them in that case, and they would stay open for good.

use std::mem::size_of;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use memod_protocol::limits::DESCRIPTORS_MAX;
use nix::libc::{SCM_RIGHTS, SOL_SOCKET, cmsghdr};

const WORD: usize = size_of::<usize>();
const HEAD_BYTES: usize = size_of::<cmsghdr>();
/// Room for as many descriptors as one frame may have. The kernel closes what does not fit.
const CONTROL_BYTES: usize = (HEAD_BYTES + DESCRIPTORS_MAX * size_of::<RawFd>()).div_ceil(8) * 8;
const _: () = assert!(HEAD_BYTES == WORD + 2 * size_of::<i32>());

/// Aligned as the kernel's own structure is, which it begins with.
#[repr(C, align(8))]
#[derive(Debug)]
pub(crate) struct Control([u8; CONTROL_BYTES]);

impl Control {
    /// Room for one `recvmsg`.
    pub(crate) const fn new() -> Self {
        Self([0; CONTROL_BYTES])
    }

    /// The room itself.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Owns what one successful `recvmsg` left here.
    pub(crate) fn take(self) -> Vec<OwnedFd> {
        numbers(&self.0).into_iter().map(own).collect()
    }
}

/// Owns a descriptor by its number.
#[expect(unsafe_code, reason = "a received descriptor is a bare number")]
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just opened it for the one `recvmsg` whose buffer it stands in, which
    // is taken by value; nothing else in this process knows the number.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// The descriptors' numbers. What the kernel did not write is zero, and no message has that length.
fn numbers(mut rest: &[u8]) -> Vec<RawFd> {
    let mut found = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<WORD>() {
        let length = usize::from_ne_bytes(*length);
        let Some(message) = rest.get(HEAD_BYTES..length) else { break };
        let mut kind = behind.as_chunks::<4>().0.iter().map(|bytes| i32::from_ne_bytes(*bytes));
        if (kind.next(), kind.next()) == (Some(SOL_SOCKET), Some(SCM_RIGHTS)) {
            let (numbers, _) = message.as_chunks::<4>();
            found.extend(numbers.iter().map(|bytes| RawFd::from_ne_bytes(*bytes)));
        }
        rest = rest.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize, level: i32, kind: i32, numbers: &[i32]) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        for number in [level, kind].iter().chain(numbers) {
            bytes.extend_from_slice(&number.to_ne_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(WORD), 0);
        bytes
    }

    #[test]
    fn numbers_are_found_among_other_messages_and_never_made_up() {
        assert!(numbers(&[0; CONTROL_BYTES]).is_empty());
        assert!(numbers(&[]).is_empty());
        let rights = message(HEAD_BYTES + 12, SOL_SOCKET, SCM_RIGHTS, &[7, 8, 9]);
        assert_eq!(numbers(&[rights.clone(), vec![0; 40]].concat()), [7, 8, 9]);
        let other = message(HEAD_BYTES + 4, SOL_SOCKET, SCM_RIGHTS + 1, &[5]);
        assert_eq!(numbers(&[other, rights].concat()), [7, 8, 9]);
        for lie in [1, HEAD_BYTES - 1, HEAD_BYTES + 400, usize::MAX] {
            assert!(numbers(&message(lie, SOL_SOCKET, SCM_RIGHTS, &[7])).is_empty(), "{lie}");
        }
        let half = message(HEAD_BYTES + 6, SOL_SOCKET, SCM_RIGHTS, &[7, 8]);
        assert_eq!(numbers(&half), [7]);
    }
}
