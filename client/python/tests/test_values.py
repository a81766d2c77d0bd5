"""Values of every type: their types, their way through the store, and their keys."""

from __future__ import annotations

import datetime as dt
import enum
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, Union

import pytest
from conftest import Daemon

import memod
from memod import HashMethod, Pickle, task
from memod._memod import Converter
from memod.literals import Reader


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"


@dataclass
class Point:
    x: float
    y: float = 0.0
    length: float = field(init=False)

    def __post_init__(self) -> None:
        self.length = math.hypot(self.x, self.y)


@dataclass(frozen=True)
class Line:
    name: str
    points: list[Point]
    colour: Colour | None = None


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict):
    depth: int
    label: str


UserId = NewType("UserId", int)
UTC = dt.UTC
CEST = dt.timezone(dt.timedelta(hours=2))

CASES: list[tuple[Any, str, list[Any]]] = [
    (bool, "boolean", [True, False]),
    (int, "integer", [0, -1, 2**63 - 1, -(2**63), 2**53 + 1]),
    (float, "float", [0.1, -0.0, math.inf, 5e-324]),
    (str, "string", ["", "é", "\0", "🦀"]),
    (bytes, "bytes", [b"", b"\0\xff"]),
    (bytearray, "bytes", [bytearray(b"ab")]),
    (dt.datetime, "datetime", [dt.datetime(2026, 11, 22, 1, 2, 3, 4, UTC),
                               dt.datetime(1, 1, 1, tzinfo=UTC),
                               dt.datetime(2026, 7, 1, tzinfo=CEST)]),
    (dt.date, "datetime", [dt.date(2026, 11, 22), dt.date(1, 1, 1), dt.date(1969, 12, 31)]),
    (dt.timedelta, "duration", [dt.timedelta(days=-3, microseconds=1), dt.timedelta.max]),
    (UserId, "integer", [7]),
    (list[int], "list<integer>", [[], [3, 1, 2]]),
    (Sequence[int], "list<integer>", [[3, 1]]),
    (list[list[str]], "list<list<string>>", [[["a"], []]]),
    (tuple[int, ...], "list<integer>", [(), (1, 2)]),
    (tuple[tuple[int, str], ...], 'list<struct{0:integer,1:string}>', [((1, "a"),)]),
    (set[str], "list<string>", [set(), {"a", "b", "c"}]),
    (frozenset[int], "list<integer>", [frozenset({3, 1, 2})]),
    (dict[str, int], "map<integer>", [{}, {"b": 1, "a": 2}]),
    (Mapping[str, list[int]], "map<list<integer>>", [{"a": [1]}]),
    (dict[int, str], "list<struct{key:integer,value:string}>", [{2: "b", 1: "a"}]),
    (dict[tuple[int, int], float], "list<struct{key:struct{0:integer,1:integer},value:float}>",
     [{(1, 2): 0.5}]),
    (Colour, "enum(GREEN|RED)", [Colour.RED, Colour.GREEN]),
    (Literal["fast", "slow"], "enum(fast|slow)", ["fast"]),
    (Point, "struct{length:float,x:float,y:float}", [Point(3.0, 4.0)]),
    (Line, "struct{colour:optional<enum(GREEN|RED)>,name:string,points:list<struct{"
           "length:float,x:float,y:float}>}", [Line("l", [Point(1.0)], Colour.RED), Line("l", [])]),
    (list[Pair], "list<struct{left:integer,right:string}>", [[Pair(1, "a")]]),
    (Options, "struct{depth:integer,label:string}", [{"depth": 1, "label": "x"}]),
    (Optional[int], "optional<integer>", [None, 3]),  # noqa: UP045
    (int | str, "union<integer|string>", [1, "1"]),
    (Union[int, float, None], "optional<union<integer|float>>", [1, 1.0, None]),  # noqa: UP007
    (bool | int, "union<boolean|integer>", [True, 1]),
    (list[int] | Point, "union<list<integer>|struct{length:float,x:float,y:float}>",
     [[1], Point(1.0)]),
]


def converter(annotation: Any) -> Converter:
    return Converter(Reader("a value", is_output=True).read(annotation))


@pytest.mark.parametrize(("annotation", "text", "values"), CASES, ids=lambda case: str(case)[:30])
def test_a_value_comes_back_as_it_was(annotation: Any, text: str, values: list[Any]) -> None:
    one = converter(annotation)
    assert one.type == text
    for value in values:
        back = one.decode(one.encode(value))
        assert back == value and type(back) is type(value)
        assert repr(back) == repr(value) or isinstance(value, set | dt.datetime | dict)


RUNS: list[int] = []
VALUES: list[Any] = []


def _stored(which):  # type: ignore[no-untyped-def]
    RUNS.append(which)
    return VALUES[which], [VALUES[which]]


@pytest.mark.parametrize(("annotation", "text", "values"), CASES, ids=lambda case: str(case)[:30])
def test_a_task_gives_it_back_from_the_store(
    daemon: Daemon, annotation: Any, text: str, values: list[Any]
) -> None:
    """Semantics 15: as an output by itself, and within another."""
    RUNS.clear()
    VALUES[:] = values
    function = types.FunctionType(_stored.__code__, globals())
    function.__annotations__ = {"which": int, "return": tuple[annotation, list[annotation]]}
    stored: Any = task(cache=True, cache_version="1", name="stored")(function)
    assert stored.output_types == {"o0": text, "o1": f"list<{text}>"}
    for which in range(len(values)):
        first, second = stored(which), stored(which)
        assert first == second
        assert [type(one) for one in first] == [type(one) for one in second]
    assert RUNS == list(range(len(values)))


def test_equal_inputs_are_one_and_different_ones_are_not() -> None:
    """Semantics 1, 10 and 11."""
    floats = converter(float)
    assert floats.digest(0.0) == floats.digest(-0.0)
    assert floats.digest(math.nan) == floats.digest(-math.nan)
    assert floats.digest(1) == floats.digest(1.0)
    anything = converter(bool | int | float | str | None)
    assert len({anything.digest(value) for value in (1, 1.0, "1", True, None)}) == 5
    nested = converter(list[list[int]])
    lists: list[Any] = [[[1], [2]], [[1, 2]], [], [[]]]
    assert len({nested.digest(value) for value in lists}) == 4
    mapped = converter(dict[str, list[int]])
    assert mapped.digest({"a": [], "b": [1]}) == mapped.digest({"b": [1], "a": []})
    assert mapped.digest({"a": [], "b": [1]}) != mapped.digest({"ab": [1]})
    instants = converter(dt.datetime)
    noon = dt.datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert instants.digest(noon) == instants.digest(noon.astimezone(CEST))


def test_an_integer_reaches_the_function_as_the_float_that_is_declared(daemon: Daemon) -> None:
    """1 and 1.0 have one key there, so the function must not tell them apart."""

    @task(cache=True, cache_version="1", name="declared")
    def declared(x: float, *, y: float | None = None) -> str:
        return f"{x} {y}"

    assert declared(1, y=2) == "1.0 2.0"
    assert declared.call(1.0, y=2.0).is_hit


def length_of(text: str) -> str:
    return str(len(text))


def nothing_of(text: object) -> str:
    return ""


class Model:
    def __init__(self, weight: int) -> None:
        self.weight = weight

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and other.weight == self.weight


def weight_of(model: Model) -> str:
    return str(model.weight)


def test_an_own_hash_replaces_the_value_at_any_depth(daemon: Daemon) -> None:
    """Semantics 9."""

    @task(cache=True, cache_version="1", name="own")
    def own(
        texts: list[Annotated[str, HashMethod(length_of)]],
        model: Annotated[Model, HashMethod(weight_of)],
        plain: Annotated[str, HashMethod(nothing_of)] = "p",
    ) -> int:
        return len(texts)

    key = own.cache_key(["ab", "c"], Model(1))
    assert own.cache_key(["xy", "z"], Model(1)) == key
    assert own.cache_key(["abc", "c"], Model(1)) != key
    assert own.cache_key(["ab", "c"], Model(2)) != key
    assert own.cache_key(["ab", "c"], Model(1), "q") != key, "an empty hash is none"
    assert own(["ab", "c"], Model(1)) == 2
    assert own.call(["xy", "z"], Model(1)).is_hit


def broken(value: object) -> str:
    raise OSError("no fingerprint")


def number_of(value: object) -> str:
    return 3  # type: ignore[return-value]


def test_an_own_hash_that_is_unusable_is_a_warning(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    @task(cache=True, cache_version="1", name="unusable")
    def one(x: Annotated[int, HashMethod(broken)]) -> int:
        return x

    @task(cache=True, cache_version="1", name="unusable")
    def two(x: Annotated[int, HashMethod(number_of)]) -> int:
        return x

    assert (one(1), two(2)) == (1, 2)
    assert "input `x`: its hash function raised OSError: no fingerprint" in caplog.text
    assert "input `x`: its hash function gave int, str is wanted" in caplog.text


def test_pickle_is_asked_for_by_name(daemon: Daemon) -> None:
    @task(cache=True, cache_version="1", name="pickled")
    def pickled(model: Annotated[Model, Pickle()]) -> Annotated[Model, Pickle()]:
        return Model(model.weight + 1)

    assert pickled.input_types == {"model": "opaque(pickle)"}
    assert pickled(Model(1)) == pickled(Model(1)) == Model(2)
    assert pickled.call(Model(1)).is_hit


def test_what_another_user_pickled_is_not_read(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unpickling runs code of whoever wrote it."""

    @task(cache=True, cache_version="1", name="foreign")
    def foreign() -> Annotated[Model, Pickle()]:
        return Model(1)

    foreign()
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    other = daemon.client()
    report = foreign.with_options(client=other).call()
    assert (report.status, report.reason) == ("MISS", "corrupt")
    assert "written by another user" in caplog.text


def test_a_memoryview_reads_in_place(daemon: Daemon) -> None:
    @task(cache=True, cache_version="1", name="viewed")
    def viewed(size: int) -> memoryview:
        return memoryview(bytes(size))

    for _ in range(2):
        view = viewed(3_000_000)
        assert view.readonly and len(view) == 3_000_000
    assert viewed.call(3_000_000).is_hit
