"""What counts of Flyte's literals that are opaque to memod (semantics 1 and 9 to 11)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from flyteidl.core.literals_pb2 import Literal
from flyteidl.core.types_pb2 import LiteralType, SimpleType

from memod.flyte.canonical import encoded
from memod.flyte.files import local_path
from memod.flyte.types import input_spec, may_hold_pickles, plain_spec

STRUCT = LiteralType(simple=SimpleType.STRUCT)


def packed(value: Any) -> bytes:
    """What counts of a value that is packed."""
    literal = Literal()
    literal.scalar.binary.tag = "msgpack"
    literal.scalar.binary.value = msgpack.packb(value)
    return encoded(literal, STRUCT)


def generic(value: dict[str, Any]) -> bytes:
    """The same for the older form."""
    literal = Literal()
    literal.scalar.generic.update(value)
    return encoded(literal, STRUCT)


DIFFERENT: list[Any] = [
    *(1, 1.0, "1", b"1", True, None, [], {}, "", b""),
    *([[1], [2]], [[1, 2]], [1, [2]], [[]], {"a": [], "b": [1]}, {"ab": [1]}),
    *(["a", "bc"], ["ab", "c"], [2, 1], [1, 2], 2**53, 2**53 + 1, math.nan, math.inf),
    *(msgpack.ExtType(1, b"x"), msgpack.ExtType(2, b"x"), msgpack.Timestamp(1, 2)),
]


def test_different_values_count_differently() -> None:
    found = [packed(value) for value in DIFFERENT]
    assert len(set(found)) == len(DIFFERENT)


def test_equal_values_count_alike() -> None:
    assert packed({"a": 1, "b": {"c": 2, "d": 3}}) == packed({"b": {"d": 3, "c": 2}, "a": 1})
    assert packed(-0.0) == packed(0.0)
    assert packed(-math.nan) == packed(math.nan)
    assert generic({"a": 1, "b": ["x", {}]}) == generic({"b": ["x", {}], "a": 1})
    assert generic({"a": [[1], [2]]}) != generic({"a": [[1, 2]]})


def of_parts(*parts: Callable[[Any], None]) -> bytes:
    """What counts of a list whose members these functions fill in."""
    of, literal = LiteralType(), Literal()
    of.collection_type.simple = SimpleType.STRUCT
    literal.collection.SetInParent()
    for part in parts:
        part(literal.collection.literals.add())
    return encoded(literal, of)


def text(value: str, user_hash: str = "") -> Callable[[Any], None]:
    """Fills in a string, and its user's own hash."""

    def fill(literal: Any) -> None:
        literal.scalar.primitive.string_value = value
        literal.hash = user_hash

    return fill


def test_a_hash_stands_for_the_value_at_any_depth() -> None:
    assert of_parts(text("1", "h"), text("x")) == of_parts(text("2", "h"), text("x"))
    assert of_parts(text("1", "h"), text("x")) != of_parts(text("1", "h"), text("y"))
    assert of_parts(text("h", "")) != of_parts(text("1", "h")), "a hash is not that text"
    assert of_parts(text("", "a"), text("", "bc")) != of_parts(text("", "ab"), text("", "c"))


def test_types_that_memod_has_are_memods_own() -> None:
    of = LiteralType()
    of.map_value_type.collection_type.simple = SimpleType.INTEGER
    assert plain_spec(of) == ("map", ("list", "list", ("integer",)))
    of.map_value_type.collection_type.simple = SimpleType.STRUCT
    assert plain_spec(of) is None
    assert input_spec(of)[1][2][0] == "opaque", "only the part that memod does not have"


def dataclass_type(**fields: int) -> Any:
    """The type of a dataclass with simple fields."""
    of = LiteralType(simple=SimpleType.STRUCT)
    for name, kind in fields.items():
        of.structure.dataclass_type[name].simple = kind
    return of


def test_an_opaque_type_is_another_when_a_field_is() -> None:
    """Semantics 5; descriptions do not count."""
    one = dataclass_type(a=SimpleType.INTEGER, b=SimpleType.STRING)
    described = dataclass_type(b=SimpleType.STRING, a=SimpleType.INTEGER)
    described.metadata.update({"title": "A dataclass", "description": "says what it is"})
    assert input_spec(one)[1] == input_spec(described)[1]
    others = [
        dataclass_type(a=SimpleType.INTEGER),
        dataclass_type(a=SimpleType.FLOAT, b=SimpleType.STRING),
        dataclass_type(a=SimpleType.INTEGER, c=SimpleType.STRING),
        STRUCT,
    ]
    assert len({input_spec(of)[1] for of in [one, *others]}) == 5


def test_what_may_be_a_pickle_is_told() -> None:
    of = LiteralType()
    of.collection_type.blob.format = "PythonPickle"
    assert may_hold_pickles(of)
    assert may_hold_pickles(STRUCT), "a dictionary without declared fields may refer to one"
    assert not may_hold_pickles(dataclass_type(a=SimpleType.INTEGER))


@pytest.mark.parametrize(
    ("reference", "is_here"),
    [("/a/b", True), ("a", True), ("file:///a", True), ("s3://a/b", False), ("https://a", False)],
)
def test_what_is_on_this_machine(reference: str, is_here: bool) -> None:
    assert (local_path(reference) is not None) is is_here
