"""What counts of captured code: which it is, and the values on which it depends.

What a module holds under its own name is known by that name, and a task by its own with the cache
version, whatever they do; any other function, such as a lambda, by its code. The state that code
carries counts, too: what a function captures in its turn, its defaults and attributes, the object
to which a method is bound, the attributes of a class that a function has made.

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
import types
from collections.abc import Callable, Iterator
from typing import Any

from memod._memod import Converter
from memod.errors import DeclarationError, InvalidArgumentError
from memod.literals import Spec, is_named_tuple
from memod.names import is_importable, name_of_code, wrapped_by

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


@dataclasses.dataclass(frozen=True)
class Known:
    """What code is known by, as a leaf."""

    by: str


Leaf = tuple[str, Any]
SpecOf = Callable[[Any, str], Spec]


def is_code(value: Any) -> bool:
    """Whether this is code."""
    return isinstance(value, _CODE) or hasattr(value, "__memod_task__")


def check(value: Any, where: str, task: Any, spec_of: SpecOf) -> None:
    """Raises `DeclarationError` if something cannot be counted behind what the task captures."""
    for path, leaf in _Walk(task, spec_of).leaves(value, where):
        if leaf is not _ABSENT and not isinstance(leaf, Known):
            spec_of(leaf, path)


def digest(value: Any, where: str, task: Any, spec_of: SpecOf) -> str:
    """What stands for the state behind this, as it is now."""
    found = hashlib.sha256()
    for path, leaf in _Walk(task, spec_of).leaves(value, where):
        if leaf is _ABSENT:
            raise DeclarationError(f"{path} has no value yet")
        told = f"is {leaf.by}" if isinstance(leaf, Known) else _told(leaf, path, spec_of)
        part = f"{path.removeprefix(where)} {told}"
        found.update(f"{len(part)}:{part}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def _told(leaf: Any, path: str, spec_of: SpecOf) -> str:
    converter = Converter(spec_of(leaf, path))
    told = f"{converter.type} {converter.digest(leaf)}"
    if converter.settled(leaf) is not leaf:
        raise InvalidArgumentError(
            f"{path} has a form that does not count, and the function sees it; pass it as an "
            "argument"
        )
    return told


def is_fixed(value: Any) -> bool:
    """Whether nothing can change of what counts of this."""
    if isinstance(value, types.FunctionType):
        has_state = value.__closure__ or value.__defaults__ or value.__kwdefaults__
        return not has_state and not vars(value)
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType)
    return isinstance(value, types.ModuleType)


def is_own(value: Any, function: Any) -> bool:
    """Whether this is the task's function itself, or something that wraps it."""
    return any(one is function for one in wrapped_by(value))


class _Walk:
    """Finds what counts, each with the place where it stands."""

    def __init__(self, task: Any, spec_of: SpecOf) -> None:
        self._task = task
        # By identity, with the number of the first visit; each is kept, so that no other can have
        # its own.
        self._seen: dict[int, tuple[Any, int]] = {id(task): (task, 0)}
        self._wrapped = tuple(wrapped_by(task))
        self._spec_of = spec_of

    def leaves(self, value: Any, where: str) -> Iterator[Leaf]:
        """What counts of this, and behind it."""
        if type(value) is tuple:
            yield where, Known(f"a tuple of {len(value)}")
            for index, item in enumerate(value):
                yield from self.leaves(item, f"{where}, its member {index}")
        elif not is_code(value):
            yield where, value
            if type(value).__module__ != "builtins":
                yield from self.leaves(type(value), f"{where}, its class")
        elif id(value) in self._seen:
            yield where, Known(f"number {self._seen[id(value)][1]} of these")
        else:
            self._seen[id(value)] = (value, len(self._seen))
            if (known := self._known_by(value)) is not None:
                yield where, Known(known)
            found = self._of_code(value, where)
            yield from self._plain(value, found) if is_importable(value) else found

    def _known_by(self, value: Any) -> str | None:
        """What tells this code from other code; nothing if what it is made of does, or the task."""
        if hasattr(value, "__memod_task__"):
            return f"task {value.name} {value.options.version}"
        if isinstance(value, types.MethodType) or any(one is value for one in self._wrapped):
            return None
        name = name_of_code(value, self._task)
        if isinstance(value, types.FunctionType) and not is_importable(value):
            return f"{name} {digest_of_code(value.__code__)}"
        return name

    def _plain(self, value: Any, leaves: Iterator[Leaf]) -> Iterator[Leaf]:
        """Of what a module holds, that which can be counted."""
        if isinstance(value, type):
            return
        for path, leaf in leaves:
            try:
                if not isinstance(leaf, Known):
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
        # A function of a module says that it is the module's, and some say nothing.
        if receiver is not None:
            yield from self.leaves(receiver, f"{where}, the object of that method")

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


@functools.lru_cache(maxsize=1024)
def digest_of_code(code: types.CodeType) -> str:
    """A digest of what the code does, wherever it stands."""
    told = (
        *(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        *(code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        *(code.co_code.hex(), code.co_exceptiontable.hex()),
        *(_constant(one) for one in code.co_consts),
    )
    return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return f"code {digest_of_code(value)}"
    if isinstance(value, tuple):
        return f"tuple {[_constant(one) for one in value]}"
    if isinstance(value, frozenset):
        return f"frozenset {sorted(_constant(one) for one in value)}"
    return f"{type(value).__name__} {value!r}"


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
        is_made = value.__code__.co_filename == "<string>" and _is_dunder(name)
        return is_made or made_by in _MAKERS
    if is_code(value):
        return False
    if issubclass(of, enum.Enum) and (isinstance(value, of) or name.startswith("_")):
        return True
    if is_named_tuple(of) and name in ("_fields", "_field_defaults"):
        return True
    return _is_dunder(name) or name == "_abc_impl" or isinstance(value, _BY_THE_LANGUAGE)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
