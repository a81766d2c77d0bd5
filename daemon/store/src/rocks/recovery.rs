//! What `RocksDB` left out of its log when it was opened: what stands behind a damaged place.
//!
//! `RocksDB` does not return that, it writes it into its own file `LOG`, which is a new one for
//! each opening.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// So much of `LOG` is looked at. What is told of recovery stands near its beginning.
const LOOKED_BYTES: u64 = 4 * 1024 * 1024;
/// Places that are told.
const TOLD_MAX: usize = 16;

/// What was left out when the database of this folder was opened last, in its own words; nothing
/// if `LOG` cannot be read.
pub(crate) fn left_out(folder: &Path) -> Vec<String> {
    let mut text = Vec::new();
    let read = File::open(folder.join("LOG"))
        .and_then(|log| log.take(LOOKED_BYTES).read_to_end(&mut text));
    if let Err(error) = read {
        tracing::debug!(%error, "what was recovered cannot be read");
    }
    places(&String::from_utf8_lossy(&text))
}

/// Whether the database of this folder has no log at all, though it always has one: what stood in
/// it only is lost with it.
pub(crate) fn lacks_log(folder: &Path) -> bool {
    let Ok(files) = fs::read_dir(folder) else { return false };
    !files.flatten().any(|file| file.path().extension().is_some_and(|name| name == "log"))
}

/// The parts of lines that say what was dropped: "FILE: dropping N bytes; WHY".
fn places(text: &str) -> Vec<String> {
    let place = |line: &str| {
        let at = line.find(": dropping ")?;
        line.get(at..)?.find(" bytes; ")?;
        let begin = line.get(..at)?.rfind([' ', ')']).map_or(0, |space| space + 1);
        Some(line.get(begin..)?.trim().to_owned())
    };
    text.lines().filter_map(place).take(TOLD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_found_among_other_lines() {
        let text = "2026/11/22-18:48:50.752022 7792 RocksDB version: 11.8.1\n\
            2026/11/22-18:48:50.76 7792 [WARN] [db/db_impl/db_impl_open.cc:99] /d/000004.log: \
            dropping 1043 bytes; Corruption: checksum mismatch\n\
            2026/11/22-18:48:50.77 7792 [WARN] something: dropping by\n";
        let expected = "/d/000004.log: dropping 1043 bytes; Corruption: checksum mismatch";
        assert_eq!(places(text), [expected]);
        let ignored = "7 [WARN] [a.cc:1] (ignoring error) 4.log: dropping 3 bytes; why";
        assert_eq!(places(ignored), ["4.log: dropping 3 bytes; why"]);
        assert_eq!(left_out(Path::new("/not/there")), Vec::<String>::new());
    }
}
