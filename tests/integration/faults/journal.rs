//! The journal of a daemon's disk: every change and every sync, as the preloaded library wrote
//! them down (`tests/faults/src/journal.rs` says in which form).

use std::ops::Range;

/// What a record is about. Folders and names go by their paths below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A process begins.
    Start,
    /// A file that an earlier process made.
    Found {
        file: u64,
        path: String,
    },
    Create {
        file: u64,
        path: String,
    },
    Mkdir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    /// Of a file or of a folder.
    Unlink {
        path: String,
    },
    Link {
        from: String,
        to: String,
    },
    Write {
        file: u64,
        offset: usize,
        bytes: Range<usize>,
    },
    Truncate {
        file: u64,
        bytes: usize,
    },
    /// `began`: the records before it are covered.
    Sync {
        file: u64,
        began: usize,
        done: bool,
    },
    SyncFolder {
        path: String,
        began: usize,
        done: bool,
    },
}

/// A record.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// When it was made, by the monotonic clock.
    pub(super) at_us: u64,
    /// How long the journal is with it.
    pub(super) end: u64,
    pub(super) what: What,
}

/// A journal.
pub(super) struct Journal {
    pub(super) records: Vec<Record>,
    bytes: Vec<u8>,
}

impl Journal {
    /// Reads a journal. The daemon may have been killed in the middle of the last record.
    pub(super) fn parse(bytes: Vec<u8>) -> Self {
        let mut records = Vec::new();
        let (mut at, mut base) = (0, 0);
        while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&bytes[at..at + length]).expect("a line is text");
            at += length + 1;
            let (at_us, rest) = line.split_once(' ').expect("a time");
            if rest == "start" {
                base = records.len();
            }
            let what = what(rest, at, base).unwrap_or_else(|| panic!("{line} is no record"));
            if let What::Write { bytes: of, .. } = &what {
                at = of.end;
            }
            if at > bytes.len() {
                break;
            }
            let at_us = at_us.parse().expect("a time");
            records.push(Record { at_us, end: at as u64, what });
        }
        Self { records, bytes }
    }

    /// The bytes of a write.
    pub(super) fn content(&self, of: &Range<usize>) -> &[u8] {
        &self.bytes[of.clone()]
    }

    /// How long the journal was before this record.
    pub(super) fn begin(&self, record: usize) -> u64 {
        record.checked_sub(1).map_or(0, |before| self.records[before].end)
    }
}

/// Reads what stands behind the time; the bytes of a write begin at `behind`. `base`: the records
/// before the process began, which numbers files and records anew.
fn what(text: &str, behind: usize, base: usize) -> Option<What> {
    let words: Vec<&str> = text.split(' ').collect();
    let path = |index: usize| words.get(index).map(|path| (*path).to_owned());
    let number = |index: usize| Some(words.get(index)?.parse::<u64>().ok()? + base as u64);
    let began = |index: usize| Some(words.get(index)?.parse::<usize>().ok()? + base);
    let size = |index: usize| words.get(index)?.parse::<usize>().ok();
    let done = || match *words.get(3)? {
        "done" => Some(true),
        "failed" => Some(false),
        _ => None,
    };
    Some(match *words.first()? {
        "start" => What::Start,
        "found" => What::Found { file: number(1)?, path: path(2)? },
        "create" => What::Create { file: number(1)?, path: path(2)? },
        "mkdir" => What::Mkdir { path: path(1)? },
        "rename" => What::Rename { from: path(1)?, to: path(2)? },
        "unlink" | "rmdir" => What::Unlink { path: path(1)? },
        "link" => What::Link { from: path(1)?, to: path(2)? },
        "write" => {
            let bytes = behind..behind + size(3)?;
            What::Write { file: number(1)?, offset: size(2)?, bytes }
        }
        "truncate" => What::Truncate { file: number(1)?, bytes: size(2)? },
        "sync" => What::Sync { file: number(1)?, began: began(2)?, done: done()? },
        "syncdir" => What::SyncFolder { path: path(1)?, began: began(2)?, done: done()? },
        _ => return None,
    })
}
