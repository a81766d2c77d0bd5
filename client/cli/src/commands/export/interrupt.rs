//! Signals that end an export: what is to be said, and left behind.
//!
//! **Invariants.** A signal ends this process as it would without us, at once, whatever it waits
//! for. Signals that somebody has had ignored stay ignored. Once an export has ended, nothing is
//! said any more.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};

use super::part::{self, Part};
use crate::args::Screen;
use crate::exit::{self, Failure};

/// The signals by which people end a command.
const ENDING: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];

/// Waits for signals while an export runs.
pub(super) struct Interrupt {
    shared: Arc<Shared>,
    original: SigSet,
}

struct Shared {
    part: PathBuf,
    entries: AtomicU64,
    screen: Screen,
    is_running: Mutex<bool>,
}

impl Interrupt {
    /// Begins to wait; the file holds so many entries.
    ///
    /// # Errors
    /// If the kernel or a limit does not allow it.
    pub(super) fn begin(part: &Part, entries: u64, screen: Screen) -> io::Result<Self> {
        let ignored = ignored();
        let is_heeded = |signal: &Signal| ignored & (1 << (*signal as i32 - 1)) == 0;
        let mask: SigSet = ENDING.into_iter().filter(is_heeded).collect();
        let shared = Arc::new(Shared {
            part: part.path().to_owned(),
            entries: AtomicU64::new(entries),
            screen,
            is_running: Mutex::new(true),
        });
        let original = SigSet::thread_get_mask()?;
        // All threads that begin from here on inherit the mask.
        mask.thread_block()?;
        let waiting = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("memo-interrupt".into()).spawn(move || {
            if let Ok(signal) = mask.wait() {
                waiting.end_by(signal);
            }
        });
        let this = Self { shared, original };
        match spawned {
            Ok(_) => Ok(this),
            Err(error) => {
                this.end();
                Err(error)
            }
        }
    }

    /// The file holds so many entries by now.
    pub(super) fn note(&self, entries: u64) {
        self.shared.entries.store(entries, Ordering::Relaxed);
    }

    /// How many entries the file holds.
    pub(super) fn entries(&self) -> u64 {
        self.shared.entries.load(Ordering::Relaxed)
    }

    /// The export has ended: signals have their usual effect.
    pub(super) fn end(&self) {
        *self.shared.lock() = false;
        // It was ours to set before, so it is now.
        let _ = self.original.thread_set_mask();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends this process by the signal that has come.
    fn end_by(&self, signal: Signal) {
        // Held to the end, so that the export does not go on, and nothing is renamed, meanwhile.
        let is_running = self.lock();
        if *is_running {
            let code = exit::SIGNALLED.saturating_add(u8::try_from(signal as i32).unwrap_or(0));
            let what = format!("the export was ended by {signal}");
            let failure = Failure::new(code, "interrupted", what);
            let entries = self.entries.load(Ordering::Relaxed);
            self.screen.fail(&part::leave(&self.part, entries, failure));
        }
        let only: SigSet = [signal].into_iter().collect();
        if only.thread_unblock().is_ok() {
            // The signal's own effect tells our parent more than any exit code.
            let _ = raise(signal);
        }
    }
}

/// The signals that this process ignores, a bit each; none if the kernel does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}
