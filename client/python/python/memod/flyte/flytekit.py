"""flytekit's plug-in: its local execution uses memod in place of its own `LocalTaskCache`.

Imported by flytekit itself, by way of the entry point group `flytekit.plugins`.

**Invariants.** flytekit decides as ever whether a call is looked up or overwritten, so its own
variables are obeyed; only where it would ask its cache, memod is asked. A task that is run is given
its inputs, and gives back its outputs, in the form that a hit has. With `MEMOD_FLYTE=off`, or
outside of a task's local execution, its own cache answers. Importing this never fails.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import typing
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from memod.flyte import is_on
from memod.flyte.memo import Declared, Memo, Run, Sdk, forget

logger = logging.getLogger("memod")

EXECUTION = "flytekit/local"
"""What is told of the execution with what is stored."""

_PLACEHOLDER = "local"

Settled = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Gives the literals that have to change."""


class Call:
    """A task's local execution, from its inputs to its outputs."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self._run: Run | None = None

    def is_of(self, name: str, version: str) -> bool:
        """Whether it is this call's outputs that flytekit asks for."""
        return (name, version) == (self.task.name, self.task.metadata.cache_version)

    def get(self, inputs: Any) -> Any:
        """The outputs as flytekit has them, or nothing."""
        from flytekit.models.literals import LiteralMap

        run = self._begun()
        given = self._given(inputs)
        found = None if run is None or given is None else run.look_up(given)
        if found is None:
            return None
        return LiteralMap(literals={name: _model(found[name]) for name in found})

    def set(self, inputs: Any, outputs: Any) -> None:
        """Stores the outputs."""
        run = self._run or self._begun()
        given, returned = self._given(inputs), self._protocol_buffers(outputs)
        if run is not None and given is not None and returned is not None:
            run.store(given, returned)

    def settled(self, literals: Any, settle: Callable[[Memo], Settled]) -> Any:
        """The literals with those in place that have another form than their key."""
        from flytekit.models.literals import LiteralMap

        if not isinstance(literals, LiteralMap):
            return literals
        given = {}
        for name, one in literals.literals.items():
            # What has no protocol buffer cannot be stored, and stays as it is.
            with contextlib.suppress(Exception):
                given[name] = one.to_flyte_idl()
        try:
            made = settle(memo_of(self.task))(given)
            anew = {name: _model(made[name]) for name in made}
        except Exception as error:
            self._warn(error)
            return literals
        return LiteralMap(literals={**literals.literals, **anew}) if anew else literals

    def end(self) -> None:
        """Gives back what is held."""
        if self._run is not None:
            self._run.abandon()

    def _begun(self) -> Run | None:
        try:
            memo = memo_of(self.task)
        except Exception as error:
            self._warn(error)
            return None
        self._run = Run(memo)
        return self._run

    def _given(self, inputs: Any) -> dict[str, Any] | None:
        """The inputs, with the defaults of those that were left out."""
        given = self._protocol_buffers(inputs)
        if given is None:
            return None
        left_out = self.task.interface.inputs.keys() - given.keys()
        try:
            return given | _defaults(self.task, left_out) if left_out else given
        except Exception as error:
            self._warn(error)
            return None

    def _protocol_buffers(self, literals: Any) -> dict[str, Any] | None:
        try:
            return {name: one.to_flyte_idl() for name, one in literals.literals.items()}
        except Exception as error:
            # An integer beyond 64 bits, for example.
            self._warn(error)
            return None

    def _warn(self, error: Exception) -> None:
        logger.warning("task %s is run, and not cached: %s", self.task.name, error)


def _model(literal: Any) -> Any:
    """A literal as flytekit has it, its maps in the order of their keys: they become dictionaries,
    and protocol buffers have them in an order that differs from process to process."""
    from flytekit.models.literals import Literal

    return _in_order(Literal.from_flyte_idl(literal))


def _in_order(literal: Any) -> Any:
    if literal.map is not None:
        members = literal.map.literals
        ordered = {name: _in_order(members[name]) for name in sorted(members)}
        members.clear()
        members.update(ordered)
    elif literal.collection is not None:
        for one in literal.collection.literals:
            _in_order(one)
    elif literal.scalar is not None and literal.scalar.union is not None:
        _in_order(literal.scalar.union.value)
    return literal


_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("memod_call", default=None)
_memos: weakref.WeakKeyDictionary[Any, tuple[Any, Memo]] = weakref.WeakKeyDictionary()


def memo_of(task: Any) -> Memo:
    """A flytekit task as memod knows it."""
    metadata = task.metadata
    version, serialize = metadata.cache_version, metadata.cache_serialize
    ignored = tuple(metadata.cache_ignore_input_vars)
    made_of = (version, serialize, ignored, scope())
    known = _memos.get(task)
    if known is not None and known[0] == made_of:
        return known[1]
    memo = Memo(_declared(task), sdk())
    _memos[task] = (made_of, memo)
    return memo


def _declared(task: Any) -> Declared:
    metadata = task.metadata
    project, domain = scope()
    interface = task.python_interface
    native: Mapping[str, Any] = interface.outputs if interface is not None else {}
    return Declared(
        name=task.name,
        version=metadata.cache_version,
        inputs=_types(task.interface.inputs),
        outputs=_types(task.interface.outputs),
        ignored=tuple(metadata.cache_ignore_input_vars),
        serialize=metadata.cache_serialize,
        project=project,
        domain=domain,
        hashed=frozenset(name for name in native if _has_hash_method(native[name])),
    )


def _types(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: variable.type.to_flyte_idl() for name, variable in variables.items()}


def _has_hash_method(annotation: Any) -> bool:
    from flytekit.core.hash import HashMethod

    if any(isinstance(one, HashMethod) for one in getattr(annotation, "__metadata__", ())):
        return True
    return any(_has_hash_method(one) for one in typing.get_args(annotation))


def scope() -> tuple[str | None, str | None]:
    """Project and domain, if flytekit knows them; else those of memod's client count."""
    from flytekit.core.context_manager import FlyteContextManager

    parameters = FlyteContextManager.current_context().user_space_params
    execution = None if parameters is None else parameters.execution_id
    project, domain = getattr(execution, "project", None), getattr(execution, "domain", None)
    return (
        None if project == _PLACEHOLDER else project or None,
        None if domain == _PLACEHOLDER else domain or None,
    )


def _directory() -> Path:
    from flytekit.core.context_manager import FlyteContextManager

    # As long-lived as what flytekit's tasks write there themselves.
    access = FlyteContextManager.current_context().file_access
    return Path(access.get_random_local_directory())


@functools.cache
def sdk() -> Sdk:
    """What is particular to flytekit."""
    from flyteidl.core.literals_pb2 import Literal

    return Sdk(execution=EXECUTION, literal=Literal, directory=_directory)


def _defaults(task: Any, names: Iterable[str]) -> dict[str, Any]:
    """The literals of declared defaults. Of None there is one only for what may be None."""
    from flytekit.core.context_manager import FlyteContextManager
    from flytekit.core.type_engine import TypeEngine

    interface, ctx = task.python_interface, FlyteContextManager.current_context()
    native = {} if interface is None else interface.default_inputs_as_kwargs
    found = {}
    for name in names:
        if native.get(name) is not None:
            of = task.interface.inputs[name].type
            literal = TypeEngine.to_literal(ctx, native[name], interface.inputs[name], of)
            found[name] = literal.to_flyte_idl()
    return found


def install() -> None:
    """Puts memod where flytekit asks its cache; does nothing the second time."""
    from flytekit.core.base_task import Task
    from flytekit.core.local_cache import LocalTaskCache

    if hasattr(Task.local_execute, "__memod__"):
        return
    _install_execution(Task)
    _install_form(Task)
    _install_cache(LocalTaskCache)


def _install_execution(task_class: Any) -> None:
    original = task_class.local_execute

    @functools.wraps(original)
    def local_execute(self: Any, ctx: Any, **kwargs: Any) -> Any:
        if not self.metadata.cache or not is_on():
            return original(self, ctx, **kwargs)
        call = Call(self)
        token = _current.set(call)
        try:
            return original(self, ctx, **kwargs)
        finally:
            _current.reset(token)
            call.end()

    local_execute.__memod__ = True  # type: ignore[attr-defined]
    task_class.local_execute = local_execute


def _install_form(task_class: Any) -> None:
    original = task_class.sandbox_execute

    # The names of the parameters are flytekit's: they may be given by name.
    @functools.wraps(original)
    def sandbox_execute(self: Any, ctx: Any, input_literal_map: Any) -> Any:
        call = _current.get()
        if call is None or call.task is not self:
            return original(self, ctx, input_literal_map)
        given = call.settled(input_literal_map, lambda memo: memo.settled_inputs)
        returned = original(self, ctx, given)
        return call.settled(returned, lambda memo: memo.settled_outputs)

    task_class.sandbox_execute = sandbox_execute


def _install_cache(cache: Any) -> None:
    own_get, own_set, own_clear = cache.get, cache.set, cache.clear

    # The names of the parameters are flytekit's: they may be given by name.
    def get(
        task_name: str,
        cache_version: str,
        input_literal_map: Any,
        cache_ignore_input_vars: tuple[str, ...],
    ) -> Any:
        call = _current.get()
        if call is None or not call.is_of(task_name, cache_version):
            return own_get(task_name, cache_version, input_literal_map, cache_ignore_input_vars)
        return call.get(input_literal_map)

    def put(
        task_name: str,
        cache_version: str,
        input_literal_map: Any,
        cache_ignore_input_vars: tuple[str, ...],
        value: Any,
    ) -> None:
        call = _current.get()
        if call is None or not call.is_of(task_name, cache_version):
            ignored = cache_ignore_input_vars
            own_set(task_name, cache_version, input_literal_map, ignored, value)
        else:
            call.set(input_literal_map, value)

    def clear() -> None:
        from flytekit.core.local_cache import CACHE_LOCATION

        if is_on():
            forget(EXECUTION)
        # What was stored without memod goes, too; but nothing is made just to be cleared.
        if cache._initialized or not is_on() or Path(CACHE_LOCATION).expanduser().exists():
            own_clear()

    cache.get = staticmethod(functools.wraps(own_get)(get))
    cache.set = staticmethod(functools.wraps(own_set)(put))
    cache.clear = staticmethod(functools.wraps(own_clear)(clear))


try:
    install()
except Exception as error:
    # An exception here would keep flytekit from being imported.
    logger.warning("flytekit caches without memod, whose plug-in does not fit it: %s", error)
