"""A real daemon for each test that asks for one."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import memod

ROOT = Path(__file__).resolve().parents[3]


def program(name: str) -> str:
    """The path of `memod` or `memo`: in $MEMOD_BIN, else on the PATH."""
    folder = os.environ.get("MEMOD_BIN")
    found = shutil.which(name, path=folder) if folder else shutil.which(name)
    assert found, f"{name} is not there: build it, and name its folder in MEMOD_BIN"
    return found


class Daemon:
    """The real program, on a socket and a store of its own."""

    def __init__(self, directory: Path) -> None:
        self.project = "default"
        self.socket = directory / "memod.sock"
        self.data = directory / "data"
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and comes back when it says that it serves."""
        places = ["--socket", str(self.socket), "--data", str(self.data)]
        command = [program("memod"), "serve", *places]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        said = b""
        for line in self.process.stderr:
            said += line
            if b" is ready" in line:
                break
        else:
            raise AssertionError(f"memod ended: {said.decode()}")
        # It must not stop because nobody reads what it says.
        reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        reader.start()

    def kill(self) -> None:
        """Ends it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def pause(self) -> None:
        """Makes it hang; comes back when it does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(timeout=30)
        if self.process is not None and self.process.stderr is not None:
            self.process.stderr.close()

    def client(self, **options: Any) -> memod.Client:
        """A client of it, and of no other."""
        return memod.Client(self.socket, start=False, **({"project": self.project} | options))

    def memo(self, *arguments: str) -> str:
        """What the command line says."""
        command = [program("memo"), "--socket", str(self.socket), "--project", self.project]
        command += arguments
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def environment(self) -> dict[str, str]:
        """For a program that is to ask this daemon."""
        own = {"MEMOD_SOCKET": str(self.socket), "MEMOD_PROJECT": self.project}
        return {**os.environ, **own, "MEMOD_NO_START": "1"}

    def python(self, source: str, **environment: str) -> str:
        """What a program of its own prints."""
        command = [sys.executable, "-c", source]
        surroundings = self.environment() | environment
        run = subprocess.run(command, env=surroundings, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own set-up counts."""
    for name in ("MEMOD_PROJECT", "MEMOD_DOMAIN", "MEMOD_MODE", "MEMOD_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("memod.client._default", None)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all tests that do no more than ask it."""
    one = Daemon(tmp_path_factory.mktemp("shared"))
    one.start()
    yield one
    one.stop()


_projects = itertools.count()


@pytest.fixture
def daemon(shared: Daemon) -> Daemon:
    """The shared daemon, with a project of its own, that tasks ask unless told otherwise."""
    shared.project = f"test-{next(_projects)}"
    memod.configure(client=shared.client())
    return shared


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that the test may stop, and whose counters are its own."""
    one = Daemon(tmp_path)
    one.start()
    memod.configure(client=one.client())
    yield one
    one.stop()


@pytest.fixture
def client(daemon: Daemon) -> memod.Client:
    """A client of the daemon."""
    return daemon.client()


@pytest.fixture
def nobody(tmp_path: Path) -> memod.Client:
    """The client of tasks where no daemon is."""
    return memod.configure(tmp_path / "none.sock", start=False)
