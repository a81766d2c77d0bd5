"""What cannot be meant is an error where it is said, which names what is wrong (semantics 34)."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import numpy as np
import pytest
from conftest import Daemon

import memod
from memod import Cache, DeclarationError, HashMethod, Pickle, task
from memod.errors import InvalidArgumentError


def text(value: Any) -> str:
    return str(value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"files": "/proc/x"}, "files: /proc/x cannot be made"),
        ({"files": 5}, "files: 5 is no path"),
        ({"socket": "/" + 107 * "x"}, "socket: .* has 108 bytes"),
        ({"socket": ""}, "socket: '' has 0 bytes"),
        ({"project": 5}, "project: a string is wanted, not 5"),
        ({"domain": "\ud800"}, "domain: .* has a lone surrogate"),
        ({"start": "x"}, "start: True or False is wanted, not 'x'"),
    ],
)
def test_configure_names_the_option_that_is_wrong(options: dict[str, Any], said: str) -> None:
    before = memod.client._default
    with pytest.raises(InvalidArgumentError, match=said) as raised:
        memod.configure(**options)
    assert isinstance(raised.value, ValueError)
    assert memod.client._default is before


TRIPLE: Any = (1, 2, 3)
PLAIN: Any = Pickle
HASH: Any = HashMethod


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (Annotated[int, PLAIN], r"input `x`: Pickle .* without parentheses; write Pickle\(\.\.\)"),
        (Annotated[int, HASH], "input `x`: HashMethod .* without parentheses"),
        (Annotated[int, HashMethod(text), HashMethod(text)], "input `x`: more than one HashMethod"),
        (list, r"list does not say of what; write it as in list\[int\]"),
        (dict, r"dict does not say of what; write it as in dict\[str, int\]"),
        (tuple, r"tuple does not say of what; write it as in tuple\[int, str\]"),
        (np.float64, "numpy.float64 is not a type of its own in memod; declare float"),
        (np.int8, "numpy.int8 .* declare int"),
    ],
)
def test_an_annotation_that_cannot_be_meant_is_an_error(annotation: Any, said: str) -> None:
    def function(x: Any) -> None:
        pass

    function.__annotations__["x"] = annotation
    with pytest.raises(DeclarationError, match=said):
        task(cache=True, cache_version="1")(function)


def test_a_hash_of_an_output_is_an_error() -> None:
    def function(x: int) -> Annotated[int, HashMethod(text)]:
        return x

    with pytest.raises(DeclarationError, match="output `o0`: HashMethod stands at inputs"):
        task(cache=True, cache_version="1")(function)


def test_a_hash_method_is_a_function() -> None:
    with pytest.raises(DeclarationError, match=r"HashMethod\(1\): a function is wanted"):
        HashMethod(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_a_name_has_printable_characters(name: str) -> None:
    def function(x: int) -> int:
        return x

    with pytest.raises(DeclarationError, match="name: .* is no name"):
        task(cache=True, cache_version="1", name=name)(function)
    with pytest.raises(DeclarationError, match="name: .* is no name"):
        task(cache=Cache(version="1"), name=name)(function)


def test_task_takes_a_function() -> None:
    with pytest.raises(DeclarationError, match="task: a function is wanted, not 'x'"):
        task("x")  # type: ignore[call-overload]


@task(cache=True, cache_version="1")
def pair(x: int) -> tuple[int, int]:
    return TRIPLE  # type: ignore[no-any-return]


def test_the_length_of_a_tuple_is_told(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    assert pair(1) is TRIPLE
    assert "the function returned tuple of 3, a tuple of 2 is declared" in caplog.text


@task(cache=True, cache_version="1")
def added(a: int, b: int) -> int:
    return a + b


def test_why_says_each_thing_once(daemon: Daemon) -> None:
    for a in range(2):
        added(a, 1)
    told = str(added.why(5, 1)).splitlines()
    assert told == ["it misses: never seen", "input `a` differs"]


@pytest.mark.parametrize("serialize", [False, True])
def test_a_call_without_a_daemon_is_one_warning(
    nobody: memod.Client, caplog: pytest.LogCaptureFixture, serialize: bool
) -> None:
    @task(cache=True, cache_version="1", cache_serialize=serialize)
    def square(x: int) -> int:
        return x * x

    assert square(3) == 9
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 1
