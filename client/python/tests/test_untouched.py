"""What cannot be stored is handed on as it is, in every mode, and what can be is in one form still
(semantics 10, 34)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import Daemon

from memod import Mode, task

MODES: list[Mode] = ["enabled", "disabled", "read-only", "overwrite"]


@dataclass
class Point:
    x: float


@dataclass
class Named(Point):
    name: str


class Pair(NamedTuple):
    x: float
    y: float


class Labelled(Pair):
    label: str


def named() -> Any:
    return Named(1, "one")


def with_attribute() -> Any:
    point = Point(1)
    point.label = "one"  # type: ignore[attr-defined]
    return point


def labelled() -> Any:
    pair = Labelled(1, 2)
    pair.label = "one"
    return pair


GIVEN: list[Any] = []


@task(cache=True, cache_version="1")
def point(x: int) -> Point:
    return GIVEN[x]  # type: ignore[no-any-return]


@task(cache=True, cache_version="1")
def points(x: int) -> list[Point]:
    return GIVEN[x]  # type: ignore[no-any-return]


@task(cache=True, cache_version="1")
def pair(x: int) -> Pair:
    return GIVEN[x]  # type: ignore[no-any-return]


@task(cache=True, cache_version="1")
def numbers(x: int) -> tuple[int, int]:
    return GIVEN[x]  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("function", "value"),
    [
        (point, named()),
        (point, with_attribute()),
        (points, [Point(1), named()]),
        (pair, labelled()),
        (numbers, (np.int64(1), 2**70)),
    ],
)
def test_an_output_that_is_refused_is_untouched(
    daemon: Daemon, mode: Mode, function: Any, value: Any
) -> None:
    GIVEN[:] = [value]
    before = repr(value), getattr(value, "label", None)
    found = function.with_options(mode=mode)(0)
    assert found is value
    assert (repr(found), getattr(found, "label", None)) == before


BERLIN = dt.datetime(2026, 7, 1, 14, tzinfo=dt.timezone(dt.timedelta(hours=2)))


@task(cache=True, cache_version="1", cache_ignore_input_vars="ignored")
def seen(at: dt.datetime, number: int, many: list[int], ignored: Any = None) -> None:
    GIVEN.append((at, number, many, ignored))


@pytest.mark.parametrize("mode", MODES)
def test_one_input_that_is_refused_leaves_the_others_in_their_form(
    daemon: Daemon, mode: Mode
) -> None:
    """An input that does not count is never touched."""
    many = [np.int64(1), 2**70]
    GIVEN.clear()
    seen.with_options(mode=mode)(BERLIN, 2**70, many, BERLIN)  # type: ignore[arg-type]
    at, number, found, ignored = GIVEN.pop()
    assert at.utcoffset() == dt.timedelta(0)
    assert (number, ignored) == (2**70, BERLIN)
    assert found is many
    assert [type(one) for one in many] == [np.int64, int]
    assert ignored is BERLIN


@task(cache=True, cache_version="1")
def view(of: memoryview) -> memoryview:
    GIVEN.append(of.readonly)
    return memoryview(bytearray(of))


@pytest.mark.parametrize("mode", MODES)
def test_views_cannot_be_written_through(daemon: Daemon, mode: Mode) -> None:
    GIVEN.clear()
    made = view.with_options(mode=mode)(memoryview(bytearray(b"abc")))
    assert (bytes(made), made.readonly, GIVEN.pop()) == (b"abc", True, True)
    grid = memoryview(bytearray(b"abcd")).cast("B", (2, 2))
    assert view.with_options(mode=mode)(grid).readonly


def test_a_hit_is_as_writable_as_the_run(daemon: Daemon) -> None:
    first, second = view.call(memoryview(b"abc")), view.call(memoryview(b"abc"))
    assert (first.is_hit, second.is_hit) == (False, True)
    assert (first.value.readonly, second.value.readonly) == (True, True)
