"""The options of a declaration, in Flyte's spelling, checked.

What cannot be meant is an error here, when the task is declared, and not when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from memod.errors import DeclarationError
from memod.policies import CachePolicy, version_of

Mode = Literal["enabled", "disabled", "read-only", "overwrite"]
"""Whether a call reads and writes, does neither, only reads, or writes anew."""

MODES: tuple[str, ...] = ("enabled", "disabled", "read-only", "overwrite")


@dataclass(frozen=True)
class Cache:
    """How a task is cached.

    `version`, or `policies` that make one, say what the task does. `serialize`: of all who call
    with the same inputs at once, one computes. `ignored_inputs` do not count. `salt` goes into
    what the policies make.
    """

    version: str | None = None
    serialize: bool = False
    ignored_inputs: tuple[str, ...] | str = ()
    salt: str = ""
    policies: CachePolicy | Sequence[CachePolicy] | None = None

    def get_ignored_inputs(self) -> tuple[str, ...]:
        """The ignored inputs, also if one was given as a string."""
        return names("ignored_inputs", self.ignored_inputs)

    def get_version(self, function: Callable[..., Any]) -> str:
        """The version that was given, or else what the policies make of the function."""
        if self.version is not None:
            return self.version
        policies = self.policies
        if policies is None:
            raise DeclarationError("Cache: a version or a policy is needed")
        many = list(policies) if isinstance(policies, Iterable) else [policies]
        for policy in many:
            if isinstance(policy, type) or not isinstance(policy, CachePolicy):
                raise DeclarationError(
                    f"Cache: policies: {policy!r} is no policy; one is made by calling its class"
                )
        if not many:
            raise DeclarationError("Cache: a version or at least one policy is needed")
        return version_of(many, self.salt, function)


@dataclass(frozen=True)
class Options:
    """What a declaration says, checked."""

    version: str | None
    """The cache version; None: the task is not cached."""
    serialize: bool = False
    ignored: tuple[str, ...] = ()
    name: str | None = None
    project: str | None = None
    domain: str | None = None
    mode: Mode | None = None
    max_age: timedelta | None = None
    wait: timedelta | None = None
    task_version: str | None = None


def kind_of(value: Any) -> str:
    """A value's type, for messages."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"


def checked_text(name: str, text: str | None) -> str | None:
    """The text, if it is one."""
    if text is not None and not isinstance(text, str):
        raise DeclarationError(f"{name}: a string is wanted, not {text!r}")
    return text


def checked_name(name: str | None) -> str | None:
    """The task's name, if it is one."""
    if checked_text("name", name) is not None and (not name or not str(name).isprintable()):
        raise DeclarationError(
            f"name: {name!r} is no name; it has to have characters, all of them printable"
        )
    return name


def checked_mode(mode: Mode | None) -> Mode | None:
    """The mode, if there is one of that name."""
    if mode is not None and mode not in MODES:
        raise DeclarationError(f"mode: {mode!r} is none of {', '.join(MODES)}")
    return mode


def checked_span(name: str, span: timedelta | None) -> timedelta | None:
    """The span of time, if it is one."""
    if span is not None and not isinstance(span, timedelta):
        raise DeclarationError(f"{name}: a timedelta is wanted, not {span!r}")
    if span is not None and span < timedelta(0):
        raise DeclarationError(f"{name}: {span} is less than nothing")
    return span


def checked_version(where: str, name: str, version: Any) -> str:
    """The cache version, if it is a string and not blank."""
    if not isinstance(version, str):
        advice = f'; write {name}="{version}"' if isinstance(version, int | float) else ""
        raise DeclarationError(f"{where}: {name}: a string is wanted, not {version!r}{advice}")
    if not version.strip():
        raise DeclarationError(f"{where}: {name} must not be blank")
    return version


def names(option: str, given: Iterable[str] | str) -> tuple[str, ...]:
    """Names of inputs; one may be given as a string."""
    if not isinstance(given, str | Iterable):
        raise DeclarationError(f"{option}: names are wanted, not {given!r}")
    found = (given,) if isinstance(given, str) else tuple(given)
    for name in found:
        if not isinstance(name, str):
            raise DeclarationError(f"{option}: names are wanted, not {name!r}")
    return found


def cache_options(
    function: Callable[..., Any],
    cache: bool | Cache,
    cache_version: str,
    cache_serialize: bool,
    cache_ignore_input_vars: Iterable[str] | str,
) -> tuple[str | None, bool, tuple[str, ...]]:
    """Version, whether calls are serialized, and ignored inputs."""
    where = getattr(function, "__qualname__", repr(function))
    ignored = names("cache_ignore_input_vars", cache_ignore_input_vars)
    if isinstance(cache, Cache):
        if cache_version or cache_serialize or ignored:
            raise DeclarationError(
                f"{where}: cache_version, cache_serialize and cache_ignore_input_vars are given "
                "inside of Cache(...), not beside it"
            )
        version = checked_version(where, "version", cache.get_version(function))
        serialize, ignored = cache.serialize, cache.get_ignored_inputs()
    elif not isinstance(cache, bool):
        advice = "; use memod.Cache" if type(cache).__name__ == "Cache" else ""
        raise DeclarationError(
            f"{where}: cache: a bool or a memod.Cache is wanted, not {kind_of(cache)}{advice}"
        )
    elif cache:
        serialize = cache_serialize
        if cache_version is None or cache_version == "":
            raise DeclarationError(f"{where}: cache=True needs a cache_version")
        version = checked_version(where, "cache_version", cache_version)
    else:
        if cache_serialize:
            raise DeclarationError(f"{where}: cache_serialize needs cache=True")
        if ignored:
            raise DeclarationError(f"{where}: cache_ignore_input_vars needs cache=True")
        return None, False, ()
    return version, serialize, ignored
