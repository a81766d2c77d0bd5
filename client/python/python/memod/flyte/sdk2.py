"""Flyte 2's plug-in: its local controller uses memod in place of its own `LocalTaskCache`.

Called by the Flyte 2 SDK itself, by way of the entry point group `flyte.plugins.types`.

**Invariants.** The controller decides as ever whether a call is looked up; only where it would ask
its cache, memod is asked. With `MEMOD_FLYTE=off`, or outside of the controller, its own cache
answers.

**Does not** look up what the controller does not: a task with `Cache(behavior="override")` is
stored, and never looked up locally. What a `@trace` function returns is not cached locally at all.
"""

from __future__ import annotations

import contextvars
import functools
import logging
from pathlib import Path
from typing import Any

from memod.flyte import is_on
from memod.flyte.memo import Declared, Memo, Run, Sdk, forget

logger = logging.getLogger("memod")

EXECUTION = "flyte/local"
"""What is told of the execution with what is stored."""

MEMOS_MAX = 1024
"""Declarations that are kept for further calls."""


class Call:
    """A task's run in the local controller, from its inputs to its outputs."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self._key: str | None = None
        self._interface: Any = None
        self._version = ""
        self._ignored: tuple[str, ...] = ()
        self._inputs: dict[str, Any] = {}
        self._run: Run | None = None

    def describe(
        self, key: str, interface: Any, version: str, ignored: tuple[str, ...], inputs: Any
    ) -> None:
        """What the controller has made a key of."""
        self._key, self._interface = key, interface
        self._version, self._ignored = version, ignored
        self._inputs = {one.name: one.value for one in inputs.literals}
        self._settle()

    def _settle(self) -> None:
        """Gives the inputs the form that the key has: the controller hands on these very ones."""
        try:
            from flyte._cache.cache import cache_from_request

            if cache_from_request(self.task.cache).is_enabled():
                made = _memo(self._declared()).settled_inputs(self._inputs)
                for name in made:
                    self._inputs[name].CopyFrom(made[name])
        except Exception as error:
            logger.warning("task %s is run with inputs as they are: %s", self.task.name, error)

    def is_of(self, key: str) -> bool:
        """Whether it is this call's outputs that the controller asks for."""
        return key == self._key

    async def get(self) -> Any:
        """The outputs as Flyte has them, or nothing."""
        run = self._begun()
        found = None if run is None else await run.look_up_async(self._inputs)
        if found is None:
            return None
        from flyte._internal.runtime import convert
        from flyteidl2.task import common_pb2

        named = [common_pb2.NamedLiteral(name=name, value=found[name]) for name in found]
        return convert.Outputs(proto_outputs=common_pb2.Outputs(literals=named))

    async def set(self, outputs: Any) -> None:
        """Stores the outputs."""
        from memod import waiting

        run = self._run or self._begun()
        if run is None:
            return
        stored = outputs.proto_outputs
        if stored.produced_artifacts:
            logger.warning("task %s is not cached: it declares artifacts", self.task.name)
            return
        literals = {one.name: one.value for one in stored.literals}
        await waiting.off_loop(run.store, self._inputs, literals)

    def end(self) -> None:
        """Gives back what is held."""
        if self._run is not None:
            self._run.abandon()

    def _begun(self) -> Run | None:
        try:
            memo = _memo(self._declared())
        except Exception as error:
            logger.warning("task %s is run, and not cached: %s", self.task.name, error)
            return None
        self._run = Run(memo)
        return self._run

    def _declared(self) -> Declared:
        from flyte._cache.cache import cache_from_request

        cache = cache_from_request(self.task.cache)
        project, domain = scope()
        return Declared(
            name=self.task.name,
            version=self._version,
            inputs=_types(self._interface.inputs),
            outputs=_types(self._interface.outputs),
            ignored=self._ignored,
            serialize=cache.serialize,
            project=project,
            domain=domain,
            max_age=cache.max_age,
        )


_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("memod_call", default=None)
_memos: dict[Any, Memo] = {}


def _memo(declared: Declared) -> Memo:
    made_of = (
        *(declared.name, declared.version, declared.ignored, declared.serialize),
        *(declared.project, declared.domain, declared.max_age),
        *_texts(declared.inputs),
        None,
        *_texts(declared.outputs),
    )
    memo = _memos.get(made_of)
    if memo is None:
        if len(_memos) >= MEMOS_MAX:
            _memos.clear()
        memo = _memos[made_of] = Memo(declared, sdk())
    return memo


def _types(variables: Any) -> dict[str, Any]:
    return {entry.key: entry.value.type for entry in variables.variables}


def _texts(types: Any) -> list[tuple[str, bytes]]:
    return [(name, types[name].SerializeToString(deterministic=True)) for name in types]


def scope() -> tuple[str | None, str | None]:
    """Project and domain that Flyte was initialised with; else those of memod's client count."""
    from flyte._initialize import get_init_config

    try:
        config = get_init_config()
    except Exception:
        # It was not initialised, and then knows of none.
        return None, None
    return config.project or None, config.domain or None


def _directory() -> Path:
    from flyte.storage._storage import get_random_local_directory

    return Path(get_random_local_directory())


@functools.cache
def sdk() -> Sdk:
    """What is particular to Flyte 2."""
    from flyteidl2.core.literals_pb2 import Literal

    return Sdk(execution=EXECUTION, literal=Literal, directory=_directory)


def install() -> None:
    """Puts memod where the local controller asks its cache; does nothing the second time.

    Raises if this release of Flyte is not made as those that are known; Flyte says so and goes on.
    """
    from flyte._internal.controllers._local_controller import LocalController
    from flyte._internal.runtime import convert
    from flyte._persistence._task_cache import LocalTaskCache

    if hasattr(LocalController.submit, "__memod__"):
        return
    submit, key_hash = LocalController.submit, convert.generate_cache_key_hash
    own = (LocalTaskCache.get, LocalTaskCache.set, LocalTaskCache.clear)
    LocalController.submit = _submitting(submit)
    convert.generate_cache_key_hash = _describing(key_hash)
    _install_cache(LocalTaskCache, *own)


def _submitting(original: Any) -> Any:
    @functools.wraps(original)
    async def submit(self: Any, _task: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_on():
            return await original(self, _task, *args, **kwargs)
        call = Call(_task)
        token = _current.set(call)
        try:
            return await original(self, _task, *args, **kwargs)
        finally:
            _current.reset(token)
            call.end()

    submit.__memod__ = True  # type: ignore[attr-defined]
    return submit


def _describing(original: Any) -> Any:
    @functools.wraps(original)
    def generate_cache_key_hash(
        task_name: str,
        inputs_hash: str,
        task_interface: Any,
        cache_version: str,
        ignored_input_vars: list[str],
        proto_inputs: Any,
    ) -> Any:
        key = original(
            task_name, inputs_hash, task_interface, cache_version, ignored_input_vars, proto_inputs
        )
        call = _current.get()
        if call is not None and call.task.name == task_name:
            ignored = tuple(ignored_input_vars)
            call.describe(key, task_interface, cache_version, ignored, proto_inputs)
        return key

    return generate_cache_key_hash


def _install_cache(cache: Any, own_get: Any, own_set: Any, own_clear: Any) -> None:
    async def get(cache_key: str) -> Any:
        call = _current.get()
        if call is None or not call.is_of(cache_key):
            return await own_get(cache_key)
        return await call.get()

    async def put(cache_key: str, value: Any) -> None:
        call = _current.get()
        if call is None or not call.is_of(cache_key):
            await own_set(cache_key, value)
        else:
            await call.set(value)

    async def clear() -> None:
        from memod import waiting

        if is_on():
            await waiting.off_loop(forget, EXECUTION)
        await own_clear()

    cache.get = staticmethod(functools.wraps(own_get)(get))
    cache.set = staticmethod(functools.wraps(own_set)(put))
    cache.clear = staticmethod(functools.wraps(own_clear)(clear))
