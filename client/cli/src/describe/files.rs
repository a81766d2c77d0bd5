//! Files that are named on the command line.
//!
//! **Invariants.** Content of any length is hashed with bounded memory; text that has to be held
//! as a whole is bounded by [`TEXT_BYTES_MAX`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use memod_client::InputFile;

use crate::exit::Failure;

/// Longest text that is read into memory: a call in JSON, a string, a value in JSON.
const TEXT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file that counts by its content.
///
/// # Errors
/// If it is not a regular file, or cannot be read.
pub(crate) fn input_file(path: &Path) -> Result<InputFile, Failure> {
    InputFile::read(path).map_err(|error| Failure::file("read the file", path, &error))
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
