"""The Flyte 2 SDK's local runs with the plug-in."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import Daemon
from flyte_programs import RUNS, flyte

import memod
from memod.flyte import sdk2

pytestmark = pytest.mark.filterwarnings("ignore")
env = flyte.TaskEnvironment(name="tests")
File = flyte.io.File


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No runs, and Flyte's own database in a home of the test's."""
    RUNS.clear()
    monkeypatch.delenv("MEMOD_FLYTE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    flyte.init()
    yield
    from flyte._persistence._db import LocalDB

    asyncio.run(LocalDB.close())


def ran(task: Any, **inputs: Any) -> Any:
    """What a local run of the task gives."""
    return flyte.with_runcontext(mode="local").run(task, **inputs).outputs()[0]


@env.task(cache="auto")
async def square(n: int) -> int:
    RUNS.append(n)
    return n * n


def test_a_task_runs_once_for_each_input(daemon: Daemon) -> None:
    assert [ran(square, n=2), ran(square, n=2), ran(square, n=3)] == [4, 4, 9]
    assert RUNS == [2, 3]


def test_it_is_memod_that_was_asked(own_daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(square, n=4)
    (key,) = own_daemon.client().raw.keys_of_execution(sdk2.EXECUTION)
    assert len(key) == 64
    monkeypatch.setenv("MEMOD_FLYTE", "off")
    ran(square, n=4)
    assert RUNS == [4, 4], "Flyte's own cache knows nothing of memod's entry"


@env.task(cache=flyte.Cache(behavior="auto", ignored_inputs=("b",)))
async def ignoring(a: int, b: int) -> int:
    RUNS.append(a)
    return a


def test_ignored_inputs_do_not_count(daemon: Daemon) -> None:
    """Semantics 8."""
    assert [ran(ignoring, a=1, b=1), ran(ignoring, a=1, b=2)] == [1, 1]
    assert RUNS == [1]


@env.task(cache="auto")
async def order(by: dict, at: datetime, zero: float) -> str:  # type: ignore[type-arg]
    RUNS.append("order")
    return f"{list(by)} {at} {math.copysign(1.0, zero)}"


def test_inputs_have_the_form_of_their_key(daemon: Daemon) -> None:
    """Semantics 1 and 10: who comes first decides nothing."""
    there = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    first = {"by": {"b": 1, "a": 2}, "at": there, "zero": -0.0}
    other = {"by": {"a": 2, "b": 1}, "at": there.astimezone(UTC), "zero": 0.0}
    for inputs in (first, other, first):
        assert ran(order, **inputs) == "['a', 'b'] 2026-07-01 10:00:00+00:00 1.0"
    assert RUNS == ["order"]


@env.task(cache=flyte.Cache(behavior="auto", max_age=timedelta(microseconds=1)))
async def short_lived(n: int) -> int:
    RUNS.append(n)
    return n


@env.task(cache=flyte.Cache(behavior="auto", max_age=3600))
async def long_lived(n: int) -> int:
    RUNS.append(n)
    return n


def test_what_is_too_old_is_computed_again(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    """Semantics 19; a number is seconds."""
    while len(RUNS) < 3:
        assert ran(short_lived, n=1) == 1
    RUNS.clear()
    assert [ran(long_lived, n=2) for _ in range(3)] == [2, 2, 2]
    assert RUNS == [2]
    assert [record for record in caplog.records if record.name == "memod"] == []


@env.task(cache=flyte.Cache(behavior="auto", serialize=True))
async def slow(n: int) -> int:
    RUNS.append(n)
    await asyncio.sleep(0)
    return n


@env.task
async def many(n: int) -> int:
    return sum(await asyncio.gather(*(slow(index % 2) for index in range(8))))


def test_serialized_calls_at_once_are_one_run(daemon: Daemon) -> None:
    """Semantics 27."""
    assert ran(many, n=0) == 4
    assert sorted(RUNS, key=str) == [0, 1]


@env.task(cache=flyte.Cache(behavior="auto", serialize=True))
async def fails(n: int) -> int:
    RUNS.append(n)
    if len(RUNS) == 1:
        raise ValueError("not yet")
    return n


def test_a_failure_stores_nothing_and_gives_the_lease_back(own_daemon: Daemon) -> None:
    """Semantics 20 and 28."""
    with pytest.raises(Exception, match="not yet"):
        ran(fails, n=1)
    assert own_daemon.client().stats()["leases"] == 0
    assert [ran(fails, n=1), ran(fails, n=1)] == [1, 1]
    assert RUNS == [1, 1]


@env.task(cache="auto")
async def upper(source: File) -> File:
    RUNS.append("upper")
    async with source.open("rb") as file:
        content = bytes(await file.read())
    Path("report.txt").write_bytes(content.upper())
    return await File.from_local(str(Path("report.txt").absolute()))


def test_files_by_content_and_copied_in(daemon: Daemon) -> None:
    """Semantics 13 and 15."""
    for name in ("a.txt", "b.txt"):
        Path(name).write_text("same")
    first = ran(upper, source=File(path=str(Path("a.txt").absolute())))
    for made in {Path(first.path), Path("report.txt")}:
        made.unlink(missing_ok=True)
    second = ran(upper, source=File(path=str(Path("b.txt").absolute())))
    assert (Path(second.path).read_text(), Path(second.path).name) == ("SAME", "report.txt")
    assert RUNS == ["upper"]


@env.task(cache=flyte.Cache(behavior="override", version_override="1"))
async def overriding(n: int) -> int:
    RUNS.append(n)
    return n


def test_a_version_of_ones_own_is_stored_and_not_looked_up(own_daemon: Daemon) -> None:
    """Flyte's local controller never asks its cache for such a task, so there is no hook."""
    ran(overriding, n=1)
    ran(overriding, n=1)
    assert RUNS == [1, 1]
    assert len(own_daemon.client().raw.keys_of_execution(sdk2.EXECUTION)) == 1


def test_project_and_domain_count(daemon: Daemon) -> None:
    """Semantics 4. Flyte's own local key has neither."""
    ran(square, n=5)
    flyte.init(project="theirs")
    ran(square, n=5)
    flyte.init(domain="staging")
    ran(square, n=5)
    assert RUNS == [5, 5, 5]


def test_what_is_cleared_is_what_flyte_stored(daemon: Daemon) -> None:
    from flyte._persistence import LocalTaskCache

    client = daemon.client()
    call = client.call("by hand", "1", {"n": ("integer", 1)}, {"o0": "boolean"})
    client.put(call, {"o0": True})
    ran(square, n=6)
    asyncio.run(LocalTaskCache.clear())
    ran(square, n=6)
    assert RUNS == [6, 6]
    assert client.lookup(call)


def test_without_a_daemon_tasks_run_with_a_warning(
    nobody: memod.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Semantics 34."""
    assert [ran(square, n=n) for n in range(3)] == [0, 1, 4]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert any("not cached: no daemon answers" in one.getMessage() for one in warnings)
