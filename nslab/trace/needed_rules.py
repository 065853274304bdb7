"""The kernel objects behind the rules that a predicted packet matched (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nslab.objects.ipset import SetMember
from nslab.objects.iptables import Jump
from nslab.objects.nft import NftElement
from nslab.ruletext.comments import without_comment
from nslab.trace.observed import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.objects.keys import Key
    from nslab.trace.hops import Hop
    from nslab.trace.observed import Match
    from nslab.trace.topology import Topology

_SETS, _MAPS = re.compile(r"--match-set (\S+)"), re.compile(r"@([\w-]+)")
BALANCED = "IPVS"
"""Who writes a translation without a rule."""


def rule_keys(net: Topology, ns: str, hop: Hop) -> Iterator[Key]:
    """The chains of a hop's rules with the sets that they ask; of a translation by IPVS, its servers."""
    if hop.by == BALANCED and hop.before:
        protocol = PROTOCOLS.get(hop.header.protocol, "")
        service = ns, protocol, hop.before.receiver
        yield from (("VirtualServer", *service), ("RealServer", *service, hop.header.receiver))
    for match in hop.matches:
        yield from _of_match(net, ns, match)


def _of_match(net: Topology, ns: str, match: Match) -> Iterator[Key]:
    yield from (("Chain", ns, match.table, match.chain), ("NftChain", ns, match.table, match.chain))
    for obj in net.within[ns]:
        match obj:
            case Jump() if (obj.table, obj.chain, without_comment(obj.rule)) == (match.table, match.chain, match.rule):
                yield obj.key
    for name in _SETS.findall(match.rule):
        yield "IpSet", ns, name
        yield from (obj.key for obj in net.within[ns] if isinstance(obj, SetMember) and obj.set == name)
    for name in _MAPS.findall(match.rule):
        yield "NftSet", ns, match.table, name
        verdict = f"{match.verdict} {match.target}"
        for obj in net.within[ns]:
            if isinstance(obj, NftElement) and (obj.table, obj.set, obj.verdict) == (match.table, name, verdict):
                yield obj.key
