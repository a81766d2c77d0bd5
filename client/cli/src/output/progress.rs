//! A count on standard error that goes up in place.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::args::Screen;

/// How often the count is drawn anew.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows how far a long request is; silent unless standard error is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// Progress on this screen.
    pub(crate) fn new(screen: Screen) -> Self {
        let is_shown = screen.err_is_terminal && !screen.quiet && !screen.is_json();
        Self { is_shown, drawn: None }
    }

    /// Shows the count.
    pub(crate) fn set(&mut self, done: u64) {
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= INTERVAL);
        if self.is_shown && is_due {
            self.drawn = Some(Instant::now());
            // The terminal may be gone; then nobody misses the count.
            let _ = write!(io::stderr().lock(), "\r{done} done \x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
