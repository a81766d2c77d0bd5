"""What a message has to say: which argument, what it was given, and what to do instead; and that
nothing which concerns the cache alone keeps a task from running (semantics 33, 34)."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import inspect
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import flytekit
import numpy as np
import pandas as pd
import pytest
from conftest import Daemon

import memod
from memod import Cache, DeclarationError, FunctionBodyPolicy, HashMethod, Pickle, task
from memod.errors import InvalidArgumentError


def function(x: int) -> int:
    """Doubles."""
    return 2 * x


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache_version": 1}, r"cache_version: .* not 1; write cache_version=\"1\""),
        ({"cache_version": 1.5}, r"not 1.5; write cache_version=\"1.5\""),
        ({"cache_version": ["1"]}, r"cache_version: a string is wanted, not \['1'\]$"),
        ({"cache_version": " "}, "cache_version must not be blank"),
        ({"cache_version": None}, "cache=True needs a cache_version"),
        ({"cache": flytekit.Cache(version="1")}, "cache: .* not flytekit.*Cache; use memod.Cache"),
        ({"cache": "1.0"}, "cache: a bool or a memod.Cache is wanted, not str"),
        ({"cache": Cache(version=1)}, r"version: .* not 1; write version=\"1\""),  # type: ignore[arg-type]
        ({"cache": Cache(policies=3)}, "policies: 3 is no policy"),  # type: ignore[arg-type]
        ({"cache": Cache(policies=FunctionBodyPolicy)}, "made by calling its class"),  # type: ignore[arg-type]
        ({"cache_version": "1", "cache_ignore_input_vars": 3}, "names are wanted, not 3"),
        ({"cache_version": "1", "name": 3}, "name: a string is wanted, not 3"),
        ({"cache_version": "1", "project": 3}, "project: a string is wanted, not 3"),
        ({"cache_version": "1", "max_age": 3}, "max_age: a timedelta is wanted, not 3"),
        ({"cache_version": "1", "mode": "of"}, "mode: 'of' is none of enabled, disabled"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        task(**{"cache": True, **options})(function)


def of_none(x: int = None) -> int:  # type: ignore[assignment]
    return 1


def of_text(x: list[float] = ["a"]) -> int:  # type: ignore[list-item]
    return 1


def of_naive(x: dt.datetime = dt.datetime(2026, 1, 1)) -> int:
    return 1


def of_big(x: int = 2**64) -> int:
    return 1


def of_array(x: np.ndarray = None) -> int:  # type: ignore[assignment]
    return 1


def of_path(x: Path = "notes.txt") -> int:  # type: ignore[assignment]
    return 1


def of_keyword(*, x: str = 3) -> int:  # type: ignore[assignment]
    return 1


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (of_none, r"its default None is NoneType, int is declared; declare `\| None`"),
        (of_text, r"its default \['a'\] at \[0\] is str, float is declared"),
        (of_naive, "has no time zone"),
        (of_big, "beyond 64 bits"),
        (of_array, "its default None is NoneType, numpy.ndarray is declared"),
        (of_path, "its default 'notes.txt' is str, pathlib.Path is declared"),
        (of_keyword, "input `x`: its default 3 is int, str is declared"),
    ],
)
def test_a_default_of_another_type_is_an_error_at_the_declaration(
    declared: Callable[..., int], said: str
) -> None:
    with pytest.raises(DeclarationError, match=said):
        task(cache=True, cache_version="1")(declared)


def test_defaults_are_not_read_at_the_declaration(daemon: Daemon, tmp_path: Path) -> None:
    def fails(value: object) -> str:
        raise AssertionError("called at the declaration")

    def declared(
        a: Path = tmp_path / "later",
        b: frozenset[Path] = frozenset([Path("b"), Path("c")]),
        c: Annotated[object, HashMethod(fails)] = None,
        d: Annotated[object, Pickle()] = fails,
        e: float = 1,
        f: int = np.int64(3),  # type: ignore[assignment]
        *,
        g: int | None = None,
    ) -> int:
        return 1

    hints = declared.__annotations__
    hints |= {"c": Annotated[object, HashMethod(fails)]}
    assert task(cache=True, cache_version="1")(declared)() == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"deadline": -1}, r"deadline: a timedelta is wanted, not -1; as in timedelta\("),
        ({"deadline": timedelta(-1)}, "deadline: -1 day, 0:00:00 is less than nothing"),
        ({"stall": 2.5}, "stall: a timedelta is wanted, not 2.5"),
        ({"mode": "bogus"}, "mode: 'bogus' is none of enabled"),
    ],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        memod.configure(start=False, **options)


def test_calls_are_forgotten_as_well_as_keys(client: memod.Client) -> None:
    calls = [client.call("t", "1", {"x": ("integer", n)}, {}) for n in range(3)]
    for call in calls:
        client.put(call, {})
    assert client.invalidate(calls[0]) == 1
    assert client.invalidate([calls[1], calls[2].key]) == 2
    for wrong in (task(function), [3], 3):
        with pytest.raises(InvalidArgumentError, match="keys: a key or a call is wanted"):
            client.invalidate(wrong)  # type: ignore[arg-type]


SOURCE = """
import logging, sys
import memod
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
@memod.task(cache=True, cache_version="1", name="t")
def double(x: int) -> int:
    return 2 * x
print(double(1), double(1), double.call(1).status)
"""


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MEMOD_MODE", "bogus", "$MEMOD_MODE is 'bogus', which is none of enabled, disabled, "),
        ("MEMOD_PROJECT", "x" * 5000, "$MEMOD_PROJECT or $MEMOD_DOMAIN cannot be meant: project"),
        ("MEMOD_DOMAIN", "\udcff", "$MEMOD_PROJECT or $MEMOD_DOMAIN cannot be meant: "),
    ],
)
def test_a_wrong_variable_is_a_warning_and_the_task_runs(
    daemon: Daemon, variable: str, value: str, said: str
) -> None:
    lines = daemon.python(SOURCE, **{variable: value}).splitlines()
    assert lines[0].startswith(said), lines
    assert lines[1:] == ["2 2 DISABLED"]


@task(cache=True, cache_version="1", cache_serialize=True)
def returns_any(x: int) -> int:
    return {1: 1, 2: "two"}.get(x, 2**64)  # type: ignore[return-value]


@pytest.mark.parametrize("x", [2, 3])
def test_a_report_is_whole_when_only_storing_fails(daemon: Daemon, x: int) -> None:
    report = returns_any.call(x)
    assert (report.status, report.store, report.reservation) == ("MISS", "PUT_FAILURE", "RELEASED")
    assert (report.reason, report.key) == ("never_seen", returns_any.cache_key(x))
    assert report.compute_seconds is not None and report.lookup_seconds > 0
    assert len(report.problems) == 1


def test_a_report_is_whole_when_nothing_is_asked(daemon: Daemon) -> None:
    wrong = returns_any.call(2**64)
    assert (wrong.status, wrong.store) == ("LOOKUP_FAILURE", "PUT_FAILURE")
    off = returns_any.with_options(mode="disabled").call(1)
    assert (off.status, off.store, off.problems) == ("DISABLED", "DISABLED", ())
    assert wrong.compute_seconds is not None and off.compute_seconds is not None


class Plain:
    @task(cache=True, cache_version="1")
    def size(self, x: int) -> int:
        return x

    @task(cache=True, cache_version="1")
    def frame(self, frame: pd.DataFrame) -> int:
        return 1


@task(cache=True, cache_version="1")
def takes_array(x: np.ndarray) -> int:
    return 1


@task(cache=True, cache_version="1")
def takes_frame(x: pd.DataFrame) -> int:
    return 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            functools.partial(Plain().size, 1),
            r"input `self`: .*Plain is no dataclass, .*cache_ignore_input_vars=\(\"self\",\)",
        ),
        (
            functools.partial(takes_array, np.array([1, "a", None], dtype=object)),
            "input `x`: is an array of objects, .*give it a dtype",
        ),
        (
            functools.partial(takes_frame, pd.DataFrame({"mixed": [1, "a"]})),
            "input `x`: .*mixed.*one type",
        ),
    ],
)
def test_a_value_that_is_not_taken_is_named(
    daemon: Daemon, caplog: pytest.LogCaptureFixture, call: functools.partial[int], said: str
) -> None:
    assert call() == 1
    (record,) = caplog.records
    assert "is run, and not cached: input" in record.getMessage()
    with pytest.raises(InvalidArgumentError, match=said):
        call.func.cache_key(*call.args)  # type: ignore[attr-defined]


def test_a_task_says_of_itself_what_its_function_does(daemon: Daemon) -> None:
    @task(cache=True, cache_version="1")
    async def waits(x: int) -> int:
        """Waits."""
        return x

    class Waiting:
        @task(cache=True, cache_version="1", cache_ignore_input_vars=("self",))
        async def waits(self, x: int) -> int:
            return x

    doubles = task(cache=True, cache_version="1")(function)
    for asks in (inspect.iscoroutinefunction, asyncio.iscoroutinefunction):
        assert asks(waits) and asks(Waiting().waits) and asks(functools.partial(waits, 1))
        assert not asks(doubles) and not asks(task(function))
    assert (waits.__doc__, waits.__name__) == ("Waits.", "waits")  # type: ignore[attr-defined]
    assert str(inspect.signature(waits)) == "(x: 'int') -> 'int'"
    assert str(inspect.signature(Waiting().waits)) == "(x: 'int') -> 'int'"
    assert doubles.__module__ == __name__ and doubles.__wrapped__ is function  # type: ignore[attr-defined]
    assert inspect.getsource(doubles).startswith("def function")


def test_a_task_is_pickled_with_its_options() -> None:
    other = returns_any.with_options(mode="read-only")
    copy = pickle.loads(pickle.dumps(other))
    assert (copy.options, copy.name) == (other.options, other.name)
    assert pickle.loads(pickle.dumps(returns_any)) is returns_any
    bound = pickle.loads(pickle.dumps(Plain().size))
    assert bound.task is Plain.size and isinstance(bound.__self__, Plain)
    with pytest.raises(TypeError, match="a client of its own, which no other process can have"):
        pickle.dumps(returns_any.with_options(client=memod.Client(start=False)))
