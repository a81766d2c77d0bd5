"""What tasks, and the code that they capture, are called: the same in every process.

**Invariants.** A program that is run has the name of its file, as if it were imported, so that a
process of a pool, which imports it again, finds the same names.
"""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger("memod")


# What runs is called so, and what a process of a pool imports again of it.
PROGRAMS = ("__main__", "__mp_main__")
_WRAPPED = (staticmethod, classmethod)


def task_name(function: Callable[..., Any]) -> str:
    """The module's and the function's names; of a program that is run, the module's is its own."""
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if module not in PROGRAMS:
        return f"{module}.{name}"
    program = program_of(function)
    if program is None:
        _warn_of_nameless_program(name)
        return f"__main__.{name}"
    return f"{program}.{name}"


def program_of(function: Any) -> str | None:
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


def name_of_code(code: Any, task: Any) -> str:
    """The module's and the code's names, as the program tells them in which the task stands."""
    if isinstance(code, types.ModuleType):
        return _module(code.__name__, code, task)
    module = getattr(code, "__module__", None) or "builtins"
    return f"{_module(module, code, task)}.{code.__qualname__}"


def _module(module: str, code: Any, task: Any) -> str:
    if module not in PROGRAMS:
        return module
    is_beside = getattr(task, "__module__", None) in PROGRAMS
    return program_of(task if is_beside else code) or "__main__"


def is_importable(code: Any) -> bool:
    """Whether a module holds this under its own name, be it wrapped by decorators."""
    found: Any = sys.modules.get(getattr(code, "__module__", None) or "")
    if found is None:
        return False
    for name in code.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(name)
        if isinstance(found, _WRAPPED):
            found = found.__func__
    return found is code or any(one is code for one in wrapped_by(found))


def wrapped_by(code: Any) -> Iterator[Any]:
    """This, and what it wraps in its turn, as `functools.wraps` tells it."""
    seen: set[int] = set()
    while code is not None and id(code) not in seen:
        seen.add(id(code))
        yield code
        code = getattr(code, "__dict__", {}).get("__wrapped__")
