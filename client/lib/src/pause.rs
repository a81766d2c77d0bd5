//! Pauses between two looks at what tells nobody when it changes: a lock, or a socket on which
//! somebody may listen again.
//!
//! **Does not** bound how often one looks; that is the caller's.

use std::time::Duration;

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(2);
/// What the pauses grow to.
const LONGEST: Duration = Duration::from_millis(50);

/// The pauses: short at first, then longer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Pause {
    /// How long the next pause is.
    pub(crate) fn next(&mut self) -> Duration {
        let next = self.0;
        self.0 = (next * 2).min(LONGEST);
        next
    }

    /// Makes the next pause.
    pub(crate) fn wait(&mut self) {
        sleep(self.next());
    }
}

/// Makes a pause.
pub(crate) fn sleep(pause: Duration) {
    // tidy: sleeps because neither a lock's release nor a daemon's first word can be awaited.
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut pause = Pause::default();
        let milliseconds = [2, 4, 8, 16, 32, 50, 50];
        assert_eq!(milliseconds.map(|_| pause.next()), milliseconds.map(Duration::from_millis));
    }
}
