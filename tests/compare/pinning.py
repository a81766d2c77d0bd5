"""Which processors the processes of the comparison may use.

Left alone, the scheduler puts a client beside its server or apart from it as it likes, which
decides more about a round trip than what the two do. So all are placed by one rule: for what one
client does, servers on the second processor and whoever asks on the first; for what many do and
for whole programs, everybody anywhere. On one processor nothing is placed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PINNED_PARTS = ("hit", "cold", "ratio", "python")
RULE = (
    "Servers ran on one processor and clients, in-process libraries among them, on another for "
    "what one client does; hits and puts a second and whole programs on all processors"
)


def processors(part: str, available: Iterable[int]) -> tuple[set[int], set[int]]:
    """Those of servers and those of clients for a part of the comparison."""
    everywhere = sorted(available)
    if part not in PINNED_PARTS or len(everywhere) < 2:
        return set(everywhere), set(everywhere)
    return {everywhere[1]}, {everywhere[0]}


def threads_of(process: int) -> list[int]:
    """All threads of a process; none if it has ended."""
    try:
        return [int(path.name) for path in Path(f"/proc/{process}/task").iterdir()]
    except OSError:
        return []


def place(process: int, on: set[int]) -> None:
    """Lets all threads of a process, and those that they start, run on these processors only."""
    for thread in threads_of(process):
        try:
            os.sched_setaffinity(thread, on)
        except ProcessLookupError:
            # It has ended meanwhile.
            continue
