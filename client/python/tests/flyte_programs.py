"""What the tests of the plug-ins have in common: flytekit, imported without its warnings."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import flytekit
    import flytekit.core.local_cache
    import flytekit.types.directory
    import flytekit.types.file
    import pandas

    import flyte
    import flyte.io
    import flyte.types

RUNS: list[object] = []
"""What has been run, in order; tests empty it."""

__all__ = ["RUNS", "flyte", "flytekit", "pandas"]
