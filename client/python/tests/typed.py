"""What a type checker must know of tasks: checked by `mypy --strict`, never run.

Each `type: ignore` is an error that must be found: `--strict` refuses one that is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from memod import Blob, Cache, Client, Explanation, FunctionBodyPolicy, Hit, Miss, Report, Task, task


@task(cache=True, cache_version="1.0.0", cache_serialize=True, cache_ignore_input_vars=("verbose",))
def hash_string(original: str, verbose: bool = False) -> str:
    return original


@task(cache=Cache(policies=FunctionBodyPolicy()))
async def later(x: int) -> float:
    return float(x)


@task
def plain(x: int) -> int:
    return x


@dataclass
class Model:
    weight: int

    @task(cache=True, cache_version="1")
    def predict(self, x: int) -> float:
        return float(self.weight * x)

    @task(cache=True, cache_version="1")
    async def later(self, x: int) -> float:
        return float(self.weight * x)


def checks(client: Client) -> None:
    assert_type(hash_string("a", verbose=True), str)
    assert_type(hash_string.call("a"), Report[str])
    assert_type(hash_string.call("a").value, str)
    assert_type(hash_string.cache_key("a"), str)
    assert_type(hash_string.why("a"), Explanation)
    assert_type(hash_string.invalidate("a"), bool)
    assert_type(hash_string.overwrite("a"), str)
    assert_type(plain(1), int)
    assert_type(Model(1).predict(2), float)
    assert_type(Model(1).predict.call(2), Report[float])
    assert_type(client.lookup(hash_string.described("a")), Hit | Miss)
    assert_type(memoryview(client.read("0" * 64, "o0")), memoryview[int])
    assert_type(client.read("0" * 64, "o0"), Blob)
    hash_string(1)  # type: ignore[arg-type]
    hash_string("a", loud=True)  # type: ignore[call-arg]
    hash_string.cache_key()  # type: ignore[call-arg]
    Model(1).predict("x")  # type: ignore[arg-type]
    task(cache=True, cache_version=1)  # type: ignore[call-overload]
    task(cache=True, cache_version="1", mode="sometimes")  # type: ignore[call-overload]


def as_task(of: Task[[int], int]) -> int:
    return of(1)


async def checks_async() -> None:
    assert_type(await later(1), float)
    assert_type(await later.call(1), Report[float])
    assert_type(await Model(1).later(2), float)
    assert_type(await Model(1).later.call(2), Report[float])
    await plain.call(1)  # type: ignore[misc]
    as_task(plain)
    as_task(hash_string)  # type: ignore[arg-type]
