"""One call made by `#[task]`, `@task`, `memo` and flytekit: one key, one entry (semantics 3)."""

from __future__ import annotations

import datetime as dt
import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest
from conftest import Daemon, program
from flyte_programs import flytekit

import memod
from memod.flyte.flytekit import memo_of

pytestmark = pytest.mark.filterwarnings("ignore")

AT = dt.datetime(2026, 11, 22, 12, 30, 45, 250, tzinfo=dt.UTC)
VALUES: dict[str, Any] = {
    "text": "Grüße", "count": 2**53 + 1, "weight": 0.1, "strict": True, "at": AT,
    "span": dt.timedelta(seconds=90.5), "names": ["b", "a"], "ages": {"x": 7, "y": -1},
    "limit": None,
}
COUNTED = 2**53 + 3
CONTENT = b"some content"
BY = {"made": ""}
"""Who computes."""


def describe(
    text: str, count: int, weight: float, strict: bool, at: dt.datetime, span: dt.timedelta,
    names: list[str], ages: dict[str, int], limit: Optional[int], verbose: bool = False,
) -> tuple[str, int]:
    return BY["made"], count + len(names)


def measure(data: flytekit.types.file.FlyteFile) -> str:
    return measured(Path(data.path))


def measured(data: Path) -> str:
    return f"{len(data.read_bytes())} bytes, says {BY['made']}"


# flytekit gives its tasks their names, so all others take those.
FLYTE = {"cache": True, "cache_version": "1.0.0"}
FLYTE_DESCRIBE = flytekit.task(describe, **FLYTE, cache_ignore_input_vars=("verbose",))
FLYTE_MEASURE = flytekit.task(measure, **FLYTE)
cached = functools.partial(memod.task, cache=True, cache_version="1.0.0")
DESCRIBE = cached(name=FLYTE_DESCRIBE.name, cache_ignore_input_vars=("verbose",))(describe)
MEASURE = cached(name=FLYTE_MEASURE.name)(measured)

Told = dict[str, tuple[str, Any]]
"""By task: key and value."""


def by_python(daemon: Daemon, file: Path) -> Told:
    BY["made"] = "python"
    one, other = DESCRIBE.call(**VALUES), MEASURE.call(file)
    assert one.key and other.key and not one.problems + other.problems
    return {"describe": (one.key, list(one.value)), "measure": (other.key, other.value)}


def by_flytekit(daemon: Daemon, file: Path) -> Told:
    BY["made"] = "flytekit"
    one, other = FLYTE_DESCRIBE(**VALUES), FLYTE_MEASURE(data=str(file))
    keys = keys_of_flytekit(file)
    return {"describe": (keys["describe"], list(one)), "measure": (keys["measure"], other)}


def keys_of_flytekit(file: Path) -> dict[str, str]:
    """The keys that the plug-in asks for."""
    raw = memod.default_client().raw
    one, other = memo_of(FLYTE_DESCRIBE), memo_of(FLYTE_MEASURE)
    calls = {"describe": one.plan.call(raw, (), VALUES), "measure": other.plan.call(raw, (), {"data": file})}
    return {name: call.key for name, call in calls.items() if call is not None}


def by_rust(daemon: Daemon, file: Path) -> Told:
    ran = subprocess.run([program("memod-same-call"), str(file)], env=daemon.environment(),
                         check=True, capture_output=True, text=True)
    assert ran.stderr == ""
    return {name: (told["key"], told["value"]) for name, told in json.loads(ran.stdout).items()}


INPUTS = {
    "describe": [
        "--ignore", "verbose", "--input", "verbose:boolean=true", "--input", "text:string=Grüße",
        "--input", "count=9007199254740993", "--input", "weight=0.1", "--input", "strict=true",
        "--input", "at:datetime=2026-11-22T12:30:45.00025Z", "--input", "span:duration=90.5s",
        "--input", 'names=["b","a"]', "--input", 'ages:map<integer>={"y":-1,"x":7}',
        "--input", "limit:optional<integer>=null",
    ],
    "measure": [],
}
OUTPUTS = {"describe": {"o0": "string", "o1": "integer"}, "measure": {"o0": "string"}}


def by_memo(daemon: Daemon, file: Path) -> Told:
    """By hand: looked up, and stored if it is not there."""
    made: dict[str, list[Any]] = {
        "describe": ["memo", COUNTED], "measure": [f"{len(CONTENT)} bytes, says memo"],
    }
    told: Told = {}
    for name, outputs in OUTPUTS.items():
        given = ["--task", f"test_same_call.{name}", "--cache-version", "1.0.0", *INPUTS[name]]
        if name == "measure":
            given += ["--input-file", f"data={file}"]
        declared = [word for one, of in outputs.items() for word in ("--output", f"{one}:{of}")]
        found = lookup(daemon, given + declared)
        if found["status"] == "MISS":
            values = dict(zip(outputs, made[name], strict=True))
            stored = [
                word for one, of in outputs.items()
                for word in ("--output", f"{one}:{of}={values[one]}")
            ]
            daemon.memo("put", *given, *stored)
            found = lookup(daemon, given + declared)
        values = {one: told["value"] for one, told in found["outputs"].items()}
        value = list(values.values()) if name == "describe" else values["o0"]
        told[name] = (found["key"], value)
        said = json.loads(daemon.memo("key", "--format", "json", *given, *declared))
        assert said["key"] == found["key"]
    return told


def lookup(daemon: Daemon, words: list[str]) -> dict[str, Any]:
    command = [program("memo"), "--socket", str(daemon.socket), "--project", daemon.project]
    ran = subprocess.run([*command, "lookup", "--format", "json", *words], capture_output=True,
                         check=False, text=True)
    assert ran.returncode in (0, 1), ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


CLIENTS: dict[str, Callable[[Daemon, Path], Told]] = {
    "rust": by_rust, "python": by_python, "memo": by_memo, "flytekit": by_flytekit,
}


@pytest.mark.parametrize("first", CLIENTS)
def test_what_one_client_stores_all_others_read(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.delenv("MEMOD_FLYTE", raising=False)
    file = tmp_path / "data.bin"
    file.write_bytes(CONTENT)
    stored = CLIENTS[first](daemon, file)
    assert stored["describe"][1] == [first, COUNTED]
    assert stored["measure"][1] == f"{len(CONTENT)} bytes, says {first}"
    for name, call in CLIENTS.items():
        # By content, not by path.
        other = tmp_path / f"{name}.bin"
        other.write_bytes(CONTENT)
        assert call(daemon, other) == stored, name
