"""A flytekit task is given, and gives back, what a hit gives: whoever comes first decides nothing of
zones, the order of dictionaries or the sign of zero (semantics 1, 10, 15)."""

from __future__ import annotations

import datetime as dt
import math
import os
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Daemon
from flyte_programs import RUNS, flytekit

pytestmark = pytest.mark.filterwarnings("ignore")

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
THERE = NOON.astimezone(dt.timezone(dt.timedelta(hours=2)))
HERE = NOON.replace(tzinfo=None)
NAMES = ["z", "y", "x", "c", "b", "a"]
Weights = dict[str, float]


@dataclass
class Grid:
    names: dict[str, int]
    weight: float


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    RUNS.clear()
    for name in ("MEMOD_FLYTE", "FLYTE_LOCAL_CACHE_ENABLED", "FLYTE_LOCAL_CACHE_OVERWRITE"):
        monkeypatch.delenv(name, raising=False)


@flytekit.task(cache=True, cache_version="1")
def hour(at: dt.datetime, many: list[dt.datetime], maybe: dt.datetime | None = None) -> str:
    RUNS.append("hour")
    return f"{at} {many[0]} {maybe}"


@flytekit.task(cache=True, cache_version="1")
def order(by: Weights) -> list[str]:
    RUNS.append("order")
    return [f"{name} {math.copysign(1.0, by[name])}" for name in by]


@flytekit.task(cache=True, cache_version="1")
def nested(by: dict[str, list[dict[str, int]]]) -> str:
    RUNS.append("nested")
    return str(by)


@flytekit.task(cache=True, cache_version="1")
def of_grid(grid: Grid) -> str:
    RUNS.append("of_grid")
    return str(grid)


@flytekit.task(cache=True, cache_version="1")
def of_any(by: dict) -> str:  # type: ignore[type-arg]
    RUNS.append("of_any")
    return str(by)


@flytekit.task(cache=True, cache_version="1")
def of_grids(grids: dict[str, Grid]) -> str:
    RUNS.append("of_grids")
    return str(grids)


def turned(by: dict[str, Any]) -> dict[str, Any]:
    return {name: by[name] for name in reversed(by)}


SMALL = {name: 1 for name in NAMES}
CASES: list[tuple[Any, list[dict[str, Any]]]] = [
    (hour, [{"at": at, "many": [at]} for at in (THERE, NOON, HERE)]),
    (hour, [{"at": NOON, "many": [NOON], "maybe": at} for at in (THERE, NOON, HERE)]),
    (order, [{"by": {name: -0.0 for name in NAMES}}, {"by": {name: 0.0 for name in NAMES[::-1]}}]),
    (nested, [{"by": {"b": [SMALL], "a": []}}, {"by": {"a": [], "b": [turned(SMALL)]}}]),
    (of_grid, [{"grid": Grid(SMALL, -0.0)}, {"grid": Grid(turned(SMALL), 0.0)}]),
    (of_any, [{"by": {"b": SMALL, "a": 1}}, {"by": {"a": 1, "b": turned(SMALL)}}]),
    (
        of_grids,
        [
            {"grids": {"b": Grid(SMALL, 1.0), "a": Grid({}, 1.0)}},
            {"grids": {"a": Grid({}, 1.0), "b": Grid(turned(SMALL), 1.0)}},
        ],
    ),
]


@pytest.mark.parametrize(("task", "calls"), CASES, ids=lambda value: getattr(value, "name", ""))
def test_inputs_have_the_form_of_their_key(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, task: Callable[..., Any], calls: list[Any]
) -> None:
    told = [task(**calls[0]) for _ in range(2)]
    assert len(RUNS) == 1
    told += [task(**call) for call in calls]
    assert len(RUNS) == 1, "all are one call"
    for name, value in (("OVERWRITE", "true"), ("ENABLED", "false")):
        monkeypatch.setenv(f"FLYTE_LOCAL_CACHE_{name}", value)
        told += [task(**call) for call in calls]
    assert len(RUNS) == 1 + 2 * len(calls)
    assert len({str(one) for one in told}) == 1, told


@flytekit.task(cache=True, cache_version="1")
def moments(n: int) -> tuple[dt.datetime, dict[str, dt.datetime], float, dict[str, Grid]]:
    RUNS.append("moments")
    named = {name: THERE for name in NAMES}
    return HERE, named, -0.0, {name: Grid(SMALL, 1.0) for name in NAMES}


def test_outputs_have_the_form_of_a_hit(daemon: Daemon) -> None:
    run, hit = moments(n=1), moments(n=1)
    assert RUNS == ["moments"]
    assert [str(one) for one in run] == [str(one) for one in hit]
    assert run[0].tzinfo is dt.UTC and list(run[1]) == sorted(NAMES) and list(run[3]) == sorted(NAMES)


PROGRAM = """
import warnings

warnings.simplefilter("ignore")
import flytekit

@flytekit.task(cache=True, cache_version="1")
def order(n: int) -> dict[str, int]:
    return {name: n for name in "zyxcba"}

print("".join(order(n=1)))
"""


def test_hits_of_other_processes_have_that_order_too(daemon: Daemon, tmp_path: Path) -> None:
    """Protocol buffers have an order of their own in each process."""
    (tmp_path / "flyte_order.py").write_text(PROGRAM)
    told = {daemon.python("import flyte_order", PYTHONPATH=paths(tmp_path)) for _ in range(5)}
    assert told == {"abcxyz\n"}


def paths(first: Path) -> str:
    return os.pathsep.join([str(first), *sys.path])


@flytekit.task(cache=True, cache_version="1")
def huge(by: dict[str, int]) -> typing.Optional[str]:
    RUNS.append("huge")
    return str(by)


def test_what_cannot_be_stored_stays_as_it_is(daemon: Daemon) -> None:
    for _ in range(2):
        assert huge(by={"b": 2**70, "a": 1}) == f"{{'b': {2**70}, 'a': 1}}"
    assert RUNS == ["huge", "huge"]
