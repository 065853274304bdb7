"""The distribution of answers over endpoints, and whether it fits the proxy mode (pure)."""

from __future__ import annotations

import math
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from nslab.lab.types import ProxyMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.proxy.model import ServiceInfo

UNLIKELY = 1e-6
"""A random distribution as uneven as this occurs once in a million probes: below, it counts as an error."""


class Spread(StrEnum):
    """How a proxy mode chooses endpoints."""

    CHANCE = "by chance"
    TURNS = "in turns"
    STICKY = "one for each client"
    ANY = "as it comes"


def spread_of(mode: ProxyMode, scheduler: str, service: ServiceInfo) -> Spread:
    """The choice of a mode: random in iptables and nftables, by scheduler in ipvs, round robin in userspace."""
    if service.affinity:
        return Spread.STICKY
    match mode, scheduler:
        case ((ProxyMode.IPTABLES | ProxyMode.NFTABLES), _):
            return Spread.CHANCE
        case (ProxyMode.USERSPACE, _) | (ProxyMode.IPVS, "rr" | "wrr"):
            return Spread.TURNS
        case ProxyMode.IPVS, "sh":
            return Spread.STICKY
    return Spread.ANY


def uneven(rule: Spread, names: Sequence[str], possible: Sequence[str]) -> str:
    """The error in the distribution of `names` over the `possible` endpoints; "" if there is none."""
    counts = {**dict.fromkeys(possible, 0), **Counter(names)}
    shares = ", ".join(f"{name} {count}" for name, count in counts.items())
    match rule:
        case Spread.STICKY if len(set(names)) > 1:
            return f"not always the same endpoint ({shares})"
        case Spread.TURNS if max(counts.values()) - min(counts.values()) > 1:
            return f"not in turns ({shares})"
        case Spread.CHANCE if len(counts) > 1 and likelihood([*counts.values()]) < UNLIKELY:
            return f"uneven ({shares})"
    return ""


def likelihood(counts: Sequence[int]) -> float:
    """The probability of counts at least as uneven as these under a uniform choice (Pearson's chi-squared test)."""
    fair = sum(counts) / len(counts)
    statistic = sum((count - fair) ** 2 / fair for count in counts) if fair else 0.0
    return tail(statistic, len(counts) - 1)


def tail(statistic: float, freedom: int) -> float:
    """The probability that chi-squared with `freedom` degrees of freedom is at least `statistic`."""
    half = statistic / 2
    if freedom % 2 == 0:
        return sum(math.exp(-half + _power(half, term)) for term in range(freedom // 2))
    parts = (math.exp(-half + _power(half, term + 0.5)) for term in range(freedom // 2))
    return math.erfc(math.sqrt(half)) + sum(parts)


def _power(half: float, exponent: float) -> float:
    """The logarithm of half ** exponent / gamma(exponent + 1)."""
    return (exponent * math.log(half) if half else (0.0 if not exponent else -math.inf)) - math.lgamma(exponent + 1)
