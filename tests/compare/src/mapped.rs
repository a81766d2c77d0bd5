//! A plain file for each value, mapped anew for each hit and read there: the least that handing out
//! shared memory takes. It is no cache, and bound by nothing to its key.

use std::fs::File;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::rival::{Found, Place, Rival};

/// A folder of files.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Place for Folder {
    fn connect(&self) -> Result<Box<dyn Rival>> {
        Ok(Box::new(Caller { folder: self.0.clone(), path: PathBuf::new() }))
    }
}

struct Caller {
    folder: PathBuf,
    path: PathBuf,
}

impl Rival for Caller {
    fn aim(&mut self, group: &str, number: u64) {
        self.path = self.folder.join(format!("{group}-{number}"));
    }

    fn put(&mut self, content: &[u8]) -> Result<()> {
        Ok(std::fs::write(&self.path, content)?)
    }

    fn get(&mut self, expected: &[u8]) -> Result<Found> {
        compare(&self.path, expected)
    }
}

#[expect(unsafe_code, reason = "the kernel maps to bare pointers")]
fn compare(path: &Path, expected: &[u8]) -> Result<Found> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Miss),
        opened => opened?,
    };
    let bytes = usize::try_from(file.metadata()?.len())?;
    let length = NonZeroUsize::new(bytes).context("an empty value")?;
    // SAFETY: the kernel chooses the place, so nothing that is there already is replaced.
    let start =
        unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &file, 0) }?;
    // SAFETY: so many bytes have just been mapped there. The folder is made for this run, and
    // nobody writes or shortens its files once they are filled.
    let value = unsafe { std::slice::from_raw_parts(start.cast::<u8>().as_ptr(), bytes) };
    let found = Found::compare(Some(value), expected);
    // SAFETY: it was mapped so long above, and the slice is not used any more.
    unsafe { munmap(start, bytes) }?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn a_file_is_a_hit_if_all_of_it_is_as_expected() {
        let folder = std::env::temp_dir().join(format!("memod-compare-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut caller = Folder(folder.clone()).connect().unwrap();
        caller.aim("group", 1);
        assert_eq!(caller.get(b"value").unwrap(), Found::Miss);
        caller.put(b"value").unwrap();
        assert_eq!(caller.get(b"value").unwrap(), Found::Hit);
        assert_eq!(caller.get(b"valuE").unwrap(), Found::Wrong);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
