"""Whether a task is declared again with other code, as when its module is reloaded, or its cell of a
notebook is run again.

The code does not count, so that what the code before has stored is given back: that is told.
"""

from __future__ import annotations

import logging
import types
from typing import Any

from memod.names import wrapped_by
from memod.state import digest_of_code

logger = logging.getLogger("memod")

# By task and cache version, and by where the function stands: one for each place in the source.
_declared: dict[tuple[str, str, str, str], str] = {}


def look(task: str, version: str, function: Any) -> None:
    """Warns if this function had other code when it was declared before."""
    *_, innermost = wrapped_by(function)
    innermost = getattr(innermost, "__func__", innermost)
    if not isinstance(innermost, types.FunctionType):
        return
    where = (task, version, innermost.__module__, innermost.__qualname__)
    code = digest_of_code(_without_docstring(innermost))
    before = _declared.get(where, code)
    _declared[where] = code
    if before != code:
        logger.warning(
            "task %s is declared again with other code, and with the same cache version, %s, so that "
            "what the code before has stored is given back; change the version if it does something "
            "else, or have it follow the code: Cache(policies=FunctionBodyPolicy())",
            task,
            version,
        )


def _without_docstring(function: types.FunctionType) -> types.CodeType:
    code = function.__code__
    constants = code.co_consts
    if function.__doc__ is None or not constants or constants[0] != function.__doc__:
        return code
    return code.replace(co_consts=(None, *constants[1:]))
