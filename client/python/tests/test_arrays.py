"""Arrays and tables."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Daemon

from memod import task
from memod._memod import Converter
from memod.errors import InvalidArgumentError
from memod.literals import Reader

RUNS: list[str] = []


@pytest.fixture(autouse=True)
def no_runs() -> None:
    RUNS.clear()


def converter(annotation: Any) -> Converter:
    return Converter(Reader("a value", is_output=True).read(annotation))


ARRAYS = converter(np.ndarray)
FRAMES = converter(pd.DataFrame)
TABLES = converter(pa.Table)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.arange(12, dtype=">i2").reshape(3, 4).T,
        np.array(3.5),
        np.empty((0, 3), dtype=bool),
        np.array(["a", "bcd"]),
        np.array([(1, 2.0)], dtype=[("x", "i4"), ("y", "f8")]),
        np.array(["2026-11-22"], dtype="datetime64[ns]"),
        np.arange(10)[::3],
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_comes_back(array: np.ndarray) -> None:
    back = ARRAYS.decode(ARRAYS.encode(array))
    assert back.dtype == array.dtype and back.shape == array.shape
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable


def test_equal_arrays_have_one_key_whatever_their_order_in_memory() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert ARRAYS.digest(np.asfortranarray(array)) == ARRAYS.digest(array)
    assert ARRAYS.digest(array.astype("f4")) != ARRAYS.digest(array)
    assert ARRAYS.digest(array.reshape(4, 3)) != ARRAYS.digest(array)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([object()]), "an array of objects"),
        (np.ma.masked_array([1], [True]), "MaskedArray, numpy.ndarray is declared"),
        ([1, 2], "list, numpy.ndarray is declared"),
    ],
)
def test_what_is_no_plain_array_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        ARRAYS.digest(value)


@task(cache=True, cache_version="1")
def scale(array: npt.NDArray[np.float64], by: float = 2.0) -> np.ndarray:
    RUNS.append("scale")
    scaled: np.ndarray = array * by
    return scaled


def test_a_task_of_arrays(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    array = np.random.default_rng(1).random((100, 1000))
    for _ in range(2):
        np.testing.assert_array_equal(scale(array), array * 2)
    assert RUNS == ["scale"]
    assert scale.input_types == {"array": "opaque(npy)", "by": "float"}
    objects: Any = np.array([1.5], dtype=object)
    assert scale(objects)[0] == 3.0
    assert "input `array`: is an array of objects, which would have to be pickled" in caplog.text


FRAME = pd.DataFrame(
    {
        "number": [1, 2, 3],
        "text": ["a", None, "c"],
        "when": pd.to_datetime(["2026-01-01", "2026-01-02", None]),
        "kind": pd.Categorical(["x", "y", "x"]),
    },
    index=pd.Index([10, 20, 30], name="id"),
)


def test_a_frame_comes_back() -> None:
    back = FRAMES.decode(FRAMES.encode(FRAME))
    pd.testing.assert_frame_equal(back, FRAME)
    assert FRAMES.digest(FRAME.copy()) == FRAMES.digest(FRAME)
    assert FRAMES.digest(FRAME.assign(number=0)) != FRAMES.digest(FRAME)
    assert b"creator" not in FRAMES.encode(FRAME)
    with pytest.raises(InvalidArgumentError, match="dict, pandas.DataFrame is declared"):
        FRAMES.digest({"a": [1]})
    with pytest.raises(InvalidArgumentError):
        FRAMES.digest(pd.DataFrame({"a": [object()]}))


def test_a_table_has_one_key_however_it_is_cut() -> None:
    table = pa.table({"x": [1, 2, 3, 4], "y": ["a", None, "c", "d"], "d": [dt.date(2026, 1, 1)] * 4})
    cut = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert TABLES.digest(cut) == TABLES.digest(table)
    assert TABLES.decode(TABLES.encode(table)).equals(table)
    assert TABLES.digest(table.slice(1)) != TABLES.digest(table)
    with pytest.raises(InvalidArgumentError, match="pyarrow.Table is declared"):
        TABLES.digest(FRAME)


@task(cache=True, cache_version="1")
def summary(frame: pd.DataFrame) -> tuple[pd.DataFrame, pa.Table]:
    RUNS.append("summary")
    counts = frame.groupby("kind", observed=True)["number"].sum().to_frame()
    return counts, pa.table({"n": [len(frame)]})


def test_a_task_of_tables(daemon: Daemon) -> None:
    first, second = summary(FRAME), summary(FRAME)
    pd.testing.assert_frame_equal(first[0], second[0])
    assert first[1].equals(second[1])
    assert RUNS == ["summary"]
    assert summary.output_types == {"o0": "opaque(arrow)", "o1": "opaque(arrow)"}
