"""How values of Flyte's types are stored: as memod's own types where there are such.

**Invariants.** A type that has an equal in memod is that one, so that a task has one key and one
stored form in every client. Any other is opaque and named by a digest of everything that tells it
from others, so that changing it is another signature.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from memod import files
from memod.literals import Spec

NONE, BINARY, STRUCT = 0, 7, 9
_SIMPLE: dict[int, Spec] = {
    NONE: ("none",),
    1: ("integer",),
    2: ("float",),
    3: ("string",),
    4: ("boolean",),
    5: ("datetime",),
    6: ("duration",),
}
_PICKLE = "PythonPickle"
_PICKLE_TAG = "FlytePickle"


def kind_of(of: Any) -> str:
    """The name of the alternative that a literal's type is."""
    kind: str = of.WhichOneof("type") or "simple"
    return kind


def plain_spec(of: Any) -> Spec | None:
    """How values are converted, if memod has the type itself."""
    return _spec(of, None)


def input_spec(of: Any) -> Spec:
    """How an input is converted: opaque are those parts of the type that memod does not have."""
    spec = _spec(of, _input)
    return _opaque(of) if spec is None else spec


def opaque_spec(of: Any) -> Spec:
    """How an output is converted that memod does not have the type of: as bytes."""
    return _opaque(of)


def _spec(of: Any, other: Any) -> Spec | None:
    kind = kind_of(of)
    if kind == "simple" and of.simple in _SIMPLE:
        return _SIMPLE[of.simple]
    if kind == "enum_type" and of.enum_type.values and "" not in of.enum_type.values:
        return ("choice", set(of.enum_type.values))
    if kind in ("collection_type", "map_value_type"):
        inner = _spec(getattr(of, kind), other)
        if inner is None:
            return None
        return ("list", "list", inner) if kind == "collection_type" else ("map", inner)
    if kind == "union_type":
        member = optional_member(of)
        inner = None if member is None else _spec(member, other)
        if inner is not None and inner[0] not in ("none", "optional"):
            return ("optional", inner)
    return None if other is None else other(of)


def _input(of: Any) -> Spec:
    if is_file(of):
        return ("file", files.place("input"))
    return _opaque(of)


def is_file(of: Any) -> bool:
    """Whether this is a single file of no format in particular."""
    blob = of.blob
    return kind_of(of) == "blob" and not blob.dimensionality and not blob.format


def optional_member(of: Any) -> Any:
    """The type of what may be absent, if the union is of one type and none."""
    variants = list(of.union_type.variants)
    others = [one for one in variants if not is_none(one)]
    return others[0] if len(variants) == 2 and len(others) == 1 else None


def is_none(of: Any) -> bool:
    """Whether only the absent value is of this type."""
    return kind_of(of) == "simple" and of.simple == NONE


def _opaque(of: Any) -> Spec:
    told = json.dumps(_described(of), sort_keys=True)
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    name = kind_of(of).removesuffix("_type")
    return ("opaque", f"flyte {name} {digest}", bytes, bytes)


def _described(of: Any) -> Any:
    """Everything that tells the type from others; descriptions and schemas of fields do not."""
    kind = kind_of(of)
    if kind == "simple":
        fields = of.structure.dataclass_type
        described = {name: _described(fields[name]) for name in fields}
        metadata = b"" if described else of.metadata.SerializeToString(deterministic=True)
        return [kind, of.simple, of.structure.tag, described, metadata.hex()]
    if kind in ("collection_type", "map_value_type"):
        return [kind, _described(getattr(of, kind))]
    if kind == "union_type":
        members = [[one.structure.tag, _described(one)] for one in of.union_type.variants]
        return [kind, sorted(members, key=json.dumps)]
    if kind == "enum_type":
        return [kind, sorted(of.enum_type.values)]
    return [kind, getattr(of, kind).SerializeToString(deterministic=True).hex()]


def may_hold_files(of: Any) -> bool:
    """Whether values of the type may refer to files."""
    return _any(of, lambda one: kind_of(one) in ("blob", "schema", "structured_dataset_type"))


def may_hold_pickles(of: Any) -> bool:
    """Whether reading a value of the type may run code that stands in it."""
    return _any(of, _is_pickle)


def _is_pickle(of: Any) -> bool:
    if kind_of(of) == "blob":
        return str(of.blob.format).startswith(_PICKLE)
    if kind_of(of) != "simple":
        return False
    # A dictionary without declared fields may be a reference to a pickle.
    is_open = of.simple in (BINARY, STRUCT) and not of.structure.dataclass_type
    return is_open or of.structure.tag == _PICKLE_TAG


def _any(of: Any, is_one: Any) -> bool:
    if is_one(of):
        return True
    kind = kind_of(of)
    if kind in ("collection_type", "map_value_type"):
        return _any(getattr(of, kind), is_one)
    if kind == "union_type":
        return any(_any(one, is_one) for one in of.union_type.variants)
    fields = of.structure.dataclass_type
    return any(_any(fields[name], is_one) for name in fields)
