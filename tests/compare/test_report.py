"""What is told besides the rounds: other runs' figures, placing, cold hits, README."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import bench
import cold
import pinning
import publish
import targets

FIXTURE = Path(__file__).with_name("fixture.json")


class Bench(unittest.TestCase):
    """Figures of `make bench`."""

    def test_figures_of_the_benchmarks_are_judged_and_named_as_such(self) -> None:
        rows = [
            {"work": "hit 256 B", "median": 30.0, "ratio": 0.9},
            {"work": "1000 waiters, commit to the last awake", "median": 31.0, "ratio": None},
        ]
        judged = {figure["work"]: figure for figure in bench.judge(rows)}
        self.assertEqual(judged["hit 256 B"]["figure"], 0.9)
        self.assertEqual(judged["hit 256 B"]["met"], "met")
        self.assertEqual(judged["1000 waiters, commit to the last awake"]["met"], "MISSED")
        self.assertEqual(judged["idle daemon"]["met"], "not measured")
        for figure in judged.values():
            self.assertIn("by `make bench`", figure["note"])

    def test_a_machine_that_allows_fewer_connections_says_how_many(self) -> None:
        work = "with 8000 connections that have asked"
        judged = bench.judge([{"work": work, "median": 100.0, "ratio": None}])
        told = {figure["work"]: figure for figure in judged}
        self.assertEqual((told[work]["figure"], told[work]["met"]), (100.0, "met"))
        self.assertEqual(told["idle daemon"]["met"], "not measured")

    def test_no_run_has_no_figures(self) -> None:
        self.assertEqual(bench.read(None), [])
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump([{"work": "idle daemon"}], file)
            file.flush()
            self.assertEqual(bench.read(Path(file.name)), [{"work": "idle daemon"}])

    def test_every_figure_is_one_that_the_benchmarks_print(self) -> None:
        folder = Path(__file__).parents[1] / "benches" / "roundtrip"
        told = "".join(path.read_text() for path in folder.glob("*.rs"))
        for figure in bench.FIGURES:
            work = figure.work.replace("10000", "{count}")
            parts = [work] if work in told else work.rsplit(" that ", 1)
            parts = ['"256 B"', "hit {name}"] if work == "hit 256 B" else parts
            for part in parts:
                self.assertIn(part, told, figure.work)


class Placing(unittest.TestCase):
    """Who runs where."""

    def test_servers_and_clients_are_apart_where_one_client_is_measured(self) -> None:
        for part in pinning.PINNED_PARTS:
            self.assertEqual(pinning.processors(part, {0, 1, 2}), ({1}, {0}))
            self.assertEqual(pinning.processors(part, {3}), ({3}, {3}))
        for part in ("rate", "put", "program"):
            self.assertEqual(pinning.processors(part, {0, 1}), ({0, 1}, {0, 1}))

    def test_all_threads_of_a_process_are_placed_and_one_that_ended_is_none(self) -> None:
        before = os.sched_getaffinity(0)
        try:
            pinning.place(os.getpid(), {min(before)})
            for thread in pinning.threads_of(os.getpid()):
                self.assertEqual(os.sched_getaffinity(thread), {min(before)})
        finally:
            pinning.place(os.getpid(), before)
        pinning.place(1 << 30, before)


class Cold(unittest.TestCase):
    """The first hit."""

    def test_the_daemon_is_started_anew_for_every_round(self) -> None:
        did: list[str] = []

        class Servers:
            def stop(self, name: str) -> None:
                did.append(f"stop {name}")

            def memod(self, name: str, _durability: str) -> Path:
                did.append(f"start {name}")
                return Path(name)

            def place(self, name: str) -> Path:
                return Path(name)

        def ask(rival: str, _place: Path, command: dict[str, Any]) -> dict[str, Any]:
            did.append(f"{rival} {'fill' if 'fill' in command else 'hits'}")
            return {"done": {"latency": {}}}

        rows = cold.rows(Servers(), ask)  # type: ignore[arg-type]
        self.assertEqual([row.rival for row in rows], ["memod", *cold.LIBRARIES])
        did.clear()
        rows[0].ask(0)
        rows[1].ask(0)
        self.assertEqual(
            did, [f"stop {cold.SERVER}", f"start {cold.SERVER}", "memod hits", "sqlite hits"]
        )

    def test_its_target_is_a_gigabyte_a_second(self) -> None:
        row = {"work": cold.WORK, "rival": "memod", "rounds": [67_000.0], "median": 67_000.0}
        judged = {target["target"]: target["met"] for target in targets.judge([row], True)}
        self.assertEqual(judged["cold hit of 64 MiB, us"], "met")


class Publishing(unittest.TestCase):
    """What README says."""

    def test_what_stands_between_the_marks_is_replaced_and_nothing_else(self) -> None:
        text = f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n"
        once = publish.replaced(text, "new")
        self.assertEqual(once, f"before\n{publish.BEGIN}\nnew\n{publish.END}\nafter\n")
        self.assertEqual(publish.replaced(once, "new"), once)
        with self.assertRaises(ValueError):
            publish.replaced("no marks", "new")
        self.assertIn(publish.BEGIN, (publish.ROOT / "README.md").read_text())

    def test_the_section_has_figures_targets_and_how_quiet_it_was(self) -> None:
        text = publish.section(json.loads(FIXTURE.read_text()))
        self.assertIn("not quiet", text)
        self.assertIn("| memod | 1.20 (1.00 to 1.40) |", text)
        self.assertIn("latency.svg", text)
        self.assertIn("| --- | --- | --- | --- | --- |", text)


if __name__ == "__main__":
    unittest.main()
