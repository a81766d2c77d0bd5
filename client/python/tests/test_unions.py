"""A stored value says which member of a union it is of, or the union is refused: else two values
had one key, and a hit gave the one for the other (semantics 10, 15, 33)."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

import pytest
from conftest import Daemon

from memod import DeclarationError, task


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Light(enum.Enum):
    RED = 1
    GREEN = 2


class Shade(enum.Enum):
    DARK = 1


@dataclass
class Square:
    side: float


@dataclass
class Circle:
    side: float | None


@dataclass
class Named:
    side: float
    name: str


@dataclass
class Many:
    side: list[int]


@dataclass
class Few:
    side: list[str]


@dataclass
class Day:
    side: list[dt.date]


class Pair(NamedTuple):
    side: float | str


class Record(TypedDict):
    side: float | None


@dataclass
class Holder:
    held: Colour | None


@dataclass
class Keeper:
    held: Light


def echo(of: Any) -> Any:
    def same(x):  # type: ignore[no-untyped-def]
        return x

    same.__annotations__ = {"x": of, "return": of}
    return task(cache=True, cache_version="1")(same)


@pytest.mark.parametrize(
    "of",
    [
        Colour | Light,
        Colour | Literal["RED", "GREEN"],
        Square | Circle,
        Square | Pair,
        Square | Record,
        Many | Few,
        Many | Day,
        Holder | Keeper,
        list[int] | tuple[str, ...],
        list[int] | dict[int, int],
        set[int] | frozenset[str],
        dict[str, Square] | dict[str, Circle],
        tuple[Square, int] | tuple[Circle, int],
        dt.date | None | list[dt.date] | Sequence[str],
    ],
    ids=str,
)
def test_members_that_could_be_stored_alike_are_refused(of: Any) -> None:
    with pytest.raises(DeclarationError, match="task `.*same`: .* are stored alike"):
        echo(of)


@pytest.mark.parametrize(
    ("of", "values"),
    [
        (Colour | Shade, [Colour.RED, Shade.DARK]),
        (Square | Named, [Square(1.0), Named(1.0, "a")]),
        (int | float | str | None, [1, 1.0, "1", None]),
        (list[int] | list[str], [[], [1], ["1"]]),
        (dict[str, int] | dict[str, str], [{}, {"a": 1}, {"a": "1"}]),
        (Literal["a"] | int, ["a", 1]),
        (tuple[int, int] | tuple[int, str], [(1, 1), (1, "1")]),
        (list[int] | dict[str, int], [[], {}]),
        (bytes | str, [b"a", "a"]),
    ],
    ids=str,
)
def test_others_are_told_apart(daemon: Daemon, of: Any, values: list[Any]) -> None:
    same = echo(of)
    for value in values:
        assert not same.call(value).is_hit
    for value in values:
        found = same.call(value)
        assert (found.is_hit, found.value, type(found.value)) == (True, value, type(value))
