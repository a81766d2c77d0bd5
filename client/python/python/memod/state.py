"""What stands behind captured code: the values on which functions, methods and classes depend.

Code does not count, but the state that it carries does: what a function captures in its turn, its
defaults and attributes, the object to which a method is bound, the attributes of a class that a
function has made.

**Invariants.** What is one state has one digest in every process. What cannot be counted is an
error, unless a module holds the code under its own name: then it is as fixed as a global variable.
Code that refers to itself is looked at once.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from memod._memod import Converter
from memod.errors import DeclarationError
from memod.literals import Spec

_CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type)
_WRAPPED = (staticmethod, classmethod)
# Their functions are made by the standard library, and hold nothing that a class does not.
_MAKERS = ("dataclasses", "enum", "typing", "collections", "abc", "reprlib")
_BY_THE_LANGUAGE = (
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    type(vars(collections.namedtuple("_Pair", "x"))["x"]),
)
# A variable that has no value yet.
_ABSENT = object()

Leaf = tuple[str, Any]
SpecOf = Callable[[Any, str], Spec]


def is_code(value: Any) -> bool:
    """Whether this is code, of which only the state counts."""
    return isinstance(value, _CODE) or hasattr(value, "__memod_task__")


def has_state(value: Any, where: str, task: Any, spec_of: SpecOf) -> bool:
    """Whether values that count stand behind this code, which the task captures.

    Raises `DeclarationError` if one of them cannot be counted.
    """
    leaves = list(_Walk(task, spec_of).leaves(value, where))
    for path, leaf in leaves:
        if leaf is not _ABSENT:
            spec_of(leaf, path)
    return bool(leaves)


def digest(value: Any, where: str, task: Any, spec_of: SpecOf) -> str:
    """What stands for the state behind this code, as it is now."""
    found = hashlib.sha256()
    for path, leaf in _Walk(task, spec_of).leaves(value, where):
        if leaf is _ABSENT:
            raise DeclarationError(f"{path} has no value yet")
        converter = Converter(spec_of(leaf, path))
        part = f"{path.removeprefix(where)} {converter.type} {converter.digest(leaf)}\n"
        found.update(part.encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def is_importable(value: Any) -> bool:
    """Whether a module holds this under its own name, so that it is no state of any function."""
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    if found is None:
        return False
    for name in value.__qualname__.split("."):
        found = inspect.getattr_static(found, name, None)
        if isinstance(found, _WRAPPED):
            found = found.__func__
    return found is value


class _Walk:
    """Finds the values that count, each with the place where it stands."""

    def __init__(self, task: Any, spec_of: SpecOf) -> None:
        # By identity; each is kept, so that no other can have its own.
        self._seen: dict[int, Any] = {id(task): task}
        self._spec_of = spec_of

    def leaves(self, value: Any, where: str) -> Iterator[Leaf]:
        """The values that count behind this one."""
        if not is_code(value):
            yield where, value
        elif id(value) not in self._seen:
            self._seen[id(value)] = value
            found = self._of_code(value, where)
            yield from self._plain(value, found) if is_importable(value) else found

    def _plain(self, value: Any, leaves: Iterator[Leaf]) -> Iterator[Leaf]:
        """Of what a module holds, that which can be counted."""
        if isinstance(value, type):
            return
        for path, leaf in leaves:
            try:
                self._spec_of(leaf, path)
            except DeclarationError:
                continue
            yield path, leaf

    def _of_code(self, value: Any, where: str) -> Iterator[Leaf]:
        if isinstance(value, type):
            yield from self._of_class(value, where)
        elif isinstance(value, types.FunctionType):
            yield from self._of_function(value, where)
        elif isinstance(value, types.MethodType):
            yield from self.leaves(value.__func__, where)
            yield from self._of_receiver(value.__self__, where)
        elif isinstance(value, types.BuiltinFunctionType):
            yield from self._of_receiver(value.__self__, where)
        elif not isinstance(value, types.ModuleType):
            yield from self.leaves(value.function, where)

    def _of_receiver(self, receiver: Any, where: str) -> Iterator[Leaf]:
        where = f"{where}, the object of that method"
        # A function of a module says that it is the module's, and some say nothing.
        if is_code(receiver):
            yield from self.leaves(receiver, where)
        elif receiver is not None:
            yield where, receiver
            yield from self.leaves(type(receiver), f"{where}, its class")

    def _of_function(self, function: types.FunctionType, where: str) -> Iterator[Leaf]:
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            path = f"{where}, which captures `{name}`"
            try:
                value = cell.cell_contents
            except ValueError:
                yield path, _ABSENT
                continue
            if name != "__class__":
                yield from self.leaves(value, path)
        defaults = function.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        by_name = dict(zip(names, defaults, strict=True)) | (function.__kwdefaults__ or {})
        for name, default in sorted(by_name.items()):
            yield from self.leaves(default, f"{where}, the default of `{name}`")
        for name, value in sorted(vars(function).items()):
            if not _is_dunder(name):
                yield from self.leaves(value, f"{where}, its attribute `{name}`")

    def _of_class(self, of: type, where: str) -> Iterator[Leaf]:
        for base in of.__bases__:
            yield from self.leaves(base, f"{where}, its base `{base.__qualname__}`")
        if issubclass(of, enum.Enum):
            for name, member in of.__members__.items():
                yield from self.leaves(member.value, f"{where}, its member `{name}`")
        for field in dataclasses.fields(of) if dataclasses.is_dataclass(of) else ():
            if field.default_factory is not dataclasses.MISSING:
                path = f"{where}, the default of `{field.name}`"
                yield from self.leaves(field.default_factory, path)
            elif field.default is not dataclasses.MISSING:
                yield from self.leaves(field.default, f"{where}, the default of `{field.name}`")
        if is_named_tuple(of):
            for name, default in of._field_defaults.items():  # type: ignore[attr-defined]
                yield from self.leaves(default, f"{where}, the default of `{name}`")
        for name, value in sorted(vars(of).items()):
            for part in _parts(value):
                if not _is_of_the_language(of, name, part):
                    yield from self.leaves(part, f"{where}, its attribute `{name}`")


def is_named_tuple(of: type) -> bool:
    """Whether this class was made by `NamedTuple` or `namedtuple`."""
    return issubclass(of, tuple) and "_field_defaults" in vars(of)


def _parts(value: Any) -> tuple[Any, ...]:
    if isinstance(value, property):
        return tuple(one for one in (value.fget, value.fset, value.fdel) if one is not None)
    if isinstance(value, functools.cached_property):
        return (value.func,)
    return (value.__func__,) if isinstance(value, _WRAPPED) else (value,)


def _is_of_the_language(of: type, name: str, value: Any) -> bool:
    """Whether this is in a class without standing in its body, or is told of otherwise."""
    if isinstance(value, types.FunctionType):
        made_by = value.__globals__.get("__name__", "")
        return value.__code__.co_filename == "<string>" or made_by in _MAKERS
    if is_code(value):
        return False
    if issubclass(of, enum.Enum) and (isinstance(value, of) or name.startswith("_")):
        return True
    if is_named_tuple(of) and name in ("_fields", "_field_defaults"):
        return True
    return _is_dunder(name) or name == "_abc_impl" or isinstance(value, _BY_THE_LANGUAGE)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
