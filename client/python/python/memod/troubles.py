"""What is told of a cache that did not work while its task did: a warning of the logger `memod`."""

from __future__ import annotations

import logging

from memod.errors import BreakerOpenError, LeaseLostError

logger = logging.getLogger("memod")


def warn_of_other_daemon(named: str, own: str) -> None:
    """Tells that nobody answers at the socket that was named, and who is asked instead."""
    logger.warning(
        "no daemon answers at %s, which was named; the user's own is asked, at %s. "
        "MEMOD_NO_START=1 forbids that",
        named,
        own,
    )


def warn(task: str, problem: BaseException) -> None:
    """Tells what went wrong with the cache in a call of this task."""
    if isinstance(problem, LeaseLostError):
        logger.warning("task %s is run and cached, but perhaps not alone: %s", task, problem)
        return
    # The daemon is left alone, which has been said when it failed.
    level = logging.DEBUG if isinstance(problem, BreakerOpenError) else logging.WARNING
    logger.log(level, "task %s is run, and not cached: %s", task, problem)
