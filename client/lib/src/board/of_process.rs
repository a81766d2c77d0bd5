//! The boards of a process. What was not reported yet is reported when it ends, also by clients
//! that are never dropped, as those in statics are.
//!
//! **Invariants.** This file's only unsafe is to ask the C library to call a function at the end.
//! That function waits for nothing and does not unwind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use super::Boards;

/// Those who may have something to report. What is gone has reported.
static OPEN: Mutex<Vec<Weak<Boards>>> = Mutex::new(Vec::new());

/// Keeps track of boards, and has them report when the process ends.
pub(super) fn remember(boards: &Arc<Boards>) {
    static ASKED: Once = Once::new();
    ASKED.call_once(ask);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|other| other.strong_count() > 0);
    if !open.iter().any(|other| other.as_ptr() == Arc::as_ptr(boards)) {
        open.push(Arc::downgrade(boards));
    }
}

/// All that there are.
pub(super) fn all() -> Vec<Arc<Boards>> {
    // After a fork another thread may hold it for ever, and there is nothing to be had then.
    OPEN.try_lock().map(|open| open.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default()
}

#[expect(unsafe_code, reason = "the C library takes a bare function")]
fn ask() {
    // SAFETY: the function takes nothing, gives nothing, and does not unwind. If the C library has
    // no room for it, hits of the last second are not counted.
    let _ = unsafe { nix::libc::atexit(report) };
}

extern "C" fn report() {
    // There is nobody left to tell of a panic.
    let _ = catch_unwind(AssertUnwindSafe(report_board_hits));
}

/// Tells the daemons of hits that clients of this process had from shared memory and have not told
/// of yet, without waiting. That is done anyway within a second, if more hits come, and when a
/// client is dropped or the process ends in order; this is for those that end by `_exit`.
pub fn report_board_hits() {
    for boards in all() {
        boards.report_all();
    }
}
