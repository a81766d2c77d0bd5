//! The functions of the C library that this library stands before.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{FILE, clockid_t, iovec, mode_t, off_t, size_t, ssize_t, timespec};

/// Finds the next function of this name behind the one that this library defines.
fn find(name: &CStr, known: &AtomicPtr<c_void>) -> *mut c_void {
    let found = known.load(Ordering::Relaxed);
    if !found.is_null() {
        return found;
    }
    // SAFETY: the name is a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!found.is_null(), "the C library lacks {name:?}");
    known.store(found, Ordering::Relaxed);
    found
}

macro_rules! real {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {$(
        /// The C library's own function.
        ///
        /// # Safety
        /// As for the function of the C library.
        pub(crate) unsafe fn $name($($argument: $kind),*) -> $result {
            static KNOWN: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
            const NAME: &CStr = match CStr::from_bytes_with_nul(
                concat!(stringify!($name), "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => panic!("a name without zeros"),
            };
            let found = find(NAME, &KNOWN);
            // SAFETY: the C library's function of this name has this type, and the caller answers
            // for the arguments.
            unsafe {
                let call: unsafe extern "C" fn($($kind),*) -> $result = transmute_copy(&found);
                call($($argument),*)
            }
        }
    )*};
}

real! {
    open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    close(fd: c_int) -> c_int;
    fclose(file: *mut FILE) -> c_int;
    read(fd: c_int, to: *mut c_void, bytes: size_t) -> ssize_t;
    pread(fd: c_int, to: *mut c_void, bytes: size_t, offset: off_t) -> ssize_t;
    fread_unlocked(to: *mut c_void, size: size_t, count: size_t, file: *mut FILE) -> size_t;
    write(fd: c_int, from: *const c_void, bytes: size_t) -> ssize_t;
    pwrite(fd: c_int, from: *const c_void, bytes: size_t, offset: off_t) -> ssize_t;
    writev(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t;
    pwritev(fd: c_int, pieces: *const iovec, count: c_int, offset: off_t) -> ssize_t;
    clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int;
    fsync(fd: c_int) -> c_int;
    fdatasync(fd: c_int) -> c_int;
    ftruncate(fd: c_int, bytes: off_t) -> c_int;
    fallocate(fd: c_int, mode: c_int, offset: off_t, bytes: off_t) -> c_int;
    posix_fallocate(fd: c_int, offset: off_t, bytes: off_t) -> c_int;
    rename(from: *const c_char, to: *const c_char) -> c_int;
    unlink(path: *const c_char) -> c_int;
    mkdir(path: *const c_char, mode: mode_t) -> c_int;
    rmdir(path: *const c_char) -> c_int;
    link(from: *const c_char, to: *const c_char) -> c_int;
    mmap(
        at: *mut c_void,
        bytes: size_t,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: off_t
    ) -> *mut c_void;
}
