"""From a function to what the extension module needs: parameters, outputs, and a name.

What is wrong with the function is an error here, when the task is declared.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import inspect
import logging
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memod import state
from memod._memod import Converter
from memod.errors import DeclarationError, UnsupportedTypeError
from memod.literals import Reader, Spec, hints_of, is_named_tuple, opaque_text

logger = logging.getLogger("memod")

_KINDS: dict[Any, str] = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "either",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
}


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
        """The variables that the function captures: their values count, too."""
        found = []
        code = getattr(self.function, "__code__", None)
        cells = getattr(self.function, "__closure__", None) or ()
        for name, cell in zip(getattr(code, "co_freevars", ()), cells, strict=True):
            if name in ("__class__", self.function.__name__):
                continue
            where = f"{self.where}: the captured variable `{name}`"
            try:
                value = cell.cell_contents
            except ValueError:
                raise DeclarationError(
                    f"{where} has no value yet; declare it before the task, or pass it"
                ) from None
            if not state.is_code(value):
                spec = spec_of_value(value, where)
            elif state.has_state(value, where, self.function, spec_of_state):
                spec = self._state_spec(where)
            else:
                continue
            found.append((f"captured {name}", "cell", (cell,), None, spec))
        return found

    def _state_spec(self, where: str) -> Spec:
        """How captured code counts: by what stands behind it."""

        def state_hash(code: Any) -> str:
            return state.digest(code, where, self.function, spec_of_state)

        return ("hashed", state_hash, 'opaque("python state")', None)

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


def task_name(function: Callable[..., Any]) -> str:
    """The module's and the function's names; of a program that is run, the module's is its own."""
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if module not in _PROGRAMS:
        return f"{module}.{name}"
    program = _program(function)
    if program is None:
        _warn_of_nameless_program(name)
        return f"__main__.{name}"
    return f"{program}.{name}"


# What runs is called so, and what a process of a pool imports again of it.
_PROGRAMS = ("__main__", "__mp_main__")


def _program(function: Any) -> str | None:
    """The name as a module of the program in which this stands, if it has a file."""
    # A profiler or debugger that runs a program is `__main__` itself, so the function says more.
    main = vars(sys.modules.get("__main__", sys))
    for around in (getattr(function, "__globals__", {}), main):
        spec, path = around.get("__spec__"), around.get("__file__")
        # What comes through a pipe is in `<stdin>`.
        file = None if path is None or path.startswith("<") else Path(path)
        if spec is not None and (spec.name != "__main__" or file is None):
            return None if spec.name == "__main__" else str(spec.name)
        if file is not None:
            return _folder(file) if file.stem == "__main__" else file.stem
    return None


def _folder(main: Path) -> str | None:
    """What a folder or an archive is called that is run as a program."""
    around = main.absolute().parent
    return (around.name if around.is_dir() else around.stem) or None


_warned_of_nameless_program = False


def _warn_of_nameless_program(name: str) -> None:
    global _warned_of_nameless_program
    if not _warned_of_nameless_program:
        _warned_of_nameless_program = True
        logger.warning(
            "task `__main__.%s` stands in a program without a file, so it shares its entries with "
            "each function of this name, version and types in every such program; give it a name, "
            "as in task(name=\"my_project.%s\")",
            name,
            name,
        )


def receiver_spec(name: str, function: Callable[..., Any]) -> Spec:
    """How `self` and `cls` count: a class by its name, an object by its fields as well."""

    def receiver_hash(receiver: Any) -> str:
        return hash_of_receiver(receiver, function)

    return ("hashed", receiver_hash, f'opaque("python {name}")', None)


_receivers: dict[type, Converter] = {}


def hash_of_receiver(receiver: Any, function: Callable[..., Any]) -> str:
    """What stands for the object or class on which this method is called."""
    of = receiver if isinstance(receiver, type) else type(receiver)
    module = of.__module__
    if module in _PROGRAMS:
        module = _program(function if function.__module__ in _PROGRAMS else of) or "__main__"
    name = f"{module}.{of.__qualname__}"
    if not state.is_importable(of):
        name += f" {state.digest(of, name, function, spec_of_state)}"
    if receiver is of:
        return name
    converter = _receivers.get(of)
    if converter is None:
        if not (dataclasses.is_dataclass(of) or is_named_tuple(of) or issubclass(of, enum.Enum)):
            raise UnsupportedTypeError(
                f"{name} is no dataclass, so what its methods depend on is not known; make it one, "
                'or ignore it: cache_ignore_input_vars=("self",)'
            )
        converter = Converter(Reader(name, is_output=False).read(of))
        _receivers[of] = converter
    return f"{name} {converter.digest(receiver)}"


_PLAIN: dict[type, Spec] = {
    type(None): ("none",),
    bool: ("boolean",),
    int: ("integer",),
    float: ("float",),
    str: ("string",),
    bytes: ("bytes", "bytes"),
    datetime.datetime: ("datetime",),
    datetime.date: ("date",),
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
    if of is tuple and value:
        members = ((str(index), spec_of_value(item, where)) for index, item in enumerate(value))
        return ("struct", "positions", None, tuple(members))
    raise DeclarationError(
        f"{where} is {of.__qualname__}, which is not part of the key; pass it as an argument"
    )


def spec_of_state(value: Any, where: str) -> Spec:
    """The same of what stands behind captured code. An object counts as one of a method does."""
    of = type(value)
    if of is tuple and not value:
        return ("opaque", "python empty tuple", lambda _: b"", bytes)
    if dataclasses.is_dataclass(of) or is_named_tuple(of):
        return Reader(where, is_output=False).read(of)
    return spec_of_value(value, where)
