//! Memory that this process writes and that others, who are given its descriptor, can only read.
//!
//! **Invariants.** The only unsafe code about boards in the daemon. Before the descriptor can leave
//! this process it is sealed: nobody can write through it, map it writable, or change its size, not
//! even this process; only the mapping that was made before writes. So the mapping stays as long as
//! the memory, and nothing behind it can go away.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::ftruncate;

/// Linux's `MFD_NOEXEC_SEAL`: the memory can never be run. Kernels before 6.3 do not know it.
const NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(0x8);

/// Shared memory.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<AtomicU64>,
    words: usize,
    descriptor: Arc<OwnedFd>,
}

// SAFETY: what it points to belongs to it alone until it is dropped, is reached only as shared
// references to atomic words, and is tied to no thread.
#[expect(unsafe_code, reason = "a pointer into a mapping says nothing of threads")]
unsafe impl Send for Memory {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer into a mapping says nothing of threads")]
unsafe impl Sync for Memory {}

impl Memory {
    /// So many bytes, all zero; pages are taken when they are first written.
    ///
    /// # Errors
    /// If the kernel does not give or seal them.
    pub(super) fn new(bytes: u64) -> io::Result<Self> {
        let no_size = || io::Error::from(Errno::EINVAL);
        let length = usize::try_from(bytes).ok().and_then(NonZeroUsize::new).ok_or_else(no_size)?;
        let descriptor = create()?;
        ftruncate(&descriptor, i64::try_from(bytes).map_err(|_| no_size())?)?;
        let start = map(length, descriptor.as_fd())?;
        let memory = Self {
            start,
            words: length.get() / size_of::<AtomicU64>(),
            descriptor: Arc::new(descriptor),
        };
        let seals = SealFlag::F_SEAL_FUTURE_WRITE
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SEAL;
        fcntl(memory.descriptor.as_fd(), FcntlArg::F_ADD_SEALS(seals))?;
        Ok(memory)
    }

    /// The words.
    #[expect(unsafe_code, reason = "a mapping is a bare pointer")]
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped there, readable and writable and aligned to pages, until
        // `self` is dropped, and their size cannot change any more. Any bits are an atomic integer,
        // and nobody, in this process or another, reaches them otherwise than atomically.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// What to give to those who may read it.
    pub(super) const fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.descriptor
    }
}

fn create() -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let made = match memfd_create(c"memod-board", flags | NOEXEC_SEAL) {
        Err(Errno::EINVAL) => memfd_create(c"memod-board", flags),
        made => made,
    };
    Ok(made?)
}

#[expect(unsafe_code, reason = "the kernel maps to bare pointers")]
fn map(length: NonZeroUsize, descriptor: BorrowedFd<'_>) -> io::Result<NonNull<AtomicU64>> {
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses the place, so nothing that is there already is replaced.
    let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, descriptor, 0) }?;
    Ok(start.cast())
}

impl Drop for Memory {
    #[expect(unsafe_code, reason = "the kernel unmaps bare pointers")]
    fn drop(&mut self) {
        let bytes = self.words * size_of::<AtomicU64>();
        // SAFETY: it was mapped so long in `new`, and every reference to it has ended with `self`.
        if let Err(error) = unsafe { munmap(self.start.cast(), bytes) } {
            tracing::error!("the memory of a board cannot be given back: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_is_written_is_read_through_the_descriptor_and_nothing_can_be_written_there() {
        let memory = Memory::new(8192).expect("memory");
        memory.words().last().expect("a word").store(7, Ordering::Relaxed);
        let mut file = File::from(memory.descriptor().try_clone().expect("another descriptor"));
        let mut word = [0; 8];
        file.read_exact_at(&mut word, 8184).expect("read");
        assert_eq!(u64::from_le_bytes(word), 7);
        let refused = |outcome: io::Result<()>| {
            assert_eq!(outcome.expect_err("it is sealed").raw_os_error(), Some(libc_eperm()));
        };
        refused(file.write_all(b"x"));
        refused(file.set_len(0));
        refused(file.set_len(1 << 20));
        assert!(map(NonZeroUsize::MIN, memory.descriptor().as_fd()).is_err(), "mapped writable");
        let unseal = fcntl(memory.descriptor().as_fd(), FcntlArg::F_ADD_SEALS(SealFlag::empty()));
        assert_eq!(unseal, Err(Errno::EPERM));
    }

    fn libc_eperm() -> i32 {
        Errno::EPERM as i32
    }

    #[test]
    fn no_memory_is_made_of_no_bytes() {
        assert!(Memory::new(0).is_err());
    }
}
