"""How far the clocks of the world are from the sun: real data, parsed, fitted and drawn.

    python time_zones.py [time-zones.svg]

The data is the IANA time zone database, which the package `tzdata` ships: where the cities are
after which zones are named, and what their clocks have shown since 1970. Each step is a task. The
first run computes all of them; the second takes all from the cache, in another process too. Change
a step's version, or install another `tzdata`, and what depends on it is computed again.
"""

from __future__ import annotations

import importlib.resources
import shutil
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy

from memod import FileName, Task, task

FIRST_YEAR, LAST_YEAR = 1970, 2025
WIDTH, HEIGHT, LEFT, TOP, BETWEEN = 860, 360, 60, 50, 70
PANEL_WIDTH, PANEL_HEIGHT = (WIDTH - LEFT - BETWEEN - 20) / 2, HEIGHT - TOP - 50


@dataclass
class City:
    """A place after which a zone is named."""

    zone: str
    latitude: float
    longitude: float


class Fit(NamedTuple):
    """A line through all cities, and how far their clocks were from the sun each year."""

    hours_per_degree: float
    offset: float
    minutes_from_sun: list[float]


@task(cache=True, cache_version="1", name="time_zones.read_cities")
def read_cities(table: Path) -> list[City]:
    """Parses `zone1970.tab`: country, coordinates as ISO 6709, zone."""
    cities = []
    for line in table.read_text().splitlines():
        if not line.startswith("#"):
            _, coordinates, zone, *_ = line.split("\t")
            second = max(coordinates.rfind("+"), coordinates.rfind("-"))
            latitude, longitude = coordinates[:second], coordinates[second:]
            cities.append(City(zone, degrees(latitude, 2), degrees(longitude, 3)))
    return cities


def degrees(text: str, digits: int) -> float:
    """Degrees with sign, minutes and sometimes seconds, all in one."""
    sign, rest = -1 if text[0] == "-" else 1, text[1:]
    whole, minutes, seconds = rest[:digits], rest[digits:][:2], rest[digits + 2 :] or "0"
    return sign * (int(whole) + int(minutes) / 60 + int(seconds) / 3600)


# The rules count by their content, though `zoneinfo` reads them in another form.
@task(cache=True, cache_version="1", name="time_zones.offsets", cache_serialize=True)
def offsets(cities: list[City], rules: Path, first: int, last: int) -> numpy.ndarray:
    """By how many hours the clocks were ahead of UTC, by city and month."""
    months = [
        datetime(year, month, 15, 12, tzinfo=UTC)
        for year in range(first, last + 1)
        for month in range(1, 13)
    ]
    table = numpy.empty((len(cities), len(months)))
    for row, city in enumerate(cities):
        zone = zoneinfo.ZoneInfo(city.zone)
        for column, month in enumerate(months):
            offset = month.astimezone(zone).utcoffset()
            assert offset is not None
            table[row, column] = offset.total_seconds() / 3600
    return table


@task(cache=True, cache_version="1", name="time_zones.fit")
def fit(cities: list[City], hours: numpy.ndarray) -> Fit:
    """Least squares over the clocks of the last year, without summer time."""
    longitudes = numpy.array([city.longitude for city in cities])
    by_year = hours.reshape(len(cities), -1, 12)
    standard = by_year.min(axis=2)
    slope, offset = numpy.polyfit(longitudes, standard[:, -1], 1)
    # The sun is an hour later every 15 degrees; across the date line, a day is no difference.
    apart = (by_year.mean(axis=2) - longitudes[:, None] / 15 + 12) % 24 - 12
    minutes = numpy.abs(apart).mean(axis=0) * 60
    return Fit(float(slope), float(offset), [float(one) for one in minutes])


@task(cache=True, cache_version="1", name="time_zones.draw")
def draw(
    cities: list[City], hours: numpy.ndarray, fitted: Fit, first: int
) -> Annotated[Path, FileName("time-zones.svg")]:
    """Two plots: the cities with the line through them, and the years."""
    standard = hours.reshape(len(cities), -1, 12).min(axis=2)[:, -1]
    left = Panel(LEFT, (-180, 180, 60), (-12, 14, 2), "Standard time by longitude", "h", "°")
    drawn = left.frame()
    for city, offset in zip(cities, standard, strict=True):
        x, y = left.at(city.longitude, float(offset))
        drawn.append(f'<circle cx="{x}" cy="{y}" r="2.2" fill="#1f77b4" fill-opacity="0.6"/>')
    ends = [(at, fitted.offset + at * fitted.hours_per_degree) for at in (-180, 180)]
    drawn.append(left.line(ends, "#d62728"))
    last = first + len(fitted.minutes_from_sun) - 1
    right = Panel(
        LEFT + PANEL_WIDTH + BETWEEN,
        (first, last, 11),
        (30, 60, 5),
        "Clock from sun, mean of all cities",
        "min",
        "",
    )
    drawn += right.frame()
    drawn.append(right.line(list(enumerate(fitted.minutes_from_sun, first)), "#1f77b4"))
    target = Path(tempfile.mkdtemp()) / "time-zones.svg"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
    )
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    target.write_text("\n".join([head, background, *drawn, "</svg>"]) + "\n")
    return target


@dataclass
class Panel:
    """One plot: where it begins, its axes as first, last and step, and what is said of them."""

    begin: float
    x: tuple[int, int, int]
    y: tuple[int, int, int]
    title: str
    y_unit: str
    x_unit: str

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is drawn."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        x, y = self.begin + across * PANEL_WIDTH, TOP + (1 - up) * PANEL_HEIGHT
        return round(x, 1), round(y, 1)

    def line(self, points: Sequence[tuple[float, float]], colour: str) -> str:
        """A line through points."""
        path = " ".join("{},{}".format(*self.at(x, y)) for x, y in points)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'

    def frame(self) -> list[str]:
        """The title and the axes."""
        drawn = [f'<text x="{self.begin}" y="{TOP - 20}" font-size="15">{self.title}</text>']
        for value in range(self.y[0], self.y[1] + 1, self.y[2]):
            x, y = self.at(self.x[0], value)
            end, _ = self.at(self.x[1], value)
            drawn.append(f'<line x1="{x}" y1="{y}" x2="{end}" y2="{y}" stroke="#dddddd"/>')
            text = f"{value} {self.y_unit}"
            drawn.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{text}</text>')
        for value in range(self.x[0], self.x[1] + 1, self.x[2]):
            x, y = self.at(value, self.y[0])
            text = f"{value}{self.x_unit}"
            drawn.append(f'<text x="{x}" y="{y + 20}" text-anchor="middle">{text}</text>')
        return drawn


def told(step: Task[..., Any], *arguments: Any) -> Any:
    """Calls a step, and says how that went."""
    begun = time.perf_counter()
    report = step.call(*arguments)
    took = time.perf_counter() - begun
    saved = f", saved {report.saved_seconds:.3f} s" if report.saved_seconds is not None else ""
    print(f"{step.name:24} {report.status:6} {took:.3f} s{saved}")
    return report.value


def main() -> None:
    """The pipeline."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "time-zones.svg")
    # What the system has may be of another edition.
    zoneinfo.reset_tzpath(to=())
    with importlib.resources.as_file(importlib.resources.files("tzdata") / "zoneinfo") as data:
        cities = told(read_cities, data / "zone1970.tab")
        hours = told(offsets, cities, data / "tzdata.zi", FIRST_YEAR, LAST_YEAR)
    fitted = told(fit, cities, hours)
    picture = told(draw, cities, hours, fitted, FIRST_YEAR)
    shutil.copyfile(picture, target)
    print(f"{len(cities)} cities: {15 * fitted.hours_per_degree:.2f} h for each 15 degrees")
    before, now = fitted.minutes_from_sun[0], fitted.minutes_from_sun[-1]
    print(f"clocks were {before:.0f} minutes from the sun in {FIRST_YEAR}, {now:.0f} in {LAST_YEAR}")
    print(f"drawn: {target}")


if __name__ == "__main__":
    main()
