//! The one place where work leaves the async threads: for the disk and for long hashing.
//!
//! **Invariants.** What is done for a user takes no more threads at a time than its part, and waits
//! for one outside of the queue that all share: slow reads of one user keep nobody else waiting.

use std::sync::Arc;

use memod_protocol::{ErrorCode, WireError};
use tokio::sync::Semaphore;

/// Threads that do such work at a time.
pub(crate) const WORKING_THREADS_MAX: usize = 32;

tokio::task_local! {
    /// The part of the threads of the user for whom the task works.
    static PART: Arc<Semaphore>;
}

/// Does the work on this part of the threads. The work is held once, as an `async fn` would not:
/// that of a connection is large.
pub(crate) fn within<W: Future>(part: Arc<Semaphore>, work: W) -> impl Future<Output = W::Output> {
    PART.scope(part, work)
}

/// As [`within`], on the part of the threads that the calling task has; for a task that it begins.
pub(crate) fn carried<W: Future>(work: W) -> impl Future<Output = W::Output> {
    let part = PART.try_with(Arc::clone).ok();
    async move {
        match part {
            Some(part) => within(part, work).await,
            None => work.await,
        }
    }
}

/// Runs a function that may block, on a thread made for that.
///
/// # Errors
/// [`ErrorCode::Internal`] if it panics, or if the daemon is ending.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WireError> {
    let span = tracing::Span::current();
    let turn = match PART.try_with(Arc::clone) {
        Ok(part) => Some(part.acquire_owned().await.expect("the semaphore is never closed")),
        // The daemon's own work.
        Err(_) => None,
    };
    let worked = tokio::task::spawn_blocking(move || {
        let done = span.in_scope(work);
        drop(turn);
        done
    });
    worked.await.map_err(|error| {
        tracing::error!("a blocking call failed: {error}");
        if error.is_cancelled() {
            WireError::new(ErrorCode::ShuttingDown, "the daemon is stopping")
        } else {
            WireError::new(ErrorCode::Internal, "the daemon failed at this request; see its log")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_has_its_part_of_the_threads_waits_for_itself_and_others_do_not() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(3)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (greedy, quiet) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(2)));
            let mut ends = Vec::new();
            let mut slow = Vec::new();
            let (begins, mut begun) = tokio::sync::mpsc::channel(10);
            for _ in 0..10 {
                let (end, ended) = mpsc::sync_channel::<()>(1);
                ends.push(end);
                let begins = begins.clone();
                let read = || {
                    run(move || {
                        begins.blocking_send(()).expect("it is waited for");
                        ended.recv().is_err()
                    })
                };
                // As reads of a connection, and as a task that one of them begins.
                slow.push(tokio::spawn(within(Arc::clone(&greedy), async move {
                    tokio::spawn(carried(read())).await.expect("it does not panic")
                })));
            }
            for _ in 0..2 {
                begun.recv().await.expect("its part is at work");
            }
            assert_eq!(within(quiet, run(|| 7)).await, Ok(7), "a thread is left");
            assert_eq!(greedy.available_permits(), 0);
            assert!(begun.try_recv().is_err(), "no more than its part");
            drop(ends);
            for slow in slow {
                assert_eq!(slow.await.expect("it does not panic"), Ok(true));
            }
        });
    }
}
