"""Serialized tasks over processes: one execution, whoever dies (semantics 26 to 28)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import Daemon

from memod import Pending, task
from memod.errors import LeaseLostError

WORKER = """
import logging, os, sys
from pathlib import Path
from memod import task

logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")

@task(cache=True, cache_version="1", name="slow", cache_serialize=True)
def slow(x: int) -> int:
    # One byte for each run; then it waits until it is told to go on.
    with open(sys.argv[1], "ab", buffering=0) as runs:
        runs.write(b".")
    with open(sys.argv[2], "rb", buffering=0) as gate:
        gate.read(1)
    return x * x

print("ready", flush=True)
sys.stdin.readline()
print(slow(12), flush=True)
"""


class Crowd:
    """Processes that call one task at once; the one that runs it stops at a gate."""

    def __init__(self, daemon: Daemon, folder: Path, count: int) -> None:
        self.runs, self.gate = folder / "runs", folder / "gate"
        self.runs.touch()
        os.mkfifo(self.gate)
        # Held open, so that who comes late is not left alone before it.
        self.held = os.open(self.gate, os.O_RDWR)
        command = [sys.executable, "-c", WORKER, str(self.runs), str(self.gate)]
        self.workers = [
            subprocess.Popen(command, env=daemon.environment(), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        for worker in self.workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"

    def begin(self) -> None:
        for worker in self.workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()

    def executions(self) -> int:
        return len(self.runs.read_bytes())

    def open_gate(self) -> None:
        """Comes back once somebody runs, and lets all through who come, one for each byte."""
        while not self.executions():
            pass
        os.write(self.held, b"." * 1000)

    def results(self) -> tuple[list[str], str]:
        told = [worker.communicate(timeout=60) for worker in self.workers]
        os.close(self.held)
        assert all(worker.returncode == 0 for worker in self.workers), told
        return [out for out, _ in told], "".join(error for _, error in told)


def wait_for_waiters(daemon: Daemon, count: int) -> None:
    """Until so many wait at the daemon."""
    client = daemon.client()
    while client.stats()["waiters"] < count:
        pass


def test_eight_processes_are_one_execution(own_daemon: Daemon, tmp_path: Path) -> None:
    crowd = Crowd(own_daemon, tmp_path, 8)
    crowd.begin()
    wait_for_waiters(own_daemon, 7)
    crowd.open_gate()
    results, said = crowd.results()
    assert results == ["144\n"] * 8
    assert (crowd.executions(), said) == (1, "")


def test_the_next_runs_when_the_first_is_killed(own_daemon: Daemon, tmp_path: Path) -> None:
    crowd = Crowd(own_daemon, tmp_path, 3)
    crowd.begin()
    wait_for_waiters(own_daemon, 2)
    while crowd.executions() < 1:
        pass
    pid = _holder(own_daemon)
    os.kill(pid, signal.SIGKILL)
    killed = next(worker for worker in crowd.workers if worker.pid == pid)
    killed.communicate()
    crowd.workers.remove(killed)
    while crowd.executions() < 2:
        pass
    crowd.open_gate()
    assert crowd.results()[0] == ["144\n"] * 2
    assert crowd.executions() == 2


def _holder(daemon: Daemon) -> int:
    client = daemon.client()
    call = client.call("slow", "1", {"x": ("integer", 12)}, {"o0": "integer"})
    pending = client.claim(call, wait=timedelta(0), take=False)
    assert isinstance(pending, Pending) and pending.pid is not None
    return pending.pid


def test_the_daemon_killed_in_mid_call_is_a_warning(own_daemon: Daemon, tmp_path: Path) -> None:
    """Semantics 34: eight results, no exception."""
    crowd = Crowd(own_daemon, tmp_path, 8)
    crowd.begin()
    wait_for_waiters(own_daemon, 7)
    own_daemon.kill()
    # All run it themselves now: each comes to the gate once.
    while crowd.executions() < 8:
        pass
    crowd.open_gate()
    results, said = crowd.results()
    assert results == ["144\n"] * 8
    assert "WARNING memod task slow is run, and not cached: no daemon answers" in said
    assert "Traceback" not in said


def test_a_lease_that_is_lost_by_a_restart_is_a_warning(
    own_daemon: Daemon, tmp_path: Path
) -> None:
    """Semantics 31 and 34: the first and the next both run, and both runs count."""
    crowd = Crowd(own_daemon, tmp_path, 8)
    crowd.begin()
    wait_for_waiters(own_daemon, 7)
    own_daemon.kill()
    own_daemon.start()
    # Who waited claims anew, and one of them is given the lease of the one who still runs.
    while crowd.executions() < 2:
        pass
    crowd.open_gate()
    results, said = crowd.results()
    assert (results, crowd.executions()) == (["144\n"] * 8, 2)
    assert "WARNING memod task slow is run and cached, but perhaps not alone: the daemon" in said
    assert said.count("WARNING") == 1, said


RESTARTED: list[Daemon] = []


def restart() -> None:
    RESTARTED[-1].kill()
    RESTARTED[-1].start()


def test_a_report_tells_of_a_lost_lease(own_daemon: Daemon) -> None:
    RESTARTED.append(own_daemon)

    @task(cache=True, cache_version="1", cache_serialize=True)
    def restarts(x: int) -> int:
        restart()
        return x

    report = restarts.call(1)
    assert (report.value, report.store, report.reservation) == (1, "POPULATED", "FAILURE")
    (problem,) = report.problems
    assert isinstance(problem, LeaseLostError) and problem.code == "lease_lost"
    assert restarts.call(1).is_hit


LOCK = threading.Lock()
RUNS: list[int] = []


@task(cache=True, cache_version="1", cache_serialize=True)
def threaded(x: int) -> int:
    RUNS.append(x)
    # Only comes to its end when all the others wait.
    with LOCK:
        return x + 1


def test_threads_share_one_execution(own_daemon: Daemon) -> None:
    """The interpreter's lock is given up while a thread waits, or this would not end."""
    RUNS.clear()
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(threaded(1))) for _ in range(8)
    ]
    with LOCK:
        for thread in threads:
            thread.start()
        wait_for_waiters(own_daemon, 7)
    for thread in threads:
        thread.join()
    assert (results, RUNS) == ([2] * 8, [1])


WAITER = """
import logging, sys
from memod import task
@task(cache=True, cache_version="1", name="held", cache_serialize=True)
def held(x: int) -> int:
    return x
print("ready", flush=True)
try:
    held(1)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_wait(own_daemon: Daemon) -> None:
    client = own_daemon.client()
    call = client.call("held", "1", {"x": ("integer", 1)}, {"o0": "integer"})
    with client.claim(call) as lease:  # type: ignore[union-attr]
        assert lease.is_held
        waiter = subprocess.Popen([sys.executable, "-c", WAITER], env=own_daemon.environment(),
                                  stdout=subprocess.PIPE, text=True)
        wait_for_waiters(own_daemon, 1)
        waiter.send_signal(signal.SIGINT)
        out, _ = waiter.communicate(timeout=30)
        assert out == "ready\ninterrupted\n"


def test_a_bounded_wait_ends_and_the_function_runs(own_daemon: Daemon) -> None:
    @task(cache=True, cache_version="1", name="held", cache_serialize=True,
          wait=timedelta(milliseconds=50))
    def held(x: int) -> int:
        return x

    with own_daemon.client().claim(held.described(1)) as lease:  # type: ignore[union-attr]
        report = held.call(1)
        assert (report.value, report.status, report.reservation) == (1, "MISS", "EXISTS")
        assert lease.key == report.key


FORKED = """
import os, sys
from memod import task
@task(cache=True, cache_version="1", name="forked", cache_serialize=True)
def forked(x: int) -> int:
    return os.getpid()
@task(cache=True, cache_version="1", name="holding", cache_serialize=True)
def holding(x: int) -> int:
    # The child ends with the lease in its memory, which must not end the parent's.
    child = os.fork()
    if child == 0:
        os._exit(0 if forked(1) == parent else 1)
    assert os.waitpid(child, 0)[1] == 0
    return x
parent = os.getpid()
assert forked(1) == parent
children = []
for n in range(4):
    child = os.fork()
    if child == 0:
        ok = forked(1) == parent and forked(2 + n) == os.getpid()
        os._exit(0 if ok else 1)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
assert forked(1) == parent
report = holding.call(1)
assert (report.store, report.reservation) == ("POPULATED", "RELEASED"), report
print("done")
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_processes_have_connections_of_their_own(own_daemon: Daemon) -> None:
    assert own_daemon.python(FORKED) == "done\n"


FORKED_WITH_A_BOARD = """
import os, sys
from memod import task
@task(cache=True, cache_version="1", name="on the board")
def square(x: int) -> int:
    return x * x
for _ in range(100):
    assert square(3) == 9
child = os.fork()
for _ in range(50):
    assert square(3) == 9
if child == 0:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_processes_read_boards_and_each_counts_its_own_hits(own_daemon: Daemon) -> None:
    assert own_daemon.python(FORKED_WITH_A_BOARD) == "done\n"
    # Both have reported when they ended; the daemon counts what it has been sent.
    deadline = time.monotonic() + 30
    client = own_daemon.client()
    while client.stats()["hits"] != 99 + 50 + 50:
        assert time.monotonic() < deadline, client.stats()


FORKING = """
import os
from memod import task

@task(cache=True, cache_version="1", name="forking", cache_serialize=True)
def forking(x: int) -> int:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return os.getpid()

parent = os.getpid()
found = forking(1)
if os.getpid() != parent:
    os._exit(0)
assert found == parent
report = forking.call(1)
print(report.value == parent, report.status)
"""


def test_a_child_that_comes_out_of_the_run_stores_nothing(own_daemon: Daemon) -> None:
    """It was stored what the child returned, who was first."""
    assert own_daemon.python(FORKING) == "True HIT\n"


LEAVING = """
import os, signal, sys
from memod import task

@task(cache=True, cache_version="1", name="leaving", cache_serialize=True)
def leaving(x: int) -> int:
    if "owner" in sys.argv:
        child = os.fork()
        if not child:
            signal.pause()
        print(child, flush=True)
        signal.pause()
    return x

print("asks", flush=True)
print(leaving(1), flush=True)
"""


def test_a_lease_ends_with_its_process_whatever_it_has_forked(own_daemon: Daemon) -> None:
    """Semantics 28: the child had a copy of the connection, and kept the lease."""

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LEAVING, *arguments]
        surroundings = own_daemon.environment()
        return subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, text=True)

    def line(of: subprocess.Popen[str]) -> str:
        assert of.stdout is not None
        return of.stdout.readline().strip()

    owner = begin("owner")
    assert line(owner) == "asks"
    child = int(line(owner))
    try:
        waiter = begin()
        assert line(waiter) == "asks"
        owner.kill()
        owner.wait()
        assert waiter.communicate(timeout=20)[0] == "1\n"
    finally:
        os.kill(child, signal.SIGKILL)
        assert owner.stdout is not None
        owner.stdout.close()
