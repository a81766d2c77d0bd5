"""What is compared: the rivals, and the work that each does.

Rivals that are not there are left out and told, with the reason; so is work that one cannot do.
"""

from __future__ import annotations

import csv
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cold
import pinning
from programs import Compilation
from rounds import Answer, Row
from servers import NotRun, Servers, program
from workers import Worker

KIB, MIB = 1 << 10, 1 << 20
HOT_BYTES = 256
PUT_BYTES = 4 * KIB
PUT_CLIENTS = 8
CLIENTS = (1, 8, 32)
PRESENT_PERCENTS = (100, 90, 0)
PIPELINE = 32
BATCH = 500
MAPPED_MIN = 64 * MIB
BATCHES = "memod, in batches"
MAPPED = "mapped file"
WITHOUT_PUTS = ("memod, in pieces", "memod, board off", BATCHES, MAPPED)
WITHOUT_SMALL_HITS = ("memod, in pieces", BATCHES, MAPPED)
LEAST_BYTES = {"memod, in pieces": MIB, BATCHES: 1 << 62, MAPPED: MAPPED_MIN}
"""Hits of less than this are not asked one by one of these rivals."""
BOARD_SWITCH = "MEMOD_BOARD"


@dataclass
class Size:
    """How a length is measured."""

    bytes: int
    values: int
    operations: int


SIZES = [
    Size(64, 16, 300),
    Size(HOT_BYTES, 16, 300),
    Size(4 * KIB, 16, 300),
    Size(64 * KIB, 16, 100),
    Size(MIB, 4, 20),
    Size(64 * MIB, 1, 2),
]
FULL_SIZE = Size(256 * MIB, 1, 1)


@dataclass
class Pace:
    """How much of everything is done."""

    rounds: int
    milliseconds: int
    sizes: list[Size]
    operations: int = 200
    program_operations: int = 10


@dataclass
class Tools:
    """Where everything is that was built or installed."""

    binaries: Path
    worker: Path
    python: Path
    casd: Path


@dataclass
class Plan:
    """Everything that is started, and what was not."""

    servers: Servers
    tools: Tools
    pace: Pace
    workers: list[Worker] = field(default_factory=list)
    not_run: list[dict[str, str]] = field(default_factory=list)
    serial: int = 0
    processors: set[int] = field(default_factory=lambda: os.sched_getaffinity(0))

    def has_board(self) -> bool:
        """Whether the client library that was built knows the switch of the board."""
        return BOARD_SWITCH.encode() in self.tools.worker.read_bytes()

    def place_for(self, part: str) -> None:
        """Puts everything that has been started where it runs in this part."""
        of_servers, of_clients = pinning.processors(part, self.processors)
        for server in self.servers.processes.values():
            pinning.place(server.pid, of_servers)
        for worker in self.workers:
            pinning.place(worker.process.pid, of_clients)

    def cold(self) -> list[Row]:
        """The first hit of what has just been started."""

        def ask(rival: str, place: Path, command: dict[str, Any]) -> Answer:
            worker = self.work(rival, place)
            self.place_for("cold")
            try:
                return worker.ask(command)
            finally:
                self.workers.remove(worker)
                worker.end()

        return cold.rows(self.servers, ask)

    def leave_out(self, rival: str, why: str) -> None:
        """Tells that a rival is not run."""
        self.not_run.append({"rival": rival, "why": why})

    def work(
        self,
        rival: str,
        place: Path,
        durability: str = "process",
        python: Path | None = None,
        variables: dict[str, str] | None = None,
    ) -> Worker:
        """Starts a worker."""
        self.serial += 1
        script = str(Path(__file__).with_name("worker.py"))
        words = [str(python), script] if python else [str(self.tools.worker)]
        log = self.servers.folder / f"worker-{self.serial}.log"
        worker = Worker([*words, rival, str(place), durability], variables or {}, log)
        self.workers.append(worker)
        return worker

    def all_in_rust(self, durability: str) -> dict[str, Worker]:
        """A worker for each rival that Rust can ask."""
        found: dict[str, Worker] = {}
        memod = self.servers.memod(f"memod-{durability}", durability)
        found["memod"] = self.work("memod", memod)
        if durability == "process":
            if self.has_board():
                off = {BOARD_SWITCH: "off"}
                found["memod, board off"] = self.work("memod", memod, variables=off)
            found["memod, in pieces"] = self.work("memod-stream", memod)
            found[BATCHES] = self.work("memod", memod, variables={BOARD_SWITCH: "off"})
            found[MAPPED] = self.work("mapped", self.servers.place("mapped"))
        self.servers_in_rust(found, durability)
        for name in ("SQLite", "LMDB", "RocksDB"):
            folder = self.servers.place(f"{name}-{durability}")
            found[name] = self.work(name.lower(), folder, durability)
        return found

    def servers_in_rust(self, found: dict[str, Worker], durability: str) -> None:
        """redis and memcached, if they are there."""
        try:
            redis = self.servers.redis(f"redis-{durability}", durability)
            found["redis"] = self.work("redis", redis)
        except NotRun as why:
            self.leave_out("redis", str(why))
        if durability == "power":
            return
        try:
            found["memcached"] = self.work("memcached", self.servers.memcached("memcached"))
        except NotRun as why:
            self.leave_out("memcached", str(why))

    def hits(self, workers: dict[str, Worker]) -> list[list[Row]]:
        """Hot hits of one client, by size."""
        parts = []
        for size in self.pace.sizes:
            values = {"group": f"hit-{size.bytes}", "bytes": size.bytes, "count": size.values}
            hits = {"values": values, "operations": size.operations, "present_percent": 100}
            rows = []
            for rival, worker in workers.items():
                if size.bytes < LEAST_BYTES.get(rival, 0):
                    continue
                filled = worker.ask({"fill": values})
                if "void" in filled:
                    self.leave_out(rival, f"values of {size.bytes} B: {filled['void']}")
                    continue
                rows.append(
                    Row("hit", f"hit {shown(size.bytes)}", rival, "us", asking(worker, {"hits": hits}))
                )
                rows[-1].parameters = {"bytes": size.bytes}
            parts.append(rows)
        return parts

    def ratios(self, workers: dict[str, Worker]) -> list[list[Row]]:
        """Lookups of which some miss."""
        parts = []
        for percent in PRESENT_PERCENTS:
            hits = {
                "values": hot_values(),
                "operations": self.pace.operations,
                "present_percent": percent,
            }
            work = f"lookup {HOT_BYTES} B, {percent} % hits"
            rows = [
                Row("ratio", work, rival, "us", asking(worker, {"hits": hits}), figure="mean_us")
                for rival, worker in workers.items()
                if rival not in WITHOUT_SMALL_HITS
            ]
            for row in rows:
                row.parameters = {"percent": percent}
            parts.append(rows)
        return parts

    def rates(self, workers: dict[str, Worker]) -> list[list[Row]]:
        """Hits a second of several clients."""
        parts = []
        for clients in CLIENTS:
            rate = {
                "values": hot_values(),
                "clients": clients,
                "milliseconds": self.pace.milliseconds,
            }
            together = rate | {"together": BATCH}
            work = f"hits {HOT_BYTES} B, {clients} client{'s' if clients > 1 else ''}"
            rows = [
                Row(
                    "rate",
                    work,
                    rival,
                    "/s",
                    asking(worker, {"hit_rate": together if rival == BATCHES else rate}),
                )
                for rival, worker in workers.items()
                if rival not in ("memod, in pieces", MAPPED)
            ]
            if clients == 8 and "redis" in workers:
                rows += self.redis_benchmark(work)
            for row in rows:
                row.parameters = {"clients": clients}
            parts.append(rows)
        return parts

    def redis_benchmark(self, work: str) -> list[Row]:
        """redis by its own benchmark, with requests that do not wait for one another's answer."""
        try:
            name = program("redis-benchmark")
        except NotRun as why:
            self.leave_out("redis-benchmark", str(why))
            return []
        socket = self.servers.folder / "redis-process" / "redis.sock"
        words = [name, "-s", str(socket), "-c", "8", "-P", str(PIPELINE), "--csv"]
        words += ["-n", str(2000 * self.pace.milliseconds), "GET", f"hit-{HOT_BYTES}:{0:016x}"]

        def ask(_: int) -> Answer:
            said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
            table = list(csv.reader(said.splitlines()))
            try:
                return {"done": {"rate": float(table[-1][table[0].index("rps")])}}
            except (IndexError, ValueError):
                return {"void": f"redis-benchmark: {said!r}"}

        return [Row("rate", work, f"redis-benchmark -P {PIPELINE}", "/s", ask)]

    def puts(self, workers: dict[str, Worker], durability: str) -> list[Row]:
        """New values from eight clients."""
        rows = []
        for rival, worker in workers.items():
            if rival in WITHOUT_PUTS:
                continue

            def ask(number: int, worker: Worker = worker) -> Answer:
                values = {"group": "put", "bytes": PUT_BYTES, "count": number << 32}
                put_rate = {
                    "values": values,
                    "clients": PUT_CLIENTS,
                    "milliseconds": self.pace.milliseconds,
                }
                return worker.ask({"put_rate": put_rate})

            work = f"puts {shown(PUT_BYTES)}, {PUT_CLIENTS} clients, {durability}"
            rows.append(Row("put", work, rival, "/s", ask))
        return rows

    def python(self, rust: dict[str, Worker]) -> list[Row]:
        """Hits of a small result in Python, with the Rust client beside them."""
        memod = self.servers.folder / "memod-process" / "memod.sock"
        asks: dict[str, tuple[str, Path, Path, dict[str, str]]] = {}
        venv, off = self.tools.python, {"MEMOD_FLYTE": "off"}
        on = {"MEMOD_SOCKET": str(memod), "MEMOD_NO_START": "1"}
        asks["memod, Client"] = ("memod-client", memod, venv, {})
        asks["memod, @task"] = ("memod-task", memod, venv, {})
        asks["flytekit with memod"] = ("flytekit", self.servers.place("flytekit-on"), venv, on)
        asks["flytekit"] = ("flytekit", self.servers.place("flytekit"), venv, off)
        asks["joblib"] = ("joblib", self.servers.place("joblib"), venv, {})
        asks["diskcache"] = ("diskcache", self.servers.place("diskcache"), venv, {})
        try:
            socket = self.servers.casd("casd", self.tools.casd)
            asks["buildbox-casd"] = ("casd", socket, self.tools.casd / "bin" / "python", {})
        except NotRun as why:
            self.leave_out("buildbox-casd", str(why))
        values = hot_values()
        hits = {"values": values, "operations": self.pace.operations, "present_percent": 100}
        work = f"Python, hit {HOT_BYTES} B"
        rows = [Row("python", work, "memod, from Rust", "us", asking(rust["memod"], {"hits": hits}))]
        for rival, (name, place, python, variables) in asks.items():
            worker = self.work(name, place, python=python, variables=variables)
            filled = worker.ask({"fill": values})
            if "void" in filled:
                self.leave_out(rival, filled["void"])
                continue
            rows.append(Row("python", work, rival, "us", asking(worker, {"hits": hits})))
        return rows

    def programs(self) -> list[Row]:
        """Whole processes."""
        folder = self.servers.place("compilation")
        socket = self.servers.folder / "memod-process" / "memod.sock"
        work = "gcc -c of a small file, hit"
        try:
            compilation = Compilation(folder, self.tools.binaries / "memo", socket)
        except NotRun as why:
            self.leave_out("compilations", str(why))
            return []
        worker = self.work("program", folder)
        rows = []
        for rival in ("memo run", "ccache", "gcc, without a cache"):
            try:
                filled = worker.ask(compilation.command(rival, 1))
            except NotRun as why:
                filled = {"void": str(why)}
            if "void" in filled:
                self.leave_out(rival, filled["void"])
                continue

            def ask(_: int, rival: str = rival) -> Answer:
                before = compilation.runs.read_text()
                command = compilation.command(rival, self.pace.program_operations)
                return compilation.guard(before, worker.ask(command))

            rows.append(Row("program", work, rival, "us", ask))
        return rows


def hot_values() -> dict[str, Any]:
    """Those of 256 B, which the hits by size have stored."""
    values = next(size.values for size in SIZES if size.bytes == HOT_BYTES)
    return {"group": f"hit-{HOT_BYTES}", "bytes": HOT_BYTES, "count": values}


def asking(worker: Worker, command: dict[str, Any]) -> Any:
    """Does the same in every round."""
    return lambda _: worker.ask(command)


def shown(size: int) -> str:
    """A length as people write it."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"
