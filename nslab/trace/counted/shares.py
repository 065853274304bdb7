"""What each endpoint of a Service gets: the chance that the rules give it, and the connections that it got (pure)."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from nslab.trace.counted.values import EndpointShare, ServiceShare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.trace.counted.names import PortName, ServiceNames
    from nslab.trace.counted.values import CountedChain, CountedRule
    from nslab.trace.observed import ConntrackEntry

RULES, CONNTRACK = "rules", "conntrack"
"""What counts the connections of endpoints: the rules that DNAT them, or the entries that conntrack has now."""
_DNAT = re.compile(r"(?:-j DNAT --to-destination|dnat to) (\S+)")
_AFFINITY = re.compile(r"-m recent|ip saddr @affinity-")
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}


def shares(
    chains: Iterable[CountedChain], names: ServiceNames, entries: Iterable[ConntrackEntry]
) -> list[ServiceShare]:
    """A share for each chain that draws endpoints, in the order of the chains."""
    every = [*chains]
    by_name = {(chain.table, chain.name): chain for chain in every}
    known = connections(entries, names)
    found = []
    for chain in every:
        service = names.chains.get(chain.name)
        ends = [*_endpoints(chain, by_name, names)] if service else []
        if service and ends:
            found.append(_share(service, chain, ends, known, names))
    return found


def _endpoints(
    chain: CountedChain, chains: Mapping[tuple[str, str], CountedChain], names: ServiceNames
) -> Iterator[tuple[str, CountedRule, float]]:
    """The endpoints that a chain draws: address, the rule that DNATs to it, and the chance of this draw."""
    for rule in chain.rules:
        for branch in rule.branches:
            dnat = _dnat(chains.get((chain.table, branch.chain)))
            if dnat and branch.chain not in names.chains:
                yield *dnat, 0.0 if _AFFINITY.search(rule.text) else rule.chance


def _dnat(chain: CountedChain | None) -> tuple[str, CountedRule] | None:
    """The address to which an endpoint's chain DNATs, and the rule that does."""
    for rule in chain.rules if chain else ():
        if found := _DNAT.search(rule.text):
            return found[1], rule
    return None


def _share(
    service: PortName,
    chain: CountedChain,
    ends: Iterable[tuple[str, CountedRule, float]],
    known: Mapping[tuple[str, str], int],
    names: ServiceNames,
) -> ServiceShare:
    chance: dict[str, float] = {}
    rules: dict[str, CountedRule] = {}
    for address, rule, drawn in ends:
        chance[address], rules[address] = chance.get(address, 0.0) + drawn, rule
    by_rules = all(rule.counter for rule in rules.values())
    hits = {
        address: rule.counter.packets if by_rules and rule.counter else known.get((service.name, address), 0)
        for address, rule in rules.items()
    }
    counted = (EndpointShare(one, names.pods.get(one, ""), chance[one], hits[one]) for one in chance)
    return ServiceShare(service.name, service.protocol, chain.name, RULES if by_rules else CONNTRACK, tuple(counted))


def connections(entries: Iterable[ConntrackEntry], names: ServiceNames) -> Counter[tuple[str, str]]:
    """How many connections conntrack has, by Service and endpoint."""
    return Counter(found for entry in entries if (found := drawn(entry, names)))


def drawn(entry: ConntrackEntry, names: ServiceNames) -> tuple[str, str] | None:
    """The Service for which a connection was made, and the endpoint that it got; None if it is for no Service."""
    asked, answering = entry.original, entry.reply
    protocol = _PROTOCOLS.get(asked.protocol, "")
    service = names.at(protocol, str(asked.target), asked.ports[1])
    if not service or (asked.target, asked.ports[1]) == (answering.source, answering.ports[0]):
        return None
    return service.name, f"{answering.source}:{answering.ports[0]}"
