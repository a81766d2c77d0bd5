//! The wall clock of the process, set forward or back.
//!
//! `MEMOD_FAULTS_CLOCK` names a file with the seconds by which it is set; it is looked at each time
//! the clock is. Monotonic clocks are left alone.

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use libc::{clockid_t, time_t, timespec};

use crate::real;
use crate::state::read;

/// Seconds by which the wall clock is set.
fn set_by() -> time_t {
    static FILE: OnceLock<Option<CString>> = OnceLock::new();
    let named = || CString::new(std::env::var_os("MEMOD_FAULTS_CLOCK")?.into_vec()).ok();
    let Some(file) = FILE.get_or_init(named) else { return 0 };
    // SAFETY: the path is a C string.
    if unsafe { libc::access(file.as_ptr(), libc::R_OK) } != 0 {
        return 0;
    }
    let text = read(file);
    text.trim().parse().unwrap_or_else(|_| panic!("no number of seconds: {text}"))
}

/// # Safety
/// As for the function of the C library.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller answers for the arguments.
    let outcome = unsafe { real::clock_gettime(clock, time) };
    if outcome == 0 && clock == libc::CLOCK_REALTIME {
        // SAFETY: the C library has just written there.
        unsafe { (*time).tv_sec += set_by() };
    }
    outcome
}
