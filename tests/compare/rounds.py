"""Rounds: every row of a part does its work once a round, in turns.

Whatever else the machine does concerns all rows of a part. Who begins moves on by one each round.
A round in which a guard trips, or which a worker does not survive, is void and told.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Answer = dict[str, Any]
WARM_UP_ROUNDS = 1


@dataclass
class Row:
    """One rival at one piece of work."""

    part: str
    work: str
    rival: str
    unit: str
    ask: Callable[[int], Answer]
    """Does the work of the round of this number."""
    figure: str = "median_us"
    """Which of a round's latencies counts."""
    parameters: dict[str, int] = field(default_factory=dict)
    rounds: list[float | None] = field(default_factory=list)
    within: list[list[float]] = field(default_factory=list)
    """For latencies, the tenth and the ninth decile of each round."""
    void: list[str] = field(default_factory=list)


def take(row: Row, number: int) -> None:
    """Has a row do its work once, and keeps what came of it."""
    answer = row.ask(number)
    warms_up = number < WARM_UP_ROUNDS
    if "void" in answer:
        # A round that warms up has to be right, too.
        row.void.append(f"round {number}: {answer['void']}")
        row.rounds += [] if warms_up else [None]
        return
    if warms_up:
        return
    done = answer["done"]
    if "latency" in done:
        latency = done["latency"]
        row.rounds.append(latency[row.figure])
        row.within.append([latency["p10_us"], latency["p90_us"]])
    else:
        row.rounds.append(done["rate"])


def run(rows: list[Row], rounds: int) -> None:
    """All rounds of a part."""
    for number in range(WARM_UP_ROUNDS + rounds):
        first = number % max(1, len(rows))
        for row in rows[first:] + rows[:first]:
            take(row, number)


def summary(row: Row) -> dict[str, Any]:
    """A row as it stands in the report: the median of its rounds, and how far they spread."""
    good = [figure for figure in row.rounds if figure is not None]
    told: dict[str, Any] = {
        "part": row.part,
        "work": row.work,
        "rival": row.rival,
        "unit": row.unit,
        **row.parameters,
        "rounds": row.rounds,
        "void": row.void,
    }
    if good:
        told |= {"median": statistics.median(good), "low": min(good), "high": max(good)}
    if row.within:
        told["p10"] = statistics.median(low for low, _ in row.within)
        told["p90"] = statistics.median(high for _, high in row.within)
    return told


def ratio(of: dict[str, Any], to: dict[str, Any]) -> float | None:
    """The median of the rounds' own ratios, so that a machine that drifts does not move it."""
    pairs = zip(of["rounds"], to["rounds"], strict=False)
    ratios = [one / other for one, other in pairs if one is not None and other]
    return statistics.median(ratios) if ratios else None
