"""The decorator: a function that is run once for each set of inputs.

The function runs whatever happens to the daemon; what is wrong with the cache is a warning of the
logger `memod`. What the function raises is passed on, and nothing is stored.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Never,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from memod import redeclared, troubles, waiting
from memod._memod import Call, Caller, Plan, Recall
from memod.client import Client, default_client
from memod.declaration import Declaration, check_function
from memod.errors import DeclarationError, InvalidArgumentError, UnavailableError
from memod.names import task_name
from memod.options import (
    Cache,
    Mode,
    Options,
    cache_options,
    checked_mode,
    checked_name,
    checked_span,
    checked_text,
)
from memod.report import Explanation, Report, report

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class Task(Caller, Generic[P, R]):
    """A function that is run once for each set of inputs.

    Called, it gives what the function returns, now or once.
    """

    __memod_task__ = True

    def __init__(
        self, function: Callable[P, R], options: Options, client: Client | None = None
    ) -> None:
        if options.version is not None:
            check_function(function)
        # First, as it may bring attributes of any name.
        functools.update_wrapper(self, function)
        self.options = options
        """What was declared."""
        self.name = options.name or task_name(function)
        """The task's name."""
        self._function = function
        self._client = client
        self._origin: Task[P, R] | None = None
        self._is_async = inspect.iscoroutinefunction(function)
        self._plan = None if options.version is None else self._planned(options.version)
        if self._is_async:
            _mark_as_coroutine_function(self, function)
        elif self._plan is not None:
            self._look_up_by(self._plan, None if client is None else client.raw)

    def _planned(self, version: str) -> Plan:
        declaration = Declaration(self._function, self.options.ignored)
        options = self.options
        redeclared.look(self.name, version, self._function)
        age = options.max_age
        try:
            return Plan(
                self.name,
                version,
                declaration.parameters,
                declaration.outputs,
                project=options.project,
                domain=options.domain,
                serialize=options.serialize,
                mode=options.mode,
                max_age=None if age is None else age.total_seconds(),
                task_version=options.task_version,
                own_only=declaration.unpickles,
            )
        except InvalidArgumentError as error:
            raise DeclarationError(f"{declaration.where}: {error}") from error

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def _call_otherwise(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls a task that is async or not cached."""
        if self._plan is None:
            return self._function(*args, **kwargs)
        return cast(R, self._call_async(None, args, kwargs))

    def _run_found(self, found: Recall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """Goes on with a call that is no hit yet."""
        return self._run(found, args, kwargs)[0]

    @property
    def client(self) -> Client:
        """The client through which the daemon is asked."""
        return self._client if self._client is not None else default_client()

    @property
    def function(self) -> Callable[P, R]:
        """The function itself."""
        return self._function

    def _run(
        self, found: Recall, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[R, Recall | None, list[BaseException]]:
        if found.pending is not None:
            waited = waiting.wait(found, self._wait_seconds())
            if type(waited) is not Recall:
                return cast(R, waited), None, []
            found = waited
        if found.is_hit:
            return cast(R, found.value), found, []
        problems = self._warn(found.problem)
        args, kwargs = found.arguments or (args, kwargs)
        begun = time.perf_counter_ns()
        try:
            value = self._function(*args, **kwargs)
        except BaseException:
            found.abandon()
            raise
        problem = found.store(value, time.perf_counter_ns() - begun)
        return found.settled(value), found, problems + self._warn(problem, problems)

    async def _call_async(
        self, mode: Mode | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        plan = cast(Plan, self._plan)
        found = await waiting.off_loop(plan.recall, self.client.raw, args, kwargs, mode)
        if type(found) is not Recall:
            return found
        return (await self._run_async(found, args, kwargs))[0]

    async def _run_async(
        self, found: Recall, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Recall | None, list[BaseException]]:
        if found.pending is not None:
            waited = await waiting.wait_async(found, self._wait_seconds())
            if type(waited) is not Recall:
                return waited, None, []
            found = waited
        if found.is_hit:
            return found.value, found, []
        problems = self._warn(found.problem)
        args, kwargs = found.arguments or (args, kwargs)
        begun = time.perf_counter_ns()
        function = cast(Callable[..., Coroutine[Any, Any, Any]], self._function)
        try:
            value = await function(*args, **kwargs)
        except BaseException:
            found.abandon()
            raise
        took = time.perf_counter_ns() - begun
        problem = await waiting.off_loop(found.store, value, took)
        return found.settled(value), found, problems + self._warn(problem, problems)

    def _wait_seconds(self) -> float | None:
        return None if self.options.wait is None else self.options.wait.total_seconds()

    def _warn(
        self, problem: BaseException | None, said: Sequence[BaseException] = ()
    ) -> list[BaseException]:
        if problem is None:
            return []
        # That the daemon cannot be asked is said once for a call.
        if not (said and isinstance(problem, UnavailableError)):
            troubles.warn(self.name, problem)
        return [problem]

    # Of a function without annotations nothing is known; only that fits here.
    @overload
    def call(self: Task[P, Never], *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def call(  # type: ignore[overload-overlap]
        self: Task[P, Coroutine[Any, Any, S]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Report[S]]: ...
    @overload
    def call(self, *args: P.args, **kwargs: P.kwargs) -> Report[R]: ...
    def call(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Calls the function, and tells how that went; of an async one, awaits to that."""
        if self._plan is None:
            return Report(self._function(*args, **kwargs), "DISABLED", "DISABLED")
        if self._is_async:
            return self._report_async(args, kwargs)
        found = self._plan.recall(self.client.raw, args, kwargs, None, True)
        return _report(*self._run(found, args, kwargs))

    async def _report_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Report[Any]:
        plan = cast(Plan, self._plan)
        found = await waiting.off_loop(plan.recall, self.client.raw, args, kwargs, None, True)
        return _report(*await self._run_async(found, args, kwargs))

    def overwrite(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the function without looking up, and stores what it returns in place of what is
        stored. If it fails, what is stored stays."""
        plan = self._cached()
        if self._is_async:
            return cast(R, self._call_async("overwrite", args, kwargs))
        found = plan.recall(self.client.raw, args, kwargs, "overwrite")
        return self._run(found, args, kwargs)[0]

    def described(self, *args: P.args, **kwargs: P.kwargs) -> Call:
        """The call, for the methods of a `Client`."""
        call = self._cached().call(self.client.raw, args, kwargs)
        if call is None:
            inspect.signature(self._function).bind(*args, **kwargs)
            raise TypeError(f"{self.name}: the arguments do not fit")
        return call

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of the call, as 64 hexadecimal digits; the same in every language."""
        return self.described(*args, **kwargs).key

    def why(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """Why the call would miss, and what the nearest entries differ in."""
        return self.client.why(self.described(*args, **kwargs), max_age=self.options.max_age)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forgets what is stored for the call; gives whether there was something."""
        return self.client.invalidate(self.cache_key(*args, **kwargs)) > 0

    def invalidate_all(self, *, every_version: bool = False) -> int:
        """Forgets what is stored for all calls of this cache version, or of every one; gives how
        many entries that were."""
        self._cached()
        version = None if every_version else self.options.version
        options, raw = self.options, self.client.raw
        return raw.invalidate_matching(
            scope=(options.project or raw.project, options.domain or raw.domain),
            task=self.name,
            cache_version=None if version is None else version.strip(),
            writer_uid=None,
            older_than=None,
            dry_run=False,
        )

    def with_options(
        self,
        *,
        mode: Mode | None = None,
        max_age: timedelta | None = None,
        wait: timedelta | None = None,
        client: Client | None = None,
    ) -> Task[P, R]:
        """The same task with other options, for some of its calls."""
        options = replace(
            self.options,
            mode=checked_mode(mode) or self.options.mode,
            max_age=self.options.max_age if max_age is None else checked_span("max_age", max_age),
            wait=self.options.wait if wait is None else checked_span("wait", wait),
        )
        other = Task(self._function, options, client or self._client)
        other._origin = self if self._origin is None else self._origin
        return other

    @property
    def input_types(self) -> dict[str, str]:
        """The types of the inputs, as they stand in the signature."""
        return self._cached().input_types

    @property
    def output_types(self) -> dict[str, str]:
        """The types of the outputs, as they stand in the signature."""
        return self._cached().output_types

    def _cached(self) -> Plan:
        if self._plan is None:
            raise DeclarationError(f"task `{self.name}` is not cached; declare it with cache=True")
        return self._plan

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Task[P, R]: ...
    @overload
    def __get__(
        self: Task[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> BoundTask[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The task of an object, as a method is one's."""
        return self if instance is None else BoundTask(cast("Task[..., Any]", self), instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        # Pickled as a function is: by where it stands in its module.
        if self._origin is None:
            return cast(str, getattr(self, "__qualname__"))
        if self._client is not self._origin._client:
            raise TypeError(f"{self!r} has a client of its own, which no other process can have")
        return _like, (self._origin, self.options)

    def __repr__(self) -> str:
        return f"<memod task {self.name}>"


def _like(origin: Task[P, R], options: Options) -> Task[P, R]:
    """A task with these options, as `with_options` makes it."""
    other = Task(origin.function, options, origin._client)
    other._origin = origin
    return other


class BoundTask(Generic[P, R]):
    """A task that is a method, of one object."""

    def __init__(self, task: Task[..., R], receiver: Any) -> None:
        self.task = task
        """The task itself."""
        self.__self__ = receiver
        functools.update_wrapper(self, task.function, updated=())
        if inspect.iscoroutinefunction(task.function):
            _mark_as_coroutine_function(self, task.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `Task`."""
        return self.task(self.__self__, *args, **kwargs)

    # Of a function without annotations nothing is known; only that fits here.
    @overload
    def call(self: BoundTask[P, Never], *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def call(  # type: ignore[overload-overlap]
        self: BoundTask[P, Coroutine[Any, Any, S]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Report[S]]: ...
    @overload
    def call(self, *args: P.args, **kwargs: P.kwargs) -> Report[R]: ...
    def call(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """See `Task.call`."""
        return self.task.call(self.__self__, *args, **kwargs)

    def overwrite(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `Task.overwrite`."""
        return self.task.overwrite(self.__self__, *args, **kwargs)

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """See `Task.cache_key`."""
        return self.task.cache_key(self.__self__, *args, **kwargs)

    def why(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """See `Task.why`."""
        return self.task.why(self.__self__, *args, **kwargs)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """See `Task.invalidate`."""
        return self.task.invalidate(self.__self__, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name != "__signature__":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return inspect.signature(self.task.function.__get__(self.__self__))

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundTask, (self.task, self.__self__)


def _report(value: Any, found: Recall | None, problems: list[BaseException]) -> Report[Any]:
    told = None if found is None else found.report
    if told is None:
        status = "LOOKUP_FAILURE" if found is None else found.status
        store = "DISABLED" if status == "DISABLED" else "PUT_FAILURE"
        told = {"status": status, "store": store}
    return report(value, told, tuple(problems))


def _mark_as_coroutine_function(of: Any, function: Any) -> None:
    """Makes `iscoroutinefunction` of `inspect` and of `asyncio` say yes."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(of)
    else:
        # What looks like a function is asked for its code.
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(of, name, getattr(function, name))


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    cache: bool | Cache = False,
    cache_version: str = "",
    cache_serialize: bool = False,
    cache_ignore_input_vars: Iterable[str] | str = (),
    name: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    mode: Mode | None = None,
    max_age: timedelta | None = None,
    wait: timedelta | None = None,
    task_version: str | None = None,
    client: Client | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    cache: bool | Cache = False,
    cache_version: str = "",
    cache_serialize: bool = False,
    cache_ignore_input_vars: Iterable[str] | str = (),
    name: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    mode: Mode | None = None,
    max_age: timedelta | None = None,
    wait: timedelta | None = None,
    task_version: str | None = None,
    client: Client | None = None,
) -> Any:
    """Makes a function a task, in Flyte's spelling.

    - `cache`, with `cache_version`; or `cache=Cache(...)`. Without, the function is just called.
    - `cache_serialize`: of all who call with the same inputs at once, in whatever process, one
      computes and the others wait for its outputs; at most `wait`, if that is given.
    - `cache_ignore_input_vars`: inputs whose values do not count.
    - `name`: the task's name; without it, that of the module and the function.
    - `project`, `domain`: the scope; without them, the client's.
    - `mode`: `"enabled"`, `"disabled"`, `"read-only"` or `"overwrite"`.
    - `max_age`: what is older is computed again.
    - `task_version`: is told with what is stored, and does not count.
    - `client`: through whom the daemon is asked; without it, `default_client()`.
    """

    if function is not None and not callable(function):
        raise DeclarationError(
            f"task: a function is wanted, not {function!r}; options are given by name, as in "
            'task(name="my_project.load")'
        )

    def decorate(function: Callable[..., Any]) -> Task[..., Any]:
        version, serialize, ignored = cache_options(
            function, cache, cache_version, cache_serialize, cache_ignore_input_vars
        )
        options = Options(
            version=version,
            serialize=serialize,
            ignored=ignored,
            name=checked_name(name),
            project=checked_text("project", project),
            domain=checked_text("domain", domain),
            mode=checked_mode(mode),
            max_age=checked_span("max_age", max_age),
            wait=checked_span("wait", wait),
            task_version=checked_text("task_version", task_version),
        )
        return Task(function, options, client)

    return decorate if function is None else decorate(function)
