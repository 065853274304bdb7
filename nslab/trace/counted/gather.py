"""What the programs print of a host's rules, as one list of chains (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.proxy.names import port_name
from nslab.ruletext.saved import tables
from nslab.trace.counted.iptables import LEGACY, iptables_chains
from nslab.trace.counted.ipvs import ipvs_servers
from nslab.trace.counted.nft import nft_chains
from nslab.trace.counted.shares import CONNTRACK, shares
from nslab.trace.counted.values import CountedRules, EndpointShare, ServiceShare
from nslab.trace.observed import Match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.proxy.model import ServiceInfo
    from nslab.trace.authors import Authors
    from nslab.trace.counted.iptables import Writer
    from nslab.trace.counted.names import ServiceNames
    from nslab.trace.counted.values import CountedChain, PrintedRules
    from nslab.trace.observed import ConntrackEntry

_HOOKS = ("INGRESS", "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_KUBE_PROXY = "kube-proxy"
_NOT_COUNTED = "rules of kube-proxy's nftables mode have no counters: conntrack's entries are counted"
_IN_TURN = "in userspace mode rules lead to kube-proxy's process, which chooses endpoints in turn; nothing counts them"


def gathered(
    host: str, mode: str, printed: PrintedRules, entries: Iterable[ConntrackEntry], services: Iterable[ServiceInfo],
    names: ServiceNames, authors: Authors,
) -> CountedRules:  # fmt: skip
    """The rules of a host, its base chains in the order in which packets meet them. UsageError for no rules' text."""
    writer = _writer(host, authors)
    servers, balanced = ipvs_servers(printed.ipvs, printed.statistics, names, _KUBE_PROXY)
    chains = [
        *iptables_chains(printed.iptables, names, writer),
        *iptables_chains(printed.legacy, names, writer, printed.counters, legacy=LEGACY if printed.iptables else ""),
        *nft_chains(printed.nft, tables(printed.iptables).keys(), names, writer),
        *servers,
    ]
    found = [*shares(chains, names, entries), *balanced]
    notes = []
    if any(one.counted_by == CONNTRACK for one in found):
        notes.append(_NOT_COUNTED)
    if mode == "userspace":
        found += _in_turn(services)
        notes.append(_IN_TURN)
    return CountedRules(host, mode, tuple(sorted(chains, key=_place)), tuple(found), tuple(notes))


def _writer(host: str, authors: Authors) -> Writer:
    def by(table: str, chain: str, rule: str) -> str:
        return authors.of_rule(host, Match(table, chain, "", rule=rule))

    return by


def _place(chain: CountedChain) -> tuple[int, int]:
    return (_HOOKS.index(chain.hook) if chain.hook in _HOOKS else len(_HOOKS)), chain.priority


def _in_turn(services: Iterable[ServiceInfo]) -> Iterator[ServiceShare]:
    """The shares of userspace mode: each endpoint comes in its turn."""
    for service in services:
        for port in service.ports if service.cluster_ip else ():
            ready = [end for end in port.endpoints if end.ready]
            ends = (EndpointShare(f"{end.ip}:{end.port}", end.pod, 1 / len(ready), None) for end in ready)
            if ready:
                yield ServiceShare(port_name(service, port), port.protocol.lower(), "", "", tuple(ends))
