//! Memory files: written once, sealed, and then read by whoever holds the descriptor.
//!
//! **Invariants.** A [`SealedFile`] can be neither written nor made longer or shorter by anybody,
//! whatever descriptors or mappings of it somebody may have kept: the kernel refuses the seal
//! against writing while there is a writable mapping. So what was verified once stays so, and no
//! read of a mapping lies behind the end.
//!
//! **Does not** trust what comes from elsewhere before [`SealedFile::check`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

use crate::mapping::Mapping;

/// What makes a memory file immutable.
const SEALS: SealFlag =
    SealFlag::F_SEAL_WRITE.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW);
/// `MFD_NOEXEC_SEAL`, which nix has no name for: the file can never be made executable.
const NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(8);

/// Why a descriptor is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// It is no memory file: a directory, a pipe, a device, a file on a disk.
    #[error("the descriptor is not that of a memory file")]
    NotMemory,
    /// Somebody could still change it.
    #[error("the memory file is not sealed against being written, shortened and made longer")]
    NotSealed,
    /// It has another length than it should have.
    #[error("the memory file has {actual} bytes, not {wanted}")]
    Length {
        /// Its length in bytes.
        actual: u64,
        /// The length that was announced.
        wanted: u64,
    },
    /// The kernel does not tell.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A memory file that is being written.
#[derive(Debug)]
pub struct MemoryFile(File);

impl MemoryFile {
    /// A file of this length, all zero.
    ///
    /// # Errors
    /// If there is no memory or no descriptor for it.
    pub fn new(bytes: u64) -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let created = match memfd_create("memod", flags | NOEXEC_SEAL) {
            // A kernel before 6.3.
            Err(Errno::EINVAL) => memfd_create("memod", flags),
            other => other,
        };
        let file = File::from(created?);
        file.set_len(bytes)?;
        Ok(Self(file))
    }

    /// Writes all of this at an offset; several threads may, at different ones.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn write_at(&self, content: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(content, offset)
    }

    /// Ends the writing for good.
    ///
    /// # Errors
    /// If somebody has a writable mapping of it.
    pub fn seal(self) -> io::Result<SealedFile> {
        fcntl(&self.0, FcntlArg::F_ADD_SEALS(SEALS | SealFlag::F_SEAL_SEAL))?;
        let bytes = self.0.metadata()?.len();
        Ok(SealedFile { file: self.0, bytes })
    }
}

/// A memory file from elsewhere: sealed or not, it is one.
#[derive(Debug)]
pub struct ForeignFile {
    file: File,
    is_sealed: bool,
    bytes: u64,
}

impl ForeignFile {
    /// Takes over a descriptor that somebody sent.
    ///
    /// Only memory files know seals. Others may stand on a file system that its sender serves, on
    /// which a read may take for ever.
    ///
    /// # Errors
    /// If it is no regular file in memory.
    pub fn new(descriptor: OwnedFd) -> Result<Self, MemoryError> {
        let file = File::from(descriptor);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(MemoryError::NotMemory);
        }
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map_err(|errno| match errno {
            Errno::EINVAL => MemoryError::NotMemory,
            other => MemoryError::Io(other.into()),
        })?;
        let is_sealed = SealFlag::from_bits_retain(seals).contains(SEALS);
        Ok(Self { file, is_sealed, bytes: metadata.len() })
    }

    /// Its length in bytes when it was taken over.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all of it has memory already, in ordinary pages, so that a mapping of it never needs
    /// memory that there may not be.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn is_solid(&self) -> io::Result<bool> {
        let held = self.file.metadata()?.blocks().saturating_mul(512);
        Ok(held >= self.bytes && fstatfs(&self.file)?.filesystem_type() == TMPFS_MAGIC)
    }

    /// Fills the buffer from an offset on.
    ///
    /// # Errors
    /// If it is shorter, which an unsealed one may become at any time, or cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// The same as a sealed file.
    ///
    /// # Errors
    /// If it is not sealed.
    pub fn into_sealed(self) -> Result<SealedFile, MemoryError> {
        if self.is_sealed {
            Ok(SealedFile { file: self.file, bytes: self.bytes })
        } else {
            Err(MemoryError::NotSealed)
        }
    }
}

/// A memory file that nobody can change.
#[derive(Debug)]
pub struct SealedFile {
    file: File,
    bytes: u64,
}

impl SealedFile {
    /// Takes over a descriptor that somebody sent.
    ///
    /// # Errors
    /// If it is not that of a sealed memory file of this length.
    pub fn check(descriptor: OwnedFd, wanted: u64) -> Result<Self, MemoryError> {
        let sealed = ForeignFile::new(descriptor)?.into_sealed()?;
        let actual = sealed.bytes;
        if actual == wanted { Ok(sealed) } else { Err(MemoryError::Length { actual, wanted }) }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Maps all of it to be read.
    ///
    /// # Errors
    /// If there is no room for it in the address space.
    pub fn map(&self) -> io::Result<Mapping> {
        Mapping::new(self)
    }
}

impl AsFd for SealedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<SealedFile> for OwnedFd {
    fn from(sealed: SealedFile) -> Self {
        sealed.file.into()
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
