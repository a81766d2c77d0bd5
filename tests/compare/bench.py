"""The targets that need what `make bench` alone measures: echoes, waiters, the daemon's memory.

`MEMOD_BENCH_JSON=FILE make bench` writes the figures, `BENCH=FILE make compare` takes them in.
They are of another run than the rest, so the report says of each whence it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Figure:
    """A row of `make bench`."""

    part: str
    """The word that has `make bench` measure it alone."""
    work: str
    target: str
    bound: float
    of: str
    """`ratio` to its reference in that run, or the `median`."""


FIGURES = [
    Figure("hits", "hit 256 B", "by the socket, times a tokio echo's time", 1.15, "ratio"),
    Figure(
        "waking",
        "1000 waiters, commit to the last awake",
        "last of 1,000 waiters awake, ms after the commit",
        25,
        "median",
    ),
    Figure("memory", "idle daemon", "idle daemon, MiB resident", 32, "median"),
    Figure(
        "memory",
        "with 10000 connections that have asked",
        "daemon with 10,000 connections, MiB resident",
        160,
        "median",
    ),
]


def read(path: Path | None) -> list[dict[str, Any]]:
    """The rows that a run of the benchmarks has written; none if there was no run."""
    if path is None:
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def judge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each target with its figure, if there is one."""
    return [_judged(figure, _found(figure, rows)) for figure in FIGURES]


def _found(figure: Figure, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Its row; a machine that allows fewer connections has it with their number."""
    pattern = re.escape(figure.work).replace("10000", r"\d+")
    return next((row for row in rows if re.fullmatch(pattern, row["work"])), None)


def _judged(figure: Figure, row: dict[str, Any] | None) -> dict[str, Any]:
    measured = None if row is None else row[figure.of]
    if measured is None:
        met = "not measured"
    else:
        met = "met" if measured <= figure.bound else "MISSED"
    return {
        "work": figure.work if row is None else row["work"],
        "rival": "memod",
        "target": figure.target,
        "bound": f"<= {figure.bound:g}",
        "figure": measured,
        "met": met,
        "note": f"by `make bench`, {figure.part}",
    }
