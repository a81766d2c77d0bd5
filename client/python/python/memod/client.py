"""The client: what tasks ask through, and calls by hand.

The daemon is looked for at `$MEMOD_SOCKET` if that is set, else at the user's and the system's
sockets; if none answers, the user's own is started and asked, unless `$MEMOD_NO_START` is set. A
client connects when it is asked something, may be used by many threads, and opens connections of
its own after a fork.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from memod import _memod, files, workers
from memod._memod import Blob, Call
from memod.errors import InvalidArgumentError, MemodError
from memod.options import MODES, Mode
from memod.report import Explanation, Miss, Pending, Provenance
from memod.report import explanation as _explanation
from memod.report import miss as _miss
from memod.report import pending as _pending
from memod.report import provenance as _provenance


logger = logging.getLogger("memod")

# What the kernel takes.
_SOCKET_BYTES_MAX = 107


@dataclass(frozen=True)
class Hit:
    """A call that has been run before; its outputs by name, without copies."""

    key: str
    age_seconds: float
    provenance: Provenance
    outputs: dict[str, Blob]


class Client:
    """Asks the daemon; every method raises a `MemodError` if it could not be asked."""

    def __init__(
        self,
        socket: str | os.PathLike[str] | None = None,
        *,
        project: str | None = None,
        domain: str | None = None,
        mode: Mode | None = None,
        deadline: timedelta | None = None,
        stall: timedelta | None = None,
        start: bool = True,
        memory_bytes_max: int | None = None,
    ) -> None:
        environment = os.environ
        if mode is not None and mode not in MODES:
            raise InvalidArgumentError(f"mode: {mode!r} is none of {', '.join(MODES)}")
        chosen = mode or _mode_of_environment()
        self.raw = _memod.Client(
            project=_text("project", project) or environment.get("MEMOD_PROJECT") or "default",
            domain=_text("domain", domain) or environment.get("MEMOD_DOMAIN") or "development",
            own_uid=os.geteuid(),
            socket=_socket(socket),
            deadline=_seconds("deadline", deadline),
            stall=_seconds("stall", stall),
            mode=chosen,
            start=_switch("start", start),
            memory_bytes_max=memory_bytes_max,
            program=f"memod-python {_memod.__version__} ({_program()})",
        )
        """What tasks ask through."""

    @property
    def project(self) -> str:
        """The project of calls that name none."""
        return self.raw.project

    @property
    def domain(self) -> str:
        """The domain of calls that name none."""
        return self.raw.domain

    @property
    def sockets(self) -> list[Path]:
        """The sockets at which a daemon is looked for, in order."""
        return [Path(socket) for socket in self.raw.sockets]

    def call(
        self,
        task: str,
        cache_version: str,
        inputs: Mapping[str, str | tuple[str, Any]] | None = None,
        outputs: Mapping[str, str] | None = None,
        *,
        project: str | None = None,
        domain: str | None = None,
        ignored: Iterable[str] = (),
    ) -> Call:
        """A call by hand: inputs as `{"x": ("integer", 1)}`, outputs as `{"o0": "string"}`.

        An input that is given as a type alone is absent.
        """
        return Call(
            task,
            cache_version,
            dict(inputs or {}),
            dict(outputs or {}),
            project=project or self.project,
            domain=domain or self.domain,
            ignored=set(ignored),
        )

    def lookup(self, call: Call, *, max_age: timedelta | None = None) -> Hit | Miss:
        """Has this call been run before?"""
        described, found = self.raw.lookup(call, _seconds("max_age", max_age))
        return _miss(found) if described is None else _hit(described, found)

    def put(
        self,
        call: Call,
        outputs: Mapping[str, Any],
        *,
        overwrite: bool = False,
        max_age: timedelta | None = None,
        **run: Any,
    ) -> bool:
        """Stores a run's outputs; gives whether that was done, and not an entry there already.

        What is known of the run: `compute_seconds`, `task_version`, `execution`, `node`,
        `attempt`.
        """
        outputs = dict(outputs)
        exists = self.raw.put(
            call, outputs, overwrite=overwrite, max_age=_seconds("max_age", max_age), run=run
        )
        return not exists

    def claim(
        self,
        call: Call,
        *,
        wait: timedelta | None = None,
        take: bool = True,
        owner: str | None = None,
        heartbeat: timedelta | None = None,
        max_age: timedelta | None = None,
    ) -> Hit | Miss | Lease | Pending:
        """Has this call been run before? If not, is it our turn to run it?

        Waits while another computes it: for as long as that takes, or `wait`. Only a claim that
        takes is given the lease.
        """
        kind, described, found = self.raw.claim(
            call,
            wait=_seconds("wait", wait),
            take=take,
            owner=owner,
            heartbeat=_seconds("heartbeat", heartbeat),
            max_age=_seconds("max_age", max_age),
        )
        if kind == "hit":
            return _hit(described, found)
        if kind == "pending":
            return _pending(described)
        return Lease(found, _miss(described)) if kind == "leased" else _miss(described)

    def read(self, key: str, output: str) -> Blob:
        """One output of an entry; `memoryview(blob)` reads it in place."""
        return self.raw.read(key, output)

    def why(
        self, call: Call, *, nearest: int = 5, max_age: timedelta | None = None
    ) -> Explanation:
        """Why a lookup misses, and what the nearest entries differ in."""
        return _explanation(self.raw.why(call, nearest, _seconds("max_age", max_age)))

    def invalidate(
        self, keys: str | Call | Iterable[str | Call], *, dry_run: bool = False
    ) -> int:
        """Forgets entries by key, or those of calls; gives how many."""
        many = [keys] if isinstance(keys, str | Call) or not isinstance(keys, Iterable) else keys
        return self.raw.invalidate_keys([_key_of(one) for one in many], dry_run)

    def invalidate_task(
        self, task: str, *, cache_version: str | None = None, dry_run: bool = False
    ) -> int:
        """Forgets the entries of a task in the client's project and domain; gives how many."""
        return self.raw.invalidate_matching(
            scope=(self.project, self.domain),
            task=task,
            cache_version=cache_version,
            writer_uid=None,
            older_than=None,
            dry_run=dry_run,
        )

    def invalidate_scope(
        self, *, older_than: timedelta | None = None, dry_run: bool = False
    ) -> int:
        """Forgets everything of the client's project and domain; gives how many entries."""
        return self.raw.invalidate_matching(
            scope=(self.project, self.domain),
            task=None,
            cache_version=None,
            writer_uid=None,
            older_than=_seconds("older_than", older_than),
            dry_run=dry_run,
        )

    def stats(self) -> dict[str, int]:
        """The daemon's counters.

        Who may not read everything is told `hits`, `misses` and `time_saved_ns` of what it may
        read, and `uptime_ns`; the others are not there.
        """
        return self.raw.stats()

    def status(self) -> dict[str, Any]:
        """Who the daemon is."""
        return self.raw.status()

    def ping(self) -> None:
        """Raises if no daemon answers."""
        self.raw.ping()


class Lease:
    """The right to compute a call, while others wait for its outputs.

    Leaving a `with` block gives it back, and so does the end of the process, in whatever way.
    """

    def __init__(self, raw: _memod.Lease, miss: Miss) -> None:
        self._raw = raw
        self.miss = miss
        """Why the lookup missed."""

    @property
    def key(self) -> str:
        """The key that may be computed."""
        return self.miss.key

    @property
    def is_held(self) -> bool:
        """Whether it is still held here."""
        return self._raw.is_held

    def put(
        self,
        outputs: Mapping[str, Any],
        *,
        overwrite: bool = False,
        max_age: timedelta | None = None,
        **run: Any,
    ) -> bool:
        """Stores the outputs, which ends the lease and wakes who waits; see `Client.put`."""
        exists = self._raw.put(
            dict(outputs), overwrite=overwrite, max_age=_seconds("max_age", max_age), run=run
        )
        return not exists

    def release(self) -> None:
        """Gives it back; the next who waits has it."""
        self._raw.release()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _hit(described: dict[str, Any], outputs: list[Blob]) -> Hit:
    by_name = {blob.name: blob for blob in outputs}
    run = _provenance(described["provenance"])
    return Hit(described["key"], described["age_seconds"], run, by_name)


def _seconds(name: str, span: timedelta | None) -> float | None:
    if span is None:
        return None
    if not isinstance(span, timedelta):
        raise InvalidArgumentError(
            f"{name}: a timedelta is wanted, not {span!r}; as in timedelta(seconds=1)"
        )
    if span < timedelta(0):
        raise InvalidArgumentError(f"{name}: {span} is less than nothing")
    return span.total_seconds()


def _text(name: str, given: str | None) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str):
        raise InvalidArgumentError(f"{name}: a string is wanted, not {given!r}")
    if any("\ud800" <= character <= "\udfff" for character in given):
        raise InvalidArgumentError(f"{name}: {given!r} has a lone surrogate, so it is no text")
    return given


def _switch(name: str, given: bool) -> bool:
    if not isinstance(given, bool):
        raise InvalidArgumentError(f"{name}: True or False is wanted, not {given!r}")
    return given


def _path(name: str, given: str | os.PathLike[str]) -> str:
    try:
        path = os.fspath(given)
        os.fsencode(path)
    except (TypeError, UnicodeError) as error:
        raise InvalidArgumentError(f"{name}: {given!r} is no path: {error}") from error
    if not isinstance(path, str) or "\0" in path:
        raise InvalidArgumentError(f"{name}: {given!r} is no path")
    return path


def _socket(given: str | os.PathLike[str] | None) -> str | None:
    if given is None:
        return None
    path = _path("socket", given)
    length = len(os.fsencode(path))
    if not 0 < length <= _SOCKET_BYTES_MAX:
        raise InvalidArgumentError(
            f"socket: {path!r} has {length} bytes, a socket's path has 1 to {_SOCKET_BYTES_MAX}"
        )
    return path


def _key_of(given: str | Call) -> str:
    if isinstance(given, Call):
        return given.key
    if isinstance(given, str):
        return given
    raise InvalidArgumentError(
        f"keys: a key or a call is wanted, not {given!r}; a task forgets its own by `invalidate`"
    )


def _mode_of_environment() -> str | None:
    chosen = os.environ.get("MEMOD_MODE") or None
    if chosen is None or chosen in MODES:
        return chosen
    # Neither what was there before nor what comes of this run can be what was meant.
    logger.warning(
        "$MEMOD_MODE is %r, which is none of %s; tasks are run, and not cached",
        chosen,
        ", ".join(MODES),
    )
    return "disabled"


def _program() -> str:
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"


_lock = threading.Lock()
_default: Client | None = None


def default_client() -> Client:
    """The client of tasks that name none."""
    global _default
    with _lock:
        if _default is None:
            _default = _client_of_environment()
            _memod.use_by_default(_default.raw)
        return _default


def _client_of_environment() -> Client:
    """A task must not fail for what the environment says."""
    try:
        return Client()
    except (MemodError, UnicodeError) as error:
        logger.warning(
            "$MEMOD_PROJECT or $MEMOD_DOMAIN cannot be meant: %s; tasks are run, and not cached",
            error,
        )
        return Client(project="default", domain="development", mode="disabled")


def configure(
    socket: str | os.PathLike[str] | None = None,
    *,
    client: Client | None = None,
    files: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Client:
    """Sets up the client of tasks that name none; `options` are those of `Client`.

    `files` is where files are put that come from the cache; without it, in a temporary directory
    that ends with the process.
    """
    global _default
    made = client if client is not None else Client(socket, **options)
    kept = None if files is None else _folder(files)
    _keep_files(kept)
    with _lock:
        _default = made
        _memod.use_by_default(made.raw)
    return made


def _folder(given: str | os.PathLike[str]) -> Path:
    folder = Path(_path("files", given)).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(f"files: {folder} cannot be made: {error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidArgumentError(f"files: {folder} cannot be written to")
    return folder


def _keep_files(directory: Path | None) -> None:
    files.keep_in(directory)


def _forget_lock() -> None:
    # Another thread of the parent may have held it, and is not here to give it back.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
workers.watch()
