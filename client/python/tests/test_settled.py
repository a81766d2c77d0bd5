"""A run and a hit cannot be told apart: what has one key is handed to the function in one form, and
what a run gives back is what a hit gives, whether or not the daemon is asked (semantics 10, 34)."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from conftest import Daemon

import memod
from memod import DeclarationError, task
from memod.errors import InvalidArgumentError

UTC = dt.UTC
NOON = dt.datetime(2026, 7, 1, 12, tzinfo=UTC)
BERLIN = NOON.astimezone(ZoneInfo("Europe/Berlin"))
FIXED = NOON.astimezone(dt.timezone(dt.timedelta(hours=-5)))
SEEN: list[str] = []


class Color(IntEnum):
    RED = 1


class Text(str):
    pass


class Span(dt.timedelta):
    pass


@dataclass
class Event:
    at: dt.datetime
    weight: float


class Point(NamedTuple):
    x: float
    y: float


class Typed(TypedDict):
    a: int
    b: float


def shown(value: Any) -> str:
    """The value with its type, at any depth, and with the order of dictionaries."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return f"{kind}{[(shown(key), shown(item)) for key, item in value.items()]}"
    if isinstance(value, Event):
        return f"{kind}({shown(value.at)}, {shown(value.weight)})"
    if isinstance(value, list | tuple):
        return f"{kind}{[shown(item) for item in value]}"
    return f"{kind} {value!r}"


def echo(of: Any) -> Any:
    """A task that gives back what it is given, and notes how that looks."""

    def same(x):  # type: ignore[no-untyped-def]
        SEEN.append(shown(x))
        return x

    same.__annotations__ = {"x": of, "return": of}
    same.__qualname__ = "same"
    return task(cache=True, cache_version="1")(same)


CASES: list[tuple[Any, Any, list[Any]]] = [
    (dt.datetime, NOON, [BERLIN, FIXED, pd.Timestamp(BERLIN)]),
    (dt.date, dt.date(2026, 7, 1), []),
    (dt.timedelta, dt.timedelta(seconds=2), [Span(seconds=2), pd.Timedelta(seconds=2)]),
    (int, 1, [np.int64(1), np.int8(1), np.uint64(1), Color.RED]),
    (float, 1.0, [1, np.float32(1), np.float64(1), np.int32(1), Color.RED]),
    (bool, True, [np.bool_(True)]),
    (str, "a", [Text("a"), np.str_("a")]),
    (bytes, b"ab", [bytearray(b"ab"), memoryview(b"ab")]),
    (list[float], [1.0, 2.0], [[1, 2], [np.float32(1), 2]]),
    (tuple[int, float], (1, 2.0), [(1, 2), Point(1, 2)]),
    (Sequence[int], [1, 2], [(1, 2)]),
    (AbstractSet[int], {1, 2}, [frozenset((1, 2))]),
    (dict[str, int], {"a": 1, "b": 2}, [{"b": 2, "a": 1}, OrderedDict(b=2, a=1)]),
    (Mapping[str, int], {"a": 1}, [defaultdict(int, a=1)]),
    (dict[int, int], {1: 1, 2: 2}, [{2: 2, 1: 1}]),
    (dict[str, dt.datetime], {"a": NOON}, [{"a": BERLIN}]),
    (Typed, {"a": 1, "b": 2.0}, [{"b": 2.0, "a": 1}, {"a": 1, "b": 2}]),
    (Event, Event(NOON, 1.0), [Event(BERLIN, 1), Event(NOON, np.float32(1))]),  # type: ignore[arg-type]
    (list[Event], [Event(NOON, 1.0)], [[Event(FIXED, 1)]]),
    (Point, Point(1.0, 2.0), [Point(1, 2)]),
    (float | None, 1.0, [1]),
    (dt.datetime | str, NOON, [BERLIN]),
    (dt.datetime | str, "a", [Text("a")]),
    (Literal["a", "b"], "a", [Text("a")]),
]


@pytest.mark.parametrize(("of", "settled", "others"), CASES, ids=lambda value: str(value)[:24])
def test_what_has_one_key_looks_alike(
    daemon: Daemon, of: Any, settled: Any, others: list[Any]
) -> None:
    expected = shown(settled)
    same = echo(of)
    for value in [settled, *others]:
        assert same.cache_key(value) == same.cache_key(settled)
        for mode in ("overwrite", "enabled", "read-only", "disabled"):
            SEEN.clear()
            report = same.with_options(mode=mode).call(value)
            assert report.is_hit == (mode in ("enabled", "read-only"))
            assert SEEN == ([] if report.is_hit else [expected]), (mode, value)
            assert shown(report.value) == expected, (mode, value)


@pytest.mark.parametrize(("of", "settled", "others"), CASES, ids=lambda value: str(value)[:24])
def test_so_it_does_without_a_daemon(
    nobody: memod.Client, of: Any, settled: Any, others: list[Any]
) -> None:
    same = echo(of)
    for value in [settled, *others]:
        SEEN.clear()
        assert shown(same(value)) == shown(settled)
        assert SEEN == [shown(settled)]


def test_what_is_settled_is_not_copied(daemon: Daemon) -> None:
    @task(cache=True, cache_version="1")
    def same(events: list[Event], names: dict[str, list[int]]) -> list[Event]:
        SEEN.append(f"{id(events)} {id(names)}")
        return events

    SEEN.clear()
    given, named = [Event(NOON, 1.0)], {"a": [1], "b": [2]}
    assert same(given, named) is given
    assert SEEN == [f"{id(given)} {id(named)}"]


def test_coroutines_see_the_same(daemon: Daemon) -> None:
    @task(cache=True, cache_version="1")
    async def hour(at: dt.datetime) -> dict[str, float]:
        return {"hour": at.hour, "day": 1}

    for _ in range(2):
        assert shown(asyncio.run(hour(BERLIN))) == shown({"day": 1.0, "hour": 12.0})


class Fit(NamedTuple):
    slope: float
    at: dt.datetime


def test_named_outputs_are_given_back_as_a_hit_gives_them(daemon: Daemon) -> None:
    @task(cache=True, cache_version="1")
    def fit() -> Fit:
        return (1, BERLIN)  # type: ignore[return-value]

    @task(cache=True, cache_version="1")
    def pair() -> tuple[float, float]:
        return Point(1, 2)

    for _ in range(2):
        assert shown(fit()) == shown(Fit(1.0, NOON))
        assert shown(pair()) == shown((1.0, 2.0))


@task(cache=True, cache_version="1")
def moments(at: dt.datetime) -> str:
    return str(at)


@task(cache=True, cache_version="1")
def spans(span: dt.timedelta) -> str:
    return str(span)


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        (moments, dt.datetime(2026, 1, 1), "input `at`: has no time zone"),
        (moments, pd.Timestamp("2026-01-01"), "input `at`: has no time zone"),
        (moments, pd.NaT, "input `at`: is NaT, .* declare `datetime | None`"),
        (moments, np.datetime64("2026-01-01"), "input `at`: is numpy.datetime64, datetime"),
        (moments, pd.Timestamp(7, tz="UTC"), "input `at`: has 7 ns beyond .* round it"),
        (spans, pd.Timedelta(2007), "input `span`: has 7 ns beyond .* round it"),
    ],
)
def test_what_a_datetime_cannot_hold_is_not_lost(
    daemon: Daemon, caplog: pytest.LogCaptureFixture, function: Any, value: Any, said: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        function.cache_key(value)
    report = function.call(value)
    assert (report.value, report.status) == (str(value), "LOOKUP_FAILURE")
    assert len(caplog.records) == 1


def test_a_captured_value_counts_in_the_form_in_which_the_function_sees_it(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    captured = NOON

    @task(cache=True, cache_version="1")
    def hour() -> int:
        return captured.hour

    assert hour() == 12
    captured = BERLIN
    assert hour() == 14
    assert "captured captured`: has a form that does not count" in caplog.text
    with pytest.raises(DeclarationError, match="captured variable `captured`.*in UTC"):

        @task(cache=True, cache_version="1")
        def other() -> int:
            return captured.hour
