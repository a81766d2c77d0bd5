//! The one place where work leaves the async threads: for the disk and for long hashing.

use memod_protocol::{ErrorCode, WireError};

/// Runs a function that may block, on a thread made for that.
///
/// # Errors
/// [`ErrorCode::Internal`] if it panics, or if the daemon is ending.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WireError> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.map_err(|error| {
        tracing::error!("a blocking call failed: {error}");
        if error.is_cancelled() {
            WireError::new(ErrorCode::ShuttingDown, "the daemon is stopping")
        } else {
            WireError::new(ErrorCode::Internal, "the daemon failed at this request; see its log")
        }
    })
}
