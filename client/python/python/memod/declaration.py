"""From a function to what the extension module needs: parameters, outputs, and a name.

What is wrong with the function is an error here, when the task is declared.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from memod import state
from memod._memod import Converter
from memod.errors import DeclarationError, UnsupportedTypeError
from memod.literals import Reader, Spec, hints_of, is_named_tuple, opaque_text
from memod.names import is_importable, name_of_code

_KINDS: dict[Any, str] = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "either",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
}

_FUNCTOOLS_CACHE = type(functools.lru_cache(lambda: None))
# Attributes by which a function tells another signature than its own.
_TOLD = frozenset(("__wrapped__", "__signature__"))


class Declaration:
    """What is declared: how arguments become inputs, and what is returned outputs."""

    def __init__(self, function: Callable[..., Any], ignored: tuple[str, ...]) -> None:
        self.function = function
        self.where = where_of(function)
        self.unpickles = False
        """Whether a hit unpickles."""
        self._ignored = ignored
        self._hints = hints_of(function, self.where)
        self._signature = inspect.signature(function)
        if unknown := sorted(set(ignored) - set(self._signature.parameters)):
            raise DeclarationError(f"{self.where}: there is no input `{unknown[0]}` to ignore")
        self.parameters = self._parameters() + self._captured()
        self.outputs = self._outputs()

    def _parameters(self) -> list[Spec]:
        found: list[Spec] = []
        for position, parameter in enumerate(self._signature.parameters.values()):
            name, kind = parameter.name, _KINDS.get(parameter.kind)
            if kind is None:
                star = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else "**"
                raise DeclarationError(
                    f"{self.where}: {star}{name} gives inputs no names and types of their own"
                )
            default = () if parameter.default is inspect.Parameter.empty else (parameter.default,)
            if position == 0 and name not in self._hints and self._is_method(name):
                spec = None if name in self._ignored else receiver_spec(name, self.function)
                found.append((name, kind, default, None, spec))
                continue
            of, spec = self._input(name)
            if spec is not None and default:
                self._check_default(name, spec, default[0])
            found.append((name, kind, default, of, spec))
        return found

    def _input(self, name: str) -> tuple[str | None, Spec | None]:
        where = f"{self.where}, input `{name}`"
        if name not in self._hints:
            raise UnsupportedTypeError(f"{where}: an annotation is needed")
        annotation = self._hints[name]
        reader = Reader(where, is_output=False)
        if name not in self._ignored:
            return None, reader.read(annotation)
        # What is ignored stays in the signature, with whatever type it has.
        try:
            return Converter(reader.read(annotation)).type, None
        except UnsupportedTypeError:
            return opaque_text(annotation), None

    def _check_default(self, name: str, spec: Spec, default: Any) -> None:
        problem = Converter(spec).problem(default)
        if problem is not None:
            advice = "; declare `| None` if it may be left out" if default is None else ""
            raise DeclarationError(
                f"{self.where}, input `{name}`: its default {default!r} {problem}{advice}"
            )

    def _is_method(self, first: str) -> bool:
        around = self.function.__qualname__.rpartition(".")[0]
        return first in ("self", "cls") and bool(around) and not around.endswith("<locals>")

    def _captured(self) -> list[Spec]:
        """What the function depends on besides its arguments: its value counts, too."""
        function, found = self.function, []
        # A cache of functools' own keeps nothing that the function does not give.
        while isinstance(function, _FUNCTOOLS_CACHE):
            function = function.__wrapped__
        if isinstance(function, types.MethodType):
            cell = types.CellType(function.__self__)
            found.append(self._cell("__self__", cell, self._bound_spec(function.__self__)))
            function = function.__func__
        code = getattr(function, "__code__", None)
        if code is None and not is_importable(function):
            raise DeclarationError(
                f"{self.where}: a {type(function).__qualname__} may depend on more than its "
                "arguments; put @task upon the function, and what is around it above that"
            )
        own_name = getattr(code, "co_name", None)
        cells = getattr(function, "__closure__", None) or ()
        for name, cell in zip(getattr(code, "co_freevars", ()), cells, strict=True):
            where = f"{self.where}: the captured variable `{name}`"
            try:
                value = cell.cell_contents
            except ValueError:
                if name == own_name:
                    continue
                raise DeclarationError(
                    f"{where} has no value yet; declare it before the task, or pass it"
                ) from None
            is_itself = name == own_name and state.is_own(value, self.function)
            if name != "__class__" and not is_itself:
                found.append(self._cell(name, cell, self._captured_spec(value, where)))
        return found + self._hidden_defaults(function)

    def _hidden_defaults(self, function: Any) -> list[Spec]:
        """Defaults of a wrapper whose signature is that of what it wraps."""
        if not isinstance(function, types.FunctionType) or not vars(function).keys() & _TOLD:
            return []
        found = []
        for name, parameter in _own_parameters(function).items():
            if parameter.default is not inspect.Parameter.empty:
                where = f"{self.where}: the default of `{name}`, which its decorator gives it"
                spec = self._captured_spec(parameter.default, where)
                found.append(self._cell(f"default {name}", types.CellType(parameter.default), spec))
        return found

    def _cell(self, name: str, cell: Any, spec: Spec) -> Spec:
        return (f"captured {name}", "cell", (cell,), None, spec)

    def _captured_spec(self, value: Any, where: str) -> Spec:
        """How a captured value counts: by what stands behind it, if that is not plain."""
        if type(value) in _PLAIN:
            return spec_of_value(value, where)
        state.check(value, where, self.function, spec_of_state)

        last: tuple[Any, str] | None = None

        def state_hash(value: Any) -> str:
            nonlocal last
            known = last
            if known is not None and known[0] is value and state.is_fixed(value):
                return known[1]
            found = state.digest(value, where, self.function, spec_of_state)
            last = (value, found)
            return found

        return ("hashed", state_hash, 'opaque("python state")', None)

    def _bound_spec(self, receiver: Any) -> Spec:
        """How the object of a bound method counts: as that of a method, in the form it has."""
        where = f"{self.where}: the object of the method"
        if not isinstance(receiver, type) and not _has_known_fields(type(receiver)):
            raise DeclarationError(
                f"{where} is {type(receiver).__qualname__}, which is no dataclass, so what the "
                "method depends on is not known; pass it as an argument"
            )
        return self._captured_spec(receiver, where)

    def _outputs(self) -> Spec:
        where = f"{self.where}, the return value"
        if "return" not in self._hints:
            raise UnsupportedTypeError(f"{where}: an annotation is needed")
        annotation = self._hints["return"]
        if annotation is None or annotation is type(None):
            return ("none", None, ())
        if is_named_tuple(annotation):
            hints = hints_of(annotation, where)
            fields = annotation._fields
            if missing := [name for name in fields if name not in hints]:
                raise UnsupportedTypeError(f"{where}, `{missing[0]}`: an annotation is needed")
            return ("named", annotation, tuple(self._output(n, hints[n]) for n in fields))
        members = typing.get_args(annotation)
        if typing.get_origin(annotation) is tuple and members and Ellipsis not in members:
            pairs = enumerate(members)
            return ("tuple", None, tuple(self._output(f"o{index}", of) for index, of in pairs))
        return ("single", None, (self._output("o0", annotation),))

    def _output(self, name: str, annotation: Any) -> tuple[str, Spec]:
        reader = Reader(f"{self.where}, output `{name}`", is_output=True)
        spec = reader.read(annotation)
        self.unpickles |= reader.unpickles
        return name, spec


def _own_parameters(function: types.FunctionType) -> Mapping[str, inspect.Parameter]:
    """Those that stand in its code, whatever it says of itself."""
    bare = types.FunctionType(
        function.__code__, {}, None, function.__defaults__, function.__closure__
    )
    bare.__kwdefaults__ = function.__kwdefaults__
    return inspect.signature(bare).parameters


def where_of(function: Any) -> str:
    """The function's name, for messages."""
    return f"task `{getattr(function, '__qualname__', function)}`"


def check_function(function: Any) -> None:
    """Raises if this is no function that can be a task."""
    where = where_of(function)
    if isinstance(function, classmethod | staticmethod | property):
        kind = type(function).__name__
        raise DeclarationError(f"{where}: @{kind} stands above @task, not below it")
    if not callable(function) or not hasattr(function, "__qualname__") or isinstance(function, type):
        raise DeclarationError(f"{where}: a function is wanted")
    if function.__name__ == "<lambda>":
        raise DeclarationError(
            f"{where}: a lambda has neither a name nor annotations; use def"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(
            f"{where}: a generator gives its values one by one; return a list of them"
        )


def receiver_spec(name: str, function: Callable[..., Any]) -> Spec:
    """How `self` and `cls` count: a class by its name, an object by its fields as well."""

    def receiver_hash(receiver: Any) -> str:
        return hash_of_receiver(receiver, function)

    return ("hashed", receiver_hash, f'opaque("python {name}")', None, settled_receiver)


_receivers: dict[type, Converter] = {}


def hash_of_receiver(receiver: Any, function: Callable[..., Any]) -> str:
    """What stands for the object or class on which this method is called."""
    of = receiver if isinstance(receiver, type) else type(receiver)
    name = name_of_code(of, function)
    if not is_importable(of):
        name += f" {state.digest(of, name, function, spec_of_state)}"
    return name if receiver is of else f"{name} {_converter_of(of, name).digest(receiver)}"


def settled_receiver(receiver: Any) -> Any:
    """The object as any argument is handed to the function: in the one form that its key has."""
    if isinstance(receiver, type):
        return receiver
    return _converter_of(type(receiver), type(receiver).__qualname__).settled(receiver)


def _converter_of(of: type, name: str) -> Converter:
    converter = _receivers.get(of)
    if converter is None:
        if not _has_known_fields(of):
            raise UnsupportedTypeError(
                f"{name} is no dataclass, so what its methods depend on is not known; make it one, "
                'or ignore it: cache_ignore_input_vars=("self",)'
            )
        converter = Converter(Reader(name, is_output=False).read(of))
        _receivers[of] = converter
    return converter


def _has_known_fields(of: type) -> bool:
    return dataclasses.is_dataclass(of) or is_named_tuple(of) or issubclass(of, enum.Enum)


_PLAIN: dict[type, Spec] = {
    type(None): ("none",),
    bool: ("boolean",),
    int: ("integer",),
    float: ("float",),
    str: ("string",),
    bytes: ("bytes", "bytes"),
    datetime.datetime: ("datetime",),
    # Not as a datetime at midnight does.
    datetime.date: ("hashed", datetime.date.isoformat, 'opaque("python date")', None),
    datetime.timedelta: ("duration",),
}


def spec_of_value(value: Any, where: str) -> Spec:
    """How a value without an annotation is converted. It must be one that cannot change."""
    of = type(value)
    if of is datetime.datetime and value.tzinfo is not datetime.UTC:
        raise DeclarationError(
            f"{where} is a datetime that is not in UTC, and its zone is not part of the key; "
            "capture value.astimezone(datetime.UTC), or pass it as an argument"
        )
    if of in _PLAIN:
        return _PLAIN[of]
    if isinstance(value, enum.Enum):
        return Reader(where, is_output=False).read(of)
    raise DeclarationError(
        f"{where} is {of.__qualname__}, which is not part of the key; pass it as an argument"
    )


def spec_of_state(value: Any, where: str) -> Spec:
    """The same of what stands behind captured code. An object counts as one of a method does."""
    if _has_known_fields(type(value)) and not isinstance(value, enum.Enum):
        return Reader(where, is_output=False).read(type(value))
    return spec_of_value(value, where)
