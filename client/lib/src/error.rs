//! What can go wrong between a client and its daemon; each message says what to do.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use memod_descriptors::DescriptorError;
use memod_protocol::frame::FrameError;
use memod_protocol::shell::quoted;
use memod_protocol::{ErrorCode, InvalidArgument, WireError, wire};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody listens.
    #[error(
        "no daemon answers at {}: {source}; start one with `memod --socket {}`",
        path.display(), quoted(path)
    )]
    NoDaemon {
        /// The socket that was tried first.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon did not answer in time.
    #[error(
        "the daemon at {} did not {what} within {after:?}; look at its log, or restart it",
        path.display()
    )]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// What it did not do, as an infinitive.
        what: &'static str,
        /// The bound that was met.
        after: Duration,
    },
    /// The daemon failed several times in a row and is left alone for a while.
    #[error("the daemon failed repeatedly and is not asked for a while; `memo status` looks at it")]
    BreakerOpen,
    /// The socket failed.
    #[error("the connection to the daemon at {} failed: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon answered with an error.
    #[error("{0}")]
    Daemon(#[source] WireError),
    /// Client and daemon have no version of the protocol in common.
    #[error("{0}")]
    Version(#[source] WireError),
    /// What came is not what the protocol says.
    #[error(
        "the daemon does not speak memod's protocol: {0}; update it, or look who listens there"
    )]
    Protocol(String),
    /// An argument cannot be meant.
    #[error("{0}")]
    Invalid(#[from] InvalidArgument),
    /// The socket's path does not fit into an address.
    #[error(
        "the socket path {} is {bytes} bytes long, {max} are allowed; choose a shorter one",
        path.display()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        bytes: usize,
        /// The most that are allowed.
        max: usize,
    },
    /// A place of our own belongs to, or is served or writable by, somebody else.
    #[error("{} is not safe to use: {problem}", path.display())]
    NotOurs {
        /// The socket or directory.
        path: PathBuf,
        /// Why it is not trusted, and what to do.
        problem: String,
    },
    /// The user's own daemon could not be started.
    #[error("cannot start a daemon: {problem}")]
    Start {
        /// Why, with the last lines of its log if there are any.
        problem: String,
    },
    /// The daemon that gave a lease ended while its holder computed.
    #[error(
        "the daemon ended while the task ran, and with it the lease, so another may have run the \
         task at the same time; its log says why it ended"
    )]
    LeaseLost,
    /// Something on the caller's side of the exchange failed: a sink, a source, a temporary file.
    #[error("{what}: {source}")]
    Local {
        /// What failed.
        what: String,
        /// How.
        source: io::Error,
    },
}

impl Error {
    /// The exit code of a command that ends with this error: 2 the arguments are wrong, 3 no
    /// daemon that answers, or one that has ended meanwhile, 4 forbidden, not safe, or over
    /// budget, 1 not found, 5 anything else.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 4,
            Self::Io { .. } if self.is_hang_up() => 3,
            Self::Invalid(_) | Self::PathTooLong { .. } => 2,
            Self::NotOurs { .. } => 4,
            Self::NoDaemon { .. } | Self::Start { .. } | Self::Timeout { .. } | Self::LeaseLost => {
                3
            }
            Self::Daemon(error) => match error.code {
                ErrorCode::InvalidArgument => 2,
                ErrorCode::Forbidden | ErrorCode::OverBudget => 4,
                ErrorCode::NotFound => 1,
                _ => 5,
            },
            _ => 5,
        }
    }

    /// The stable name of the kind of error, as in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoDaemon { .. } => "no_daemon",
            Self::Timeout { .. } => "timeout",
            Self::BreakerOpen => "breaker_open",
            Self::Io { .. } => "io",
            Self::Daemon(error) => error.code.name(),
            Self::Version(_) => "version_mismatch",
            Self::Protocol(_) => "protocol",
            Self::Invalid(_) | Self::PathTooLong { .. } => "invalid_argument",
            Self::NotOurs { .. } => "not_ours",
            Self::Start { .. } => "start_failed",
            Self::LeaseLost => "lease_lost",
            Self::Local { .. } => "local",
        }
    }

    /// What to do next, if there is more to say than the message does.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Daemon(error) | Self::Version(error) => error.hint.as_deref(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("ask whoever runs the daemon to let you use its socket")
            }
            Self::Io { .. } if self.is_hang_up() => Some(
                "the daemon has ended in the middle: `memo doctor` and its log may say why; once \
                 it runs again, so can this",
            ),
            _ => None,
        }
    }

    /// Whether the daemon is to blame: the breaker counts these. An error that the daemon sent
    /// shows that it works, and what is wrong with our arguments or files is not its fault.
    pub(crate) const fn is_fault(&self) -> bool {
        !matches!(self, Self::Daemon(_) | Self::Invalid(_) | Self::Local { .. } | Self::BreakerOpen)
    }

    /// The same; if the daemon was late, with how long nothing had been heard of it.
    pub(crate) fn unheard_since(self, heard: Instant) -> Self {
        let Self::Timeout { path, .. } = self else { return self };
        // Nobody reads microseconds.
        let milliseconds = u64::try_from(heard.elapsed().as_millis()).unwrap_or(u64::MAX);
        let after = Duration::from_millis(milliseconds);
        Self::Timeout { path, what: "give a sign of life", after }
    }

    /// The same once more, for another of many that failed together.
    pub(crate) fn again(&self) -> Self {
        let io = |source: &io::Error| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        match self {
            Self::NoDaemon { path, source } => {
                Self::NoDaemon { path: path.clone(), source: io(source) }
            }
            Self::Timeout { path, what, after } => {
                Self::Timeout { path: path.clone(), what, after: *after }
            }
            Self::BreakerOpen => Self::BreakerOpen,
            Self::LeaseLost => Self::LeaseLost,
            Self::Io { path, source } => Self::Io { path: path.clone(), source: io(source) },
            Self::Daemon(error) => Self::Daemon(error.clone()),
            Self::Version(error) => Self::Version(error.clone()),
            Self::Protocol(problem) => Self::Protocol(problem.clone()),
            Self::Invalid(error) => Self::Invalid(error.clone()),
            Self::PathTooLong { path, bytes, max } => {
                Self::PathTooLong { path: path.clone(), bytes: *bytes, max: *max }
            }
            Self::NotOurs { path, problem } => {
                Self::NotOurs { path: path.clone(), problem: problem.clone() }
            }
            Self::Start { problem } => Self::Start { problem: problem.clone() },
            Self::Local { what, source } => Self::Local { what: what.clone(), source: io(source) },
        }
    }

    /// Whether the peer has ended the connection.
    pub(crate) fn is_hang_up(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(
            source.kind(),
            io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::NotConnected
        )
    }

    /// Whether a daemon was met on its way out.
    pub(crate) fn is_leaving(&self) -> bool {
        match self {
            Self::Daemon(error) => error.code == ErrorCode::ShuttingDown,
            other => other.is_hang_up(),
        }
    }
}

impl From<wire::DecodeError> for Error {
    fn from(error: wire::DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<DescriptorError> for Error {
    fn from(error: DescriptorError) -> Self {
        Self::Protocol(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_contract() {
        let daemon = |code| Error::Daemon(WireError::new(code, "no"));
        assert_eq!(Error::Invalid(InvalidArgument::new("task", "is wrong")).code(), 2);
        let source = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Error::NoDaemon { path: PathBuf::from("/s"), source }.code(), 3);
        assert_eq!(daemon(ErrorCode::Forbidden).code(), 4);
        assert_eq!(daemon(ErrorCode::OverBudget).code(), 4);
        assert_eq!(daemon(ErrorCode::NotFound).code(), 1);
        assert_eq!(daemon(ErrorCode::Internal).code(), 5);
        assert_eq!(Error::Protocol(String::new()).code(), 5);
        let io = |kind| Error::Io { path: PathBuf::new(), source: io::Error::from(kind) };
        assert_eq!(io(io::ErrorKind::PermissionDenied).code(), 4);
        assert_eq!(io(io::ErrorKind::ConnectionReset).code(), 3);
        assert_eq!(io(io::ErrorKind::OutOfMemory).code(), 5);
    }

    #[test]
    fn a_shell_takes_the_advice_as_it_stands() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let error = Error::NoDaemon { path: PathBuf::from("/my files/m.sock"), source }.to_string();
        assert!(error.ends_with("`memod --socket '/my files/m.sock'`"), "{error}");
    }

    #[test]
    fn only_faults_of_the_daemon_count_as_such() {
        assert!(!Error::Daemon(WireError::new(ErrorCode::Busy, "later")).is_fault());
        assert!(!Error::Invalid(InvalidArgument::new("task", "is wrong")).is_fault());
        assert!(Error::Protocol("garbage".into()).is_fault());
        let source = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(Error::Io { path: PathBuf::new(), source }.is_fault());
    }
}
