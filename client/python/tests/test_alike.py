"""What has one key reaches the function in one form, and a run gives back what a hit gives: zeros,
the objects of methods, arrays, frames and tables (semantics 10, 15, 34)."""

from __future__ import annotations

import datetime as dt
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Daemon

import memod
from memod import HashMethod, UnsupportedTypeError, task
from memod.errors import InvalidArgumentError

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
THERE = NOON.astimezone(dt.timezone(dt.timedelta(hours=2)))
MODES: tuple[memod.Mode, ...] = ("disabled", "overwrite", "enabled", "read-only")
ODD_NAN = np.uint64(0xFFF8000000000001).view(np.float64).item()


@task(cache=True, cache_version="1")
def sign(x: float) -> float:
    return math.copysign(1.0, x)


@task(cache=True, cache_version="1")
def signs(many: list[float], by: dict[float, float]) -> list[float]:
    return [math.copysign(1.0, x) for x in [*many, *by, *by.values()]]


@task(cache=True, cache_version="1")
def negated(x: float) -> float:
    return -x


def test_what_counts_as_zero_is_zero(daemon: Daemon) -> None:
    for mode in MODES:
        assert sign.with_options(mode=mode)(-0.0) == 1.0
        assert sign.with_options(mode=mode)(ODD_NAN) == math.copysign(1.0, math.nan)
        assert signs.with_options(mode=mode)([-0.0, -1.0], {-0.0: -0.0}) == [1.0, -1.0, 1.0, 1.0]
    assert sign(0.0) == 1.0


def hash_of(at: dt.datetime) -> str:
    return "first of the year" if at == dt.datetime(2026, 1, 1, tzinfo=dt.UTC) else ""


@task(cache=True, cache_version="1")
def hour(at: Annotated[dt.datetime, HashMethod(hash_of)]) -> int:
    return at.hour


def test_what_has_no_hash_of_its_own_has_the_form_of_its_content(daemon: Daemon) -> None:
    for mode in MODES:
        assert {hour.with_options(mode=mode)(at) for at in (THERE, NOON)} == {12}
    first = dt.datetime(2026, 1, 1, 2, tzinfo=THERE.tzinfo)
    assert hour(first) == 2, "what has one is not touched"


def test_what_is_returned_keeps_its_sign(daemon: Daemon) -> None:
    for _ in range(2):
        assert math.copysign(1.0, negated(0.0)) == -1.0


@dataclass
class Event:
    at: dt.datetime
    weight: float = 1.0
    names: list[str] = field(default_factory=list)
    seen: ClassVar[list[int]] = []

    @task(cache=True, cache_version="1")
    def shown(self) -> str:
        self.seen.append(id(self))
        return f"{self.at} {self.weight!r} {self.names}"


def test_the_object_of_a_method_has_one_form(daemon: Daemon) -> None:
    """It was handed on as it is, so that who came first decided what all were given."""
    for mode in MODES:
        for event in (Event(THERE, 1), Event(NOON, 1.0)):
            told = event.shown.task.with_options(mode=mode)(event)
            assert told == "2026-07-01 12:00:00+00:00 1.0 []"


def test_one_that_has_that_form_is_not_copied(daemon: Daemon) -> None:
    event = Event(NOON)
    Event.seen.clear()
    event.shown()
    assert Event.seen == [id(event)]


class Slotted:
    __slots__ = ("hidden",)


@dataclass
class WithSlot(Slotted):
    x: int


@dataclass
class WithItems(dict[str, int]):
    x: int


@dataclass
class Failed(Exception):
    code: int


def test_content_that_is_no_field_is_refused(daemon: Daemon) -> None:
    for of, said in [
        (WithSlot, "has a slot, hidden, that is no field"),
        (WithItems, "derives from dict, whose content would be lost"),
    ]:

        def function(x: Any) -> int:
            return 1

        function.__annotations__["x"] = of
        with pytest.raises(UnsupportedTypeError, match=said):
            task(cache=True, cache_version="1")(function)


@task(cache=True, cache_version="1")
def code_of(x: Failed) -> int:
    return x.code


def test_a_dataclass_may_be_an_exception(daemon: Daemon) -> None:
    assert code_of(Failed(3)) == code_of(Failed(3)) == 3


@task(cache=True, cache_version="1")
def layout(array: np.ndarray) -> str:
    return f"{array.strides} {array.ravel(order='K').tolist()} {type(array).__name__}"


@task(cache=True, cache_version="1")
def turned(array: np.ndarray) -> np.ndarray:
    return array.T


def test_an_array_is_in_c_order(daemon: Daemon, tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3)
    mapped = np.memmap(tmp_path / "mapped", dtype="f8", mode="w+", shape=(2, 3))
    mapped[:] = array
    expected = "(24, 8) [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] ndarray"
    for mode in MODES:
        for value in (array, np.asfortranarray(array), mapped, array[::-1][::-1]):
            assert layout.with_options(mode=mode)(value) == expected
        back = turned.with_options(mode=mode)(array)
        assert back.flags.c_contiguous and back.tolist() == array.T.tolist()


def test_what_is_no_array_is_handed_on(daemon: Daemon) -> None:
    @task(cache=True, cache_version="1")
    def kind(array: np.ndarray) -> str:
        return type(array).__name__

    for mode in MODES:
        assert kind.with_options(mode=mode)([1]) == "list"  # type: ignore[arg-type]


def test_an_array_in_c_order_is_not_copied(daemon: Daemon) -> None:
    def look(array: np.ndarray) -> int:
        LOOKED.append(array)
        return 1

    array = np.arange(3)
    task(cache=True, cache_version="1")(look)(array)
    assert LOOKED.pop() is array


LOOKED: list[Any] = []


@task(cache=True, cache_version="1")
def described(frame: pd.DataFrame) -> str:
    index = frame.index
    kinds = [type(value).__name__ for name in frame for value in frame[name]]
    return f"{kinds} {list(frame.dtypes)} {getattr(index, 'freq', None)}"


@task(cache=True, cache_version="1")
def same(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


DAYS = pd.date_range("2026-01-01", periods=2, freq="D")


@pytest.mark.parametrize(
    "frames",
    [
        [pd.DataFrame({"a": [None, "x"]}, dtype=object), pd.DataFrame({"a": [math.nan, "x"]}, dtype=object)],
        [pd.DataFrame({"a": [1, 2]}, index=DAYS), pd.DataFrame({"a": [1, 2]}, index=DAYS._with_freq(None))],
        [pd.DataFrame({"a": [1, 2]}, dtype=object)],
        [pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})],
        [pd.DataFrame({"a": [1.5, math.nan]})],
        [pd.DataFrame({"a": [(1, 2), (1, 2)]}), pd.DataFrame({"a": [[1, 2], [1, 2]]})],
    ],
    ids=["absent", "frequency", "objects", "strings", "numbers", "tuples"],
)  # fmt: skip
def test_frames_of_one_key_look_alike(daemon: Daemon, frames: list[pd.DataFrame]) -> None:
    assert len({described.cache_key(frame) for frame in frames}) == 1
    assert len({described.with_options(mode=m)(f) for m in MODES for f in frames}) == 1
    for frame in frames:
        back = [same.with_options(mode=mode)(frame) for mode in MODES]
        for one in back:
            pd.testing.assert_frame_equal(one, back[-1], check_freq=True)


def test_a_frame_of_numbers_is_not_copied(daemon: Daemon) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [1.0, 2.0]})
    assert same(frame) is frame


@task(cache=True, cache_version="1")
def chunks(table: pa.Table) -> str:
    return str([column.num_chunks for column in table.columns])


@task(cache=True, cache_version="1")
def same_table(table: pa.Table) -> pa.Table:
    return table


def test_a_table_is_in_one_piece(daemon: Daemon) -> None:
    one = pa.table({"a": [1, 2, 3]})
    many = pa.concat_tables([one.slice(0, 1), one.slice(1)])
    none = one.slice(0, 0)
    absent = pa.table({"a": pa.chunked_array([], pa.int64())})
    assert {chunks.with_options(mode=mode)(many) for mode in MODES} == {"[1]"}
    assert len({chunks.with_options(mode=m)(t) for m in MODES for t in (none, absent)}) == 1
    for table in (one, many, none, absent):
        back = [same_table.with_options(mode=mode)(table) for mode in MODES]
        assert len({str([one.num_chunks for one in found.columns]) for found in back}) == 1
        assert all(found == table for found in back)


@task(cache=True, cache_version="1", name="moment")
def moment() -> dt.datetime:
    return NOON


@task(cache=True, cache_version="1", name="span")
def span() -> dt.timedelta:
    return dt.timedelta(seconds=1)


@task(cache=True, cache_version="1", name="day")
def day() -> dt.date:
    return NOON.date()


@pytest.mark.parametrize(
    ("function", "of", "stored", "said"),
    [
        (moment, "datetime", 1_000_000_007, "holds 7 ns beyond the microseconds"),
        (span, "duration", 2_001, "holds 1 ns beyond the microseconds"),
        (day, "datetime", 1_000_000_000, "holds an instant that is no midnight"),
    ],
)
def test_what_others_store_more_finely_is_not_rounded(
    daemon: Daemon,
    caplog: pytest.LogCaptureFixture,
    function: Any,
    of: str,
    stored: int,
    said: str,
) -> None:
    """It was rounded without a word. It is run, and what is stored is replaced."""
    client = daemon.client()
    call = client.call(function.name, "1", outputs={"o0": of})
    assert call.key == function.cache_key()
    assert client.put(call, {"o0": stored})
    found = client.lookup(call)
    assert isinstance(found, memod.Hit)
    assert found.outputs["o0"].value() in (stored, dt.datetime.fromtimestamp(1, dt.UTC))
    report = function.call()
    assert (report.value, report.is_hit) == (function.function(), False)
    assert said in caplog.text
    assert function.call().is_hit


def test_a_file_is_found_again_from_another_directory(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @task(cache=True, cache_version="1")
    def length(path: Path) -> int:
        found = len(path.read_bytes())
        os.chdir("/")
        return found

    (tmp_path / "a").write_bytes(b"abc")
    monkeypatch.chdir(tmp_path)
    assert length(Path("a")) == 3
    monkeypatch.chdir(tmp_path)
    assert length.call(Path("a")).is_hit
    assert not caplog.records


def test_a_restored_file_has_content_and_no_mode(daemon: Daemon, tmp_path: Path) -> None:
    """As with Flyte: whether a file may be executed neither counts nor is kept."""

    @task(cache=True, cache_version="1")
    def script(folder: str) -> Path:
        path = Path(folder, "run.sh")
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    @task(cache=True, cache_version="1")
    def read(path: Path) -> str:
        return path.read_text()

    made, restored = script(str(tmp_path)), script(str(tmp_path))
    assert os.access(made, os.X_OK) and not os.access(restored, os.X_OK)
    assert made.read_text() == restored.read_text()
    assert read.cache_key(made) == read.cache_key(restored)


class Odd(str):
    """Two of the same text are not equal."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def test_two_keys_of_one_text_are_refused(daemon: Daemon) -> None:
    @task(cache=True, cache_version="1")
    def total(by: dict[str, int]) -> int:
        return sum(by.values())

    with pytest.raises(InvalidArgumentError, match="two keys of the same text"):
        total.cache_key({Odd("a"): 1, Odd("a"): 2})
