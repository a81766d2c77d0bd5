"""Which code a task captures counts (semantics 3, 4): by its name if a module holds it, else by what
it does. So does what a decorator, a bound method or a cache of functools' hides."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import importlib
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Daemon

from memod import DeclarationError, Task, task

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)


def up(x: float) -> float:
    return x + 1


def down(x: float) -> float:
    return x - 1


@task(cache=True, cache_version="1")
def first(x: float) -> float:
    return x + 1


@task(cache=True, cache_version="1")
def second(x: float) -> float:
    return x - 1


class Colour(enum.Enum):
    RED = 1


class Light(enum.Enum):
    RED = 2


@dataclass(frozen=True)
class Rate:
    by: float = 2.0
    at: dt.datetime = NOON

    def tax(self, x: float) -> float:
        return self.by * x

    @classmethod
    def none(cls, x: float) -> float:
        return x


@dataclass(frozen=True)
class Fee:
    by: float = 2.0
    at: dt.datetime = NOON


class Point(NamedTuple):
    x: int


class Vector(NamedTuple):
    x: int


def of(code: Any) -> Task[[], str]:
    """A task that captures this."""

    @task(cache=True, cache_version="1", name="captured")
    def run() -> str:
        return repr(code(1.0) if callable(code) else code)

    return run


def reaching(value: Any) -> Any:
    """A function that reaches this by a default, as state behind it."""

    def reach(x: float, value: Any = value) -> Any:
        return value

    return reach


PAIRS = [
    (math.sin, math.cos),
    (up, down),
    (first, second),
    (lambda x: x + 1, lambda x: x - 1),
    ((up, down), (down, up)),
    ((up, down, up), (up, down, down)),
    (math, json),
    (int, float),
    (Colour.RED, Light.RED),
    ((Colour.RED,), (Light.RED,)),
    (dt.date(2026, 7, 1), dt.datetime(2026, 7, 1, tzinfo=dt.UTC)),
    (reaching(Rate()), reaching(Fee())),
    (reaching(Point(1)), reaching(Vector(1))),
    (reaching(up), reaching(down)),
    (reaching(Colour.RED), reaching(Light.RED)),
]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda value: repr(value)[:30])
def test_what_is_captured_is_told_from_another(daemon: Daemon, one: Any, other: Any) -> None:
    assert of(one).cache_key() == of(one).cache_key()
    assert of(one).cache_key() != of(other).cache_key()


def test_the_same_code_in_another_place_is_the_same(daemon: Daemon) -> None:
    def make() -> Callable[[float], float]:
        return lambda x: x if x in {1.0, 2.0, 3.0} else 2 * x

    assert of(make()).cache_key() == of(make()).cache_key()


def test_keys_of_captured_code_are_those_of_every_process(daemon: Daemon) -> None:
    """Whatever the order in which hashes have its sets of constants."""
    source = """
import math
from memod import task
def make(code):
    @task(cache=True, cache_version="1", name="captured")
    def run(x: float) -> float:
        return code(x)
    return run
print(make(lambda x: x in {"a", "b", "c", "d"}).cache_key(1.0), make(math.sin).cache_key(1.0))
"""
    assert len({daemon.python(source, PYTHONHASHSEED=str(seed)) for seed in range(4)}) == 1


def scaled(by: int) -> Callable[[Any], Any]:
    """A decorator whose parameter is a default of the wrapper."""

    def decorate(f: Callable[[int], int]) -> Any:
        @functools.wraps(f)
        def wrapper(*args: Any, by: int = by) -> int:
            return by * f(*args)

        return wrapper

    return decorate


def plain(f: Callable[[int], int]) -> Callable[[int], int]:
    @functools.wraps(f)
    def wrapper(*args: int) -> int:
        return f(*args)

    return wrapper


def under_a_decorator(k: int) -> Any:
    # The wrapper is called `f`, as is what it captures.
    @task(cache=True, cache_version="1", name="hidden")
    @plain
    def f(x: int) -> int:
        return x * k

    return f


def under_a_decorator_with_a_default(k: int) -> Any:
    @task(cache=True, cache_version="1", name="hidden")
    @scaled(k)
    def f(x: int) -> int:
        return x

    return f


def under_a_cache(k: int) -> Any:
    @task(cache=True, cache_version="1", name="hidden")
    @functools.lru_cache
    def f(x: int) -> int:
        return x * k

    return f


@dataclass
class Model:
    k: int

    def run(self, x: int) -> int:
        return x * self.k


def of_a_bound_method(k: int) -> Any:
    return task(cache=True, cache_version="1", name="hidden")(Model(k).run)


@pytest.mark.parametrize(
    "make",
    [under_a_decorator, under_a_decorator_with_a_default, under_a_cache, of_a_bound_method],
)
def test_hidden_state_counts(daemon: Daemon, make: Callable[[int], Any]) -> None:
    assert [make(2)(3), make(5)(3)] == [6, 15]
    assert make(2).call(3).is_hit and make(5).call(3).is_hit


def test_what_a_decorated_task_does_does_not_count(daemon: Daemon) -> None:
    def make(code: Any) -> Any:
        code.__qualname__ = code.__name__ = "f"
        return task(cache=True, cache_version="1", name="decorated")(plain(code))

    def one(x: int) -> int:
        return x

    def other(x: int) -> int:
        return x + 1

    assert make(one).cache_key(1) == make(other).cache_key(1)


class Counter:
    """A decorator that is an object, with state of its own."""

    def __init__(self, f: Any) -> None:
        functools.update_wrapper(self, f)
        self.f = f
        self.by = 2

    def __call__(self, x: int) -> int:
        return int(self.f(x) * self.by)


class Plain:
    def run(self, x: int) -> int:
        return x


def number(x: int) -> int:
    return x


def test_state_that_cannot_be_seen_is_an_error() -> None:
    functions: list[tuple[Any, str]] = [
        (Counter(number), "a Counter may depend on more than its arguments"),
        (Plain().run, "the object of the method is Plain, which is no dataclass"),
    ]
    for function, said in functions:
        with pytest.raises(DeclarationError, match=said):
            task(cache=True, cache_version="1")(function)


def test_a_form_that_does_not_count_is_seen_behind_code(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    there = NOON.astimezone(dt.timezone(dt.timedelta(hours=2)))
    assert of(Rate(at=NOON).tax).call().value == of(Rate(at=there).tax).call().value
    assert [one.levelno for one in caplog.records] == [logging.WARNING]
    assert "has a form that does not count" in caplog.text


def test_a_wrapped_function_may_have_attributes_of_any_name(daemon: Daemon) -> None:
    def run(x: int) -> int:
        return x

    vars(run).update(name="other", _plan=None, options=3, kept=4)
    made: Any = task(cache=True, cache_version="1", name="mine")(run)
    assert (made.name, made.kept, made(1), made.call(1).is_hit) == ("mine", 4, 1, True)


MODULE = """
from memod import task

@task(cache=True, cache_version="1")
def run(x: int) -> int:
    {}
    return {}
"""


def test_other_code_of_the_same_version_is_told_when_it_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "loaded_again.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)

    def load(documentation: str, result: str) -> int:
        path.write_text(MODULE.format(documentation, result))
        # Else a file of the same length and second is taken for the same.
        importlib.invalidate_caches()
        importlib.reload(importlib.import_module("loaded_again"))
        return len(caplog.records)

    assert load("", "x + 1") == 0
    assert load("# the same", "x + 1") == 0
    assert load("'''The same.'''", "x + 1") == 0
    assert load("'''Documented.'''", "x + 1") == 0
    assert load("'''Documented.'''", "x + 2") == 1
    assert "task loaded_again.run is declared again with other code" in caplog.text
    assert load("'''Documented.'''", "x + 2") == 1
