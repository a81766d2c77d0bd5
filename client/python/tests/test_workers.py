"""Hits of worker processes are counted, however those are made and end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Daemon

PROGRAM = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

if True:
    from memod import task

    @task(cache=True, cache_version="1", name="worker")
    def square(x: int) -> int:
        return x * x

def work(_=None):
    for _ in range(50):
        assert square(3) == 9

def work_late():
    from memod import task

    @task(cache=True, cache_version="1", name="worker")
    def square(x: int) -> int:
        return x * x

    for _ in range(50):
        assert square(3) == 9

def started(context, target):
    processes = [context.Process(target=target) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0

def pooled(context):
    pool = context.Pool(2)
    pool.map(work, range(4), chunksize=1)
    pool.close()
    pool.join()

def executed(context):
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(work, range(4)))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[2] != "late":
        # The last of these come by the board, and a worker must not count them again.
        for _ in range(20):
            assert square(3) == 9
    match sys.argv[2]:
        case "process":
            started(context, work)
        case "late":
            started(context, work_late)
        case "pool":
            pooled(context)
        case "executor":
            executed(context)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("kind", ["process", "pool", "executor", "late"])
def test_hits_of_workers_are_counted(
    own_daemon: Daemon, tmp_path: Path, method: str, kind: str
) -> None:
    program = tmp_path / "program.py"
    text = PROGRAM
    if kind == "late":
        # Neither the program nor a worker has the package before the worker's work begins.
        text = text.replace("if True:", "if False:", 1)
        seed = "from memod import task\n@task(cache=True, cache_version='1', name='worker')\n"
        own_daemon.python(seed + "def square(x: int) -> int:\n    return x * x\nsquare(3)\n")
    program.write_text(text)
    command = [sys.executable, str(program), method, kind]
    run = subprocess.run(command, env=own_daemon.environment(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    own = 0 if kind == "late" else 19
    deadline = time.monotonic() + 30
    client = own_daemon.client()
    while client.stats()["hits"] != own + 200:
        assert time.monotonic() < deadline, client.stats()
