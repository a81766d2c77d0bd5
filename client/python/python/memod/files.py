"""Where files are put that come from the cache.

Each restored file has a directory of its own, so that it keeps its name and two never meet. They
lie below one directory for the process, which is removed when it ends, unless
`memod.configure(files=...)` names one to keep.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

_lock = threading.Lock()
_kept: Path | None = None
_temporary: tuple[int, Path] | None = None


def keep_in(directory: Path | None) -> None:
    """Put restored files below this directory and leave them there; or in a temporary one."""
    global _kept
    _kept = directory


def place(name: str) -> Callable[[], Path]:
    """A function that gives a fresh path of that name in an existing directory."""

    def fresh() -> Path:
        return Path(tempfile.mkdtemp(prefix="file-", dir=_directory())) / name

    return fresh


def _directory() -> Path:
    if _kept is not None:
        _kept.mkdir(parents=True, exist_ok=True)
        return _kept
    global _temporary
    with _lock:
        # A forked process must not use what its parent removes.
        if _temporary is None or _temporary[0] != os.getpid():
            _temporary = (os.getpid(), Path(tempfile.mkdtemp(prefix="memod-")))
            atexit.register(_remove, *_temporary)
        return _temporary[1]


def _remove(process: int, directory: Path) -> None:
    if process == os.getpid():
        shutil.rmtree(directory, ignore_errors=True)


def _forget_lock() -> None:
    # Another thread of the parent may have held it, and is not here to give it back.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
