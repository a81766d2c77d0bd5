//! Files that are named on the command line.
//!
//! **Invariants.** Content of any length is hashed with bounded memory; text that has to be held
//! as a whole is bounded by [`TEXT_BYTES_MAX`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use memod_protocol::Digest;

use crate::exit::Failure;

/// Longest text that is read into memory: a call in JSON, a string, a value in JSON.
const TEXT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The digest and the length of a file's content.
///
/// # Errors
/// If it is not a file, or cannot be read.
pub(crate) fn hash_file(path: &Path) -> Result<(Digest, u64), Failure> {
    hash(path).map_err(|error| Failure::file("read the file", path, &error))
}

fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() {
        // To open a pipe would wait for its other end.
        let what = if kind.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(io::Error::other(what));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok((hasher.finalize().into(), hasher.count()))
}

/// The text in a file, or on standard input for `-`.
///
/// # Errors
/// If it cannot be read, is not UTF-8 or longer than [`TEXT_BYTES_MAX`].
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") {
        bounded(io::stdin().lock())
    } else {
        File::open(path).and_then(bounded)
    };
    read.map_err(|error| Failure::file("read the text in", path, &error))
}

fn bounded(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        let problem = format!("it is longer than {TEXT_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}
