//! What went wrong, as a peer is told: a coarse code (what should the caller do?) and a message.

use crate::wire::{Decode, Encode};

/// What the caller should do about an error. Codes are stable; new ones are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ErrorCode {
    /// Mend the request: the message names the field.
    InvalidArgument,
    /// Speak the protocol: what came was not a message. The connection ends.
    Malformed,
    /// Update one side: no version in common.
    VersionMismatch,
    /// Ask the administrator for a grant.
    Forbidden,
    /// Make room or ask for a larger budget: the message names the budget.
    OverBudget,
    /// Try again later: a bound on work in progress was met.
    Busy,
    /// Connect again later: the daemon is stopping.
    ShuttingDown,
    /// What was asked for by name is not there.
    NotFound,
    /// Send again: bytes did not have the digest that was claimed for them.
    DigestMismatch,
    /// Look into the daemon's log: the fault is on its side.
    Internal,
}

impl ErrorCode {
    /// The stable name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::Malformed => "malformed",
            Self::VersionMismatch => "version_mismatch",
            Self::Forbidden => "forbidden",
            Self::OverBudget => "over_budget",
            Self::Busy => "busy",
            Self::ShuttingDown => "shutting_down",
            Self::NotFound => "not_found",
            Self::DigestMismatch => "digest_mismatch",
            Self::Internal => "internal",
        }
    }
}

/// An error as it crosses the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// What the caller should do.
    pub code: ErrorCode,
    /// What is wrong, in a sentence that names the thing.
    pub message: String,
    /// What to do next, if there is more to say than the code does.
    pub hint: Option<String>,
}

impl WireError {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same error with a word on what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An argument that cannot be meant: which field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidArgument {
    /// The field, as users name it: `project`, ``input `x` ``.
    pub field: String,
    /// What is wrong with it, as the end of a sentence.
    pub problem: String,
}

impl InvalidArgument {
    /// The given problem of the given field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same of a part of this field. Checks name the part alone, so that a label is made only
    /// when something is wrong.
    pub(crate) fn within(mut self, field: &str) -> Self {
        self.field.insert_str(0, field);
        self
    }
}

impl From<InvalidArgument> for WireError {
    fn from(error: InvalidArgument) -> Self {
        Self::new(ErrorCode::InvalidArgument, error.to_string())
    }
}
