//! The calls that open, close and name files.

use std::ffi::{CStr, c_char, c_int, c_void};

use libc::{FILE, mode_t, off_t, size_t};

use crate::plan::Call;
use crate::real;
use crate::state::{State, Watched, locked, state};

/// The identity of an open file, and whether it is a folder.
fn identity(fd: c_int) -> Option<((u64, u64), bool)> {
    // SAFETY: all zeros is a value of this plain structure, and the call writes into it.
    let is = unsafe {
        let mut is: libc::stat = std::mem::zeroed();
        (libc::fstat(fd, &raw mut is) == 0).then_some(is)
    }?;
    Some(((is.st_dev, is.st_ino), is.st_mode & libc::S_IFMT == libc::S_IFDIR))
}

fn is_there(path: &CStr) -> bool {
    // SAFETY: the path is a C string.
    unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
}

impl State {
    /// Opens a file below the root by `open`.
    fn open_below(
        &self,
        path: &CStr,
        below: String,
        flags: c_int,
        open: impl FnOnce() -> c_int,
    ) -> c_int {
        let mut held = locked(&self.journal);
        let makes = flags & libc::O_CREAT != 0 && !is_there(path);
        if self.fails(if makes { Call::Create } else { Call::Open }, &below).is_some() {
            return -1;
        }
        let fd = open();
        let Some((identity, is_folder)) = (fd >= 0).then(|| identity(fd)).flatten() else {
            return fd;
        };
        let (journal, files) = &mut *held;
        let mut file = None;
        if !is_folder {
            if makes {
                // An inode that is free is taken again.
                files.remove(&identity);
            }
            let next = journal.records();
            let is_new = !files.contains_key(&identity);
            let number = *files.entry(identity).or_insert(next);
            if is_new && !makes {
                journal.note(format_args!("found {number} {below}"), b"");
            }
            if makes {
                journal.note(format_args!("create {number} {below}"), b"");
            } else if flags & libc::O_TRUNC != 0 {
                journal.note(format_args!("truncate {number} 0"), b"");
            }
            file = Some(number);
        }
        self.opened(fd, Some(Watched { path: below, file }));
        fd
    }

    /// Makes a change of names by `change`, unless it is to fail.
    fn rename_below(
        &self,
        call: Call,
        below: &str,
        what: std::fmt::Arguments<'_>,
        change: impl FnOnce() -> c_int,
    ) -> c_int {
        let mut held = locked(&self.journal);
        if self.fails(call, below).is_some() {
            return -1;
        }
        let outcome = change();
        if outcome == 0 {
            held.0.note(what, b"");
        }
        outcome
    }
}

/// The path as a C string and as it is below the root.
///
/// # Safety
/// The path is a C string or null.
unsafe fn below<'a>(path: *const c_char) -> Option<(&'static State, &'a CStr, String)> {
    let state = state()?;
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller says so.
    let path = unsafe { CStr::from_ptr(path) };
    Some((state, path, state.below(path)?))
}

/// # Safety
/// The path is a C string, and `open` opens it.
unsafe fn open_any(path: *const c_char, flags: c_int, open: impl FnOnce() -> c_int) -> c_int {
    // SAFETY: the caller says so.
    if let Some((state, path, below)) = unsafe { below(path) } {
        return state.open_below(path, below, flags, open);
    }
    let fd = open();
    if fd >= 0
        && let Some(state) = state()
    {
        state.opened(fd, None);
    }
    fd
}

/// Defines functions in the place of those of the C library.
#[macro_export]
macro_rules! stand_before {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block)*) => {$(
        /// In the place of the function of the C library.
        ///
        /// # Safety
        /// As for the function of the C library.
        #[unsafe(no_mangle)]
        #[allow(
            unused_unsafe,
            clippy::macro_metavars_in_unsafe,
            reason = "what stands in the list is all there is, and some of it is safe"
        )]
        pub(crate) unsafe extern "C" fn $name($($argument: $kind),*) -> $result {
            // SAFETY: the caller answers for the arguments, which are handed on as they are.
            unsafe { $body }
        }
    )*};
}

stand_before! {
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        open_any(path, flags, || real::open(path, flags, mode))
    }
    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        open_any(path, flags, || real::open(path, flags | libc::O_LARGEFILE, mode))
    }
    fn creat(path: *const c_char, mode: mode_t) -> c_int {
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        open_any(path, flags, || real::open(path, flags, mode))
    }
    fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        open_any(path, flags, || real::openat(folder, path, flags, mode))
    }
    fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        open_any(path, flags, || real::openat(folder, path, flags, mode))
    }
    fn close(fd: c_int) -> c_int {
        if let Some(state) = state() {
            state.closing(fd);
        }
        real::close(fd)
    }
    fn fclose(file: *mut FILE) -> c_int {
        if let Some(state) = state() {
            state.closing(libc::fileno(file));
        }
        real::fclose(file)
    }
    fn rename(from: *const c_char, to: *const c_char) -> c_int {
        let change = || real::rename(from, to);
        match (below(from), below(to)) {
            (Some((state, _, from)), Some((_, _, to))) => {
                let what = format_args!("rename {from} {to}");
                state.rename_below(Call::Rename, &to, what, change)
            }
            _ => change(),
        }
    }
    fn unlink(path: *const c_char) -> c_int {
        let change = || real::unlink(path);
        let Some((state, _, path)) = below(path) else { return change() };
        state.rename_below(Call::Unlink, &path, format_args!("unlink {path}"), change)
    }
    fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
        let change = || real::mkdir(path, mode);
        let Some((state, _, path)) = below(path) else { return change() };
        state.rename_below(Call::Mkdir, &path, format_args!("mkdir {path}"), change)
    }
    fn rmdir(path: *const c_char) -> c_int {
        let change = || real::rmdir(path);
        let Some((state, _, path)) = below(path) else { return change() };
        state.rename_below(Call::Unlink, &path, format_args!("rmdir {path}"), change)
    }
    fn link(from: *const c_char, to: *const c_char) -> c_int {
        let change = || real::link(from, to);
        match (below(from), below(to)) {
            (Some((state, _, from)), Some((_, _, to))) => {
                let what = format_args!("link {from} {to}");
                state.rename_below(Call::Create, &to, what, change)
            }
            _ => change(),
        }
    }
    fn mmap(
        at: *mut c_void,
        bytes: size_t,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: off_t
    ) -> *mut c_void {
        let writes = protection & libc::PROT_WRITE != 0 && flags & libc::MAP_SHARED != 0;
        if writes && fd >= 0 && let Some(state) = state() && let Some(of) = state.of(fd) {
            state.log(&format!("map {}\n", of.path));
        }
        real::mmap(at, bytes, protection, flags, fd, offset)
    }
    fn mmap64(
        at: *mut c_void,
        bytes: size_t,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: off_t
    ) -> *mut c_void {
        mmap(at, bytes, protection, flags, fd, offset)
    }
}
