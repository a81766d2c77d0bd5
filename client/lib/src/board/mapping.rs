//! A board's memory, mapped to be read, and a page by which a process knows that it was forked.
//!
//! **Invariants.** The only unsafe code about memory in this crate. What is mapped is a memory file
//! of exactly the size that the daemon told, which can neither shrink nor grow nor be unsealed any
//! more; so every word of the mapping is there for as long as it lives, whatever its maker does.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use nix::sys::stat::{SFlag, fstat};

/// Enough for a word; the kernel maps whole pages.
const PAGE: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");

/// Mapped memory that only its maker writes.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: it is reached only as shared references to atomic words, and tied to no thread.
#[expect(unsafe_code, reason = "a pointer into a mapping says nothing of threads")]
unsafe impl Send for Mapping {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer into a mapping says nothing of threads")]
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps so many bytes of a memory file that is sealed as a board is.
    ///
    /// # Errors
    /// If it is anything else.
    pub(super) fn new(descriptor: &OwnedFd, bytes: u64) -> io::Result<Self> {
        let stranger = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let status = fstat(descriptor)?;
        let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFREG || u64::try_from(status.st_size) != Ok(bytes) {
            return Err(stranger("it is no file of the board's size"));
        }
        let seals = SealFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GET_SEALS)?);
        let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        if !seals.contains(wanted) || !seals.contains(SealFlag::F_SEAL_FUTURE_WRITE) {
            return Err(stranger("it is not sealed as a board is"));
        }
        let length = usize::try_from(bytes).ok().and_then(NonZeroUsize::new);
        let length = length.ok_or_else(|| stranger("it is empty"))?;
        let start = map(length, descriptor)?;
        Ok(Self { start, words: length.get() / size_of::<AtomicU64>() })
    }

    /// The words.
    #[expect(unsafe_code, reason = "a mapping is a bare pointer")]
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped there, readable and aligned to pages, until `self` is
        // dropped; the file's seals keep its size. Any bits are an atomic integer. They are only
        // loaded, which is allowed of memory that is mapped to be read and not wider than the
        // processor loads at once; and whoever writes them does so atomically, or writes garbage,
        // which is a value like any other.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

#[expect(unsafe_code, reason = "the kernel maps to bare pointers")]
fn map(length: NonZeroUsize, descriptor: &OwnedFd) -> io::Result<NonNull<AtomicU64>> {
    let (protection, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    // SAFETY: the kernel chooses the place, so nothing that is there already is replaced.
    let start = unsafe { mmap(None, length, protection, flags, descriptor.as_fd(), 0) }?;
    Ok(start.cast())
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "the kernel unmaps bare pointers")]
    fn drop(&mut self) {
        let bytes = self.words * size_of::<AtomicU64>();
        // SAFETY: it was mapped so long in `new`, and every reference to it has ended with `self`.
        // It fails only for a range that cannot be one.
        let _ = unsafe { munmap(self.start.cast(), bytes) };
    }
}

/// A page that is empty in a process that was forked: looking at it costs no system call.
#[derive(Debug)]
pub(super) struct ForkMark {
    start: NonNull<AtomicU64>,
}

// SAFETY: it is reached only as a shared reference to an atomic word, and tied to no thread.
#[expect(unsafe_code, reason = "a pointer into a mapping says nothing of threads")]
unsafe impl Send for ForkMark {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer into a mapping says nothing of threads")]
unsafe impl Sync for ForkMark {}

impl ForkMark {
    /// The mark of this process.
    ///
    /// # Errors
    /// If the kernel has no such pages.
    #[expect(unsafe_code, reason = "the kernel maps to bare pointers")]
    pub(super) fn new() -> io::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so nothing that is there already is replaced.
        let start = unsafe { mmap_anonymous(None, PAGE, protection, MapFlags::MAP_PRIVATE) }?;
        let mark = Self { start: start.cast() };
        // SAFETY: the page has just been mapped and belongs to the mark alone. In a child process
        // it holds zeros then, which are an atomic integer like any other.
        unsafe { madvise(start, PAGE.get(), MmapAdvise::MADV_WIPEONFORK) }?;
        mark.word().store(1, Ordering::Relaxed);
        Ok(mark)
    }

    #[expect(unsafe_code, reason = "a mapping is a bare pointer")]
    fn word(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped, readable and writable, until `self` is dropped, and reached
        // only here.
        unsafe { self.start.as_ref() }
    }

    /// Whether this is the process that made it.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.word().load(Ordering::Relaxed) == 1
    }
}

impl Drop for ForkMark {
    #[expect(unsafe_code, reason = "the kernel unmaps bare pointers")]
    fn drop(&mut self) {
        // SAFETY: it was mapped so long in `new`, and every reference to it has ended with `self`.
        // It fails only for a range that cannot be one.
        let _ = unsafe { munmap(self.start.cast(), PAGE.get()) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use std::fs::File;

    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::unistd::{ftruncate, pipe};

    use super::*;

    const BYTES: u64 = 128 * 1024;

    fn memory(bytes: i64, seals: SealFlag) -> OwnedFd {
        let made = memfd_create(c"test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING);
        let made = made.unwrap();
        ftruncate(&made, bytes).unwrap();
        fcntl(&made, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        made
    }

    fn all() -> SealFlag {
        SealFlag::F_SEAL_FUTURE_WRITE
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SEAL
    }

    #[test]
    fn only_a_sealed_file_of_the_size_that_was_told_is_mapped() {
        let good = memory(128 * 1024, all());
        assert_eq!(Mapping::new(&good, BYTES).unwrap().words().len() as u64, BYTES / 8);
        for told in [0, BYTES - 8, BYTES + 8, 1 << 62, u64::MAX] {
            assert!(Mapping::new(&good, told).is_err(), "{told}");
        }
        for missing in all().iter() {
            assert!(Mapping::new(&memory(128 * 1024, all() - missing), BYTES).is_err());
        }
        assert!(Mapping::new(&memory(0, all()), 0).is_err());
        // A size that no machine has: it costs nothing to make, and must cost nothing to refuse.
        let huge = memory(1 << 62, all());
        assert!(Mapping::new(&huge, BYTES).is_err());
    }

    #[test]
    fn nothing_else_is_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let regular = File::create(folder.path().join("file")).unwrap();
        regular.set_len(BYTES).unwrap();
        assert!(Mapping::new(&regular.into(), BYTES).is_err(), "it could shrink");
        assert!(Mapping::new(&File::open(folder.path()).unwrap().into(), 4096).is_err());
        assert!(Mapping::new(&File::open("/dev/zero").unwrap().into(), 0).is_err());
        let (reads, _writes) = pipe().unwrap();
        assert!(Mapping::new(&reads, 0).is_err());
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Mapping::new(&one.into(), 0).is_err());
    }
}
