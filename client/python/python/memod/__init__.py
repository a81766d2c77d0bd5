"""Memoize functions across processes, programs and languages.

    from memod import task

    @task(cache=True, cache_version="1.0.0")
    def square(number: int) -> int:
        return number * number

The first call runs the function; every later one with the same inputs, in whatever process, gets
what it returned from the daemon memod.
"""

from __future__ import annotations

from memod import errors
from memod._memod import Blob, Call, Hashed, __version__
from memod.client import Client, Hit, Lease, configure, default_client
from memod.errors import DeclarationError, MemodError, UnsupportedTypeError
from memod.markers import FileName, HashMethod, Pickle
from memod.options import Cache, Mode
from memod.policies import CachePolicy, FunctionBodyPolicy, VersionParameters
from memod.report import Difference, Explanation, Miss, Nearest, Pending, Provenance, Report
from memod.task import BoundTask, Task, task

__all__ = [
    "Blob",
    "BoundTask",
    "Cache",
    "CachePolicy",
    "Call",
    "Client",
    "DeclarationError",
    "Difference",
    "Explanation",
    "FileName",
    "FunctionBodyPolicy",
    "HashMethod",
    "Hashed",
    "Hit",
    "Lease",
    "MemodError",
    "Miss",
    "Mode",
    "Nearest",
    "Pending",
    "Pickle",
    "Provenance",
    "Report",
    "Task",
    "UnsupportedTypeError",
    "VersionParameters",
    "__version__",
    "configure",
    "default_client",
    "errors",
    "task",
]
