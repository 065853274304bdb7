"""The chances of rules that draw lots: iptables' `statistic`, nftables' `numgen random` (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROBABILITY = re.compile(r"-m statistic --mode random --probability ([0-9.]+)")
_NUMGEN = re.compile(r"numgen random mod (\d+) ")


def chances(rules: Sequence[tuple[int, str]]) -> Mapping[int, float]:
    """By its number, the chance of each rule of a chain (number and text, in order) that is drawn.

    A draw of iptables is a run of rules: each takes its part of what those before it left, and the last takes the rest.
    """
    found: dict[int, float] = {}
    left = 1.0
    for number, text in rules:
        if drawn := _PROBABILITY.search(text):
            share = float(drawn[1])
            found[number], left = left * share, left * (1 - share)
        elif left < 1.0:
            found[number], left = left, 1.0
        elif drawn := _NUMGEN.search(text):
            found[number] = 1 / int(drawn[1])
    return found
