//! How a command ends: its exit code, and the failure that is told on the way.
//!
//! **Invariants.** The codes are a contract with scripts; 3, no daemon, comes from the client
//! library as it is. A reader of our output that has gone away is no failure.
//!
//! **Does not** print: see [`crate::output`].

use std::fmt;
use std::io;
use std::path::Path;

use memod_protocol::{ErrorCode, InvalidArgument, ParseDigestError, WireError};

/// Done, or a hit.
pub(crate) const DONE: u8 = 0;
/// A miss, or nothing matched.
pub(crate) const NOTHING: u8 = 1;
/// The arguments are wrong.
pub(crate) const USAGE: u8 = 2;
/// Forbidden or over budget.
pub(crate) const FORBIDDEN: u8 = 4;
/// The daemon answered with an error, or what it said could not be used.
pub(crate) const FAILED: u8 = 5;
/// As shells say it: the command is there but cannot be run.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// As shells say it: there is no such command.
pub(crate) const NOT_FOUND: u8 = 127;
/// As shells say it: added to the number of the signal that ended the command.
pub(crate) const SIGNALLED: u8 = 128;

/// What a command comes to: its exit code, or what went wrong.
pub(crate) type Outcome = Result<u8, Failure>;

/// What went wrong, for people and for scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: u8,
    /// The stable name of the kind of failure.
    pub(crate) code: &'static str,
    /// What is wrong, in a sentence that names the thing.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(exit: u8, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: None }
    }

    /// Arguments that cannot be meant.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, ErrorCode::InvalidArgument.name(), message)
    }

    /// A file named on the command line that cannot be used.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::usage(format!("cannot {doing} `{}`: {error}", path.display()))
    }

    /// The same failure with a word on what to do next.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether there is nothing to tell: our reader has gone away.
    pub(crate) fn is_silent(&self) -> bool {
        self.exit == DONE
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Writing our own output failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(DONE, "broken_pipe", "nobody reads the output any more");
        }
        Self::new(FAILED, "io", format!("cannot write the output: {error}"))
    }
}

impl From<InvalidArgument> for Failure {
    fn from(error: InvalidArgument) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<ParseDigestError> for Failure {
    fn from(error: ParseDigestError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        let exit = match error.code {
            ErrorCode::InvalidArgument => USAGE,
            ErrorCode::Forbidden | ErrorCode::OverBudget => FORBIDDEN,
            ErrorCode::NotFound => NOTHING,
            ErrorCode::Malformed
            | ErrorCode::VersionMismatch
            | ErrorCode::Busy
            | ErrorCode::ShuttingDown
            | ErrorCode::DigestMismatch
            | ErrorCode::Internal => FAILED,
        };
        Self { exit, code: error.code.name(), message: error.message, hint: error.hint }
    }
}
