"""What may stand beside a type in `Annotated`: how a value is hashed, pickled or named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from memod.errors import DeclarationError

T = TypeVar("T")


@dataclass(frozen=True)
class HashMethod(Generic[T]):
    """Hash an input with this function instead of by its content.

    `Annotated[Frame, HashMethod(fingerprint)]`: two frames with one fingerprint are one input. The
    function gives a string. An empty one is no hash: then the content counts.
    """

    function: Callable[[T], str]

    def __post_init__(self) -> None:
        """Refuse what cannot be called."""
        if not callable(self.function):
            raise DeclarationError(f"HashMethod({self.function!r}): a function is wanted")


@dataclass(frozen=True)
class Pickle:
    """Pickle a value of a type that memod does not know.

    `Annotated[Model, Pickle()]`. Unpickling runs code of whoever made the pickle. So a task with
    such an output reads only what this same user has written. As an input, a value counts by its
    pickle, which may differ for equal values; `HashMethod` is the better choice there.
    """

    protocol: int = 5


@dataclass(frozen=True)
class FileName:
    """The name that a file has when it is restored from the cache.

    `Annotated[Path, FileName("report.csv")]`. Without it, it is `output`. Raises `DeclarationError`
    if it is no plain name: it may not lead to another folder.
    """

    name: str

    def __post_init__(self) -> None:
        """Refuse what is no name of a file."""
        if self.name in ("", ".", "..") or "/" in self.name or "\0" in self.name:
            raise DeclarationError(f"FileName({self.name!r}): a plain name of a file is wanted")


def marker(metadata: tuple[Any, ...], kind: type[T]) -> T | None:
    """What of the metadata is of this kind; more than one, or the class itself, is an error."""
    if kind in metadata:
        raise DeclarationError(
            f"{kind.__name__} stands in Annotated without parentheses; write {kind.__name__}(..)"
        )
    found = [item for item in metadata if isinstance(item, kind)]
    if len(found) > 1:
        raise DeclarationError(f"more than one {kind.__name__} stands in one Annotated")
    return found[0] if found else None
