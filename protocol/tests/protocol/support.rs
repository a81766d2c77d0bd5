//! What several themes need: files of this crate, hexadecimal, and blessing.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use memod_protocol::{Call, Scope, json};
use serde_json::Value;

/// A path inside the crate.
pub(crate) fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A text file of the crate.
pub(crate) fn read(path: &str) -> String {
    let path = in_crate(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether golden files are to be written anew instead of compared.
pub(crate) fn is_blessing() -> bool {
    std::env::var_os("MEMOD_BLESS").is_some_and(|value| value == "1")
}

/// Compares a file of the crate with what it should be, or writes it when blessing.
pub(crate) fn check_file(path: &str, wanted: &str) {
    if is_blessing() {
        std::fs::write(in_crate(path), wanted).unwrap();
        return;
    }
    let found = read(path);
    let differing = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    assert_eq!(differing, None, "{path} is not what the code gives");
    assert_eq!(found, wanted, "{path} is not what the code gives");
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    HEXLOWER.decode(digits.as_bytes()).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

/// JSON on one line, in ASCII, so that invisible characters can be seen.
pub(crate) fn ascii(value: &Value) -> String {
    let mut line = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() {
            line.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").expect("writing to a string succeeds");
            }
        }
    }
    line
}

/// The call that a JSON value describes.
pub(crate) fn call(value: &Value) -> Call {
    json::call(value, &Scope::new("no project given", "no domain given"))
        .unwrap_or_else(|error| panic!("{value}: {error}"))
}
