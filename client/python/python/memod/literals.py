"""From annotations to conversions: how values of a type are stored, decided at the declaration.

A conversion is a nested tuple, from which the extension module makes what converts; its first item
names the kind. What an annotation means is the same in every program and language: `int` is
`integer`, `list[T]` is `list<T>`, a dataclass is a struct of its fields.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import pathlib
import pickle
import types
import typing
from typing import Any

from memod import arrays, files
from memod.errors import DeclarationError, UnsupportedTypeError
from memod.markers import FileName, HashMethod, Pickle, marker

Spec = tuple[Any, ...]

_SIMPLE: dict[Any, Spec] = {
    None: ("none",),
    type(None): ("none",),
    bool: ("boolean",),
    int: ("integer",),
    float: ("float",),
    str: ("string",),
    bytes: ("bytes", "bytes"),
    bytearray: ("bytes", "bytearray"),
    memoryview: ("bytes", "memoryview"),
    datetime.datetime: ("datetime",),
    datetime.date: ("date",),
    datetime.timedelta: ("duration",),
}
_SEQUENCES: dict[Any, str] = {
    list: "list",
    collections.abc.Sequence: "sequence",
    set: "set",
    collections.abc.Set: "either set",
    frozenset: "frozenset",
}
_BARE: dict[Any, str] = {
    list: "list[int]",
    dict: "dict[str, int]",
    tuple: "tuple[int, str] or tuple[int, ...]",
    set: "set[int]",
    frozenset: "frozenset[int]",
}
_MAPS = (dict, collections.abc.Mapping)
_PATHS = (pathlib.Path, pathlib.PosixPath)
# Of a class that was not made by the interpreter itself; see `Py_TPFLAGS_HEAPTYPE`.
_MADE_BY_A_PROGRAM = 1 << 9


class Reader:
    """Reads the annotations of one declaration."""

    def __init__(self, where: str, *, is_output: bool) -> None:
        self.where = where
        self.is_output = is_output
        self.unpickles = False
        """Whether reading a value of the type unpickles."""
        self._open: list[Any] = []

    def read(self, annotation: Any) -> Spec:
        """How values of this type are converted.

        Raises `UnsupportedTypeError` if they cannot be.
        """
        while hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        if annotation in self._open:
            raise self._unsupported(annotation, "contains itself, so its type has no end")
        self._open.append(annotation)
        try:
            return self._read(annotation)
        finally:
            self._open.pop()

    def _read(self, annotation: Any) -> Spec:
        if _is_hashable(annotation) and annotation in _SIMPLE:
            return _SIMPLE[annotation]
        if isinstance(annotation, str | typing.ForwardRef):
            name = annotation if isinstance(annotation, str) else annotation.__forward_arg__
            raise UnsupportedTypeError(
                f"{self.where}: {name!r} within a type is not known here, or is that type itself, "
                "which has no end then"
            )
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self._annotated(arguments[0], arguments[1:])
        if type(annotation).__name__ == "TypeAliasType":
            return self.read(annotation.__value__)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(arguments)
        if origin is typing.Literal:
            return self._choice(annotation, arguments)
        if origin is tuple:
            return self._tuple(annotation, arguments)
        if origin in _SEQUENCES and len(arguments) == 1:
            return ("list", _SEQUENCES[origin], self.read(arguments[0]))
        if origin in _MAPS and len(arguments) == 2:
            return self._map(*arguments)
        if annotation in _PATHS:
            return self._file("output")
        array = arrays.spec_of(annotation)
        if array is not None:
            return array
        if isinstance(annotation, type):
            return self._class(annotation)
        raise self._unsupported(annotation)

    def _annotated(self, inner: Any, metadata: tuple[Any, ...]) -> Spec:
        try:
            pickled, name = marker(metadata, Pickle), marker(metadata, FileName)
            hash_method = marker(metadata, HashMethod)
        except DeclarationError as error:
            raise DeclarationError(f"{self.where}: {error}") from error
        if hash_method is not None and self.is_output:
            raise DeclarationError(
                f"{self.where}: HashMethod stands at inputs; an output is stored by its content"
            )
        if hash_method is not None:
            try:
                spec = self._annotated(inner, tuple(m for m in metadata if m is not hash_method))
            except UnsupportedTypeError:
                return ("hashed", hash_method.function, opaque_text(inner), None)
            from memod._memod import Converter

            return ("hashed", hash_method.function, Converter(spec).type, spec)
        if pickled is not None:
            self.unpickles = True
            protocol = pickled.protocol
            return ("opaque", "pickle", lambda value: pickle.dumps(value, protocol), pickle.loads)
        if name is not None and inner in _PATHS:
            return self._file(name.name)
        return self.read(inner)

    def _file(self, name: str) -> Spec:
        around = [one for one in self._open if one not in _PATHS and not _is_marked(one)]
        if self.is_output and around:
            raise UnsupportedTypeError(
                f"{self.where}: a file within another value would be stored without its content; "
                "return it as an output of its own"
            )
        return ("file", files.place(name))

    def _union(self, members: tuple[Any, ...]) -> Spec:
        others = [member for member in members if member is not type(None)]
        if len(others) == len(members):
            return ("union", tuple(self.read(member) for member in members))
        inner = self.read(others[0]) if len(others) == 1 else self._union(tuple(others))
        return ("optional", inner)

    def _choice(self, annotation: Any, values: tuple[Any, ...]) -> Spec:
        if all(isinstance(value, str) for value in values):
            return ("choice", set(values))
        raise self._unsupported(annotation, "may hold strings only")

    def _tuple(self, annotation: Any, members: tuple[Any, ...]) -> Spec:
        if len(members) == 2 and members[1] is Ellipsis:
            return ("list", "tuple", self.read(members[0]))
        if not members:
            raise self._unsupported(annotation, "has no members")
        fields = tuple((str(index), self.read(member)) for index, member in enumerate(members))
        return ("struct", "positions", None, fields)

    def _map(self, key: Any, value: Any) -> Spec:
        if key is str:
            return ("map", self.read(value))
        return ("pairs", self.read(key), self.read(value))

    def _class(self, of: type) -> Spec:
        if of in _BARE:
            raise UnsupportedTypeError(
                f"{self.where}: {of.__name__} does not say of what; write it as in {_BARE[of]}"
            )
        plain = arrays.plain_scalar(of)
        if plain is not None:
            raise UnsupportedTypeError(
                f"{self.where}: {name_of(of)} is not a type of its own in memod; declare {plain}, "
                "which takes its values, too"
            )
        if issubclass(of, enum.Flag):
            raise self._unsupported(of, "may be several of its members at once")
        if issubclass(of, enum.Enum):
            return ("enum", of, {member.name: member for member in of})
        if dataclasses.is_dataclass(of):
            return self._fields(of, self._dataclass_fields(of), "attributes")
        if is_named_tuple(of):
            return self._fields(of, list(of._fields), "attributes")  # type: ignore[attr-defined]
        if typing.is_typeddict(of):
            optional: frozenset[str] = getattr(of, "__optional_keys__", frozenset())
            if optional:
                raise self._unsupported(of, f"may lack the key {min(optional)!r}")
            return self._fields(of, list(of.__annotations__), "items")
        raise self._unsupported(of)

    def _dataclass_fields(self, of: Any) -> list[str]:
        fields = {field.name: field for field in dataclasses.fields(of)}
        if lost := sorted(set(of.__dataclass_fields__) - set(fields) - _class_variables(of)):
            raise self._unsupported(of, f"has an InitVar, {lost[0]}, which is not kept")
        for base in of.__mro__:
            hidden = sorted(set(_slots(base)) - set(fields))
            if hidden:
                raise self._unsupported(of, f"has a slot, {hidden[0]}, that is no field")
            if base is not object and not base.__flags__ & _MADE_BY_A_PROGRAM:
                if not issubclass(base, BaseException):
                    because = f"derives from {base.__name__}, whose content would be lost"
                    raise self._unsupported(of, because)
        # Those that the constructor does not take, too: they may have been changed since.
        return list(fields)

    def _fields(self, of: type, names: list[str], shape: str) -> Spec:
        hints = hints_of(of, self.where)
        fields = tuple((name, self.read(hints[name])) for name in names)
        return ("struct", shape, of, fields)

    def _unsupported(self, annotation: Any, because: str = "") -> UnsupportedTypeError:
        name = name_of(annotation)
        if because:
            return UnsupportedTypeError(f"{self.where}: {name} {because}")
        return UnsupportedTypeError(
            f"{self.where}: {name} is no type that memod can store; choose another, or opt in to "
            f"pickle with Annotated[{name}, memod.Pickle()]"
        )


def hints_of(of: Any, where: str) -> dict[str, Any]:
    """The annotations of a function or class, evaluated."""
    try:
        return typing.get_type_hints(of, include_extras=True)
    except Exception as error:
        raise UnsupportedTypeError(f"{where}: an annotation cannot be read: {error}") from error


def is_named_tuple(of: Any) -> bool:
    """Whether this is a class made by `NamedTuple` or `namedtuple`."""
    return isinstance(of, type) and issubclass(of, tuple) and hasattr(of, "_fields")


def name_of(annotation: Any) -> str:
    """A type's name for people."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        module, name = annotation.__module__, annotation.__qualname__
        return name if module in ("builtins", "__main__") else f"{module}.{name}"
    return str(annotation).removeprefix("typing.")


def opaque_text(annotation: Any) -> str:
    """The type of a value of which nothing but its Python type is known."""
    name = name_of(annotation).replace("\\", "\\\\").replace('"', '\\"')
    return f'opaque("python {name}")'


def _is_hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _class_variables(of: Any) -> set[str]:
    hints = typing.get_type_hints(of)
    return {name for name, hint in hints.items() if typing.get_origin(hint) is typing.ClassVar}


def _slots(of: type) -> tuple[str, ...]:
    slots = vars(of).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _is_marked(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Annotated
