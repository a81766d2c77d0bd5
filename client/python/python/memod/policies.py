"""Cache versions that are made, not written: Flyte's cache policies.

A policy gives a string for a function; together with a salt they become the cache version. So a
change of what a policy looks at is another version, and nobody has to remember to change it.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from memod.errors import DeclarationError


@dataclass(frozen=True)
class VersionParameters:
    """What a policy is told of a task."""

    func: Callable[..., Any]
    """The function."""


@runtime_checkable
class CachePolicy(Protocol):
    """Gives a part of a cache version."""

    def get_version(self, salt: str, params: VersionParameters) -> str:
        """The part of the version for this function; the same string for the same function."""
        ...


class FunctionBodyPolicy:
    """The version follows the function's code.

    Comments, blank lines, the docstring, the decorators and the way the code is laid out do not
    count. What the function calls does not count either: change the salt when that matters.
    """

    def get_version(self, salt: str, params: VersionParameters) -> str:
        """The digest of the salt and the function's code."""
        code = _normalised(params.func)
        return hashlib.sha256(f"{len(salt)}:{salt}{code}".encode()).hexdigest()


def version_of(policies: Sequence[CachePolicy], salt: str, function: Callable[..., Any]) -> str:
    """The cache version that these policies give together."""
    parameters = VersionParameters(func=function)
    parts = hashlib.sha256()
    for policy in policies:
        part = policy.get_version(salt, parameters)
        if not isinstance(part, str) or not part.strip():
            raise DeclarationError(f"{function.__qualname__}: {policy!r} gave no version: {part!r}")
        parts.update(f"{len(part)}:{part}".encode("utf-8", "surrogatepass"))
    return parts.hexdigest()


def _normalised(function: Callable[..., Any]) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError) as error:
        raise DeclarationError(
            f"{function.__qualname__}: its source cannot be read, so its version cannot follow its "
            f"body ({error}); give a version"
        ) from error
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        raise DeclarationError(f"{function.__qualname__}: its source is no function's")
    tree.decorator_list = []
    first = tree.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if is_docstring and isinstance(first.value.value, str):  # type: ignore[attr-defined]
        tree.body = tree.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
