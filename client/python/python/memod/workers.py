"""Workers of `multiprocessing` end by `os._exit`, past what is done at the end of other processes.

They do run the finalizers of `multiprocessing` before; hits that the daemon has not been told of are
told by one. A worker forgets the finalizers of its parent, and then does what was to be done after
the fork, so that is where it gets its own.

A process that is forked by `os.fork` and ends by `os._exit`, or is killed, tells nothing any more:
of such a one, the hits of its last second are not counted.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from memod._memod import report_board_hits

_prepared = False


def _finalize(_: Any = None) -> None:
    """Has this process report when `multiprocessing` ends it, if that is known here."""
    if util := sys.modules.get("multiprocessing.util"):
        util.Finalize(None, report_board_hits, exitpriority=-100)


def _prepare() -> None:
    """The same for workers that are forked from this process from now on."""
    global _prepared
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _prepared:
        _prepared = True
        util.register_after_fork(_finalize, _finalize)


def watch() -> None:
    """Has workers report that have this module already, and those that are forked later."""
    # Whoever forks a worker has loaded `multiprocessing` by then, but perhaps not by now.
    os.register_at_fork(after_in_child=_prepare)
    _prepare()
    _finalize()
