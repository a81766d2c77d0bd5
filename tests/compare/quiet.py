"""How much of the processors' time others took while the comparison ran.

All the processors did, by the kernel's count, less what this process and its children did; what
the hypervisor gave to others counts as theirs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

QUIET_PERCENT = 5.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# The columns of `cpu` in /proc/stat, but idle, iowait and guests, which are counted as user's.
BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)


def busy_seconds(stat: str) -> float:
    """What all processors did since the machine started, from the text of /proc/stat."""
    columns = stat.splitlines()[0].split()[1:]
    return sum(int(columns[column]) for column in BUSY_COLUMNS) / TICKS_A_SECOND


def percent(busy: float, own: float, seconds: float, processors: int) -> float:
    """The share of others in the time of all processors, in percent."""
    return max(0.0, 100 * (busy - own) / (seconds * processors))


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Watch:
    """From now on. Children count once they have ended."""

    def __init__(self) -> None:
        self._busy = busy_seconds(Path("/proc/stat").read_text())
        self._own, self._began = _own_seconds(), time.monotonic()

    def others_percent(self) -> float:
        """What others took until now."""
        busy = busy_seconds(Path("/proc/stat").read_text()) - self._busy
        seconds = time.monotonic() - self._began
        return percent(busy, _own_seconds() - self._own, seconds, os.cpu_count() or 1)
