"""The first hit of a large value: of a daemon that has just been started, and of libraries that
have just been opened, while the files' pages are still in memory. redis and memcached have nothing
to show here: they were given nothing to keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rounds import Answer, Row
from servers import Servers

WORK = "cold hit 64 MiB"
VALUES = {"group": "cold", "bytes": 64 << 20, "count": 1}
ONCE: dict[str, Any] = {"hits": {"values": VALUES, "operations": 1, "present_percent": 100}}
SERVER = "memod-cold"
LIBRARIES = ("SQLite", "LMDB", "RocksDB")

Ask = Callable[[str, Path, dict[str, Any]], Answer]


def rows(servers: Servers, ask: Ask) -> list[Row]:
    """memod and the libraries; `ask` has a new process do something for a rival."""

    def filled(rival: str, place: Path) -> None:
        answer = ask(rival, place, {"fill": VALUES})
        if "void" in answer:
            raise RuntimeError(f"{rival}: {answer['void']}")

    def restarted(_: int) -> Answer:
        servers.stop(SERVER)
        return ask("memod", servers.memod(SERVER, "process"), ONCE)

    filled("memod", servers.memod(SERVER, "process"))
    found = [Row("cold", WORK, "memod", "us", restarted)]
    for name in LIBRARIES:
        folder = servers.place(f"{name}-cold")
        filled(name.lower(), folder)

        def opened(_: int, name: str = name, folder: Path = folder) -> Answer:
            return ask(name.lower(), folder, ONCE)

        found.append(Row("cold", WORK, name, "us", opened))
    return found
