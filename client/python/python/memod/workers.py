"""Workers of `multiprocessing` end by `os._exit`, past what is done at the end of other processes.

They do run the finalizers of `multiprocessing` before; hits that the daemon has not been told of are
told by one. A worker forgets the finalizers of its parent, and then does what was to be done after
the fork, so that is where it gets its own.

What is forked lets go of its parent's connections, so that the lease of a task ends with the process
that runs it, whatever that has left behind.

A process that is forked by `os.fork` and ends by `os._exit`, or is killed, tells nothing any more:
of such a one, the hits of its last second are not counted.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from memod._memod import inherited_sockets, report_board_hits

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


def _let_go() -> None:
    """Lets go of the parent's connections, which would not end with it: nor would its leases."""
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
    except OSError:
        return
    for socket in inherited_sockets():
        # Whose it is closes it one day, and must close nothing else then.
        os.dup2(nowhere, socket, inheritable=False)
    os.close(nowhere)


def watch() -> None:
    """Has workers report that have this module already, and those that are forked later."""
    os.register_at_fork(after_in_child=_let_go)
    # Whoever forks a worker has loaded `multiprocessing` by then, but perhaps not by now.
    os.register_at_fork(after_in_child=_prepare)
    _prepare()
    _finalize()
