"""The example: a pipeline on real data, from the cache the second time, and the picture of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Daemon

EXAMPLES = ROOT / "client" / "python" / "examples"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
STEPS = ["read_cities", "offsets", "fit", "draw"]


def run(daemon: Daemon, folder: Path) -> tuple[dict[str, str], str, str]:
    """By step what came of it, the picture, and what was said of it all."""
    folder.mkdir()
    picture = folder / "drawn.svg"
    command = [sys.executable, str(EXAMPLES / "time_zones.py"), str(picture)]
    ran = subprocess.run(command, env=daemon.environment(), cwd=folder, check=True,
                         capture_output=True, text=True)
    assert ran.stderr == ""
    assert list(folder.iterdir()) == [picture]
    lines = ran.stdout.splitlines()
    steps = [line.split()[:2] for line in lines[: len(STEPS)]]
    told = {name.removeprefix("time_zones."): status for name, status in steps}
    return told, picture.read_text(), "\n".join(lines[len(STEPS) : -1])


def test_the_second_run_is_from_the_cache(daemon: Daemon, tmp_path: Path) -> None:
    told, picture, said = run(daemon, tmp_path / "first")
    assert told == dict.fromkeys(STEPS, "MISS")
    assert said == (
        "312 cities: 0.85 h for each 15 degrees\n"
        "clocks were 37 minutes from the sun in 1970, 45 in 2025"
    )
    again = run(daemon, tmp_path / "second")
    assert again == (dict.fromkeys(STEPS, "HIT"), picture, said)


def test_the_picture_in_the_documentation_is_the_one_that_is_drawn(
    daemon: Daemon, tmp_path: Path
) -> None:
    _, picture, _ = run(daemon, tmp_path / "drawn")
    shown = (EXAMPLES / "time-zones.svg").read_text()
    assert NUMBER.sub("#", picture) == NUMBER.sub("#", shown)
    # Processors may add up in another order.
    numbers = [[float(one) for one in NUMBER.findall(text)] for text in (picture, shown)]
    assert all(abs(one - other) < 0.2 for one, other in zip(*numbers, strict=True))
