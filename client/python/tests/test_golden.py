"""Keys and stored bytes are those of every other client (semantics 1 to 13)."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Daemon
from golden import call, check, python_value, type_text, vectors

import memod

VECTORS = vectors()


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_a_call_has_the_golden_key(vector: dict[str, Any]) -> None:
    made = call(vector["call"])
    assert made.inputs == vector["inputs"]
    assert made.signature == vector["signature"]
    assert made.key == vector["key"]


def test_there_are_vectors_for_everything() -> None:
    assert len(VECTORS["vectors"]) > 100
    assert len(VECTORS["blobs"]) > 20


@pytest.mark.parametrize("group", VECTORS["groups"], ids=lambda group: group["name"])
def test_groups_are_equal_or_all_different(group: dict[str, Any]) -> None:
    by_name = {vector["name"]: vector["call"] for vector in VECTORS["vectors"]}
    keys = {call(by_name[name]).key for name in group["of"]}
    assert len(keys) == (1 if group["keys"] == "equal" else len(group["of"]))


def test_outputs_are_stored_as_the_golden_bytes(daemon: Daemon, client: memod.Client) -> None:
    for number, blob in enumerate(VECTORS["blobs"]):
        of = check.parse_type(blob["type"])
        literal = check.read(of, blob["value"])
        by_hand = client.call("blobs", str(number), {}, {"o0": type_text(of)})
        assert client.put(by_hand, {"o0": python_value(literal)}), blob
        found = client.lookup(by_hand)
        assert isinstance(found, memod.Hit)
        output = found.outputs["o0"]
        assert (bytes(output).hex(), output.digest) == (blob["blob"], blob["digest"]), blob
