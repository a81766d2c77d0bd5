//! Every change below the root and every sync, in the order in which they were made.
//!
//! A record is a line, `MICROSECONDS WHAT ..`, the first being the monotonic clock; behind the line
//! of a `write` stand its bytes. Files have numbers, because a sync concerns a file whatever its
//! name is by then; folders go by their paths.
//!
//! ```text
//! T create FILE PATH          T mkdir PATH            T rename FROM TO
//! T write FILE OFFSET BYTES   T rmdir PATH            T unlink PATH
//! T truncate FILE BYTES       T link FROM TO
//! T sync FILE BEGAN OUTCOME   T syncdir PATH BEGAN OUTCOME
//! ```
//!
//! A process begins with `T start`, and counts files and records from there on; `T found FILE PATH`
//! is a file that was there before it.
//!
//! A sync is written down when it has ended, and covers the records before number BEGAN; OUTCOME is
//! `done` or `failed`. `sync_file_range` promises nothing and is not written down.
//!
//! **Invariants.** A change of folders is made under the journal's lock, so that their order here
//! is theirs. A record is in the file before the call that it is about returns.

use std::ffi::{CString, c_int};
use std::fmt::Arguments;

use crate::real;

/// The journal, or none.
pub(crate) struct Journal {
    fd: Option<c_int>,
    records: u64,
}

impl Journal {
    /// Begins a journal, or goes on with it.
    pub(crate) fn open(path: Option<CString>) -> Self {
        let mut journal = Self { fd: path.map(|path| append_to(&path)), records: 0 };
        journal.note(format_args!("start"), b"");
        journal
    }

    /// How many records there are.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Writes a record.
    pub(crate) fn note(&mut self, what: Arguments<'_>, bytes: &[u8]) {
        self.records += 1;
        let Some(fd) = self.fd else { return };
        let mut record = format!("{} {what}\n", now_us()).into_bytes();
        record.extend_from_slice(bytes);
        write_all(fd, &record);
    }
}

/// Opens a file to append to it.
pub(crate) fn append_to(path: &CString) -> c_int {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let fd = unsafe { real::open(path.as_ptr(), flags, 0o600) };
    assert!(fd >= 0, "{path:?} cannot be written");
    fd
}

/// Writes all of this.
pub(crate) fn write_all(fd: c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the bytes are borrowed for as long as the call lasts.
        let wrote = unsafe { real::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        let wrote = usize::try_from(wrote).expect("the disk of the test has room");
        bytes = bytes.get(wrote..).unwrap_or_default();
    }
}

fn now_us() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the time where it is told to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
