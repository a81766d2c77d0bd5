"""The function runs whatever happens to the daemon, and the delay has a bound (semantics 34)."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import Daemon, program

import memod
from memod import task
from memod.errors import BreakerOpenError, NoDaemonError, UnavailableError

RUNS: list[int] = []


@task(cache=True, cache_version="1")
def square(x: int) -> int:
    RUNS.append(x)
    return x * x


@task(cache=True, cache_version="1", cache_serialize=True)
def serialized(x: int) -> int:
    RUNS.append(x)
    return x * x


@pytest.fixture(autouse=True)
def no_runs() -> None:
    RUNS.clear()


@pytest.mark.parametrize("function", [square, serialized])
def test_without_a_daemon_there_are_warnings_and_results(
    nobody: memod.Client, caplog: pytest.LogCaptureFixture, function: memod.Task[[int], int]
) -> None:
    reports = [function.call(x) for x in range(6)]
    assert [report.value for report in reports] == [0, 1, 4, 9, 16, 25]
    assert {(report.status, report.store) for report in reports} == {
        ("LOOKUP_FAILURE", "PUT_FAILURE")
    }
    assert isinstance(reports[0].problems[0], NoDaemonError)
    # Once the daemon is left alone, that is no warning any more.
    assert isinstance(reports[-1].problems[0], BreakerOpenError)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 1 <= len(warnings) <= 3
    assert "no daemon answers at" in warnings[0].getMessage()


def test_a_client_by_hand_says_so(nobody: memod.Client) -> None:
    with pytest.raises(UnavailableError, match="no daemon answers at") as raised:
        nobody.ping()
    assert (raised.value.code, isinstance(raised.value, ConnectionError)) == ("no_daemon", True)


def test_a_daemon_that_hangs_costs_the_deadline_at_most(
    own_daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    client = own_daemon.client(deadline=timedelta(milliseconds=200))
    bounded = square.with_options(client=client)
    assert bounded(1) == 1
    own_daemon.pause()
    begun = time.monotonic()
    assert bounded(2) == 4
    assert time.monotonic() - begun < 2
    assert "did not answer within" in caplog.text


def test_garbage_is_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Something that is no memod listens."""
    path = tmp_path / "garbage.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        bounded = square.with_options(client=memod.Client(path, start=False))
        assert bounded(3) == 9
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert caplog.records


def test_a_daemon_that_comes_back_is_used_again(own_daemon: Daemon) -> None:
    assert square(4) == 16
    own_daemon.stop()
    own_daemon.start()
    assert square.call(4).is_hit
    assert RUNS == [4]


def test_errors_are_a_tree_that_mirrors_the_codes(own_daemon: Daemon) -> None:
    client = own_daemon.client()
    with pytest.raises(LookupError) as missing:
        client.read("0" * 64, "o0")
    assert isinstance(missing.value, memod.errors.NotFoundError)
    assert missing.value.code == "not_found"
    with pytest.raises(ValueError, match="is not a digest"):
        client.read("zz", "o0")
    for name, kind in memod.errors._BY_NAME.items():
        assert kind.code == name and issubclass(kind, memod.MemodError)
        assert kind.__doc__
    assert type(memod.errors.of_name("of_tomorrow", "news")) is memod.MemodError
    hinted = memod.errors.of_name("busy", "too much", "wait")
    assert str(hinted) == "too much (wait)" and hinted.hint == "wait"


OTHER = """
import logging
import memod
from memod import task

logging.basicConfig(format="%(message)s")

@task(cache=True, cache_version="1", name="named")
def square(x: int) -> int:
    return x * x

assert square(3) == 9 and square.call(3).is_hit
print(memod.default_client().status()["pid"])
memod.configure(memod.default_client().sockets[0]).ping()
"""


@pytest.mark.parametrize("is_named", [True, False])
def test_another_daemon_than_the_named_one(tmp_path: Path, is_named: bool) -> None:
    """The user's own is started and asked, and that is said once in a process."""
    places = {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {**os.environ, **places, "MEMOD_DAEMON": program("memod")}
    environment.pop("MEMOD_NO_START", None)
    if is_named:
        environment["MEMOD_SOCKET"] = str(tmp_path / "none.sock")
    command = [sys.executable, "-c", OTHER]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    try:
        assert run.returncode == 0, run.stderr
        own = tmp_path / "memod" / "memod.sock"
        said = [
            f"no daemon answers at {tmp_path / 'none.sock'}, which was named; the user's own is "
            f"asked, at {own}. MEMOD_NO_START=1 forbids that"
        ]
        assert run.stderr.splitlines() == (said if is_named else [])
    finally:
        if run.stdout.strip():
            os.kill(int(run.stdout), signal.SIGTERM)
