"""Methods, class methods, static methods, and functions that capture variables."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Daemon

from memod import DeclarationError, Task, task

RUNS: list[object] = []


@pytest.fixture(autouse=True)
def no_runs() -> None:
    RUNS.clear()


@dataclass
class Model:
    weight: int

    @task(cache=True, cache_version="1")
    def predict(self, x: int, *, bias: int = 0) -> int:
        RUNS.append(x)
        return self.weight * x + bias

    @classmethod
    @task(cache=True, cache_version="1")
    def default(cls, x: int) -> str:
        RUNS.append(x)
        return f"{cls.__name__} {x}"

    @staticmethod
    @task(cache=True, cache_version="1")
    def double(x: int) -> int:
        RUNS.append(x)
        return 2 * x


@dataclass
class Other(Model):
    pass


class Session:
    """Has state that cannot be a part of a key."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    @task(cache=True, cache_version="1")
    def unknown(self, x: int) -> int:
        RUNS.append(x)
        return x

    @task(cache=True, cache_version="1", cache_ignore_input_vars="self")
    def ignoring(self, x: int) -> int:
        RUNS.append(x)
        return x


def test_a_method_counts_the_fields_of_its_object(daemon: Daemon) -> None:
    assert Model(2).predict(3) == Model(2).predict(3) == 6
    assert Model(3).predict(3) == 9
    assert RUNS == [3, 3]
    assert Model(2).predict.cache_key(3) == Model(2).predict.cache_key(x=3, bias=0)
    assert Other(2).predict.cache_key(3) != Model(2).predict.cache_key(3)
    assert Model(2).predict.invalidate(3) and not Model(2).predict.invalidate(3)
    assert Model(2).predict.call(3).reason == "invalidated"
    assert Model(2).predict.overwrite(3) == 6
    assert "`self` differs" in str(Model(5).predict.why(3))
    assert isinstance(Model.predict, Task)


def test_class_and_static_methods(daemon: Daemon) -> None:
    # A type checker takes what stands below `classmethod` for a plain attribute.
    model: Any = Model
    other: Any = Other
    assert model.default(1) == model.default(1) == "Model 1"
    assert other.default(1) == "Other 1"
    assert model.double(1) == model(9).double(1) == 2
    assert RUNS == [1, 1, 1]


def test_an_object_of_unknown_state_is_a_warning_unless_ignored(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session()
    assert session.unknown(1) == session.unknown(1) == 1
    assert RUNS == [1, 1]
    assert "Session is no dataclass" in caplog.text
    assert session.ignoring(2) == Session().ignoring(2) == 2
    assert RUNS == [1, 1, 2]


class Colour(enum.Enum):
    RED = 1


def test_captured_values_count(daemon: Daemon) -> None:
    """A closure over what cannot change has a key of its own."""

    def make(factor: int, names: tuple[str, ...], colour: Colour) -> Task[[int], int]:
        @task(cache=True, cache_version="1")
        def scaled(x: int) -> int:
            RUNS.append(factor)
            return factor * x + len(names) + colour.value

        return scaled

    first = make(2, ("a",), Colour.RED)
    assert first(3) == make(2, ("a",), Colour.RED)(3) == 8
    assert make(3, ("a",), Colour.RED)(3) == 11
    assert make(2, ("b",), Colour.RED).cache_key(3) != first.cache_key(3)
    assert RUNS == [2, 3]


def test_what_is_captured_counts_as_it_is_when_called(daemon: Daemon) -> None:
    factor = 2

    @task(cache=True, cache_version="1")
    def scaled(x: int) -> int:
        return factor * x

    assert scaled(3) == 6
    factor = 5
    assert scaled(3) == 15


def test_captured_code_does_not_count(daemon: Daemon) -> None:
    def helper(x: int) -> int:
        return x + 1

    @task(cache=True, cache_version="1")
    def uses(x: int) -> int:
        return helper(x) + (uses(x - 1) if x else 0)

    assert uses(2) == 6
    assert uses.call(2).is_hit and uses.call(0).is_hit


@pytest.mark.parametrize("state", [[1], {"a": 1}, {1}, object(), threading.Lock(), (1, [])])
def test_captured_state_that_can_change_is_an_error(state: object) -> None:
    with pytest.raises(DeclarationError, match="captured variable `state`.*pass it as an argument"):

        @task(cache=True, cache_version="1")
        def uses(x: int) -> int:
            return len(str(state)) + x


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(DeclarationError, match="`later` has no value yet"):

        @task(cache=True, cache_version="1")
        def uses(x: int) -> int:
            return x + later

    later = 1
