"""Flyte's own SDKs as clients: flytekit's and Flyte 2's local execution use memod for their cache.

Importing flytekit, or initialising Flyte 2, is enough where this package is installed beside it:
`memod.flyte.flytekit` and `memod.flyte.sdk2` are found as their plug-ins. `MEMOD_FLYTE=off` leaves
them to their own caches.

**Invariants.** Nothing here is imported by the rest of the package, and neither SDK is needed to
import it. What both have in common are the protocol buffers of Flyte's literals, which is what the
modules here work on: `types` says how they are stored, `inputs` and `canonical` what counts,
`files` and `archive` what is copied, `memo` asks the daemon.
"""

from __future__ import annotations

import os

VARIABLE = "MEMOD_FLYTE"
"""The variable that turns the plug-ins off."""


def is_on() -> bool:
    """Whether the plug-ins do anything."""
    return os.environ.get(VARIABLE, "").strip().lower() not in ("0", "off", "false", "no")
