"""Literals in the one form that their key has: what a run is given and gives back is as from a hit.

**Invariants.** A settled literal has the key and the stored form of the one that it is made of.
What needs no settling is given back as the same object, and so is what cannot be stored. What
stands behind its user's own hash is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from memod._memod import Converter
from memod.errors import MemodError
from memod.flyte import canonical
from memod.flyte.files import packed, unpacked
from memod.flyte.inputs import fill, value_of
from memod.flyte.types import plain_spec
from memod.literals import Spec

Settle = Callable[[Any], Any]
"""From a protocol buffer to the settled one, which is the same if it has that form."""

_ALWAYS = ("datetime", "map")


def input_settling(of: Any, make: Callable[[], Any]) -> Settle | None:
    """How inputs of this type are settled; nothing if they have but one form."""
    return _settled_opaque if plain_spec(of) is None else _settling(of, make)


def output_settling(of: Any, make: Callable[[], Any], *, is_hashed: bool) -> Settle | None:
    """The same of outputs. What memod has no type for is stored as it is, but for maps."""
    spec = plain_spec(of)
    if spec is None or is_hashed:
        return _with_maps_in_order
    # The sign of a zero is stored.
    return _settling(of, make) if _holds(spec, _ALWAYS) else None


def _settling(of: Any, make: Callable[[], Any]) -> Settle | None:
    spec = plain_spec(of)
    if spec is None or not _holds(spec, (*_ALWAYS, "float")):
        return None
    converter, always = Converter(spec), _holds(spec, _ALWAYS)

    def settle(literal: Any) -> Any:
        if literal.hash:
            return literal
        value = value_of(literal, of, spec)
        settled = converter.settled(value)
        if settled is value and not always:
            return literal
        made = make()
        fill(made, settled, of)
        made.metadata.update(literal.metadata)
        return made

    return settle


def _holds(spec: Spec, kinds: tuple[str, ...]) -> bool:
    inner = [part for part in spec[1:] if isinstance(part, tuple)]
    return spec[0] in kinds or any(_holds(part, kinds) for part in inner)


def _settled_opaque(literal: Any) -> Any:
    return _changed(literal, packed_too=True)


def _with_maps_in_order(literal: Any) -> Any:
    return _changed(literal, packed_too=False)


def _changed(literal: Any, *, packed_too: bool) -> Any:
    copy = type(literal)()
    copy.CopyFrom(literal)
    return copy if _change(copy, packed_too) else literal


def _change(literal: Any, packed_too: bool) -> bool:
    """Settles it in place; gives whether it is another one, or holds a map.

    A map has an order where it becomes a dictionary, and not here.
    """
    if packed_too and literal.hash:
        return False
    which = literal.WhichOneof("value")
    if which == "map":
        members = literal.map.literals
        for name in members:
            _change(members[name], packed_too)
        return True
    if which == "collection":
        return any([_change(one, packed_too) for one in literal.collection.literals])
    if which == "scalar" and literal.scalar.WhichOneof("value") == "union":
        return _change(literal.scalar.union.value, packed_too)
    if not packed_too or literal.scalar.binary.tag != "msgpack":
        return False
    # The order of keys does not count there.
    given = unpacked(literal.scalar.binary.value)
    settled = packed(_value(given))
    if settled == packed(given):
        return False
    literal.scalar.binary.value = settled
    return True


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        by_order = sorted((canonical.order_of(key), key) for key in value)
        return {_value(key): _value(value[key]) for _, key in by_order}
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, float):
        return math.nan if math.isnan(value) else value + 0.0
    return value


def settled_or_given(settle: Settle, literal: Any) -> Any:
    """The settled literal, or the same if it cannot be stored."""
    try:
        return settle(literal)
    except (MemodError, ValueError, TypeError):
        return literal
