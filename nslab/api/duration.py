"""Lengths of time as kubectl writes them."""

from __future__ import annotations

from datetime import UTC, datetime


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
