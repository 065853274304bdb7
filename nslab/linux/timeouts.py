"""How long nslab waits before it gives up: `NSLAB_TIMEOUT_FACTOR=10` makes every such time ten times as long.

The times are for a machine on which a probe takes milliseconds. An emulated one may be twenty times slower, and nothing
tells a slow answer from one that will not come.
"""

from __future__ import annotations

import os

from nslab.errors import UsageError

VARIABLE, OLD = "NSLAB_TIMEOUT_FACTOR", "NSLAB_PATIENCE"
"""The old name is still taken, where the new one is not set."""
LEAST, MOST = 0.01, 1000.0


def scaled(seconds: float) -> float:
    """So many seconds, as the person asked who knows this machine."""
    name = VARIABLE if VARIABLE in os.environ else OLD
    text = os.environ.get(name, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not LEAST <= factor <= MOST:
        wanted = f"a number from {LEAST:g} to {MOST:g}, by which nslab multiplies every timeout"
        raise UsageError(f"{name} must be {wanted}, not {text[:20]!r}")
    return seconds * factor
