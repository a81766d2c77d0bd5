"""The report as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from facts import DOES, NOTES, QUALITIES

Report = dict[str, Any]


def markdown(report: Report) -> str:
    """The whole report."""
    parts = [
        f"memod {report['memod']} beside others, {report['date']}.",
        _machine(report["machine"]),
        *_figures(report["rows"]),
        "## Targets\n\n" + of_targets(report["targets"]),
        "## What the others do not do\n\n" + qualities(),
        _notes(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(machine: dict[str, Any]) -> str:
    quiet = "quiet" if machine["quiet"] else "NOT quiet: it had other work to do, which shows"
    return (
        f"Machine: {machine['cores']} cores ({machine['model']}), Linux {machine['kernel']}, "
        f"{quiet} (others took {machine['others_percent']:.1f} % of its processors' time). Medians "
        f"of {machine['rounds']} rounds in which all take turns; in brackets the lowest and the "
        "highest round."
    )


def _figures(rows: list[dict[str, Any]]) -> list[str]:
    parts = {
        "hit": "Hot hits: one client, microseconds until every byte is read",
        "ratio": "Lookups of which some miss: one client, microseconds on the average",
        "cold": "Cold hit: one client, microseconds until every byte is read",
        "rate": "Hits a second",
        "put": "Puts a second",
        "python": "Python: one client, microseconds",
        "program": "Whole processes: milliseconds from start to exit",
    }
    told = []
    for part, title in parts.items():
        chosen = [row for row in rows if row["part"] == part]
        if chosen:
            told.append(f"## {title}\n\n{grid(chosen, 1000 if part == 'program' else 1)}")
    return told


def grid(rows: list[dict[str, Any]], divisor: float = 1) -> str:
    """A line for each rival and a column for each piece of work."""
    works = list(dict.fromkeys(row["work"] for row in rows))
    rivals = list(dict.fromkeys(row["rival"] for row in rows))
    known = {(row["work"], row["rival"]): row for row in rows}
    lines = [["", *works]]
    for rival in rivals:
        cells = [_cell(known.get((work, rival)), divisor) for work in works]
        lines.append([rival, *cells])
    return _table(lines, figures=True)


def _cell(row: dict[str, Any] | None, divisor: float) -> str:
    if row is None:
        return ""
    if "median" not in row:
        return "void"
    median, low, high = (number(row[name] / divisor) for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def number(figure: float) -> str:
    """Three digits that count, thousands apart."""
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.{2 if figure < 10 else 1}f}"


def of_targets(targets: Iterable[dict[str, Any]]) -> str:
    """Each target with what was measured."""
    lines = [["work", "what", "target", "measured", ""]]
    for target in targets:
        figure = "" if target["figure"] is None else number(target["figure"])
        met = "; ".join(part for part in (target["met"], target["note"]) if part)
        lines.append([target["work"], target["target"], target["bound"], figure, met])
    return _table(lines)


def wrapped(text: str, width: int) -> str:
    """A paragraph in lines."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def qualities() -> str:
    """What each does of that which memod does."""
    return _table([["", *QUALITIES], *([rival, *does] for rival, does in DOES.items())])


def _notes(report: Report) -> str:
    rivals = dict.fromkeys(row["rival"] for row in report["rows"])
    lines = [f"- {rival}: {NOTES[rival]}." for rival in rivals if rival in NOTES]
    lines += [f"- {text}" for text in report["notes"]]
    lines += [f"- not run: {left['rival']}: {left['why']}" for left in report["not_run"]]
    for row in report["rows"]:
        lines += [f"- void: {row['work']}, {row['rival']}, {why}" for why in row["void"]]
    return "## Notes\n\n" + "\n".join(lines) if lines else ""


def _table(lines: list[list[str]], figures: bool = False) -> str:
    head, *rest = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rule = ["---"] + ["---:" if figures else "---"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *rest])
