"""Runs the same work against memod and its rivals, in turns, and writes what came of it.

`make compare` builds and installs everything and calls this; see `.ci/compare`. Written are
`results.json`, `results.md`, `latency.svg` and `throughput.svg`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench
import pinning
import plots
import quiet
import rounds
import table
import targets
from plan import FULL_SIZE, SIZES, Pace, Plan, Tools
from rounds import Row
from servers import Servers

NOTES = [
    "All values are noise and are compared with what was stored, within the time that is measured.",
    "memod's time includes making its key from the typed call; the others are given their keys.",
    "redis and memcached give each value in memory of its own; SQLite, LMDB and RocksDB, which are "
    "libraries, are read in place. SQLite is in WAL mode and mapped, RocksDB has a block cache of "
    "1 GiB.",
    "`process` is no sync (redis without an append-only file, NO_SYNC, synchronous=OFF), `power` a "
    "sync before each acknowledgement (appendfsync always, synchronous=FULL).",
    "Several clients are threads of one process, each with a connection of its own.",
    pinning.RULE + ".",
    "A cold hit is the first after a restart, or after the library has been opened, with the files "
    "in the page cache.",
    "Rivals in Python have values of 256 characters; buildbox-casd is asked for a blob by digest.",
]


def arguments() -> argparse.Namespace:
    """What `.ci/compare` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("binaries", "worker", "python", "casd", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--bench", type=Path, help="what `make bench` wrote as JSON")
    return parser.parse_args()


def pace_of(environment: dict[str, str]) -> Pace:
    """FAST=1 is a short run, FULL=1 has values of 256 MiB."""
    sizes = [*SIZES, FULL_SIZE] if environment.get("FULL") == "1" else SIZES
    if environment.get("FAST") == "1":
        return Pace(rounds=4, milliseconds=60, sizes=sizes)
    return Pace(rounds=25, milliseconds=200, sizes=sizes)


def say(text: str) -> None:
    """Tells how far it has come."""
    print(f"{datetime.now().astimezone():%H:%M:%S} {text}", flush=True)


def all_rows(plan: Plan) -> list[Row]:
    """Does everything."""
    done: list[Row] = []

    def run(rows: list[Row]) -> None:
        if rows:
            say(rows[0].work)
            plan.place_for(rows[0].part)
            rounds.run(rows, plan.pace.rounds)
            done.extend(rows)

    say("starting servers")
    workers = plan.all_in_rust("process")
    for rows in plan.hits(workers) + plan.ratios(workers) + plan.rates(workers):
        run(rows)
    run(plan.cold())
    run(plan.python(workers))
    run(plan.programs())
    run(plan.puts(workers, "process"))
    run(plan.puts(plan.all_in_rust("power"), "power"))
    return done


def version_of(words: list[str]) -> str:
    """The first line that a program says of itself."""
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except OSError:
        return "not there"
    return said.strip().split("\n")[0]


def machine(others_percent: float, pace: Pace) -> dict[str, Any]:
    """Where it ran."""
    cores = len(os.sched_getaffinity(0))
    processors = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in processors if line.startswith("model name")]
    return {
        "cores": cores,
        "model": models[0] if models else platform.machine(),
        "kernel": platform.release(),
        "others_percent": round(others_percent, 1),
        "quiet": others_percent <= quiet.QUIET_PERCENT,
        "rounds": pace.rounds,
        "sizes": [size.bytes for size in pace.sizes],
    }


def versions(tools: Tools) -> dict[str, str]:
    """Of what was compared."""
    listed = version_of([str(tools.python), "-m", "pip", "freeze"])
    found = {
        name: version_of([name, "--version"])
        for name in ("redis-server", "memcached", "ccache", "gcc")
        if shutil.which(name)
    }
    script = "import importlib.metadata as m; print(' '.join(f'{n} {m.version(n)}' for n in "
    script += "('diskcache', 'joblib', 'flytekit')))"
    return found | {"python": version_of([str(tools.python), "-c", script]) or listed}


def main() -> int:
    """Everything; fails if a round was void."""
    given = arguments()
    tools = Tools(given.binaries, given.worker, given.python, given.casd)
    pace = pace_of(dict(os.environ))
    watch, began = quiet.Watch(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="memod-compare-") as folder:
        largest = max(size.bytes for size in pace.sizes)
        with Servers(Path(folder), tools.binaries, largest) as servers:
            plan = Plan(servers, tools, pace)
            try:
                rows = [rounds.summary(row) for row in all_rows(plan)]
            finally:
                for worker in plan.workers:
                    worker.end()
    others_percent = watch.others_percent()
    has_board = plan.has_board()
    notes = list(NOTES)
    if not has_board:
        notes.append("This client has no board: all of memod's hits go through its socket.")
    report = {
        "memod": version_of([str(tools.binaries / "memod"), "--version"]).split(" ")[-1],
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - began),
        "machine": machine(others_percent, pace),
        "pinning": pinning.RULE,
        "versions": versions(tools),
        "rows": rows,
        "targets": targets.judge(rows, has_board) + bench.judge(bench.read(given.bench)),
        "not_run": plan.not_run,
        "notes": notes,
    }
    write(report, given.out)
    print(table.markdown(report))
    say(f"written: {given.out}/results.json, results.md, latency.svg, throughput.svg")
    return 1 if any(row["void"] for row in rows) else 0


def write(report: dict[str, Any], out: Path) -> None:
    """The report's four files."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "results.md").write_text(table.markdown(report))
    (out / "latency.svg").write_text(plots.latency(report["rows"]))
    (out / "throughput.svg").write_text(plots.throughput(report["rows"]))


if __name__ == "__main__":
    sys.exit(main())
