"""One key for one call, from Python, from the command line, and in every process (semantics 3)."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Daemon

import memod
from memod import task


@task(cache=True, cache_version="1.0.0", name="hash_string_task",
      cache_ignore_input_vars=("verbose",))
def hash_string_task(original: str, verbose: bool = False) -> str:
    return original.upper()


@dataclass
class Point:
    x: int
    y: float


@task(cache=True, cache_version="2", name="mixed")
def mixed(
    point: Point, names: list[str], weights: dict[str, float], data: Path, limit: int | None
) -> tuple[int, list[float]]:
    return len(names), sorted(weights.values())


def test_the_command_line_computes_the_same_key(daemon: Daemon, tmp_path: Path) -> None:
    said = json.loads(daemon.memo(
        "key", "--format", "json", "--task", "hash_string_task", "--cache-version", "1.0.0",
        "--input", "original:string=abc", "--input", "verbose:boolean=true", "--ignore", "verbose",
        "--output", "o0:string",
    ))
    assert said["key"] == hash_string_task.cache_key("abc")
    assert said["inputs"] == hash_string_task.described("abc").inputs
    assert said["signature"] == hash_string_task.described("abc").signature
    file = tmp_path / "data.bin"
    file.write_bytes(b"content")
    said = json.loads(daemon.memo(
        "key", "--format", "json", "--task", "mixed", "--cache-version", "2",
        "--input", 'point:struct{x:integer,y:float}={"x":1,"y":2.5}',
        "--input", 'names:list<string>=["a","b"]', "--input", 'weights:map<float>={"w":1}',
        "--input-file", f"data={file}", "--input", "limit:optional<integer>=null",
        "--output", "o0:integer", "--output", "o1:list<float>",
    ))
    key = mixed.cache_key(Point(1, 2.5), ["a", "b"], {"w": 1.0}, file, None)
    assert said["key"] == key


def test_each_reads_what_the_other_stored(daemon: Daemon) -> None:
    """What Python stores `memo` reads, and the other way round."""
    report = hash_string_task.call("from python")
    assert report.store == "POPULATED" and report.key is not None
    assert daemon.memo("cat", report.key, "o0") == "FROM PYTHON"
    daemon.memo(
        "put", "--task", "hash_string_task", "--cache-version", "1.0.0",
        "--input", "original:string=from memo", "--input", "verbose:boolean=false",
        "--ignore", "verbose", "--output", "o0:string=stored by memo",
    )
    assert hash_string_task("from memo") == "stored by memo"


SOURCE = """
from memod import task
@task(cache=True, cache_version="1", name="unordered")
def unordered(names: set[str], ages: dict[str, int], by_number: dict[int, str],
              tags: frozenset[tuple[str, int]]) -> set[str]:
    return names
names = {f"name{n}" for n in range(100)}
print(unordered.cache_key(names, {name: len(name) for name in names},
      {hash(name) % 7: "x" for name in ()} | {n: str(n) for n in set(range(50))},
      frozenset((name, 1) for name in names)))
"""


def test_hash_randomised_sets_and_dictionaries_have_one_key(daemon: Daemon) -> None:
    keys = {daemon.python(SOURCE, PYTHONHASHSEED=str(seed)) for seed in (0, 1, 2, 4294967295)}
    assert len(keys) == 1 and len(keys.pop().strip()) == 64


def test_a_program_and_a_module_have_one_name(daemon: Daemon, tmp_path: Path) -> None:
    """What a script declares has the same key when it is imported."""
    script = tmp_path / "pipeline.py"
    script.write_text(
        "from memod import task\n"
        "@task(cache=True, cache_version='1')\n"
        "def step(x: int) -> int:\n    return x\n"
        "if __name__ == '__main__':\n    print(step.name, step.cache_key(1))\n"
    )
    imported = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pipeline; "
        "print(pipeline.step.name, pipeline.step.cache_key(1))"
    )
    ran = subprocess.run([sys.executable, script], env=daemon.environment(), check=True,
                         capture_output=True, text=True)
    assert ran.stdout == daemon.python(imported)
    assert ran.stdout.startswith("pipeline.step ")


@pytest.mark.parametrize("wrong", ["enabeld", "READ-ONLY"])
def test_a_wrong_mode_in_the_environment_disables_with_a_warning(
    wrong: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Semantics 23 and 34: as in Rust."""
    monkeypatch.setenv("MEMOD_MODE", wrong)
    assert memod.Client("/nowhere").raw.mode == "disabled"
    assert f"$MEMOD_MODE is {wrong!r}, which is none of enabled" in caplog.text
