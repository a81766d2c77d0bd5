//! What is told of a cache that did not work while its task did.
//!
//! **Invariants.** A task never fails for it (semantics 34), and a program that runs a million
//! tasks beside a dead daemon is not told so a million times.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::error::Error;

/// How often the same trouble with the same task is written to standard error.
const QUIET: Duration = Duration::from_secs(60);
/// Troubles that are remembered, so as not to write them again; then all may be written again.
const REMEMBERED_MAX: usize = 256;

type Listener = Arc<dyn Fn(&Trouble<'_>) + Send + Sync>;

static LISTENER: RwLock<Option<Listener>> = RwLock::new(None);
static WRITTEN: Mutex<BTreeMap<(String, &'static str), Instant>> = Mutex::new(BTreeMap::new());

/// A cache that did not work; the task has been run, or will be.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trouble<'a> {
    /// The task.
    pub task: &'a str,
    /// What was not done.
    pub doing: Doing,
    /// Why.
    pub error: &'a Error,
}

/// What was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// The call was not looked up.
    LookingUp,
    /// The outputs were not stored.
    Storing,
    /// Others were not kept from running it at the same time.
    Serializing,
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.doing {
            Doing::LookingUp => "is run without the cache",
            Doing::Storing => "was run, but its outputs are not stored",
            Doing::Serializing => "was run, but perhaps not alone",
        };
        write!(formatter, "task `{}` {doing}: {}", self.task.escape_debug(), self.error)
    }
}

/// Has troubles told to this function. Without one they are written to standard error, each at
/// most once a minute for each task.
pub fn on_trouble(listener: impl Fn(&Trouble<'_>) + Send + Sync + 'static) {
    *LISTENER.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(listener));
}

/// Tells it.
pub(super) fn tell(task: &str, doing: Doing, error: &Error) {
    let trouble = Trouble { task, doing, error };
    // A listener may run tasks itself, so the lock is not held.
    let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner).clone();
    match listener {
        Some(listener) => listener(&trouble),
        None if is_new(task, error.name(), Instant::now()) => {
            // Standard error may be closed; a task does not end for that.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("memod: warning: {trouble}\n").as_bytes(),
            );
        }
        None => {}
    }
}

fn is_new(task: &str, name: &'static str, now: Instant) -> bool {
    let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (task.to_owned(), name);
    let recent = |at: &Instant| now.saturating_duration_since(*at) < QUIET;
    if written.get(&key).is_some_and(recent) {
        return false;
    }
    if written.len() >= REMEMBERED_MAX {
        written.clear();
    }
    written.insert(key, now);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_written_once_a_minute() {
        let now = Instant::now();
        assert!(is_new("quiet", "timeout", now));
        assert!(!is_new("quiet", "timeout", now + QUIET / 2));
        assert!(is_new("quiet", "no_daemon", now + QUIET / 2), "another trouble");
        assert!(is_new("loud", "timeout", now + QUIET / 2), "another task");
        assert!(is_new("quiet", "timeout", now + QUIET));
    }

    #[test]
    fn a_trouble_says_what_became_of_the_task() {
        let error = Error::BreakerOpen;
        let told = |doing| Trouble { task: "t", doing, error: &error }.to_string();
        assert!(told(Doing::LookingUp).starts_with("task `t` is run without the cache: the "));
        assert!(told(Doing::Storing).contains("not stored"));
    }
}
