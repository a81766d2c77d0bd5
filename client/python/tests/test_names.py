"""A task's name is that of its program or module, however the program is run and wherever the
function has been sent (semantics 3 and 4)."""

from __future__ import annotations

import subprocess
import sys
import zipapp
from pathlib import Path

import pytest
from conftest import Daemon

PROGRAM = """
import multiprocessing, os, sys
from dataclasses import dataclass
from datetime import timedelta
from memod import task

@task(cache=True, cache_version="1")
def square(x: int) -> int:
    with open("runs", "a") as runs:
        runs.write(f"{square.name} ")
    return x * x

@dataclass
class Scale:
    by: int

    @task(cache=True, cache_version="1")
    def of(self, x: int) -> int:
        with open("runs", "a") as runs:
            runs.write("of ")
        return self.by * x

if __name__ == "__main__":
    print(square.name, square(3), Scale(2).of(3))
    for method in sys.argv[1:]:
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(square, [3]), pool.map(Scale(2).of, [3]))
            print(pool.map(square.with_options(mode="overwrite"), [3]))
"""


def run(daemon: Daemon, folder: Path, *arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=daemon.environment(),
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("how", [["etl.py"], ["-m", "etl"]], ids=["file", "module"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_processes_share_the_names_of_their_program(
    daemon: Daemon, tmp_path: Path, how: list[str], method: str
) -> None:
    (tmp_path / "etl.py").write_text(PROGRAM)
    assert run(daemon, tmp_path, *how, method) == "etl.square 9 6\n[9] [6]\n[9]\n"
    assert (tmp_path / "runs").read_text() == "etl.square of etl.square "


def test_a_program_that_is_profiled_has_its_own_name(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "etl.py").write_text(PROGRAM)
    said = run(daemon, tmp_path, "-m", "cProfile", "etl.py")
    assert said.startswith("etl.square 9 6\n")


SNIPPET = """
from memod import task
@task(cache=True, cache_version="1")
def first(x: int) -> int:
    return x
@task(cache=True, cache_version="1")
def second(x: int) -> int:
    return x
@task(cache=True, cache_version="1", name="named")
def third(x: int) -> int:
    return x
print(first.name, third.name)
"""


@pytest.mark.parametrize("how", [["-c", SNIPPET], ["-"], []], ids=["-c", "-", "pipe"])
def test_a_program_without_a_file_is_warned_once(
    daemon: Daemon, tmp_path: Path, how: list[str]
) -> None:
    text = None if how[:1] == ["-c"] else SNIPPET
    name, warning = run(daemon, tmp_path, *how, text=text).splitlines()
    assert name == "__main__.first named"
    assert "`__main__.first` stands in a program without a file" in warning
    assert 'name="my_project.first"' in warning


APPLICATION = """
from memod import task
@task(cache=True, cache_version="1")
def load(x: int) -> str:
    return "NAME"
print(load.name, load(1))
"""


@pytest.mark.parametrize("how", ["folder", "archive", "file"])
def test_folders_and_archives_that_are_run_have_their_own_names(
    daemon: Daemon, tmp_path: Path, how: str
) -> None:
    """Two programs that are both in a `__main__.py` share nothing."""
    for name in ("first", "second.v2"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__main__.py").write_text(APPLICATION.replace("NAME", name))
        zipapp.create_archive(folder, tmp_path / f"{name}.pyz")
        arguments = {"folder": name, "archive": f"{name}.pyz", "file": f"{name}/__main__.py"}
        assert run(daemon, tmp_path, arguments[how]) == f"{name}.load {name}\n"
    assert run(daemon, tmp_path / "first", ".") == "first.load first\n"
