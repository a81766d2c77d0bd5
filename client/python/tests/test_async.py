"""Async tasks: the event loop goes on, and nothing waits for a thread that waits for it."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from conftest import Daemon

from memod import Report, task

RUNS: list[int] = []


@task(cache=True, cache_version="1", cache_serialize=True)
async def slow(x: int) -> int:
    RUNS.append(x)
    await asyncio.sleep(0.02)
    return 2 * x


@task(cache=True, cache_version="1", cache_serialize=True)
async def outer(x: int) -> int:
    return await slow(x) + 1


EVENTS: list[asyncio.Event] = []


@task(cache=True, cache_version="1", cache_serialize=True)
async def held(x: int) -> int:
    RUNS.append(x)
    EVENTS[0].set()
    await EVENTS[1].wait()
    return x


@task(cache=True, cache_version="1", cache_serialize=True)
async def fails(x: int) -> int:
    RUNS.append(x)
    raise KeyError(x)


@pytest.fixture(autouse=True)
def no_runs() -> None:
    RUNS.clear()


def test_an_async_task_hits(daemon: Daemon) -> None:
    async def program() -> None:
        assert await slow(1) == await slow(1) == 2
        report = await slow.call(1)
        assert isinstance(report, Report) and report.is_hit
        assert await slow.overwrite(1) == 2

    assert inspect.iscoroutinefunction(slow.function)
    assert asyncio.iscoroutinefunction(slow)
    asyncio.run(program())
    assert RUNS == [1, 1]


def test_many_calls_at_once_are_one_execution(daemon: Daemon) -> None:
    """Semantics 26 and 27: more wait than there are threads for requests."""

    async def program() -> list[int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        found = await asyncio.gather(*(slow(7) for _ in range(60)), *(outer(7) for _ in range(20)))
        ticking.cancel()
        assert ticks > 3, "the loop went on"
        return list(found)

    assert asyncio.run(program()) == [14] * 60 + [15] * 20
    assert RUNS == [7]


def test_a_cancelled_wait_lets_go_of_the_lease(daemon: Daemon) -> None:
    """Semantics 28."""

    async def program() -> int:
        begun, ended = asyncio.Event(), asyncio.Event()
        EVENTS[:] = [begun, ended]
        holder = asyncio.create_task(held(1))
        await begun.wait()
        waiter = asyncio.create_task(held(1))
        await asyncio.sleep(0.05)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
        ended.set()
        # Both have let go of it, or this would wait for ever.
        return await asyncio.wait_for(held(1), 20)

    assert asyncio.run(program()) == 1
    assert RUNS == [1, 1]


def test_an_async_failure_is_passed_on(daemon: Daemon) -> None:
    """Semantics 20."""

    async def program() -> None:
        for _ in range(2):
            with pytest.raises(KeyError):
                await fails(1)

    asyncio.run(program())
    assert RUNS == [1, 1]
