//! The one place where work that blocks leaves the async threads.

use crate::error::Error;

/// Runs something that blocks on a thread that may.
pub(crate) async fn hop<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::Local {
                what: "the runtime is being shut down".into(),
                source: std::io::Error::other(error),
            }),
        },
    }
}
