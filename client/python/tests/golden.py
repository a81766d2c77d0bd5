"""The golden vectors of the protocol, as Python values."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

from conftest import ROOT

import memod

FOLDER = ROOT / "protocol" / "tests" / "golden"


def vectors() -> dict[str, Any]:
    """The file of vectors."""
    found: dict[str, Any] = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
    return found


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("check", FOLDER / "check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check = _load()
"""The independent implementation, which reads types and values from JSON."""


def type_text(of: tuple[Any, ...]) -> str:
    """A type, as text."""
    kind = of[0]
    if kind in ("list", "map", "optional"):
        return f"{kind}<{type_text(of[1])}>"
    if kind == "struct":
        fields = (f"{quoted(name)}:{type_text(inner)}" for name, inner in of[1])
        return "struct{" + ",".join(fields) + "}"
    if kind == "enum":
        return "enum(" + "|".join(quoted(name) for name in of[1]) + ")"
    if kind == "union":
        return "union<" + "|".join(type_text(member) for member in of[1]) + ">"
    if kind == "opaque":
        return f"opaque({quoted(of[1])})"
    return str(kind)


def quoted(name: str) -> str:
    """A name in a type's text."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def python_value(literal: tuple[Any, ...]) -> Any:
    """What a call by hand is given for a value."""
    kind = literal[0]
    if kind == "none":
        return None
    if kind == "hashed":
        inner = () if literal[2] is None else (python_value(literal[2]),)
        return memod.Hashed(literal[1], *inner)
    if kind == "list":
        return [python_value(item) for item in literal[1]]
    if kind in ("map", "struct"):
        return {name: python_value(item) for name, item in literal[1].items()}
    if kind == "file":
        return literal[2].hex(), literal[1]
    return literal[-1]


def call(given: dict[str, Any]) -> memod.Call:
    """The call of a vector."""
    inputs: dict[str, Any] = {}
    for name, one in given.get("inputs", {}).items():
        of, literal = check.read_input(one)
        text = type_text(of)
        inputs[name] = text if literal is None else (text, python_value(literal))
    outputs = given.get("outputs", {})
    return memod.Call(
        given["task"],
        given["cache_version"],
        inputs,
        outputs,
        project=given["project"],
        domain=given["domain"],
        ignored=set(given.get("ignore", [])),
    )
