"""Waiting for the daemon without keeping others from running.

Requests that are answered at once go through a few threads when they come from async code. A claim
that waits for somebody else may wait for long: it has a thread of its own, so that it neither holds
up an event loop, nor keeps Ctrl-C from a program's main thread, nor takes the place of whoever is
about to store what it waits for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from memod._memod import Recall

T = TypeVar("T")

THREADS_MAX = 4
"""Threads for requests of async code that are answered at once."""

_executor: tuple[int, concurrent.futures.ThreadPoolExecutor] | None = None


def wait(found: Recall, most: float | None) -> Any:
    """Waits for the outputs of whoever computes them; may be interrupted by a signal."""
    if threading.current_thread() is not threading.main_thread():
        return found.wait(most)
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((found.wait(most), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=ask, name="memod-wait", daemon=True).start()
    answer, error = answers.get()
    if error is not None:
        raise error
    return answer


async def wait_async(found: Recall, most: float | None) -> Any:
    """As `wait`, from async code. Cancelled, it lets go of what it may have been given."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def tell(value: Any, error: BaseException | None) -> None:
        if answer.cancelled():
            return
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)

    def ask() -> None:
        told: tuple[Any, BaseException | None]
        try:
            told = (found.wait(most), None)
        except BaseException as error:
            told = (None, error)
        try:
            loop.call_soon_threadsafe(tell, *told)
        except RuntimeError:
            # The loop was closed: nobody waits any more.
            return

    threading.Thread(target=ask, name="memod-wait", daemon=True).start()
    return await answer


async def off_loop(ask: Callable[..., T], *arguments: Any) -> T:
    """Asks in a thread, so that the event loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), ask, *arguments)


def _threads() -> concurrent.futures.ThreadPoolExecutor:
    global _executor
    # A forked process does not have its parent's threads.
    if _executor is None or _executor[0] != os.getpid():
        made = concurrent.futures.ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="memod")
        _executor = (os.getpid(), made)
    return _executor[1]
