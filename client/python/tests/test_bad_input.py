"""What cannot be meant: an error at the declaration where it can be known; else a warning at the
call, and the function runs all the same (semantics 34)."""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import InitVar, dataclass
from enum import Flag
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, TypedDict, TypeVar

import pytest
from conftest import Daemon

from memod import DeclarationError, HashMethod, UnsupportedTypeError, task
from memod.errors import InvalidArgumentError

T = TypeVar("T")
cached = task(cache=True, cache_version="1")


@dataclass
class Tree:
    value: int
    children: list[Tree]


@dataclass
class Halved:
    x: int
    factor: InitVar[int]


Json = float | str | list["Json"]


@dataclass
class Doubled:
    x: int

    def __post_init__(self) -> None:
        self.twice = 2 * self.x

    @cached_property
    def thrice(self) -> int:
        return 3 * self.x


class Bits(Flag):
    A = 1
    B = 2


class Partial(TypedDict, total=False):
    x: int


class Box(Generic[T]):
    pass


def unannotated(x):  # type: ignore[no-untyped-def]
    return x


def no_return(x: int):  # type: ignore[no-untyped-def]
    return x


def half_annotated(x: int, y) -> int:  # type: ignore[no-untyped-def]
    return x


def stars(*args: int) -> int:
    return 1


def keywords(**kwargs: int) -> int:
    return 1


def generates(x: int) -> Generator[int]:
    yield x


def iterates(x: int) -> Iterator[int]:
    return iter([x])


async def generates_async(x: int) -> AsyncIterator[int]:
    yield x


def recursive(tree: Tree) -> int:
    return 1


def returns_recursive(x: int) -> Tree:
    return Tree(x, [])


def recursive_alias(x: Json) -> int:
    return 1


def undefined(x: Missing) -> int:  # type: ignore[name-defined]  # noqa: F821
    return 1


def anything(x: Any) -> int:
    return 1


def objects(x: object) -> int:
    return 1


def bare_list(x: list) -> int:  # type: ignore[type-arg]
    return 1


def functions(x: Callable[[], int]) -> int:
    return 1


def initialised(x: Halved) -> int:
    return 1


def flagged(x: Bits) -> int:
    return 1


def partial(x: Partial) -> int:
    return 1


def generic(x: T) -> T:
    return x


def boxed(x: Box[int]) -> int:
    return 1


def ambiguous(x: list[int] | tuple[int, ...]) -> int:
    return 1


def hidden_file(x: int) -> list[Path]:
    return []


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (unannotated, "input `x`: an annotation is needed"),
        (half_annotated, "input `y`: an annotation is needed"),
        (no_return, "return value: an annotation is needed"),
        (stars, r"\*args gives inputs no names"),
        (keywords, r"\*\*kwargs gives inputs no names"),
        (generates, "a generator gives its values one by one"),
        (generates_async, "a generator gives its values one by one"),
        (iterates, "no type that memod can store"),
        (lambda x: x, "a lambda has neither a name nor annotations"),
        (recursive, "Tree contains itself"),
        (returns_recursive, "output `o0`.*Tree contains itself"),
        (recursive_alias, "'Json' within a type is not known here, or is that type itself"),
        (undefined, "cannot be read: name 'Missing'"),
        (anything, "Any is no type that memod can store"),
        (objects, "object is no type that memod can store"),
        (bare_list, r"list does not say of what; write it as in list\[int\]"),
        (functions, "no type that memod can store"),
        (initialised, "InitVar, factor, which is not kept"),
        (flagged, "several of its members at once"),
        (partial, "may lack the key 'x'"),
        (generic, "~T is no type"),
        (boxed, "Box.* is no type"),
        (ambiguous, "two members of the union are stored as list<integer>"),
        (hidden_file, "return it as an output of its own"),
        (len, "an annotation is needed|cannot be read"),
        (int, "a function is wanted"),
        (staticmethod(no_return), "@staticmethod stands above @task"),
        (3, "a function is wanted"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:20]),
)
def test_a_function_that_cannot_be_cached_is_an_error_at_once(
    function: Any, said: str
) -> None:
    with pytest.raises(DeclarationError, match=said) as raised:
        cached(function)
    assert isinstance(raised.value, ValueError)


def test_an_unsupported_type_is_a_type_error_that_names_pickle() -> None:
    with pytest.raises(UnsupportedTypeError, match=r"Annotated\[.*Box.*memod.Pickle\(\)\]") as raised:
        cached(boxed)
    assert isinstance(raised.value, TypeError)


RUNS: list[Any] = []


@cached
def takes_integer(x: int) -> str:
    RUNS.append(x)
    return "integer"


@cached
def takes_string(x: str) -> str:
    RUNS.append(x)
    return "string"


@cached
def takes_floats(x: dict[float, int]) -> str:
    RUNS.append(x)
    return "floats"


@cached
def takes_datetime(x: dt.datetime) -> str:
    RUNS.append(x)
    return "datetime"


@cached
def takes_file(x: Path) -> str:
    RUNS.append(x)
    return "file"


@cached
def takes_doubled(x: Doubled) -> str:
    RUNS.append(x)
    return "doubled"


@cached
def takes_strings(x: dict[str, list[str]]) -> str:
    RUNS.append(x)
    return "strings"


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        (takes_integer, 2**63, "input `x`: is an integer beyond 64 bits"),
        (takes_integer, -(2**200), "input `x`: is an integer beyond 64 bits"),
        (takes_integer, True, "input `x`: is bool, int is declared"),
        (takes_integer, "1", "input `x`: is str, int is declared"),
        (takes_integer, None, "input `x`: is NoneType, int is declared"),
        (takes_string, "\ud800", "input `x`: has a lone surrogate"),
        (takes_strings, {"k": ["a", "\udfff"]}, r'input `x`\["k"\]\[1\]: has a lone surrogate'),
        (takes_strings, {1: ["a"]}, "input `x`, a key: is int, str is declared"),
        (takes_floats, {math.nan: 1, float("nan"): 2}, "two elements that count as equal"),
        (takes_datetime, dt.datetime(2026, 1, 1), "has no time zone"),
        (
            takes_datetime,
            dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-5))),
            "input `x`: is in no year from 1 to 9999 in UTC",
        ),
        (takes_doubled, Doubled(1), "input `x`: has the attribute `twice`, which is no field"),
        (takes_file, Path("/nowhere/at/all"), "the file /nowhere/at/all cannot be hashed"),
        (takes_file, Path("/"), "not a regular file"),
        (takes_file, Path("/dev/null"), "not a regular file"),
        (takes_file, "/etc/hostname", "is str, pathlib.Path is declared"),
    ],
    ids=lambda value: repr(value)[:24].encode("ascii", "replace").decode(),
)
def test_a_value_that_cannot_be_stored_is_a_warning_and_the_function_runs(
    daemon: Daemon, caplog: pytest.LogCaptureFixture, function: Any, value: Any, said: str
) -> None:
    RUNS.clear()
    report = function.call(value)
    assert report.value == function.__name__.removeprefix("takes_")
    assert len(RUNS) == 1
    assert report.status == "LOOKUP_FAILURE"
    (record,) = [record for record in caplog.records if record.name == "memod"]
    assert record.levelno == logging.WARNING
    with pytest.raises(InvalidArgumentError, match=said):
        function.cache_key(value)
    assert str(report.problems[0]) in record.getMessage()


def test_a_nan_is_one_key() -> None:
    @cached
    def takes_float(x: float) -> float:
        return x

    assert takes_float.cache_key(math.nan) == takes_float.cache_key(float("-nan"))


def test_a_list_of_a_million_is_taken(daemon: Daemon) -> None:
    @cached
    def total(numbers: list[int]) -> list[int]:
        RUNS.append("total")
        return [sum(numbers), *numbers]

    RUNS.clear()
    numbers = list(range(1_000_000))
    for _ in range(2):
        assert total(numbers)[:3] == [499999500000, 0, 1]
    assert RUNS == ["total"]


def test_a_result_that_cannot_be_stored_is_given_back(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    @cached
    def big() -> int:
        return 2**64

    assert big() == 2**64
    assert "output `o0`: is an integer beyond 64 bits" in caplog.text


def test_an_object_that_a_hit_would_lack_something_of_is_not_stored(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    @cached
    def doubled(x: int, complete: bool) -> Doubled:
        made = Doubled(x)
        if complete:
            del made.twice
        assert made.thrice == 3 * x
        return made

    for _ in range(2):
        assert doubled(1, False).twice == 2
        assert "output `o0`: has the attribute `twice`" in caplog.text
        caplog.clear()
        # What is computed from the fields is computed again.
        assert doubled(1, True).thrice == 3
    assert caplog.records == [] and doubled.call(1, True).is_hit


def test_the_first_and_the_last_instants_are_taken(daemon: Daemon) -> None:
    for instant in (dt.datetime.min, dt.datetime.max):
        report = takes_datetime.call(instant.replace(tzinfo=dt.UTC))
        assert (report.status, report.store) == ("MISS", "POPULATED")


class Stop(BaseException):
    """Not an exception of the cache's."""


def test_what_ends_a_program_is_not_swallowed(daemon: Daemon) -> None:
    def function(x: int) -> int:
        return x

    def stops(value: object) -> str:
        raise Stop

    function.__annotations__["x"] = Annotated[int, HashMethod(stops)]
    with pytest.raises(Stop):
        cached(function)(1)
