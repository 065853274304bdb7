"""The rules of a node with their counters (values only)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class RuleCounter(NamedTuple):
    """How many packets matched a rule, and their bytes."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ChainBranch:
    """A chain to which a rule leads. `key`: for which element of a map, "" for a jump; `verdict`: as it is listed."""

    chain: str
    key: str = ""
    verdict: str = ""
    comment: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class CountedRule:
    """A rule. `text`: as its owner lists it, without its comment; `counter`: None if it has none.

    `by`: who wrote it; `service`: NAMESPACE/NAME:PORT for which it is, or ""; `chance`: with which it matches (or
    each of its branches is taken), if lots are drawn.
    """

    text: str
    comment: str = ""
    counter: RuleCounter | None = None
    branches: tuple[ChainBranch, ...] = ()
    by: str = ""
    service: str = ""
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class CountedChain:
    """A chain with its rules. `hook`: which calls it, in capitals, or ""; `counter`: of its policy."""

    table: str
    name: str
    rules: tuple[CountedRule, ...] = ()
    hook: str = ""
    priority: int = 0
    policy: str = ""
    counter: RuleCounter | None = None


@dataclass(frozen=True, slots=True)
class EndpointShare:
    """What an endpoint (IP:PORT) of a Service gets. `pod`: NAMESPACE/NAME, or "".

    `chance`: as the rules draw; `hits`: the connections that it got, None if nothing counts them.
    """

    address: str
    pod: str
    chance: float
    hits: int | None


@dataclass(frozen=True, slots=True)
class ServiceShare:
    """A port of a Service, with its endpoints on a node. `chain`: whose rules draw; `counted_by`: what counts hits."""

    service: str
    protocol: str
    chain: str
    counted_by: str
    endpoints: tuple[EndpointShare, ...]


@dataclass(frozen=True, slots=True)
class CountedRules:
    """All rules of a host. `mode`: kube-proxy's, "" for a host that is no node."""

    host: str
    mode: str
    chains: tuple[CountedChain, ...]
    services: tuple[ServiceShare, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleHit:
    """Packets that a rule has just matched. Of connections (`table` is ""), `packets` counts them."""

    table: str
    chain: str
    text: str
    service: str
    comment: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PrintedRules:
    """What the programs print of a namespace's rules; "" where there are none.

    `iptables`: `iptables-nft-save -c`; `legacy`: `iptables-legacy-save`, with the counters of each chain's rules in
    `counters`, or in the text itself if that is None; `nft`: `nft -j list ruleset`; `ipvs`, `statistics`: `ipvsadm
    -Ln`, without and with --stats.
    """

    iptables: str = ""
    legacy: str = ""
    counters: Mapping[tuple[str, str], Sequence[RuleCounter]] | None = None
    nft: str = ""
    ipvs: str = ""
    statistics: str = ""
