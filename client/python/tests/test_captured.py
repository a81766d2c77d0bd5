"""Which code a task captures counts, and what stands behind it as what the task captures itself
(semantics 3, 4): what the code does counts only where it has no name of its own."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from conftest import Daemon

from memod import DeclarationError, Task, task

Make = Callable[[int], Task[[int], int]]


@dataclass(frozen=True)
class Rate:
    by: int

    def tax(self, x: int) -> int:
        return self.by * x

    @classmethod
    def zero(cls, x: int) -> int:
        return 0 * x


class Table:
    def __init__(self, by: int) -> None:
        self.by = by

    def tax(self, x: int) -> int:
        return self.by * x


def twice(x: int, times: int = 2, sentinel: object = object()) -> int:
    return x * times


def of(code: Any) -> Task[[int], int]:
    """A task that captures this."""

    @task(cache=True, cache_version="1", name="captured")
    def run(x: int) -> int:
        return int(code(x))

    return run


def closure(k: int) -> Any:
    return lambda x: x * k


def nested(k: int) -> Any:
    inner = closure(k)
    return lambda x: inner(x)


def default(k: int) -> Any:
    def helper(x: int, k: int = k) -> int:
        return x * k

    return helper


def keyword_default(k: int) -> Any:
    def helper(x: int, *, k: int = k) -> int:
        return x * k

    return helper


def bound(k: int) -> Any:
    return Rate(k).tax


def captured_task(k: int) -> Any:
    @task(cache=True, cache_version="1", name="inner")
    def inner(x: int) -> int:
        return x * k

    return inner


def uncached_task(k: int) -> Any:
    @task
    def inner(x: int) -> int:
        return x * k

    return inner


def class_with_attribute(k: int) -> Any:
    class Local:
        K = k

        def __new__(cls, x: int) -> Any:
            return x * cls.K

    return Local


def class_with_method(k: int) -> Any:
    class Local:
        def __new__(cls, x: int) -> Any:
            return x * k

    return Local


def derived_class(k: int) -> Any:
    base = class_with_attribute(k)

    class Derived(base):  # type: ignore[misc, valid-type]
        pass

    return Derived


def recursive(k: int) -> Any:
    def power(x: int) -> int:
        return 1 if x == 0 else k * power(x - 1)

    return power


def mutual(k: int) -> Any:
    def even(x: int) -> int:
        return k if x == 0 else odd(x - 1)

    def odd(x: int) -> int:
        return 0 if x == 0 else even(x - 1)

    return even


MAKERS = [
    closure, nested, default, keyword_default, bound, captured_task, uncached_task,
    class_with_attribute, class_with_method, derived_class, recursive, mutual,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_state_behind_captured_code_counts(daemon: Daemon, make: Callable[[int], Any]) -> None:
    assert of(make(2)).call(3).value == make(2)(3)
    assert of(make(5)).call(3).value == make(5)(3)
    assert of(make(2)).call(3).is_hit
    assert of(make(5)).call(3).is_hit


def test_state_counts_as_it_is_when_called(daemon: Daemon) -> None:
    def counted() -> tuple[Task[[int], int], Callable[[int], None]]:
        k = 2

        def helper(x: int) -> int:
            return x * k

        def change(to: int) -> None:
            nonlocal k
            k = to

        return of(helper), change

    run, change = counted()
    assert run(3) == 6
    change(5)
    assert run(3) == 15


def test_a_helper_that_calls_the_task_again(daemon: Daemon) -> None:
    def make(k: int) -> Task[[int], int]:
        def again(x: int) -> int:
            return run(x - 1) + k

        @task(cache=True, cache_version="1", name="again")
        def run(x: int) -> int:
            return 0 if x == 0 else again(x)

        return run

    assert (make(2)(3), make(5)(3)) == (6, 15)
    assert make(2).call(3).is_hit


def test_code_of_modules_has_no_state_but_what_is_plain(daemon: Daemon) -> None:
    assert of(twice)(3) == 6
    assert of(Table).cache_key(1) == of(Table).cache_key(1)
    assert of(Rate.zero)(1) == 0


class Level(enum.Enum):
    LOW = 1


def test_classes_that_the_standard_library_completes(daemon: Daemon) -> None:
    def make(k: int) -> list[Any]:
        @dataclass
        class Data:
            x: int
            many: list[int] = field(default_factory=list)
            by: int = k

            def __int__(self) -> int:
                return self.x * self.by

        class Pair(NamedTuple):
            x: int
            y: int = 0

            def __int__(self) -> int:
                return self.x * k

        class Kind(enum.IntEnum):
            ONE = k
            TWO = 2 * k

        return [Data, Pair, Kind]

    for one, other in zip(make(3), make(4), strict=True):
        assert of(one).cache_key(3) != of(other).cache_key(3)
    for one, other in zip(make(3), make(3), strict=True):
        assert of(one).cache_key(3) == of(other).cache_key(3)


def mutable_capture() -> Any:
    seen: list[int] = []
    return lambda x: len(seen)


def mutable_default() -> Any:
    def helper(x: int, seen: dict[int, int] = {}) -> int:
        return seen.get(x, x)

    return helper


def mutable_attribute() -> Any:
    class Local:
        seen: list[int] = []

    return Local


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (mutable_capture, "which captures `seen` is list"),
        (mutable_default, "the default of `seen` is dict"),
        (mutable_attribute, "its attribute `seen` is list"),
        (lambda: Table(3).tax, "the object of that method is Table"),
        (lambda: [1].count, "the object of that method is list"),
    ],
)
def test_state_that_cannot_be_counted_is_an_error(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=f"captured variable `code`.*{said}.*pass it"):
        of(make())


def test_a_method_of_a_class_that_a_function_makes(daemon: Daemon) -> None:
    def make(k: int) -> Any:
        @dataclass
        class Local:
            x: int
            K = k

            @task(cache=True, cache_version="1", name="method")
            def run(self) -> int:
                return self.x * self.K

        return Local

    assert (make(2)(3).run(), make(5)(3).run()) == (6, 15)
    assert make(2)(3).run.call().is_hit
