"""Timeouts: `NSLAB_TIMEOUT_FACTOR=10` makes each of them ten times as long.

They are made for a machine on which a probe takes milliseconds. An emulated one may be twenty times slower, and nothing
distinguishes a slow answer from one that never comes.
"""

from __future__ import annotations

import os

from nslab.errors import UsageError

VARIABLE, OLD = "NSLAB_TIMEOUT_FACTOR", "NSLAB_PATIENCE"
"""The old name still works where the new one is not set."""
LEAST, MOST = 0.01, 1000.0


def scaled(seconds: float) -> float:
    """Return `seconds` times the factor in the environment; UsageError if that is no number in range."""
    name = VARIABLE if VARIABLE in os.environ else OLD
    text = os.environ.get(name, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not LEAST <= factor <= MOST:
        expected = f"expected a factor by which all timeouts grow, for instance 10 ({LEAST:g} to {MOST:g})"
        raise UsageError(f"{name} is {text[:20]!r}: {expected}")
    return seconds * factor
