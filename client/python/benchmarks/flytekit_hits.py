"""What a hit costs a flytekit task: with memod, with flytekit's own cache, and an empty task.

Run by hand, with a daemon at $MEMOD_SOCKET and a release build of the extension module installed:

    python benchmarks/flytekit_hits.py

The three take turns, so that whatever else the machine does concerns all of them.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable

warnings.simplefilter("ignore")
os.environ["FLYTE_SDK_LOGGING_LEVEL"] = "40"

import flytekit  # noqa: E402
import flytekit.core.local_cache  # noqa: E402

import memod  # noqa: E402

ROUNDS = 40
CALLS = 50
TEXT = "x" * 256


@flytekit.task(cache=True, cache_version="1")
def cached(text: str, number: int) -> str:
    """The task of which the hits are measured."""
    return text


@flytekit.task
def uncached(text: str, number: int) -> str:
    """The same without a cache: what flytekit itself costs, and running nothing."""
    return text


def seconds_of(call: Callable[[], object]) -> list[float]:
    """How long each of a round's calls took."""
    took = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    return took


def main() -> None:
    """Prints the medians."""
    memod.default_client().ping()
    with tempfile.TemporaryDirectory() as folder:
        flytekit.core.local_cache.CACHE_LOCATION = folder
        settings: dict[str, tuple[str, Callable[[], object]]] = {
            "memod": ("on", lambda: cached(text=TEXT, number=1)),
            "flytekit's own cache": ("off", lambda: cached(text=TEXT, number=1)),
            "no cache, an empty task": ("on", lambda: uncached(text=TEXT, number=1)),
        }
        took: dict[str, list[float]] = {name: [] for name in settings}
        for rounds in range(ROUNDS + 1):
            for name, (switch, call) in settings.items():
                os.environ["MEMOD_FLYTE"] = switch
                found = seconds_of(call)
                # The first round fills the caches.
                took[name] += found if rounds else []
    for name, all_seconds in took.items():
        all_seconds.sort()
        median = statistics.median(all_seconds) * 1e6
        slow = all_seconds[int(len(all_seconds) * 0.99)] * 1e6
        print(f"{name:28} median {median:8.1f} us   p99 {slow:8.1f} us")


if __name__ == "__main__":
    main()
