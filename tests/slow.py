"""Tests that repeat themselves do so a few times; with NSLAB_SLOW set, as often as is worth it before a release."""

from __future__ import annotations

import os

SLOW = bool(os.environ.get("NSLAB_SLOW"))


def often(number: int) -> int:
    """How often: `number` times with NSLAB_SLOW, else a quarter as often."""
    return number if SLOW else number // 4
