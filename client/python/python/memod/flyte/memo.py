"""A Flyte task's calls: looked up, waited for, and stored.

**Invariants.** Whatever is wrong with the cache is a warning of the logger `memod`, and the task
runs. The lease that a run may hold ends with it, also if the task fails. A hit is whole or none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from memod import troubles, waiting
from memod._memod import Converter, Plan, Recall
from memod.client import default_client
from memod.errors import InvalidArgumentError, MemodError
from memod.flyte import inputs
from memod.flyte.archive import Packing, unpack
from memod.flyte.settled import Settle, input_settling, output_settling, settled_or_given
from memod.flyte.types import (
    input_spec,
    may_hold_files,
    may_hold_pickles,
    opaque_spec,
    plain_spec,
)
from memod.literals import Spec

Literals = Mapping[str, Any]
"""Literals by name, as protocol buffers."""


@dataclass(frozen=True)
class Declared:
    """What is known of a task before it is called; types are protocol buffers."""

    name: str
    version: str
    inputs: Literals
    outputs: Literals
    ignored: tuple[str, ...] = ()
    serialize: bool = False
    project: str | None = None
    domain: str | None = None
    max_age: timedelta | None = None
    hashed: frozenset[str] = field(default=frozenset())
    """Outputs that come with a hash of their own, which is to be kept."""


@dataclass(frozen=True)
class Sdk:
    """What differs between the SDKs."""

    execution: str
    """What is told of the run; by this, its entries are found again."""
    literal: Callable[[], Any]
    """Makes an empty literal."""
    directory: Callable[[], Path]
    """Makes a directory for restored files."""


class Output:
    """One output: as a value of memod's own type, or packed, with its files beside it."""

    def __init__(self, name: str, of: Any, *, is_hashed: bool, sdk: Sdk) -> None:
        self.name = name
        self.of = of
        self._plain = None if is_hashed else plain_spec(of)
        self._has_files = self._plain is None and may_hold_files(of)
        self._sdk = sdk

    def specs(self) -> list[tuple[str, Spec]]:
        """How it is stored, by the names in the signature."""
        if self._plain is not None:
            return [(self.name, self._plain)]
        packed = [(self.name, opaque_spec(self.of))]
        place = ("file", lambda: self._sdk.directory() / "content")
        return [*packed, (f"{self.name} files", place)] if self._has_files else packed

    def values(self, literal: Any, open_packings: list[Packing]) -> list[Any]:
        """What is stored for the literal."""
        if self._plain is not None:
            # A hash that nobody declared is left out: what follows counts by value then.
            return [inputs.value_of(_without_hash(literal), self.of, self._plain)]
        packing = Packing(literal, self.of)
        open_packings.append(packing)
        return [packing.packed, packing.content()] if self._has_files else [packing.packed]

    def literal(self, values: list[Any]) -> Any:
        """The literal, of which the values are taken off the list's beginning."""
        made = self._sdk.literal()
        stored = values.pop(0)
        if self._plain is not None:
            inputs.fill(made, stored, self.of)
        else:
            unpack(stored, values.pop(0) if self._has_files else None, self.of, made)
        return made


class Memo:
    """A task as memod knows it. Made once for a declaration."""

    def __init__(self, declared: Declared, sdk: Sdk) -> None:
        self.declared = declared
        self.sdk = sdk
        self._specs: dict[str, Spec] = {}
        parameters: list[Spec] = []
        for name, of in declared.inputs.items():
            spec = input_spec(of)
            if name in declared.ignored:
                parameters.append((name, "keyword", (None,), Converter(spec).type, None))
            else:
                self._specs[name] = spec
                parameters.append((name, "keyword", (), None, spec))
        self._outputs = [
            Output(name, of, is_hashed=name in declared.hashed, sdk=sdk)
            for name, of in declared.outputs.items()
        ]
        self._input_settling: dict[str, Settle] = {}
        self._output_settling: dict[str, Settle] = {}
        for name in self._specs:
            if settle := input_settling(declared.inputs[name], sdk.literal):
                self._input_settling[name] = settle
        for name, of in declared.outputs.items():
            is_hashed = name in declared.hashed
            if settle := output_settling(of, sdk.literal, is_hashed=is_hashed):
                self._output_settling[name] = settle
        fields = tuple(spec for output in self._outputs for spec in output.specs())
        age = declared.max_age
        self.plan = Plan(
            declared.name,
            declared.version,
            parameters,
            ("tuple" if fields else "none", None, fields),
            project=declared.project,
            domain=declared.domain,
            serialize=declared.serialize,
            max_age=None if age is None else age.total_seconds(),
            execution=sdk.execution,
            own_only=any(may_hold_pickles(of) for of in declared.outputs.values()),
            by_hand=True,
        )

    def settled_inputs(self, given: Literals) -> dict[str, Any]:
        """The inputs as a task is given them, whoever calls it; only those that change."""
        return self._settled(given, self._input_settling)

    def settled_outputs(self, returned: Literals) -> dict[str, Any]:
        """The same of what it returns, as a hit gives it."""
        return self._settled(returned, self._output_settling)

    def _settled(self, literals: Literals, by: dict[str, Settle]) -> dict[str, Any]:
        made = {n: settled_or_given(by[n], literals[n]) for n in by.keys() & literals.keys()}
        return {name: made[name] for name in made if made[name] is not literals[name]}

    def values(self, given: Literals) -> dict[str, Any]:
        """The values of the inputs that count."""
        found = {}
        for name, spec in self._specs.items():
            if name not in given:
                found[name] = inputs.left_out(spec)
                continue
            try:
                found[name] = inputs.value_of(given[name], self.declared.inputs[name], spec)
            except MemodError as error:
                raise InvalidArgumentError(f"input `{name}` {error}") from error
        return found

    def stored(self, literals: Literals, open_packings: list[Packing]) -> tuple[Any, ...] | None:
        """What is stored for these outputs."""
        if not self._outputs:
            return None
        found: list[Any] = []
        for output in self._outputs:
            try:
                found += output.values(literals[output.name], open_packings)
            except KeyError:
                raise InvalidArgumentError(f"output `{output.name}` is missing") from None
            except MemodError as error:
                raise InvalidArgumentError(f"output `{output.name}` {error}") from error
        return tuple(found)

    def literals(self, stored: tuple[Any, ...] | None) -> dict[str, Any]:
        """The outputs for which this is stored."""
        values = list(stored or ())
        return {output.name: output.literal(values) for output in self._outputs}


class Run:
    """One call of a task: looked up at most once, then stored or abandoned."""

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self._found: Recall | None = None
        self._begun = time.perf_counter_ns()

    def look_up(self, given: Literals) -> dict[str, Any] | None:
        """The outputs of an earlier run, or of somebody's that is waited for."""
        found = self._ask(given)
        if type(found) is Recall and found.pending is not None:
            found = waiting.wait(found, None)
        return self._outputs(found, given)

    async def look_up_async(self, given: Literals) -> dict[str, Any] | None:
        """The same, while the event loop goes on."""
        found = await waiting.off_loop(self._ask, given)
        if type(found) is Recall and found.pending is not None:
            found = await waiting.wait_async(found, None)
        return await waiting.off_loop(self._outputs, found, given)

    def store(self, given: Literals, outputs: Literals) -> None:
        """Stores what the task returned; in place of what is stored if nothing was looked up."""
        took = time.perf_counter_ns() - self._begun
        found = self._found
        if found is None:
            found = self._ask(given, overwrites=True)
        self._found = None
        open_packings: list[Packing] = []
        try:
            if type(found) is Recall and found.status != "DISABLED":
                self._warn(found.store(self.memo.stored(outputs, open_packings), took))
        except Exception as error:
            self._warn(error)
        finally:
            if type(found) is Recall:
                found.abandon()
            for packing in open_packings:
                packing.close()

    def abandon(self) -> None:
        """The task has failed, or is over: a lease is given back."""
        found, self._found = self._found, None
        if found is not None:
            found.abandon()

    def _ask(self, given: Literals, *, overwrites: bool = False) -> Any:
        client = default_client().raw
        # A client that may not write does not overwrite either.
        mode = "overwrite" if overwrites and client.mode == "enabled" else None
        try:
            values = self.memo.values(given)
        except Exception as error:
            self._warn(error)
            values, mode = {}, "disabled"
        return self.memo.plan.recall(client, (), values, mode)

    def _outputs(self, found: Any, given: Literals) -> dict[str, Any] | None:
        if type(found) is not Recall:
            try:
                return self.memo.literals(found)
            except Exception as error:
                self._warn(error)
            # What is stored cannot be used here: it is replaced.
            found = self._ask(given, overwrites=True)
        else:
            self._warn(found.problem)
        self._found = found
        self._begun = time.perf_counter_ns()
        return None

    def _warn(self, problem: BaseException | None) -> None:
        if problem is not None:
            troubles.warn(self.memo.declared.name, problem)


def _without_hash(literal: Any) -> Any:
    if not literal.hash:
        return literal
    copy = type(literal)()
    copy.CopyFrom(literal)
    copy.ClearField("hash")
    return copy


def forget(execution: str) -> int:
    """Forgets what this user's tasks of one SDK have stored, in every project and domain."""
    client = default_client()
    return client.invalidate(client.raw.keys_of_execution(execution))
