"""Files: by content as inputs, and restored as outputs (semantics 13)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NamedTuple

import pytest
from conftest import Daemon

import memod
from memod import FileName, task

RUNS: list[str] = []
FOLDER: list[Path] = []


@pytest.fixture(autouse=True)
def no_runs(tmp_path: Path) -> None:
    RUNS.clear()
    FOLDER[:] = [tmp_path]


@task(cache=True, cache_version="1")
def count(data: Path) -> int:
    RUNS.append(data.name)
    return len(data.read_bytes())


class Made(NamedTuple):
    report: Annotated[Path, FileName("report.csv")]
    plain: Path


@task(cache=True, cache_version="1")
def make(text: str) -> Made:
    RUNS.append(text)
    report, plain = FOLDER[0] / "made.csv", FOLDER[0] / "plain"
    report.write_text(text)
    plain.write_bytes(b"\0" * 5_000_000)
    return Made(report, plain)


def test_a_file_counts_by_its_content(daemon: Daemon, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"same")
    second.write_bytes(b"same")
    assert count(first) == count(second) == 4
    second.write_bytes(b"other")
    assert count(second) == 5
    assert RUNS == ["first", "second"]


def test_a_restored_file_outlives_the_one_that_was_made(daemon: Daemon) -> None:
    first = make("a,b")
    first.report.unlink()
    first.plain.unlink()
    second, third = make("a,b"), make("a,b")
    assert RUNS == ["a,b"]
    assert (second.report.name, second.plain.name) == ("report.csv", "output")
    assert second.report.read_text() == "a,b"
    assert second.plain.read_bytes() == b"\0" * 5_000_000
    assert len({second.report, third.report, second.plain}) == 3


def test_restored_files_are_removed_when_the_program_ends_unless_kept(
    daemon: Daemon, tmp_path: Path
) -> None:
    source = """
import sys
from pathlib import Path
import memod
from memod import task
if len(sys.argv) > 1 or {kept!r}:
    memod.configure(files={kept!r})
@task(cache=True, cache_version="1", name="written")
def written(x: int) -> Path:
    path = Path({folder!r}) / "made"
    path.write_text("text")
    return path
written(1)
found = written(1)
assert found.read_text() == "text" and found.name == "output"
print(found)
"""
    gone = daemon.python(source.format(kept="", folder=str(tmp_path))).strip()
    assert not os.path.exists(gone) and not os.path.exists(os.path.dirname(os.path.dirname(gone)))
    kept = daemon.python(source.format(kept=str(tmp_path / "kept"), folder=str(tmp_path))).strip()
    assert Path(kept).read_text() == "text" and kept.startswith(str(tmp_path / "kept"))


@task(cache=True, cache_version="1")
def meddles(data: Path) -> str:
    RUNS.append("meddles")
    text = data.read_text()
    data.write_text("changed")
    return text


@task(cache=True, cache_version="1")
def removes(data: Path) -> str:
    RUNS.append("removes")
    text = data.read_text()
    data.unlink()
    return text


def test_what_came_of_a_file_that_changed_meanwhile_is_not_stored(
    daemon: Daemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    for function, said in ((meddles, "has changed since it was hashed"),
                           (removes, "cannot be looked at any more")):
        data.write_text("original")
        report = function.call(data)
        assert (report.value, report.status, report.store) == ("original", "MISS", "PUT_FAILURE")
        assert said in caplog.text
        data.write_text("original")
        assert function.call(data).status == "MISS"


@task(cache=True, cache_version="1")
def vanishing(data: Path) -> str:
    return data.read_text()


def test_a_file_that_vanishes_before_the_run_is_the_functions_own_error(
    daemon: Daemon, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        vanishing(tmp_path / "not-there")


def test_a_file_that_was_not_made_is_a_warning(
    daemon: Daemon, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    @task(cache=True, cache_version="1", name="forgets")
    def forgets() -> Path:
        return Path("/nowhere/file")

    assert forgets() == Path("/nowhere/file")
    assert "output `o0`: cannot open /nowhere/file" in caplog.text


def test_a_large_output_goes_through_a_file(own_daemon: Daemon) -> None:
    """Beyond what is held in memory it is spooled, and read back all the same."""
    client = own_daemon.client(memory_bytes_max=1_000_000)

    @task(cache=True, cache_version="1", name="large", client=client)
    def large() -> bytes:
        return b"0123456789" * 500_000

    assert large() == large()
    assert large.call().is_hit
    assert memod.Client(own_daemon.socket).read(large.cache_key(), "o0").type == "bytes"
