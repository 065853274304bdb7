"""Kubernetes quantities: 64Mi, 1G, 128974848, 129e6, 100m."""

from __future__ import annotations

import re

MOST = 2**63 - 1
"""Larger quantities count as this, as in Kubernetes."""
_SUFFIXES = {
    "": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
PATTERN = r"\+?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,2}|[numkMGTPE]|[KMGTPE]i)?"
"""A non-negative quantity, with a limited number of digits."""
_PARTS = re.compile(r"\+?([0-9]*)\.?([0-9]*)(.*)")


def whole(text: str) -> int | None:
    """The number, rounded up as in Kubernetes; None if the text is not a quantity or is negative."""
    return _times(1, text) if re.fullmatch(PATTERN, text) else None


def thousandths(text: str) -> int:
    """The number in thousandths, rounded up; 0 if the text is not a quantity."""
    return _times(1000, text) if re.fullmatch(PATTERN, text) else 0


def _times(factor: int, text: str) -> int:
    parts = _PARTS.fullmatch(text)
    assert parts
    number, fraction, suffix = parts.groups()
    over = _ten_to(len(fraction))
    if suffix in _BINARY:
        value = factor * int(number + fraction) << _BINARY[suffix]
    else:
        power = _SUFFIXES[suffix] if suffix in _SUFFIXES else int(suffix[1:])
        value = factor * int(number + fraction) * _ten_to(power)
        over *= _ten_to(-power)
    return min(-(-value // over), MOST)


def _ten_to(power: int) -> int:
    return int(10 ** max(power, 0))
