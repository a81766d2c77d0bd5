"""flytekit's local execution with the plug-in: what flytekit promises of its cache, kept by memod.

flytekit's own tests of its local cache are no part of what it releases. The behaviours that they
show are shown here anew; each test says which (`published:` and the name there).
"""

from __future__ import annotations

import datetime
import enum
import logging
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from conftest import Daemon
from flyte_programs import RUNS, flytekit, pandas

import memod
from memod.flyte.flytekit import EXECUTION, memo_of

pytestmark = pytest.mark.filterwarnings("ignore")
HashMethod = flytekit.HashMethod


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No runs, and a cache of flytekit's own in a place of the test's."""
    RUNS.clear()
    cache = flytekit.core.local_cache
    monkeypatch.setattr(cache, "CACHE_LOCATION", str(tmp_path / "own-cache"))
    monkeypatch.setattr(cache.LocalTaskCache, "_initialized", False)
    for name in ("MEMOD_FLYTE", "FLYTE_LOCAL_CACHE_ENABLED", "FLYTE_LOCAL_CACHE_OVERWRITE"):
        monkeypatch.delenv(name, raising=False)


@flytekit.task(cache=True, cache_version="1")
def is_even(n: int) -> bool:
    RUNS.append(n)
    return n % 2 == 0


def test_a_task_runs_once_for_each_input(daemon: Daemon) -> None:
    """Published: single_task_workflow, shared_tasks_in_two_separate_workflows."""

    @flytekit.workflow
    def one(n: int) -> bool:
        return is_even(n=n)

    @flytekit.workflow
    def other(n: int) -> bool:
        return is_even(n=n)

    assert [one(n=1), one(n=1), other(n=1), one(n=8), other(n=8)] == [False] * 3 + [True] * 2
    assert RUNS == [1, 8]


def test_flytekits_own_cache_is_not_even_made(daemon: Daemon, tmp_path: Path) -> None:
    assert is_even(n=1) is False
    flytekit.core.local_cache.LocalTaskCache.clear()
    assert not (tmp_path / "own-cache").exists()


def test_off_with_one_variable(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_even(n=2)
    monkeypatch.setenv("MEMOD_FLYTE", "off")
    before = daemon.client().stats()
    assert (is_even(n=2), is_even(n=2)) == (True, True)
    assert RUNS == [2, 2], "flytekit's own cache knows nothing of memod's entry, and keeps its own"
    assert (tmp_path / "own-cache").exists()
    after = daemon.client().stats()
    assert [before[name] for name in ("hits", "misses", "puts")] == [
        after[name] for name in ("hits", "misses", "puts")
    ]


def test_disabled_by_flytekits_variable(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published: cache_can_be_disabled."""
    monkeypatch.setenv("FLYTE_LOCAL_CACHE_ENABLED", "false")
    assert (is_even(n=1), is_even(n=1)) == (False, False)
    assert RUNS == [1, 1]
    monkeypatch.setenv("FLYTE_LOCAL_CACHE_ENABLED", "true")
    is_even(n=1)
    assert RUNS == [1, 1, 1], "what ran while it was disabled is not stored"


def test_overwritten_by_flytekits_variable(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published: cache_can_be_overwrited. Semantics 18."""

    def declared(answer: int) -> Any:
        @flytekit.task(cache=True, cache_version="1")
        def answers(n: int) -> int:
            RUNS.append(answer)
            if answer < 0:
                raise ValueError("no answer")
            return answer

        return answers

    assert (declared(1)(n=0), declared(2)(n=0)) == (1, 1)
    monkeypatch.setenv("FLYTE_LOCAL_CACHE_OVERWRITE", "true")
    assert declared(3)(n=0) == 3
    with pytest.raises(ValueError, match="no answer"):
        declared(-1)(n=0)
    monkeypatch.setenv("FLYTE_LOCAL_CACHE_OVERWRITE", "false")
    assert declared(4)(n=0) == 3
    assert RUNS == [1, 3, -1]


@pytest.mark.parametrize("mode", ["disabled", "read-only"])
def test_flytekits_overwriting_does_not_write_where_memod_may_not(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, mode: memod.Mode
) -> None:
    memod.configure(client=daemon.client(mode=mode))
    monkeypatch.setenv("FLYTE_LOCAL_CACHE_OVERWRITE", "true")
    is_even(n=6)
    memod.configure(client=daemon.client())
    monkeypatch.setenv("FLYTE_LOCAL_CACHE_OVERWRITE", "false")
    is_even(n=6)
    assert RUNS == [6, 6]


def test_what_is_cleared_is_what_flytekit_stored(daemon: Daemon) -> None:
    client = daemon.client()
    call = client.call("by hand", "1", {"n": ("integer", 1)}, {"o0": "boolean"})
    client.put(call, {"o0": True})
    is_even(n=1)
    flytekit.core.local_cache.LocalTaskCache.clear()
    is_even(n=1)
    assert RUNS == [1, 1]
    assert client.lookup(call), "what others stored stays"


def test_pyflyte_clears(daemon: Daemon) -> None:
    from click.testing import CliRunner
    from flytekit.clis.sdk_in_container.pyflyte import main

    is_even(n=3)
    ended = CliRunner().invoke(main, ["local-cache", "clear"])
    assert ended.exit_code == 0, ended.output
    is_even(n=3)
    assert RUNS == [3, 3]


def test_ignored_inputs_do_not_count(daemon: Daemon) -> None:
    """Published: cache_ignore_input_vars. Semantics 8."""

    @flytekit.task(cache=True, cache_version="1", cache_ignore_input_vars=("a",))
    def add(a: int, b: int) -> int:
        return a + b

    assert [add(a=10, b=5), add(a=20, b=5), add(a=20, b=8)] == [15, 15, 28]


def test_a_default_that_is_left_out_counts(daemon: Daemon) -> None:
    """Semantics 12."""

    @flytekit.task(cache=True, cache_version="1")
    def padded(n: int, width: int = 3, fill: str | None = None) -> str:
        RUNS.append(n)
        return str(n).rjust(width, fill or ".")

    found = [padded(n=1), padded(n=1, width=3), padded(n=1, width=3, fill=None)]
    assert (found, RUNS) == (["..1"] * 3, [1])
    assert padded(n=1, width=2) == ".1"

    def wider(n: int, width: int = 4, fill: str | None = None) -> str:
        return str(n).rjust(width, fill or ".")

    wider.__name__, wider.__qualname__ = "padded", padded.task_function.__qualname__
    other = flytekit.task(cache=True, cache_version="1")(wider)
    assert (other.name, other(n=1)) == (padded.name, "...1"), "another default is another input"


def test_an_upstream_hash_counts_in_place_of_the_value(daemon: Daemon) -> None:
    """Published: set_integer_literal_hash_is_cached, pd_dataframe_hash,
    list_of_pd_dataframe_hash, pass_annotated_to_downstream_tasks. Semantics 9."""

    @flytekit.task
    def made(n: int) -> Annotated[int, HashMethod(lambda n: "same")]:
        return n

    @flytekit.task
    def many(n: int) -> typing.List[Annotated[int, HashMethod(lambda n: "same")]]:
        return [n, n + 1]

    @flytekit.task(cache=True, cache_version="1")
    def kept(n: int) -> int:
        return n

    @flytekit.task(cache=True, cache_version="1")
    def total(numbers: typing.List[int]) -> int:
        return sum(numbers)

    @flytekit.workflow
    def flow(n: int) -> tuple[int, int]:
        return kept(n=made(n=n)), total(numbers=many(n=n))

    assert tuple(flow(n=3)) == (3, 7)
    assert tuple(flow(n=5)) == (3, 7)
    assert kept(n=5) == 5, "without its hash it is another input"


def test_a_cached_output_keeps_its_hash(daemon: Daemon) -> None:
    @flytekit.task(cache=True, cache_version="1")
    def made(n: int) -> Annotated[int, HashMethod(lambda n: f"of {n % 10}")]:
        RUNS.append("made")
        return n

    @flytekit.task(cache=True, cache_version="1")
    def used(n: int) -> int:
        RUNS.append("used")
        return n

    @flytekit.workflow
    def flow(n: int) -> int:
        return used(n=made(n=n))

    assert [flow(n=1), flow(n=1), flow(n=11)] == [1, 1, 1]
    assert RUNS == ["made", "used", "made"]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    name: str
    more: typing.Dict[str, float]


VALUES: list[tuple[Any, Any]] = [
    (int, 2**53 + 1),
    (float, -0.5),
    (str, "ä"),
    (bool, True),
    (datetime.datetime, datetime.datetime(2020, 1, 2, 3, 4, 5, 6, datetime.UTC)),
    (datetime.timedelta, datetime.timedelta(days=-1, microseconds=1)),
    (Colour, Colour.BLUE),
    (typing.Optional[int], None),
    (typing.Optional[int], 3),
    (typing.Union[int, str], "3"),
    (typing.Union[int, str], 3),
    (typing.List[int], []),
    (typing.List[typing.Dict[str, float]], [{"a": 1.5}, {}]),
    (typing.Dict[str, typing.List[str]], {"b": ["1"], "a": []}),
    (typing.Optional[typing.List[Colour]], [Colour.RED]),
    (Point, Point(1, "p", {"k": 0.5})),
    (typing.List[Point], [Point(1, "p", {})]),
    (dict, {"b": [1, 2.5, None], "a": {"c": True}}),
]


@pytest.mark.parametrize(("of", "value"), VALUES)
def test_values_of_every_type_come_back(
    daemon: Daemon, caplog: pytest.LogCaptureFixture, of: Any, value: Any
) -> None:
    """Published: wf_custom_types, dict_wf_with_constants. Semantics 15."""

    def same(it: of) -> of:
        RUNS.append(it)
        return it

    same.__annotations__ = {"it": of, "return": of}
    task = flytekit.task(cache=True, cache_version="1")(same)
    first, second = task(it=value), task(it=value)
    assert (first, second, len(RUNS)) == (value, value, 1)
    assert type(second) is type(first)
    assert [record for record in caplog.records if record.name == "memod"] == []


class Both(typing.NamedTuple):
    """Two outputs by name."""

    total: int
    text: str


def test_named_outputs_and_none(daemon: Daemon) -> None:
    """Semantics 16."""

    @flytekit.task(cache=True, cache_version="1")
    def two(n: int) -> Both:
        RUNS.append("two")
        return Both(n, str(n))

    @flytekit.task(cache=True, cache_version="1")
    def nothing(n: int) -> None:
        RUNS.append("nothing")

    assert [tuple(two(n=1)), tuple(two(n=1))] == [(1, "1")] * 2
    nothing(n=1)
    nothing(n=1)
    assert RUNS == ["two", "nothing"]


def declare(body: Callable[..., Any], name: str, version: str = "1") -> str:
    """The key of a task of this name when it is called with n = 1."""
    body.__name__ = body.__qualname__ = name
    return key_of(flytekit.task(cache=True, cache_version=version)(body), n=1)


def key_of(task: Any, **values: Any) -> str:
    """The key of a call of the task."""
    plan, client = memo_of(task).plan, memod.default_client()
    call = plan.call(client.raw, (), values)
    assert call is not None
    return call.key


def test_signature_version_and_scope_count(daemon: Daemon) -> None:
    """Semantics 4 to 7. flytekit's own key has neither the signature nor the scope."""

    def plain(n: int) -> int:
        return n

    def documented(n: int) -> int:
        """Says what it does."""
        return n * 2

    def other_output(n: int) -> str:
        return str(n)

    def more(n: int, m: int = 0) -> int:
        return n

    key = declare(plain, "f")
    assert declare(documented, "f") == key
    more.__name__ = more.__qualname__ = "f"
    keys = {
        key,
        declare(plain, "g"),
        declare(other_output, "f"),
        declare(plain, "f", "1.1"),
        key_of(flytekit.task(cache=True, cache_version="1")(more), n=1, m=0),
    }
    memod.configure(client=daemon.client(domain="elsewhere"))
    keys.add(declare(plain, "f"))
    assert len(keys) == 6


def test_one_key_and_one_value_with_every_other_client(daemon: Daemon) -> None:
    @flytekit.task(cache=True, cache_version="1")
    def shared(n: int, names: typing.List[str], at: typing.Optional[float]) -> str:
        RUNS.append(n)
        return f"{n} {names} {at}"

    client = daemon.client()
    inputs = {
        "n": ("integer", 1),
        "names": ("list<string>", ["a"]),
        "at": ("optional<float>", None),
    }
    call = client.call(shared.name, "1", inputs, {"o0": "string"})
    client.put(call, {"o0": "from elsewhere"})
    assert shared(n=1, names=["a"], at=None) == "from elsewhere"
    assert shared(n=2, names=["a"], at=None) == "2 ['a'] None"
    inputs["n"] = ("integer", 2)
    found = client.lookup(client.call(shared.name, "1", inputs, {"o0": "string"}))
    assert isinstance(found, memod.Hit)
    assert found.outputs["o0"].value() == "2 ['a'] None"
    assert found.provenance.execution == EXECUTION
    assert RUNS == [2]


@pytest.mark.parametrize(("project", "domain"), [("theirs", "local"), ("local", "staging")])
def test_project_and_domain_of_the_execution_count(
    daemon: Daemon, project: str, domain: str
) -> None:
    """Semantics 4."""
    from flytekit.core.context_manager import FlyteContextManager
    from flytekit.models.core.identifier import WorkflowExecutionIdentifier

    is_even(n=1)
    ctx = FlyteContextManager.current_context()
    named = WorkflowExecutionIdentifier(project=project, domain=domain, name="x")
    state = ctx.new_execution_state()
    parameters = ctx.user_space_params.builder()
    parameters.execution_id = named
    state = state.with_params(user_space_params=parameters.build())
    with FlyteContextManager.with_context(ctx.with_execution_state(state)):
        is_even(n=1)
    assert RUNS == [1, 1]


def test_a_frame_counts_by_its_content(daemon: Daemon) -> None:
    """Published: wf_schema_to_df, sql_task. flytekit's own cache counts where the frame lies."""

    @flytekit.task(cache=True, cache_version="1")
    def doubled(frame: pandas.DataFrame) -> pandas.DataFrame:
        RUNS.append(len(frame))
        return frame * 2

    frames = [pandas.DataFrame({"x": [1, 2]}) for _ in range(2)]
    assert [list(doubled(frame=frame)["x"]) for frame in frames] == [[2, 4]] * 2
    assert RUNS == [2]
    assert list(doubled(frame=pandas.DataFrame({"x": [1, 3]}))["x"]) == [2, 6]


def test_without_a_daemon_tasks_run_with_a_warning(
    nobody: memod.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Semantics 34."""
    assert [is_even(n=n) for n in range(6)] == [True, False] * 3
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "is run, and not cached: no daemon answers" in warnings[0].getMessage()


def test_a_value_that_cannot_be_stored_is_a_warning(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    """flytekit's own cache raises here."""

    @flytekit.task(cache=True, cache_version="1")
    def huge(n: int) -> int:
        return n * 2**60

    assert huge(n=16) == 2**64
    assert "task" in caplog.text and "is run, and not cached" in caplog.text


def test_a_call_past_the_hooks_goes_to_flytekits_own_cache(daemon: Daemon) -> None:
    """Published: cache_old_version_of_literal_map, which asks the cache outside of any task."""
    from flytekit.models.literals import Literal, LiteralMap, Primitive, Scalar

    cache = flytekit.core.local_cache.LocalTaskCache
    one = Literal(scalar=Scalar(primitive=Primitive(integer=1)))
    inputs, outputs = LiteralMap({}), LiteralMap({"o0": one})
    cache.set("by hand", "1", inputs, (), outputs)
    found = cache.get("by hand", "1", inputs, ())
    assert found.literals["o0"].scalar.primitive.integer == 1
    client = daemon.client()
    assert not client.lookup(client.call("by hand", "1", {}, {"o0": "integer"}))
