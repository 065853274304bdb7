"""Which NetworkPolicies have a packet dropped: by the policies themselves, beside the rule that drops (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.words import shown, some
from nslab.probes.pairs import places
from nslab.probes.policies import Enforced
from nslab.trace.hops import Action
from nslab.wire import packets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.lab.types import Lab
    from nslab.trace.hops import Hop

_PROTOCOLS = {packets.TCP: "TCP", packets.UDP: "UDP", packets.ICMP: "ICMP"}
MOST = 3
"""Of many policies, so many are named."""
_CHAINS = ("cali-tw-", "cali-fw-", "cali-pi-", "cali-po-", "cali-pri-", "cali-pro-")
"""Felix's chains of a pod, and of a policy."""
_OF_NFT = "filter-"
"""What their names begin with in nftables."""


def denied(lab: Lab, every: Sequence[Hop], begin: str) -> Iterator[str]:
    """A sentence with the policies that isolate a pod, if a pod's chain drops the packet. `begin`: the sender."""
    last = every[-1] if every else None
    if not last or last.action is not Action.DROP or not last.matches:
        return
    if not last.matches[-1].chain.removeprefix(_OF_NFT).startswith(_CHAINS):
        return
    hosts = {place.name: place for place in places(lab)}
    target = next((place for place in hosts.values() if place.address == last.header.target), None)
    if not target or begin not in hosts:
        return
    protocol = _PROTOCOLS.get(last.header.protocol, "")
    denial = Enforced(lab).denial(hosts[begin], target, protocol, last.header.ports[1], last.header.source)
    if denial:
        own, way = (target.name, "from") if denial.direction == "ingress" else (begin, "to")
        other = begin if denial.direction == "ingress" else target.name
        port = f" for port {last.header.ports[1]}/{protocol}" if last.header.ports[1] else ""
        yield (
            f"{denial.direction} of {own} is isolated by {some([*map(shown, denial.policies)], MOST)}, "
            f"of which none allows it {way} {other}{port}"
        )
