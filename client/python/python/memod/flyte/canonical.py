"""One encoding for each Flyte literal that is opaque to memod: what is hashed of it.

**Invariants.** Every part carries a tag and a length, so no two different literals have the same
bytes. The order of keys does not count, that of lists does; -0.0 is 0.0 and NaN is one value. The
user's own hash stands in place of what it was given for, at any depth.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any

from memod.errors import InvalidArgumentError
from memod.flyte.files import by_content, rewrite, unpacked

_NAN = struct.pack("<d", math.nan)


def encoded(literal: Any, of: Any) -> bytes:
    """What counts of a literal of this type."""
    copy = type(literal)()
    copy.CopyFrom(literal)
    rewrite(copy, of, by_content, hashed_too=False)
    return _literal(copy)


def order_of(key: Any) -> bytes:
    """By what keys are put in order."""
    return _value(key)


def _literal(literal: Any) -> bytes:
    if literal.hash:
        return _text(b"H", literal.hash)
    which = literal.WhichOneof("value")
    if which == "collection":
        return _many(b"L", (_literal(one) for one in literal.collection.literals))
    if which == "map":
        members = literal.map.literals
        return _pairs((_text(b"s", name), _literal(members[name])) for name in members)
    if which != "scalar":
        raise InvalidArgumentError(f"is a literal of a kind that cannot be hashed: {which}")
    return _scalar(literal.scalar)


def _scalar(scalar: Any) -> bytes:
    which = scalar.WhichOneof("value")
    if which == "none_type":
        return _frame(b"N", b"")
    if which == "primitive":
        return _primitive(scalar.primitive)
    if which == "union":
        of = scalar.union.type
        told = of.structure.tag or of.SerializeToString(deterministic=True).hex()
        return _many(b"U", [_text(b"s", told), _literal(scalar.union.value)])
    if which == "binary":
        binary = scalar.binary
        if binary.tag == "msgpack":
            return _frame(b"M", _value(unpacked(binary.value)))
        return _many(b"B", [_text(b"s", binary.tag), _frame(b"b", binary.value)])
    if which == "generic":
        return _frame(b"G", _generic(scalar.generic))
    if which in ("blob", "schema", "structured_dataset"):
        one = getattr(scalar, which)
        told = type(one)()
        told.CopyFrom(one)
        told.uri = ""
        rest = told.SerializeToString(deterministic=True)
        return _many(b"R", [_text(b"s", which), _text(b"s", one.uri), _frame(b"b", rest)])
    raise InvalidArgumentError(f"is a scalar of a kind that cannot be hashed: {which}")


def _primitive(primitive: Any) -> bytes:
    which = primitive.WhichOneof("value")
    value = getattr(primitive, which or "integer")
    if which in ("datetime", "duration"):
        return _frame(which[:2].encode(), struct.pack("<qi", value.seconds, value.nanos))
    return _value(value)


def _value(value: Any) -> bytes:
    if value is None:
        return _frame(b"N", b"")
    if isinstance(value, bool):
        return _frame(b"t" if value else b"f", b"")
    if isinstance(value, int):
        return _text(b"i", str(value))
    if isinstance(value, float):
        return _frame(b"d", _NAN if math.isnan(value) else struct.pack("<d", value + 0.0))
    if isinstance(value, str):
        return _text(b"s", value)
    if isinstance(value, bytes):
        return _frame(b"b", value)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return _many(b"L", (_value(item) for item in value))
    if isinstance(value, dict):
        return _pairs((_value(key), _value(item)) for key, item in value.items())
    return _extension(value)


def _extension(value: Any) -> bytes:
    """Msgpack's own types: points in time and numbered bytes."""
    import msgpack

    if isinstance(value, msgpack.ExtType):
        return _many(b"X", [_text(b"i", str(value.code)), _frame(b"b", value.data)])
    if isinstance(value, msgpack.Timestamp):
        return _frame(b"T", value.to_bytes())
    raise InvalidArgumentError(f"holds {type(value).__name__}, which cannot be hashed")


def _generic(value: Any) -> bytes:
    return _pairs((_text(b"s", name), _generic_value(value.fields[name])) for name in value.fields)


def _generic_value(value: Any) -> bytes:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _generic(value.struct_value)
    if kind == "list_value":
        return _many(b"L", (_generic_value(item) for item in value.list_value.values))
    return _value(None if kind in (None, "null_value") else getattr(value, kind))


def _pairs(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    return _many(b"D", (key + value for key, value in sorted(pairs)))


def _many(tag: bytes, parts: Iterable[bytes]) -> bytes:
    return _frame(tag, b"".join(_frame(b".", part) for part in parts))


def _text(tag: bytes, text: str) -> bytes:
    return _frame(tag, text.encode("utf-8", "surrogatepass"))


def _frame(tag: bytes, content: bytes) -> bytes:
    return tag + len(content).to_bytes(8, "little") + content
