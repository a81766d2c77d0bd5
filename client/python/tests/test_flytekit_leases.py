"""Serialized flytekit tasks over processes (semantics 20, 26 to 28 and 34)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Daemon
from flyte_programs import RUNS, flytekit
from test_leases import Crowd, wait_for_waiters

import memod
from memod.flyte.flytekit import memo_of

pytestmark = pytest.mark.filterwarnings("ignore")

WORKER = """
import logging, sys
import flytekit
logging.getLogger("memod").addHandler(logging.StreamHandler())

@flytekit.task(cache=True, cache_version="1", cache_serialize=True)
def slow(x: int) -> int:
    # One byte for each run; then it waits until it is told to go on.
    with open(sys.argv[1], "ab", buffering=0) as runs:
        runs.write(b".")
    with open(sys.argv[2], "rb", buffering=0) as gate:
        gate.read(1)
    return x * x

print("ready", flush=True)
sys.stdin.readline()
print(slow(x=12), flush=True)
"""


class FlytekitCrowd(Crowd):
    """Processes that call one flytekit task at once."""

    def __init__(self, daemon: Daemon, folder: Path, count: int) -> None:
        self.runs, self.gate = folder / "runs", folder / "gate"
        self.runs.touch()
        os.mkfifo(self.gate)
        self.held = os.open(self.gate, os.O_RDWR)
        program = folder / "program.py"
        program.write_text(WORKER)
        command = [sys.executable, str(program), str(self.runs), str(self.gate)]
        environment = daemon.environment() | {"FLYTE_SDK_LOGGING_LEVEL": "40"}
        self.workers = [
            subprocess.Popen(command, env=environment, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        for worker in self.workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"


def test_eight_processes_are_one_execution(own_daemon: Daemon, tmp_path: Path) -> None:
    crowd = FlytekitCrowd(own_daemon, tmp_path, 8)
    crowd.begin()
    wait_for_waiters(own_daemon, 7)
    crowd.open_gate()
    results, said = crowd.results()
    assert results == ["144\n"] * 8
    assert crowd.executions() == 1
    assert "not cached" not in said


def test_the_daemon_killed_in_mid_call_is_a_warning(own_daemon: Daemon, tmp_path: Path) -> None:
    crowd = FlytekitCrowd(own_daemon, tmp_path, 4)
    crowd.begin()
    wait_for_waiters(own_daemon, 3)
    own_daemon.kill()
    # All run it themselves now: each comes to the gate once.
    while crowd.executions() < 4:
        pass
    crowd.open_gate()
    results, said = crowd.results()
    assert results == ["144\n"] * 4
    assert "is run, and not cached: no daemon answers" in said


def test_a_lease_that_is_lost_by_a_restart_is_a_warning(
    own_daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    """Semantics 31."""
    RUNS.clear()

    @flytekit.task(cache=True, cache_version="1", cache_serialize=True)
    def restarts(n: int) -> int:
        RUNS.append(n)
        own_daemon.kill()
        own_daemon.start()
        return n

    assert restarts(n=1) == 1
    assert "restarts is run and cached, but perhaps not alone: the daemon ended" in caplog.text
    assert (restarts(n=1), RUNS) == (1, [1])


def test_a_failure_stores_nothing_and_gives_the_lease_back(own_daemon: Daemon) -> None:
    """Semantics 20 and 28."""
    RUNS.clear()
    held: list[int] = []

    @flytekit.task(cache=True, cache_version="1", cache_serialize=True)
    def fails(n: int) -> int:
        RUNS.append(n)
        held.append(own_daemon.client().stats()["leases"])
        if len(RUNS) == 1:
            raise ValueError("not yet")
        return n

    with pytest.raises(ValueError, match="not yet"):
        fails(n=1)
    assert own_daemon.client().stats()["leases"] == 0
    assert [fails(n=1), fails(n=1)] == [1, 1]
    assert (RUNS, held) == ([1, 1], [1, 1])
    assert own_daemon.client().stats()["leases"] == 0


def test_a_task_that_is_not_serialized_holds_no_lease(own_daemon: Daemon) -> None:
    """Semantics 31."""
    held: list[int] = []

    @flytekit.task(cache=True, cache_version="1")
    def free(n: int) -> int:
        held.append(own_daemon.client().stats()["leases"])
        return n

    assert (free(n=1), held) == (1, [0])


def test_tasks_within_tasks_have_leases_of_their_own(own_daemon: Daemon) -> None:
    RUNS.clear()

    @flytekit.task(cache=True, cache_version="1", cache_serialize=True)
    def inner(n: int) -> int:
        RUNS.append(("inner", n))
        return n + 1

    @flytekit.dynamic(cache=True, cache_version="1", cache_serialize=True)
    def outer(n: int) -> int:
        RUNS.append(("outer", n))
        first = inner(n=n)
        inner(n=n)
        return first

    assert [outer(n=1), outer(n=1), inner(n=1)] == [2, 2, 2]
    assert RUNS == [("outer", 1), ("inner", 1)]
    assert own_daemon.client().stats()["leases"] == 0


def test_what_another_holds_is_waited_for(own_daemon: Daemon) -> None:
    @flytekit.task(cache=True, cache_version="1", cache_serialize=True)
    def held(n: int) -> int:
        return n

    client = own_daemon.client()
    call = memo_of(held).plan.call(client.raw, (), {"n": 1})
    assert call is not None
    lease: Any = client.claim(call)
    assert isinstance(lease, memod.Lease)
    import threading

    results: list[int] = []
    waiter = threading.Thread(target=lambda: results.append(held(n=1)))
    waiter.start()
    wait_for_waiters(own_daemon, 1)
    lease.put({"o0": 99})
    waiter.join(timeout=30)
    assert results == [99]
