"""What memod wants to reach beside its rivals, and whether a run shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rounds import ratio

Rows = dict[tuple[str, str], dict[str, Any]]
HOT, LARGE = "hit 256 B", "hit 64 MiB"
COLD = "cold hit 64 MiB"
PYTHON = "Python, hit 256 B"
PUTS = "puts 4 KiB, 8 clients, "
COMPILATION = "gcc -c of a small file, hit"


@dataclass
class Target:
    """A bound on a figure, or on a ratio of two of one run."""

    name: str
    row: tuple[str, str]
    reference: tuple[str, str] | None
    sign: str
    bound: float
    inverse: bool = False
    """The reference's time over the row's: how many times faster the row is."""
    needs_board: bool = False


def by_socket(has_board: bool) -> str:
    """The row that asks the daemon for every hit."""
    return "memod, board off" if has_board else "memod"


def targets(has_board: bool) -> list[Target]:
    """All of them."""
    hot, socket = (HOT, "memod"), (HOT, by_socket(has_board))
    return [
        Target("hot hit of 256 B, us", hot, None, "<=", 1.5, needs_board=True),
        Target("times faster than redis GET", hot, (HOT, "redis"), ">=", 50, True, True),
        Target("times faster than SQLite", hot, (HOT, "SQLite"), ">=", 8, True, True),
        Target(
            "times faster than diskcache",
            (PYTHON, "memod, from Rust"),
            (PYTHON, "diskcache"),
            ">=",
            8,
            True,
            True,
        ),
        Target("times LMDB's time", hot, (HOT, "LMDB"), "<=", 3, needs_board=True),
        Target("by the socket, times redis GET's time", socket, (HOT, "redis"), "<=", 1),
        Target(
            "hits a second, times redis-benchmark -P 32",
            ("hits 256 B, 8 clients", "memod"),
            ("hits 256 B, 8 clients", "redis-benchmark -P 32"),
            ">=",
            4,
            needs_board=True,
        ),
        Target(
            "in batches, times redis-benchmark -P 32",
            ("hits 256 B, 8 clients", "memod, in batches"),
            ("hits 256 B, 8 clients", "redis-benchmark -P 32"),
            ">=",
            1,
        ),
        Target(
            "hit of 64 MiB, times faster than redis GET",
            (LARGE, "memod"),
            (LARGE, "redis"),
            ">=",
            8,
            True,
        ),
        Target("times a mapped file's time", (LARGE, "memod"), (LARGE, "mapped file"), "<=", 1.3),
        # At a gigabyte a second.
        Target("cold hit of 64 MiB, us", (COLD, "memod"), None, "<=", 67_109),
        Target(
            "puts, `process`, times redis without AOF",
            (PUTS + "process", "memod"),
            (PUTS + "process", "redis"),
            ">=",
            1,
        ),
        Target(
            "puts, `power`, times redis with appendfsync always",
            (PUTS + "power", "memod"),
            (PUTS + "power", "redis"),
            ">=",
            5,
        ),
        Target("hit of memo run, us", (COMPILATION, "memo run"), None, "<=", 5000),
        Target(
            "times ccache's direct hit",
            (COMPILATION, "memo run"),
            (COMPILATION, "ccache"),
            "<=",
            1.5,
        ),
        *in_python(),
    ]


def in_python() -> list[Target]:
    """What a hit may cost in Python, decorator included."""
    task, flytekit = (PYTHON, "memod, @task"), (PYTHON, "flytekit")
    return [
        Target("hit of @task, us", task, None, "<=", 10, needs_board=True),
        Target("times faster than joblib", task, (PYTHON, "joblib"), ">=", 30, True, True),
        Target("times faster than flytekit's own cache", task, flytekit, ">=", 50, True, True),
        Target(
            "times the time of flytekit's own cache",
            (PYTHON, "flytekit with memod"),
            flytekit,
            "<=",
            1,
        ),
    ]


def judge(rows: list[dict[str, Any]], has_board: bool) -> list[dict[str, Any]]:
    """Each target with its figure, if the run has what it takes."""
    known: Rows = {(row["work"], row["rival"]): row for row in rows}
    return [_judged(target, known, has_board) for target in targets(has_board)]


def _judged(target: Target, rows: Rows, has_board: bool) -> dict[str, Any]:
    figure = _figure(target, rows)
    note = "" if has_board or not target.needs_board else "meant for the board, which is not there"
    if figure is None:
        met = "not measured"
    else:
        reached = figure <= target.bound if target.sign == "<=" else figure >= target.bound
        met = "met" if reached else "MISSED"
    work, rival = target.row
    bound = f"{target.sign} {target.bound:g}"
    return {
        "work": work,
        "rival": rival,
        "target": target.name,
        "bound": bound,
        "figure": figure,
        "met": met,
        "note": note,
    }


def _figure(target: Target, rows: Rows) -> float | None:
    row = rows.get(target.row)
    if row is None or "median" not in row:
        return None
    if target.reference is None:
        median: float = row["median"]
        return median
    reference = rows.get(target.reference)
    if reference is None:
        return None
    return ratio(reference, row) if target.inverse else ratio(row, reference)
