"""Lengths of time: as kubectl writes them, and as Go reads them; and times of the API."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from nslab.api.words import quoted

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNIT = "|".join(_UNITS)
_AMOUNT = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_DURATION = re.compile(f"[-+]?(?:0|(?:{_AMOUNT}(?:{_UNIT}))+)")
_NO_UNIT = re.compile(f"[-+]?(?:{_AMOUNT}(?:{_UNIT}))*{_AMOUNT}")


def duration_fault(text: str) -> str:
    """What is wrong with a duration as Go reads it (1h30m, 5s), in Go's words; "" if nothing is."""
    if _DURATION.fullmatch(text):
        return ""
    what = "missing unit in" if _NO_UNIT.fullmatch(text) else "invalid"
    return f"time: {what} duration {quoted(text)}"


def duration_seconds(text: str) -> float:
    """The seconds of a valid duration."""
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(f"({_AMOUNT})({_UNIT})", text))
    return -seconds if text.startswith("-") else seconds


def duration(seconds: float) -> str:
    """A length of time: the longer it is, the less it matters exactly (apimachinery, HumanDuration)."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _two(days, "d", hours % 24, "h") if days < 8 else f"{days}d"


def _two(most: int, unit: str, rest: int, smaller: str) -> str:
    return f"{most}{unit}{rest}{smaller}" if rest else f"{most}{unit}"


def moment(seconds: float) -> str:
    """A time since the epoch as the API writes it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def seconds_of(moment: str) -> float:
    """The seconds since the epoch of a time of the API."""
    return datetime.fromisoformat(moment).timestamp()


def since(time: str | None, now: float) -> str:
    """How long ago a time of the API is."""
    if not time:
        return "<unknown>"
    return duration(now - seconds_of(time))
