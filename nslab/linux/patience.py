"""How long nslab waits before it gives up: `NSLAB_PATIENCE=10` makes every such time ten times as long.

The times are for a machine on which a probe takes milliseconds. An emulated one may be twenty times slower, and nothing
tells a slow answer from one that will not come.
"""

from __future__ import annotations

import os

from nslab.errors import UsageError

VARIABLE = "NSLAB_PATIENCE"


def patient(seconds: float) -> float:
    """So many seconds, as the person asked who knows this machine."""
    text = os.environ.get(VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 0 < factor < 1e6:
        raise UsageError(f"{VARIABLE} is {text!r}: it wants how many times as long as usual to wait, for instance 10")
    return seconds * factor
