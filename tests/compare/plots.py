"""Plots as SVG, written out by hand: the same figures give the same file, wherever it is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 125, 190, 40, 50
COLOURS = ("#d62728", "#ff9896", "#8c564b", "#1f77b4", "#2ca02c", "#9467bd", "#e377c2", "#7f7f7f")
Series = dict[str, list[tuple[float, float]]]


def series(rows: Iterable[dict[str, Any]], part: str, across: str) -> Series:
    """For each rival of a part its medians, ascending by one of the parameters."""
    found: Series = {}
    for row in rows:
        if row["part"] == part and "median" in row and across in row:
            found.setdefault(row["rival"], []).append((row[across], row["median"]))
    return {rival: sorted(points) for rival, points in found.items()}


def latency(rows: Iterable[dict[str, Any]]) -> str:
    """Latency by size."""
    return _plot(series(rows, "hit", "bytes"), "Hot hit, one client", "bytes", "us", _size)


def throughput(rows: Iterable[dict[str, Any]]) -> str:
    """Throughput by clients."""
    chosen = series(rows, "rate", "clients")
    return _plot(chosen, "Hits of 256 B a second", "clients", "hits/s", lambda at: f"{at:g}")


class Axis:
    """A logarithmic axis."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self.low, self.high = math.log(min(values)), math.log(max(values))
        if self.low == self.high:
            self.low, self.high = self.low - 1, self.high + 1
        self.begin, self.end = begin, end

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        share = (math.log(value) - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)


def _decades(values: Sequence[float]) -> list[float]:
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _plain(decade: float) -> str:
    return f"{decade:,.0f}" if decade >= 1 else f"{decade:g}"


def _size(size: float) -> str:
    for power, name in ((20, "MiB"), (10, "KiB")):
        if size >= 1 << power:
            return f"{size / (1 << power):g} {name}"
    return f"{size:g} B"


def _plot(chosen: Series, title: str, across: str, unit: str, name: Any) -> str:
    points = [point for line in chosen.values() for point in line]
    if not points:
        raise ValueError(f"nothing to plot: {title}")
    columns = sorted({at for at, _ in points})
    decades = _decades([value for _, value in points])
    x = Axis(columns, LEFT, WIDTH - RIGHT)
    y = Axis(decades, HEIGHT - BOTTOM, TOP)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, TOP - 16, title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across, "middle"),
    ]
    for decade in decades:
        drawn.append(_line(LEFT, y.at(decade), WIDTH - RIGHT, y.at(decade), "#dddddd"))
        drawn.append(_text(LEFT - 6, y.at(decade) + 4, f"{_plain(decade)} {unit}", "end"))
    for column in columns:
        drawn.append(_line(x.at(column), TOP, x.at(column), HEIGHT - BOTTOM, "#eeeeee"))
        drawn.append(_text(x.at(column), HEIGHT - BOTTOM + 18, name(column), "middle"))
    for index, (rival, line) in enumerate(chosen.items()):
        colour = COLOURS[index % len(COLOURS)]
        places = [(x.at(at), y.at(value)) for at, value in line]
        path = " ".join(f"{across},{down}" for across, down in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in places]
        beside = TOP + 12 + 20 * index
        drawn.append(_line(WIDTH - RIGHT + 12, beside, WIDTH - RIGHT + 32, beside, colour, 2))
        drawn.append(_text(WIDTH - RIGHT + 38, beside + 4, rival))
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    ends = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    place = f'x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {place}>{escape(text)}</text>"
