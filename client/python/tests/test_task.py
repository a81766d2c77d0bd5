"""The decorator against a real daemon: what hits, what misses, and what a declaration says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import pytest
from conftest import Daemon

import memod
from memod import Cache, DeclarationError, FunctionBodyPolicy, task

RUNS: list[object] = []


@pytest.fixture(autouse=True)
def no_runs() -> None:
    RUNS.clear()


@task(cache=True, cache_version="1.0.0", name="hash_string_task",
      cache_serialize=True, cache_ignore_input_vars=("verbose",))
def hash_string_task(original: str, verbose: bool = False) -> str:
    """The task of the Flyte guide."""
    RUNS.append(original)
    return original[::-1]


def test_a_second_call_is_a_hit_with_the_same_value(daemon: Daemon) -> None:
    """Semantics 14, 15 and 25."""
    first = hash_string_task.call("abc")
    assert (first.value, first.status, first.store) == ("cba", "MISS", "POPULATED")
    assert (first.reason, first.reservation, first.problems) == ("never_seen", "RELEASED", ())
    again = hash_string_task.call("abc")
    assert (again.value, again.status, again.store, again.is_hit) == ("cba", "HIT", "SKIPPED", True)
    assert again.key == first.key == hash_string_task.cache_key("abc")
    assert again.provenance is not None and again.provenance.writer_uid >= 0
    assert again.saved_seconds is not None and again.age_seconds is not None
    assert hash_string_task("abc") == "cba"
    assert RUNS == ["abc"]


def test_defaults_are_bound_and_keywords_are_positions(daemon: Daemon) -> None:
    """Semantics 12."""

    @task(cache=True, cache_version="1", name="bound")
    def bound(a: int, /, b: int = 2, *, c: int = 3) -> int:
        RUNS.append((a, b, c))
        return a + b + c

    keys = {
        bound.cache_key(1),
        bound.cache_key(1, 2),
        bound.cache_key(1, b=2),
        bound.cache_key(1, c=3, b=2),
    }
    assert len(keys) == 1
    assert bound.cache_key(1, c=4) not in keys
    assert bound(1) == bound(1, b=2, c=3) == 6
    assert RUNS == [(1, 2, 3)]


def test_ignored_inputs_do_not_count_but_stay_in_the_signature(daemon: Daemon) -> None:
    """Semantics 8."""
    assert hash_string_task("x", verbose=True) == hash_string_task("x", verbose=False)
    assert RUNS == ["x"]
    assert hash_string_task.input_types == {"original": "string", "verbose": "boolean"}


def test_arguments_that_do_not_fit_are_the_functions_own_error(daemon: Daemon) -> None:
    for arguments, keywords in (((), {}), (("a", True, 1), {}), (("a",), {"other": 1}),
                                (("a",), {"original": "b"})):
        with pytest.raises(TypeError):
            hash_string_task(*arguments, **keywords)
        with pytest.raises(TypeError):
            hash_string_task.cache_key(*arguments, **keywords)


def test_what_the_function_raises_is_passed_on_and_nothing_is_stored(own_daemon: Daemon) -> None:
    """Semantics 20."""

    @task(cache=True, cache_version="1", name="fails", cache_serialize=True)
    def fails(x: int) -> int:
        RUNS.append(x)
        raise KeyError(x)

    for _ in range(2):
        with pytest.raises(KeyError):
            fails(1)
    assert RUNS == [1, 1]
    assert own_daemon.client().stats()["entries"] == 0
    assert own_daemon.client().stats()["leases"] == 0


class Parts(NamedTuple):
    quotient: int
    remainder: int


def test_outputs_are_named_as_flyte_names_them(daemon: Daemon) -> None:
    """Semantics 15 and 16."""

    @task(cache=True, cache_version="1", name="named")
    def named(a: int, b: int) -> Parts:
        RUNS.append("named")
        return Parts(*divmod(a, b))

    @task(cache=True, cache_version="1", name="pair")
    def pair(a: int) -> tuple[int, str]:
        RUNS.append("pair")
        return a, str(a)

    @task(cache=True, cache_version="1", name="nothing")
    def nothing(a: int) -> None:
        RUNS.append("nothing")

    assert named.output_types == {"quotient": "integer", "remainder": "integer"}
    assert pair.output_types == {"o0": "integer", "o1": "string"}
    assert nothing.output_types == {}
    for _ in range(2):
        found = named(7, 2)
        assert found == Parts(3, 1) and type(found) is Parts
        assert pair(5) == (5, "5")
        assert nothing(1) is None
    assert RUNS == ["named", "pair", "nothing"]


def test_a_returned_value_of_another_type_is_given_back_and_not_stored(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    @task(cache=True, cache_version="1", name="liar")
    def liar(x: int) -> int:
        return str(x)  # type: ignore[return-value]

    report = liar.call(3)
    assert repr(report.value) == "'3'"
    assert (report.status, report.store) == ("MISS", "PUT_FAILURE")
    assert "output `o0`: is str, int is declared" in caplog.text
    assert liar.call(3).status == "MISS"


def test_a_change_of_version_name_or_type_is_another_call(daemon: Daemon) -> None:
    """Semantics 4, 5 and 7."""

    def declare(version: str, name: str = "versions", **options: str) -> memod.Task[[int], int]:
        @task(cache=True, cache_version=version, name=name, **options)  # type: ignore[call-overload, untyped-decorator]
        def one(x: int) -> int:
            RUNS.append(x)
            return x

        return one  # type: ignore[no-any-return]

    keys = [declare(version).cache_key(1) for version in ("1.0", "1.1", " 1.0 ")]
    assert keys[0] == keys[2] != keys[1]
    others = [declare("1.0", "other"), declare("1.0", project="p"), declare("1.0", domain="d")]
    assert len({keys[0], *(other.cache_key(1) for other in others)}) == 4
    for version in ("1.0", "1.1", "1.0"):
        declare(version)(1)
    assert RUNS == [1, 1]


def test_modes(daemon: Daemon) -> None:
    """Semantics 18 and 23."""

    @task(cache=True, cache_version="1", name="modes")
    def number() -> int:
        RUNS.append("run")
        return len(RUNS)

    assert number.with_options(mode="disabled").call().status == "DISABLED"
    read_only = number.with_options(mode="read-only")
    assert (read_only.call().status, read_only.call().store) == ("MISS", "DISABLED")
    stored = number()
    assert number() == stored == read_only()
    replaced = number.overwrite()
    assert replaced > stored
    assert number() == replaced
    skipped = number.with_options(mode="overwrite").call()
    assert (skipped.status, skipped.store) == ("SKIPPED", "POPULATED")


def test_max_age_computes_again_and_refreshes(daemon: Daemon) -> None:
    """Semantics 19: strictly older misses; zero never expires."""

    @task(cache=True, cache_version="1", name="aged", max_age=timedelta(0))
    def number() -> int:
        RUNS.append("run")
        return len(RUNS)

    assert number() == number() == 1
    brief = number.with_options(max_age=timedelta(milliseconds=1))
    while (report := brief.call()).is_hit:
        pass
    assert report.reason == "expired"
    assert number() == report.value == 2


def test_why_names_what_differs(daemon: Daemon) -> None:
    """Semantics 35."""

    def declare(version: str) -> memod.Task[[int, str], int]:
        @task(cache=True, cache_version=version, name="why")
        def one(threshold: int, text: str) -> int:
            return threshold

        return one

    assert str(declare("1").why(1, "a")) == "it misses: never seen"
    declare("1")(1, "a")
    said = declare("1").why(2, "a")
    assert said.miss is not None and said.miss.reason == "never_seen"
    assert [str(difference) for difference in said.nearest[0].differs] == [
        "input `threshold` differs"
    ]
    assert "cache version 2, stored under 1" in str(declare("2").why(1, "a"))
    assert declare("1").why(1, "a").miss is None
    assert str(declare("1").why(1, "a")) == "it hits"


def test_invalidation(daemon: Daemon) -> None:
    """Semantics 24."""
    assert hash_string_task.invalidate("a") is False
    for text in "abc":
        hash_string_task(text)
    assert hash_string_task.invalidate("a") is True
    assert hash_string_task.call("a").reason == "invalidated"
    assert hash_string_task.invalidate_all() == 3
    assert hash_string_task.invalidate_all(every_version=True) == 0


def test_the_function_body_is_a_version() -> None:
    def declare(salt: str = "") -> memod.Task[[int], int]:
        @task(cache=Cache(policies=FunctionBodyPolicy(), salt=salt), name="body")
        def one(x: int) -> int:
            """Documentation does not count."""
            return x + 1  # nor do comments

        return one

    def declare_again() -> memod.Task[[int], int]:
        @task(
            cache=Cache(policies=[FunctionBodyPolicy()], serialize=True),
            name="body",
        )
        def one(x: int) -> int:

            return (x
                    + 1)

        return one

    def declare_other() -> memod.Task[[int], int]:
        @task(cache=Cache(policies=FunctionBodyPolicy()), name="body")
        def one(x: int) -> int:
            return x + 2

        return one

    same = declare().options.version
    assert declare_again().options.version == same
    assert declare_other().options.version != same
    assert declare("pepper").options.version != same


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache": True}, "needs a cache_version"),
        ({"cache": True, "cache_version": "  "}, "must not be blank"),
        ({"cache_serialize": True}, "cache_serialize needs cache=True"),
        ({"cache_ignore_input_vars": ("x",)}, "cache_ignore_input_vars needs cache=True"),
        ({"cache": Cache()}, "a version or a policy is needed"),
        ({"cache": Cache(policies=[])}, "at least one policy"),
        ({"cache": Cache(version="1"), "cache_version": "1"}, "inside of Cache"),
        ({"cache": Cache(version="1", ignored_inputs="y")}, "no input `y` to ignore"),
        ({"cache": True, "cache_version": "1", "mode": "sometimes"}, "none of enabled"),
        ({"cache": True, "cache_version": "1", "name": "n" * 1025}, "1025 bytes long"),
        ({"cache": True, "cache_version": "1", "max_age": -timedelta(1)}, "less than nothing"),
        ({"cache": True, "cache_version": "1", "max_age": 60}, "a timedelta is wanted"),
        ({"cache": True, "cache_version": "1" * 2000}, "2000 bytes long"),
        ({"cache": True, "cache_version": "1", "project": "\ud800"}, "surrogate"),
    ],
)
def test_a_wrong_declaration_is_an_error_at_once(options: dict[str, object], said: str) -> None:
    """Semantics 7, 8, 21 and 33."""

    def function(x: int) -> int:
        return x

    with pytest.raises(ValueError, match=said) as raised:
        task(**options)(function)  # type: ignore[call-overload]
    assert isinstance(raised.value, ValueError)


def test_a_task_without_cache_is_just_the_function() -> None:
    @task
    def plain(x):  # type: ignore[no-untyped-def]
        return x

    assert plain(3) == 3
    assert plain.call(3).status == "DISABLED"
    with pytest.raises(DeclarationError, match="not cached"):
        plain.cache_key(3)


def test_a_task_looks_like_its_function() -> None:
    assert hash_string_task.__name__ == "hash_string_task"  # type: ignore[attr-defined]
    assert hash_string_task.__doc__ == "The task of the Flyte guide."
    assert repr(hash_string_task) == "<memod task hash_string_task>"


@dataclass
class Account:
    """Does more than take its fields, and keeps one that its constructor does not take."""

    total: float
    tax: float = 0.2
    touched: int = field(init=False, default=7)

    def __post_init__(self) -> None:
        self.total *= 1 + self.tax


@task(cache=True, cache_version="1")
def account_of(total: float) -> Account:
    """What is no longer as it was made."""
    RUNS.append(total)
    made = Account(total)
    made.touched = 99
    return made


@task(cache=True, cache_version="1")
def touched_of(account: Account) -> int:
    """What a field counts that no constructor takes."""
    RUNS.append(account)
    return account.touched


def test_a_dataclass_comes_back_as_it_was_and_not_as_it_is_made(daemon: Daemon) -> None:
    """Semantics 15: a constructor that ran once does not run again on a hit."""
    first = account_of(100.0)
    again = account_of.call(100.0)
    assert (again.is_hit, again.value) == (True, first)
    assert (first.total, again.value.touched) == (120.0, 99)
    other = Account(100.0)
    assert (touched_of(first), touched_of(other), touched_of(again.value)) == (99, 7, 99)
    assert len(RUNS) == 3


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "/etc/x", "a/b", "a\0b"])
def test_a_files_name_leads_nowhere_else(name: str) -> None:
    """Files are restored in a folder of their own."""
    with pytest.raises(DeclarationError, match="a plain name of a file is wanted"):
        memod.FileName(name)
