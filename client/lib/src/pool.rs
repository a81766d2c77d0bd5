//! Idle connections, and the breaker, shared by all threads of one process.
//!
//! **Invariants.** A process never uses a connection that its parent opened. After a fork the lock
//! may be held for ever by a thread that does not exist here; such a pool is simply not there.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use crate::breaker::{Breaker, Failure};
use crate::error::Error;

/// Idle connections that are kept; more are closed.
const IDLE_MAX: usize = 16;

/// Idle connections and the breaker.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    process: AtomicU32,
    inner: Mutex<Inner<C>>,
}

#[derive(Debug)]
struct Inner<C> {
    idle: Vec<C>,
    breaker: Breaker,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self {
            process: AtomicU32::new(std::process::id()),
            inner: Mutex::new(Inner { idle: Vec::new(), breaker: Breaker::default() }),
        }
    }
}

impl<C> Pool<C> {
    /// Whether the breaker lets a request of this process through.
    pub(crate) fn admit(&self, process: u32, now: Instant) -> bool {
        self.lock(process).is_none_or(|mut inner| inner.breaker.admit(now))
    }

    /// A request is over: tells the breaker how it went, and keeps the connection if it may be
    /// used again.
    pub(crate) fn finished(
        &self,
        process: u32,
        settled: Option<C>,
        error: Option<&Error>,
        now: Instant,
    ) {
        // What is not kept is closed once the lock is free.
        let mut spare = settled;
        if let Some(mut inner) = self.lock(process) {
            match error {
                None | Some(Error::Daemon(_)) => inner.breaker.succeeded(),
                Some(error) if error.is_fault() => inner.breaker.failed(failure(error), now),
                Some(_) => {}
            }
            if error.is_none() && inner.idle.len() < IDLE_MAX {
                inner.idle.extend(spare.take());
            }
        }
        drop(spare);
    }

    /// Takes the idle connection that was used last.
    pub(crate) fn take(&self, process: u32) -> Option<C> {
        self.lock(process)?.idle.pop()
    }

    fn lock(&self, process: u32) -> Option<MutexGuard<'_, Inner<C>>> {
        if self.process.load(Ordering::Acquire) == process {
            return Some(self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if self.process.load(Ordering::Acquire) != process {
            inner.idle.clear();
            inner.breaker = Breaker::default();
            self.process.store(process, Ordering::Release);
        }
        Some(inner)
    }
}

/// What an error that the daemon is to blame for is to the breaker. One that hangs up has ended,
/// and costs nobody any time either.
fn failure(error: &Error) -> Failure {
    match error {
        Error::NoDaemon { .. } => Failure::Absent,
        _ if error.is_hang_up() => Failure::Absent,
        _ => Failure::Other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn the_connection_used_last_comes_first_and_only_so_many_are_kept() {
        let (pool, process) = (Pool::default(), std::process::id());
        for number in 0..IDLE_MAX + 5 {
            pool.finished(process, Some(number), None, Instant::now());
        }
        assert_eq!(pool.take(process), Some(IDLE_MAX - 1));
        let mut left = 0;
        while pool.take(process).is_some() {
            left += 1;
        }
        assert_eq!(left, IDLE_MAX - 1);
    }

    #[test]
    fn a_child_process_does_not_use_its_parents_connections() {
        let pool = Pool::default();
        let parent = std::process::id();
        pool.finished(parent, Some("the parent's"), None, Instant::now());
        // As if this were another process than the one that made the pool.
        let child = parent + 1;
        assert!(pool.lock(child).unwrap().idle.is_empty());
    }

    #[test]
    fn a_lock_held_across_a_fork_is_not_waited_for() {
        let pool = Pool::<()>::default();
        let held = pool.lock(std::process::id()).unwrap();
        assert!(pool.lock(std::process::id() + 1).is_none());
        drop(held);
        assert!(pool.lock(std::process::id() + 1).is_some());
    }
}
