"""Behaviours that the other files show of one way in only: here of `@task` and of flytekit's tasks."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import math
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from conftest import Daemon
from flyte_programs import RUNS, flytekit

import memod
from memod import FileName, HashMethod, task
from memod.flyte.flytekit import memo_of

pytestmark = pytest.mark.filterwarnings("ignore")
cached = task(cache=True, cache_version="1")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    RUNS.clear()
    for name in ("MEMOD_FLYTE", "FLYTE_LOCAL_CACHE_ENABLED", "FLYTE_LOCAL_CACHE_OVERWRITE"):
        monkeypatch.delenv(name, raising=False)


@cached
def without_inputs() -> None:
    RUNS.append("without")


@flytekit.task(cache=True, cache_version="1")
def without_inputs_in_flyte() -> None:
    RUNS.append("without")


@flytekit.task(cache=True, cache_version="1")
def of_members(members: dict[str, float], names: list[str]) -> float:
    RUNS.append("members")
    return sum(members.values(), 0.0)


@pytest.mark.parametrize("call", [without_inputs, without_inputs_in_flyte])
def test_no_inputs_and_no_outputs_are_a_call_like_any_other(
    daemon: Daemon, call: Callable[[], None]
) -> None:
    """Semantics 2 and 16."""
    for _ in range(2):
        call()
    assert RUNS == ["without"]


def test_neither_docstring_nor_task_version_count(daemon: Daemon) -> None:
    """Semantics 6."""

    def undocumented(x: int) -> int:
        return x

    def documented(x: int) -> int:
        """Says what it does."""
        return x + 0

    keys = {
        task(cache=True, cache_version="1", name="same", task_version=version)(function).cache_key(1)
        for function in (undocumented, documented)
        for version in (None, "v1", "0123abc")
    }
    assert len(keys) == 1


def test_order_of_members_does_not_count_in_flyte_but_that_of_lists_does(daemon: Daemon) -> None:
    """Semantics 1, 10 and 11."""
    assert of_members(members={"a": 1.0, "b": 2.0}, names=["x", "y"]) == 3.0
    assert of_members(members={"b": 2.0, "a": 1.0}, names=["x", "y"]) == 3.0
    assert RUNS == ["members"]
    for names in (["y", "x"], ["xy"], ["x", "y", ""], []):
        of_members(members={"a": 1.0, "b": 2.0}, names=names)
    assert RUNS == ["members"] * 5
    for zero in (0.0, -0.0):
        of_members(members={"a": zero}, names=[])
    assert RUNS == ["members"] * 6
    for nan in (math.nan, -math.nan):
        assert math.isnan(of_members(members={"a": nan}, names=[]))
    assert RUNS == ["members"] * 7


@pytest.mark.parametrize(("mode", "runs"), [("disabled", 2), ("read-only", 2), ("enabled", 1)])
def test_the_clients_mode_holds_for_flytes_tasks(daemon: Daemon, mode: Any, runs: int) -> None:
    """Semantics 23."""
    memod.configure(client=daemon.client(mode=mode))
    for _ in range(2):
        of_members(members={}, names=[])
    assert RUNS == ["members"] * runs
    memod.configure(client=daemon.client())
    of_members(members={}, names=[])
    assert len(RUNS) == max(runs, 1) + (mode != "enabled")


def test_a_wrong_declaration_in_flyte_is_flytes_error_at_once() -> None:
    """Semantics 33."""
    for options in (
        {"cache": True},
        {"cache": False, "cache_serialize": True},
        {"cache": False, "cache_ignore_input_vars": ("x",)},
    ):
        with pytest.raises(ValueError):

            @flytekit.task(**options)
            def wrong(x: int) -> int:
                return x


def test_why_a_flyte_task_misses(daemon: Daemon) -> None:
    """Semantics 35."""
    of_members(members={"a": 1.0}, names=["x"])
    client = memod.default_client()
    given = {"members": {"a": 1.0}, "names": ["y"]}
    call = memo_of(of_members).plan.call(client.raw, (), given)
    assert call is not None
    said = str(client.why(call)).splitlines()
    assert said[:2] == ["it misses: never seen", "input `names` differs"]


def test_the_daemon_counts_what_hits_of_every_kind_have_saved(own_daemon: Daemon) -> None:
    """Semantics 36: with hits that never reach it, too."""
    gate = math.inf

    @task(cache=True, cache_version="1", name="slow")
    def slow(x: int) -> int:
        return sum(range(200_000)) * x if x < gate else x

    for _ in range(50):
        slow(3)
    report = slow.call(3)
    assert report.compute_seconds is not None and report.compute_seconds > 0.001
    saved = report.saved_seconds
    assert saved is not None and 0 < saved < report.compute_seconds
    stats = own_daemon.client().stats()
    assert (stats["hits"], stats["misses"]) == (50, 1)
    assert stats["time_saved_ns"] / 1e9 > 40 * saved


@cached
def glanced_at(x: int) -> int:
    RUNS.append(x)
    return x * x


def test_a_hit_at_a_glance_is_the_hit_that_is_reported(daemon: Daemon) -> None:
    """Semantics 15, 18, 19 and 24: also once hits come out of shared memory."""
    runs = RUNS
    for _ in range(20):
        assert glanced_at(4) == 16
    report = glanced_at.call(4)
    assert (report.value, report.status, len(runs)) == (16, "HIT", 1)
    assert report.provenance is not None and report.provenance.writer_pid == os.getpid()
    old = glanced_at.with_options(max_age=timedelta(milliseconds=1))
    deadline = time.monotonic() + 30
    while len(runs) < 2:
        assert old(4) == 16 and time.monotonic() < deadline
    for _ in range(20):
        assert glanced_at(4) == 16
    assert glanced_at.overwrite(4) == 16 and len(runs) == 3
    for _ in range(20):
        assert glanced_at(4) == 16
    assert daemon.client().invalidate(glanced_at.cache_key(4)) == 1
    assert glanced_at(4) == 16 and len(runs) == 4
    for mode, more in (("disabled", 2), ("overwrite", 2), ("read-only", 0)):
        other = glanced_at.with_options(mode=mode)  # type: ignore[arg-type]
        before = len(runs)
        assert other(4) == other(4) == 16
        assert len(runs) - before == more, mode


class Fragile:
    """Its pickles cannot always be read."""

    breaks = False

    def __init__(self, value: int) -> None:
        self.value = value

    def __setstate__(self, state: dict[str, int]) -> None:
        if Fragile.breaks:
            raise ValueError("it does not unpickle")
        self.__dict__.update(state)


@task(cache=True, cache_version="1", name="fragile")
def fragile(x: int) -> Annotated[Fragile, memod.Pickle()]:
    RUNS.append(x)
    return Fragile(x)


def test_an_entry_that_cannot_be_read_at_a_glance_is_told_and_replaced(
    daemon: Daemon, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Semantics 22."""
    for _ in range(20):
        assert fragile(7).value == 7
    assert (RUNS, caplog.text) == ([7], "")
    monkeypatch.setattr(Fragile, "breaks", True)
    report = fragile.call(7)
    assert (report.value.value, report.status, report.reason) == (7, "MISS", "corrupt")
    assert fragile(7).value == 7
    assert RUNS == [7, 7, 7]
    assert caplog.text.count("it does not unpickle") == 2
    monkeypatch.setattr(Fragile, "breaks", False)
    assert fragile.call(7).status == "HIT"


@task(cache=True, cache_version="1")
def square(x: int, power: int = 2) -> int:
    """A number's power."""
    return int(x**power)


def test_a_task_goes_where_functions_go(daemon: Daemon) -> None:
    """It is pickled by its name, has a function's signature, and is called in every way."""
    copies = [pickle.loads(pickle.dumps(square)), copy.copy(square), *copy.deepcopy([square])]
    assert all(one is square for one in copies)
    assert str(inspect.signature(square)) == "(x: 'int', power: 'int' = 2) -> 'int'"
    assert (square.__name__, square.__doc__) == ("square", "A number's power.")
    assert list(map(square, [1, 2, 3])) == [1, 4, 9]
    assert square(*[3], **{"power": 3}) == square(power=3, x=3) == 27
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        square()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        square(1, y=2)  # type: ignore[call-arg]
    assert asyncio.run(asyncio.to_thread(square, 5)) == 25


POOL = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from memod import task

@task(cache=True, cache_version="1", cache_serialize=True)
def slow(place: str) -> int:
    with open(place, "ab", buffering=0) as runs:
        runs.write(b".")
    return sum(range(1_000_000))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    with ProcessPoolExecutor(8, mp_context=context) as pool:
        results = list(pool.map(slow, [sys.argv[1]] * 32))
    print(set(results), Path(sys.argv[1]).read_bytes())
"""


@pytest.mark.parametrize("way", ["spawn", "fork", "forkserver"])
def test_a_pool_of_eight_processes_runs_a_serialized_task_once(
    daemon: Daemon, tmp_path: Path, way: str
) -> None:
    """Semantics 26 and 27: the task itself is what the pool is given."""
    program, runs = tmp_path / "pool.py", tmp_path / "runs"
    program.write_text(POOL)
    ran = subprocess.run([sys.executable, str(program), str(runs), way], check=False,
                         env=daemon.environment(), capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("{499999500000} b'.'\n", "")


def removed(path: Path) -> str:
    """A hash of nothing, that has the file removed which has been hashed before."""
    path.unlink()
    return "removed"


@cached
def of_vanished(data: Path, trap: Annotated[Path, HashMethod(removed)]) -> bool:
    RUNS.append("vanished")
    return data.exists()


def test_a_file_that_vanishes_between_hashing_and_running(
    daemon: Daemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The function runs, and what it makes of that is its own affair; it is not stored."""
    for _ in range(2):
        data = tmp_path / "data"
        data.write_text("content")
        report = of_vanished.call(data, data)
        assert (report.value, report.status, report.store) == (False, "MISS", "PUT_FAILURE")
    assert RUNS == ["vanished"] * 2
    assert caplog.text.count("cannot be looked at any more") == 2


def of_kept(data: Path, trap: Annotated[Path, HashMethod(lambda path: "removed")]) -> bool:
    return data.exists()


def test_a_file_that_vanishes_is_a_hit_by_the_content_that_it_had(
    daemon: Daemon, tmp_path: Path
) -> None:
    """Semantics 13."""
    data = tmp_path / "data"
    data.write_text("content")
    assert task(cache=True, cache_version="1", name=of_vanished.name)(of_kept)(data, data)
    report = of_vanished.call(data, data)
    assert (report.value, report.status, data.exists(), RUNS) == (True, "HIT", False, [])


def test_values_that_contain_themselves_are_a_warning(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    def lengths(rows: list[list[int]]) -> int:
        return len(rows)

    rows: list[Any] = []
    rows.append(rows)
    assert cached(lengths)(rows) == 1
    assert "input `rows`[0][0]: is list, int is declared" in caplog.text


def test_warnings_go_to_the_logger_once_for_each_call(
    nobody: memod.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Semantics 34."""
    assert square(2) == 4
    (record,) = (record for record in caplog.records if record.name == "memod")
    assert record.levelno == logging.WARNING


def test_an_output_file_is_restored_with_its_name_at_a_glance(daemon: Daemon) -> None:
    """Semantics 15."""

    def made(x: int) -> Annotated[Path, FileName("made.txt")]:
        target = Path(os.devnull).parent / "shm" / f"memod-test-{os.getpid()}"
        target.write_text("x" * x)
        return target

    one = task(cache=True, cache_version="1", name="made")(made)
    first = one(3)
    first.unlink()
    restored = [one(3) for _ in range(20)]
    assert len(set(restored)) == 20
    assert {(path.name, path.read_text()) for path in restored} == {("made.txt", "xxx")}
