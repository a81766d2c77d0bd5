"""What is told of calls and entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Provenance:
    """The run that made an entry; what is not known is None."""

    writer_uid: int
    writer_pid: int | None
    program: str | None
    host: str | None
    created_at: datetime
    compute_seconds: float | None
    task_version: str | None
    execution: str | None
    node: str | None
    attempt: int | None


@dataclass(frozen=True)
class Report(Generic[T]):
    """How one call went, in Flyte's words."""

    value: T
    """What the function returned, now or once."""
    status: str
    """`HIT`, `MISS`, `DISABLED`, `SKIPPED` or `LOOKUP_FAILURE`."""
    store: str
    """`POPULATED`, `PUT_FAILURE`, `SKIPPED` or `DISABLED`."""
    reservation: str = "DISABLED"
    """`ACQUIRED`, `EXISTS`, `RELEASED`, `FAILURE` or `DISABLED`."""
    key: str | None = None
    reason: str | None = None
    """Of a miss, why."""
    compute_seconds: float | None = None
    lookup_seconds: float = 0.0
    saved_seconds: float | None = None
    age_seconds: float | None = None
    provenance: Provenance | None = None
    problems: tuple[BaseException, ...] = ()
    """What went wrong with the cache."""

    @property
    def is_hit(self) -> bool:
        """Whether the value came from the cache."""
        return self.status == "HIT"


@dataclass(frozen=True)
class Miss:
    """Why there is no hit: `never_seen`, `evicted`, `expired`, `invalidated`, `corrupt` .."""

    key: str
    reason: str
    at: datetime | None = None
    by_uid: int | None = None
    detail: str | None = None

    def __bool__(self) -> bool:
        """A miss is false, a hit is true."""
        return False


@dataclass(frozen=True)
class Difference:
    """One thing in which an entry differs; `what` is input, cache_version, signature or scope."""

    what: str
    name: str | None
    here: str | None
    stored: str | None

    def __str__(self) -> str:
        if self.what == "input":
            return f"input `{self.name}` differs"
        if self.what == "signature" and self.name:
            return f"{self.name} was {self.stored or 'not there'}, is {self.here or 'not there'}"
        what = self.what.replace("_", " ")
        return f"{what} {self.here}, stored under {self.stored}"


@dataclass(frozen=True)
class Nearest:
    """An entry that is near to what was looked up."""

    key: str
    created_at: datetime
    differs: tuple[Difference, ...]


@dataclass(frozen=True)
class Explanation:
    """Why a call misses, and what the nearest entries differ in; without a miss it hits."""

    key: str
    miss: Miss | None
    nearest: tuple[Nearest, ...] = field(default=())

    def __str__(self) -> str:
        if self.miss is None:
            return "it hits"
        lines = [f"it misses: {self.miss.reason.replace('_', ' ')}"]
        lines += ["; ".join(str(difference) for difference in near.differs) for near in self.nearest]
        # Several entries may differ in the same.
        return "\n".join(dict.fromkeys(lines))


@dataclass(frozen=True)
class Pending:
    """Who computes what was claimed."""

    key: str
    name: str | None
    uid: int
    pid: int | None
    program: str | None
    held_seconds: float
    expires_in_seconds: float | None

    def __bool__(self) -> bool:
        """There is no hit."""
        return False


def _instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def provenance(of: dict[str, Any]) -> Provenance:
    """From the extension module's dictionary."""
    rest = {name: value for name, value in of.items() if not name.endswith(("_ms", "_ns"))}
    created_at = datetime.fromtimestamp(of["created_at_ms"] / 1000, UTC)
    nanoseconds = of["compute_ns"]
    seconds = None if nanoseconds is None else nanoseconds / 1e9
    return Provenance(created_at=created_at, compute_seconds=seconds, **rest)


def miss(of: dict[str, Any]) -> Miss:
    """From the extension module's dictionary."""
    return Miss(of["key"], of["reason"], _instant(of["at_ms"]), of["by_uid"], of["detail"])


def pending(of: dict[str, Any]) -> Pending:
    """From the extension module's dictionary."""
    expires = of["expires_in_ms"]
    return Pending(
        key=of["key"],
        name=of["name"],
        uid=of["uid"],
        pid=of["pid"],
        program=of["program"],
        held_seconds=of["held_ms"] / 1000,
        expires_in_seconds=None if expires is None else expires / 1000,
    )


def explanation(of: dict[str, Any]) -> Explanation:
    """From the extension module's dictionary."""
    nearest = tuple(
        Nearest(
            near["key"],
            datetime.fromtimestamp(near["created_at_ms"] / 1000, UTC),
            tuple(Difference(**differs) for differs in near["differs"]),
        )
        for near in of["nearest"]
    )
    return Explanation(of["key"], None if of["miss"] is None else miss(of["miss"]), nearest)


def report(value: T, of: dict[str, Any], problems: tuple[BaseException, ...]) -> Report[T]:
    """From the extension module's dictionary."""
    rest = {name: of[name] for name in of if name not in ("provenance", "exists")}
    made = of.get("provenance")
    run = None if made is None else provenance(made)
    return Report(value=value, provenance=run, problems=problems, **rest)
