"""The parts of the comparison that need no rival: rounds, guards, targets, table and plots.

    python3 -m unittest discover tests/compare
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import compare
import facts
import plots
import quiet
import rounds
import table
import targets
import worker
import workers

FIXTURE = Path(__file__).with_name("fixture.json")


def report() -> dict[str, Any]:
    """A small report with figures that were made up."""
    loaded: dict[str, Any] = json.loads(FIXTURE.read_text())
    return loaded


class Rounds(unittest.TestCase):
    """Who works when, and what counts."""

    def test_rows_take_turns_and_the_first_round_does_not_count(self) -> None:
        asked: list[str] = []

        def row(name: str, figures: list[float]) -> rounds.Row:
            def ask(number: int) -> rounds.Answer:
                asked.append(name)
                return {"done": {"rate": figures[number]}}

            return rounds.Row("rate", "work", name, "/s", ask)

        one, other = row("a", [99.0, 1.0, 3.0, 2.0]), row("b", [99.0, 2.0, 2.0, 8.0])
        rounds.run([one, other], 3)
        self.assertEqual("".join(asked), "abbaabba")
        told = rounds.summary(one)
        self.assertEqual((told["median"], told["low"], told["high"]), (2.0, 1.0, 3.0))
        self.assertEqual(rounds.ratio(told, rounds.summary(other)), 0.5)

    def test_a_void_round_is_told_and_counts_nowhere(self) -> None:
        latency = {"median_us": 5.0, "p10_us": 4.0, "p90_us": 6.0}
        answers: list[rounds.Answer] = [{"done": {"latency": latency}}] * 4
        answers[2] = {"void": "wrong bytes"}
        row = rounds.Row("hit", "work", "a", "us", lambda number: answers[number])
        rounds.run([row], 3)
        told = rounds.summary(row)
        self.assertEqual(told["rounds"], [5.0, None, 5.0])
        self.assertEqual(told["void"], ["round 2: wrong bytes"])
        other = {"rounds": [10.0, 1.0, 10.0]}
        self.assertEqual(rounds.ratio(told, other), 0.5)

    def test_a_row_without_a_good_round_has_no_figure(self) -> None:
        row = rounds.Row("hit", "work", "a", "us", lambda _: {"void": "a miss"})
        rounds.run([row], 2)
        told = rounds.summary(row)
        self.assertNotIn("median", told)
        self.assertEqual(len(told["void"]), 3)
        self.assertIn("void", table.grid([told]))


class Guards(unittest.TestCase):
    """What a worker in Python does not let pass."""

    def test_hits_are_compared_with_what_was_stored(self) -> None:
        good = worker.hits(worker.value_of, 3, 9)
        self.assertEqual(good["done"]["latency"]["operations"], 9)
        missing = worker.hits(lambda number: None, 3, 9)
        self.assertEqual(missing, {"void": "a miss where a hit was due"})
        wrong = worker.hits(lambda number: worker.value_of(number + 1), 3, 9)
        self.assertEqual(wrong, {"void": "wrong bytes"})

    def test_a_task_that_ran_its_body_was_no_hit(self) -> None:
        ran = worker.Ran()
        stored: dict[int, str] = {}

        def cached(number: int) -> str:
            return stored.setdefault(number, "") or stored.update({number: ran.compute(number)}) or ""

        put, get = ran.task(cached)
        self.assertIsNone(get(1))
        self.assertEqual(get(1), worker.value_of(1))
        put(2)
        self.assertEqual(get(2), worker.value_of(2))

    def test_a_worker_that_dies_makes_its_rounds_void(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, "-c", "import sys; sys.exit('no such place')"]
            dead = workers.Worker(words, {}, Path(folder) / "log")
            dead.process.wait()
            self.assertIn("no such place", dead.ask({"fill": {}})["void"])
            dead.end()


class Reports(unittest.TestCase):
    """What is written."""

    def test_targets_are_judged_by_ratios_of_rounds(self) -> None:
        rows = report()["rows"]
        judged = {target["target"]: target for target in targets.judge(rows, True)}
        self.assertEqual(judged["hot hit of 256 B, us"]["met"], "met")
        self.assertEqual(judged["times faster than redis GET"]["figure"], 60.0)
        self.assertEqual(judged["times LMDB's time"]["met"], "MISSED")
        self.assertEqual(judged["hit of memo run, us"]["met"], "not measured")
        without = {target["target"]: target for target in targets.judge(rows, False)}
        self.assertIn("board", without["times faster than redis GET"]["note"])

    def test_python_has_targets_of_its_own(self) -> None:
        def row(rival: str, *figures: float) -> dict[str, Any]:
            rounds_ = list(figures)
            return {"work": targets.PYTHON, "rival": rival, "rounds": rounds_, "median": figures[0]}

        rows = [
            row("memod, @task", 2.0, 4.0, 2.0),
            row("joblib", 70.0, 100.0, 90.0),
            row("flytekit", 90.0, 400.0, 100.0),
            row("flytekit with memod", 45.0, 200.0, 80.0),
        ]
        judged = {target["target"]: target for target in targets.judge(rows, True)}
        for name, figure, met in (
            ("hit of @task, us", 2.0, "met"),
            ("times faster than joblib", 35.0, "met"),
            ("times faster than flytekit's own cache", 50.0, "met"),
            ("times the time of flytekit's own cache", 0.5, "met"),
        ):
            self.assertEqual((judged[name]["figure"], judged[name]["met"]), (figure, met), name)
        slower = targets.judge([row("memod, @task", 11.0), row("joblib", 319.0)], True)
        missed = {target["target"] for target in slower if target["met"] == "MISSED"}
        self.assertEqual(missed, {"hit of @task, us", "times faster than joblib"})

    def test_what_others_took_is_all_but_its_own(self) -> None:
        before = "cpu  100 0 50 1000 7 1 2 3 90 90\ncpu0 1\n"
        self.assertAlmostEqual(quiet.busy_seconds(before) * quiet.TICKS_A_SECOND, 156)
        self.assertAlmostEqual(quiet.percent(9.0, 6.0, 10.0, 2), 15.0)
        self.assertEqual(quiet.percent(5.0, 6.0, 10.0, 2), 0.0)
        watch = quiet.Watch()
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
        self.assertTrue(0.0 <= watch.others_percent() <= 100.0)

    def test_the_table_has_every_figure_with_its_spread(self) -> None:
        text = table.markdown(report())
        self.assertIn("| memod | 1.20 (1.00 to 1.40) | 1.30 (1.10 to 1.50) |", text)
        self.assertIn("| redis | 72.0 (60.0 to 84.0) |", text)
        self.assertIn("void: hit 4 KiB, redis, round 2: wrong bytes", text)
        self.assertIn("not run: memcached: it is not installed", text)
        self.assertIn("NOT quiet: it had other work to do, which shows (others took 12.3 %", text)
        for rival in facts.DOES:
            self.assertIn(f"| {rival} |", text)
        for block in text.split("\n\n"):
            columns = {line.count(" | ") for line in block.splitlines() if line.startswith("|")}
            self.assertLessEqual(len(columns), 1, block)

    def test_plots_are_drawings_of_every_series(self) -> None:
        rows = report()["rows"]
        for drawn, rivals in ((plots.latency(rows), 3), (plots.throughput(rows), 2)):
            tree = xml.etree.ElementTree.fromstring(drawn)
            name = "{http://www.w3.org/2000/svg}"
            self.assertEqual(len(tree.findall(f"{name}polyline")), rivals)
            for circle in tree.findall(f"{name}circle"):
                self.assertTrue(plots.LEFT <= float(circle.attrib["cx"]) <= plots.WIDTH)
                self.assertTrue(plots.TOP <= float(circle.attrib["cy"]) <= plots.HEIGHT)
            self.assertIn("memod", drawn)
        self.assertEqual(plots.series(rows, "hit", "bytes")["memod"], [(256, 1.2), (4096, 1.3)])
        self.assertIn(">1,000,000 hits/s</text>", plots.throughput(rows))
        self.assertIn(">0.1 us</text>", plots.latency(rows))
        with self.assertRaises(ValueError):
            plots.latency([])

    def test_all_four_files_are_written(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            compare.write(report(), Path(folder) / "out")
            written = sorted(path.name for path in (Path(folder) / "out").iterdir())
        self.assertEqual(
            written, ["latency.svg", "results.json", "results.md", "throughput.svg"]
        )

    def test_fast_is_shorter_and_full_is_larger(self) -> None:
        plain, fast = compare.pace_of({}), compare.pace_of({"FAST": "1"})
        self.assertLess(fast.rounds * fast.milliseconds, plain.rounds * plain.milliseconds / 4)
        full = compare.pace_of({"FULL": "1"})
        self.assertEqual(max(size.bytes for size in full.sizes), 256 << 20)
        self.assertEqual(max(size.bytes for size in plain.sizes), 64 << 20)

    def test_it_says_how_far_it_is(self) -> None:
        with redirect_stdout(io.StringIO()) as said:
            compare.say("starting")
        self.assertRegex(said.getvalue(), r"^\d\d:\d\d:\d\d starting\n$")


if __name__ == "__main__":
    unittest.main()
