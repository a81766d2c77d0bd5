"""Brings a run of the comparison into the repository: its four files, and README's tables.

    python3 tests/compare/publish.py FOLDER

FOLDER is where `make compare` has written. What stands between the two marks in README is replaced;
nothing there is to be written by hand.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import table

ROOT = Path(__file__).resolve().parents[2]
FILES = ("results.json", "results.md", "latency.svg", "throughput.svg")
BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
HITS = ("memod", "memod, board off", "redis", "memcached", "SQLite", "LMDB", "RocksDB")
RATES = (*HITS, "memod, in batches", "redis-benchmark -P 32")
WIDTH = 115


def chosen(report: dict[str, Any], part: str, rivals: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a part that README shows."""
    return [row for row in report["rows"] if row["part"] == part and row["rival"] in rivals]


def section(report: dict[str, Any]) -> str:
    """What README says of a run."""
    machine = report["machine"]
    quiet = "quiet" if machine["quiet"] else "not quiet, so read the figures beside each other"
    intro = (
        f"On {report['date']}, on {machine['cores']} cores ({machine['model']}; {quiet}: others "
        f"took {machine['others_percent']:.1f} % of the processors' time), medians of "
        f"{machine['rounds']} rounds, with the lowest and the highest round. One client, "
        "microseconds until every byte is compared:"
    )
    parts = [
        table.wrapped(intro, WIDTH),
        table.grid(chosen(report, "hit", HITS)),
        "Hits of 256 B a second:",
        table.grid(chosen(report, "rate", RATES)),
        "![Hot hits by size](tests/compare/results/latency.svg)",
        table.wrapped(report["pinning"] + ". What memod wants to reach, and what it did:", WIDTH),
        table.of_targets(report["targets"]),
    ]
    return "\n\n".join(parts)


def replaced(text: str, middle: str) -> str:
    """A text with what stands between the marks replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README has no {BEGIN} with {END} behind it")
    return f"{before}{begin}\n{middle}\n{end}{after}"


def main() -> int:
    """Everything; a run with void rounds is not published."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder, kept = Path(sys.argv[1]), Path(__file__).with_name("results")
    report = json.loads((folder / "results.json").read_text())
    void = [f"{row['work']}, {row['rival']}: {why}" for row in report["rows"] for why in row["void"]]
    if void:
        print("not published, since rounds are void:", *void, sep="\n  ", file=sys.stderr)
        return 1
    for name in FILES:
        shutil.copyfile(folder / name, kept / name)
    readme = ROOT / "README.md"
    readme.write_text(replaced(readme.read_text(), section(report)))
    print(f"published: README.md and {kept.relative_to(ROOT)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
