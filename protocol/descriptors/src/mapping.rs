//! A sealed memory file as a slice of bytes.
//!
//! **Invariants.** Only sealed files are mapped, and only to be read: the bytes behind the slice
//! never change, and all of them are there, for as long as the mapping lives.

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::memory::SealedFile;

/// The bytes of a sealed memory file. Unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    /// Where it begins, and its length; nothing is mapped of an empty file.
    place: Option<(NonNull<c_void>, NonZeroUsize)>,
}

impl Mapping {
    #[expect(unsafe_code, reason = "memory is mapped by no other means")]
    pub(crate) fn new(file: &SealedFile) -> io::Result<Self> {
        let bytes = usize::try_from(file.bytes()).map_err(io::Error::other)?;
        let Some(length) = NonZeroUsize::new(bytes) else { return Ok(Self { place: None }) };
        let (protection, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        // SAFETY: the kernel chooses where, so no other mapping is replaced.
        let address = unsafe { mmap(None, length, protection, flags, file, 0) }?;
        Ok(Self { place: Some((address, length)) })
    }
}

impl AsRef<[u8]> for Mapping {
    #[expect(unsafe_code, reason = "the compiler does not know what is mapped")]
    fn as_ref(&self) -> &[u8] {
        let Some((address, length)) = self.place else { return &[] };
        // SAFETY: so many bytes are mapped there to be read for as long as `self` lives. The file
        // is sealed, so that nobody writes to them, and none of them goes.
        unsafe { std::slice::from_raw_parts(address.cast().as_ptr(), length.get()) }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "the compiler does not know what is mapped")]
    fn drop(&mut self) {
        if let Some((address, length)) = self.place {
            // SAFETY: it was mapped by `new`, and every slice of it borrowed `self`. It fails only
            // for what is not a mapping.
            let _ = unsafe { munmap(address, length.get()) };
        }
    }
}

#[expect(unsafe_code, reason = "a pointer is not sent to threads by itself")]
// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

#[expect(unsafe_code, reason = "a pointer is not shared by threads by itself")]
// SAFETY: it is only ever read.
unsafe impl Sync for Mapping {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use std::fs::File;

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;
    use crate::memory::{ForeignFile, MemoryError};

    /// Who keeps a writable mapping of a file can go on changing it, so it cannot be sealed.
    #[test]
    #[expect(unsafe_code, reason = "memory is mapped by no other means")]
    fn what_is_mapped_to_be_written_cannot_be_sealed() {
        let file = File::from(memfd_create("test", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        file.set_len(4096).unwrap();
        let length = NonZeroUsize::new(4096).unwrap();
        let (protection, flags) =
            (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: the kernel chooses where.
        let address = unsafe { mmap(None, length, protection, flags, &file, 0) }.unwrap();
        let seal = |seals| fcntl(&file, FcntlArg::F_ADD_SEALS(seals));
        let size = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        assert_eq!(seal(SealFlag::F_SEAL_WRITE | size), Err(Errno::EBUSY));
        // The kernel grants this while there is such a mapping; it is not enough here.
        seal(SealFlag::F_SEAL_FUTURE_WRITE | size).unwrap();
        let foreign = ForeignFile::new(file.try_clone().unwrap().into()).unwrap();
        assert!(matches!(foreign.into_sealed(), Err(MemoryError::NotSealed)));
        // SAFETY: it was mapped above, and nothing refers to it.
        unsafe { munmap(address, 4096) }.unwrap();
        seal(SealFlag::F_SEAL_WRITE).unwrap();
        let foreign = ForeignFile::new(file.into()).unwrap();
        assert!(foreign.into_sealed().unwrap().map().unwrap().as_ref() == [0; 4096]);
    }
}
