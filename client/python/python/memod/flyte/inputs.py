"""From Flyte's literals to the values of memod's types, and back for outputs.

**Invariants.** What a literal's own hash stands for is replaced by it, at any depth. A literal that
is not of its declared type is refused, not guessed.
"""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Any

from memod._memod import Hashed
from memod.errors import InvalidArgumentError
from memod.flyte import canonical
from memod.flyte.files import local_path
from memod.flyte.types import is_none, kind_of, optional_member, plain_spec
from memod.literals import Spec

_FIELDS = {
    "integer": "integer",
    "float": "float_value",
    "string": "string_value",
    "boolean": "boolean",
    "datetime": "datetime",
    "duration": "duration",
    "choice": "string_value",
}


def value_of(literal: Any, of: Any, spec: Spec) -> Any:
    """The value of a literal of this type, as `spec` converts it."""
    if literal.hash:
        return Hashed(literal.hash)
    kind = spec[0]
    if kind == "opaque":
        return canonical.encoded(literal, of)
    if kind == "list":
        _check(literal.WhichOneof("value") == "collection", of)
        inner = of.collection_type
        return [value_of(one, inner, spec[2]) for one in literal.collection.literals]
    if kind == "map":
        _check(literal.WhichOneof("value") == "map", of)
        members = literal.map.literals
        return {name: value_of(members[name], of.map_value_type, spec[1]) for name in members}
    _check(literal.WhichOneof("value") == "scalar", of)
    scalar = literal.scalar
    which = scalar.WhichOneof("value")
    if kind == "optional":
        if which == "union":
            return _member(scalar.union.value, of, spec)
        return _member(literal, of, spec)
    if kind == "none":
        _check(which == "none_type", of)
        return None
    if kind == "file":
        _check(which == "blob", of)
        return _file(scalar.blob.uri)
    _check(which == "primitive", of)
    return _primitive(scalar.primitive, kind, of)


def left_out(spec: Spec) -> Any:
    """What counts for an input without a literal: its default is None, or it would have one."""
    return None if spec[0] in ("none", "optional") else Hashed("flyte left out")


def _member(literal: Any, of: Any, spec: Spec) -> Any:
    if literal.hash:
        return Hashed(literal.hash)
    if literal.scalar.WhichOneof("value") == "none_type":
        return None
    return value_of(literal, optional_member(of), spec[1])


def _file(reference: str) -> Path | Hashed:
    path = local_path(reference)
    # A file elsewhere counts by its address.
    return Hashed(f"flyte address {reference}") if path is None else path


def _primitive(primitive: Any, kind: str, of: Any) -> Any:
    field = _FIELDS[kind]
    _check(primitive.WhichOneof("value") == field, of)
    value = getattr(primitive, field)
    if kind == "datetime":
        return value.ToDatetime(tzinfo=UTC)
    return value.ToTimedelta() if kind == "duration" else value


def _check(fits: bool, of: Any) -> None:
    if not fits:
        raise InvalidArgumentError(f"is not of its declared type, {kind_of(of)}")


def fill(literal: Any, value: Any, of: Any) -> None:
    """Makes an empty literal one of this value, which came from the cache."""
    kind = kind_of(of)
    if kind == "collection_type":
        literal.collection.SetInParent()
        for item in value:
            fill(literal.collection.literals.add(), item, of.collection_type)
    elif kind == "map_value_type":
        literal.map.SetInParent()
        for name, item in value.items():
            fill(literal.map.literals[name], item, of.map_value_type)
    elif kind == "union_type":
        _fill_union(literal.scalar.union, value, of)
    elif kind == "enum_type":
        literal.scalar.primitive.string_value = value
    elif is_none(of):
        literal.scalar.none_type.SetInParent()
    else:
        spec = plain_spec(of)
        _fill_primitive(literal.scalar.primitive, value, spec[0] if spec else "")


def _fill_union(union: Any, value: Any, of: Any) -> None:
    variants = of.union_type.variants
    chosen = next(one for one in variants if is_none(one) == (value is None))
    union.type.CopyFrom(chosen)
    fill(union.value, value, chosen)


def _fill_primitive(primitive: Any, value: Any, kind: str) -> None:
    if kind == "datetime":
        primitive.datetime.FromDatetime(value)
    elif kind == "duration":
        primitive.duration.FromTimedelta(value)
    else:
        setattr(primitive, _FIELDS[kind], value)


