"""What each rival does not do that memod does.

durable: what was acknowledged survives the death of the process, or of the machine if so set.
verified: what is read is compared with a digest of what was written.
typed key: the key is made from typed inputs, so that 1, 1.0 and "1" are three calls.
lease: of all who ask at once, one computes, the others wait, and its death wakes the next.
"""

from __future__ import annotations

QUALITIES = ("durable", "verified", "typed key", "lease")

DOES: dict[str, tuple[str, str, str, str]] = {
    "memod": ("yes", "yes", "yes", "yes"),
    "redis": ("with an append-only file", "no", "no", "no: SET NX and polling by hand"),
    "memcached": ("no", "no", "no", "in part: who won, by its meta commands"),
    "SQLite": ("yes", "no", "no", "no"),
    "LMDB": ("yes", "no", "no", "no"),
    "RocksDB": ("yes", "blocks, by CRC", "no", "no; one process only"),
    "diskcache": ("yes", "no", "pickled arguments", "a lock that is polled"),
    "joblib": ("yes", "no", "pickled arguments, and the source", "no"),
    "flytekit": ("yes", "no", "values, without their scope and types", "no, locally"),
    "buildbox-casd": ("yes", "when it is written", "no: by digest of the value", "no"),
    "ccache": ("yes", "by XXH3", "compilations only", "no"),
}

NOTES = {
    "redis-benchmark -P 32": "32 requests of each client are under way at once",
    "memod, board off": "every hit asks the daemon over its socket",
    "memod, in pieces": "outputs are read as they come, without being kept",
    "memod, in batches": "hundreds of lookups in each frame, by `Client::lookup_many`, board off",
    "mapped file": "no cache: a file is opened, mapped and read for each hit",
    "memod, from Rust": "the same work by the client in Rust",
    "flytekit with memod": "flytekit's tasks, with memod in place of flytekit's own cache",
    "gcc, without a cache": "what a hit spares",
}
