"""What can go wrong: one exception for each code that the daemon and the client know.

Memoized functions raise none of these when they are called: there, what is wrong with the cache is
a warning, and the function runs. Declarations and the calls of a client raise them.
"""

from __future__ import annotations


class MemodError(Exception):
    """Anything that went wrong with memod.

    `code` is the stable name of the kind of error, as in JSON; `hint` says what to do next, if
    there is more to say than the message does.
    """

    code = "error"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message} ({self.hint})" if self.hint else message


class DeclarationError(MemodError, ValueError):
    """A task that is declared in a way that cannot be meant."""

    code = "declaration"


class UnsupportedTypeError(DeclarationError, TypeError):
    """A task with an input or output of a type that cannot be stored."""

    code = "unsupported_type"


class InvalidArgumentError(MemodError, ValueError):
    """A value, a name or an option cannot be meant; the message names it."""

    code = "invalid_argument"


class UnavailableError(MemodError):
    """The daemon could not be asked."""

    code = "unavailable"


class NoDaemonError(UnavailableError, ConnectionError):
    """Nobody listens."""

    code = "no_daemon"


class DaemonTimeoutError(UnavailableError, TimeoutError):
    """The daemon did not answer in time."""

    code = "timeout"


class BreakerOpenError(UnavailableError):
    """The daemon failed several times in a row and is left alone for a while."""

    code = "breaker_open"


class ConnectionFailedError(UnavailableError, ConnectionError):
    """The connection failed."""

    code = "io"


class StartFailedError(UnavailableError):
    """The user's own daemon could not be started."""

    code = "start_failed"


class NotOursError(UnavailableError, PermissionError):
    """A socket or directory of one's own is served or writable by somebody else."""

    code = "not_ours"


class ProtocolError(UnavailableError):
    """What listens there does not speak memod's protocol."""

    code = "protocol"


class VersionMismatchError(UnavailableError):
    """Client and daemon have no version of the protocol in common."""

    code = "version_mismatch"


class LeaseLostError(UnavailableError):
    """The daemon that gave a lease ended while the task ran; another may have run it, too."""

    code = "lease_lost"


class LocalError(MemodError, OSError):
    """Something on this side failed: a file, a temporary file."""

    code = "local"


class DaemonError(MemodError):
    """The daemon answered with an error."""

    code = "daemon"


class MalformedError(DaemonError):
    """What was sent was not a message."""

    code = "malformed"


class ForbiddenError(DaemonError, PermissionError):
    """This user may not."""

    code = "forbidden"


class OverBudgetError(DaemonError):
    """There is no room; the message names the budget."""

    code = "over_budget"


class BusyError(DaemonError):
    """A bound on work in progress was met; try again later."""

    code = "busy"


class ShuttingDownError(DaemonError):
    """The daemon is stopping; connect again later."""

    code = "shutting_down"


class NotFoundError(DaemonError, LookupError):
    """What was asked for by name is not there."""

    code = "not_found"


class DigestMismatchError(DaemonError):
    """Bytes did not have the digest that was claimed for them."""

    code = "digest_mismatch"


class InternalError(DaemonError):
    """The fault is on the daemon's side; look into its log."""

    code = "internal"


def _all(of: type[MemodError]) -> dict[str, type[MemodError]]:
    found = {of.code: of}
    for inner in of.__subclasses__():
        found |= _all(inner)
    return found


_BY_NAME = _all(MemodError)


def of_name(name: str, message: str, hint: str | None = None) -> MemodError:
    """The exception for a stable name; one of a newer client than this is a plain `MemodError`."""
    return _BY_NAME.get(name, MemodError)(message, hint)
