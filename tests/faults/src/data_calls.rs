//! The calls that read, write and sync what is in files.

use std::ffi::{c_int, c_void};

use libc::{FILE, iovec, off_t, size_t, ssize_t};

use crate::plan::Call;
use crate::stand_before;
use crate::state::{State, Watched, locked, state};

use crate::real;

/// What is watched behind this descriptor.
fn watched(fd: c_int) -> Option<(&'static State, Watched)> {
    let state = state()?;
    Some((state, state.of(fd)?))
}

/// Whether this call is to fail.
fn fails(fd: c_int, call: Call) -> bool {
    watched(fd).is_some_and(|(state, of)| state.fails(call, &of.path).is_some())
}

/// Where the next byte that is written without an offset goes.
fn position(fd: c_int) -> off_t {
    // SAFETY: it only tells where the descriptor is.
    unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }
}

/// Writes by `write`, and notes what was written: to this offset, or behind what was there.
///
/// # Safety
/// `pieces` are those that `write` writes.
unsafe fn write_any(
    fd: c_int,
    pieces: &[iovec],
    offset: Option<off_t>,
    write: impl FnOnce() -> ssize_t,
) -> ssize_t {
    let Some((state, of)) = watched(fd) else { return write() };
    if state.fails(Call::Write, &of.path).is_some() {
        return -1;
    }
    let done = write();
    if let (Ok(bytes @ 1..), Some(file)) = (usize::try_from(done), of.file) {
        let mut content = Vec::with_capacity(bytes);
        for piece in pieces {
            let more = piece.iov_len.min(bytes - content.len());
            // SAFETY: the caller says that these bytes are there.
            content.extend_from_slice(unsafe {
                std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), more)
            });
        }
        let at = offset.unwrap_or_else(|| position(fd) - off_t::try_from(bytes).unwrap_or(0));
        let what = format_args!("write {file} {at} {bytes}");
        locked(&state.journal).0.note(what, &content);
    }
    done
}

/// Syncs by `sync`, and notes how that ended.
fn sync_any(fd: c_int, sync: impl FnOnce() -> c_int) -> c_int {
    let Some((state, of)) = watched(fd) else { return sync() };
    let began = locked(&state.journal).0.records();
    let call = if of.file.is_some() { Call::Sync } else { Call::SyncDir };
    let failed = state.fails(call, &of.path);
    let outcome = if failed.is_some() { -1 } else { sync() };
    let word = if outcome == 0 { "done" } else { "failed" };
    let mut held = locked(&state.journal);
    match of.file {
        Some(file) => held.0.note(format_args!("sync {file} {began} {word}"), b""),
        None => held.0.note(format_args!("syncdir {} {began} {word}", of.path), b""),
    }
    drop(held);
    if let Some(number) = failed {
        // SAFETY: the thread's own number, which the journal may have changed.
        unsafe { *libc::__errno_location() = number };
    }
    outcome
}

fn truncate_any(fd: c_int, bytes: off_t) -> c_int {
    if fails(fd, Call::Truncate) {
        return -1;
    }
    // SAFETY: the arguments are numbers.
    let outcome = unsafe { real::ftruncate(fd, bytes) };
    if outcome == 0
        && let Some((state, Watched { file: Some(file), .. })) = watched(fd)
    {
        locked(&state.journal).0.note(format_args!("truncate {file} {bytes}"), b"");
    }
    outcome
}

/// One piece of bytes, as a list of them.
fn piece(from: *const c_void, bytes: size_t) -> [iovec; 1] {
    [iovec { iov_base: from.cast_mut(), iov_len: bytes }]
}

/// # Safety
/// So many pieces are there.
unsafe fn pieces<'a>(from: *const iovec, count: c_int) -> &'a [iovec] {
    match usize::try_from(count) {
        // SAFETY: the caller says so.
        Ok(count) if !from.is_null() => unsafe { std::slice::from_raw_parts(from, count) },
        _ => &[],
    }
}

stand_before! {
    fn read(fd: c_int, to: *mut c_void, bytes: size_t) -> ssize_t {
        if fails(fd, Call::Read) { -1 } else { real::read(fd, to, bytes) }
    }
    fn pread(fd: c_int, to: *mut c_void, bytes: size_t, offset: off_t) -> ssize_t {
        if fails(fd, Call::Read) { -1 } else { real::pread(fd, to, bytes, offset) }
    }
    fn pread64(fd: c_int, to: *mut c_void, bytes: size_t, offset: off_t) -> ssize_t {
        pread(fd, to, bytes, offset)
    }
    fn fread_unlocked(to: *mut c_void, size: size_t, count: size_t, file: *mut FILE) -> size_t {
        if fails(libc::fileno(file), Call::Read) {
            0
        } else {
            real::fread_unlocked(to, size, count, file)
        }
    }
    fn write(fd: c_int, from: *const c_void, bytes: size_t) -> ssize_t {
        write_any(fd, &piece(from, bytes), None, || real::write(fd, from, bytes))
    }
    fn pwrite(fd: c_int, from: *const c_void, bytes: size_t, offset: off_t) -> ssize_t {
        let write = || real::pwrite(fd, from, bytes, offset);
        write_any(fd, &piece(from, bytes), Some(offset), write)
    }
    fn pwrite64(fd: c_int, from: *const c_void, bytes: size_t, offset: off_t) -> ssize_t {
        pwrite(fd, from, bytes, offset)
    }
    fn writev(fd: c_int, from: *const iovec, count: c_int) -> ssize_t {
        write_any(fd, pieces(from, count), None, || real::writev(fd, from, count))
    }
    fn pwritev(fd: c_int, from: *const iovec, count: c_int, offset: off_t) -> ssize_t {
        let write = || real::pwritev(fd, from, count, offset);
        write_any(fd, pieces(from, count), Some(offset), write)
    }
    fn pwritev64(fd: c_int, from: *const iovec, count: c_int, offset: off_t) -> ssize_t {
        pwritev(fd, from, count, offset)
    }
    fn fsync(fd: c_int) -> c_int {
        sync_any(fd, || real::fsync(fd))
    }
    fn fdatasync(fd: c_int) -> c_int {
        sync_any(fd, || real::fdatasync(fd))
    }
    fn ftruncate(fd: c_int, bytes: off_t) -> c_int {
        truncate_any(fd, bytes)
    }
    fn ftruncate64(fd: c_int, bytes: off_t) -> c_int {
        truncate_any(fd, bytes)
    }
    // Room that is taken beyond the end of a file does not change what is in it.
    fn fallocate(fd: c_int, mode: c_int, offset: off_t, bytes: off_t) -> c_int {
        if fails(fd, Call::Allocate) { -1 } else { real::fallocate(fd, mode, offset, bytes) }
    }
    fn posix_fallocate(fd: c_int, offset: off_t, bytes: off_t) -> c_int {
        if fails(fd, Call::Allocate) {
            // It gives the error instead of setting it.
            *libc::__errno_location()
        } else {
            real::posix_fallocate(fd, offset, bytes)
        }
    }
}
